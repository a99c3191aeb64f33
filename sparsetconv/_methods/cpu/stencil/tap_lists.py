"""Which taps the results of a stencil meet, as lists: part of the tables of ``plan``.

Lines that are computed together form a row block; the taps that a line of the source meets differ by
line. A list belongs to the phases of all axes and to a number of lines; its taps are divided by the range of
rows of the register block that they serve. All lists are made at once, by vectors over lists and over their
entries.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._methods.phases import ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array

# numbers that are there at the same time for each list, and for each of its entries
NUMBERS = 12


class Taps(NamedTuple):
    """Lists of taps, one after the other.

    Attributes
    ----------
    reads : (taps,) array
        What each reads, counted from a base.
    taps : (taps,) array
    bounds : (lists + 1,) array
    """

    reads: Array
    taps: Array
    bounds: Array

    @property
    def lengths(self) -> Array:
        """The number of taps of each list."""
        return np.diff(self.bounds)

    def scaled(self, apart: int, step: int) -> Taps:
        """Return the lists where places are ``apart`` elements from each other, and taps ``step``."""
        return Taps(self.reads * apart, self.taps * step, self.bounds)


class Lines(NamedTuple):
    """What row blocks read: for each cell a list of places, each with a tap for each line of a range.

    A cell belongs to a phase, a number of lines and a range of rows.

    Attributes
    ----------
    reads : (places,) array
    bounds : (cells + 1,) array
    taps : 1-D array
        Those of the first place's lines, of the second's, ...
    begins, counts : (places,) arrays
        Where the taps of each place begin, and how many there are.
    """

    reads: Array
    bounds: Array
    taps: Array
    begins: Array
    counts: Array

    @property
    def lengths(self) -> Array:
        """The number of places of each cell."""
        return np.diff(self.bounds)


class TapLists(NamedTuple):
    """All lists.

    Attributes
    ----------
    chosen : (weights,) array
        For each entry and each line of its range which tap of which plane is meant.
    offsets : (entries,) array
        What an entry reads, counted from a line's base.
    bounds : (lists, ranges + 1) array
        Where the entries of each range of each list begin.
    starts : (lists,) array
        Where each list's weights begin.
    """

    chosen: Array
    offsets: Array
    bounds: Array
    starts: Array


def met_together(own: Taps, numbers: Sequence[int], cycle: int, step: int, ranges: Array) -> Lines:
    """Return the lines of the source that row blocks read, and through which tap each of their lines does.

    Parameters
    ----------
    own : Taps
        A list for each phase.
    numbers : sequence of int
        The numbers of lines that row blocks have.
    cycle : int
        What is added to a tap so that it reads for a line what the tap reads for the next one; negative
        where taps read backwards.
    step : int
        Places from one line's base to the next.
    ranges : 2-D array
        ``ranges[a, b]`` is the number of the range from line ``a`` up to line ``b``.
    """
    phase = np.repeat(np.arange(own.lengths.size), own.lengths)
    pairs = [(kind, line) for kind, count in enumerate(numbers) for line in range(count)]
    kinds, lines = (np.repeat(column, phase.size) for column in np.array(pairs).T)
    phases, reads, taps = (np.tile(column, len(pairs)) for column in (phase, own.reads, own.taps))
    # the same for all lines that read the same place; in the order of places
    keys = np.sign(cycle) * taps + lines * abs(cycle)
    order = np.lexsort((lines, keys, kinds, phases))
    phases, kinds, keys, lines = phases[order], kinds[order], keys[order], lines[order]
    places = reads[order] + lines * step
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
    """Combine the taps of all axes: a list for each choice of phases and number of lines.

    Parameters
    ----------
    before : sequence of Taps
        Those of the planes, which are one list, and of the axes in front of the lines.
    own : Lines
    last : Taps
        Those of the last axis.
    rows : (ranges,) array
        Of the register block, in each range.
    """
    # ranges that no row block has need no cells; the first stands for lists without taps
    lengths = own.lengths.reshape(-1, rows.size)
    used = np.flatnonzero(lengths.any(0) | (rows.cumsum() == 1))
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
    # the last axis runs fastest, the planes slowest
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
    return TapLists(chosen, reads, bounds, starts)


def _part(axis: Taps, lists: Array, rest: Array) -> tuple[Array, Array, Array]:
    """Return what entries read along an axis and through which tap, and what is left of their numbers."""
    rest, number = np.divmod(rest, axis.lengths[lists])
    place = axis.bounds[lists] + number
    return axis.reads[place], axis.taps[place], rest


def _require(numbers: int) -> None:
    hint = "the kernel's size sets that; method='fft' needs less"
    memory.require("the plan of a product", 8 * NUMBERS * numbers, hint)
