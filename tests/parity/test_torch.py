"""torch.nn.functional's convolutions against the matrices and operators, in value and in gradient."""

from typing import NamedTuple

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv._methods.registry import METHODS

torch = pytest.importorskip("torch")

LAYERS = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
FORWARD = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
TRANSPOSED = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}
TORCH_MODES = ("zeros", "reflect", "replicate", "circular")
DTYPES = ("float32", "float64", "complex64", "complex128")
# Relative to the largest entry. Sums of small integers are exact in double precision; in single precision
# torch may take an algorithm that rounds (Winograd's), and an FFT rounds in any.
TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-13, "complex128": 1e-13}
BATCH = 2


class Case(NamedTuple):
    kernel_shape: tuple
    input_shape: tuple
    options: dict


# Kernels are (c_out, c_in // groups, k...), inputs (c_in, n...). Pads stay below n, torch's limit for them.
FORWARD_CASES = {
    # nothing but the window, an even kernel
    "1d-valid": Case((3, 2, 4), (2, 9), {}),
    # the last samples are never read: (11 + 2 * 2 - 4) is odd
    "1d-stride": Case((3, 2, 4), (2, 11), {"stride": 2, "padding": 2}),
    # taps three samples apart
    "1d-dilation": Case((2, 3, 4), (3, 14), {"dilation": 3, "padding": 5}),
    # one input channel for each group, two outputs of each
    "1d-depthwise": Case((6, 1, 2), (3, 8), {"groups": 3, "padding": 1}),
    # a stride that steps over samples altogether
    "1d-stride-over-kernel": Case((2, 1, 2), (1, 13), {"stride": 5, "padding": 1}),
    # torch's word for no padding
    "1d-word-valid": Case((2, 2, 4), (2, 7), {"padding": "valid"}),
    # every axis different
    "2d-all": Case(
        (4, 1, 4, 2), (2, 9, 7), {"stride": (2, 3), "padding": (3, 1), "dilation": (1, 2), "groups": 2}
    ),
    # stride and dilation share a factor, so that some samples are never read
    "2d-common-factor": Case((2, 3, 2, 4), (3, 8, 9), {"stride": 2, "dilation": 2, "padding": (1, 3)}),
    # a window as large as the padded picture
    "2d-one-output": Case((3, 2, 6, 5), (2, 4, 3), {"padding": 1}),
    # three axes, channels in groups
    "3d-groups": Case(
        (4, 2, 2, 3, 4), (4, 5, 6, 7), {"groups": 2, "stride": (1, 2, 3), "padding": (1, 0, 2)}
    ),
    # three axes, dilated
    "3d-dilation": Case((2, 1, 2, 2, 2), (1, 6, 5, 7), {"dilation": (3, 1, 2), "padding": (2, 1, 1)}),
}

# torch's "same" takes stride 1 only, and puts the odd one of the total on the right
SAME_CASES = {
    # an odd total
    "1d-even": Case((3, 2, 4), (2, 9), {}),
    # an even kernel that dilation gives an even total
    "1d-even-dilation-2": Case((2, 1, 4), (1, 9), {"dilation": 2}),
    # an even kernel, and an odd total again
    "1d-even-dilation-3": Case((2, 1, 2), (1, 9), {"dilation": 3}),
    # one axis even, one odd
    "2d-even-odd": Case((4, 1, 4, 3), (2, 6, 5), {"groups": 2}),
    # all three different
    "3d": Case((2, 2, 2, 4, 3), (2, 4, 5, 3), {"dilation": (2, 1, 1)}),
}

