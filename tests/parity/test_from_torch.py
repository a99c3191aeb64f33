"""`from_torch`: what torch's layers return, from their attributes."""

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv._methods.registry import METHODS

torch = pytest.importorskip("torch")

from test_torch import DTYPES, FORWARD_CASES, SAME_CASES, TORCH_MODES, TRANSPOSED_CASES, cases  # noqa: E402

nn = torch.nn
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH = 3


def conv_layer(case, **options):
    options = {**case.options, **options}
    c_out, per_group, *taps = case.kernel_shape
    layer = CONV[len(taps)](per_group * options.get("groups", 1), c_out, taps, **options)
    return fill(layer)


def transposed_layer(case, **options):
    options = {**case.options, **options}
    c_in, per_group, *taps = case.kernel_shape
    layer = TRANSPOSED[len(taps)](c_in, per_group * options.get("groups", 1), taps, **options)
    return fill(layer)


def fill(layer):
    """Give a layer small integers, so that sums are exact in double precision."""
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for weights in layer.parameters():
            values = rng.integers(-9, 10, weights.shape)
            if weights.dtype.is_complex:
                values = values + 1j * rng.integers(-9, 10, weights.shape)
            weights.copy_(torch.from_numpy(values))
    return layer


def signals(shape, dtype="float64"):
    rng = np.random.default_rng(2)
    values = rng.integers(-9, 10, (BATCH, *shape))
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.integers(-9, 10, values.shape)
    return values.astype(dtype)


def check(layer, shape, dtype="float64"):
    """Compare a layer with its operator, bias added; return the operator."""
    x = signals(shape, dtype)
    with torch.no_grad():
        expected = layer(torch.from_numpy(x)).resolve_conj().numpy()
    A = stc.from_torch(layer, shape)
    bias = getattr(layer, "bias", None)
    ours = A.apply(x)
    if bias is not None:
        ours = ours + bias.detach().numpy().reshape(-1, *(1,) * (len(shape) - 1))
    assert expected.any()
    assert ours.shape == expected.shape
    # single precision may round, by an algorithm such as Winograd's
    tolerance = 0 if expected.dtype.name in ("float64", "complex128") else 1e-5
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    return A


@cases(FORWARD_CASES)
@pytest.mark.parametrize("mode", TORCH_MODES)
def test_conv(case, mode):
    layer = conv_layer(case, padding_mode=mode, dtype=torch.float64)
    A = check(layer, case.input_shape)
    assert type(A) is stc.ConvOperator
    assert A.geometry.padding_mode == (mode,) * (len(case.input_shape) - 1)


@cases(SAME_CASES)
@pytest.mark.parametrize("mode", TORCH_MODES)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_conv_same(case, mode):
    layer = conv_layer(case, padding="same", padding_mode=mode, dtype=torch.float64)
    A = check(layer, case.input_shape)
    assert A.output_shape[1:] == case.input_shape[1:]


@cases(TRANSPOSED_CASES)
def test_conv_transpose(case):
    layer = transposed_layer(case, dtype=torch.float64)
    assert type(check(layer, case.input_shape)) is stc.ConvTransposeOperator


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    for case, make in ((FORWARD_CASES["2d-all"], conv_layer), (TRANSPOSED_CASES["2d-all"], transposed_layer)):
        layer = make(case, dtype=getattr(torch, dtype))
        assert check(layer, case.input_shape, dtype).dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_method(method):
    case = FORWARD_CASES["2d-all"]
    layer = conv_layer(case, dtype=torch.float64, bias=False)
    x = signals(case.input_shape)
    A = stc.from_torch(layer, case.input_shape, method=method)
    assert A.method == method
    np.testing.assert_allclose(A.apply(x), layer(torch.from_numpy(x)).detach(), atol=1e-10)


def test_weights_are_copied():
    layer = conv_layer(FORWARD_CASES["1d-valid"])
    A = stc.from_torch(layer, (2, 9))
    before = A.kernel.copy()
    with torch.no_grad():
        layer.weight.zero_()
    np.testing.assert_array_equal(A.kernel, before)


def test_conjugate_views_are_resolved():
    layer = conv_layer(FORWARD_CASES["1d-valid"], dtype=torch.complex128, bias=False)
    layer.weight = nn.Parameter(layer.weight.detach().conj(), requires_grad=False)
    assert layer.weight.is_conj()
    check(layer, (2, 9), "complex128")


def test_parametrized_and_derived_layers():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 4, dtype=torch.float64))
    A = stc.from_torch(layer, (2, 9))
    np.testing.assert_array_equal(A.kernel, layer.weight.detach().numpy())

    class Blur(nn.Conv1d):
        pass

    check(fill(Blur(2, 3, 4, dtype=torch.float64)), (2, 9))


def test_layers_that_compute_something_else():
    class Doubled(nn.Conv1d):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(TypeError, match="compute what Conv1d does, but Doubled defines forward itself"):
        stc.from_torch(Doubled(2, 3, 4), (2, 9))
    with pytest.raises(TypeError, match=r"module must be one of Conv1d, .*, Upsample; got Linear"):
        stc.from_torch(nn.Linear(2, 3), (2, 9))


