"""Write the entries of a box of rows of a convolution's matrix.

The writer recurses from the first axis to the last. For each row of an axis it contracts the kernel with the
row, and adds the row's columns to those of the axes before; after the last axis this is a row of the matrix.
Rows that repeat with shifted columns are written once, or twice if each column has a step of its own; their
repetitions are copies of the whole block of entries, with a shift added to the columns.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays.switches import compiler_switch
from sparsetconv._assembly.products import Level, Products
from sparsetconv._assembly.repeats import continue_block, repeat_block
from sparsetconv._assembly.templates import Stretch, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.axis_rows import Rows, RunRows
    from sparsetconv._assembly.runs import LongRow


class Limits(NamedTuple):
    """Thresholds that decide how rows are written, in entries unless noted.

    Attributes
    ----------
    whole : int
        A level (an axis, and all axes after it) of at most this many entries is written at once, without
        copying repetitions. For compiled loops it is multiplied by the number of segments of the axis.
    row : int
        Rows of fewer entries than this, on average, are written together.
    block, rows : int
        The most entries, and the most rows, that are written together. With NumPy ``block`` limits all
        entries written, which are one array; with compiled loops, only the axis' own, which are a table.
    """

    whole: int
    row: int
    block: int
    rows: int


LIMITS = Limits(1 << 12, 1 << 10, 1 << 14, 1 << 12)
COMPILED = Limits(1 << 15, 1 << 16, 1 << 20, 1 << 12)
# NumPy takes about CALL seconds for a row or a block, ENTRY for each entry of a block, FILL to copy an entry.
# Compiled loops take about FILLS * FILL seconds for an entry, START to make tables, ROW for each row
CALL, ENTRY, FILL, FILLS, START, ROW = 2e-5, 8e-8, 1e-9, 0.7, 2e-4, 2e-8
# the most orders of entries (`row_order`), and `Products`, that are kept while a box is written
KEPT_ORDERS, KEPT_PRODUCTS = 64, 16


class Part(NamedTuple):
    """Partial rows: the products of rows of the axes so far, one after the other.

    Attributes
    ----------
    weights : (channels, u, k_level, ..., kd) array
        The kernel, contracted along the axes before.
    columns : (u,) array
        Columns so far.
    sizes : (rows,) int array
        The number of columns of each row.
    """

    weights: Array
    columns: Array
    sizes: Array

    def joined(self, rows: Rows, stride: int, order: Callable[[Array], Array]) -> Part:
        """Return the products of each partial row with each of some rows of the next axis, in order.

        ``order`` returns the `row_order` for the sizes of the partial rows.
        """
        folded = rows.fold(self.weights, 2)
        count = self.columns.size * rows.columns.size
        folded = folded.reshape(folded.shape[0], count, *folded.shape[3:])
        columns = (self.columns[:, None] + rows.columns * stride).reshape(-1)
        sizes = (self.sizes[:, None] * rows.sizes).reshape(-1)
        if self.sizes.size == 1 and 1 in (self.columns.size, rows.sizes.size):
            return Part(folded, columns, sizes)
        places = order(self.sizes)
        return Part(folded.take(places, 1), columns.take(places), sizes)


def small_box(
    axes: tuple[RunRows, ...], ranges: list[tuple[int, int]], weights: Array, columns: Array
) -> Part:
    """Return all rows of a box of few entries, all at once."""
    part, stride = Part(weights, columns, np.array([columns.size])), prod(axis.shape[1] for axis in axes)
    for axis, limits in zip(axes, ranges, strict=True):
        stride //= axis.shape[1]
        part = part.joined(axis.rows(*limits), stride, partial(axis.order, *limits))
    return part


class Writer:
    """Writes the entries of one box of rows to given arrays.

    Rows with many entries are written one by one: at each axis the kernel is contracted with the row. Rows
    with few entries are written in blocks, by operations on all entries of a block.

    Parameters
    ----------
    levels : list of Level
    data, indices : (channels, entries), (entries,) array
        Values of all channels, and columns of the first one.
    columns : int
        The number of columns before the first axis.
    compiles : bool
        Whether compiled loops may be used.
    outer : int or None
        The axis whose repetitions are not written, but left to a `Template`; earlier axes have one row.
    """

    def __init__(
        self,
        levels: list[Level],
        data: Array,
        indices: Array,
        columns: int,
        compiles: bool,
        outer: int | None = None,
    ) -> None:
        self.data, self.indices, self.levels, self.outer = data, indices, levels, outer
        self.stretches: list[Stretch] = []
        self.compiled = (
            compiles
            and compiler_switch() is None
            and self.seconds(columns)
            > START
            + FILLS * FILL * data.size
            + ROW * prod(level.limits[1] - level.limits[0] for level in levels)
            and not any(
                level.is_most_of(data.shape[1]) and level.axis.scattered(*level.limits)
                for level in self.levels
            )
        )
        self.limits = COMPILED if self.compiled else LIMITS
        self.orders: dict[Hashable, Array] = {}
        self.products: dict[tuple[int, tuple[int, int]], Products] = {}

    def seconds(self, columns: float) -> float:
        """Estimate the seconds that NumPy would take for all rows, with ``columns`` before the first axis."""
        visits, calls = 1.0, 0.0
        for level in self.levels:
            entries, below = columns * level.entries * level.below, columns * level.below
            if entries <= LIMITS.whole:
                return (calls + visits) * CALL + visits * entries * ENTRY
            rows, written = level.written()
            calls += visits * len(level.segments)
            if written * below < LIMITS.row * rows:
                calls += visits * written * below / LIMITS.block
                return calls * CALL + visits * written * below * ENTRY
            visits *= rows
            columns *= written / rows
        # rows of the last axis are written one by one: slices of the kernel, or, if tangled, sorted entries
        sorted_entries = visits * columns if self.levels[-1].axis.tangled(*self.levels[-1].limits) else 0
        return (calls + visits) * CALL + sorted_entries * ENTRY

    def write(self, number: int, weights: Array, columns: Array, entry: int) -> int:
        """Write all rows of the axes from ``number`` on, for one given row of each axis before.

        Parameters
        ----------
        number : int
            The axis.
        weights, columns : array
            As in `Part`, of one row so far.
        entry : int
            Where to write the first entry.

        Returns
        -------
        int
            The index after the last entry written.
        """
        level = self.levels[number]
        if self.compiled:
            # loops are compiled only for contiguous, writable arrays
            weights = np.require(weights, requirements=["C", "W"])
        whole = self.limits.whole * (len(level.segments) if self.compiled else 1)
        if self.repeats_are_written(number) and columns.size * level.entries * level.below <= whole:
            return self.write_block(number, level.limits, weights, columns, entry)
        for segment in level.segments:
            start, period, repeat, shift = segment
            first = entry
            written = segment.written
            for low, high, many in self.parts(number, start, start + written * period, columns.size):
                if many:
                    entry = self.write_block(number, (low, high), weights, columns, entry)
                else:
                    for row in level.axis.each(low, high):
                        entry = self.write_row(number, row, weights, columns, entry)
            length = (entry - first) // written
            step = None if shift is None else shift * level.stride
            if number == self.outer:
                self.note_stretch(first, length, repeat, step)
            else:
                entry = self.repeat(first, length, repeat, step)
        return entry

    def repeats_are_written(self, number: int) -> bool:
        """Return whether all that an axis and later ones repeat is to be written."""
        return self.outer is None or number > self.outer

    def parts(self, number: int, start: int, stop: int, count: int) -> Iterator[tuple[int, int, bool]]:
        """Yield ranges of rows of an axis, and whether a range is written at once or row by row.

        ``count`` is the number of columns so far.
        """
        level, at = self.levels[number], start
        if self.outer is not None and number < self.outer:
            yield start, stop, False
            return
        while at < stop:
            # a window of rows; if they have few entries on average, as many of them as fit into a block
            upto = min(stop, at + self.limits.rows)
            ends = level.widths(at, upto).cumsum()
            many = int(ends[-1]) * count * level.below < self.limits.row * (upto - at)
            many |= self.compiled and level is self.levels[-1]
            end = upto
            if many:
                most = self.limits.block // (1 if self.compiled else max(1, count * level.below))
                end = at + max(1, int(ends.searchsorted(most, "right")))
            yield at, end, many
            at = end

    def write_row(self, number: int, row: Rows | LongRow, weights: Array, columns: Array, entry: int) -> int:
        """Write one row of an axis with all rows of the axes that follow; arguments as for `write`."""
        count = columns.size * row.columns.size
        if not count:
            return entry
        stride = self.levels[number].stride
        if number + 1 < len(self.levels):
            folded = row.fold(weights, 2)
            folded = folded.reshape(folded.shape[0], count, *folded.shape[3:])
            inner = np.add.outer(columns, row.columns * stride).reshape(-1)
            return self.write(number + 1, folded, inner, entry)
        stop = entry + count
        shape = columns.size, row.columns.size
        row.fold_into(self.data[:, entry:stop].reshape(-1, *shape), weights, 2)
        # converted first: an addition that casts its operands goes through NumPy's buffer
        upper, lower = (part.astype(self.indices.dtype) for part in (columns, row.columns))
        np.add.outer(upper, lower, out=self.indices[entry:stop].reshape(shape))
        return stop

    def write_block(
        self, number: int, limits: tuple[int, int], weights: Array, columns: Array, entry: int
    ) -> int:
        """Write a range of rows of an axis, with all rows of the axes that follow, at once."""
        if self.compiled:
            return self.write_table(number, limits, weights, columns, entry)
        part = Part(weights, columns, np.array([columns.size]))
        for at, level in enumerate(self.levels[number:], number):
            own = limits if at == number else level.limits
            part = part.joined(level.axis.rows(*own), level.stride, partial(self.order, at, own))
        stop = entry + part.columns.size
        self.data[:, entry:stop] = part.weights
        self.indices[entry:stop] = part.columns
        return stop

    def write_table(
        self, number: int, limits: tuple[int, int], weights: Array, columns: Array, entry: int
    ) -> int:
        """Do the same as `write_block` by compiled loops."""
        products = self.products.get((number, limits))
        if products is None:
            products = Products.of(self.levels[number:], limits)
            # rows of the first axis do not recur
            if number:
                if len(self.products) == KEPT_PRODUCTS:
                    self.products.clear()
                self.products[number, limits] = products
        return products.write(weights, columns, self.data, self.indices, entry)

    def order(self, number: int, limits: tuple[int, int], upper: Array) -> Array:
        """Return the `row_order` of rows with ``upper`` columns so far and rows ``limits`` of an axis."""
        key = number, limits, upper.tobytes()
        known = self.orders.get(key)
        if known is None:
            known = self.levels[number].axis.order(*limits, upper)
            if len(self.orders) < KEPT_ORDERS:
                self.orders[key] = known
        return known

    def repeat(self, first: int, length: int, repeat: int, shift: int | None) -> int:
        """Repeat the block of entries just written, with shifted columns, and return the index after it all.

        If ``shift`` is None, two blocks have been written, whose difference is the shift of each column.
        """
        end = first + length * repeat
        if repeat == 1 or not length:
            return end
        values, then = self.data[:, first : first + length], first + length
        # between the channels' blocks lies what is written: NumPy must not take them for one block
        repeat_block(values.copy() if len(values) > 1 else values, 0, self.data[:, then:end])
        block, others = self.indices[first:then], self.indices[then:end]
        if shift is None:
            steps = others[:length] - block
            continue_block(block + steps, steps, others)
        else:
            repeat_block(block + block.dtype.type(shift), shift, others)
        return end

    def note_stretch(self, first: int, length: int, repeat: int, shift: int | None) -> None:
        """Note where the block of entries just written is to be repeated; arguments as for `repeat`."""
        if length:
            begin = self.stretches[-1].stop if self.stretches else 0
            self.stretches.append(Stretch(begin, first, length, repeat, shift if repeat > 1 else 0))


def template_of(
    levels: list[Level],
    outer: int,
    weights: Array,
    columns: Array,
    shifts: list[int],
    index: np.dtype[Any],
    compiles: bool,
) -> Template:
    """Return the template of a box of rows: what axis ``outer`` repeats is computed once.

    Parameters
    ----------
    levels : list of Level
        Those before ``outer`` have one row.
    outer : int
    weights, columns : array
        As in `Part`, before the first axis.
    shifts : list of int
        The shift of the columns for each channel.
    index : dtype
        Of the columns.
    compiles : bool
        Whether compiled loops may be used.
    """
    before = columns.size * prod(level.entries for level in levels[:outer])
    size = before * levels[outer].written()[1] * levels[outer].below
    data, indices = np.empty((len(weights), size), weights.dtype), np.empty(size, index)
    writer = Writer(levels, data, indices, columns.size, compiles, outer)
    writer.write(0, weights, columns, 0)
    return Template(data, indices, shifts, writer.stretches)
