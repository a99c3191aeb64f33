"""The matrix of one axis, forward or transposed, row by row, as arrays.

A row consists of its columns and, for each column, the kernel taps that contribute to the entry. `AxisRows`
computes a range of rows at once, by array operations over all rows of the range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from sparsetconv._arrays.backend import backend_of
from sparsetconv._assembly.row_tables import Table
from sparsetconv._assembly.runs import LongRow, Runs, edge_sums, forward_runs, reads_edges, transposed_runs
from sparsetconv._geometry.segments import Segment, forward_segments, transposed_segments

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis

T = TypeVar("T")

# axes of at most this many taps are cached between calls
KEPT_TAPS = 64
# the most numbers that an axis keeps in its cache of rows and tables
KEPT_NUMBERS = 1 << 17
# mean number of entries per row from which on rows are made one by one
LONG_ROW = 1 << 5
# maximum numbers of runs and of entries that are made at once
RUNS_TOGETHER, ENTRIES_TOGETHER = 1 << 15, 1 << 14
# a row is scattered if it has more than FEW_RUNS runs, of fewer than FEW_PAIRS pairs each on average
FEW_RUNS, FEW_PAIRS = 8, 3


class Rows(NamedTuple):
    """A range of rows of an axis' matrix: columns, and the taps that contribute to each, row after row.

    Attributes
    ----------
    columns : (c,) int64 array
        Columns, ascending in each row, without duplicates.
    taps : slice or int array
        The kernel taps; those of one column are contiguous.
    starts : (c,) int array or None
        Where in ``taps`` the taps of each column begin; None if each column has one tap. Contracting the
        kernel with these rows is a segmented sum.
    sizes : (rows,) int array
        The number of columns of each row.
    run : int
        Step of the taps within every row; 0 if it is not constant.
    """

    columns: Array
    taps: slice | Array
    starts: Array | None
    sizes: Array
    run: int

    def fold(self, weights: Array, axis: int) -> Array:
        """Sum the taps of each column: the kernel's axis becomes an axis of columns."""
        if isinstance(self.taps, slice):
            return weights[(slice(None),) * axis + (self.taps,)]
        chosen = weights.take(self.taps, axis)
        if self.starts is None:
            return chosen
        folded: Array = np.add.reduceat(chosen, self.starts, axis, weights.dtype)
        return folded

    def fold_into(self, out: Array, weights: Array, axis: int) -> None:
        """Write the result of `fold` to ``out``."""
        out[...] = self.fold(weights, axis)

    @property
    def listed_taps(self) -> Array:
        """The taps as an array."""
        if not isinstance(self.taps, slice):
            return self.taps
        first, stop, step = self.taps.start, self.taps.stop, self.taps.step or 1
        return np.arange(first, -1 if stop is None else stop, step)

    def each(self) -> Iterator[Rows]:
        """Yield the rows one by one."""
        ends = pairwise([0, *self.sizes.cumsum().tolist()])
        for number, (start, stop) in enumerate(ends):
            yield self._one(number, start, stop)

    def _one(self, number: int, start: int, stop: int) -> Rows:
        columns, sizes = self.columns[start:stop], self.sizes[number : number + 1]
        if isinstance(self.taps, slice):
            return self
        if self.starts is None:
            taps = self.taps[start:stop]
            return Rows(columns, _as_slice(taps, self.run), None, sizes, self.run)
        first, last = (
            int(self.starts[at]) if at < self.starts.size else self.taps.size for at in (start, stop)
        )
        return Rows(columns, self.taps[first:last], self.starts[start:stop] - first, sizes, 0)


def _as_slice(taps: Array, run: int) -> slice | Array:
    """Return taps of constant step ``run`` as a slice, which indexes a view of the weights, not a copy."""
    if not run or not taps.size:
        return taps
    first, stop = int(taps[0]), int(taps[-1]) + run
    return slice(first, stop if stop >= 0 else None, run)


