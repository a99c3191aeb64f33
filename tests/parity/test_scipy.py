"""scipy.ndimage, scipy.signal and scipy.linalg against the matrices: offsets, modes and conjugation."""

from typing import NamedTuple

import numpy as np
import pytest
import scipy.linalg
from scipy import ndimage, signal

import sparsetconv as stc

# scipy.ndimage's names clash with ours: its reflect repeats the edge, its mirror does not
NDIMAGE_MODES = {
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "replicate",
    "wrap": "circular",
    "constant": "zeros",
}


class Case(NamedTuple):
    taps: tuple
    sizes: tuple


CASES = {
    # one tap to the left and one to the right
    "1d-odd": Case((3,), (7,)),
    # the middle is between two taps
    "1d-even": Case((4,), (7,)),
    # a kernel as long as the signal, odd and even
    "1d-equal-odd": Case((5,), (5,)),
    "1d-equal-even": Case((6,), (6,)),
    # one sided: two taps
    "1d-two-taps": Case((2,), (5,)),
    # every axis different, even and odd
    "2d-even-odd": Case((4, 3), (5, 6)),
    "2d-odd-even": Case((3, 2), (4, 5)),
    "2d-even-even": Case((2, 4), (6, 5)),
    # three axes
    "3d": Case((2, 3, 4), (4, 3, 5)),
}

LONG_CASES = {
    # a kernel over several periods of the signal, odd and even
    "1d-odd": Case((11,), (3,)),
    "1d-even": Case((12,), (3,)),
    # two samples and one
    "1d-two-samples": Case((7,), (2,)),
    "1d-one-sample": Case((4,), (1,)),
    # both axes
    "2d": Case((6, 9), (2, 3)),
    # one axis longer, one shorter
    "2d-one-axis": Case((8, 2), (3, 5)),
    # three axes, one of a single sample
    "3d": Case((5, 4, 2), (2, 3, 1)),
}


def cases(table):
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in table.items()])


