"""The matrix of one axis by rows, forward or transposed, as arrays.

Floor 1. A row is its columns and, for each, the taps that land on it; `AxisRows` gives single rows, and
groups of rows side by side, to the assembly.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from sparsetconv._axis import Segment, source_copies
from sparsetconv.boundary import source_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sparsetconv._axis import Axis
    from sparsetconv._types import Array

T = TypeVar("T")
Chunk: TypeAlias = tuple[tuple[Segment, int], ...]

# axes with at most this many taps are kept between calls, and of each at most so many rows
KEPT_TAPS = 64
KEPT_LENGTH = 1024


class Row(NamedTuple):
    """What one row of an axis' matrix holds.

    Attributes
    ----------
    columns : (c,) int64 array
        Columns, ascending, each once.
    taps : slice or int array
        The kernel taps, those of a column next to each other.
    starts : (c,) int array or None
        Where in ``taps`` each column's taps begin; None where each column has one. Contracting the
        kernel with this fold is a segmented sum.
    """

    columns: Array
    taps: slice | Array
    starts: Array | None

    def fold(self, weights: Array, axis: int) -> Array:
        """Sum the taps of each column: the kernel's axis becomes an axis of columns."""
        if isinstance(self.taps, slice):
            return weights[(slice(None),) * axis + (self.taps,)]
        chosen = weights.take(self.taps, axis)
        if self.starts is None:
            return chosen
        folded: Array = np.add.reduceat(chosen, self.starts, axis, weights.dtype)
        return folded


class Template(NamedTuple):
    """Several rows of an axis side by side, as one row.

    Attributes
    ----------
    joined : Row
        Columns and taps of all rows, one after the other.
    numbers : (c,) int array
        Which of the rows each column belongs to.
    parts : tuple of (int, int, int)
        Groups of rows: the number of their columns, how often they stand there, the shift of the columns.
    """

    joined: Row
    numbers: Array
    parts: tuple[tuple[int, int, int], ...]


EMPTY_ROW = Row(np.empty(0, np.int64), slice(0, 0), None)


def _joined(columns: Array, rows: list[Row]) -> Row:
    """Return rows side by side, with the given columns."""
    taps = [np.arange(t.start, t.stop) if isinstance(t, slice) else t for t in (row.taps for row in rows)]
    starts = None
    if any(row.starts is not None for row in rows):
        offsets = accumulate((t.size for t in taps), initial=0)
        starts = np.concatenate(
            [
                at + (np.arange(row.columns.size) if row.starts is None else row.starts)
                for at, row in zip(offsets, rows, strict=False)
            ]
        )
    return Row(columns, np.concatenate(taps), starts)


