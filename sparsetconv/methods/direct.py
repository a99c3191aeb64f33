"""Method ``"direct"``: a compiled stencil, the same loops in both directions.

Floor 3. Either direction is a table of pieces: runs of outputs along the last axis that read neighbouring
samples through one list of taps. Forward, there is one list, and the input is extended by its padding (and
divided into phases along the last axis where that has a stride). Transposed, there is one list of taps for
each phase of the strides, and the small array is extended by zeros, so that every run meets all taps of its
phase: this is the polyphase form, and no zero is inserted between samples.
"""

from __future__ import annotations

from functools import cached_property, reduce
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._axis import Axis
from sparsetconv._threads import for_each, thread_count
from sparsetconv.boundary import Extension
from sparsetconv.methods._base import PaddedMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry

# outputs of a tile: with four results at a time they stay in the first-level cache
TILE = 1024
# multiplications for which a second thread pays
THREAD_WORK = 1 << 18


class _Taps(NamedTuple):
    """What one direction's loops need beside the arrays.

    Attributes
    ----------
    pieces : (pieces, 5) int64 array
        Line, first place, number of places, source of the first, list of taps.
    bounds : (lists + 1,) int64 array
        Where each list begins.
    chosen : (taps,) int64 array
        The flat number of each tap in the kernel, list after list.
    offsets : (taps,) int64 array
        Distance of what each tap reads from the piece's source.
    step : int
        Distance of neighbouring places of a piece.
    """

    pieces: Array
    bounds: Array
    chosen: Array
    offsets: Array
    step: int


class _Phase(NamedTuple):
    """The positions of one phase of a transposed axis: all meet the same taps."""

    taps: Array
    places: Array
    sources: Array


