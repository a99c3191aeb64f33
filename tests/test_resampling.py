"""Zero insertion, and the identity T = C1 Z."""

import numpy as np
import pytest
from hypothesis import given
from strategies import distinct_kernel, examples, geometries

import sparsetconv as stc


@pytest.mark.parametrize(
    ("shape", "stride"), [((3,), 2), ((2, 3), (3, 2)), ((2, 3, 4), (2, 3)), ((1, 4), 5), ((3, 2), 1)]
)
def test_entries(shape, stride):
    Z = stc.zero_insertion_matrix(shape, stride, dtype=np.int64)
    given_strides = stride if isinstance(stride, tuple) else (stride,) * len(shape)
    strides = (1,) * (len(shape) - len(given_strides)) + given_strides
    large = [(n - 1) * s + 1 for n, s in zip(shape, strides, strict=True)]
    x = np.arange(1, np.prod(shape) + 1).reshape(shape)
    expected = np.zeros(large, int)
    expected[tuple(slice(None, None, s) for s in strides)] = x
    np.testing.assert_array_equal((Z @ x.ravel()).reshape(large), expected)
    assert Z.nnz == x.size
    assert Z.has_canonical_format


@examples(300)
@given(geometries(max_ndim=3))
def test_transposed_convolution_is_zero_insertion_and_convolution(case):
    """T = C1 Z exactly, for every stride, dilation, crop and channel layout with zero padding."""
    kernel_shape, input_shape, options = case
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **{**options, "padding_mode": "zeros"})
    ndim = geometry.ndim
    small, axes = geometry.output_shape, geometry.axes
    kernel = distinct_kernel(kernel_shape)
    T = stc.conv_transpose_matrix(
        kernel, small, stride=geometry.stride, dilation=geometry.dilation, groups=geometry.groups,
        padding=tuple((a.before, a.high - a.size + 1) for a in axes), flip=geometry.flip,
    )  # fmt: skip
    Z = stc.zero_insertion_matrix(small, geometry.stride, dtype=np.int64)
    # C1: stride 1, the kernel mirrored and its channels exchanged within each group
    mirrored = kernel[(..., *(slice(None, None, -1),) * ndim)]
    if geometry.has_channels:
        c_in, c_out = geometry.channels
        mirrored = mirrored.reshape(geometry.groups, c_out, c_in, *kernel_shape[2:]).swapaxes(1, 2)
        mirrored = mirrored.reshape(geometry.groups * c_in, c_out, *kernel_shape[2:])
    stuffed = tuple((a.outputs - 1) * a.stride + 1 for a in axes)
    # T's pads crop the full convolution
    pads = tuple((a.extent - 1 - a.before, a.extent - 1 - (a.high - a.size + 1)) for a in axes)
    C1 = stc.conv_matrix(
        mirrored, (*small[: len(small) - ndim], *stuffed), padding=pads, dilation=geometry.dilation,
        groups=geometry.groups, flip=geometry.flip,
    )  # fmt: skip
    np.testing.assert_array_equal((C1 @ Z).toarray(), T.toarray())


def test_wasted_share():
    """Of the multiplications of C1 with the stuffed array, 1 - 1/stride**d are with a zero, up to the border."""
    Z = stc.zero_insertion_matrix((50, 50), 3)
    C1 = stc.conv_matrix(np.ones((5, 5)), (148, 148), padding=4)
    useful = (C1 @ (Z @ np.ones(2500))).sum()
    assert 1 - useful / C1.nnz == pytest.approx(1 - 1 / 9, abs=0.01)


@pytest.mark.parametrize("dtype", ["int8", "float32", "complex128"])
def test_dtype(dtype):
    assert stc.zero_insertion_matrix(3, 2, dtype=dtype).dtype == dtype


@pytest.mark.parametrize(
    ("args", "options", "error", "match"),
    [
        ((3, 0), {}, ValueError, "stride must be at least 1, got 0"),
        ((3, (2, 2)), {}, ValueError, "stride must be one integer or one for each of the last axes"),
        ((3, 1.5), {}, TypeError, "stride must be an integer, got 1.5"),
        ((0, 2), {}, ValueError, r"input_shape\[0\] must be at least 1, got 0"),
        ((3, 2), {"dtype": "float16"}, TypeError, "dtype must be float32, .* got float16"),
        (((10**6, 10**6), 100), {}, MemoryError, r"the matrix needs \d+ bytes"),
    ],
)
def test_bad_input(args, options, error, match):
    with pytest.raises(error, match=match):
        stc.zero_insertion_matrix(*args, **options)
