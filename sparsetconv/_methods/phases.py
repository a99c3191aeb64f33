"""One axis of a stencil as each direction reads it (polyphase), and tables for several axes combined.

A directed axis is a padded input and the results that read it. In the forward direction every result has all
taps. In the transposed direction results fall into phases, by their position modulo the stride, and each
phase has its own taps. Places of the padded input that no result reads are left out, and so are phases
without taps, so that the cost grows with taps and results, not with the stride or the dilation.
"""

from __future__ import annotations

from functools import reduce
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.extension import runs, source_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array

# approximate number of int64 elements in the arrays of a directed axis, per tap, result and place
NUMBERS = 16


class Source(NamedTuple):
    """The places of a padded input, in columns: within a column, positions are ``step`` apart.

    Attributes
    ----------
    axis : Axis
        The axis that is padded.
    first : int
        The position of the first place.
    step : int
        Positions from one place of a column to the next.
    columns : (columns,) array
        The position of the first place of each column, counted from ``first``.
    begins, skipped : (segments,) arrays
        From place ``begins[i]`` of a column on, ``skipped[i]`` places in total have been left out, since no
        result reads them.
    length : int
        Places of a column.
    places : int
        Total number of places, counted row by row; the last row may be incomplete.
    """

    axis: Axis
    first: int
    step: int
    columns: Array
    begins: Array
    skipped: Array
    length: int
    places: int

    def samples(self, column: Array, place: Array) -> Array:
        """Return the samples at places of columns; -1 stands for a padded zero."""
        segment = np.searchsorted(self.begins, place, "right") - 1
        far = (place + self.skipped[segment]) * self.step
        return source_indices(self.axis, self.first + far + self.columns[column])

    @property
    def rows(self) -> Array:
        """The samples of all places, row by row."""
        return self.samples(*np.divmod(np.arange(self.places), self.columns.size)[::-1])

    def mains(self) -> tuple[Array, Array]:
        """Return the begin and the end of the longest run of places inside the signal, for each column."""
        origin = self.first + self.columns[:, None] + self.skipped * self.step
        ends = np.append(self.begins[1:], self.length)
        begin = (-(origin // self.step)).clip(self.begins, ends)
        end = ((self.axis.size - 1 - origin) // self.step + 1).clip(begin, ends)
        column, longest = np.arange(len(begin)), (end - begin).argmax(1)
        return begin[column, longest], end[column, longest]


class Runs(NamedTuple):
    """Runs of results of an axis, with consecutive bases and equally spaced samples.

    The base of a result is the place of the padded input relative to which its taps read.

    Attributes
    ----------
    phase : (runs,) array
    base, target : (runs,) arrays
        The base of the first result, and the sample that it belongs to.
    number : (runs,) array
        Number of results of the run.
    step : (runs,) array
        Samples from one result to the next.
    added : (runs,) bool array
        Whether the results are positions in the padding, which are added to their samples.
    """

    phase: Array
    base: Array
    number: Array
    target: Array
    step: Array
    added: Array


class DirectedAxis(NamedTuple):
    """One axis as one direction reads it.

    Attributes
    ----------
    source : Source
    taps, reads : (taps,) arrays
        The taps, sorted by phase, and the place that each tap reads, relative to a result's base.
    bounds : (phases + 1,) array
        The taps of phase ``p`` are ``bounds[p]`` to ``bounds[p + 1]``.
    runs : Runs
        Sorted by phase, with at least one run for each phase. Bases are in rows of places.
    size : int
        Number of samples of the result.
    """

    source: Source
    taps: Array
    reads: Array
    bounds: Array
    runs: Runs
    size: int

    @property
    def stores_all(self) -> bool:
        """Whether every sample of the result is stored, so that it need not be set to zero first."""
        return int(self.runs.number[~self.runs.added].sum()) == self.size


class Results(NamedTuple):
    """The individual results of an axis, sorted by phase; see `Runs` for the attributes."""

    phase: Array
    base: Array
    target: Array
    added: Array


def results(axis: DirectedAxis) -> Results:
    """Return all results of an axis; ``base`` is in places of all columns."""
    run, number = ragged(axis.runs.number)
    own = Runs(*(column[run] for column in axis.runs))
    base = (own.base + number) * axis.source.columns.size
    return Results(own.phase, base, own.target + number * own.step, own.added)


class Polyphase(NamedTuple):
    """The phases: residues of ``tap * dilation`` modulo ``stride``, with the taps of each residue.

    Tap ``first + n * cycle`` has the same residue as tap ``first``, and is ``n * fall`` strides further on.

    Attributes
    ----------
    residues : (phases,) array
        Increasing.
    first, counts : (phases,) arrays
        The first tap of each residue, and the number of taps with that residue.
    cycle, fall : int
    """

    residues: Array
    first: Array
    counts: Array
    cycle: int
    fall: int

    def taps(self) -> tuple[Array, Array]:
        """Return the phase and the index of each tap, sorted by phase."""
        phase, number = ragged(self.counts)
        return phase, self.first[phase] + number * self.cycle


def polyphase(taps: int, dilation: int, stride: int) -> Polyphase:
    """Sort the taps into phases by the residue of their position modulo the stride."""
    common = gcd(dilation, stride)
    cycle = stride // common
    first = np.arange(min(taps, cycle))
    residues = first * dilation % stride
    order = np.argsort(residues, kind="stable")
    first = first[order]
    return Polyphase(residues[order], first, -((first - taps) // cycle), cycle, dilation // common)


def is_plain(axis: Axis) -> bool:
    """Return whether an axis has one sample, which the only tap reads for the only output."""
    return axis.size == axis.taps == axis.outputs == 1 and axis.low == 0


def forward_axis(axis: Axis) -> DirectedAxis:
    """Return an axis of the forward direction: one phase, all taps."""
    # with one output the stride has no effect; a stride of `dilation` puts all reads in one column
    stride = axis.stride if axis.outputs > 1 else axis.dilation
    check(axis.taps + axis.outputs)
    by_stride = polyphase(axis.taps, axis.dilation, stride)
    width = by_stride.first.size
    column = np.empty(width, np.int64)
    column[by_stride.first] = np.arange(width)
    rows, begins, skipped = _compact(np.arange(by_stride.counts.max()) * by_stride.fall, axis.outputs)
    taps = np.arange(axis.taps)
    # a column begins at the place that its first tap reads for the first output
    reads = rows[taps // by_stride.cycle] * width + column[taps % by_stride.cycle]
    length = axis.outputs + int(rows[-1])
    count = (axis.outputs - 1) * width + int(reads.max()) + 1
    check(count)
    columns = by_stride.first * axis.dilation
    source = Source(axis, axis.low, stride, columns, begins, skipped, length, count)
    one, none = np.ones(1, np.int64), np.zeros(1, np.int64)
    everywhere = Runs(none, none, one * axis.outputs, none, one, none.astype(bool))
    return DirectedAxis(source, taps, reads, np.array([0, axis.taps]), everywhere, axis.outputs)


def transposed_axis(axis: Axis) -> DirectedAxis:
    """Return an axis of the transposed direction: a phase for each residue of the stride."""
    check(axis.taps + axis.size)
    by_stride = polyphase(axis.taps, axis.dilation, axis.stride)
    own = _phase_runs(axis, by_stride.residues)
    kept = np.flatnonzero(np.bincount(own.phase))
    phase, taps = by_stride.taps()
    if not kept.size:
        # no tap reads the signal: all results belong to one phase without taps
        own, kept = _phase_runs(axis, np.array([-axis.low % axis.stride])), np.zeros(1, np.int64)
        phase, taps = phase[:0], taps[:0]
    # phases without results are left out
    place = np.full(by_stride.counts.size, -1)
    place[kept] = np.arange(kept.size)
    phase, taps = place[phase], taps[place[phase] >= 0]
    bounds = np.append(0, np.cumsum(np.bincount(phase[phase >= 0], minlength=kept.size)))
    start, span = int(own.base.min()), int((own.base + own.number).max() - own.base.min())
    # the last tap reads the first place
    falling = np.arange(axis.taps - 1, -1, -1) * axis.dilation // axis.stride
    reach = int(falling[0])
    rows, begins, skipped = _compact(reach - falling, span)
    length = span + int(rows[-1])
    check(length)
    small = Axis.plain(axis.outputs)
    source = Source(small, start - reach, 1, np.zeros(1, np.int64), begins, skipped, length, length)
    placed = own._replace(phase=place[own.phase], base=own.base - start)
    return DirectedAxis(source, taps, rows[axis.taps - 1 - taps], bounds, placed, axis.size)


def check(numbers: int) -> None:
    """Raise ``MemoryError`` if there is no memory for the arrays of this many taps, results and places."""
    hint = "the sizes of an axis, its padding and its kernel set that"
    memory.require("the plan of a product", 8 * NUMBERS * numbers, hint)


def _compact(places: Array, span: int) -> tuple[Array, Array, Array]:
    """Leave out the places that no result reads, where tap ``t`` reads ``span`` places from ``places[t]`` on.

    Parameters
    ----------
    places : (taps,) array
        Ascending.
    span : int

    Returns
    -------
    places : (taps,) array
        The given places, renumbered without those left out.
    begins, skipped : (segments,) arrays
        As in `Source`.
    """
    gaps = np.diff(places)
    kept = np.concatenate([[0], np.cumsum(np.minimum(gaps, span))])
    jumps = np.flatnonzero(gaps > span) + 1
    return kept, np.append(0, kept[jumps]), np.append(0, (places - kept)[jumps])


def _phase_runs(axis: Axis, residues: Array) -> Runs:
    """Return the positions of each residue as runs; those in the padding are added to their samples."""
    start, stop = read_range(axis)
    pieces = list(runs(axis, min(start + axis.low, 0), max(stop + axis.low, axis.size)))
    # (residues, pieces)
    begin, end, sample, step = np.array(pieces, np.int64).T
    first = begin + (residues[:, None] + axis.low - begin) % axis.stride
    count = (end - first + axis.stride - 1) // axis.stride
    phase, piece = np.nonzero(count > 0)
    first, count = first[phase, piece], count[phase, piece]
    target = sample[piece] + step[piece] * (first - begin[piece])
    base = (first - axis.low - residues[phase]) // axis.stride
    apart = np.where(count > 1, step[piece] * axis.stride, 1)
    return Runs(phase, base, count, target, apart, (first < 0) | (first >= axis.size))


def read_range(axis: Axis) -> tuple[int, int]:
    """Return the range of positions that the transposed direction computes before it unpads.

    Positions are relative to the first one that the forward direction reads. With zero padding the range is
    the signal, since unpadding drops the rest; with any other mode it is everything that the forward
    direction reads.
    """
    if axis.effective_mode.zero:
        return -axis.low, axis.size - axis.low
    return 0, axis.high - axis.low + 1


def ragged(counts: Array) -> tuple[Array, Array]:
    """Return the list and the index in it of each entry, for concatenated lists of lengths ``counts``."""
    which = np.repeat(np.arange(counts.size), counts)
    begins = np.cumsum(counts) - counts
    return which, np.arange(which.size) - begins[which]


def flat_samples(samples: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the flat index of each combination of samples of the axes; -1 if any is a padded zero."""
    total = np.zeros(1, np.int64)
    for number, own in enumerate(samples):
        inside = (total >= 0)[:, None] & (own >= 0)
        step = prod(sizes[number + 1 :])
        total = np.where(inside, np.add.outer(total, own * step), -1).reshape(-1)
    return total


def sums(parts: Sequence[Array]) -> Array:
    """Return the sums of all combinations of a number from each part, flat; the last part varies fastest."""
    return reduce(lambda total, part: np.add.outer(total, part).reshape(-1), parts, np.zeros(1, np.int64))
