"""TensorFlow's SAME and VALID, written out from its documentation ("Notes on padding"), against the matrices.

The formulas stand here on their own: nothing is taken from the package but what is tested.
"""

import itertools
import math

import numpy as np
import pytest

import sparsetconv as stc

SIZES = (1, 2, 3, 4, 7, 8, 12)
TAPS = (1, 2, 3, 4, 5)
STRIDES = (1, 2, 3, 5)
DILATIONS = (1, 2, 3)

each_stride = pytest.mark.parametrize("stride", STRIDES, ids="s{}".format)
each_dilation = pytest.mark.parametrize("dilation", DILATIONS, ids="d{}".format)
each_taps = pytest.mark.parametrize("taps", TAPS, ids="k{}".format)


def kernel_of(taps):
    """Return taps of which no two are equal."""
    return np.arange(2, taps + 2) ** 2


def signal_of(size):
    return np.random.default_rng(size).permutation(np.arange(1, size + 1))


def extent_of(taps, dilation):
    return dilation * (taps - 1) + 1


def same_size(size, stride):
    return math.ceil(size / stride)


def same_pads(size, taps, stride, dilation):
    """The total depends on what is left of the size; the odd one of it is at the end."""
    extent = extent_of(taps, dilation)
    total = max(extent - stride, 0) if size % stride == 0 else max(extent - size % stride, 0)
    return total // 2, total - total // 2


def valid_size(size, taps, stride, dilation):
    return math.ceil((size - extent_of(taps, dilation) + 1) / stride)


def convolve(x, kernel, outputs, before, stride, dilation):
    """Return the outputs one by one; a tap that falls outside reads zero."""
    y = []
    for o in range(outputs):
        positions = [o * stride + t * dilation - before for t in range(len(kernel))]
        y.append(sum(w * x[p] for w, p in zip(kernel, positions, strict=True) if 0 <= p < len(x)))
    return np.array(y)


def matrix_of(kernel, size, outputs, before, stride, dilation):
    """Return the same as a dense matrix, a column for each unit vector."""
    unit = np.eye(size, dtype=int)
    return np.array([convolve(e, kernel, outputs, before, stride, dilation) for e in unit]).T


@each_taps
@each_stride
@each_dilation
def test_same(taps, stride, dilation):
    kernel = kernel_of(taps)
    for size in SIZES:
        before, after = same_pads(size, taps, stride, dilation)
        outputs = same_size(size, stride)
        expected = matrix_of(kernel, size, outputs, before, stride, dilation)
        options = {"stride": stride, "dilation": dilation, "padding": "same"}
        geometry = stc.ConvGeometry(size, taps, **options)
        assert geometry.padding == ((before, after),)
        assert geometry.output_shape == (outputs,)
        # of a sample or two a dilated even kernel may miss all
        assert expected.any() or size < 3
        matrix = stc.conv_matrix(kernel, size, **options)
        np.testing.assert_array_equal(matrix.toarray(), expected)
        x = signal_of(size)
        y = convolve(x, kernel, outputs, before, stride, dilation)
        np.testing.assert_array_equal(matrix @ x, y)
        np.testing.assert_array_equal(stc.ConvOperator(kernel, size, **options) @ x, y)


@each_taps
@each_stride
@each_dilation
def test_same_lower(taps, stride, dilation):
    # ONNX's name for the same total with its odd one at the beginning
    kernel = kernel_of(taps)
    for size in SIZES:
        before, after = same_pads(size, taps, stride, dilation)
        options = {"stride": stride, "dilation": dilation}
        assert stc.ConvGeometry(size, taps, padding="same_lower", **options).padding == ((after, before),)
        lower = stc.conv_matrix(kernel, size, padding="same_lower", **options).toarray()
        expected = matrix_of(kernel, size, same_size(size, stride), after, stride, dilation)
        np.testing.assert_array_equal(lower, expected)


