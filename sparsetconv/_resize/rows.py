"""Matrices of interpolation along one axis: exact positions, and rows computed block by block.

Positions are computed in integers, so that ties are exact and zero weights are not stored. Rows are computed
in blocks that stay in cache; if rows repeat, as for an integer factor, one block is computed and copied.
"""

from __future__ import annotations

from functools import cached_property, reduce
from math import lcm
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays import memory
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry.convolution import smallest_index_dtype
from sparsetconv._geometry.extension import samples_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.padding import PaddingMode

# entries of a block; positions of a part, which have the same offsets from its start in every part
BLOCK, PART = 1 << 16, 256
# fewer weights than this are added one after the other, more by NumPy's pairwise summation
SEQUENTIAL = 8
# bytes of scratch for each entry of a block
ENTRY_BYTES = 96


class Line:
    """Exact positions on a line, ``slope * o + start``.

    Parameters
    ----------
    slope, start : Fraction

    Attributes
    ----------
    denominator : int
        Common denominator of all positions.
    period, shift : int
        After ``period`` outputs the fractional parts repeat, ``shift`` samples further on.
    """

    def __init__(self, slope: Fraction, start: Fraction) -> None:
        self.denominator = lcm(slope.denominator, start.denominator)
        self.period, self.shift = slope.denominator, slope.numerator
        self._step, self._first = int(slope * self.denominator), int(start * self.denominator)
        # Python integers if the sum of two remainders does not fit in 64 bits
        self._dtype = np.dtype(np.int64 if self.denominator < 2**62 else object)

    @cached_property
    def _inner(self) -> tuple[Array, Array]:
        return self._divided(range(0, PART * self._step, self._step) if self._step else [0] * PART)

    def _divided(self, numerators: Any) -> tuple[Array, Array]:
        """Return quotients and remainders of Python integers by the denominator."""
        pairs = [divmod(number, self.denominator) for number in numerators]
        return np.array([q for q, _ in pairs], np.int64), np.array([r for _, r in pairs], self._dtype)

    def positions(self, start: int, stop: int) -> tuple[Array, Array]:
        """Return the positions of outputs ``start`` to ``stop``: floors, and numerators of the fractions."""
        outer = self._divided(first * self._step + self._first for first in range(start, stop, PART))
        floors, rests = (
            np.add.outer(a, b).reshape(-1)[: stop - start] for a, b in zip(outer, self._inner, strict=True)
        )
        carry = (rests >= self.denominator).astype(bool)
        return floors + carry, np.where(carry, rests - self.denominator, rests)


class Rows(NamedTuple):
    """The rows of an axis' matrix, computed for any range.

    Attributes
    ----------
    compute : callable
        ``compute(start, stop)`` returns two ``(width, rows)`` arrays: the samples that rows ``start`` to
        ``stop`` read, ascending, which may be beyond the signal, and their weights.
    width : int
        Number of samples that each row reads.
    border : PaddingMode
        The padding mode for samples beyond the signal.
    period, shift : int
        Among rows that read nothing beyond the signal, row ``o + period`` is row ``o`` with columns shifted
        by ``shift``. Rows never repeat if ``period`` is 0.
    """

    compute: Callable[[int, int], tuple[Array, Array]]
    width: int
    border: PaddingMode
    period: int = 0
    shift: int = 0


def assembled(rows: Rows, outputs: int, size: int, first: int = 0) -> Any:
    """Return the ``(outputs, size)`` matrix of rows, canonical and without stored zeros."""
    most = outputs * rows.width
    index = smallest_index_dtype(outputs, size, most)
    step = max(1, min(BLOCK // rows.width, outputs))
    need = most * (8 + index.itemsize) + outputs * index.itemsize + ENTRY_BYTES * step * rows.width
    memory.require("an axis of the matrix", need, "its sizes set that")
    repeats = 0 < rows.period <= step
    if repeats:
        step -= step % rows.period
    data, indices, pointers = np.empty(most), np.empty(most, index), np.zeros(outputs + 1, index)
    start = entry = 0
    while start < outputs:
        stop = min(start + step, outputs)
        reads, weights = rows.compute(first + start, first + stop)
        inside = bool(reads[0].min() >= 0 and reads[-1].max() < size)
        values, columns, counts = (
            _inner(reads, weights) if inside else _across(reads, weights, size, rows.border)
        )
        times = 1
        if repeats and inside and stop - start == step:
            further = rows.shift * (step // rows.period)
            times = (outputs - start) // step
            if further:
                times = min(times, (size - 1 - int(reads[-1].max())) // further + 1)
        end, last = entry + times * values.size, start + times * step if times > 1 else stop
        data[entry:end].reshape(times, -1)[...] = values
        moves = np.arange(times) * (further if times > 1 else 0)
        np.add(columns.astype(index), moves.astype(index)[:, None], out=indices[entry:end].reshape(times, -1))
        pointers[start + 1 : last + 1].reshape(times, -1)[...] = counts
        start, entry = last, end
    np.cumsum(pointers, out=pointers)
    # shrink in place, since zeros were not stored
    data.resize(entry, refcheck=False)
    indices.resize(entry, refcheck=False)
    smallest = smallest_index_dtype(outputs, size, entry)
    columns, ends = (array.astype(smallest, copy=False) for array in (indices, pointers))
    return NUMPY.csr(data, columns, ends, (outputs, size))


def totals(weights: Array) -> Array:
    """Return the sums of ``(width, rows)`` weights; the bits of a row's sum do not depend on other rows."""
    if len(weights) < SEQUENTIAL:
        return reduce(np.add, weights)
    sums: Array = np.ascontiguousarray(weights.T).sum(1)
    return sums


def _inner(reads: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return values, columns and row lengths of rows that read nothing beyond the signal."""
    stored = weights.T != 0
    if stored.all():
        return weights.T.ravel(), reads.T.ravel(), np.full(reads.shape[1], len(reads))
    return weights.T[stored], reads.T[stored], stored.sum(1)


def _across(reads: Array, weights: Array, size: int, border: PaddingMode) -> tuple[Array, Array, Array]:
    """Return values, columns and row lengths; weights beyond the signal are added to those of samples."""
    reads = samples_at(border, size, reads)
    numbers = np.broadcast_to(np.arange(reads.shape[1]), reads.shape)
    stored = weights != 0
    entries = weights[stored], (numbers[stored], reads[stored])
    matrix = canonical(sp.coo_array(entries, shape=(reads.shape[1], size)).tocsr())
    return matrix.data, matrix.indices, np.diff(matrix.indptr)


def canonical(matrix: Any) -> Any:
    """Return a CSR matrix with sorted rows, no duplicates and no zeros, in the smallest index dtype."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    index = smallest_index_dtype(*matrix.shape, matrix.nnz)
    matrix.indices, matrix.indptr = (a.astype(index, copy=False) for a in (matrix.indices, matrix.indptr))
    return matrix
