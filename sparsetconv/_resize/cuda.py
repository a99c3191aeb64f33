"""Products with a Kronecker product of small sparse matrices on a GPU, with one launch per axis.

`ResizeOperator` uses this. The CUDA kernel, ``source/along_axis.cu``, multiplies along any axis, so that no
array is transposed.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays import cuda
from sparsetconv._arrays.record import filled, record
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.streams import Kept
from sparsetconv._resize.separable import least_work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array

THREADS = 128
# the struct of ``source/along_axis.cu``
SIZES = record("lead", "rows", "columns", "trail")


class _Factor(NamedTuple):
    """A CSR matrix on the device."""

    shape: tuple[int, int]
    pointers: Array
    indices: Array
    values: Array


class CudaSeparable:
    """The Kronecker product of factors; arguments as for `Separable`, and the backend."""

    def __init__(self, factors: Sequence[Any], sizes: Sequence[tuple[int, int]], backend: Backend) -> None:
        self._factors, self._backend = tuple(factors), backend
        self._orders = [
            least_work(factors, sizes, transposed, transpose_cost=0) for transposed in (False, True)
        ]
        self._kept: Kept[dict[int, _Factor]] = Kept(backend)

    def _of_dtype(self, dtype: np.dtype[Any], transposed: bool) -> dict[int, _Factor]:
        """Return the factors on the device, in the order in which they are applied."""
        real, asarray = np.zeros(0, dtype).real.dtype, self._backend.xp.asarray
        converted = {}
        for number in self._orders[transposed]:
            factor = self._factors[number]
            matrix = factor.T.tocsr() if transposed else factor
            pointers, indices = (asarray(a.astype(np.int32)) for a in (matrix.indptr, matrix.indices))
            converted[number] = _Factor(matrix.shape, pointers, indices, asarray(matrix.data.astype(real)))
        return converted

    def apply(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """Multiply each array of a batch; see `Separable.apply`."""
        order, make = self._orders[transposed], partial(self._of_dtype, x.dtype, transposed)
        if not order:
            return x.copy() if out is None else placed(x, out)
        for number, factor in self._kept.get((x.dtype, transposed), make).items():
            x = self._along_axis(factor, x, number + 1, out if number == order[-1] else None)
        return x

    def _along_axis(self, factor: _Factor, x: Array, axis: int, out: Array | None) -> Array:
        xp = self._backend.xp
        rows, columns = factor.shape
        lead, trail = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
        result = result_array(out, (*x.shape[:axis], rows, *x.shape[axis + 1 :]), x.dtype, xp)
        constants = (
            ("VALUE", cuda.type_name(x.dtype)),
            ("FACTOR", cuda.type_name(factor.values.dtype)),
            ("Sizes", SIZES),
            ("ID", "unsigned int" if result.size + THREADS < 2**32 else "unsigned long long"),
        )
        sizes = filled(SIZES, lead=lead, rows=rows, columns=columns, trail=trail)
        function = cuda.kernel(self._backend, ("along_axis.cu",), constants, "along_axis")
        numbers, array = cuda.by_value(sizes), cuda.contiguous(xp, x, x.dtype)
        arguments = numbers, *factor[1:], array, result
        cuda.launch(function, -(-result.size // THREADS), (THREADS,), arguments)
        return result