def draw(shape, seed, dtype="float64"):
    """Return small integers, whose products and sums are exact."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-9, 10, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.integers(-9, 10, shape)
    return values.astype(dtype)


def applied(kernel, x, **options):
    """Return the output from the matrix, after checking that the operator gives the same."""
    operator = stc.ConvOperator(kernel, x.shape, **options)
    output = (stc.conv_matrix(kernel, x.shape, **options) @ x.ravel()).reshape(operator.output_shape)
    np.testing.assert_array_equal(operator.apply(x), output)
    return output


def assert_equal(ours, theirs):
    assert np.any(theirs), "zeros alone would agree with too much"
    np.testing.assert_array_equal(ours, theirs, strict=True)


def correlate_pads(taps):
    """scipy.ndimage.correlate: the tap k // 2 is in the middle."""
    return [(k // 2, k - 1 - k // 2) for k in taps]


def convolve_pads(taps):
    """scipy.ndimage.convolve: the same tap is in the middle, after the kernel has been reversed."""
    return [((k - 1) // 2, k // 2) for k in taps]


@cases(CASES | {f"long-{name}": case for name, case in LONG_CASES.items()})
@pytest.mark.parametrize("mode", NDIMAGE_MODES)
def test_ndimage_correlate(case, mode):
    kernel, x = draw(case.taps, 1), draw(case.sizes, 2)
    pads = correlate_pads(case.taps)
    ours = applied(kernel, x, padding=pads, padding_mode=NDIMAGE_MODES[mode])
    assert_equal(ours, ndimage.correlate(x, kernel, mode=mode))


@cases(CASES | {f"long-{name}": case for name, case in LONG_CASES.items()})
@pytest.mark.parametrize("mode", NDIMAGE_MODES)
def test_ndimage_convolve(case, mode):
    kernel, x = draw(case.taps, 3), draw(case.sizes, 4)
    pads = convolve_pads(case.taps)
    ours = applied(kernel, x, padding=pads, padding_mode=NDIMAGE_MODES[mode], flip=True)
    assert_equal(ours, ndimage.convolve(x, kernel, mode=mode))


@pytest.mark.parametrize("taps", [4, 5])
@pytest.mark.parametrize("mode", NDIMAGE_MODES)
def test_ndimage_origin_moves_the_window(taps, mode):
    # a positive origin moves correlate's window to the left
    kernel, x = draw(taps, 5), draw(6, 6)
    origins = range(-(taps // 2), (taps - 1) // 2 + 1)
    assert len(origins) == taps
    for origin in origins:
        before, after = correlate_pads((taps,))[0]
        pads = ((before + origin, after - origin),)
        ours = applied(kernel, x, padding=pads, padding_mode=NDIMAGE_MODES[mode])
        assert_equal(ours, ndimage.correlate(x, kernel, mode=mode, origin=origin))


@cases(CASES)
def test_ndimage_complex(case):
    # as numpy.correlate, ndimage.correlate conjugates the kernel; a convolution never does
    kernel, x = draw(case.taps, 7, "complex128"), draw(case.sizes, 8, "complex128")
    ours = applied(kernel.conj(), x, padding=correlate_pads(case.taps), padding_mode="symmetric")
    assert_equal(ours, ndimage.correlate(x, kernel, mode="reflect"))
    ours = applied(kernel, x, padding=convolve_pads(case.taps), padding_mode="symmetric", flip=True)
    assert_equal(ours, ndimage.convolve(x, kernel, mode="reflect"))


@cases(CASES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["int64", "float64", "complex128"])
def test_signal_convolve(case, mode, dtype):
    kernel, x = draw(case.taps, 9, dtype), draw(case.sizes, 10, dtype)
    # of an even kernel's middle two taps the first one is centred
    padding = [(k // 2, (k - 1) // 2) for k in case.taps] if mode == "same" else mode
    ours = applied(kernel, x, padding=padding, flip=True)
    assert_equal(ours, signal.convolve(x, kernel, mode=mode, method="direct"))


@cases(CASES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["int64", "float64", "complex128"])
def test_signal_correlate(case, mode, dtype):
    kernel, x = draw(case.taps, 11, dtype), draw(case.sizes, 12, dtype)
    padding = [(k // 2, (k - 1) // 2) for k in case.taps] if mode == "same" else mode
    # scipy.signal.correlate conjugates its second argument, conv_matrix nothing at all
    ours = applied(kernel.conj(), x, padding=padding)
    assert_equal(ours, signal.correlate(x, kernel, mode=mode, method="direct"))


@cases(LONG_CASES)
@pytest.mark.parametrize("mode", ["full", "same"])
def test_signal_with_a_longer_kernel(case, mode):
    # for "valid" scipy.signal exchanges the two arrays, so that the kernel becomes the signal
    kernel, x = draw(case.taps, 13, "complex128"), draw(case.sizes, 14, "complex128")
    padding = [(k // 2, (k - 1) // 2) for k in case.taps] if mode == "same" else mode
    ours = applied(kernel, x, padding=padding, flip=True)
    assert_equal(ours, signal.convolve(x, kernel, mode=mode, method="direct"))
    ours = applied(kernel.conj(), x, padding=padding)
    assert_equal(ours, signal.correlate(x, kernel, mode=mode, method="direct"))


CASES_2D = {name: case for name, case in CASES.items() if len(case.taps) == 2}
LONG_CASES_2D = {f"long-{name}": case for name, case in LONG_CASES.items() if len(case.taps) == 2}
# boundary of convolve2d and correlate2d, our mode
BOUNDARIES = {"fill": "zeros", "symm": "symmetric", "wrap": "circular"}


def pads_2d(taps, mode, same):
    return {
        "full": [(k - 1, k - 1) for k in taps],
        "same": [same(k) for k in taps],
        "valid": [(0, 0) for _ in taps],
    }[mode]


@cases(CASES_2D)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_signal_convolve2d(case, boundary, mode, dtype):
    kernel, x = draw(case.taps, 15, dtype), draw(case.sizes, 16, dtype)
    padding = pads_2d(case.taps, mode, lambda k: (k // 2, (k - 1) // 2))
    ours = applied(kernel, x, padding=padding, padding_mode=BOUNDARIES[boundary], flip=True)
    assert_equal(ours, signal.convolve2d(x, kernel, mode=mode, boundary=boundary))


@cases(CASES_2D)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_signal_correlate2d(case, boundary, mode, dtype):
    # unlike signal.correlate the window of an even kernel reaches further to the right; this conjugates, too
    kernel, x = draw(case.taps, 17, dtype), draw(case.sizes, 18, dtype)
    padding = pads_2d(case.taps, mode, lambda k: ((k - 1) // 2, k // 2))
    ours = applied(kernel.conj(), x, padding=padding, padding_mode=BOUNDARIES[boundary])
    assert_equal(ours, signal.correlate2d(x, kernel, mode=mode, boundary=boundary))


@cases(LONG_CASES_2D)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("mode", ["full", "same"])
def test_signal_2d_with_a_longer_kernel(case, boundary, mode):
    kernel, x = draw(case.taps, 19, "complex128"), draw(case.sizes, 20, "complex128")
    options = {"padding_mode": BOUNDARIES[boundary]}
    padding = pads_2d(case.taps, mode, lambda k: (k // 2, (k - 1) // 2))
    ours = applied(kernel, x, padding=padding, flip=True, **options)
    assert_equal(ours, signal.convolve2d(x, kernel, mode=mode, boundary=boundary))
    padding = pads_2d(case.taps, mode, lambda k: ((k - 1) // 2, k // 2))
    ours = applied(kernel.conj(), x, padding=padding, **options)
    assert_equal(ours, signal.correlate2d(x, kernel, mode=mode, boundary=boundary))


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["int64", "complex128"])
def test_linalg_convolution_matrix(taps, size, mode, dtype):
    # the rows of "full", of which numpy.convolve keeps max(n, k) or, with "valid", max(n, k) - min(n, k) + 1
    kernel = draw(taps, 21, dtype)
    kernel[0] = 3
    dropped = {"full": 0, "same": min(taps, size) - 1, "valid": 2 * (min(taps, size) - 1)}[mode]
    padding = ((taps - 1 - dropped // 2, taps - 1 - (dropped - dropped // 2)),)
    ours = stc.conv_matrix(kernel, size, padding=padding, flip=True)
    assert_equal(ours.toarray(), scipy.linalg.convolution_matrix(kernel, size, mode=mode))
    if mode == "full":
        named = stc.conv_matrix(kernel, size, padding="full", flip=True)
        assert_equal(named.toarray(), ours.toarray())


def test_transposed_convolution_is_upfirdn_up():
    # upfirdn inserts zeros and convolves: the adjoint of a correlation with that stride
    kernel, x = draw(4, 22), draw(5, 23)
    ours = stc.conv_transpose_matrix(kernel, 5, stride=3) @ x
    assert_equal(ours, signal.upfirdn(kernel, x, up=3))


def test_strided_convolution_is_upfirdn_down():
    # upfirdn keeps every third sample of the full convolution
    kernel, x = draw(4, 24), draw(9, 25)
    ours = stc.conv_matrix(kernel, 9, stride=3, padding="full", flip=True) @ x
    assert_equal(ours, signal.upfirdn(kernel, x, down=3))
