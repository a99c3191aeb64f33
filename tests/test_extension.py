"""The extension of arrays, against walked-out periods."""

import numpy as np
import pytest
from hypothesis import given
from reference import extension_index
from strategies import examples, geometries

from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._geometry.extension import Extension


def naive_extension(x, axes):
    """Extend along each axis by a loop over positions."""
    for number, axis in enumerate(axes):
        sources = [extension_index(axis.mode, axis.size, p) for p in range(axis.low, axis.high + 1)]
        slabs = [
            np.zeros_like(x.take(0, number)) if source is None else x.take(source, number)
            for source in sources
        ]
        x = np.stack(slabs, number)
    return x


@examples(300)
@given(geometries(max_ndim=3))
def test_pad_and_unpad(case):
    kernel_shape, input_shape, options = case
    axes = ConvGeometry(input_shape, kernel_shape, **options).axes
    extension = Extension(axes)
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, [axis.size for axis in axes])
    padded = extension.pad(x)
    np.testing.assert_array_equal(padded, naive_extension(x, axes))
    # a batch is padded item by item
    np.testing.assert_array_equal(extension.pad(np.stack([x, -x])), np.stack([padded, -padded]))
    # unpad is the adjoint, exactly
    z = rng.integers(-9, 10, padded.shape)
    assert (padded * z).sum() == (x * extension.unpad(z.copy())).sum()


@pytest.mark.parametrize("dtype", ["int8", "float32", "complex64"])
def test_extension_keeps_dtype(dtype):
    axes = ConvGeometry((5, 6), (3, 2), padding=3, padding_mode=("replicate", "zeros")).axes
    extension = Extension(axes)
    padded = extension.pad(np.ones((5, 6), dtype))
    assert padded.dtype == dtype
    assert extension.unpad(padded).dtype == dtype