# Kernels are (c_in, c_out // groups, k...), inputs the small ones.
TRANSPOSED_CASES = {
    # the plain adjoint, windows overlap
    "1d": Case((2, 3, 4), (2, 5), {"stride": 2}),
    # a stride larger than the kernel leaves gaps of zeros
    "1d-gaps": Case((2, 1, 2), (2, 4), {"stride": 4}),
    # a crop on both sides, one sample more at the end
    "1d-output-padding": Case((1, 2, 4), (1, 5), {"stride": 3, "padding": 2, "output_padding": 1}),
    # more than the stride, which a dilation of 3 allows: the last sample is beyond every tap
    "1d-output-padding-over-stride": Case(
        (2, 2, 2), (2, 4), {"stride": 1, "dilation": 3, "output_padding": 2}
    ),
    # the same, but the padding makes room, so that taps reach the added samples
    "1d-output-padding-over-stride-cropped": Case(
        (2, 2, 4), (2, 4), {"stride": 2, "dilation": 5, "padding": 6, "output_padding": 4}
    ),
    # two groups with three outputs each
    "1d-groups": Case((4, 3, 4), (4, 5), {"stride": 2, "padding": 1, "groups": 2}),
    # the usual doubling
    "2d-doubling": Case((2, 3, 4, 4), (2, 3, 5), {"stride": 2, "padding": 1}),
    # every axis different; output_padding passes the stride on the second axis
    "2d-all": Case(
        (4, 2, 2, 4),
        (4, 3, 4),
        {
            "stride": (3, 1),
            "padding": (1, 2),
            "output_padding": (2, 2),
            "dilation": (2, 3),
            "groups": 2,
        },
    ),
    # a padding that crops more than the kernel added
    "2d-crop": Case((1, 2, 2, 3), (1, 6, 5), {"padding": 2, "stride": 2}),
    # three axes
    "3d": Case(
        (2, 1, 2, 3, 4),
        (2, 3, 2, 3),
        {
            "stride": (2, 3, 1),
            "padding": (0, 1, 2),
            "output_padding": (1, 2, 1),
            "dilation": (1, 1, 2),
            "groups": 2,
        },
    ),
}


def cases(table):
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in table.items()])


def each_dtype(function):
    return pytest.mark.parametrize("dtype", DTYPES)(function)


def draw(rng, shape, dtype):
    """Return small integers, in both parts of a complex array."""
    values = rng.integers(-9, 10, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.integers(-9, 10, shape)
    return values.astype(dtype)


def leaf(array):
    """Return a tensor that gathers gradients."""
    return torch.nn.Parameter(torch.from_numpy(array.copy()))


def layer_output(case, kernel, x, mode):
    """Run torch's own layer, which pads the way torch means each mode."""
    options = dict(case.options)
    c_out, per_group, *taps = case.kernel_shape
    c_in = per_group * options.get("groups", 1)
    layer = LAYERS[len(taps)](c_in, c_out, taps, bias=False, padding_mode=mode, **options)
    layer.weight = kernel
    return layer(x)


def assert_same(ours, theirs, exact=True):
    theirs = theirs.detach().resolve_conj().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert np.any(theirs), "zeros alone would agree with too much"
    if exact and theirs.dtype.name in ("float64", "complex128"):
        np.testing.assert_array_equal(ours, theirs)
    else:
        tolerance = TOLERANCE[theirs.dtype.name]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def assert_forward(case, dtype, mode, seed):
    rng = np.random.default_rng(seed)
    kernel, x = draw(rng, case.kernel_shape, dtype), draw(rng, (BATCH, *case.input_shape), dtype)
    expected = layer_output(case, leaf(kernel), torch.from_numpy(x), mode)
    options = {**case.options, "padding_mode": mode}
    matrix = stc.conv_matrix(kernel, case.input_shape, **options)
    operator = stc.ConvOperator(kernel, case.input_shape, **options)
    columns = matrix @ x.reshape(BATCH, -1).T
    assert_same(columns.T.reshape(BATCH, *operator.output_shape), expected)
    assert_same(operator.apply(x), expected)


@cases(FORWARD_CASES)
@pytest.mark.parametrize("mode", TORCH_MODES)
@each_dtype
def test_conv(case, mode, dtype):
    assert_forward(case, dtype, mode, seed=1)


@cases(SAME_CASES)
@pytest.mark.parametrize("mode", TORCH_MODES)
@each_dtype
# torch says that it copies the input where it has to pad unevenly
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_conv_same(case, mode, dtype):
    same = case._replace(options={**case.options, "padding": "same"})
    assert_forward(same, dtype, mode, seed=2)


@pytest.mark.parametrize("mode", TORCH_MODES)
def test_conv_padded_unevenly(mode):
    # torch's layers pad both sides alike; F.pad, last axis first, does not
    rng = np.random.default_rng(3)
    kernel, x = draw(rng, (2, 3, 2, 4), "float64"), draw(rng, (1, 3, 5, 6), "float64")
    name = {"zeros": "constant"}.get(mode, mode)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (3, 1, 0, 2), mode=name)
    expected = FORWARD[2](padded, torch.from_numpy(kernel))
    matrix = stc.conv_matrix(kernel, (3, 5, 6), padding=((0, 2), (3, 1)), padding_mode=mode)
    assert_same((matrix @ x.ravel()).reshape(expected.shape), expected)


