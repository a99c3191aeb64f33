"""Divide row blocks into bands and tiles, and say what of them is read in place.

All functions here are pure, and most return arrays of the records of ``records``.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.record import filled, joined, record
from sparsetconv._arrays.threads import thread_count
from sparsetconv._methods.cpu.emit import VECTOR_BYTES
from sparsetconv._methods.cpu.stencil.lanes import register_blocks
from sparsetconv._methods.cpu.stencil.partition import line_blocks
from sparsetconv._methods.cpu.stencil.records import TILE
from sparsetconv._methods.phases import results

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array
    from sparsetconv._methods.cpu.stencil.lanes import RegisterBlocks
    from sparsetconv._methods.cpu.stencil.partition import Direction, Layout

# candidates for the number of bands, per thread
MOST_BANDS = 32
# in multiplications of vectors: the times of a tile and of a register block beside their taps, and the times
# to copy a line to a tile buffer, beside its vectors, and a vector; a vector of weights takes as long
TILE_START, BLOCK_START, LINE_COPY, VECTOR_COPY = 2000.0, 40.0, 100.0, 2.0
# the part of a tile that each thread but one loses, since it begins late or waits at the end
LATE = 0.2
# the source is read in place if a row block reads at most this many lines of it; more lines, each in another
# page of memory, are read faster from a tile buffer, and by many channels of results again and again
LINES_IN_PLACE = 12
# A band: its row blocks, the rows of the padded input that they read, 1 if its results are added, and 1 if it
# reads rows of padding.
BAND = record("first_block", "end_block", "first_row", "rows", "adds", "whole")


def reads_in_place(direction: Direction, layout: Layout) -> bool:
    """Return whether the source is read in place where no padding is read."""
    spread = [np.unique(axis.reads).size for axis in direction.outer]
    # lines of all planes that a row block reads
    lines = layout.planes * prod(spread[:-1]) * (spread[-1] + layout.lines_together - 1 if spread else 1)
    near = direction.phases == 1 and direction.last.source.step == 1
    near = near and not (layout.channel_lanes or layout.tall)
    return near and layout.plane_parts * layout.item_parts == 1 and lines <= LINES_IN_PLACE


def whole_lines(direction: Direction, layout: Layout) -> Array:
    """Return for each line of a row of the padded input whether a row block that is not inside reads it."""
    inner = direction.outer[1:]
    whole = np.zeros(1, bool)
    for number, (axis, places) in enumerate(zip(inner, direction.insides[1:], strict=True)):
        own = results(axis)
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
    lines : float
        Row blocks of each, per base along the first axis.
    blocks : RegisterBlocks
        The register blocks of a line.
    taps, start : float
        Taps of a register block, and its time beside them, for all blocks of channels.
    weights : float
        The time to read all weights.
    row : float
        The time to copy a row of the padded input to the tile buffer.
    halo : int
        Rows of the padded input that a band reads beside its bases.
    """

    series: int
    lines: float
    blocks: RegisterBlocks
    taps: float
    start: float
    weights: float
    row: float
    halo: int

    def of(self, height: Array) -> Array:
        """Return the times of bands of a number of bases."""
        full, narrow = self.blocks.numbers(height * self.lines)
        multiplied = (full * self.blocks.full + narrow * self.blocks.narrow) * self.taps
        time: Array = self.series * (multiplied + (full + narrow) * self.start)
        return TILE_START + self.weights + time + (height + self.halo) * self.row


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
    time = (turns + LATE * (threads - 1) / threads) * cost.of(height)
    return int(height[np.argmin(time)])


def band_cost(
    direction: Direction, layout: Layout, blocks: float, runs: Array, elements: int, halo: int
) -> BandCost:
    """Return the costs of bands, for a number of row blocks per base and of elements per row of a plane."""
    width = VECTOR_BYTES // layout.itemsize
    stored = runs[runs["adds"] == 0]
    phases = prod(axis.bounds.size - 1 for axis in direction.outer)
    axes = *direction.outer, direction.last
    every, lists = (prod(each) for each in ([a.taps.size for a in axes], [a.bounds.size - 1 for a in axes]))
    lines = direction.phases * prod(axis.source.places for axis in direction.outer[1:])
    return BandCost(
        series=phases * max(1, len(stored)),
        lines=blocks / phases if len(stored) else 0.0,
        blocks=register_blocks(layout, stored["count"] if len(stored) else np.ones(1, np.int64)),
        taps=layout.planes * every / lists * layout.channel_blocks,
        start=BLOCK_START * layout.channel_blocks,
        weights=layout.planes * layout.results * every / width * VECTOR_COPY,
        row=layout.planes * (elements / width * VECTOR_COPY + lines * LINE_COPY),
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
        places = direction.insides[0]
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
