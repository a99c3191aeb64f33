"""Method ``"gemm"``: channels and taps as one matrix product, tile by tile.

Floor 3. For a tile of results, what all taps read of all channels is copied into a panel that stays in cache,
and the kernel as a matrix multiplies it. The input is never unfolded as a whole. The transposed direction is
the same, once for each phase of the strides, on the small array extended by zeros.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._axis import Axis
from sparsetconv._backend import NUMPY
from sparsetconv._kernel import last_axes
from sparsetconv.boundary import Extension
from sparsetconv.methods._base import PaddedMethod, folding, joined_parts, real_parts
from sparsetconv.methods._sides import polyphase, read_range, zeros_around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._backend import Backend
    from sparsetconv._types import Array, Index
    from sparsetconv.geometry import ConvGeometry

# bytes of a panel: what a core's cache holds, or enough to keep a GPU busy
PANEL_BYTES = {"numpy": 1 << 21, "cupy": 1 << 28}


class _AxisPhase(NamedTuple):
    """Results of one axis that meet the same taps.

    Attributes
    ----------
    taps : sequence of int
    reads : sequence of int
        What each tap reads for the first result, in the extended source.
    step : int
        From there to what it reads for the next result.
    results : slice
    """

    taps: Sequence[int]
    reads: Sequence[int]
    step: int
    results: slice

    @property
    def places(self) -> slice:
        """The taps as a slice; they are equally spaced."""
        if not self.taps:
            return slice(0, 0)
        step = self.taps[1] - self.taps[0] if len(self.taps) > 1 else 1
        return slice(self.taps[0], self.taps[-1] + 1, step)

    @property
    def number(self) -> int:
        return len(range(self.results.start, self.results.stop, self.results.step))


class _Direction:
    """One direction: how the source is extended, and the phases of its results.

    Parameters
    ----------
    extension : Extension
    axes : sequence of list of _AxisPhase
    sizes : tuple of int
        Of the results.
    weights : (groups, results, channels, k1, ..., kd) array
    backend : Backend
    """

    def __init__(
        self,
        extension: Extension,
        axes: Sequence[list[_AxisPhase]],
        sizes: tuple[int, ...],
        weights: Array,
        backend: Backend,
    ) -> None:
        self._extension, self._sizes, self._results = extension, sizes, weights.shape[1]
        self._xp, self._panel_bytes = backend.xp, PANEL_BYTES[backend.name]
        self._phases = list(product(*axes))
        self._weights = weights
        self._matrices: dict[np.dtype[Any], list[Array]] = {}

    def _of_dtype(self, dtype: np.dtype[Any]) -> list[Array]:
        """Return the kernel as matrices ``(groups, results, channels * taps)``, one for each phase."""
        known = self._matrices.get(dtype)
        if known is not None:
            return known
        weights, matrices = self._weights, []
        for phases in self._phases:
            chosen = weights[last_axes(phase.places for phase in phases)]
            width = prod(chosen.shape[2:])
            own = chosen.reshape(*weights.shape[:2], width)
            matrices.append(self._xp.ascontiguousarray(own, dtype))
        return self._matrices.setdefault(dtype, matrices)

    def product(self, x: Array, dtype: np.dtype[np.generic]) -> Array:
        """Return the results for ``(batch, groups, channels, ...)``."""
        if dtype.kind == "c" and self._weights.dtype.kind != "c":
            # a real kernel acts on real and imaginary parts alike
            parts = real_parts(x.astype(dtype, copy=False), self._xp)
            return joined_parts(self.product(parts, parts.dtype), dtype, self._xp)
        extended = self._extension.extend(x.astype(dtype, copy=False))
        out: Array = self._xp.empty((*x.shape[:2], self._results, *self._sizes), dtype)
        for phases, weights in zip(self._phases, self._of_dtype(dtype), strict=True):
            first, *others = phases
            row = (
                max(1, weights.shape[0] * weights.shape[2]) * prod(p.number for p in others) * dtype.itemsize
            )
            step = max(1, self._panel_bytes // row)
            for item, start in product(range(len(x)), range(0, first.number, step)):
                count = min(step, first.number - start)
                panel = self._panel(extended[item], phases, start, count)
                begin = first.results.start + start * first.results.step
                rows = slice(begin, begin + (count - 1) * first.results.step + 1, first.results.step)
                place: Index = (item, ..., rows, *(phase.results for phase in others))
                target = out[place]
                target[...] = (weights @ panel).reshape(target.shape)
        return out

    def _panel(self, source: Array, phases: Sequence[_AxisPhase], start: int, count: int) -> Array:
        """Return what ``count`` rows of results read: ``(groups, channels * taps, results)``."""
        counts = (count, *(phase.number for phase in phases[1:]))
        starts = (start, *(0 for _ in phases[1:]))
        steps = [phase.step for phase in phases]
        panel: Array = self._xp.empty(
            (*source.shape[:2], prod(len(p.taps) for p in phases), *counts), source.dtype
        )
        for tap, reads in enumerate(product(*(phase.reads for phase in phases))):
            window = last_axes(
                slice(read + first * step, read + (first + number - 1) * step + 1, step)
                for read, first, number, step in zip(reads, starts, counts, steps, strict=True)
            )
            if panel.shape[2] == 1 and panel.size:
                # a single tap: often no copy at all
                panel = source[window]
                break
            panel[:, :, tap] = source[window]
        return panel.reshape(source.shape[0], -1, prod(counts))


class GemmMethod(PaddedMethod):
    """BLAS products of the kernel with panels of the extended source; best with many channels."""

    name = "gemm"

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        geometry, weights = self.geometry, self.weights
        xp = backend.xp
        forward, backward, zeros, sizes = [], [], [], []
        for axis in geometry.axes:
            taps = range(axis.taps)
            reads = [t * axis.dilation for t in taps]
            forward.append([_AxisPhase(taps, reads, axis.stride, slice(0, axis.outputs, 1))])
            start, stop = read_range(axis)
            phases = []
            for own, read, bases, positions in polyphase(axis, start, stop):
                results = slice(int(positions[0]) - start, int(positions[-1]) - start + 1, axis.stride)
                phases.append(_AxisPhase(own.tolist(), (read + bases[0]).tolist(), 1, results))
            backward.append(phases)
            zeros.append(Axis(axis.outputs, 1, 1, *zeros_around(axis, start, stop), 1, "zeros"))
            sizes.append(stop - start)
        outputs = tuple(axis.outputs for axis in geometry.axes)
        self._folding = folding(geometry.axes, xp)
        self._forward = _Direction(Extension(geometry.axes, xp), forward, outputs, weights, backend)
        zeros_outside = Extension(tuple(zeros), xp)
        across = weights.swapaxes(1, 2)
        self._backward = _Direction(zeros_outside, backward, tuple(sizes), across, backend)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._forward.product(x, np.result_type(x.dtype, self.weights.dtype))

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._folding.fold(self._backward.product(y, np.result_type(y.dtype, self.weights.dtype)))
