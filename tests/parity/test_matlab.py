"""MATLAB's ``conv2``, ``convmtx2``, ``filter2`` and ``imfilter``, as their documentation has them, against the matrices.

MATLAB is not here. ``conv2`` is written out by its sum, and ``imfilter`` is SciPy's correlation with the window placed
as documented: the middle tap is number ``floor((k + 1) / 2)``, counted from 1. For arrays in MATLAB's column order the
same holds with all shapes turned, since the two orders are those of an array and of its transpose.
"""

import numpy as np
import pytest
from scipy import ndimage, signal

import sparsetconv as stc

SHAPES = {
    # every axis different, even and odd
    "even-odd": ((4, 3), (5, 6)),
    "odd-even": ((3, 2), (4, 5)),
    "even-even": ((2, 4), (6, 5)),
    "odd-odd": ((3, 5), (7, 6)),
}
# imfilter's boundary options and ours; a number is the value outside, and only 0 is linear
BOUNDARIES = {
    "0": ("constant", "zeros"),
    "symmetric": ("reflect", "symmetric"),
    "replicate": ("nearest", "replicate"),
    "circular": ("wrap", "circular"),
}

each_shape = pytest.mark.parametrize("name", SHAPES)


def draw(shape, seed):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


def conv2(a, b, shape="full"):
    """``C(j, k)`` is the sum of ``A(p, q) B(j - p + 1, k - q + 1)``; "same" is the central part, of the size of A.

    Where the middle falls between two samples it begins behind it: ``ceil((k - 1) / 2)`` samples are left out in front.
    """
    full = np.zeros(np.add(a.shape, b.shape) - 1)
    for (p, q), value in np.ndenumerate(a):
        full[p : p + b.shape[0], q : q + b.shape[1]] += value * b
    starts = {"full": (0, 0), "same": [k // 2 for k in b.shape], "valid": [k - 1 for k in b.shape]}[shape]
    sizes = {
        "full": full.shape,
        "same": a.shape,
        "valid": [n - k + 1 for n, k in zip(a.shape, b.shape, strict=True)],
    }[shape]
    return full[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))]


def ours(kernel, x, **options):
    A = stc.ConvOperator(kernel, x.shape, **options)
    y = (stc.conv_matrix(kernel, x.shape, **options) @ x.ravel()).reshape(A.output_shape)
    np.testing.assert_array_equal(A.apply(x), y)
    return y


@each_shape
def test_conv2(name):
    taps, sizes = SHAPES[name]
    kernel, x = draw(taps, 1), draw(sizes, 2)
    np.testing.assert_array_equal(conv2(x, kernel), signal.convolve2d(x, kernel))
    np.testing.assert_array_equal(conv2(x, kernel, "valid"), signal.convolve2d(x, kernel, "valid"))
    same = [((k - 1) // 2, k // 2) for k in taps]
    for shape, padding in (("full", "full"), ("valid", "valid"), ("same", same)):
        expected = conv2(x, kernel, shape)
        np.testing.assert_array_equal(ours(kernel, x, padding=padding, flip=True), expected, strict=True)


def test_conv_same_with_two_taps():
    # conv([1 2 3], [1 1], 'same') is [3 5 3] in MATLAB and Octave; NumPy and SciPy have [1 3 5]
    x, kernel = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0])
    assert ours(kernel, x, padding=((0, 1),), flip=True).tolist() == [3, 5, 3]
    assert signal.convolve(x, kernel, "same").tolist() == [1, 3, 5]


@each_shape
def test_filter2(name):
    # filter2(h, x, shape) is conv2 with the kernel turned by half a circle
    taps, sizes = SHAPES[name]
    kernel, x = draw(taps, 3), draw(sizes, 4)
    same = [((k - 1) // 2, k // 2) for k in taps]
    for shape, padding in (("full", "full"), ("valid", "valid"), ("same", same)):
        expected = conv2(x, kernel[::-1, ::-1], shape)
        np.testing.assert_array_equal(ours(kernel, x, padding=padding), expected, strict=True)


@each_shape
def test_convmtx2(name):
    # convmtx2(H, m, n) * X(:) is conv2(X, H)(:), columns first
    taps, (m, n) = SHAPES[name]
    kernel, x = draw(taps, 5), draw((m, n), 6)
    expected = conv2(x, kernel)
    by_rows = stc.conv_matrix(kernel, (m, n), padding="full", flip=True)
    np.testing.assert_array_equal(by_rows @ x.ravel(), expected.ravel())
    by_columns = stc.conv_matrix(kernel.T, (n, m), padding="full", flip=True)
    np.testing.assert_array_equal(by_columns @ x.ravel("F"), expected.ravel("F"))


@each_shape
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_imfilter(name, boundary):
    # SciPy's window has tap k // 2 in the middle, counted from 0, and origin moves it
    taps, sizes = SHAPES[name]
    kernel, x = draw(taps, 7), draw(sizes, 8)
    theirs, mode = BOUNDARIES[boundary]
    origin = [(k - 1) // 2 - k // 2 for k in taps]
    expected = ndimage.correlate(x, kernel, mode=theirs, origin=origin)
    padding = [((k - 1) // 2, k // 2) for k in taps]
    np.testing.assert_array_equal(ours(kernel, x, padding=padding, padding_mode=mode), expected, strict=True)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_imfilter_convolving(boundary):
    # "conv", for kernels that have a middle
    kernel, x = draw((3, 5), 9), draw((7, 6), 10)
    theirs, mode = BOUNDARIES[boundary]
    expected = ndimage.convolve(x, kernel, mode=theirs)
    y = ours(kernel, x, padding=(1, 2), padding_mode=mode, flip=True)
    np.testing.assert_array_equal(y, expected, strict=True)


@each_shape
def test_imfilter_full(name):
    taps, sizes = SHAPES[name]
    kernel, x = draw(taps, 11), draw(sizes, 12)
    expected = signal.correlate2d(x, kernel, "full", boundary="symm")
    padding = [(k - 1, k - 1) for k in taps]
    np.testing.assert_array_equal(
        ours(kernel, x, padding=padding, padding_mode="symmetric"), expected, strict=True
    )
