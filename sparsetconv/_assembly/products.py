"""Write a range of rows of one axis, times all rows of the axes that follow, by compiled loops.

The rows of each axis are a table. The tables give bounds on the number of columns, and of contracted weights,
at each axis, so that all scratch arrays are allocated before the loops.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import prod
from operator import attrgetter, mul
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._assembly.row_tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.axis_rows import RunRows
    from sparsetconv._geometry.segments import Segment


class Level(NamedTuple):
    """One axis of a box of rows.

    Attributes
    ----------
    axis : RunRows
    limits : (int, int)
        The range of rows.
    segments : tuple of Segment
        The segments of the range.
    entries : int
        The number of entries of all rows.
    stride : int
        Columns of the matrix from one column of the axis to the next.
    below : int
        Entries of the axes that follow, for each entry of this one.
    known : dict
        Numbers of entries that `widths` has found, by their first row.
    """

    axis: RunRows
    limits: tuple[int, int]
    segments: tuple[Segment, ...]
    entries: int
    stride: int
    below: int
    known: dict[int, Array]

    @classmethod
    def each(cls, axes: Sequence[RunRows], ranges: Sequence[tuple[int, int]]) -> list[Level]:
        """Return the levels of a box: a range of rows of each axis."""
        levels, stride, below = [], 1, 1
        for axis, limits in zip(reversed(axes), reversed(ranges), strict=True):
            entries = axis.count(*limits)
            levels.append(cls(axis, limits, tuple(axis.clip(*limits)), entries, stride, below, {}))
            stride, below = stride * axis.shape[1], below * entries
        return levels[::-1]

    def is_most_of(self, entries: int) -> bool:
        """Return whether the axis has more than an eighth of the box's entries, so that its cost matters."""
        return 8 * self.entries > entries

    def rows(self) -> int:
        """Return the number of rows that are written, of which all others are copies."""
        return sum(part.period * part.written for part in self.segments)

    def written(self) -> tuple[int, int]:
        """Return the number of rows that are written, and of their entries."""
        rows = self.rows()
        if rows == self.limits[1] - self.limits[0]:
            return rows, self.entries
        parts = [(part.start, part.start + part.period * part.written) for part in self.segments]
        return rows, sum(int(self.widths(*part).sum()) for part in parts)

    def widths(self, start: int, stop: int) -> Array:
        """Return the number of entries of each row: of all, or of some that are written of a segment."""
        if (start, stop) == self.limits:
            return self.axis.counts(start, stop)
        part = self.segments[bisect_right(self.segments, start, key=attrgetter("start")) - 1]
        first = part.start
        known = self.known.get(first)
        if known is None:
            known = self.known[first] = self.axis.counts(first, first + part.period * part.written)
        return known[start - first : stop - first]


class Room(NamedTuple):
    """Weights and scratch arrays of the compiled loops.

    Attributes
    ----------
    rows : (axes,) int64 array
        The row of each axis that is being written.
    given : 1-D array
        The weights of a channel, before the first axis.
    contracted : 1-D array
        Scratch for the weights at each later axis, contracted with the rows of the axes in front of it.
    columns : 1-D int64 array
        Scratch for the columns before each axis; those before the first axis are filled in.
    """

    rows: Array
    given: Array
    contracted: Array
    columns: Array


class Products(NamedTuple):
    """The rows of some axes as the compiled loops take them; the last axis is the fastest.

    Sizes and places are given for one column before the first axis; `write` multiplies them by the number of
    these columns.

    Attributes
    ----------
    entries : int
        Number of entries.
    table : Table
        The rows of all axes, one axis after the other.
    begins : (axes + 1,) int64 array
        The first row of each axis in the table.
    widths : (rows,) int64 array
        The number of entries of each row.
    many, column_at : (axes,), (axes + 1,) int64 arrays
        The maximum number of columns before each axis, and their offset in the loops' scratch array.
    inner, weight_at : (axes + 1,) int64 arrays
        The number of weights of each of these columns, and their offset in the loops' scratch array. Weights
        before the first axis are the given ones, and need no scratch.
    strides : (axes,) int64 array
        Columns of the matrix from one column of an axis to the next.
    """

    entries: int
    table: Table
    begins: Array
    widths: Array
    many: Array
    column_at: Array
    inner: Array
    weight_at: Array
    strides: Array

    @classmethod
    def of(cls, levels: Sequence[Level], limits: tuple[int, int]) -> Products:
        """Return the products of a range of rows of the first axis with the rows of the later axes."""
        ranges = [limits, *(level.limits for level in levels[1:])]
        pairs = list(zip(levels, ranges, strict=True))
        widths = [level.widths(*own) for level, own in pairs]
        many = list(accumulate((int(own.max()) for own in widths[:-1]), mul, initial=1))
        inner = list(accumulate((level.axis.taps for level in reversed(levels)), mul, initial=1))[::-1]
        return cls(
            prod(int(own.sum()) for own in widths),
            Table.stacked([level.axis.table(*own) for level, own in pairs]),
            _begins(high - low for low, high in ranges),
            np.concatenate(widths),
            np.array(many),
            _begins(many),
            np.array(inner),
            _begins([0, *map(mul, many[1:], inner[1:])]),
            np.array([level.stride for level in levels]),
        )

    def write(self, weights: Array, columns: Array, data: Array, indices: Array, entry: int) -> int:
        """Write all entries, and return the index after the last one.

        Parameters
        ----------
        weights : (channels, u, k1, ..., kd) array
            Contiguous, and writable.
        columns : (u,) int64 array
        data, indices : (channels, entries) array, (entries,) array
        entry : int
            Where to write the first entry.
        """
        from sparsetconv._assembly.loops import write_rows

        count = columns.size
        if not self.entries or not count:
            return entry
        products = self._replace(
            many=self.many * count, column_at=self.column_at * count, weight_at=self.weight_at * count
        )
        so_far = np.empty(int(products.column_at[-1]), np.int64)
        so_far[:count] = columns
        contracted = np.empty(int(products.weight_at[-1]), weights.dtype)
        for own, values in zip(weights.reshape(len(weights), -1), data, strict=True):
            room = Room(np.empty_like(products.many), own, contracted, so_far)
            write_rows(products, room, values, indices, entry)
            # columns are written with the first channel; all channels have the same
            indices = indices[:0]
        return entry + count * self.entries


def _begins(sizes: Iterable[int]) -> Array:
    return np.array(list(accumulate(sizes, initial=0)), np.int64)
