"""Estimated seconds of each method on a GPU: the model behind ``method="auto"`` there.

Floor 3. A product takes the time of its launches, and of what is longest: bytes through the memory, or
multiplications. The rates are those of an H100's data sheet times the share that such kernels usually reach;
**they have not been measured** on a card. ``asv_benchmarks/benchmarks/operators.py`` times each method there.
"""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from sparsetconv.geometry import ConvGeometry

# seconds: a launch with all that Python does around it; a byte at 70 % of 3.35 TB/s
LAUNCH = 2e-5
BYTE = 0.43e-12
# a float32 multiplication at 40 % of 33.5e12 in the stencil, at 80 % in cuBLAS; a double takes twice as long
STENCIL_MULTIPLY, GEMM_MULTIPLY = 75e-15, 37e-15
# cuBLAS knows no integers, CuPy multiplies them with a kernel of its own
INTEGER_GEMM = 20
# bytes of the array that a transform reads and writes, for each factor of the length
PASSES_PER_LOG = 0.25


def estimate(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> dict[str, float]:
    """Return the estimated seconds of one product by each method.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        Of the kernel.

    Returns
    -------
    dict
        From the method's name to seconds.
    """
    axes, groups, (c_in, c_out) = geometry.axes, geometry.groups, geometry.channels
    taps, outputs = prod(axis.taps for axis in axes), prod(axis.outputs for axis in axes)
    points = prod(axis.high - axis.low + 1 for axis in axes)
    size = dtype.itemsize
    parts = 4 if dtype.kind == "c" else 1
    precise = 2 if dtype.char in "dD" else 1
    multiplies = groups * c_in * c_out * outputs * taps * parts * precise
    ends = BYTE * size * groups * (c_in * points + c_out * outputs)
    products = GEMM_MULTIPLY * multiplies * (INTEGER_GEMM if dtype.kind in "iu" else 1)
    panels = BYTE * size * groups * c_in * outputs * taps * 3
    logs = log2(max(2, points))
    # a complex number for each real one, there and back, half of them kept
    passes = (
        BYTE * 2 * size * points * groups * (c_in + c_out + c_in * c_out) * max(1.0, PASSES_PER_LOG * logs)
    )
    return {
        "sparse": LAUNCH + BYTE * geometry.nnz * (size + geometry.index_dtype.itemsize) + ends,
        "direct": LAUNCH + max(ends, STENCIL_MULTIPLY * multiplies),
        "gemm": LAUNCH * (2 + taps) + panels + products + ends,
        "fft": LAUNCH * 6 + 2 * ends + passes,
    }