def test_lazy_layers():
    layer = nn.LazyConv1d(3, 4)
    with pytest.raises(ValueError, match="apply LazyConv1d to an input first"):
        stc.from_torch(layer, (2, 9))
    layer(torch.zeros(1, 2, 9))
    assert stc.from_torch(layer, (2, 9)).output_shape == (3, 6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    layer = nn.Conv1d(2, 3, 4, dtype=getattr(torch, dtype))
    with pytest.raises(TypeError, match=rf"module.weight .* got (torch\.)?{dtype}; .* \.float\(\)"):
        stc.from_torch(layer, (2, 9))


def test_shapes():
    layer = nn.Conv2d(2, 3, 4)
    # as many axes as the kernel would mean a plain convolution
    with pytest.raises(ValueError, match=r"must be \(c_in, n1, n2\) .* got \(1, 2, 9, 9\); leave the batch"):
        stc.from_torch(layer, (1, 2, 9, 9))
    with pytest.raises(ValueError, match=r"the 2 input channels of the kernel, got 3 in \(3, 9, 9\)"):
        stc.from_torch(layer, (3, 9, 9))
    with pytest.raises(ValueError, match="the 4 input channels of the kernel, got 2"):
        stc.from_torch(nn.ConvTranspose1d(4, 4, 2, groups=2), (2, 9))


POOLS = {
    # stride as long as the kernel, torch's default
    "1d": (1, (2, 9), {"kernel_size": 4}),
    # padding that counts
    "2d-padding": (2, (3, 7, 8), {"kernel_size": (3, 4), "stride": (2, 1), "padding": (1, 2)}),
    # padding that would not count, if there were any
    "2d-no-padding": (2, (3, 7, 8), {"kernel_size": 2, "count_include_pad": False}),
    # the divisor is the same everywhere, whatever counts
    "2d-divisor": (2, (2, 6, 7), {"kernel_size": 3, "padding": 1, "count_include_pad": False, "divisor_override": 5}),
    # nothing is cut off: 9 + 2 - 3 is a multiple of 2
    "2d-ceil": (2, (2, 9, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    "3d": (3, (2, 5, 6, 4), {"kernel_size": (2, 3, 2), "stride": 1, "padding": (1, 1, 0)}),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_average_pool(name):
    ndim, shape, options = POOLS[name]
    x = signals(shape)
    A = stc.from_torch(POOL[ndim](**options), shape)
    np.testing.assert_allclose(A.apply(x), POOL[ndim](**options)(torch.from_numpy(x)), rtol=0, atol=1e-13)
    assert A.dtype == np.float64


def test_average_pools_without_one_set_of_weights():
    with pytest.raises(ValueError, match=r"count_include_pad must be True .* got False with padding \(1,\)"):
        stc.from_torch(nn.AvgPool1d(3, padding=1, count_include_pad=False), (2, 9))
    with pytest.raises(ValueError, match=r"ceil_mode must be False where stride does not divide"):
        stc.from_torch(nn.AvgPool1d(2, ceil_mode=True), (2, 9))


UPSAMPLES = {
    "nearest-2d": ((2, 4, 5), {"scale_factor": 2}),
    # torch's sizes win over the factor in two dimensions, and only there
    "nearest-2d-odd-factor": ((2, 3, 4), {"scale_factor": (2.3, 1.3)}),
    "nearest-1d-odd-factor": ((2, 10), {"scale_factor": 1.05}),
    "nearest-1d-double-factor": ((3, 10), {"scale_factor": 2.05}),
    "nearest-3d-odd-factor": ((2, 3, 4, 2), {"scale_factor": (2.3, 1.3, 2.0)}),
    "nearest-exact": ((1, 5, 4), {"scale_factor": 1.7, "mode": "nearest-exact"}),
    "linear": ((3, 7), {"size": 11, "mode": "linear"}),
    "linear-down": ((3, 7), {"scale_factor": 0.6, "mode": "linear"}),
    "bilinear": ((2, 4, 5), {"size": (9, 7), "mode": "bilinear"}),
    "bilinear-corners": ((2, 4, 5), {"scale_factor": 1.6, "mode": "bilinear", "align_corners": True}),
    "bilinear-recomputed": ((2, 5, 4), {"scale_factor": 1.5, "mode": "bilinear", "recompute_scale_factor": True}),
    "bicubic": ((2, 6, 5), {"scale_factor": 2.5, "mode": "bicubic"}),
    "bicubic-corners": ((1, 6, 5), {"size": 9, "mode": "bicubic", "align_corners": True}),
    "trilinear": ((2, 3, 4, 5), {"scale_factor": (2, 1.5, 1.3), "mode": "trilinear"}),
    "area": ((2, 6, 5), {"size": (4, 3), "mode": "area"}),
}  # fmt: skip


@pytest.mark.parametrize("name", UPSAMPLES)
def test_upsample(name):
    shape, options = UPSAMPLES[name]
    layer = nn.Upsample(**options)
    x = np.random.default_rng(3).random((BATCH, *shape))
    R = stc.from_torch(layer, shape)
    np.testing.assert_allclose(R.apply(x), layer(torch.from_numpy(x)), rtol=0, atol=1e-12)
    assert type(R) is stc.ResizeOperator
    single = x.astype(np.float32)
    ours, expected = R.apply(single), layer(torch.from_numpy(single)).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)
    stc.testing.assert_adjoint(R)


def test_old_names_of_upsample():
    layer = nn.UpsamplingBilinear2d(scale_factor=2)
    x = np.random.default_rng(3).random((1, 2, 4, 5))
    np.testing.assert_allclose(
        stc.from_torch(layer, (2, 4, 5)).apply(x), layer(torch.from_numpy(x)), atol=1e-12
    )


def test_upsample_refuses():
    with pytest.raises(ValueError, match=r"must be \(c_in, n1, n2\) .* got \(2, 9\)"):
        stc.from_torch(nn.Upsample(scale_factor=2, mode="bilinear"), (2, 9))
    with pytest.raises(ValueError, match=r"scale_factor must have an entry for each of the 2 spatial axes"):
        stc.from_torch(nn.Upsample(scale_factor=(2.0,)), (2, 9, 9))
    with pytest.raises(ValueError, match="method must be 'auto' for Upsample"):
        stc.from_torch(nn.Upsample(scale_factor=2), (2, 9), method="fft")
