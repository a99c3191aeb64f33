"""The walk that writes the entries of a box of rows of a convolution's matrix.

Floor 2, below ``assembly``. At each axis the rows of its matrix are taken in turn: the kernel is contracted
with a row's fold and the row's columns are added to those so far; at the end of the walk stands a row of the
matrix. Rows that repeat with shifted columns are written once, or twice where each column has a step of its
own; the others are copies of the whole block of entries plus what the columns move by.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._products import Level, Products
from sparsetconv._switches import compiler_switch

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from sparsetconv._runs import LongRow
    from sparsetconv._types import Array
    from sparsetconv.axis_rows import Rows, RunRows


class Limits(NamedTuple):
    """How many entries are written in which way.

    Attributes
    ----------
    whole : int
        Entries of a level, for compiled loops of each of its segments, that are written at once, without
        repeating anything.
    row : int
        Rows of fewer entries are written together.
    block, rows : int
        Entries and rows that are written together at most. Compiled loops keep a table of an axis' own
        entries, NumPy an array for all entries of the block.
    """

    whole: int
    row: int
    block: int
    rows: int


LIMITS = Limits(1 << 12, 1 << 10, 1 << 14, 1 << 12)
COMPILED = Limits(1 << 15, 1 << 16, 1 << 20, 1 << 12)
# about the seconds that NumPy takes for a row or a block, for an entry of it, and to fill an entry; compiled
# loops write what would take NumPy so many fills, seconds for making tables, and seconds for a short row
CALL, ENTRY, FILL, FILLS, START, ROW = 2e-5, 8e-8, 1e-9, 0.7, 2e-4, 2e-8
# blocks are doubled up to this many entries, so that copies have long inner loops and stay in cache
COPY_BLOCK = 1 << 14
# orders of blocks' entries, and tables, that are kept while a box is written
KEPT_ORDERS, KEPT_PRODUCTS = 64, 16


class Part(NamedTuple):
    """Rows so far, side by side: what is known of a range of rows before the axes that follow.

    Attributes
    ----------
    weights : (channels, u, k_level, ..., kd) array
        The kernel, contracted along the axes before.
    columns : (u,) array
        Columns so far.
    sizes : (rows,) int array
        How many of the columns belong to each row.
    """

    weights: Array
    columns: Array
    sizes: Array


class Writer:
    """One box of rows: where its entries go, and the walk that writes them.

    Rows with many entries are written one by one, at each axis the kernel contracted with the row's fold.
    Of rows with few entries as many as fit into a block are written at once, by vectors over the entries.
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
        """Return about how long NumPy would take for all rows, with so many columns before the first axis."""
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
        # rows of the last axis one by one, slices of the kernel or sorted
        sorted_entries = visits * columns if self.levels[-1].axis.tangled(*self.levels[-1].limits) else 0
        return (calls + visits) * CALL + sorted_entries * ENTRY

    def write(self, number: int, weights: Array, columns: Array, entry: int) -> int:
        """Write the rows below one choice of rows of the axes before one.

        Parameters
        ----------
        number : int
            The axis to walk.
        weights, columns : array
            As in `Part`, of one row so far.
        entry : int
            Where to write next.

        Returns
        -------
        int
            Where the last entry written ends.
        """
        level = self.levels[number]
        if self.compiled:
            # loops are compiled for such arrays alone
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
        """Divide rows of an axis into ranges: those with few entries at once, the others row by row.

        ``count`` is the number of columns so far.
        """
        at = start
        while at < stop:
            # a window of rows; if they have few entries in the mean, as many as fit a block
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
        """Write one row of an axis, and below it the axes that follow; arguments as for `write`."""
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
        # converted first: an addition that converts goes through a buffer
        upper, lower = (part.astype(self.indices.dtype) for part in (columns, row.columns))
        np.add.outer(upper, lower, out=self.indices[entry:stop].reshape(shape))
        return stop

    def write_block(
        self, number: int, limits: tuple[int, int], weights: Array, columns: Array, entry: int
    ) -> int:
        """Write all rows of a range of an axis, and of the axes that follow, at once."""
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
        """Do what `write_block` does by compiled loops."""
        products = self.products.get((number, limits))
        if products is None:
            products = Products.of(self.levels[number:], limits)
            # rows of the first axis do not come again
            if number:
                if len(self.products) == KEPT_PRODUCTS:
                    self.products.clear()
                self.products[number, limits] = products
        return products.write(weights, columns, self.data, self.indices, entry)

    def join(self, number: int, limits: tuple[int, int], part: Part) -> Part:
        """Return the rows that follow from each row so far with each row of an axis, in order."""
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
        """Return where, in the table of all columns so far by those of an axis, each entry stands."""
        key = number, limits, upper.tobytes()
        known = self.orders.get(key)
        if known is None:
            known = self.levels[number].axis.order(*limits, upper)
            if len(self.orders) < KEPT_ORDERS:
                self.orders[key] = known
        return known

    def repeat(self, first: int, length: int, repeat: int, shift: int | None) -> int:
        """Repeat the block of entries just written, columns shifted, and return where that ends.

        Without one shift two blocks have been written, and columns go on as from the first to the second.
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
    """Fill ``out`` so that all blocks of some length differ as the first two do.

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
    """Fill ``out`` with its first ``length`` entries again and again, ``shift`` added each time.

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
