"""Divide the results of a stencil into runs and row blocks.

All functions here are pure, and most return arrays of the records of ``records``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._arrays.record import filled, joined, record, size
from sparsetconv._methods.cpu.emit import VECTOR_BYTES
from sparsetconv._methods.cpu.stencil.records import (
    BLOCK_ROWS,
    CHANNEL_VECTORS,
    RANGES,
    ROW_BLOCK,
    RUN,
    TALL_ROWS,
)
from sparsetconv._methods.phases import forward_axis, is_plain, results, sums, transposed_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._methods.phases import DirectedAxis

# The rows of the padded input with a row block's first and last base, and 1 if these rows' results are added.
_SPAN = record("first", "last", "adds")


class Layout(NamedTuple):
    """Planes and elements of the arrays; a plane is one channel, or the real or imaginary part of one.

    Attributes
    ----------
    channel_groups : int
    planes, results : int
        Planes of the source and of the result, for each channel group.
    plane_parts, item_parts : int
        2 if planes, or items of the batch, are alternately real and imaginary parts, else 1.
    itemsize : int
        Bytes of an element.
    channel_lanes : bool
        Whether the lanes of a vector hold channels of the result at one place, not places of one channel.
    tall : bool
        Whether register blocks are tall, if lanes hold places.
    """

    channel_groups: int
    planes: int
    results: int
    plane_parts: int
    item_parts: int
    itemsize: int
    channel_lanes: bool = False
    tall: bool = False

    @property
    def most_channels(self) -> int:
        """The most channels of the result that a register block has."""
        if self.channel_lanes:
            return CHANNEL_VECTORS * VECTOR_BYTES // self.itemsize
        return TALL_ROWS if self.tall else BLOCK_ROWS

    @property
    def channel_blocks(self) -> int:
        """Blocks into which the result's channels are divided; a register block has the channels of one."""
        return -(-self.results // self.most_channels)

    @property
    def block_channels(self) -> int:
        """Channels per block; the real and imaginary parts of a channel are in the same block."""
        if self.channel_lanes or self.tall:
            return self.most_channels
        return -(-self.results // (self.channel_blocks * self.plane_parts)) * self.plane_parts

    @property
    def lines_together(self) -> int:
        """Lines of a row block."""
        return max(1, BLOCK_ROWS // self.block_channels)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """All ranges of rows of a register block that share a tap; lanes of channels are one range."""
        return ((0, self.block_channels),) if self.channel_lanes else RANGES


class Inside(NamedTuple):
    """The longest run of places of an axis whose samples are equally spaced, and none a padded zero.

    Attributes
    ----------
    begin, end : int
    sample, step : int
        The sample of place 0 if the run extended so far, and samples from one place to the next.
    low, high : int
        The first and the last place that taps read, relative to a base.
    """

    begin: int
    end: int
    sample: int
    step: int
    low: int
    high: int

    def holds(self, first: Array, last: Array) -> Array:
        """Return whether all reads of bases from ``first`` to ``last`` are in the run."""
        holds: Array = (first + self.low >= self.begin) & (last + self.high < self.end)
        return holds

    def samples(self, base: Array) -> Array:
        """Return the samples at bases."""
        return self.sample + base * self.step


def inside(axis: DirectedAxis) -> Inside:
    """Return the places of an axis that lie inside the signal."""
    rows, reads = axis.source.rows, axis.reads
    apart = np.diff(rows)
    there = (rows[:-1] >= 0) & (rows[1:] >= 0)
    edges = np.flatnonzero(np.append(True, (apart[1:] != apart[:-1]) | ~there[1:] | ~there[:-1]))
    begin, end, step = 0, 1, 1
    if apart.size:
        lengths = np.diff(np.append(edges, apart.size)) * there[edges]
        longest = lengths.argmax()
        begin, step = int(edges[longest]), int(apart[edges[longest]])
        end = begin + int(lengths[longest]) + 1
    low, high = int(reads.min(initial=0)), int(reads.max(initial=0))
    return Inside(begin, end, int(rows[begin]) - begin * step, step, low, high)


@dataclass(frozen=True)
class Direction:
    """The axes of one direction of a convolution.

    Attributes
    ----------
    axes : tuple of Axis
        The axes, without those of one sample and one tap.
    outer : tuple of DirectedAxis
        All of ``axes`` but the last, as this direction reads them.
    last : DirectedAxis
    transposed : bool
    """

    axes: tuple[Axis, ...]
    outer: tuple[DirectedAxis, ...]
    last: DirectedAxis
    transposed: bool

    @property
    def stores_all(self) -> bool:
        """Whether every sample of the result is stored."""
        return all(axis.stores_all for axis in (*self.outer, self.last))

    @property
    def source_sizes(self) -> list[int]:
        """Samples of the source along each axis."""
        return [axis.outputs if self.transposed else axis.size for axis in self.axes]

    @cached_property
    def insides(self) -> tuple[Inside, ...]:
        """The places of each of ``outer`` that lie inside the signal."""
        return tuple(map(inside, self.outer))

    @property
    def source_steps(self) -> list[int]:
        """Elements of a plane of the source from one sample to the next, for each axis."""
        return [prod(self.source_sizes[n + 1 :]) for n in range(len(self.axes))]

    @property
    def phases(self) -> int:
        """Phases of a line of the padded input."""
        return self.last.source.columns.size

    def strides(self, pitch: int) -> tuple[int, ...]:
        """Return the elements of a tile buffer from one place to the next, for each axis but the last."""
        lengths = [axis.source.places for axis in self.outer[1:]]
        return tuple(prod(lengths[n:]) * self.phases * pitch for n in range(len(self.outer)))

    @property
    def spacing(self) -> int:
        """Distance, within a phase, between lines of results that read the same lines of the source."""
        if not self.outer:
            return 1
        axis = self.axes[-2]
        return axis.dilation // gcd(axis.dilation, axis.stride)

    @property
    def cycle(self) -> int:
        """Tap offset by which lines ``spacing`` apart read the same source line; negative if transposed."""
        axis = self.axes[-2]
        cycle = axis.stride // gcd(axis.dilation, axis.stride)
        return -cycle if self.transposed else cycle


def directed(axes: Sequence[Axis], transposed: bool) -> Direction:
    """Return the axes as a direction reads them."""
    # axes of one sample and one tap have no effect; at least one axis is kept
    own = [axis for axis in axes if not is_plain(axis)] or list(axes[-1:])
    *outer, last = map(transposed_axis if transposed else forward_axis, own)
    return Direction(tuple(own), tuple(outer), last, transposed)


def find_runs(direction: Direction, layout: Layout) -> Array:
    """Return the runs; those that are added come last.

    Two stored runs with alternating samples become a pair at the front: an even and an odd phase of equal
    length.
    """
    own = direction.last.runs
    runs = filled(
        RUN,
        base=own.base,
        count=own.number,
        target=own.target,
        step=own.step,
        adds=own.added,
        phase=own.phase,
        paired=0,
    )
    alternating = np.flatnonzero(~own.added & (own.step == 2))
    if layout.plane_parts * layout.item_parts == 1 and alternating.size == 2:
        pair = runs[alternating]
        pair = pair[np.argsort(pair["target"], kind="stable")]
        if np.diff(pair["target"]) == 1:
            runs = joined(_paired(pair), np.delete(runs, alternating))
    return runs[np.argsort(runs["adds"], kind="stable")]


def _paired(pair: Array) -> Array:
    """Return two runs as a pair of equal length, then the rest of the longer one."""
    count = pair["count"].min()
    rest = pair[pair["count"] > count]
    rest["base"] += count
    rest["count"] -= count
    rest["target"] += 2 * count
    pair["count"], pair["paired"] = count, [1, 0]
    return joined(pair, rest)


def find_read_span(direction: Direction, runs: Array) -> tuple[int, int]:
    """Return the first and the last place that is read along the last axis, relative to a base."""
    reads = direction.last.reads // direction.phases
    # the odd phase of a pair is computed with the shifted bases of the even phase
    shifts = np.diff(runs["base"])[runs["paired"][:-1] == 1]
    low, high = (int(f(reads, initial=0) + f(shifts, initial=0)) for f in (np.min, np.max))
    return low, high


class LineBlocks(NamedTuple):
    """The results of the last axis but one, in row blocks.

    Attributes
    ----------
    lines : (blocks, BLOCK_ROWS) array
        The lines of results of a block, -1 past the last one.
    first, last : (blocks,) arrays
        The bases of the first and of the last line.
    adds : (blocks,) bool array
        Whether the lines are added to the result.
    phase : (blocks,) array
        The phase of all lines of the block.
    """

    lines: Array
    first: Array
    last: Array
    adds: Array
    phase: Array


def line_blocks(direction: Direction, layout: Layout) -> LineBlocks:
    """Divide the results of the last axis but one into row blocks."""
    own = results(direction.outer[-1])
    spacing, wide = direction.spacing, direction.spacing * layout.lines_together
    edge = np.append(True, (np.diff(own.phase) != 0) | np.diff(own.added))
    begins = np.flatnonzero(edge)
    part = np.cumsum(edge) - 1
    i = np.arange(part.size) - begins[part]
    block, row = i // wide * spacing + i % spacing, i % wide // spacing
    number = np.maximum.reduceat(block, begins) + 1
    block += (np.cumsum(number) - number)[part]
    lines = np.full((int(number.sum()), BLOCK_ROWS), -1, np.int64)
    lines[block, row] = own.target
    first, last = np.zeros((2, len(lines)), np.int64)
    first[block[row == 0]] = own.base[row == 0]
    # the assignment for the last line of a block remains
    last[block] = own.base
    of_part = np.repeat(begins, number)
    return LineBlocks(lines, first, last, own.added[of_part], own.phase[of_part])


def find_row_blocks(direction: Direction, layout: Layout, strides: Sequence[int]) -> tuple[Array, Array]:
    """Return all row blocks, and the rows of the padded input with the bases of each (`_SPAN`)."""
    if not direction.outer:
        alone = [0] + [-1] * (BLOCK_ROWS - 1)
        one = filled(ROW_BLOCK, lines=[alone], count=1, base=0, pattern=0, adds=0, inside=1, source=0)
        return one, np.zeros(1, _SPAN)
    sizes = [axis.size for axis in direction.outer]
    phases = [axis.bounds.size - 1 for axis in direction.outer]
    front = [results(axis) for axis in direction.outer[:-1]]
    own = line_blocks(direction, layout)
    shape = prod(axis.base.size for axis in front), len(own.lines)
    each = 8 * (size(ROW_BLOCK) + size(_SPAN))
    memory.require("the plan of a product", 3 * each * prod(shape), "the number of lines sets that")
    start = sums([axis.target * prod(sizes[n + 1 :]) for n, axis in enumerate(front)])
    base = sums([axis.base * stride for axis, stride in zip(front, strides, strict=False)])
    choice = sums([axis.phase * prod(phases[n + 1 :]) for n, axis in enumerate(front)])
    outside = sums([axis.added.astype(np.int64) for axis in front])
    count = (own.lines >= 0).sum(1)
    kinds, kind = np.unique(count, return_inverse=True)
    places = direction.insides
    steps = direction.source_steps[:-1]
    bases = [axis.base for axis in front]
    misses = sums([(~p.holds(b, b)).astype(np.int64) for p, b in zip(places, bases, strict=False)])
    source = sums([p.samples(b) * step for p, b, step in zip(places, bases, steps, strict=False)])
    blocks = filled(
        ROW_BLOCK,
        lines=np.where(own.lines >= 0, start[:, None, None] + own.lines, -1),
        count=count,
        base=np.add.outer(base, own.first * strides[-1]),
        pattern=np.add.outer(choice, own.phase) * kinds.size + kind,
        adds=np.add.outer(outside, own.adds) > 0,
        inside=np.add.outer(misses, ~places[-1].holds(own.first, own.last)) == 0,
        source=np.add.outer(source, places[-1].samples(own.first) * steps[-1]),
    )
    # rows are places of the first axis, which is the axis of the lines only if there are two axes
    spans = filled(_SPAN, first=own.first, last=own.last, adds=own.adds)
    if front:
        of_first = filled(_SPAN, first=front[0].base, last=front[0].base, adds=front[0].added)
        spans = np.repeat(of_first, prod(axis.base.size for axis in front[1:]))[:, None]
    return blocks.reshape(-1), np.broadcast_to(spans, shape).reshape(-1)
