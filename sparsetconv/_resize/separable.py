"""Products with a Kronecker product of small sparse matrices, one along each axis of an array.

`ResizeOperator` uses this. Each factor is multiplied along its axis by SciPy's product of a CSR matrix and
several vectors, which threads call on contiguous pieces. Along the last axes the pieces are transposed while
they are in cache. Nothing is compiled. The axes are processed in the order of least work.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse._sparsetools import csr_matvecs

from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.threads import for_each, thread_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array

# number of vectors at which SciPy's product becomes efficient; bytes of a transposed piece, to stay in cache
WIDE, PIECE = 16, 1 << 18
# cost of transposing an element, in multiplications
TRANSPOSE_COST = 3
# elements above which a second thread pays off
THREAD_WORK = 1 << 16


class _Factor(NamedTuple):
    """A factor and its transpose, in one dtype."""

    forward: Any
    transposed: Any


class Separable:
    """The Kronecker product of factors.

    Parameters
    ----------
    factors : sequence of (m, n) scipy.sparse.csr_array
        Real, one for each axis; None for an axis that does not change.
    sizes : sequence of (int, int)
        ``(m, n)`` of each axis.
    """

    def __init__(self, factors: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> None:
        self._factors = tuple(factors)
        self._orders = [
            least_work(factors, sizes, transposed, TRANSPOSE_COST) for transposed in (False, True)
        ]
        self._of_dtype = lru_cache(maxsize=None)(self._converted)

    def _converted(self, dtype: np.dtype[Any]) -> dict[int, _Factor]:
        real = np.zeros(0, dtype).real.dtype
        converted = {}
        for number in self._orders[False]:
            factor = self._factors[number].astype(real)
            converted[number] = _Factor(factor, factor.T.tocsr())
        return converted

    def apply(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """Multiply each array of a batch.

        Parameters
        ----------
        x : (batch, n1, ..., nd) array
            Floating-point; ``(batch, m1, ..., md)`` if transposed.
        transposed : bool
            Whether to multiply by the transpose.
        out : (batch, m1, ..., md) array, optional
            For the result, in C order.

        Returns
        -------
        (batch, m1, ..., md) array
            ``(batch, n1, ..., nd)`` if transposed. Never ``x`` itself.
        """
        factors, order = self._of_dtype(x.dtype), self._orders[transposed]
        if not order:
            return x.copy() if out is None else placed(x, out)
        for number in order:
            factor = factors[number]
            last = out if number == order[-1] else None
            x = along_axis(factor.transposed if transposed else factor.forward, x, number + 1, last)
        return x


def least_work(
    factors: Sequence[Any], sizes: Sequence[tuple[int, int]], transposed: bool, transpose_cost: int
) -> list[int]:
    """Return the axes in the order of least work; ``transpose_cost`` is the cost of transposing an element.

    The product along an axis costs ``k`` multiplications per element, and multiplies the number of elements
    by ``r``. So of two consecutive axes, ``i`` comes before ``j`` if ``k_i + r_i * k_j < k_j + r_j * k_i``.
    """
    keys = {}
    for number, (factor, (m, n)) in enumerate(zip(factors, sizes, strict=True)):
        if factor is None:
            continue
        trail = prod(side[transposed] for side in sizes[number + 1 :])
        work = factor.nnz + (transpose_cost * (m + n) if trail < WIDE else 0)
        before, after = (m, n) if transposed else (n, m)
        keys[number] = (after - before) / work
    return sorted(keys, key=keys.__getitem__)


def along_axis(matrix: Any, x: Array, axis: int, out: Array | None = None) -> Array:
    """Multiply a real CSR matrix along one axis of an array.

    Parameters
    ----------
    matrix : (m, n) scipy.sparse.csr_array
    x : (..., n, ...) array
        Of the matrix' dtype, or complex of the same precision.
    axis : int
    out : (..., m, ...) array, optional
        For the result, in C order.

    Returns
    -------
    (..., m, ...) array
    """
    m, n = matrix.shape
    x = np.ascontiguousarray(x)
    lead, trail = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    result = result_array(out, (*x.shape[:axis], m, *x.shape[axis + 1 :]), x.dtype, zeros=True)
    # a complex number is two adjacent real numbers
    real, width = matrix.dtype, trail * (2 if x.dtype.kind == "c" else 1)
    source, target = x.view(real).reshape(lead, n, width), result.view(real).reshape(lead, m, width)
    workers = thread_count() if max(source.size, target.size) > THREAD_WORK else 1
    if width >= WIDE:
        _by_rows(matrix, source, target, workers)
    else:
        _by_pieces(matrix, source, target, workers)
    return result


def _by_rows(matrix: Any, source: Array, target: Array, workers: int) -> None:
    """Multiply ``(lead, n, width)``; a work item is a range of the matrix' rows and one leading array."""
    m, n = matrix.shape
    lead, _, width = source.shape
    parts = workers if lead < workers else 1
    cuts = [m * part // parts for part in range(parts + 1)]

    def multiply(item: tuple[int, int, int]) -> None:
        place, first, last = item
        rows = matrix.indptr[first : last + 1], matrix.indices, matrix.data
        csr_matvecs(last - first, n, width, *rows, source[place].ravel(), target[place, first:last].ravel())

    items = [(place, *cuts[part : part + 2]) for place in range(lead) for part in range(parts)]
    for_each(multiply, items, workers)


def _by_pieces(matrix: Any, source: Array, target: Array, workers: int) -> None:
    """Multiply ``(lead, n, width)`` of small width: several leading arrays at once, transposed."""
    m, n = matrix.shape
    lead, _, width = source.shape
    count = max(WIDE, PIECE // (max(m, n) * width * target.itemsize))

    def multiply(start: int) -> None:
        piece = source[start : start + count]
        side = np.ascontiguousarray(np.moveaxis(piece, 0, 1))
        product = np.zeros((m, len(piece), width), target.dtype)
        vectors = len(piece) * width
        csr_matvecs(m, n, vectors, matrix.indptr, matrix.indices, matrix.data, side.ravel(), product.ravel())
        target[start : start + len(piece)] = np.moveaxis(product, 0, 1)

    for_each(multiply, range(0, lead, count), workers)
