"""Divide the results of a stencil into runs, row blocks, bands and tiles.

All functions here are pure, and most return arrays of the records of ``records``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._arrays.record import filled, joined, record, size
from sparsetconv._arrays.threads import thread_count
from sparsetconv._methods.cpu.emit import VECTOR_BYTES, VECTORS
from sparsetconv._methods.cpu.stencil.records import BLOCK_ROWS, ROW_BLOCK, RUN, TILE
from sparsetconv._methods.phases import forward_axis, is_plain, results, sums, transposed_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._methods.phases import DirectedAxis

# candidates for the number of bands, per thread
MOST_BANDS = 32
# in multiplications of vectors: the times of a tile and of a register block beside their multiplications, and
# the time to copy a vector to a tile buffer
TILE_START, BLOCK_START, VECTOR_COPY = 2000.0, 40.0, 2.0

# A band: its row blocks, the rows of the padded input that they read, 1 if its results are added, and 1 if it
# reads rows of padding.
BAND = record("first_block", "end_block", "first_row", "rows", "adds", "whole")
# The rows of the padded input with a row block's first and last base, and 1 if these rows' results are added.
_SPAN = record("first", "last", "adds")
# the source is read in place if a row block reads at most this many lines of it; more lines, each in another
# page of memory, are read faster from a tile buffer, and by many channels of results again and again
LINES_IN_PLACE = 12


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
    """

    channel_groups: int
    planes: int
    results: int
    plane_parts: int
    item_parts: int
    itemsize: int

    @property
    def channel_blocks(self) -> int:
        """Blocks into which the result's channels are divided; a register block has the channels of one."""
        return -(-self.results // BLOCK_ROWS)

    @property
    def block_channels(self) -> int:
        """Channels per block; the real and imaginary parts of a channel are in the same block."""
        return -(-self.results // (self.channel_blocks * self.plane_parts)) * self.plane_parts

    @property
    def lines_together(self) -> int:
        """Lines of a row block."""
        return BLOCK_ROWS // self.block_channels


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


def reads_in_place(direction: Direction, layout: Layout) -> bool:
    """Return whether the source is read in place where no padding is read."""
    spread = [np.unique(axis.reads).size for axis in direction.outer]
    lines = layout.planes * prod(spread[:-1]) * (spread[-1] + layout.lines_together - 1 if spread else 1)
    near = direction.phases == 1 and direction.last.source.step == 1
    return near and layout.plane_parts * layout.item_parts == 1 and lines <= LINES_IN_PLACE


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
    places = [inside(axis) for axis in direction.outer]
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


def whole_lines(direction: Direction, layout: Layout) -> Array:
    """Return for each line of a row of the padded input whether a row block that is not inside reads it."""
    inner = direction.outer[1:]
    whole = np.zeros(1, bool)
    for number, axis in enumerate(inner):
        own, places = results(axis), inside(axis)
        first, last = own.base, own.base
        if number + 1 == len(inner):
            blocks = line_blocks(direction, layout)
            first, last = blocks.first, blocks.last
        missed = ~places.holds(first, last)
        steps = np.zeros(axis.source.places + 1, np.int64)
        np.add.at(steps, (first[missed] + places.low).clip(0, axis.source.places), 1)
        np.add.at(steps, (last[missed] + places.high + 1).clip(0, axis.source.places), -1)
        whole = np.logical_or.outer(whole, steps.cumsum()[:-1] > 0).reshape(-1)
    return whole


class BandCost(NamedTuple):
    """What the time of a band depends on, for `band_height`; times are in multiplications of vectors.

    Attributes
    ----------
    series : int
        Combinations of a phase of lines and a run; a register block has results of one of them.
    vectors : float
        Vectors of results of each, per base along the first axis and row of a register block.
    block : float
        The time of a register block.
    row : float
        The time to copy a row of the padded input to the tile buffer.
    halo : int
        Rows of the padded input that a band reads beside its bases.
    """

    series: int
    vectors: float
    block: float
    row: float
    halo: int

    def of(self, height: Array) -> Array:
        """Return the times of bands of a number of bases."""
        blocks: Array = self.series * np.ceil(height * self.vectors / VECTORS)
        return TILE_START + blocks * self.block + (height + self.halo) * self.row


def band_height(bases: int, grain: int, most: int, items: int, cost: BandCost) -> int:
    """Return the bases per band with which a product of ``items`` items takes the least time.

    Few bands leave threads idle at the end, low ones copy more rows of halo and divide lines that would fill
    whole register blocks together.

    Parameters
    ----------
    bases : int
        Bases along the first axis.
    grain : int
        Heights are multiples of this.
    most : int
        The largest height for which the tile buffer is large enough.
    items : int
    cost : BandCost
    """
    threads = thread_count()
    number = np.arange(1, min(-(-bases // grain), MOST_BANDS * threads) + 1)
    height = -(-bases // number)
    height = np.unique(-(-height.clip(1, most) // grain) * grain)
    tiles = -(-bases // height) * items
    turns = -(-tiles // threads)
    # threads that begin late, or wait, lose up to a part of a tile
    time = turns * cost.of(height) * (1 + threads / (4 * tiles))
    return int(height[np.argmin(time)])


def band_cost(
    direction: Direction, layout: Layout, blocks: float, runs: Array, elements: int, halo: int
) -> BandCost:
    """Return the costs of bands, for a number of row blocks per base and of elements per row of a plane."""
    width = VECTOR_BYTES // layout.itemsize
    stored = runs[runs["adds"] == 0]
    phases = prod(axis.bounds.size - 1 for axis in direction.outer)
    taps = prod(axis.taps.size / (axis.bounds.size - 1) for axis in (*direction.outer, direction.last))
    return BandCost(
        series=phases * max(1, len(stored)),
        vectors=blocks / phases * float((-(-stored["count"] // width)).mean()) if len(stored) else 0.0,
        block=(layout.planes * taps * BLOCK_ROWS * VECTORS + BLOCK_START) * layout.channel_blocks,
        row=layout.planes * elements / width * VECTOR_COPY,
        halo=halo,
    )


def find_bands(
    direction: Direction, layout: Layout, blocks: Array, spans: Array, runs: Array, room: tuple[int, int]
) -> tuple[Array, Array]:
    """Sort the row blocks into bands whose rows of padded input fit in a tile buffer; return both.

    ``room`` are the elements of a row of a plane of the tile buffer, and the rows that fit in it.
    """
    low, high, misses = 0, 0, np.zeros(len(spans), bool)
    if direction.outer:
        places = inside(direction.outer[0])
        low, high, misses = places.low, places.high, ~places.holds(spans["first"], spans["last"])
    first, last = int(spans["first"].min()), int(spans["last"].max())
    # bases of a band along the first axis: whole row blocks if that is the axis of the lines
    columns = direction.outer[0].source.columns.size if direction.outer else 1
    bases, most = -(-(last - first + 1) // columns) * columns, max(1, room[1] - (high - low))
    grain = columns * (direction.spacing * layout.lines_together if len(direction.outer) == 1 else 1)
    cost = band_cost(direction, layout, len(blocks) / bases, runs, room[0], high - low)
    height = band_height(bases, grain, most, layout.channel_groups * layout.item_parts, cost)
    number = (spans["first"] - first) // height
    order = np.lexsort((blocks["base"], blocks["pattern"], blocks["adds"], number, spans["adds"]))
    blocks, spans, number, misses = blocks[order], spans[order], number[order], misses[order]
    starts = np.append(0, np.flatnonzero(np.diff(number) | np.diff(spans["adds"])) + 1)
    rows = direction.outer[0].source.places if direction.outer else 1
    top = (np.minimum.reduceat(spans["first"], starts) + low).clip(0)
    bottom = (np.maximum.reduceat(spans["last"], starts) + high + 1).clip(max=rows)
    return blocks, filled(
        BAND,
        first_block=starts,
        end_block=np.append(starts[1:], len(number)),
        first_row=top,
        rows=bottom - top,
        adds=spans["adds"][starts],
        whole=np.maximum.reduceat(misses, starts),
    )


def find_tiles(bands: Array, runs: Array, begins: range, end: int) -> tuple[Array, int]:
    """Return the tiles of the store pass, then those of the accumulate pass, and the number of the latter.

    Tiles begin along the last axis at ``begins``; the last one stops at ``end``.
    """
    low = np.array(begins)
    high = (low + begins.step).clip(max=end)

    def tiles(bands: Array, first_run: int, end_run: int) -> Array:
        """Return the tiles of bands in which some of the runs have results."""
        if first_run == end_run or not bands.size:
            return np.zeros(0, TILE)
        base, count = (runs[name][first_run:end_run] for name in ("base", "count"))
        there = ((base < high[:, None]) & (base + count > low[:, None])).any(1)
        rows = {
            name: bands[name][:, None] for name in ("first_block", "end_block", "first_row", "rows", "whole")
        }
        columns = {"begin": low[there], "end": high[there]}
        return filled(TILE, **rows, **columns, first_run=first_run, end_run=end_run).reshape(-1)

    # runs that are added may belong to samples of other tiles, so they are left to the accumulate pass
    stored = int((runs["adds"] == 0).sum()) if low.size > 1 else len(runs)
    storing, adding = (bands[bands["adds"] == adds] for adds in (0, 1))
    store = tiles(storing, 0, stored)
    accumulate = tiles(storing, stored, len(runs)), tiles(adding, 0, len(runs))
    return joined(store, *accumulate), sum(map(len, accumulate))
