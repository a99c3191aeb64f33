"""Estimated cost of each method on a GPU: the model behind ``method="auto"`` there.

Floor 3. A product takes the time of its launches, and of what is longest: bytes through the memory, or
multiplications. The constants are those of `cuda_tuning`: ``launch``, seconds of a launch with what Python
does around it; ``byte``, seconds of a byte through the card's memory; ``stencil_multiply`` and
``gemm_multiply``, of a float32 multiplication in the stencil and in cuBLAS (a double takes twice as long);
``integer_gemm``, how much longer integers take, which cuBLAS does not know; ``passes_per_log``, how often a
transform reads and writes its array, for each doubling of the length. As long as that table says that nothing
has been measured, they are estimates, of a data sheet's order, and only their ratios mean something.
"""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

from sparsetconv._methods.cuda import tuning

if TYPE_CHECKING:
    import numpy as np

    from sparsetconv._geometry.convolution import ConvGeometry


def measured_on() -> str | None:
    """Return the name of the card on which the constants were measured, or None if they were not."""
    return tuning.shipped().measured_on


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
    costs = tuning.shipped().costs
    launch, byte = costs["launch"], costs["byte"]
    axes, groups, (c_in, c_out) = geometry.axes, geometry.groups, geometry.channels
    taps, outputs = prod(axis.taps for axis in axes), prod(axis.outputs for axis in axes)
    points = prod(axis.high - axis.low + 1 for axis in axes)
    size = dtype.itemsize
    parts = 4 if dtype.kind == "c" else 1
    precise = 2 if dtype.char in "dD" else 1
    multiplies = groups * c_in * c_out * outputs * taps * parts * precise
    ends = byte * size * groups * (c_in * points + c_out * outputs)
    products = costs["gemm_multiply"] * multiplies * (costs["integer_gemm"] if dtype.kind in "iu" else 1)
    # written and read in the second-level cache, which is about twice as fast as the memory
    panels = byte * size * groups * c_in * outputs * taps
    # a complex number for each real one, there and back, half of them kept
    passes = max(1.0, costs["passes_per_log"] * log2(max(2, points)))
    transforms = byte * 2 * size * points * groups * (c_in + c_out + c_in * c_out) * passes
    return {
        "sparse": launch + byte * geometry.nnz * (size + geometry.index_dtype.itemsize) + ends,
        "direct": launch + max(ends, costs["stencil_multiply"] * multiplies),
        # zeros around, the panel, its product, and the results to their places
        "gemm": launch * 4 + panels + products + ends,
        "fft": launch * 6 + 2 * ends + transforms,
    }