@each_taps
@each_stride
@each_dilation
def test_valid(taps, stride, dilation):
    kernel = kernel_of(taps)
    fitting = [size for size in (*SIZES, 15, 20) if size >= extent_of(taps, dilation)]
    assert len(fitting) >= 2
    for size in fitting:
        outputs = valid_size(size, taps, stride, dilation)
        expected = matrix_of(kernel, size, outputs, 0, stride, dilation)
        options = {"stride": stride, "dilation": dilation, "padding": "valid"}
        matrix = stc.conv_matrix(kernel, size, **options)
        np.testing.assert_array_equal(matrix.toarray(), expected)
        x = signal_of(size)
        np.testing.assert_array_equal(matrix @ x, convolve(x, kernel, outputs, 0, stride, dilation))


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid"])
def test_axes_are_independent(padding):
    # an image, its axes different in everything: even and odd totals, one with a remainder
    sizes, taps, strides, dilations = (8, 7), (4, 3), (1, 2), (1, 2)
    axes = list(zip(sizes, taps, strides, dilations, strict=True))
    kernel = np.random.default_rng(1).integers(-9, 10, taps)
    x = np.random.default_rng(2).integers(-9, 10, sizes)
    if padding == "valid":
        pads, outputs = [(0, 0)] * 2, [valid_size(*axis) for axis in axes]
    else:
        pads = [same_pads(*axis)[:: 1 if padding == "same" else -1] for axis in axes]
        outputs = [same_size(n, s) for n, _, s, _ in axes]
    padded = np.pad(x, pads)
    expected = np.zeros(outputs, int)
    for o, t in itertools.product(np.ndindex(*outputs), np.ndindex(*taps)):
        place = tuple(i * s + j * d for i, s, j, d in zip(o, strides, t, dilations, strict=True))
        expected[o] += kernel[t] * padded[place]
    matrix = stc.conv_matrix(kernel, sizes, stride=strides, dilation=dilations, padding=padding)
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(outputs), expected)


@each_taps
@each_stride
@each_dilation
@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_transposed_same(taps, stride, dilation, word):
    # n * stride samples, and the adjoint of the forward SAME from there
    kernel = kernel_of(taps)
    for small in (1, 2, 3, 6):
        large = small * stride
        before = same_pads(large, taps, stride, dilation)[0 if word == "same" else 1]
        forward = matrix_of(kernel, large, small, before, stride, dilation)
        options = {"stride": stride, "dilation": dilation, "padding": word}
        matrix = stc.conv_transpose_matrix(kernel, small, **options)
        assert matrix.shape == (large, small)
        np.testing.assert_array_equal(matrix.toarray(), forward.T)
        np.testing.assert_array_equal(matrix.toarray(), stc.conv_matrix(kernel, large, **options).toarray().T)
        operator = stc.ConvTransposeOperator(kernel, small, **options)
        x = signal_of(small)
        np.testing.assert_array_equal(operator @ x, forward.T @ x)


@each_taps
@each_stride
@each_dilation
def test_transposed_same_of_a_given_size(taps, stride, dilation):
    # conv2d_transpose takes every size whose forward SAME gives n samples: n * stride is the last of them
    kernel = kernel_of(taps)
    for small in (1, 2, 5):
        sizes = [size for size in range(1, 30) if same_size(size, stride) == small]
        assert len(sizes) == stride
        assert sizes[-1] == small * stride
        for large in sizes:
            before, _ = same_pads(large, taps, stride, dilation)
            forward = matrix_of(kernel, large, small, before, stride, dilation)
            options = {"stride": stride, "dilation": dilation, "padding": "same"}
            matrix = stc.conv_transpose_matrix(kernel, small, output_shape=large, **options)
            np.testing.assert_array_equal(matrix.toarray(), forward.T)


@each_taps
@each_stride
def test_transposed_valid(taps, stride):
    # TensorFlow's own default is n * s + max(k - s, 0), torch's and ours (n - 1) * s + k
    kernel = kernel_of(taps)
    for small in (1, 2, 5):
        large = small * stride + max(taps - stride, 0)
        assert valid_size(large, taps, stride, 1) == small
        forward = matrix_of(kernel, large, small, 0, stride, 1)
        options = {"stride": stride, "padding": "valid"}
        matrix = stc.conv_transpose_matrix(kernel, small, output_shape=large, **options)
        np.testing.assert_array_equal(matrix.toarray(), forward.T)
        default = stc.conv_transpose_matrix(kernel, small, **options)
        assert default.shape == ((small - 1) * stride + taps, small)
        # what they differ by are zeros at the end
        np.testing.assert_array_equal(matrix.toarray()[: default.shape[0]], default.toarray())
        assert matrix.nnz == default.nnz
