"""Write the entries of a box of rows of a convolution's matrix.

The writer recurses from the first axis to the last. For each row of an axis it contracts the kernel with the
row, and adds the row's columns to those of the axes before; after the last axis this is a row of the matrix.
Rows that repeat with shifted columns are written once, or twice if each column has a step of its own; their
repetitions are copies of the whole block of entries, with a shift added to the columns.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.switches import compiler_switch
from sparsetconv._assembly.products import Level, Products

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

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
# blocks are doubled up to this many entries, so that copies have long inner loops and stay in cache
COPY_BLOCK = 1 << 14
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


class Writer:
    """Writes the entries of one box of rows to given arrays.

    Rows with many entries are written one by one: at each axis the kernel is contracted with the row. Rows
    with few entries are written in blocks, by operations on all entries of a block.
    """

    def __init__(
        self,
        axes: tuple[RunRows, ...],
        ranges: list[tuple[int, int]],
        counts: list[Array],
        offsets: int,
        data: Array,
        indices: Array,
        compiles: bool,
    ) -> None:
        self.data = data  # (channels, entries)
        self.indices = indices  # (entries,)
        sizes = [axis.shape[1] for axis in axes]
        entries = [int(numbers.sum()) for numbers in counts]
        self.levels = [
            Level(
                axis,
                limits,
                list(axis.clip(*limits)),
                counts[at],
                entries[at],
                prod(sizes[at + 1 :]),
                prod(entries[at + 1 :]),
            )
            for at, (axis, limits) in enumerate(zip(axes, ranges, strict=True))
        ]
        self.compiled = (
            compiles
            and compiler_switch() is None
            and self.seconds(offsets) > START + FILLS * FILL * data.size + ROW * prod(map(len, counts))
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
            parts = [(part.start, part.period * part.written) for part in level.segments]
            written = sum(int(level.widths(start, start + count).sum()) for start, count in parts)
            rows = sum(count for _, count in parts)
            calls += visits * len(parts)
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
        if columns.size * level.entries * level.below <= whole:
            return self.write_block(number, level.limits, weights, columns, entry)
        for segment in level.segments:
            start, period, repeat, shift = segment
            first = entry
            written = segment.written
            for low, high, many in self.parts(level, start, start + written * period, columns.size):
                if many:
                    entry = self.write_block(number, (low, high), weights, columns, entry)
                else:
                    for row in level.axis.each(low, high):
                        entry = self.write_row(number, row, weights, columns, entry)
            length = (entry - first) // written
            entry = self.repeat(first, length, repeat, None if shift is None else shift * level.stride)
        return entry

    def parts(self, level: Level, start: int, stop: int, count: int) -> Iterator[tuple[int, int, bool]]:
        """Yield ranges of rows of an axis, and whether a range is written at once or row by row.

        ``count`` is the number of columns so far.
        """
        at = start
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
        for at in range(number, len(self.levels)):
            part = self.join(at, limits if at == number else self.levels[at].limits, part)
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

    def join(self, number: int, limits: tuple[int, int], part: Part) -> Part:
        """Return the products of each partial row with each row of an axis, in order."""
        level = self.levels[number]
        rows = level.axis.rows(*limits)
        folded = rows.fold(part.weights, 2)
        folded = folded.reshape(folded.shape[0], part.columns.size * rows.columns.size, *folded.shape[3:])
        columns = np.add.outer(part.columns, rows.columns * level.stride).reshape(-1)
        sizes = np.multiply.outer(part.sizes, rows.sizes).reshape(-1)
        if part.sizes.size == 1 and 1 in (part.columns.size, rows.sizes.size):
            return Part(folded, columns, sizes)
        order = self.order(number, limits, part.sizes)
        return Part(folded.take(order, 1), columns.take(order), sizes)

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
        repeat_block(self.data[:, first:end], length, 0)
        if shift is None:
            continue_block(self.indices[first:end], length)
        else:
            repeat_block(self.indices[first:end], length, shift)
        return end


def continue_block(out: Array, length: int) -> None:
    """Extrapolate two blocks of ``length`` entries: block ``i`` is ``first + i * (second - first)``.

    Examples
    --------
    >>> out = np.array([3, 5, 4, 3, 0, 0, 0, 0])
    >>> continue_block(out, 2)
    >>> out
    array([ 3,  5,  4,  3,  5,  1,  6, -1])
    """
    total, done = out.size, min(2 * length, out.size)
    steps = 2 * np.tile(out[length:done] - out[:length], 2)
    while done < COPY_BLOCK and 2 * done <= total:
        np.add(out[:done], steps, out=out[done : 2 * done])
        done *= 2
        steps = 2 * np.tile(steps, 2)
    for at in range(done, total, done):
        more = min(done, total - at)
        np.add(out[at - done : at - done + more], steps[:more], out=out[at : at + more])


def repeat_block(out: Array, length: int, shift: int) -> None:
    """Fill ``out`` with copies of its first ``length`` entries, ``shift`` added from each copy to the next.

    Short blocks are doubled first, so that every operation has a long inner loop.

    Examples
    --------
    >>> out = np.array([3, 5, 0, 0, 0, 0])
    >>> repeat_block(out, 2, 10)
    >>> out
    array([ 3,  5, 13, 15, 23, 25])
    """
    total, done = out.shape[-1], length
    while done < COPY_BLOCK and done < total // 8:
        more = min(done, total - done)
        _shifted(out[..., :more], shift * (done // length), out[..., done : done + more])
        done += more
    count = total // done
    if count > 1:
        blocks = out[..., : count * done].reshape(*out.shape[:-1], count, done)
        if shift:
            steps = np.arange(1, count, dtype=out.dtype) * out.dtype.type(shift * (done // length))
            np.add(blocks[..., :1, :], steps[:, None], out=blocks[..., 1:, :])
        else:
            blocks[..., 1:, :] = blocks[..., :1, :]
    done *= count
    if done < total:
        rest = total - done
        _shifted(out[..., :rest], shift * (done // length), out[..., done:])


def _shifted(source: Array, shift: int, out: Array) -> None:
    if shift:
        np.add(source, out.dtype.type(shift), out=out)
    else:
        out[...] = source