def _rows(runs: Runs, taps: int) -> Rows:
    """Return the rows that consist of the pairs of ``runs``; all taps are less than ``taps``."""
    if runs.column.shape[1] == 1:
        columns, met = runs.pairs()
        step = runs.tap_step if isinstance(runs.tap_step, int) else 0
        if len(runs.length) == 1:
            return Rows(columns, _as_slice(met, step), None, runs.length[:, 0], step)
        return Rows(columns, met, None, runs.length[:, 0], step)
    runs = runs.ordered()
    columns, met = runs.pairs()
    pairs = runs.length.sum(1)
    numbers = np.repeat(np.arange(pairs.size), pairs)
    if not runs.follow() or _ties_fall(numbers, columns, met):
        numbers, columns, met = _sorted(numbers, columns, met, taps)
    first = np.ones(columns.size, bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    if not first.all():
        first[1:] |= numbers[1:] != numbers[:-1]
    if first.all():
        return Rows(columns, met, None, pairs, 0)
    sizes = np.bincount(numbers[first], minlength=pairs.size)
    return Rows(columns[first], met, np.flatnonzero(first), sizes, 0)


def _ties_fall(numbers: Array, columns: Array, taps: Array) -> bool:
    """Return whether the taps of any column are not in ascending order.

    They are sorted then, so that the order of summation does not depend on the runs.
    """
    fall = (columns[1:] == columns[:-1]) & (numbers[1:] == numbers[:-1]) & (taps[1:] < taps[:-1])
    return bool(fall.any())


def _sorted(numbers: Array, columns: Array, taps: Array, count: int) -> tuple[Array, Array, Array]:
    """Return (row, column, tap) triplets sorted; packed into 64-bit keys, which sort faster, if they fit."""
    tap_bits, column_bits = count.bit_length(), int(columns.max(initial=0)).bit_length()
    if int(numbers[-1]).bit_length() + column_bits + tap_bits > 63:
        order = np.lexsort((taps, columns, numbers))
        return numbers[order], columns[order], taps[order]
    keys = numbers << column_bits
    keys |= columns
    keys <<= tap_bits
    keys |= taps
    keys.sort()
    taps = keys & ((1 << tap_bits) - 1)
    keys >>= tap_bits
    return keys >> column_bits, keys & ((1 << column_bits) - 1), taps


def within_a_period(axis: Axis) -> Axis:
    """Return an equal axis with its kernel wrapped to one period of the extension.

    Taps that are a multiple of the period apart read the same sample for every output: they become one tap.
    """
    if axis.effective_mode.constant or axis.size == 1:
        return axis
    taps = min(axis.taps, axis.period // gcd(axis.period, axis.dilation))
    return replace(axis, taps=taps, after=axis.after - (axis.taps - taps) * axis.dilation)


class RunRows(ABC):
    """Rows of one axis, computed as runs; each entry is a tap, or the sum of a few.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    taps : int
        Number of taps that rows refer to: those of the kernel that `extended` returns.
    segments : sequence of Segment
        Runs of rows that repeat with shifted columns.
    """

    def __init__(self, shape: tuple[int, int], taps: int, segments: Sequence[Segment]) -> None:
        self.shape, self.taps, self.segments = shape, taps, segments
        self._kept: dict[Hashable, Any] = {}
        self._room = KEPT_NUMBERS

    @property
    def extends(self) -> bool:
        """Whether rows refer to sums of taps in addition to the taps of the kernel, see `extended`."""
        return False

    def extended(self, weights: Array, at: int) -> Array:
        """Return the kernel with all taps that rows refer to along its axis ``at``, which is this axis."""
        del at
        return weights

    def sliding(self) -> tuple[Segment, int] | None:
        """Return a segment of rows that repeat with the same columns, and the step of their taps.

        From one repetition to the next, all taps grow by that step. None if rows do not repeat in this way.
        """
        return None

    def scattered(self, start: int, stop: int) -> bool:
        """Return whether rows of a range have many runs of few pairs each, so that runs save no work."""
        runs = self._middle(start, stop)
        many: int = runs.column.shape[1]
        return many > FEW_RUNS and int(runs.length.sum()) < FEW_PAIRS * many

    def tangled(self, start: int, stop: int) -> bool:
        """Return whether the rows of a range are not a few slices of the kernel each, see `LongRow`."""
        return next(self._middle(start, stop).ordered().long_rows(), None) is None

    def _middle(self, start: int, stop: int) -> Runs:
        """Return the row in the middle of a range, as a sample of its rows."""
        middle = (start + stop) // 2
        return self._runs(middle, min(middle + 1, stop))

    def _keep(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return the cached value of a key, or make it, and cache it while there is room."""
        known: T | None = self._kept.get(key)
        if known is None:
            known = make()
            room = self._room - size(known)
            if room >= 0:
                self._room, self._kept[key] = room, known
        return known

    def clip(self, start: int, stop: int) -> Iterator[Segment]:
        """Yield the segments within a range of rows."""
        if (start, stop) == (0, self.shape[0]):
            yield from self.segments
            return
        for segment in self.segments:
            if segment.start < stop and segment.stop > start:
                yield from segment.clip(start, stop)

    def rows(self, start: int, stop: int) -> Rows:
        """Return a range of rows; ranges that recur in an N-D matrix are cached."""
        return self._keep(("rows", start, stop), lambda: self._made(start, stop), _numbers)

    def table(self, start: int, stop: int) -> Table:
        """Return a range of rows for compiled loops; ranges that recur in an N-D matrix are cached."""
        return self._keep(("table", start, stop), lambda: self._table(start, stop), _numbers)

    def _table(self, start: int, stop: int) -> Table:
        parts = list(self._together(start, stop)) or [(start, stop)]
        return Table.stacked([Table.merged(self._runs(*part)) for part in parts])

    def each(self, start: int, stop: int) -> Iterator[Rows | LongRow]:
        """Yield a range of rows one by one, long rows as slices of the kernel where possible."""
        for low, high in self._together(start, stop):
            ends = self.counts(low, high).cumsum()
            entries = int(ends[-1])
            if entries < LONG_ROW * (high - low):
                for part in _shares(low, ends):
                    yield from self.rows(*part).each()
            elif entries > ENTRIES_TOGETHER:
                yield from self._long(low, high)
            else:
                make: Callable[[], list[Rows | LongRow]] = partial(list, self._long(low, high))
                yield from self._keep(("long", low, high), make, _all_numbers)

    def _long(self, start: int, stop: int) -> Iterator[Rows | LongRow]:
        for at, row in enumerate(self._runs(start, stop).ordered().long_rows(), start):
            yield row or self.rows(at, at + 1)

    def parts(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield a range of rows in parts of about ``ENTRIES_TOGETHER`` entries; rows are not divided."""
        for low, high in self._together(start, stop):
            for part in _shares(low, self.counts(low, high).cumsum()):
                yield self._made(*part)

    def _made(self, start: int, stop: int) -> Rows:
        parts = [_rows(self._runs(*part), self.taps) for part in self._parts(start, stop)]
        return parts[0] if len(parts) == 1 else _side_by_side(parts)

    @abstractmethod
    def _made_runs(self, start: int, stop: int) -> Runs:
        """Return the runs of a range of rows."""

    def _runs(self, start: int, stop: int) -> Runs:
        return self._made_runs(start, stop).filled()

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Divide a range of rows where the number of runs per row changes a lot."""
        yield start, stop

    def order(self, start: int, stop: int, upper: Array) -> Array:
        """Return the `row_order` of rows with ``upper`` columns each and a range of rows of this axis."""
        key = "order", start, stop, upper.tobytes()
        return self._keep(key, lambda: row_order(upper, self.rows(start, stop).sizes), len)

    def counts(self, start: int, stop: int) -> Array:
        """Return the number of entries of each row in a range."""
        return self._keep(("counts", start, stop), lambda: self._counts(start, stop), len)

    def _counts(self, start: int, stop: int) -> Array:
        counts = np.empty(stop - start, np.int64)
        at = 0
        for first, period, repeat, _ in self.clip(start, stop):
            end = at + period * repeat
            block = counts[at:end].reshape(repeat, period)
            for low, high in self._together(first, first + period):
                block[:, low - first : high - first] = self._runs(low, high).sizes()
            at = end
        return counts

    def _together(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Divide a range of rows so that each part has about ``RUNS_TOGETHER`` runs at most."""
        for first, last in self._parts(start, stop):
            if first < last:
                step = max(1, RUNS_TOGETHER // self._width(first))
                yield from ((low, min(low + step, last)) for low in range(first, last, step))

    def _width(self, row: int) -> int:
        """Return the number of runs of a row, empty ones included."""
        return self._keep(("width", row), lambda: int(self._runs(row, row + 1).column.shape[1]), lambda _: 1)

    def count(self, start: int, stop: int) -> int:
        """Return the number of entries in a range of rows."""
        return int(self.counts(start, stop).sum())


class AxisRows(RunRows):
    """The matrix of one axis by rows, forward or transposed.

    A kernel that is longer than the period of the signal's extension is wrapped to one period first: taps
    whose distance is a multiple of the period read the same sample.

    Parameters
    ----------
    axis : Axis
    transposed : bool
        Forward: a row for each output, columns are samples. Transposed: a row for each sample,
        columns are outputs.
    """

    def __init__(self, axis: Axis, transposed: bool) -> None:
        self._given_taps = axis.taps
        self.axis = axis = within_a_period(axis)
        self.transposed = transposed
        self._sums = edge_sums(axis)
        self._total = reads_edges(axis) and axis.size == 1
        super().__init__(
            (axis.size, axis.outputs) if transposed else (axis.outputs, axis.size),
            axis.taps + sum(self._sums) + self._total,
            transposed_segments(axis) if transposed else forward_segments(axis),
        )

    @property
    def extends(self) -> bool:
        """Whether rows refer to sums of taps in addition to the taps of the kernel."""
        return self.taps != self._given_taps

    def extended(self, weights: Array, at: int) -> Array:
        """Return the kernel, wrapped to one period along its axis ``at``, with its `edge_sums` appended."""
        xp = backend_of("weights", weights).xp
        before = (slice(None),) * (at % weights.ndim)
        taps = self.axis.taps
        if taps < self._given_taps:
            periods = -(-self._given_taps // taps)
            shape = list(weights.shape)
            shape[at] = periods * taps
            whole = xp.zeros(shape, weights.dtype)
            whole[(*before, slice(self._given_taps))] = weights
            shape[at : at + 1 or None] = [periods, taps]
            weights = whole.reshape(shape).sum(len(before), weights.dtype)
        parts = [weights]
        if self._total:
            parts.append(weights.sum(at, weights.dtype, keepdims=True))
        first, last = self._sums
        parts.append(weights[(*before, slice(first))].cumsum(at, weights.dtype))
        parts.append(
            weights[(*before, slice(None, None, -1))][(*before, slice(last))].cumsum(at, weights.dtype)
        )
        return xp.concatenate(parts, at) if len(parts) > 1 else weights

    def _made_runs(self, start: int, stop: int) -> Runs:
        return (transposed_runs if self.transposed else forward_runs)(self.axis, start, stop)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Split off the row of each replicated edge, which has many more runs than the others."""
        last = self.shape[0] - 1
        if not self.transposed or not self.axis.effective_mode.edge or not last:
            yield start, stop
            return
        cuts = [start, *(cut for cut in (1, last) if start < cut < stop), stop]
        yield from pairwise(cuts)

    def count(self, start: int, stop: int) -> int:
        """Return the number of entries in a range of rows; closed form for whole axes and forward rows."""
        if (start, stop) == (0, self.shape[0]):
            return self.axis.nnz
        if not self.transposed:
            return self.axis.entries(start, stop)
        if self.axis.effective_mode.zero:
            return self.axis.reads(0, self.axis.outputs, start, stop)
        return sum(
            repeat * int(self._runs(low, high).sizes().sum())
            for first, period, repeat, _ in self.clip(start, stop)
            for low, high in self._together(first, first + period)
        )


def _all_numbers(rows: list[Rows | LongRow]) -> int:
    return sum(64 + row.columns.size for row in rows)


def _shares(start: int, ends: Array) -> Iterator[tuple[int, int]]:
    """Divide rows from ``start`` on, given the ends of their entries, at multiples of ENTRIES_TOGETHER."""
    cuts = np.flatnonzero(np.diff(ends // ENTRIES_TOGETHER)) + 1
    return pairwise([start, *(start + cuts).tolist(), start + ends.size])


def _numbers(rows: Rows | Table) -> int:
    """Return the total size of the arrays in some rows, plus 64 for the objects themselves."""
    return 64 + sum(array.size for array in rows if isinstance(array, np.ndarray))


def _side_by_side(parts: list[Rows]) -> Rows:
    """Return the rows of all parts, one after the other."""
    taps = [part.listed_taps for part in parts]
    starts = None
    if any(part.starts is not None for part in parts):
        ends = np.cumsum([0, *(t.size for t in taps)])
        starts = np.concatenate(
            [
                at + (np.arange(t.size) if part.starts is None else part.starts)
                for at, t, part in zip(ends, taps, parts, strict=False)
            ]
        )
    columns, sizes = (np.concatenate([part[which] for part in parts]) for which in (0, 3))
    return Rows(columns, np.concatenate(taps), starts, sizes, 0)


def row_order(upper: Array, lower: Array) -> Array:
    """Return the permutation that sorts the outer product of two axes' columns by pairs of rows.

    Parameters
    ----------
    upper, lower : int arrays
        The number of columns of each row of the first and of the second axis. The outer product is a table
        with one line for each column of the first axis (of all its rows), across all columns of the second.

    Returns
    -------
    int array
        Places in the table, ordered by row of the first axis, row of the second, column of the first, column
        of the second.

    Examples
    --------
    >>> row_order(np.array([2]), np.array([1, 2]))
    array([0, 3, 1, 2, 4, 5])
    """
    columns = int(lower.sum())
    # one run of places for each pair of rows and each column of its first row
    runs = np.repeat(upper, lower.size)
    pair = np.repeat(np.arange(runs.size), runs)
    line = np.arange(pair.size) + np.repeat(_before(upper), upper * lower.size)
    line -= np.repeat(_before(runs), runs)
    number = pair % lower.size
    lengths = lower[number]
    begins = line * columns + _before(lower)[number] - _before(lengths)
    order: Array = np.repeat(begins, lengths)
    order += np.arange(order.size)
    return order


def _before(sizes: Array) -> Array:
    return sizes.cumsum() - sizes


@lru_cache(maxsize=64)
def _kept_rows(axis: Axis, transposed: bool) -> AxisRows:
    return AxisRows(axis, transposed)


def axis_rows(axis: Axis, transposed: bool) -> AxisRows:
    """Return the rows of an axis; those of short kernels are cached between calls."""
    return (_kept_rows if axis.taps <= KEPT_TAPS else AxisRows)(axis, transposed)
