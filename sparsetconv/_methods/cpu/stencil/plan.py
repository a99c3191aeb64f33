"""The tables by which the compiled stencil runs, for either direction.

Floor 3. Both directions are the same gather: a result is a sum over taps of what stands beside its base in
an extended source. Forward, the source is the input extended by its padding, all results meet all taps,
and the last axis is divided into as many phases as it has strides, so that neighbouring results read
neighbouring samples. Transposed, the source is the small array extended by zeros, and the positions of the
extended result fall into phases by stride, each with its own taps: the polyphase form, no zero is inserted
between samples. Positions in the padding are results that are added to the samples that stand there.

The source is never extended as a whole. Results are divided into units whose source, extended, fits in cache.
"""

from __future__ import annotations

from functools import cached_property
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._methods.cpu.stencil.tap_lists import TapLists, Taps, met_together, tap_lists
from sparsetconv._methods.phases import (
    along,
    flat_samples,
    forward_side,
    is_plain,
    results,
    sums,
    transposed_side,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis

# bytes of extended source that a unit may take, most results of it along the last axis, and the least
# number of units that a long axis is divided into
SLAB_BYTES = 1 << 20
TILE = 4096
MOST_UNITS = 16
# results that the innermost loop computes side by side, and the ranges of them that a tap may serve
SLOTS = 4
RANGES = tuple((low, high) for low in range(SLOTS) for high in range(low + 1, SLOTS + 1))

# entries of a row of the tables of groups, runs, units and of the main runs of samples
GROUP, RUN, UNIT, MAIN = 8, 7, 8, 4
# In a thread's scratch stand, after where the results of the slots begin: how far from there the vectors of
# results stand, where their bases stand in the source, the same for a run or its mate, and how many of their
# places are wanted; the rows of the buffer, and those of mates; where the vectors of a row stand; how many
# vectors there are, which is known when the loops are compiled, but must not make them longer.
STEPS, AT, FROM, COUNTS, ROWS = (SLOTS + 8 * n for n in range(5))
MATES, BESIDE = ROWS + SLOTS, ROWS + 2 * SLOTS
NUMBER = BESIDE + 8
SCRATCH = NUMBER + 1
# The array of all tables begins with these numbers, at these places:
# - those of the `Layout`;
# - samples of a plane of the source, of a plane of the result, and of a line of the result;
# - where in a thread's memory the extended source begins; its elements from one plane to the next, from one
#   row, and from one line or phase; the lines of a row, the phases of a line, the places of a phase, and the
#   samples from one place to the next;
# - the first place read along the last axis, counted from a base, and how many further on the last;
# - the results are computed in so many blocks of so many; the weights of a block;
# - lists of taps of a pattern, one for each phase of the last axis, and bounds of a list;
# - where the tables of `Plan` and those of `Plan.prepared` begin.
(
    PLANES, RESULTS, PLANE_PARTS, ITEM_PARTS, CHANNEL_GROUPS,
    IN_SIZE, OUT_SIZE, OUT_LINE,
    SLAB, PLANE_SIZE, ROW_SIZE, PITCH, LINE_COUNT, PHASES, PLACES, APART,
    LOWEST, SPREAD,
    BLOCKS, SIDE, BLOCK_WEIGHTS,
    LISTS, LIMITS,
    SOURCE_ROWS, SOURCE_LINES, BORDERS, MAINS, RUNS, GROUPS, UNITS, STARTS, OFFSETS, BOUNDS, WSTARTS,
    HEADER,
) = range(35)  # fmt: skip


class Layout(NamedTuple):
    """What the planes of arrays are.

    Attributes
    ----------
    channel_groups : int
    planes, results : int
        Planes of the source and of the result, for each channel group.
    plane_parts, item_parts : int
        2 if planes, or items of the batch, are real and imaginary parts in turn, else 1.
    itemsize : int
        Bytes of an element.
    """

    channel_groups: int
    planes: int
    results: int
    plane_parts: int
    item_parts: int
    itemsize: int


class Plan:
    """The tables of one direction of one geometry, as ``_compiled.stencil`` reads them.

    Parameters
    ----------
    axes : sequence of Axis
    transposed : bool
    layout : Layout

    Attributes
    ----------
    maps : tuple of arrays
        The extended source. ``rows`` and ``lines``: the first sample of each row, which is a place on its
        first axis, and of each line among those of its row. ``mains``, (phases, 4): for each phase of the
        last axis the longest run of places whose samples are equally far apart: where it begins and ends,
        its first sample, and where in ``borders`` the samples of the phase's other places begin. -1 stands
        for zeros.
    runs : (runs, 7) array
        Runs of results along the last axis: base, number, sample, step of the sample, whether it is added,
        phase, whether the next run is its mate, which has the samples between. What is added comes last.
    groups : (groups, 8) array
        Lines computed together: four numbers of lines (-1: none), how many, base, pattern, whether added.
    units : (units, 8) array
        First and last group, first row of the source and number of rows, first and last base along the last
        axis, first and last run.
    waiting : int
        How many of the units, the last ones, add to what the others set.
    whole : bool
        Whether the units set all results; else what they leave out is zero.
    sizes : tuple of int
        Of a plane of the result.
    starts : (results,) array
        Where each plane of the result begins, in an item.
    elements : int
        Of the largest extended source.
    """

    def __init__(self, axes: Sequence[Axis], transposed: bool, layout: Layout) -> None:
        make = transposed_side if transposed else forward_side
        self.sizes = tuple(axis.size if transposed else axis.outputs for axis in axes)
        # an axis of one sample that one tap reads adds nothing
        self._axes = [axis for axis in axes if not is_plain(axis)] or list(axes[-1:])
        *self._outer, self._last = sides = [make(axis) for axis in self._axes]
        self.layout, self.whole = layout, all(side.whole for side in sides)
        self._backwards = transposed
        self._blocks = -(-layout.results // SLOTS)
        # real and imaginary parts stay side by side
        self._side = -(-layout.results // (self._blocks * layout.plane_parts)) * layout.plane_parts
        self._together = SLOTS // self._side
        self._split = self._last.source.columns.size
        sizes = [axis.outputs if transposed else axis.size for axis in self._axes]
        samples = [side.source.rows for side in self._outer]
        rows = flat_samples(samples[:1], sizes) if samples else np.zeros(1, np.int64)
        lines = flat_samples(samples[1:], sizes[1:])
        self.maps = rows, lines, *along(self._last.source)
        self.runs = self._find_runs()
        lowest, highest = self._reach()
        begin, end = int(self.runs[:, 0].min()), int(self.runs[:, :2].sum(1).max())
        tile = end - begin if end - begin <= TILE * 3 // 2 else TILE
        # in whole cache lines, not a multiple of a page
        quantum = 64 // layout.itemsize
        quanta = -(-(tile + highest - lowest) // quantum)
        self._pitch = (quanta + (quanta % 64 == 0)) * quantum
        self._row_size = lines.size * self._split * self._pitch
        self.groups, spans = self._find_groups()
        self.units, self.waiting, tall = self._find_units(spans, range(begin, end, tile), end)
        # an odd number of cache lines: the planes do not meet in the same sets of a cache
        self._plane_size = (tall * self._row_size // quantum | 1) * quantum
        self.elements = layout.planes * self._plane_size
        number = np.arange(layout.results)
        self._out_size = prod(self.sizes)
        self._in_size, parts = prod(sizes), layout.plane_parts * layout.item_parts
        self.starts = number // layout.plane_parts * self._out_size * parts + number % layout.plane_parts

    def compiled(self, weights: Array, buffer: int) -> tuple[Array, Array]:
        """Return what the loops need.

        Parameters
        ----------
        weights : (groups, results, planes, k1, ..., kd) array
        buffer : int
            Elements that a thread's memory has in front of the extended source.

        Returns
        -------
        weights : 1-D array
        tables : 1-D int64 array
            The numbers, then all tables.
        """
        flat, *kernel_tables = self.prepared(weights)
        tables = (*self.maps, self.runs, self.groups, self.units, self.starts, *kernel_tables)
        begins = np.cumsum([HEADER, *(table.size for table in tables)])
        layout, source = self.layout, self._last.source
        lowest, highest = self._reach()
        numbers = [
            *(layout.planes, layout.results, layout.plane_parts, layout.item_parts, layout.channel_groups),
            *(self._in_size, self._out_size, self._last.size),
            *(buffer, self._plane_size, self._row_size, self._pitch, self.maps[1].size),
            *(self._split, source.length, source.step),
            *(lowest, highest - lowest, self._blocks, self._side, flat.shape[2]),
            *(self._last.bounds.size - 1, len(RANGES) + 1, *begins[:-1]),
        ]
        return flat.reshape(-1), np.concatenate([numbers, *(table.reshape(-1) for table in tables)])

    def _reach(self) -> tuple[int, int]:
        """Return the first and the last place that is read along the last axis, counted from a base."""
        reads = self._last.reads // self._split
        # a mate's bases lie beside those of its run
        shifts = np.diff(self.runs[:, 0])[self.runs[:-1, 6] == 1]
        low, high = (int(f(reads, initial=0) + f(shifts, initial=0)) for f in (np.min, np.max))
        return low, high

    def _find_runs(self) -> Array:
        """Return ``runs``. With two phases, runs whose samples alternate are made mates of equal length."""
        own = self._last.runs
        columns = (own.base, own.number, own.target, own.step, own.added, own.phase, np.zeros_like(own.phase))
        table = np.stack(columns, 1).astype(np.int64)
        setting = np.flatnonzero(~own.added & (own.step == 2))
        plain = self.layout.plane_parts * self.layout.item_parts == 1
        if plain and setting.size == 2:
            first, second = sorted(table[setting].tolist(), key=lambda run: run[2])
            if second[2] == first[2] + 1:
                count = min(first[1], second[1])
                mates = [[first[0], count, *first[2:6], 1], [second[0], count, *second[2:6], 0]]
                rest = [
                    [run[0] + count, run[1] - count, run[2] + 2 * count, *run[3:]]
                    for run in (first, second)
                    if run[1] > count
                ]
                table = np.concatenate([np.array([*mates, *rest]), np.delete(table, setting, 0)])
        return table[np.argsort(table[:, 4], kind="stable")]

    @property
    def _strides(self) -> list[int]:
        """Elements of a slab from one place of an axis in front to the next."""
        lengths = [side.source.places for side in self._outer[1:]]
        return [prod(lengths[n:]) * self._split * self._pitch for n in range(len(self._outer))]

    @property
    def _spacing(self) -> int:
        """How far apart, in the sequence of a phase, lines are that read the same lines of the source."""
        if not self._outer:
            return 1
        axis = self._axes[-2]
        return axis.dilation // gcd(axis.dilation, axis.stride)

    @property
    def _cycle(self) -> int:
        """The distance of the taps through which lines, ``_spacing`` apart, read the same line."""
        axis = self._axes[-2]
        cycle = axis.stride // gcd(axis.dilation, axis.stride)
        return -cycle if self._backwards else cycle

    def _line_groups(self) -> tuple[Array, Array, Array, Array, Array]:
        """Divide the results of the last axis but one into groups of lines.

        Returns
        -------
        lines : (groups, 4) array
            -1 for none.
        first, last : (groups,) arrays
            Bases.
        added : (groups,) bool array
        phase : (groups,) array
        """
        own = results(self._outer[-1])
        spacing, wide = self._spacing, self._spacing * self._together
        edge = np.append(True, (np.diff(own.phase) != 0) | np.diff(own.added))
        begins = np.flatnonzero(edge)
        part = np.cumsum(edge) - 1
        i = np.arange(part.size) - begins[part]
        group, slot = i // wide * spacing + i % spacing, i % wide // spacing
        number = np.maximum.reduceat(group, begins) + 1
        group += (np.cumsum(number) - number)[part]
        lines = np.full((int(number.sum()), SLOTS), -1, np.int64)
        lines[group, slot] = own.target
        first, last = np.zeros((2, len(lines)), np.int64)
        first[group[slot == 0]] = own.base[slot == 0]
        # later slots overwrite earlier ones
        last[group] = own.base
        of_part = np.repeat(begins, number)
        return lines, first, last, own.added[of_part], own.phase[of_part]

    def _find_groups(self) -> tuple[Array, Array]:
        """Return ``groups``, and for each the rows of its first and last base, and if its row is added."""
        if not self._outer:
            self._kinds = np.ones(1, np.int64)
            return np.array([[0, -1, -1, -1, 1, 0, 0, 0]]), np.zeros((1, 3), np.int64)
        sizes = [side.size for side in self._outer]
        phases = [side.bounds.size - 1 for side in self._outer]
        front = [results(side) for side in self._outer[:-1]]
        lines, first, last, added, phase = self._line_groups()
        shape = prod(own.base.size for own in front), len(lines)
        memory.require(
            "the plan of a product", 3 * 8 * (GROUP + 3) * prod(shape), "the number of lines sets that"
        )
        table = np.full((*shape, GROUP), -1, np.int64)
        span = np.empty((*shape, 3), np.int64)
        start = sums([own.target * prod(sizes[n + 1 :]) for n, own in enumerate(front)])[:, None]
        base = sums([own.base * stride for own, stride in zip(front, self._strides, strict=False)])
        choice = sums([own.phase * prod(phases[n + 1 :]) for n, own in enumerate(front)])
        outside = sums([own.added.astype(np.int64) for own in front])
        for slot in range(SLOTS):
            table[:, :, slot] = np.where(lines[:, slot] >= 0, start + lines[:, slot], -1)
        count = (lines >= 0).sum(1)
        self._kinds, kind = np.unique(count, return_inverse=True)
        table[:, :, 4] = count
        table[:, :, 5] = np.add.outer(base, first * self._strides[-1])
        table[:, :, 6] = np.add.outer(choice, phase) * self._kinds.size + kind
        table[:, :, 7] = np.add.outer(outside, added) > 0
        # the rows, and what is added there, belong to the first axis
        span[:, :, 0], span[:, :, 1], span[:, :, 2] = first, last, added
        if front:
            repeats = prod(own.base.size for own in front[1:])
            of_first = np.stack([front[0].base, front[0].base, front[0].added], 1)
            span[:] = np.repeat(of_first, repeats, 0)[:, None]
        return table.reshape(-1, GROUP), span.reshape(-1, 3)

    def _find_units(self, spans: Array, begins: range, end: int) -> tuple[Array, int, int]:
        """Sort the groups into units; return them, how many wait, and the most rows of source of one."""
        low, high = 0, 0
        if self._outer:
            reads = self._outer[0].reads
            low, high = int(reads.min(initial=0)), int(reads.max(initial=0))
        first, last = int(spans[:, 0].min()), int(spans[:, 1].max())
        # bases of a unit along the first axis
        most = SLAB_BYTES // (self.layout.planes * self._row_size * self.layout.itemsize)
        height = max(1, min(most - (high - low), -(-(last - first + 1) // MOST_UNITS)))
        grain = self._spacing * self._together if len(self._outer) == 1 else 1
        height = -(-height // grain) * grain
        number = (spans[:, 0] - first) // height
        order = np.lexsort((*self.groups.T[[5, 6, 7]], number, spans[:, 2]))
        self.groups, spans, number = self.groups[order], spans[order], number[order]
        starts = np.append(0, np.flatnonzero(np.diff(number) | np.diff(spans[:, 2])) + 1)
        top = (np.minimum.reduceat(spans[:, 0], starts) + low).clip(0)
        bottom = (np.maximum.reduceat(spans[:, 1], starts) + high + 1).clip(max=self.maps[0].size)
        from_base = np.array(begins)
        to_base = (from_base + begins.step).clip(max=end)
        units = np.zeros((starts.size, from_base.size, UNIT), np.int64)
        of_rows = np.stack([starts, np.append(starts[1:], len(number)), top, bottom - top], 1)
        units[:, :, :4], units[:, :, 4], units[:, :, 5] = of_rows[:, None], from_base, to_base
        units[:, :, 7] = len(self.runs)
        adds = spans[starts, 2] != 0
        waits = np.broadcast_to(adds[:, None], units.shape[:2]).copy()
        setting = units[~adds].copy()
        if len(begins) > 1:
            # what a tile adds to others' results it adds later
            plain = int((self.runs[:, 4] == 0).sum())
            base, count = self.runs[plain:, :2].T
            meets = (base < to_base[:, None]) & (base + count > from_base[:, None])
            setting[:, :, 7] = plain
            units[~adds, :, 6] = plain
            waits[~adds] = meets.any(1)
        waiting = units[waits]
        return np.concatenate([setting.reshape(-1, UNIT), waiting]), len(waiting), int((bottom - top).max())

    @cached_property
    def _lists(self) -> TapLists:
        """The taps of all patterns and phases of the last axis."""
        steps = [prod(axis.taps for axis in self._axes[n + 1 :]) for n in range(len(self._axes))]
        planes, last = np.arange(self.layout.planes), self._last
        ranges = np.full((SLOTS + 1, SLOTS + 1), len(RANGES) - 1)
        for number, (low, high) in enumerate(RANGES):
            if low % self._side == high % self._side == 0:
                ranges[low // self._side, high // self._side] = number
        before = [
            Taps(
                planes * self._plane_size, planes * steps[0] * self._axes[0].taps, np.array([0, planes.size])
            )
        ]
        outer = [Taps(side.reads, side.taps, side.bounds) for side in self._outer]
        for axis, stride, step in zip(outer, self._strides, steps, strict=False):
            before.append(axis.scaled(stride, step))
        if outer:
            own, apart = before.pop(), self._spacing * self._outer[-1].source.columns.size
            cycle, apart = self._cycle * steps[-2], apart * self._strides[-1]
        else:
            own, cycle, apart = Taps(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([0, 1])), 1, 1
        lines = met_together(own, self._kinds.tolist(), cycle, apart, ranges)
        reads = last.reads % self._split * self._pitch + last.reads // self._split
        slots = np.array([high - low for low, high in RANGES])
        return tap_lists(before, lines, Taps(reads, last.taps, last.bounds), slots)

    def prepared(self, weights: Array) -> tuple[Array, Array, Array, Array]:
        """Lay out the kernel.

        Parameters
        ----------
        weights : (groups, results, planes, k1, ..., kd) array

        Returns
        -------
        weights : (groups, blocks, all) array
            For each list, range and tap, those of the slots of the range.
        offsets : (taps,) array
            What a tap reads, counted from a line's base.
        bounds : (lists, ranges + 1) array
            Where the taps of each range of each list begin. A list belongs to a pattern and a phase of the
            last axis.
        starts : (lists,) array
            Where each list's weights begin.
        """
        lists = self._lists
        groups, results = weights.shape[:2]
        flat = np.zeros((groups, self._blocks * self._side, prod(weights.shape[2:])), weights.dtype)
        flat[:, :results] = weights.reshape(groups, results, -1)
        # (groups, blocks, planes and taps, side)
        slots = flat.reshape(groups, self._blocks, self._side, -1).swapaxes(2, 3)
        values = slots[:, :, lists.chosen].reshape(groups, self._blocks, -1)
        return np.ascontiguousarray(values), lists.offsets, lists.bounds, lists.starts
