"""Rows of one axis' matrix as arithmetic runs: columns and taps that step evenly.

Floor 1, below ``axis_rows``. What an output reads within one copy of the signal is a run of samples; what
reads a sample at one of its copies is a run of outputs. A row is a few such runs, and all runs of a range of
rows are found at once, by arithmetic on arrays.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._axis import extension_period
from sparsetconv.boundary import source_indices

if TYPE_CHECKING:
    from sparsetconv._axis import Axis
    from sparsetconv._types import Array

# products of residues of moduli below this fit into 64 bits
LARGEST_MODULUS = 1 << 31


class Runs(NamedTuple):
    """The runs of some rows: run ``j`` of row ``i`` holds ``length[i, j]`` pairs of a column and a tap.

    Attributes
    ----------
    column, tap, length : (rows, runs) int64 arrays
        The first pair, that with the smallest column, and the number of pairs.
    column_step, tap_step : int, or int64 array that broadcasts to (rows, runs)
        From one pair to the next. Column steps are the same in all runs, or 0 where all taps of a run read
        one sample.
    """

    column: Array
    tap: Array
    length: Array
    column_step: int | Array
    tap_step: int | Array

    def sizes(self) -> Array:
        """Return how many different columns each row has."""
        if self.column.shape[1] == 1 and isinstance(self.column_step, int):
            return self.length[:, 0]
        counts = np.where(np.equal(self.column_step, 0), self.length.clip(0, 1), self.length)
        step = max(1, int(np.max(self.column_step)))
        place, phase = np.divmod(self.column, step)
        # on a line on which phases lie apart, runs are intervals of integers
        start = phase * (int((place + counts).max(initial=0)) + 1) + place
        order = start.argsort(axis=1)
        start, counts = np.take_along_axis(start, order, 1), np.take_along_axis(counts, order, 1)
        stop = start + counts
        covered = np.maximum.accumulate(stop, axis=1)
        start[:, 1:] = np.maximum(start[:, 1:], covered[:, :-1])
        sizes: Array = (stop - start).clip(0).sum(1)
        return sizes

    def ordered(self) -> Runs:
        """Return the same runs, those of a row by their first column; empty ones hold no column back."""
        order = np.where(self.length > 0, self.column, np.iinfo(np.int64).max).argsort(axis=1, kind="stable")
        shape = self.column.shape
        steps = (
            step if isinstance(step, int) else np.take_along_axis(np.broadcast_to(step, shape), order, 1)
            for step in (self.column_step, self.tap_step)
        )
        column, tap, count = (np.take_along_axis(array, order, 1) for array in self[:3])
        return Runs(column, tap, count, *steps)

    def follow(self) -> bool:
        """Return whether each run of a row begins at the last column of the run before, or behind it."""
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


def _stepped(first: Array, step: int | Array, begins: Array, counts: Array, places: Array) -> Array:
    steps = step if isinstance(step, int) else np.broadcast_to(step, first.shape).ravel()
    values: Array = np.repeat(first.ravel() - begins * steps, counts)
    values += places * (steps if isinstance(step, int) else np.repeat(steps, counts))
    return values


def _ceil_div(a: Array, b: int) -> Array:
    return -(-a // b)


def _times_modulo(values: Array, factor: int, modulus: int) -> Array:
    """Return ``values * factor % modulus``, by Python's integers where 64 bits are too few."""
    if modulus < LARGEST_MODULUS:
        product: Array = values % modulus * factor % modulus
        return product
    return np.array([int(v) * factor % modulus for v in values.flat], np.int64).reshape(values.shape)


