"""An axis of a stencil, as either direction sees it, and how axes combine.

Floor 3. A directed axis is a padded input and the results that read it. Forward, all results meet all taps.
Transposed, they fall into phases by stride, each with its own taps. What is not read has no place in the
padded input, and a phase that no tap meets is left out: the cost grows with taps and results, not with the
stride or the dilation.
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

# the arrays of a directed axis are about this many numbers for each tap, result and place
NUMBERS = 16


class Source(NamedTuple):
    """The places of a padded input, in columns: what steps of one length lead to from one place.

    Attributes
    ----------
    axis : Axis
        The axis that is padded.
    first : int
        The position of the first place.
    step : int
        Positions from one place of a column to the next.
    columns : (columns,) array
        The positions of each column's first place, counted from ``first``.
    begins, skipped : (segments,) arrays
        From place ``begins[i]`` of a column on, ``skipped[i]`` places are left out in all.
    length : int
        Places of a column.
    places : int
        Places in all, counted row by row: a few of the last row may be missing.
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
        """Return the samples at places of columns, -1 for zeros."""
        segment = np.searchsorted(self.begins, place, "right") - 1
        far = (place + self.skipped[segment]) * self.step
        return source_indices(self.axis, self.first + far + self.columns[column])

    @property
    def rows(self) -> Array:
        """The samples of all places, row by row."""
        return self.samples(*np.divmod(np.arange(self.places), self.columns.size)[::-1])

    def mains(self) -> tuple[Array, Array]:
        """Return where each column's longest run of places inside the signal begins, and where it ends."""
        origin = self.first + self.columns[:, None] + self.skipped * self.step
        ends = np.append(self.begins[1:], self.length)
        begin = (-(origin // self.step)).clip(self.begins, ends)
        end = ((self.axis.size - 1 - origin) // self.step + 1).clip(begin, ends)
        column, longest = np.arange(len(begin)), (end - begin).argmax(1)
        return begin[column, longest], end[column, longest]


class Runs(NamedTuple):
    """Results of an axis that stand at neighbouring bases and belong to equally spaced samples.

    Attributes
    ----------
    phase, base, number, target, step : (runs,) arrays
        ``number`` is how many results there are, ``base`` and ``target`` are those of the first result.
    added : (runs,) bool array
        Whether it is added to its sample, as a position in the padding is.
    """

    phase: Array
    base: Array
    number: Array
    target: Array
    step: Array
    added: Array


class DirectedAxis(NamedTuple):
    """One axis, as one direction reads it.

    Attributes
    ----------
    source : Source
    taps, reads : (taps,) arrays
        The taps of one phase after the other, and what each reads, as a place counted from a result's base.
    bounds : (phases + 1,) array
        Where the taps of each phase begin.
    runs : Runs
        Sorted by phase; each phase has some. Bases count rows of places.
    size : int
        Samples that results belong to.
    """

    source: Source
    taps: Array
    reads: Array
    bounds: Array
    runs: Runs
    size: int

    @property
    def whole(self) -> bool:
        """Whether every sample is set by a result."""
        return int(self.runs.number[~self.runs.added].sum()) == self.size


class Results(NamedTuple):
    """The results of an axis one by one, sorted by phase, as in `Runs`."""

    phase: Array
    base: Array
    target: Array
    added: Array


def results(axis: DirectedAxis) -> Results:
    """Return all results of an axis; ``base`` counts places of all columns."""
    run, number = ragged(axis.runs.number)
    own = Runs(*(column[run] for column in axis.runs))
    base = (own.base + number) * axis.source.columns.size
    return Results(own.phase, base, own.target + number * own.step, own.added)


class Polyphase(NamedTuple):
    """The residues of ``tap * dilation`` modulo ``stride``, and the taps that have them.

    Tap ``first + n * cycle`` has the residue of tap ``first``, and reads ``n * fall`` further than it, in
    strides.

    Attributes
    ----------
    residues : (phases,) array
        Increasing.
    first, counts : (phases,) arrays
        The first tap of each residue, and how many have it.
    cycle, fall : int
    """

    residues: Array
    first: Array
    counts: Array
    cycle: int
    fall: int

    def taps(self) -> tuple[Array, Array]:
        """Return the phase and the number of each tap, one phase after the other."""
        phase, number = ragged(self.counts)
        return phase, self.first[phase] + number * self.cycle


def polyphase(taps: int, dilation: int, stride: int) -> Polyphase:
    """Divide taps by what they leave over of strides."""
    common = gcd(dilation, stride)
    cycle = stride // common
    first = np.arange(min(taps, cycle))
    residues = first * dilation % stride
    order = np.argsort(residues, kind="stable")
    first = first[order]
    return Polyphase(residues[order], first, -((first - taps) // cycle), cycle, dilation // common)


def is_plain(axis: Axis) -> bool:
    """Return whether an axis is one sample, which one tap reads for one output."""
    return axis.size == axis.taps == axis.outputs == 1 and axis.low == 0


def forward_axis(axis: Axis) -> DirectedAxis:
    """Return an axis of the forward direction: one phase, all taps."""
    # one output makes no stride: its taps are read as a line
    stride = axis.stride if axis.outputs > 1 else axis.dilation
    check(axis.taps + axis.outputs)
    by_stride = polyphase(axis.taps, axis.dilation, stride)
    width = by_stride.first.size
    column = np.empty(width, np.int64)
    column[by_stride.first] = np.arange(width)
    rows, begins, skipped = _compact(np.arange(by_stride.counts.max()) * by_stride.fall, axis.outputs)
    taps = np.arange(axis.taps)
    # a column begins at what its first tap reads for the first output
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
        # no tap reads the signal: results of one phase, of no taps, stand for all
        own, kept = _phase_runs(axis, np.array([-axis.low % axis.stride])), np.zeros(1, np.int64)
        phase, taps = phase[:0], taps[:0]
    # phases without results are none
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
    """Raise ``MemoryError`` where the arrays for this many taps, results and places cannot be had."""
    hint = "the sizes of an axis, its padding and its kernel set that"
    memory.require("the plan of a product", 8 * NUMBERS * numbers, hint)


def _compact(places: Array, span: int) -> tuple[Array, Array, Array]:
    """Leave out what is not read: ``span`` places are read from each of ``places`` on, which increase.

    Returns
    -------
    places : (taps,) array
        Without what is left out.
    begins, skipped : (segments,) arrays
        As in `Source`.
    """
    gaps = np.diff(places)
    kept = np.concatenate([[0], np.cumsum(np.minimum(gaps, span))])
    jumps = np.flatnonzero(gaps > span) + 1
    return kept, np.append(0, kept[jumps]), np.append(0, (places - kept)[jumps])


def _phase_runs(axis: Axis, residues: Array) -> Runs:
    """Return the positions of each residue as runs; those outside of the signal are added."""
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
    """Return the positions that the transposed direction computes before it unpads.

    They are counted from the first that the forward direction reads. Where zeros stand outside they are the
    signal itself, as what is outside is dropped; else all that the forward direction reads.
    """
    if axis.effective_mode.zero:
        return -axis.low, axis.size - axis.low
    return 0, axis.high - axis.low + 1


def ragged(counts: Array) -> tuple[Array, Array]:
    """Return each entry's list, and its place in it; ``counts`` are the lengths of lists laid end to end."""
    which = np.repeat(np.arange(counts.size), counts)
    begins = np.cumsum(counts) - counts
    return which, np.arange(which.size) - begins[which]


def flat_samples(samples: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the flat sample of each combination of places of some axes; -1 if outside along any."""
    total = np.zeros(1, np.int64)
    for number, own in enumerate(samples):
        inside = (total >= 0)[:, None] & (own >= 0)
        step = prod(sizes[number + 1 :])
        total = np.where(inside, np.add.outer(total, own * step), -1).reshape(-1)
    return total


def sums(parts: Sequence[Array]) -> Array:
    """Return all sums of one number of each part; the last part's runs fastest."""
    return reduce(lambda total, part: np.add.outer(total, part).reshape(-1), parts, np.zeros(1, np.int64))
