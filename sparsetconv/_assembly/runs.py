"""Rows of one axis' matrix as runs: arithmetic progressions of columns and taps.

The samples that an output reads within one copy of the signal are a run; so are the outputs that read a
sample at one of its copies. A row consists of a few runs, and the runs of a range of rows are computed at
once, by array arithmetic.
"""

from __future__ import annotations

from itertools import accumulate
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._geometry.extension import source_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis

# below this modulus, products of two residues fit into 64 bits
LARGEST_MODULUS = 1 << 31


class Runs(NamedTuple):
    """The runs of some rows: run ``j`` of row ``i`` holds ``length[i, j]`` pairs of a column and a tap.

    Attributes
    ----------
    column, tap, length : (rows, runs) int64 arrays
        The first pair of the run, which has its smallest column, and the number of pairs.
    column_step : int
        Distance from one column of a run to the next, the same in all runs.
    tap_step : int, or int64 array that broadcasts to (rows, runs)
        Distance from one tap of a run to the next; may be negative or 0.
    """

    column: Array
    tap: Array
    length: Array
    column_step: int
    tap_step: int | Array

    def sizes(self) -> Array:
        """Return the number of distinct columns of each row."""
        if self.column.shape[1] == 1:
            return self.length[:, 0]
        counts = self.length
        place, phase = np.divmod(self.column, self.column_step)
        # number the columns phase after phase: then runs are intervals of integers
        start = phase * (int((place + counts).max(initial=0)) + 1) + place
        if start.shape[1] == 2:
            # subtract the overlap of the two intervals
            (first, second), (one, other) = start.T, counts.T
            common = np.minimum(first + one, second + other) - np.maximum(first, second)
            return np.asarray(one + other - common.clip(0))
        order = start.argsort(axis=1)
        start, counts = np.take_along_axis(start, order, 1), np.take_along_axis(counts, order, 1)
        stop = start + counts
        covered = np.maximum.accumulate(stop, axis=1)
        start[:, 1:] = np.maximum(start[:, 1:], covered[:, :-1])
        return np.asarray((stop - start).clip(0).sum(1))

    def exchanged(self) -> Runs:
        """Return the same pairs with columns and taps exchanged; taps must step by 1 or -1."""
        last, falls = self.length - 1, np.less(self.tap_step, 0)
        return Runs(
            np.where(falls, self.tap - last, self.tap),
            np.where(falls, self.column + last * self.column_step, self.column),
            self.length,
            1,
            np.where(falls, -self.column_step, self.column_step),
        )

    def mirrored(self, columns: int) -> Runs:
        """Return the same pairs, with columns numbered from the end."""
        last = self.length - 1
        return Runs(
            columns - 1 - (self.column + last * self.column_step),
            self.tap + last * self.tap_step,
            self.length,
            self.column_step,
            -self.tap_step,
        )

    def filled(self) -> Runs:
        """Return the same runs without those that are empty in every row."""
        filled: Array = np.asarray(self.length.any(0))
        if filled.all() or filled.size == 1:
            return self
        filled[0] |= not filled.any()
        return self._each(lambda array: array[:, filled])

    def ordered(self) -> Runs:
        """Return the same runs, sorted in each row by their first column; empty runs come last."""
        first = np.where(self.length > 0, self.column, np.iinfo(np.int64).max)
        if first.shape[1] == 2:
            return self._swapped(first[:, :1] > first[:, 1:])
        order = first.argsort(axis=1, kind="stable")
        return self._each(lambda array: np.take_along_axis(array, order, 1))

    def _swapped(self, rows: Array) -> Runs:
        """Return the same runs, two for each row, exchanged in the rows of a mask."""
        return self._each(lambda array: np.where(rows, array[:, ::-1], array))

    def _each(self, change: Callable[[Array], Array]) -> Runs:
        step = self.tap_step
        if not isinstance(step, int):
            step = change(np.broadcast_to(step, self.column.shape))
        return Runs(change(self.column), change(self.tap), change(self.length), self.column_step, step)

    def long_rows(self) -> Iterator[LongRow | None]:
        """Yield each row of `ordered` runs as a `LongRow`, or None where `_long_row` returns None."""
        if not np.all(self.tap_step):
            yield from [None] * len(self.column)
            return
        shape = self.column.shape
        steps = np.broadcast_to(self.tap_step, shape).tolist()
        lists = self.column.tolist(), self.tap.tolist(), self.length.tolist(), steps
        for row in zip(*lists, strict=True):
            runs = [_Run(*numbers) for numbers in zip(*row, strict=True) if numbers[2] > 0]
            yield _long_row(runs, self.column_step)

    def follow(self) -> bool:
        """Return whether each run of a row begins at or after the last column of the run before."""
        last = self.column + self.column_step * (self.length - 1)
        behind = self.column[:, 1:] >= last[:, :-1]
        return bool((behind | (self.length[:, 1:] <= 0)).all())

    def pairs(self) -> tuple[Array, Array]:
        """Return the columns and the taps of all pairs, row after row, run after run."""
        counts = self.length.ravel()
        begins = counts.cumsum() - counts
        places = np.arange(int(counts.sum()))
        return (
            _stepped(self.column, self.column_step, begins, counts, places),
            _stepped(self.tap, self.tap_step, begins, counts, places),
        )