def test_conv_cropped():
    # negative pads crop, in torch too
    rng = np.random.default_rng(4)
    kernel, x = draw(rng, (2, 3, 4), "float64"), draw(rng, (1, 3, 11), "float64")
    cropped = torch.nn.functional.pad(torch.from_numpy(x), (-2, 3))
    expected = FORWARD[1](cropped, torch.from_numpy(kernel))
    matrix = stc.conv_matrix(kernel, (3, 11), padding=((-2, 3),))
    assert_same((matrix @ x.ravel()).reshape(expected.shape), expected)


@cases({name: FORWARD_CASES[name] for name in ("1d-dilation", "2d-all", "3d-groups")})
@pytest.mark.parametrize("mode", TORCH_MODES)
@pytest.mark.parametrize("method", METHODS)
def test_conv_by_every_method(case, mode, method):
    rng = np.random.default_rng(5)
    kernel = draw(rng, case.kernel_shape, "float64")
    x = draw(rng, (BATCH, *case.input_shape), "float64")
    expected = layer_output(case, leaf(kernel), torch.from_numpy(x), mode)
    operator = stc.ConvOperator(kernel, case.input_shape, padding_mode=mode, method=method, **case.options)
    assert operator.method == method
    assert_same(operator.apply(x), expected, exact=method != "fft")


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_conv_without_channels(ndim):
    # the plain form is torch's with one channel
    rng = np.random.default_rng(6)
    taps, sizes = (4, 3, 2)[:ndim], (7, 6, 5)[:ndim]
    kernel, x = draw(rng, taps, "float64"), draw(rng, sizes, "float64")
    wide = torch.from_numpy(x)[None, None], torch.from_numpy(kernel)[None, None]
    expected = FORWARD[ndim](*wide, stride=2, padding=1)[0, 0]
    matrix = stc.conv_matrix(kernel, sizes, stride=2, padding=1)
    assert_same((matrix @ x.ravel()).reshape(expected.shape), expected)


def test_conv_does_not_conjugate():
    # torch multiplies by the kernel itself; np.correlate would conjugate it
    kernel, x = np.array([1 + 2j, 3 - 1j]), np.array([1j, 2 + 0j, 1 - 1j])
    theirs = FORWARD[1](torch.from_numpy(x)[None, None], torch.from_numpy(kernel)[None, None])[0, 0]
    by_hand = [kernel[0] * x[0] + kernel[1] * x[1], kernel[0] * x[1] + kernel[1] * x[2]]
    np.testing.assert_array_equal(theirs.numpy(), by_hand)
    np.testing.assert_array_equal(stc.conv_matrix(kernel, 3) @ x, by_hand)


