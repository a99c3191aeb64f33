"""The memory layout of kernels below the public functions, with and without channels; transposed copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.results import result_array
from sparsetconv._arrays.threads import for_each, thread_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparsetconv._arrays.types import Array

# rows or columns of a matrix that are transposed at once, and elements for which that pays
COPY_BLOCK, COPY_WORK = 1024, 1 << 17
# bytes of a cache line
LINE_BYTES = 64


def last_axes(index: Iterable[Any]) -> Any:
    """Return an index of the last axes of an array that keeps all axes before them."""
    return (..., *index)


def oriented_weights(kernel: Array, groups: int, flip: bool, has_channels: bool) -> Array:
    """Return the kernel as ``(groups, c_out // groups, c_in // groups, k1, ..., kd)``, ``flip`` applied."""
    if has_channels:
        weights = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:])
    else:
        weights = kernel[None, None, None]
    return weights[last_axes([slice(None, None, -1)] * (weights.ndim - 3))] if flip else weights


def aligned(size: int, dtype: Any, zeros: bool = False) -> Array:
    """Return new memory for a flat array that begins with a cache line.

    Vectors as long as a cache line, those of AVX-512, are else loaded from two lines each.
    """
    nbytes = size * np.dtype(dtype).itemsize
    octets = (np.zeros if zeros else np.empty)(nbytes + LINE_BYTES, np.uint8)
    begin = -octets.ctypes.data % LINE_BYTES
    return octets[begin : begin + nbytes].view(dtype)


def transposed(x: Array, out: Array | None = None) -> Array:
    """Return the transpose of a matrix, contiguous; a large one is copied block by block, in threads."""
    rows, columns = x.shape
    copy = result_array(out, (columns, rows), x.dtype)
    if x.size < COPY_WORK:
        copy[...] = x.T
        return copy
    long, workers = max(rows, columns), thread_count()
    cuts = [long * n // workers for n in range(workers + 1)]

    def write(number: int) -> None:
        last = cuts[number + 1]
        for start in range(cuts[number], last, COPY_BLOCK):
            block = slice(start, min(start + COPY_BLOCK, last))
            if rows >= columns:
                copy[:, block] = x[block].T
            else:
                copy[block] = x[:, block].T

    for_each(write, range(workers), workers)
    return copy
