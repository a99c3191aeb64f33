"""Tap lists of row blocks: the part of the tables of ``plan`` that the micro-kernel reads.

The lines of a row block share the loaded samples of the source, which each line multiplies by a different
tap. There is a list for each combination of phases of all axes and each number of lines. The entries of a
list are sorted by the range of rows of the register block that use them. NumPy operations over all entries
make all lists at once.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._methods.phases import ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array

# approximate number of int64 elements in memory at the same time, per list and per entry of a list
NUMBERS = 14


class Taps(NamedTuple):
    """Concatenated lists of taps.

    Attributes
    ----------
    reads : (taps, 2) array
        The offset of what each tap reads from a base, in the tile buffer and in the source.
    taps : (taps,) array
        The numbers of the taps.
    bounds : (lists + 1,) array
        The offset of each list; the last bound is the end.
    """

    reads: Array
    taps: Array
    bounds: Array

    @property
    def lengths(self) -> Array:
        """Number of taps of each list."""
        return np.diff(self.bounds)


class Lines(NamedTuple):
    """The source lines that row blocks read, along the last axis but one.

    There is a cell, a list of places, for each combination of a phase, a number of lines and a range of
    lines. Each place of a cell has one tap for each line of the range.

    Attributes
    ----------
    reads : (places, 2) array
        The places, cell by cell, as offsets from the base of a block's first line; see `Taps`.
    bounds : (cells + 1,) array
        The offset of each cell's places; the last bound is the end.
    taps : 1-D array
        The taps of the first place, one for each line, then those of the second place, and so on.
    begins, counts : (places,) arrays
        The offset and the number of each place's taps.
    """

    reads: Array
    bounds: Array
    taps: Array
    begins: Array
    counts: Array

    @property
    def lengths(self) -> Array:
        """Number of places of each cell."""
        return np.diff(self.bounds)


class TapLists(NamedTuple):
    """All tap lists, for all axes together.

    Attributes
    ----------
    chosen : (weights,) array
        The index of the weight, over planes and taps, for each line of the range of each entry.
    offsets, source_offsets : (entries,) arrays
        Offset of an entry's read from a row block's base, in elements of the tile buffer and of the source.
    bounds : (lists, ranges + 1) array
        The offset of the entries of each range of each list; the last bound of a list is its end.
    starts : (lists,) array
        The offset of each list's weights.
    """

    chosen: Array
    offsets: Array
    source_offsets: Array
    bounds: Array
    starts: Array


def shared_lines(own: Taps, numbers: Sequence[int], cycle: int, step: Array, ranges: Array) -> Lines:
    """Return the source lines that row blocks read, with the tap of each line of the block.

    Parameters
    ----------
    own : Taps
        A list for each phase.
    numbers : sequence of int
        The distinct numbers of lines of row blocks.
    cycle : int
        Tap ``t + cycle`` of a line reads the same place as tap ``t`` of the next line; negative if later taps
        read earlier places.
    step : (2,) array
        Distance from one line's base to the next, in the units of ``own.reads``.
    ranges : 2-D array
        ``ranges[a, b]`` is the index of the range of lines ``a`` to ``b``, excluding ``b``.
    """
    phase = np.repeat(np.arange(own.lengths.size), own.lengths)
    pairs = [(kind, line) for kind, count in enumerate(numbers) for line in range(count)]
    kinds, lines = (np.repeat(column, phase.size) for column in np.array(pairs).T)
    phases, taps = (np.tile(column, len(pairs)) for column in (phase, own.taps))
    reads = np.tile(own.reads, (len(pairs), 1))
    # reads of the same place have equal keys, and keys have the order of places
    keys = np.sign(cycle) * taps + lines * abs(cycle)
    order = np.lexsort((lines, keys, kinds, phases))
    phases, kinds, keys, lines = phases[order], kinds[order], keys[order], lines[order]
    places = reads[order] + lines[:, None] * step
    same = (np.diff(phases) == 0) & (np.diff(kinds) == 0) & (np.diff(keys) == 0)
    first = np.flatnonzero(np.append(True, ~same)) if phases.size else np.zeros(0, np.int64)
    counts = np.diff(np.append(first, phases.size))
    most = int(ranges.max()) + 1
    cells = (phases[first] * len(numbers) + kinds[first]) * most + ranges[lines[first], lines[first] + counts]
    by_cell = np.argsort(cells, kind="stable")
    first, counts = first[by_cell], counts[by_cell]
    which, line = ragged(counts)
    bounds = np.searchsorted(cells[by_cell], np.arange(own.lengths.size * len(numbers) * most + 1))
    return Lines(places[first], bounds, taps[order][first[which] + line], np.cumsum(counts) - counts, counts)


def tap_lists(before: Sequence[Taps], own: Lines, last: Taps, rows: Array) -> TapLists:
    """Combine the taps of all axes: a list for each combination of phases and number of lines.

    Parameters
    ----------
    before : sequence of Taps
        The planes as one list, then the taps of the axes in front of the axis of the lines.
    own : Lines
    last : Taps
        The taps of the last axis.
    rows : (ranges,) array
        Rows of the register block in each range.
    """
    # ranges that no row block has are left out, except the first, which is kept for lists without taps
    lengths = own.lengths.reshape(-1, rows.size)
    used = np.flatnonzero(lengths.any(0) | (np.arange(rows.size) == 0))
    shape = (*(axis.lengths.size for axis in before), len(lengths), last.lengths.size, used.size)
    _require(prod(shape))
    grid = np.ix_(*map(np.arange, shape))
    kinds, phases, ranges = grid[-3:]
    cells = kinds * rows.size + used[ranges]
    counts = own.lengths[cells] * last.lengths[phases]
    for axis, place in zip(before, grid, strict=False):
        counts = counts * axis.lengths[place]
    weights = counts * rows[used]
    _require(int(weights.sum()))
    cell, rest = ragged(counts.reshape(-1))
    grid = np.unravel_index(cell, shape)
    # the last axis varies fastest, the planes slowest
    reads, taps, rest = _part(last, grid[-2], rest)
    where = grid[-3] * rows.size + used[grid[-1]]
    rest, number = np.divmod(rest, own.lengths[where])
    place = own.bounds[where] + number
    reads += own.reads[place]
    for axis, lead in reversed(list(zip(before, grid, strict=False))):
        more_reads, more_taps, rest = _part(axis, lead, rest)
        reads += more_reads
        taps += more_taps
    which, line = ragged(own.counts[place])
    chosen = taps[which] + own.taps[own.begins[place][which] + line]
    ends = np.cumsum(counts).reshape(-1, used.size)
    begins = ends[:, :1] - counts.reshape(ends.shape)[:, :1]
    bounds = np.concatenate([begins, ends], 1)[:, np.searchsorted(used, np.arange(rows.size + 1))]
    starts = np.cumsum(weights).reshape(ends.shape)[:, 0] - weights.reshape(ends.shape)[:, 0]
    in_buffer, in_source = np.ascontiguousarray(reads.T)
    return TapLists(chosen, in_buffer, in_source, bounds, starts)


def are_nine(lists: TapLists, ranges: Sequence[tuple[int, int]]) -> bool:
    """Return whether the last list is that of four lines and a 3 x 3 kernel.

    Six lines of the source then have three taps each, equally spaced; the third one is met by all rows of the
    kernel, and the weight of a tap depends only on the distance of the two lines.
    """
    bounds = lists.bounds[-1]
    counts = np.diff(bounds)
    used = [ranges[number] for number in np.flatnonzero(counts).tolist()]
    if used != [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)] or set(counts.tolist()) != {0, 3}:
        return False
    reads = np.stack([lists.offsets, lists.source_offsets])[:, bounds[0] : bounds[-1]].reshape(2, 6, 3)
    steps = np.diff(reads, axis=2).reshape(2, -1)
    # the weights by line of the source, tap, and line of results
    weights = {}
    place = int(lists.starts[-1])
    for line, (low, high) in enumerate(used):
        for tap, row in product(range(3), range(low, high)):
            weights[line, tap, row] = lists.chosen[place]
            place += 1
    alike = all(weight == weights[2, tap, 2 - line + row] for (line, tap, row), weight in weights.items())
    return alike and bool((steps == steps[:, :1]).all())


def _part(axis: Taps, lists: Array, rest: Array) -> tuple[Array, Array, Array]:
    """Return the reads and taps of entries along an axis, and the remaining index over the other axes."""
    rest, number = np.divmod(rest, axis.lengths[lists])
    place = axis.bounds[lists] + number
    return axis.reads[place], axis.taps[place], rest


def _require(numbers: int) -> None:
    hint = "the kernel's size sets that; method='fft' needs less"
    memory.require("the plan of a product", 8 * NUMBERS * numbers, hint)
