"""An axis of a stencil, as either direction sees it, and how axes combine.

Floor 3, for ``_tables``. A side of an axis is an extended source and the results that read it. Forward, all
results meet all taps. Transposed, they fall into phases by stride, each with its own taps.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv.boundary import source_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparsetconv._axis import Axis
    from sparsetconv._types import Array


class Phase(NamedTuple):
    """Results of one axis that meet the same taps.

    Attributes
    ----------
    taps : (t,) int64 array
    reads : (t,) int64 array
        What each tap reads, counted from a result's base.
    bases : (r,) int64 array
        Where each result stands in the extended source; equally spaced.
    targets : (r,) int64 array
        The sample that each result belongs to.
    added : (r,) bool array
        Whether it is added to that sample, as a position in the padding is.
    """

    taps: Array
    reads: Array
    bases: Array
    targets: Array
    added: Array


class Side(NamedTuple):
    """One axis of one direction: the samples of its extended source (-1: zero), and its results."""

    samples: Array
    phases: list[Phase]
    size: int


def forward_side(axis: Axis) -> Side:
    """Return an axis of the forward direction: one phase, all taps."""
    samples = source_indices(axis, np.arange(axis.low, axis.high + 1))
    outputs = np.arange(axis.outputs)
    taps = np.arange(axis.taps)
    everywhere = Phase(
        taps, taps * axis.dilation, outputs * axis.stride, outputs, np.zeros(outputs.size, bool)
    )
    return Side(samples, [everywhere], axis.outputs)


def read_range(axis: Axis) -> tuple[int, int]:
    """Return the positions that the transposed direction computes before it folds the padding back.

    They are counted from the first that the forward direction reads. Where zeros stand outside they are the
    signal itself, as what is outside is dropped; else all that the forward direction reads.
    """
    if axis.reach == "zeros":
        return -axis.low, axis.size - axis.low
    return 0, axis.high - axis.low + 1


def zeros_around(axis: Axis, start: int, stop: int) -> tuple[int, int]:
    """Return how many zeros the small array needs on both sides, so that all taps have something to read."""
    before = max((axis.extent - 1) // axis.stride - start // axis.stride, 1 - axis.outputs)
    return before, max(0, (stop - 1) // axis.stride - axis.outputs + 1)


def polyphase(axis: Axis, start: int, stop: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Divide the positions from ``start`` to ``stop`` by stride.

    Yields, for each phase that has positions, its taps, what they read in the small array extended by
    `zeros_around`, the bases from which that is counted, and the positions.
    """
    before, _ = zeros_around(axis, start, stop)
    taps = np.arange(axis.taps)
    for phase in range(axis.stride):
        positions = np.arange(start + (phase - start) % axis.stride, stop, axis.stride)
        if positions.size:
            own = taps[taps * axis.dilation % axis.stride == phase]
            reads = -(own * axis.dilation // axis.stride)
            yield own, reads, (positions - phase) // axis.stride + before, positions


def transposed_side(axis: Axis) -> Side:
    """Return an axis of the transposed direction: a phase for each stride."""
    (low, high), signal = read_range(axis), (-axis.low, axis.size - axis.low)
    start, stop = min(low, signal[0]), max(high, signal[1])
    before, after = zeros_around(axis, start, stop)
    samples = np.arange(-before, axis.outputs + after)
    samples[(samples < 0) | (samples >= axis.outputs)] = -1
    phases = []
    for taps, reads, bases, positions in polyphase(axis, start, stop):
        place = positions + axis.low
        added = (place < 0) | (place >= axis.size)
        phases.append(Phase(taps, reads, bases, source_indices(axis, place), added))
    return Side(samples, phases, axis.size)


def columns(samples: Array, split: int) -> tuple[Array, Array]:
    """Divide a line of the extended source into phases: ``Plan.columns`` and ``Plan.mains``."""
    places = -(-samples.size // split)
    padded = np.full(places * split, -1)
    padded[: samples.size] = samples
    columns = np.ascontiguousarray(padded.reshape(places, split).T)
    mains = np.zeros((split, 2), np.int64)
    for phase, column in enumerate(columns):
        follows = (np.diff(column) == split) & (column[:-1] >= 0)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], follows, [False]])))
        if edges.size:
            longest = int((edges[1::2] - edges[::2]).argmax())
            mains[phase] = edges[2 * longest], edges[2 * longest + 1] + 1
    return columns, mains


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


def even(targets: Array, added: Array) -> Iterator[tuple[int, int]]:
    """Yield the longest runs in which ``targets`` are equally spaced and ``added`` does not change."""
    edges = set((np.flatnonzero(np.diff(added)) + 1).tolist())
    bends = (np.flatnonzero(np.diff(targets, 2)) + 2).tolist()
    start = 0
    for stop in sorted({*edges, *bends, targets.size}):
        # a step from before the run does not count
        if stop in edges or stop - 2 >= start or stop == targets.size:
            yield start, stop
            start = stop
