"""Half precision on a GPU: arrays of two bytes, sums in float32."""

import numpy as np
import pytest
from operator_cases import MODES

import sparsetconv as stc

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is that of ml_dtypes")
HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def drawn(shape, dtype, seed):
    """Return small integers: their sums are exact in either dtype."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_products(cp, mode, dtype):
    kernel = drawn((4, 3, 3, 2), dtype, 0)
    options = {"stride": (2, 1), "padding": 1, "padding_mode": mode}
    device = stc.ConvOperator(cp.asarray(kernel), (3, 9, 20), **options)
    host = stc.ConvOperator(kernel.astype(np.float32), (3, 9, 20), method="sparse", **options)
    assert device.method == "direct"
    assert device.dtype == dtype
    for ours, theirs in ((device, host), (device.H, host.H), (device.T, host.T)):
        x = drawn((2, *ours.input_shape), dtype, 1)
        expected = theirs.apply(x.astype(np.float32))
        result = ours.apply(cp.asarray(x))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result.get().astype(np.float32), expected)
        flat = ours @ cp.asarray(x[0].reshape(-1))
        np.testing.assert_array_equal(flat.get().astype(np.float32), expected[0].reshape(-1))


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_results_are_rounded_once(cp, dtype):
    """To the nearest, ties to even, and as NumPy does where numbers are large, subnormal or none."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    x = bits.view(dtype)
    for factor in (1.0, 1.2578125, 3.0, 2.0**-9, 2.0**7):
        kernel = np.full(1, factor, dtype)
        with np.errstate(all="ignore"):
            expected = (np.float32(0) + x.astype(np.float32) * kernel.astype(np.float32)).astype(dtype)
        result = stc.ConvOperator(cp.asarray(kernel), x.size).apply(cp.asarray(x)).get()
        np.testing.assert_array_equal(
            np.isnan(result.astype(np.float32)), np.isnan(expected.astype(np.float32))
        )
        known = ~np.isnan(expected.astype(np.float32))
        np.testing.assert_array_equal(result.view(np.uint16)[known], expected.view(np.uint16)[known])


def test_sums_are_those_of_float32(cp):
    """4,096 times one: sums in half precision would stop at 2,048, or at 256."""
    for dtype in HALF:
        device = stc.ConvOperator(cp.asarray(np.ones(4096, dtype)), 4096)
        assert float(device.apply(cp.asarray(np.ones(4096, dtype))).get()[0]) == 4096


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize(
    ("other", "result"), [("float32", "float32"), ("float64", "float64"), ("complex64", "complex64"), ("int8", None)]
)  # fmt: skip
def test_other_dtypes_of_x(cp, dtype, other, result):
    kernel, x = drawn((3, 3), dtype, 0), drawn((9, 8), other, 1)
    ours = stc.ConvOperator(cp.asarray(kernel), (9, 8)).apply(cp.asarray(x))
    assert ours.dtype == (result or dtype)
    expected = stc.ConvOperator(kernel.astype(np.float32), (9, 8)).apply(x)
    np.testing.assert_array_equal(ours.get().astype(expected.dtype), expected)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_what_holds_no_half_precision_says_so(cp, dtype):
    kernel = cp.asarray(np.ones((3, 3), dtype))
    for method in ("sparse", "gemm", "fft"):
        with pytest.raises(ValueError, match=r"kernel of half precision.*; use method='direct' or 'auto'"):
            stc.ConvOperator(kernel, (9, 9), method=method)
    with pytest.raises(TypeError, match=f"kernel must be float32.*on a GPU.*got {dtype}"):
        stc.ConvOperator(kernel, (9, 9)).tosparse()
    with pytest.raises(TypeError, match=f"kernel must be float32.*on a GPU.*got {dtype}"):
        stc.conv_matrix(kernel, (9, 9))
    # what is asked for in a dtype that the matrix may have is exact
    matrix = stc.conv_matrix(kernel, (9, 9), dtype="float32")
    np.testing.assert_array_equal(matrix.toarray().get(), stc.conv_matrix(np.ones((3, 3)), (9, 9)).toarray())
    with pytest.raises(TypeError, match=f"kernel must be float32.*got {dtype}; convert it"):
        stc.ConvOperator(kernel.get(), (9, 9))
    with pytest.raises(TypeError, match=f"x must be float32.*got {dtype}"):
        stc.KernelOperator(kernel, (2, 2))
    text = stc.ConvOperator(kernel, (9, 9)).explain()
    assert text.startswith("method 'direct'")
    assert text.count("half precision") == 3


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("method", ["direct", "gemm"])
def test_integer_kernels_sum_in_float32_too(cp, dtype, method):
    """Of 300 ones: bfloat16 counts by ones up to 256."""
    kernel = np.ones((300, 1), "int8")
    device = stc.ConvOperator(cp.asarray(kernel), (300, 1), method=method)
    for x in (np.ones((1, 300, 1), dtype), np.ones((3, 300, 1), dtype)):
        result = device.apply(cp.asarray(x))
        assert result.dtype == dtype
        assert (result.get().astype(float) == float(np.asarray(300, dtype))).all()
        back = device.T.apply(result)
        assert back.dtype == dtype


def test_dtypes_without_a_common_one(cp):
    half, brain = (cp.asarray(np.ones((3, 3), dtype)) for dtype in HALF)
    for kernel, x in ((half, brain), (brain, half), (brain, cp.asarray(np.ones((3, 3), "int32")))):
        with pytest.raises(TypeError, match=r"x must be of a real, complex or integer dtype .*, got"):
            stc.ConvOperator(kernel, (3, 3)).apply(x)