class _Run(NamedTuple):
    """One run of a row; ``column_step`` is that of its `Runs`."""

    column: int
    tap: int
    length: int
    tap_step: int

    def taps(self, start: int, stop: int) -> slice:
        """Return the taps of pairs ``start`` to ``stop``."""
        first, last = self.tap + start * self.tap_step, self.tap + stop * self.tap_step
        return slice(first, last if last >= 0 else None, self.tap_step)


class LongRow(NamedTuple):
    """One row whose taps are a few slices of the kernel, so that it needs no index per entry.

    Attributes
    ----------
    columns : (c,) int64 array
    pieces : list of (slice, slice, bool)
        A slice of ``columns``, the taps that contribute to these columns, and whether they are added to those
        of earlier pieces.
    """

    columns: Array
    pieces: list[tuple[slice, slice, bool]]

    def fold(self, weights: Array, axis: int) -> Array:
        """Sum the taps of each column: the kernel's axis becomes an axis of columns."""
        before = (slice(None),) * axis
        if len(self.pieces) == 1:
            return weights[(*before, self.pieces[0][1])]
        shape = *weights.shape[:axis], self.columns.size, *weights.shape[axis + 1 :]
        folded = np.empty(shape, weights.dtype)
        self.fold_into(folded, weights, axis)
        return folded

    def fold_into(self, out: Array, weights: Array, axis: int) -> None:
        """Write the result of `fold` to ``out``."""
        before = (slice(None),) * axis
        for places, taps, again in self.pieces:
            chosen, there = weights[(*before, taps)], out[(*before, places)]
            if again:
                np.add(there, chosen, out=there)
            else:
                there[...] = chosen