@pytest.mark.parametrize(("mode", "pad"), [("reflect", 4), ("circular", 5)])
def test_torch_limits_pads_that_we_take(mode, pad):
    # four samples: torch stops at n - 1 for reflect and at n for circular, and agrees with us below that
    x = torch.arange(1.0, 5.0, dtype=torch.float64)[None]
    with pytest.raises(RuntimeError, match="adding"):
        torch.nn.functional.pad(x, (pad, pad), mode=mode)
    allowed = torch.nn.functional.pad(x, (pad - 1, pad - 1), mode=mode)[0]
    ours = stc.conv_matrix([1.0], 4, padding=pad, padding_mode=mode) @ x[0].numpy()
    assert ours.size == 4 + 2 * pad
    assert_same(ours[1:-1], allowed)


@cases(TRANSPOSED_CASES)
@each_dtype
def test_conv_transpose(case, dtype):
    rng = np.random.default_rng(7)
    kernel, x = draw(rng, case.kernel_shape, dtype), draw(rng, (BATCH, *case.input_shape), dtype)
    expected = TRANSPOSED[kernel.ndim - 2](torch.from_numpy(x), torch.from_numpy(kernel), **case.options)
    matrix = stc.conv_transpose_matrix(kernel, case.input_shape, **case.options)
    operator = stc.ConvTransposeOperator(kernel, case.input_shape, **case.options)
    columns = matrix @ x.reshape(BATCH, -1).T
    assert_same(columns.T.reshape(BATCH, *operator.output_shape), expected)
    assert_same(operator.apply(x), expected)


@cases(
    {
        name: TRANSPOSED_CASES[name]
        for name in ("1d-gaps", "1d-output-padding-over-stride-cropped", "2d-all", "3d")
    }
)
@pytest.mark.parametrize("method", METHODS)
def test_conv_transpose_by_every_method(case, method):
    rng = np.random.default_rng(8)
    kernel = draw(rng, case.kernel_shape, "float64")
    x = draw(rng, (BATCH, *case.input_shape), "float64")
    expected = TRANSPOSED[kernel.ndim - 2](torch.from_numpy(x), torch.from_numpy(kernel), **case.options)
    operator = stc.ConvTransposeOperator(kernel, case.input_shape, method=method, **case.options)
    assert operator.method == method
    assert_same(operator.apply(x), expected, exact=method != "fft")


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_conv_transpose_without_channels(ndim):
    # the plain form is torch's with one channel
    rng = np.random.default_rng(9)
    taps, sizes = (4, 3, 2)[:ndim], (3, 4, 5)[:ndim]
    kernel, x = draw(rng, taps, "float64"), draw(rng, sizes, "float64")
    wide = torch.from_numpy(x)[None, None], torch.from_numpy(kernel)[None, None]
    expected = TRANSPOSED[ndim](*wide, stride=2, padding=1, output_padding=1)[0, 0]
    matrix = stc.conv_transpose_matrix(kernel, sizes, stride=2, padding=1, output_padding=1)
    assert_same((matrix @ x.ravel()).reshape(expected.shape), expected)


@pytest.mark.parametrize("size", [10, 11, 12])
def test_output_size_is_output_shape(size):
    # all three sizes that a stride of 3 leaves open; (4 - 1) * 3 - 2 * 1 + 2 + 1 = 10 is the lowest
    rng = np.random.default_rng(10)
    kernel, x = draw(rng, (2, 3, 3), "float64"), draw(rng, (1, 2, 4), "float64")
    layer = torch.nn.ConvTranspose1d(2, 3, 3, stride=3, padding=1, bias=False)
    layer.weight = leaf(kernel)
    expected = layer(torch.from_numpy(x), output_size=(size,))
    matrix = stc.conv_transpose_matrix(kernel, (2, 4), stride=3, padding=1, output_shape=(size,))
    assert expected.shape == (1, 3, size)
    assert_same((matrix @ x.ravel()).reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("stride", "dilation"),
    # the stride is larger, the dilation is larger, both are one
    [(3, 2), (2, 4), (1, 1)],
)
def test_output_padding_has_torchs_limit(stride, dilation):
    kernel, x = np.ones((1, 1, 2)), np.ones((1, 1, 3))
    options = {"stride": stride, "dilation": dilation}
    limit = max(stride, dilation)
    largest = TRANSPOSED[1](
        torch.from_numpy(x), torch.from_numpy(kernel), output_padding=limit - 1, **options
    )
    matrix = stc.conv_transpose_matrix(kernel, (1, 3), output_padding=limit - 1, **options)
    assert_same((matrix @ x.ravel()).reshape(largest.shape), largest)
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        TRANSPOSED[1](torch.from_numpy(x), torch.from_numpy(kernel), output_padding=limit, **options)
    with pytest.raises(ValueError, match="output_padding must be less than"):
        stc.conv_transpose_matrix(kernel, (1, 3), output_padding=limit, **options)


