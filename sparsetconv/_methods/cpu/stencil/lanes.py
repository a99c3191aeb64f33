"""Choose what the lanes of a vector and the rows of a register block hold.

Lanes hold consecutive results of one channel, or channels at one place.

Lanes of places need no transposition and suit few channels and long lines, but a line of 14 results fills
only 14 of 16 lanes. Lanes of channels are full whatever the width of a picture is, if the number of channels
is a multiple of the lanes. A register block then has a few places of a line and `CHANNEL_VECTORS` vectors of
channels, and its results are transposed when they are stored; there must be enough multiplications for each
result to make up for that.

If lanes hold places, the rows of a register block are lines or channels, and each vector of input that is
loaded is multiplied for all rows. Loads that cross the border of a cache line, as nearly all of 64 bytes do,
take two to three times as long as others on some processors, longer than the multiplications for four rows.
Tall blocks of `TALL_ROWS` channels load half as often.

Times are in multiplications of vectors.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.layout import LINE_BYTES
from sparsetconv._methods.cpu.emit import REGISTERS, VECTOR_BYTES, VECTORS
from sparsetconv._methods.cpu.stencil.records import BLOCK_ROWS, CHANNEL_VECTORS, TALL_ROWS

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array
    from sparsetconv._methods.cpu.stencil.partition import Direction, Layout

# whether tall register blocks, with their samples and a weight, fit in the registers, hold more sums than
# others, and vectors are as long as a cache line
TALL = BLOCK_ROWS * VECTORS < TALL_ROWS * (VECTORS - 1) <= REGISTERS - VECTORS and VECTOR_BYTES == LINE_BYTES
# if lanes hold channels: the most places of a register block, whose sums leave registers for the weights and
# one sample, and all numbers of places for which there is a micro-kernel
PLACES = (REGISTERS - 1) // CHANNEL_VECTORS - 1
PLACE_COUNTS = tuple(range(PLACES // 2, PLACES + 1))
# the time of a tap of a register block beside its multiplications, and of storing a transposed result
TAP_START, TRANSPOSE = 3.0, 2.0
# lanes hold channels where that takes at most this part of the time; estimates are this exact
GAIN = 0.95


class RegisterBlocks(NamedTuple):
    """How lines of results fill register blocks.

    Attributes
    ----------
    per_line : float
        Units of a line: vectors, or register blocks if lanes hold channels.
    together : int
        Units of a register block, which may be of several lines.
    full, narrow : float
        The time per tap of a register block, and of one with a unit less.
    """

    per_line: float
    together: int
    full: float
    narrow: float

    def numbers(self, lines: Array) -> tuple[Array, Array]:
        """Return the numbers of full and of narrow register blocks of some lines."""
        units = lines * self.per_line
        blocks = np.ceil(units / self.together)
        narrow = np.minimum(np.floor(blocks * self.together - units), blocks)
        return blocks - narrow, narrow


def register_blocks(layout: Layout, counts: Array) -> RegisterBlocks:
    """Return the register blocks of lines with some counts of results."""
    vectors = float((-(-counts // (VECTOR_BYTES // layout.itemsize))).mean())
    if layout.tall:
        time = TALL_ROWS * (VECTORS - 1) + TAP_START
        return RegisterBlocks(vectors, VECTORS - 1, time, time)
    if not layout.channel_lanes:
        full, narrow = (BLOCK_ROWS * each + TAP_START for each in (VECTORS, VECTORS - 1))
        return RegisterBlocks(vectors, VECTORS, full, narrow)
    blocks = -(-counts // PLACES)
    places = np.maximum(-(-counts // blocks), PLACE_COUNTS[0])
    time = float(CHANNEL_VECTORS * (blocks * places).sum() / blocks.sum()) + TAP_START
    return RegisterBlocks(float(blocks.mean()), 1, time, time)


def chosen(direction: Direction, runs: Array, layout: Layout) -> Layout:
    """Return a layout with what the lanes of a vector hold if a product then takes less time."""
    counts = runs["count"][runs["adds"] == 0]
    if not counts.size:
        return layout
    multiplied = layout.planes * prod(axis.taps.size for axis in (*direction.outer, direction.last))

    def time(own: Layout) -> float:
        blocks = register_blocks(own, counts)
        return blocks.per_line / blocks.together * blocks.full * own.channel_blocks * multiplied

    if TALL and time(layout._replace(tall=True)) < time(layout):
        layout = layout._replace(tall=True)
    channels = layout._replace(channel_lanes=True, tall=False)
    more = TRANSPOSE * float(counts.mean()) * layout.results
    return channels if time(channels) + more < GAIN * time(layout) else layout