def _long_row(runs: list[_Run], step: int) -> LongRow | None:
    """Return the row if its runs follow each other, or cover each column at most twice; else None.

    The sum of two taps does not depend on their order; in floating point, the sum of three does.
    """
    if not runs:
        return LongRow(np.empty(0, np.int64), [])
    ends = [run.column + (run.length - 1) * step for run in runs]
    if all(run.column > end for run, end in zip(runs[1:], ends, strict=False)):
        if all(run.column == end + step for run, end in zip(runs[1:], ends, strict=False)):
            # each run begins where the one before ends, as with circular padding
            parts = [np.arange(runs[0].column, ends[-1] + 1, step)]
        else:
            parts = [np.arange(run.column, end + 1, step) for run, end in zip(runs, ends, strict=True)]
        starts = accumulate((run.length for run in runs), initial=0)
        pieces = [
            (slice(at, at + run.length), run.taps(0, run.length), False)
            for at, run in zip(starts, runs, strict=False)
        ]
        return LongRow(parts[0] if len(parts) == 1 else np.concatenate(parts), pieces)
    first, covered, twice, pieces = runs[0].column, 0, 0, []
    for run in runs:
        start, phase = divmod(run.column - first, step)
        stop = start + run.length
        if phase or start > covered or start < twice:
            return None
        both = min(stop, covered)
        if start < both:
            pieces.append((slice(start, both), run.taps(0, both - start), True))
            twice = both
        if stop > covered:
            pieces.append((slice(covered, stop), run.taps(covered - start, run.length), False))
            covered = stop
    return LongRow(np.arange(first, first + covered * step, step), pieces)


def _stepped(first: Array, step: int | Array, begins: Array, counts: Array, places: Array) -> Array:
    steps = step if isinstance(step, int) else np.broadcast_to(step, first.shape).ravel()
    values: Array = np.repeat(first.ravel() - begins * steps, counts)
    values += places * (steps if isinstance(step, int) else np.repeat(steps, counts))
    return values