def assert_gradients(x, kernel, output, residual, operator, kernel_operator):
    """Compare ``output.backward(residual)`` with the two adjoints.

    For complex tensors torch's gradient is the one with respect to the conjugate, which is the adjoint, too.
    """
    output.backward(torch.from_numpy(residual)[None])
    flat = residual.ravel()
    input_gradient, kernel_gradient = operator.H @ flat, kernel_operator.H @ flat
    assert_same(input_gradient.reshape(x.shape), x.grad)
    assert_same(kernel_gradient.reshape(kernel.shape), kernel.grad)


@cases(FORWARD_CASES)
@pytest.mark.parametrize("mode", TORCH_MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_conv_gradients(case, mode, dtype):
    rng = np.random.default_rng(11)
    options = {**case.options, "padding_mode": mode}
    w, x = draw(rng, case.kernel_shape, dtype), draw(rng, case.input_shape, dtype)
    operator = stc.ConvOperator(w, case.input_shape, **options)
    kernel_operator = stc.KernelOperator(x, w.shape, **options)
    residual = draw(rng, operator.output_shape, dtype)
    kernel, signal = leaf(w), leaf(x)
    output = layer_output(case, kernel, signal[None], mode)
    assert_same((kernel_operator @ w.ravel()).reshape(operator.output_shape), output[0])
    assert_gradients(signal, kernel, output, residual, operator, kernel_operator)


@cases(TRANSPOSED_CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_conv_transpose_gradients(case, dtype):
    rng = np.random.default_rng(12)
    w, x = draw(rng, case.kernel_shape, dtype), draw(rng, case.input_shape, dtype)
    operator = stc.ConvTransposeOperator(w, case.input_shape, **case.options)
    kernel_operator = stc.KernelOperator(x, w.shape, transposed=True, **case.options)
    residual = draw(rng, operator.output_shape, dtype)
    kernel, signal = leaf(w), leaf(x)
    output = TRANSPOSED[w.ndim - 2](signal[None], kernel, **case.options)
    assert_same((kernel_operator @ w.ravel()).reshape(operator.output_shape), output[0])
    assert_gradients(signal, kernel, output, residual, operator, kernel_operator)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("mode", TORCH_MODES)
def test_conv_transpose_is_the_gradient_of_conv(ndim, mode):
    # what the name means; torch has it as a layer for zeros alone, as a gradient for every mode
    rng = np.random.default_rng(13)
    options = {"stride": 2, "padding": 1}
    case = Case((3, 2, *(4, 3, 2)[:ndim]), (2, *(9, 8, 7)[:ndim]), options)
    kernel, large = draw(rng, case.kernel_shape, "float64"), leaf(draw(rng, case.input_shape, "float64"))
    output = layer_output(case, leaf(kernel), large[None], mode)[0]
    residual = draw(rng, tuple(output.shape), "float64")
    output.backward(torch.from_numpy(residual))
    options = {**options, "output_shape": case.input_shape, "padding_mode": mode}
    matrix = stc.conv_transpose_matrix(kernel, residual.shape, **options)
    assert_same((matrix @ residual.ravel()).reshape(large.shape), large.grad)
    if mode != "zeros":
        with pytest.raises(ValueError, match='Only "zeros" padding mode is supported'):
            torch.nn.ConvTranspose1d(3, 2, 4, padding_mode=mode)
