"""Products with a Kronecker product of small sparse matrices, one along each axis of an array.

`ResizeOperator` uses this. Each factor is multiplied along its axis as a CSR matrix with several vectors:
large arrays by compiled loops, in threads, smaller ones by SciPy (see ``csr.product``), whose results are
copied to their place while they are in cache. Along the last axes pieces are transposed there. The axes are
processed in the order of least work.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._methods.cpu.csr.product import Csr, CsrArrays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Loops = Callable[..., None]

    from sparsetconv._arrays.types import Array

# number of vectors at which SciPy's product becomes efficient; bytes of a piece, to stay in cache
WIDE, PIECE = 16, 1 << 18
# cost of transposing an element, in multiplications
TRANSPOSE_COST = 3
# elements above which a second thread pays off
THREAD_WORK = 1 << 16


class _Rows(NamedTuple):
    """Rows of a matrix, as a matrix of their own, from ``first`` up to ``last``."""

    first: int
    last: int
    matrix: Any


class _Matrix:
    """A CSR matrix, whole and in ranges of rows.

    Parameters
    ----------
    csr : (m, n) scipy.sparse.csr_array

    Attributes
    ----------
    csr, shape, dtype : scipy.sparse.csr_array, tuple of int, dtype
    arrays : CsrArrays
    """

    def __init__(self, csr: Any) -> None:
        # SciPy computes these in each access
        self.csr, self.shape, self.dtype = csr, csr.shape, csr.dtype
        self.arrays = CsrArrays.of(csr)
        self.loops = Csr(csr).loops
        self.parts = lru_cache(maxsize=None)(self._divided)

    def _divided(self, count: int) -> list[_Rows]:
        """Return ``count`` ranges of about as many rows each."""
        if count == 1:
            return [_Rows(0, self.shape[0], self.csr)]
        cuts = [self.shape[0] * n // count for n in range(count + 1)]
        return [_Rows(first, last, self.csr[first:last]) for first, last in pairwise(cuts)]


class _Factor(NamedTuple):
    """A factor and its transpose, in one dtype."""

    forward: _Matrix
    transposed: _Matrix


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
            converted[number] = _Factor(_Matrix(factor), _Matrix(factor.T.tocsr()))
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


def along_axis(matrix: _Matrix, x: Array, axis: int, out: Array | None = None) -> Array:
    """Multiply a real CSR matrix along one axis of an array.

    Parameters
    ----------
    matrix : (m, n) _Matrix
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
    # a complex number is two adjacent real numbers
    real, width = matrix.dtype, trail * (2 if x.dtype.kind == "c" else 1)
    source, shape = x.view(real).reshape(lead, n, width), (*x.shape[:axis], m, *x.shape[axis + 1 :])
    loops = matrix.loops(source, lead * width)
    size = lead * width * max(m, n)
    workers = thread_count() if size > THREAD_WORK else 1
    if loops is None and workers == 1 == lead:
        return placed((matrix.csr @ source[0]).view(x.dtype).reshape(shape), out)
    result = result_array(out, shape, x.dtype)
    target = result.view(real).reshape(lead, m, width)
    if width < WIDE:
        _by_pieces(matrix, source, target, workers, loops)
    elif loops is None:
        _by_scipy(matrix, source, target, workers)
    else:
        _by_loops(matrix, source, target, workers, loops)
    return result


def _by_loops(matrix: _Matrix, source: Array, target: Array, workers: int, loops: Loops) -> None:
    """Multiply ``(lead, n, width)``; a work item is a range of the matrix' rows and one leading array."""
    lead, m, width = target.shape
    parts = workers if lead < workers else 1
    cuts = [m * n // parts for n in range(parts + 1)]

    def multiply(item: tuple[int, tuple[int, int]]) -> None:
        place, rows = item
        loops(*matrix.arrays, source[place].reshape(-1), target[place].reshape(-1), *rows, width, width)

    for_each(multiply, [(place, rows) for place in range(lead) for rows in pairwise(cuts)], workers)


def _by_scipy(matrix: _Matrix, source: Array, target: Array, workers: int) -> None:
    """Multiply ``(lead, n, width)`` without the loops; results are copied to their place while in cache."""
    lead, m, width = target.shape
    least = workers if lead < workers else 1
    pieces = matrix.parts(min(m, max(least, -(-m * width * target.itemsize // PIECE))))

    def multiply(item: tuple[int, _Rows]) -> None:
        place, (first, last, rows) = item
        target[place, first:last] = rows @ source[place]

    for_each(multiply, [(place, rows) for place in range(lead) for rows in pieces], workers)


def _by_pieces(matrix: _Matrix, source: Array, target: Array, workers: int, loops: Loops | None) -> None:
    """Multiply ``(lead, n, width)`` of small width: several leading arrays at once, transposed."""
    m, n = matrix.shape
    lead, _, width = source.shape
    count = max(WIDE, PIECE // (max(m, n) * width * target.itemsize))

    def multiply(start: int) -> None:
        piece = source[start : start + count]
        side = piece.swapaxes(0, 1).reshape(n, -1)
        if loops is None:
            product = matrix.csr @ side
        else:
            columns = side.shape[1]
            product = np.empty((m, columns), target.dtype)
            loops(*matrix.arrays, side.reshape(-1), product.reshape(-1), 0, m, columns, columns)
        target[start : start + len(piece)] = product.reshape(m, len(piece), width).swapaxes(0, 1)

    for_each(multiply, range(0, lead, count), workers)