def _merged(columns: Array, taps: Array) -> Row:
    """Return a row from (column, tap) pairs in any order."""
    # runs of ascending or descending columns, which a stable sort merges in linear time
    order = columns.argsort(kind="stable")
    columns, taps = columns[order], taps[order]
    first = np.ones(columns.size, bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    if first.all():
        return Row(columns, taps, None)
    return Row(columns[first], taps, np.flatnonzero(first))


class AxisRows:
    """The matrix of one axis by rows, forward or transposed.

    Parameters
    ----------
    axis : Axis
    transposed : bool
        Forward: a row for each output, columns are samples. Transposed: a row for each sample,
        columns are outputs.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    segments : tuple of Segment
        Runs of rows that repeat with shifted columns.
    """

    def __init__(self, axis: Axis, transposed: bool) -> None:
        self.axis = axis
        self.transposed = transposed
        self.shape = (axis.size, axis.outputs) if transposed else (axis.outputs, axis.size)
        self.segments = axis.transposed_segments if transposed else axis.segments
        self._kept: dict[Hashable, Any] = {}

    def _keep(self, key: Hashable, make: Callable[[], T], size: int) -> T:
        """Return what was made for a key before, or make it, and keep it unless that would take much."""
        known: T | None = self._kept.get(key)
        if known is None:
            known = make()
            if size <= KEPT_LENGTH and len(self._kept) < KEPT_LENGTH:
                self._kept[key] = known
        return known

    def clip(self, start: int, stop: int) -> Iterator[Segment]:
        """Yield the segments within a range of rows."""
        if (start, stop) == (0, self.shape[0]):
            yield from self.segments
            return
        for segment in self.segments:
            if segment.start < stop and segment.stop > start:
                yield from segment.clip(start, stop)

    def row(self, number: int) -> Row:
        """Return one row; border rows recur in an N-D matrix, so they are kept."""
        make = self._transposed_row if self.transposed else self._forward_row
        return self._keep(number, lambda: make(number), 1)

    def chunks(self, start: int, stop: int, whole: int, most: int) -> list[Chunk]:
        """Divide the segments of a range of rows into groups for `template`.

        Parameters
        ----------
        start, stop : int
            Range of rows.
        whole : int
            A range with at most this many entries becomes one group in which nothing repeats.
        most : int
            Groups have at most this many entries before anything repeats, if they can be divided.

        Returns
        -------
        list of tuple of (Segment, int)
            With each segment an offset of its columns.
        """
        return self._keep((start, stop, whole, most), lambda: list(self._chunks(start, stop, whole, most)), 1)

    def _chunks(self, start: int, stop: int, whole: int, most: int) -> Iterator[Chunk]:
        if start == stop:
            return
        if self.count(start, stop) <= whole:
            yield tuple(
                (Segment(first, period, 1, 0), shift * time)
                for first, period, repeat, shift in self.clip(start, stop)
                for time in range(repeat)
            )
            return
        group: list[tuple[Segment, int]] = []
        entries = 0
        for segment in self.clip(start, stop):
            size = sum(self._row_counts(segment.start, segment.period))
            if group and entries + size > most:
                yield tuple(group)
                group, entries = [], 0
            group.append((segment, 0))
            entries += size
        if group:
            yield tuple(group)

    def template(self, chunk: Chunk) -> Template:
        """Return the rows of a group side by side, those that repeat once."""
        return self._keep(chunk, lambda: self._template(chunk), sum(s.period for s, _ in chunk))

    def _template(self, chunk: Chunk) -> Template:
        rows: list[Row] = []
        offsets: list[int] = []
        parts: list[tuple[int, int, int]] = []
        for (first, period, repeat, shift), offset in chunk:
            group = [self.row(number) for number in range(first, first + period)]
            rows += group
            offsets += [offset] * period
            part = sum(row.columns.size for row in group), repeat, shift
            if parts and repeat == parts[-1][1] == 1:
                # neighbours that do not repeat are one part
                part = part[0] + parts.pop()[0], 1, 0
            parts.append(part)
        sizes = [row.columns.size for row in rows]
        columns = np.concatenate([row.columns for row in rows]) + np.repeat(offsets, sizes)
        return Template(_joined(columns, rows), np.repeat(np.arange(len(rows)), sizes), tuple(parts))

    def counts(self, start: int, stop: int) -> Array:
        """Return the number of entries of each row in a range."""
        return self._keep((start, stop), lambda: self._counts(start, stop), stop - start)

    def _counts(self, start: int, stop: int) -> Array:
        counts = np.empty(stop - start, np.int64)
        at = 0
        for first, period, repeat, _ in self.clip(start, stop):
            end = at + period * repeat
            counts[at:end].reshape(repeat, period)[...] = self._row_counts(first, period)
            at = end
        return counts

    def count(self, start: int, stop: int) -> int:
        """Return the number of entries in a range of rows."""
        if (start, stop) == (0, self.shape[0]):
            return self.axis.nnz
        return sum(
            repeat * sum(self._row_counts(first, period))
            for first, period, repeat, _ in self.clip(start, stop)
        )

    def _row_counts(self, first: int, period: int) -> list[int]:
        numbers = range(first, first + period)
        if self.transposed:
            return [self.row(number).columns.size for number in numbers]
        return [self.axis.row_count(number) for number in numbers]

    def _forward_row(self, output: int) -> Row:
        axis = self.axis
        first = axis.first(output)
        if axis.reach == "zeros" or 0 <= first <= axis.size - axis.extent:
            low = max(0, -(first // axis.dilation))
            high = min(axis.taps, (axis.size - 1 - first) // axis.dilation + 1)
            if low >= high:
                return EMPTY_ROW
            start, step = first + low * axis.dilation, axis.dilation
            columns = np.arange(start, start + (high - low) * step, step)
            return Row(columns, slice(low, high), None)
        taps = np.arange(axis.taps)
        return _merged(source_indices(axis, first + taps * axis.dilation), taps)

    def _transposed_row(self, sample: int) -> Row:
        axis = self.axis
        copies = source_copies(axis.reach, axis.size, sample, axis.low, axis.high)
        taps = np.arange(axis.taps)[::-1]
        # (copies, taps): the output that would read this copy through this tap, times the stride
        steps = np.array(copies, np.int64)[:, None] + axis.before - taps * axis.dilation
        valid = (steps >= 0) & (steps < axis.outputs * axis.stride) & (steps % axis.stride == 0)
        columns = steps[valid] // axis.stride
        met = np.broadcast_to(taps, valid.shape)[valid]
        return Row(columns, met, None) if len(copies) == 1 else _merged(columns, met)


@lru_cache(maxsize=64)
def _kept_rows(axis: Axis, transposed: bool) -> AxisRows:
    return AxisRows(axis, transposed)


def axis_rows(axis: Axis, transposed: bool) -> AxisRows:
    """Return an axis' rows, for short kernels those that were made for the same axis before."""
    return (_kept_rows if axis.taps <= KEPT_TAPS else AxisRows)(axis, transposed)