class DirectMethod(PaddedMethod):
    """Tiles of output lines accumulate eight taps, or four channels, at a time.

    The first call for a dtype compiles (some seconds, kept on disk by numba). Integers are summed in 64
    bits and wrap around as NumPy's do.
    """

    name = "direct"

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        super().__init__(geometry, weights)
        self._prepared: dict[tuple[bool, str], tuple[Array, Array]] = {}

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._computed(x, self._forward)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._computed(y, self._transpose)

    def _computed(self, x: Array, function: Callable[[Array, Array], Array]) -> Array:
        """Call ``function(x, weights)`` with both of one dtype that the loops are compiled for."""
        dtype = np.result_type(x, self.weights)
        if dtype.kind in "iu":
            exact = function(_wrapped(x), _wrapped(self.weights))
            return exact.astype(dtype, copy=False)
        if dtype.kind == "c" and self.weights.dtype.kind != "c":
            # a real kernel acts on real and imaginary parts alike
            part = np.zeros(0, dtype).real.dtype
            pair = np.concatenate([x.real, x.imag]).astype(part, copy=False)
            real, imag = np.split(function(pair, self.weights.astype(part, copy=False)), 2)
            return real + 1j * imag
        return function(x.astype(dtype, copy=False), self.weights.astype(dtype, copy=False))

    def _forward(self, x: Array, weights: Array) -> Array:
        extended = self.extension.extend(x)
        step = self.geometry.axes[-1].stride
        if step > 1:
            extended = _split(extended, step)
        return self._correlated(extended, weights, False, self.outputs)

    @cached_property
    def _forward_taps(self) -> _Taps:
        axes = self.geometry.axes
        step = axes[-1].stride
        shape = list(self.extension.shape)
        # (..., phases, places of a phase) on the last axis
        long = -(-shape[-1] // step)
        strides = _strides([*shape[:-1], long * step])
        bases = _outer_sum(
            [np.arange(a.outputs) * a.stride * s for a, s in zip(axes[:-1], strides, strict=False)]
        )
        reads = [np.arange(a.taps) * a.dilation for a in axes]
        last = reads[-1] % step * long + reads[-1] // step
        offsets = _outer_sum([*(r * s for r, s in zip(reads[:-1], strides, strict=False)), last])
        lines = np.arange(bases.size)
        zeros = np.zeros_like(lines)
        pieces = np.stack([lines, zeros, zeros + axes[-1].outputs, bases, zeros], 1)
        return _Taps(pieces, np.array([0, offsets.size]), np.arange(offsets.size), offsets, 1)

    def _transpose(self, y: Array, weights: Array) -> Array:
        source = self._extension_by_zeros.extend(y)
        sizes = tuple(stop - start for start, stop in map(_positions, self.geometry.axes))
        out = self._correlated(source, weights.swapaxes(1, 2), True, sizes)
        return self._folding.fold(out)

    @cached_property
    def _folding(self) -> Extension:
        """The fold that follows; nothing along axes with zeros outside."""
        axes = self.geometry.axes
        plain = (Axis(axis.size, 1, 1, 0, 0, 1, "zeros") for axis in axes)
        return Extension(tuple(p if a.reach == "zeros" else a for a, p in zip(axes, plain, strict=True)))

    @cached_property
    def _extension_by_zeros(self) -> Extension:
        """The extension of the small array by zeros: what the first and the last position read."""
        axes = []
        for axis in self.geometry.axes:
            _, stop = _positions(axis)
            after = max(0, (stop - 1) // axis.stride - axis.outputs + 1)
            axes.append(Axis(axis.outputs, 1, 1, _zeros_before(axis), after, 1, "zeros"))
        return Extension(tuple(axes))

    @cached_property
    def _transposed_taps(self) -> _Taps:
        axes = self.geometry.axes
        strides = _strides(self._extension_by_zeros.shape)
        lines = _strides([stop - start for start, stop in map(_positions, axes[:-1])])
        kernel = _strides(self.taps)
        pieces, bounds, chosen, offsets = [], [0], [], []
        for phases in product(*map(_phases_of, axes)):
            *leading, last = phases
            line = _outer_sum([p.places * s for p, s in zip(leading, lines, strict=True)])
            base = _outer_sum([p.sources * s for p, s in zip(leading, strides, strict=False)])
            piece = np.empty((line.size, 5), np.int64)
            piece[:, 0], piece[:, 1], piece[:, 2] = line, last.places[0], last.places.size
            piece[:, 3], piece[:, 4] = base + last.sources[0], len(bounds) - 1
            pieces.append(piece)
            taps = [phase.taps for phase in phases]
            chosen.append(_outer_sum([t * s for t, s in zip(taps, kernel, strict=True)]))
            steps = [-(t * a.dilation // a.stride) * s for t, a, s in zip(taps, axes, strides, strict=True)]
            offsets.append(_outer_sum(steps))
            bounds.append(bounds[-1] + chosen[-1].size)
        # in the order of the lines, so that neighbouring units share what is in cache
        table = np.concatenate(pieces)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        return _Taps(
            table, np.array(bounds), np.concatenate(chosen), np.concatenate(offsets), axes[-1].stride
        )

    def _correlated(self, source: Array, weights: Array, transposed: bool, sizes: tuple[int, ...]) -> Array:
        """Run the loops.

        Parameters
        ----------
        source : (batch, groups, sources, ...) array
        weights : (groups, results, sources, k1, ..., kd) array
        transposed : bool
        sizes : tuple of int
            Of the result.

        Returns
        -------
        (batch, groups, results, *sizes) array
        """
        from sparsetconv.methods import _compiled

        taps = self._transposed_taps if transposed else self._forward_taps
        batch, groups, channels = source.shape[:3]
        results = weights.shape[1]
        flat = np.ascontiguousarray(source).reshape(batch * groups, -1)
        positions = flat.shape[1] // channels
        key = transposed, weights.dtype.char
        if key not in self._prepared:
            self._prepared[key] = _listed(weights, taps, positions)
        offsets, values = self._prepared[key]
        out = np.empty((batch * groups, results, prod(sizes[:-1]), sizes[-1]), source.dtype)
        units = batch * groups * len(taps.pieces) * -(-int(taps.pieces[:, 2].max()) // TILE)
        bounds = taps.bounds * channels
        work = out.size * offsets.size // len(bounds)

        def run(first: int, last: int) -> None:
            _compiled.correlate(flat, values, out, taps.pieces, bounds, offsets, taps.step, TILE, first, last)

        _threaded(units, work, run)
        return out.reshape(batch, groups, results, *sizes)


def _listed(weights: Array, taps: _Taps, positions: int) -> tuple[Array, Array]:
    """Return offsets and weights list after list, each for all channels: a channel is an axis of taps."""
    groups, results, channels = weights.shape[:3]
    across = np.arange(channels) * positions
    by_tap = weights.reshape(groups, results, channels, -1)
    offsets, values = [], []
    for part in (slice(*pair) for pair in pairwise(taps.bounds)):
        offsets.append(np.add.outer(across, taps.offsets[part]).reshape(-1))
        values.append(by_tap[..., taps.chosen[part]].reshape(groups, results, -1))
    return np.concatenate(offsets), np.ascontiguousarray(np.concatenate(values, 2))


def _positions(axis: Axis) -> tuple[int, int]:
    """Return the range of extended positions that the transpose computes.

    With zeros outside it is the signal itself: what would be folded back is dropped.
    """
    if axis.reach == "zeros":
        return axis.before, axis.before + axis.size
    return 0, axis.high - axis.low + 1


def _zeros_before(axis: Axis) -> int:
    """Return how many zeros the transpose needs in front of the small axis; negative crops."""
    start, _ = _positions(axis)
    return max((axis.extent - 1) // axis.stride - start // axis.stride, 1 - axis.outputs)


def _phases_of(axis: Axis) -> list[_Phase]:
    """Divide the positions that the transpose computes by phase: ``stride`` lists of taps."""
    start, stop = _positions(axis)
    front = _zeros_before(axis)
    phases = []
    for phase in range(axis.stride):
        positions = np.arange(start + (phase - start) % axis.stride, stop, axis.stride)
        if positions.size:
            taps = [t for t in range(axis.taps) if t * axis.dilation % axis.stride == phase]
            sources = (positions - phase) // axis.stride + front
            phases.append(_Phase(np.array(taps, np.int64), positions - start, sources))
    return phases


def _strides(shape: Sequence[int]) -> list[int]:
    """Return the distance of neighbours along each axis of a C-order array."""
    return [prod(shape[number + 1 :]) for number in range(len(shape))]


def _outer_sum(parts: Sequence[Array]) -> Array:
    return reduce(lambda total, part: np.add.outer(total, part).reshape(-1), parts, np.zeros(1, np.int64))


def _wrapped(x: Array) -> Array:
    """Return integers as int64, modulo 2**64."""
    return x.view(np.int64) if x.dtype == np.uint64 else x.astype(np.int64, copy=False)


def _split(x: Array, phases: int) -> Array:
    """Return the last axis divided into phases, ``(..., phases, places)``, the end filled with zeros."""
    from sparsetconv.methods import _compiled

    lines = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = np.empty((len(lines), phases, -(-x.shape[-1] // phases)), x.dtype)
    _threaded(len(lines), x.size, lambda first, last: _compiled.split_phases(lines, out, first, last))
    return out.reshape(*x.shape[:-1], -1)


def _threaded(units: int, work: int, function: Callable[[int, int], None]) -> None:
    """Call ``function`` on ranges of units, in several threads where the work is worth it."""
    workers = max(1, min(thread_count(), units)) if work >= THREAD_WORK else 1
    cuts = [units * i // workers for i in range(workers + 1)]
    for_each(lambda i: function(cuts[i], cuts[i + 1]), range(workers), workers)