def forward_runs(axis: Axis, start: int, stop: int) -> Runs:
    """Return the samples that outputs ``start`` to ``stop`` read."""
    first: Array = np.arange(start, stop)[:, None] * axis.stride - axis.before
    if axis.reach == "zeros":
        low, high = _inside(axis, first)
        return Runs(first + low * axis.dilation, low, high - low, axis.dilation, 1)
    if axis.reach == "replicate" or axis.size == 1:
        low, high = _inside(axis, first)
        column = np.hstack(
            [np.zeros_like(low), first + low * axis.dilation, np.full_like(low, axis.size - 1)]
        )
        count = np.hstack([low, high - low, axis.taps - high])
        steps = np.array([[0, axis.dilation, 0]])
        return Runs(column, np.hstack([np.zeros_like(low), low, high]), count, steps, 1)
    length = _wave_length(axis)
    wave = first // length
    waves = int(((first + axis.extent - 1) // length - wave).max(initial=0)) + 1
    if waves > max(3, axis.taps):
        taps = np.arange(axis.taps)
        column = source_indices(axis, first + taps * axis.dilation)
        return Runs(column, np.broadcast_to(taps, column.shape), np.ones_like(column), axis.dilation, 1)
    wave = wave + np.arange(waves)
    return _wave_runs(axis, first, wave, length)


def _inside(axis: Axis, first: Array) -> tuple[Array, Array]:
    """Return the range of taps that read inside the signal; where there is none, it is empty."""
    low = _ceil_div(-first, axis.dilation).clip(0, axis.taps)
    return low, np.maximum(low, ((axis.size - 1 - first) // axis.dilation + 1).clip(0, axis.taps))


def _wave_length(axis: Axis) -> int:
    """Return how many positions there are from one copy of the signal to the next, mirrored or not."""
    return axis.size - (axis.reach == "reflect")


def _wave_runs(axis: Axis, first: Array, wave: Array, length: int) -> Runs:
    """Return the runs of outputs in copies of the signal, of which every second one may be mirrored."""
    bounds = (first - wave * length, first - (wave + 1) * length)
    low, high = (_ceil_div(-bound, axis.dilation).clip(0, axis.taps) for bound in bounds)
    count = high - low
    column = bounds[0] + low * axis.dilation
    if axis.reach == "circular":
        return Runs(column, low, count, axis.dilation, 1)
    mirrored = wave % 2 == 1
    column = np.where(mirrored, axis.size - 1 - column - (count - 1) * axis.dilation, column)
    return Runs(column, np.where(mirrored, high - 1, low), count, axis.dilation, np.where(mirrored, -1, 1))


def transposed_runs(axis: Axis, start: int, stop: int) -> Runs:
    """Return the outputs that read samples ``start`` to ``stop``; an edge that is replicated stands alone."""
    samples = np.arange(start, stop)[:, None]
    if axis.reach == "zeros":
        return _copy_runs(axis, samples, np.True_)
    if axis.reach == "replicate" or axis.size == 1:
        if start == stop or (start > 0 and stop < axis.size):
            return _copy_runs(axis, samples, np.True_)
        return _edge_runs(axis, start)
    length = _wave_length(axis)
    first = axis.low // length
    waves = axis.high // length - first + 1
    if waves > max(3, axis.taps):
        return _tap_runs(axis, samples)
    wave = first + np.arange(waves)
    mirrored = (wave % 2 == 1) & (axis.reach != "circular")
    place = np.where(mirrored, axis.size - 1 - samples, samples)
    return _copy_runs(axis, wave * length + place, place < length)


def _copy_runs(axis: Axis, positions: Array, valid: Array | np.bool_) -> Runs:
    """Return the runs of outputs that read positions of the extension, those that are valid."""
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
    """Return the outputs that read an edge, itself or by padding, one run for each tap."""
    taps = np.arange(axis.taps)[None]
    reach = sample + axis.before - taps * axis.dilation
    start, stop = np.zeros_like(taps), np.full_like(taps, axis.outputs)
    if sample > 0:
        start = _ceil_div(reach, axis.stride).clip(0, axis.outputs)
    elif axis.size > 1:
        stop = (reach // axis.stride + 1).clip(0, axis.outputs)
    return Runs(start, taps, stop - start, 1, 0)


def _tap_runs(axis: Axis, samples: Array) -> Runs:
    """Return the outputs by which each tap reads samples of a periodic extension."""
    period = extension_period(axis.reach, axis.size)
    common = gcd(axis.stride, period)
    cycle = period // common
    taps, one = np.arange(axis.taps), np.array(True)
    anchors = [(samples, one)]
    if axis.reach != "circular":
        mirrored = -samples - (axis.reach == "symmetric")
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