def _ceil_div(a: Array, b: int) -> Array:
    return -(-a // b)


def _times_modulo(values: Array, factor: int, modulus: int) -> Array:
    """Return ``values * factor % modulus``, by Python integers where 64 bits could overflow."""
    if modulus < LARGEST_MODULUS:
        product: Array = values % modulus * factor % modulus
        return product
    return np.array([int(v) * factor % modulus for v in values.flat], np.int64).reshape(values.shape)


def forward_runs(axis: Axis, start: int, stop: int) -> Runs:
    """Return the samples that outputs ``start`` to ``stop`` read."""
    first: Array = np.arange(start, stop)[:, None] * axis.stride - axis.before
    if axis.effective_mode.zero:
        low, high = _inside(axis, first)
        return Runs(first + low * axis.dilation, low, high - low, axis.dilation, 1)
    if reads_edges(axis):
        return _edges_and_inside(axis, first)
    mode, size = axis.effective_mode, axis.size
    wave = mode.copy_at(size, first)
    waves = int((mode.copy_at(size, first + axis.extent - 1) - wave).max(initial=0)) + 1
    if waves > max(3, axis.taps):
        taps = np.arange(axis.taps)
        column = source_indices(axis, first + taps * axis.dilation)
        return Runs(column, np.broadcast_to(taps, column.shape), np.ones_like(column), axis.dilation, 1)
    wave = wave + np.arange(waves)
    return _wave_runs(axis, first, wave)


def reads_edges(axis: Axis) -> bool:
    """Return whether padding repeats one sample: replicated edges, or any mode on a signal of one sample."""
    mode = axis.effective_mode
    return mode.edge or (axis.size == 1 and not mode.zero)


def edge_sums(axis: Axis) -> tuple[int, int]:
    """Return the number of partial sums used as extra taps: of the first taps, and of the last taps.

    The taps that read an edge sample through padding are the first few or the last few of the kernel, and
    their sum is used as one tap. The sums of the first 1, 2, ... taps are appended to the kernel, then the
    sums of the last 1, 2, ... taps. For a signal of one sample both numbers are 0, and only the sum of all
    taps is appended.
    """
    if not reads_edges(axis) or axis.size == 1:
        return 0, 0
    left, right = axis.before // axis.dilation, (axis.high - axis.size + 1) // axis.dilation
    return min(max(left + 1, 0), axis.taps), min(max(right + 1, 0), axis.taps)


def _edges_and_inside(axis: Axis, first: Array) -> Runs:
    """Return three runs for each output: first sample as padding, samples inside, last sample as padding."""
    if axis.size == 1:
        return Runs(np.zeros_like(first), np.full_like(first, axis.taps), np.ones_like(first), 1, 1)
    low, high = _inside(axis, first)
    # a tap that reads the edge sample itself joins those that read it through padding
    before, after = (low > 0).astype(np.int64), (high < axis.taps).astype(np.int64)
    left = low + before * ((low < high) & (first + low * axis.dilation == 0))
    right = high - after * ((low < high) & (first + (high - 1) * axis.dilation == axis.size - 1))
    return Runs(
        np.hstack([np.zeros_like(low), first + left * axis.dilation, np.full_like(low, axis.size - 1)]),
        np.hstack([axis.taps + left - 1, left, 2 * axis.taps + edge_sums(axis)[0] - 1 - right]),
        np.hstack([before, right - left, after]),
        axis.dilation,
        1,
    )


def kernel_runs(axis: Axis, start: int, stop: int) -> Runs:
    """Return runs of outputs ``start`` to ``stop`` with taps as columns, and the samples read as taps."""
    if not reads_edges(axis):
        return forward_runs(axis, start, stop).exchanged()
    first: Array = np.arange(start, stop)[:, None] * axis.stride - axis.before
    low, high = _inside(axis, first)
    return Runs(
        np.hstack([np.zeros_like(low), low, high]),
        np.hstack([np.zeros_like(low), first + low * axis.dilation, np.full_like(low, axis.size - 1)]),
        np.hstack([low, high - low, axis.taps - high]),
        1,
        np.array([[0, axis.dilation, 0]]),
    )


def _inside(axis: Axis, first: Array) -> tuple[Array, Array]:
    """Return, for each output, the range of taps that read inside the signal; it may be empty."""
    low = _ceil_div(-first, axis.dilation).clip(0, axis.taps)
    return low, np.maximum(low, ((axis.size - 1 - first) // axis.dilation + 1).clip(0, axis.taps))


def _wave_runs(axis: Axis, first: Array, wave: Array) -> Runs:
    """Return the runs of outputs in each copy of the signal; odd-numbered copies may be mirrored."""
    mode = axis.effective_mode
    bounds = [first - mode.copy_begin(axis.size, each) for each in (wave, wave + 1)]
    low, high = (_ceil_div(-bound, axis.dilation).clip(0, axis.taps) for bound in bounds)
    count = high - low
    column = bounds[0] + low * axis.dilation
    if not mode.mirrored:
        return Runs(column, low, count, axis.dilation, 1)
    mirrored = wave % 2 == 1
    column = np.where(mirrored, axis.size - 1 - column - (count - 1) * axis.dilation, column)
    return Runs(column, np.where(mirrored, high - 1, low), count, axis.dilation, np.where(mirrored, -1, 1))


def transposed_runs(axis: Axis, start: int, stop: int) -> Runs:
    """Return the outputs that read samples ``start`` to ``stop``; a replicated edge must be the only row."""
    samples, mode, size = np.arange(start, stop)[:, None], axis.effective_mode, axis.size
    if mode.zero:
        return _copy_runs(axis, samples, np.True_)
    if reads_edges(axis):
        if start == stop or (start > 0 and stop < size):
            return _copy_runs(axis, samples, np.True_)
        return _edge_runs(axis, start)
    first = mode.copy_at(size, axis.low)
    waves = mode.copy_at(size, axis.high) - first + 1
    if waves > max(3, axis.taps):
        return _tap_runs(axis, samples)
    wave = first + np.arange(waves)
    place = np.where((wave % 2 == 1) & mode.mirrored, size - 1 - samples, samples)
    begin = mode.copy_begin(size, wave)
    return _copy_runs(axis, begin + place, place < mode.copy_begin(size, wave + 1) - begin)


def _copy_runs(axis: Axis, positions: Array, valid: Array | np.bool_) -> Runs:
    """Return the runs of outputs that read positions of the extension, where ``valid``."""
    common = gcd(axis.stride, axis.dilation)
    stride, dilation = axis.stride // common, axis.dilation // common
    reach = positions + axis.before
    valid = valid & (reach % common == 0)
    # every stride-th tap leads to an output
    met = _times_modulo(reach // common, pow(dilation, -1, stride), stride)
    low = _ceil_div(reach - (axis.outputs - 1) * axis.stride, axis.dilation).clip(0)
    high = (reach // axis.dilation).clip(None, axis.taps - 1)
    low = low + (met - low) % stride
    count = np.where(valid, ((high - low) // stride + 1).clip(0), 0)
    tap = low + (count - 1) * stride
    return Runs((reach - tap * axis.dilation) // axis.stride, tap, count, dilation, -stride)


def _edge_runs(axis: Axis, sample: int) -> Runs:
    """Return the outputs that read an edge, directly or through padding: one or two runs for each phase."""
    taps, stride = axis.taps, axis.stride
    if axis.size == 1:
        whole = np.array([[taps]])
        return Runs(np.zeros_like(whole), whole, np.full_like(whole, axis.outputs), 1, 0)
    common = gcd(stride, axis.dilation)
    step, rise = axis.dilation // common, stride // common
    if sample:
        # from the first output whose last tap reads the edge, to the first whose taps all do
        start = _ceil(sample + axis.before - axis.extent + 1, stride, axis.outputs)
        middle, stop = max(start, _ceil(sample + axis.before, stride, axis.outputs)), axis.outputs
    else:
        # from outputs whose taps all read the edge, to the last one whose first tap does
        start, stop = 0, _ceil(axis.before + 1, stride, axis.outputs)
        middle = min(stop, _ceil(axis.before - axis.extent + 2, stride, axis.outputs))
    phases = start + np.arange(min(step, max(1, stop - start)))
    earlier = _ceil_div(middle - phases, step).clip(0)
    then = phases + earlier * step
    later = _ceil_div(stop - then, step).clip(0)
    first, last = edge_sums(axis)
    if sample:
        met = _ceil_div(sample + axis.before - phases * stride, axis.dilation)
        sums = 2 * taps + first - 1 - met, np.full_like(then, taps + first + last - 1)
        steps = np.full_like(phases, rise), np.zeros_like(phases)
    else:
        met = (axis.before - then * stride) // axis.dilation
        sums = np.full_like(phases, 2 * taps - 1), taps + met
        steps = np.zeros_like(phases), np.full_like(phases, -rise)
    parts = (phases, then), sums, (earlier, later), steps
    column, tap, length, tap_step = (np.concatenate(pair)[None] for pair in parts)
    return Runs(column, tap, length, step, tap_step)


def _ceil(number: int, divisor: int, most: int) -> int:
    """Return a quotient, rounded up and clipped to 0 ... ``most``."""
    return min(max(-(-number // divisor), 0), most)


def _tap_runs(axis: Axis, samples: Array) -> Runs:
    """Return the outputs that read samples of a periodic extension, in one or two runs for each tap."""
    mode, period = axis.effective_mode, axis.period
    common = gcd(axis.stride, period)
    cycle = period // common
    taps, one = np.arange(axis.taps), np.array(True)
    anchors = [(samples, one)]
    if mode.mirrored:
        mirrored = -samples - mode.mirror
        anchors.append((mirrored, (mirrored - samples) % period != 0))
    runs = []
    for anchor, valid in anchors:
        reach = anchor + axis.before - taps * axis.dilation
        column = _times_modulo(reach // common, pow(axis.stride // common, -1, cycle), cycle)
        count = _ceil_div(axis.outputs - column, cycle).clip(0)
        runs.append(
            (column, np.broadcast_to(taps, column.shape), np.where(valid & (reach % common == 0), count, 0))
        )
    column, tap, count = (np.hstack(parts) for parts in zip(*runs, strict=True))
    return Runs(column, tap, count, cycle, 0)
