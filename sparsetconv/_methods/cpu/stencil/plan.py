"""The tables of the compiled stencil, for either direction.

Both directions are the same gather: a result is a sum over taps of elements at fixed offsets from its base in
a padded input. In the forward direction this is the input with its padding, and every result has all taps;
the padded last axis is split into phases by stride, so that neighbouring results read neighbouring elements.
In the transposed direction the padded input is the small array with a halo of zeros, and results are the
positions of the large padded array. They fall into phases by stride, each with its own taps: the polyphase
form, which inserts no zeros between samples. Results in the padding are added to the samples that the padding
copies.

The input is never padded as a whole. Results are divided into tiles whose padded input, with its halo, fits
in a tile buffer that stays in cache; where few lines are read at once, what needs no padding is read in place
instead. A store pass writes results, then an accumulate pass adds those in the
padding to their samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.record import filled, numbers, size
from sparsetconv._methods.cpu.stencil import lanes
from sparsetconv._methods.cpu.stencil.bands import find_bands, find_tiles, reads_in_place, whole_lines
from sparsetconv._methods.cpu.stencil.partition import (
    Direction,
    Layout,
    directed,
    find_read_span,
    find_row_blocks,
    find_runs,
)
from sparsetconv._methods.cpu.stencil.records import BLOCK_ROWS, HEADER, MAIN
from sparsetconv._methods.cpu.stencil.tap_lists import TapLists, Taps, are_nine, shared_lines, tap_lists
from sparsetconv._methods.phases import flat_samples, ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._methods.phases import Source

# bytes of a tile buffer; results of a tile along the last axis, up to half more if one tile then suffices
BUFFER_BYTES = 1 << 20
TILE_LENGTH = 4096
# tiles into which a line is divided if it is the only axis; fewest results and multiplications of such a tile
LINE_TILES, SHORT_TILE, TILE_WORK = 8, 512, 1 << 17


class PaddedInput(NamedTuple):
    """The samples of the padded input; -1 stands for a padded zero.

    Attributes
    ----------
    rows, lines : array
        The first sample of each row (a place on the first axis), and of each line of a row, relative to the
        row.
    borders : array
        Samples along the last axis that are in none of ``mains``, one phase after the other.
    mains : (phases,) array of `MAIN`
    """

    rows: Array
    lines: Array
    borders: Array
    mains: Array


class TileBuffer(NamedTuple):
    """The strides of a tile buffer, in elements.

    Attributes
    ----------
    pitch, row_size, plane_size : int
        From one line or phase to the next, from one row to the next, and from one plane to the next.
    strides : tuple of int
        From one place to the next along each axis but the last.
    """

    pitch: int
    row_size: int
    plane_size: int
    strides: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """The tables of one direction of one geometry, as ``loops.stencil`` reads them; see `plan_of`.

    Attributes
    ----------
    direction : Direction
    layout : Layout
    sizes : tuple of int
        Samples of a plane of the result along each axis.
    padded : PaddedInput
    runs : array of `RUN`
        Results along the last axis; runs that are added come last.
    row_blocks : array of `ROW_BLOCK`
    tiles : array of `TILE`
        The tiles of the store pass, then those of the accumulate pass.
    accumulating : int
        Number of tiles of the accumulate pass.
    in_place : bool
        Whether the source is read in place where no padding is read.
    whole_lines : (lines,) array
        For each line of a row of the padded input, 1 if all of it is copied to the tile buffer, also if the
        source is read in place, since a row block reads it that is not inside.
    stores_all : bool
        Whether the store pass writes every sample; if not, the output must be set to zero first.
    read_span : (int, int)
        The first and the last place that is read along the last axis, relative to a base.
    buffer : TileBuffer
    taps : TapLists
        For all patterns and phases of the last axis.
    """

    direction: Direction
    layout: Layout
    sizes: tuple[int, ...]
    padded: PaddedInput
    runs: Array
    row_blocks: Array
    tiles: Array
    accumulating: int
    in_place: bool
    whole_lines: Array
    stores_all: bool
    read_span: tuple[int, int]
    buffer: TileBuffer
    taps: TapLists

    @property
    def storing(self) -> int:
        """Number of tiles of the store pass."""
        return len(self.tiles) - self.accumulating

    @property
    def elements(self) -> int:
        """Elements of a tile buffer."""
        return self.layout.planes * self.buffer.plane_size

    @property
    def is_nine(self) -> bool:
        """Whether blocks of four lines of one channel have the taps of a 3 x 3 kernel."""
        axes = *self.direction.outer, self.direction.last
        alone = self.layout.block_channels == 1 and all(axis.bounds.size == 2 for axis in axes)
        return alone and are_nine(self.taps, self.layout.ranges)

    def tables(self) -> dict[str, Array]:
        """Return the tables as flat arrays, by the `HEADER` fields that hold their offsets."""
        layout, taps = self.layout, self.taps
        # the offset of each plane of the result in an item; real and imaginary parts are interleaved
        number, parts = np.arange(layout.results), layout.plane_parts * layout.item_parts
        starts = number // layout.plane_parts * prod(self.sizes) * parts + number % layout.plane_parts
        tables = {
            "source_rows": self.padded.rows,
            "source_lines": self.padded.lines,
            "whole_lines": self.whole_lines,
            "borders": self.padded.borders,
            "mains": self.padded.mains,
            "runs": self.runs,
            "row_blocks": self.row_blocks,
            "tiles": self.tiles,
            "starts": starts,
            "offsets": taps.offsets,
            "source_offsets": taps.source_offsets,
            "bounds": taps.bounds,
            "weight_starts": taps.starts,
        }
        return {name: numbers(table) for name, table in tables.items()}

    def header_numbers(self) -> dict[str, int]:
        """Return the other fields of `HEADER`, except ``buffer`` and ``block_weights``."""
        layout, last, buffer, read_span = self.layout, self.direction.last, self.buffer, self.read_span
        return {
            "planes": layout.planes,
            "results": layout.results,
            "plane_parts": layout.plane_parts,
            "item_parts": layout.item_parts,
            "channel_groups": layout.channel_groups,
            "channel_blocks": layout.channel_blocks,
            "block_channels": layout.block_channels,
            "pitch": buffer.pitch,
            "row_size": buffer.row_size,
            "plane_size": buffer.plane_size,
            "in_size": prod(self.direction.source_sizes),
            "out_size": prod(self.sizes),
            "out_line": last.size,
            "line_count": self.padded.lines.size,
            "phases": self.direction.phases,
            "places": last.source.length,
            "apart": last.source.step,
            "lowest": read_span[0],
            "spread": read_span[1] - read_span[0],
            "lists": last.bounds.size - 1,
            "limits": len(layout.ranges) + 1,
            "tall": int(layout.tall),
            "nine": int(self.is_nine),
            "in_place": int(self.in_place),
        }


def plan_of(axes: Sequence[Axis], transposed: bool, layout: Layout, choose_lanes: bool = False) -> Plan:
    """Return the plan of a direction, with the lanes of the layout if they are not to be chosen."""
    direction = directed(axes, transposed)
    padded, runs = padded_input(direction), find_runs(direction, layout)
    if choose_lanes:
        layout = lanes.chosen(direction, runs, layout)
    read_span = find_read_span(direction, runs)
    begin, end = int(runs["base"].min()), int((runs["base"] + runs["count"]).max())
    each = layout.planes * layout.results * direction.last.taps.size
    length = tile_length(end - begin, None if direction.outer else each)
    # a multiple of a cache line (64 bytes), but not of 4 KiB, since lines would then share cache sets
    quantum = 64 // layout.itemsize
    quanta = -(-(length + read_span[1] - read_span[0]) // quantum)
    pitch = (quanta + (quanta % 64 == 0)) * quantum
    strides, row_size = direction.strides(pitch), padded.lines.size * direction.phases * pitch
    blocks, spans = find_row_blocks(direction, layout, strides)
    room = BUFFER_BYTES // (layout.planes * row_size * layout.itemsize)
    blocks, bands = find_bands(direction, layout, blocks, spans, runs, (row_size, room))
    tiles, accumulating = find_tiles(bands, runs, range(begin, end, length), end)
    # an odd number of cache lines, so that planes do not share cache sets
    plane_size = (int(bands["rows"].max()) * row_size // quantum | 1) * quantum
    buffer = TileBuffer(pitch, row_size, plane_size, strides)
    return Plan(
        direction=direction,
        layout=layout,
        sizes=tuple(axis.size if transposed else axis.outputs for axis in axes),
        padded=padded,
        runs=runs,
        row_blocks=blocks,
        tiles=tiles,
        accumulating=accumulating,
        in_place=reads_in_place(direction, layout),
        whole_lines=whole_lines(direction, layout).astype(np.int64),
        stores_all=direction.stores_all,
        read_span=read_span,
        buffer=buffer,
        taps=find_taps(direction, layout, buffer, np.flatnonzero(np.bincount(blocks["count"]))),
    )


def tile_length(total: int, each: int | None) -> int:
    """Return the results of a tile along the last axis.

    If there is no other axis, ``each`` is the number of multiplications per result, and None otherwise.
    """
    most = TILE_LENGTH
    if each is not None:
        most = min(most, max(SHORT_TILE, -(-total // LINE_TILES), TILE_WORK // max(1, each)))
    return total if total <= most * 3 // 2 else most


def padded_input(direction: Direction) -> PaddedInput:
    """Return the samples of the padded input."""
    sizes = direction.source_sizes
    samples = [axis.source.rows for axis in direction.outer]
    rows = flat_samples(samples[:1], sizes) if samples else np.zeros(1, np.int64)
    return PaddedInput(rows, flat_samples(samples[1:], sizes[1:]), *_along(direction.last.source))


def _along(source: Source) -> tuple[Array, Array]:
    """Return ``borders`` and ``mains`` of `PaddedInput`, for the last axis."""
    begin, end = source.mains()
    column, number = ragged(source.length - (end - begin))
    place = number + np.where(number < begin[column], 0, (end - begin)[column])
    count = source.length - (end - begin)
    first = np.where(begin < end, source.samples(np.arange(begin.size), begin), 0)
    mains = filled(MAIN, begin=begin, end=end, sample=first, border=np.cumsum(count) - count)
    return source.samples(column, place), mains


def find_taps(direction: Direction, layout: Layout, buffer: TileBuffer, kinds: Array) -> TapLists:
    """Return the tap lists of all patterns and phases; ``kinds`` are the numbers of lines of row blocks."""
    axes, outer, last, block_channels = direction.axes, direction.outer, direction.last, layout.block_channels
    steps = [prod(axis.taps for axis in axes[n + 1 :]) for n in range(len(axes))]
    planes = np.arange(layout.planes)
    ranges = np.full((BLOCK_ROWS + 1, BLOCK_ROWS + 1), len(layout.ranges) - 1)
    for number, (low, high) in enumerate(layout.ranges):
        # tall blocks alone have the last range
        if high <= layout.most_channels and low % block_channels == high % block_channels == 0:
            ranges[low // block_channels, high // block_channels] = number
    every = np.array([0, planes.size])
    # offsets in the tile buffer and in the source
    sizes = np.array([buffer.plane_size, prod(direction.source_sizes)])
    before = [Taps(np.multiply.outer(planes, sizes), planes * steps[0] * axes[0].taps, every)]
    along_source = [
        own.step * step for own, step in zip(direction.insides, direction.source_steps, strict=False)
    ]
    strides = [np.array(pair) for pair in zip(buffer.strides, along_source, strict=True)]
    for axis, pair, step in zip(outer, strides, steps, strict=False):
        before.append(Taps(np.multiply.outer(axis.reads, pair), axis.taps * step, axis.bounds))
    if outer:
        own, cycle = before.pop(), direction.cycle * steps[-2]
        apart = direction.spacing * outer[-1].source.columns.size * strides[-1]
    else:
        own, cycle = Taps(np.zeros((1, 2), np.int64), np.zeros(1, np.int64), np.array([0, 1])), 1
        apart = np.ones(2, np.int64)
    lines = shared_lines(own, kinds.tolist(), cycle, apart, ranges)
    reads = last.reads % direction.phases * buffer.pitch + last.reads // direction.phases
    rows = np.array([high - low for low, high in layout.ranges])
    along = Taps(np.stack([reads, last.reads], 1), last.taps, last.bounds)
    return tap_lists(before, lines, along, rows)


def packed_weights(plan: Plan, weights: Array) -> Array:
    """Pack the weights in the order in which the micro-kernel reads them.

    Parameters
    ----------
    plan : Plan
    weights : (groups, results, planes, k1, ..., kd) array

    Returns
    -------
    (groups, channel blocks, weights of a block) array
        For each list, range and entry of the list, the weights of the rows of the range.
    """
    groups, channels = weights.shape[:2]
    blocks, block_channels = plan.layout.channel_blocks, plan.layout.block_channels
    flat = np.zeros((groups, blocks * block_channels, prod(weights.shape[2:])), weights.dtype)
    flat[:, :channels] = weights.reshape(groups, channels, -1)
    # (groups, channel blocks, planes and taps, channels of a block)
    rows = flat.reshape(groups, blocks, block_channels, -1).swapaxes(2, 3)
    return np.ascontiguousarray(rows[:, :, plan.taps.chosen].reshape(groups, blocks, -1))


def loop_tables(plan: Plan, weights: Array, buffer: int) -> tuple[Array, Array]:
    """Return the packed weights and the tables for the loops.

    Parameters
    ----------
    plan : Plan
    weights : (groups, results, planes, k1, ..., kd) array
    buffer : int
        Elements in front of the tile buffer in a thread's memory.

    Returns
    -------
    weights : 1-D array
    tables : 1-D int64 array
        The header, then all tables.
    """
    flat = packed_weights(plan, weights)
    tables = plan.tables()
    places = accumulate((table.size for table in tables.values()), initial=size(HEADER))
    begins = dict(zip(tables, places, strict=False))
    header = filled(HEADER, **begins, **plan.header_numbers(), buffer=buffer, block_weights=flat.shape[2])
    return flat.reshape(-1), np.concatenate([numbers(header), *tables.values()])
