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
from itertools import pairwise, product
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv.methods._sides import Phase, columns, even, flat_samples, forward_side, sums, transposed_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparsetconv._axis import Axis
    from sparsetconv._types import Array

# bytes of extended source that a unit may take, most results of it along the last axis, and the least
# number of units that a long axis is divided into
SLAB_BYTES = 1 << 20
TILE = 4096
MOST_UNITS = 16
# results that the innermost loop computes side by side, and the ranges of them that a tap may serve
SLOTS = 4
RANGES = tuple((low, high) for low in range(SLOTS) for high in range(low + 1, SLOTS + 1))

# entries of a row of the tables of groups, runs and units
GROUP, RUN, UNIT = 8, 7, 8
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
#   row, and from one line or phase; the lines of a row, the phases of a line, and the places of a phase;
# - the first place read along the last axis, counted from a base, and how many further on the last;
# - the results are computed in so many blocks of so many; the weights of a block;
# - lists of taps of a pattern, one for each phase of the last axis, and bounds of a list;
# - where the tables of `Plan` and those of `Plan.prepared` begin.
(
    PLANES, RESULTS, PLANE_PARTS, ITEM_PARTS, CHANNEL_GROUPS,
    IN_SIZE, OUT_SIZE, OUT_LINE,
    SLAB, PLANE_SIZE, ROW_SIZE, PITCH, LINE_COUNT, PHASES, PLACES,
    LOWEST, SPREAD,
    BLOCKS, SIDE, BLOCK_WEIGHTS,
    LISTS, LIMITS,
    SOURCE_ROWS, SOURCE_LINES, COLUMNS, MAINS, RUNS, GROUPS, UNITS, STARTS, OFFSETS, BOUNDS, WSTARTS,
    HEADER,
) = range(34)  # fmt: skip


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
        first axis, and of each line among those of its row. ``columns``, (phases, places): the samples along
        its last axis. All are -1 for zeros. ``mains``, (phases, 2): for each phase of the last axis the
        longest run of places whose samples are ``phases`` apart.
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
    starts : (results,) array
        Where each plane of the result begins, in an item.
    elements : int
        Of the largest extended source.
    """

    def __init__(self, axes: Sequence[Axis], transposed: bool, layout: Layout) -> None:
        make = transposed_side if transposed else forward_side
        *self._outer, self._last = (make(axis) for axis in axes)
        self._axes, self.layout = axes, layout
        self._blocks = -(-layout.results // SLOTS)
        # real and imaginary parts stay side by side
        self._side = -(-layout.results // (self._blocks * layout.plane_parts)) * layout.plane_parts
        self._together = SLOTS // self._side
        self._split = 1 if transposed else axes[-1].stride
        self._choices = list(product(*(side.phases for side in self._outer)))
        sizes = [axis.outputs if transposed else axis.size for axis in axes]
        samples = [side.samples for side in self._outer]
        rows = flat_samples(samples[:1], sizes) if samples else np.zeros(1, np.int64)
        lines = flat_samples(samples[1:], sizes[1:])
        self.maps = rows, lines, *columns(self._last.samples, self._split)
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
        self._out_size = prod(side.size for side in (*self._outer, self._last))
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
        layout, columns = self.layout, self.maps[2]
        lowest, highest = self._reach()
        numbers = [
            *(layout.planes, layout.results, layout.plane_parts, layout.item_parts, layout.channel_groups),
            *(self._in_size, self._out_size, self._last.size),
            *(buffer, self._plane_size, self._row_size, self._pitch, self.maps[1].size, *columns.shape),
            *(lowest, highest - lowest, self._blocks, self._side, flat.shape[2]),
            *(len(self._last.phases), len(RANGES) + 1, *begins[:-1]),
        ]
        return flat.reshape(-1), np.concatenate([numbers, *(table.reshape(-1) for table in tables)])

    def _reach(self) -> tuple[int, int]:
        """Return the first and the last place that is read along the last axis, counted from a base."""
        reads = np.concatenate([phase.reads for phase in self._last.phases]) // self._split
        # a mate's bases lie beside those of its run
        shifts = np.diff(self.runs[:, 0])[self.runs[:-1, 6] == 1]
        low, high = (int(f(reads, initial=0) + f(shifts, initial=0)) for f in (np.min, np.max))
        return low, high

    def _find_runs(self) -> Array:
        """Return ``runs``. With two phases, runs whose samples alternate are made mates of equal length."""
        runs: list[tuple[int, ...]] = []
        for number, phase in enumerate(self._last.phases):
            for start, stop in even(phase.targets, phase.added):
                step = int(phase.targets[start + 1] - phase.targets[start]) if stop - start > 1 else 1
                base, added = int(phase.bases[start]) // self._split, int(phase.added[start])
                runs.append((base, stop - start, int(phase.targets[start]), step, added, number, 0))
        setting = sorted((run for run in runs if not run[4] and run[3] == 2), key=lambda run: run[2])
        plain = self.layout.plane_parts * self.layout.item_parts == 1
        if plain and len(setting) == 2 and setting[1][2] == setting[0][2] + 1:
            first, second = setting
            count = min(first[1], second[1])
            mates = [(first[0], count, *first[2:6], 1), (second[0], count, *second[2:6], 0)]
            rest = [
                (run[0] + count, run[1] - count, run[2] + 2 * count, *run[3:])
                for run in setting
                if run[1] > count
            ]
            runs = [*mates, *rest, *(run for run in runs if run not in setting)]
        return np.array(sorted(runs, key=lambda run: run[4]), np.int64)

    @property
    def _strides(self) -> list[int]:
        """Elements of a slab from one place of an axis in front to the next."""
        lengths = [side.samples.size for side in self._outer[1:]]
        return [prod(lengths[n:]) * self._split * self._pitch for n in range(len(self._outer))]

    @property
    def _spacing(self) -> int:
        """How far apart, in the sequence of a phase, lines are that read the same lines of the source."""
        if not self._outer:
            return 1
        axis = self._axes[-2]
        return axis.dilation // gcd(axis.dilation, axis.stride)

    def _line_groups(self, phase: Phase) -> tuple[Array, Array, Array, Array]:
        """Divide the results of a phase of the last axis but one into groups of lines.

        Returns
        -------
        lines : (groups, 4) array
            -1 for none.
        first, last : (groups,) array
            Bases.
        added : (groups,) bool array
        """
        parts = []
        spacing, wide = self._spacing, self._spacing * self._together
        for start, stop in even(np.zeros_like(phase.bases), phase.added):
            i = np.arange(stop - start)
            group, slot = i // wide * spacing + i % spacing, i % wide // spacing
            lines = np.full((group.max() + 1, SLOTS), -1, np.int64)
            lines[group, slot] = phase.targets[start:stop]
            bases = np.zeros((2, len(lines)), np.int64)
            bases[0, group[slot == 0]] = phase.bases[start:stop][slot == 0]
            # later slots overwrite earlier ones
            bases[1, group] = phase.bases[start:stop]
            parts.append((lines, *bases, np.full(len(lines), phase.added[start])))
        lines, first, last, added = (np.concatenate(column) for column in zip(*parts, strict=True))
        return lines, first, last, added

    def _find_groups(self) -> tuple[Array, Array]:
        """Return ``groups``, and for each the rows of its first and last base, and if its row is added."""
        if not self._outer:
            return np.array([[0, -1, -1, -1, 1, 0, 0, 0]]), np.zeros((1, 3), np.int64)
        sizes = [side.size for side in self._outer]
        tables, spans = [], []
        for choice, (*front, own) in enumerate(self._choices):
            lines, first, last, added = self._line_groups(own)
            table = np.full((prod(p.bases.size for p in front), len(lines), 8), -1, np.int64)
            span = np.empty((*table.shape[:2], 3), np.int64)
            start = sums([p.targets * prod(sizes[n + 1 :]) for n, p in enumerate(front)])[:, None]
            base = sums([p.bases * stride for p, stride in zip(front, self._strides, strict=False)])
            outside = sums([p.added.astype(np.int64) for p in front])
            for slot in range(SLOTS):
                table[:, :, slot] = np.where(lines[:, slot] >= 0, start + lines[:, slot], -1)
            count = (lines >= 0).sum(1)
            table[:, :, 4] = count
            table[:, :, 5] = np.add.outer(base, first * self._strides[-1])
            table[:, :, 6] = choice * self._together + count - 1
            table[:, :, 7] = np.add.outer(outside, added) > 0
            # the rows, and what is added there, belong to the first axis
            span[:, :, 0], span[:, :, 1], span[:, :, 2] = first, last, added
            if front:
                repeats = prod(p.bases.size for p in front[1:])
                of_first = np.stack([front[0].bases, front[0].bases, front[0].added], 1)
                span[:] = np.repeat(of_first, repeats, 0)[:, None]
            tables.append(table.reshape(-1, 8))
            spans.append(span.reshape(-1, 3))
        return np.concatenate(tables), np.concatenate(spans)

    def _find_units(self, spans: Array, begins: range, end: int) -> tuple[Array, int, int]:
        """Sort the groups into units; return them, how many wait, and the most rows of source of one."""
        low, high = 0, 0
        if self._outer:
            reads = np.concatenate([phase.reads for phase in self._outer[0].phases])
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
        edges = np.flatnonzero(np.diff(number) | np.diff(spans[:, 2])) + 1
        setting, waiting = [], []
        tall = 0
        plain = int((self.runs[:, 4] == 0).sum())
        for start, stop in pairwise([0, *edges.tolist(), len(number)]):
            top = max(int(spans[start:stop, 0].min()) + low, 0)
            bottom = min(int(spans[start:stop, 1].max()) + high + 1, self.maps[0].size)
            tall = max(tall, bottom - top)
            for begin in begins:
                stop_base = min(begin + begins.step, end)
                unit = (start, stop, top, bottom - top, begin, stop_base)
                if spans[start, 2]:
                    waiting.append((*unit, 0, len(self.runs)))
                elif len(begins) == 1:
                    setting.append((*unit, 0, len(self.runs)))
                else:
                    setting.append((*unit, 0, plain))
                    in_padding = self.runs[plain:]
                    if ((in_padding[:, 0] < stop_base) & (in_padding.sum(1, initial=0) >= 0)).any():
                        waiting.append((*unit, plain, len(self.runs)))
        return np.array(setting + waiting, np.int64), len(waiting), tall

    @cached_property
    def _taps(self) -> tuple[list[Array], Array, Array, Array]:
        """Return which taps each range of each list has, and the tables of `prepared`."""
        across = np.arange(self.layout.planes) * self._plane_size
        chosen, offsets, bounds, starts = [], [], [], []
        at = start = 0
        for ranges in self._lists():
            row = [at]
            starts.append(start)
            for low, high in RANGES:
                if (low, high) in ranges:
                    reads, taps = ranges[low, high]
                    offsets.append(sums([across, reads]))
                    chosen.append(taps)
                    at += offsets[-1].size
                    start += self.layout.planes * taps.size * self._side
                row.append(at)
            bounds.append(row)
        table = np.concatenate([np.zeros(0, np.int64), *offsets])
        return chosen, table, np.array(bounds, np.int64), np.array(starts, np.int64)

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
        chosen, *tables = self._taps
        groups, results, planes = weights.shape[:3]
        flat = np.zeros((groups, self._blocks * self._side, planes, prod(weights.shape[3:])), weights.dtype)
        flat[:, :results] = weights.reshape(*weights.shape[:3], -1)
        flat = flat.reshape(groups, self._blocks, self._side, *flat.shape[2:])
        # (groups, blocks, side, planes, taps, lines) to (groups, blocks, planes, taps, lines, side)
        values = [np.moveaxis(flat[..., taps], 2, -1).reshape(groups, self._blocks, -1) for taps in chosen]
        empty = np.zeros((groups, self._blocks, 0), weights.dtype)
        offsets, bounds, starts = tables
        return np.ascontiguousarray(np.concatenate([empty, *values], 2)), offsets, bounds, starts

    def _lists(self) -> Iterator[dict[tuple[int, int], tuple[Array, Array]]]:
        """Yield each list: from a range of slots to ``(taps,)`` offsets and ``(taps, lines)`` flat taps."""
        strides = self._strides
        steps = [prod(axis.taps for axis in self._axes[n + 1 :]) for n in range(len(self._axes))]
        for phases, together in product(self._choices, range(1, self._together + 1)):
            front, own = phases[:-1], phases[-1] if phases else None
            front_reads = sums([p.reads * stride for p, stride in zip(front, strides, strict=False)])
            front_taps = sums([p.taps * step for p, step in zip(front, steps, strict=False)])
            met = self._met_together(own, together)
            for last in self._last.phases:
                last_reads = last.reads % self._split * self._pitch + last.reads // self._split
                ranges = {}
                for (low, high), places in met.items():
                    reads = np.array([place for place, _ in places], np.int64)
                    taps = np.array([taps for _, taps in places], np.int64).reshape(-1, high - low)
                    if own is not None:
                        reads, taps = reads * strides[-1], taps * steps[-2]
                    offsets = sums([front_reads, reads, last_reads])
                    chosen = front_taps[:, None, None, None] + taps[:, None, :] + last.taps[:, None]
                    ranges[low * self._side, high * self._side] = offsets, chosen.reshape(-1, high - low)
                yield ranges

    def _met_together(
        self, phase: Phase | None, together: int
    ) -> dict[tuple[int, int], list[tuple[int, list[int]]]]:
        """Return, for each range of lines of a group, the lines of source that all of the range read.

        A line of source comes with the tap through which each line of the range reads it.
        """
        if phase is None:
            return {(0, 1): [(0, [0])]} if together == 1 else {}
        step = self._spacing * int(phase.bases[1] - phase.bases[0]) if phase.bases.size > 1 else 0
        met: dict[int, dict[int, int]] = {}
        for number in range(together):
            for tap, read in zip(phase.taps.tolist(), phase.reads.tolist(), strict=True):
                met.setdefault(number * step + read, {})[number] = tap
        ranges: dict[tuple[int, int], list[tuple[int, list[int]]]] = {}
        for place, by_line in sorted(met.items()):
            for start, stop in even(np.array(list(by_line)), np.zeros(len(by_line))):
                numbers = list(by_line)[start:stop]
                taps = [by_line[number] for number in numbers]
                ranges.setdefault((numbers[0], numbers[-1] + 1), []).append((place, taps))
        return ranges
