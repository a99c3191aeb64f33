"""Method ``"direct"``: a compiled stencil over the padded input."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._threads import for_each, thread_count
from sparsetconv.methods._base import PaddedMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._types import Array


# multiplications for which a second thread pays
THREAD_WORK = 1 << 20


class DirectMethod(PaddedMethod):
    """Lines of the output accumulate scaled lines of the input; no zero is ever inserted.

    The first call for a dtype compiles (about a second, kept on disk by numba). Integers are summed in
    64 bits and wrap around as NumPy's do.
    """

    name = "direct"

    @cached_property
    def _offsets(self) -> tuple[Array, Array]:
        """First position of each line, and the distance of each tap, in the flat extended array."""
        shape = self.extension.shape
        steps = [prod(shape[i + 1 :]) for i in range(len(shape))]
        axes = self.geometry.axes
        bases = _outer_sum(
            [np.arange(a.outputs) * a.stride * s for a, s in zip(axes[:-1], steps, strict=False)]
        )
        offsets = _outer_sum([np.arange(a.taps) * a.dilation * s for a, s in zip(axes, steps, strict=True)])
        return bases, offsets

    @cached_property
    def _leading(self) -> tuple[Array, Array, Array, Array]:
        """Positions, outputs, strides and dilated taps of all axes but the last."""
        axes = self.geometry.axes[:-1]
        places = [range(0, axis.extent, axis.dilation) for axis in axes]
        return (
            np.array(self.extension.shape[:-1], np.int64),
            np.array([axis.outputs for axis in axes], np.int64),
            np.array([axis.stride for axis in axes], np.int64),
            np.array(list(product(*places)), np.int64),  # (leading taps, leading axes)
        )

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
        from sparsetconv.methods import _compiled

        batch, groups, c_in = x.shape[:3]
        c_out, step = weights.shape[1], self.geometry.axes[-1].stride
        extended = np.ascontiguousarray(self.extension.extend(x)).reshape(batch * groups, c_in, -1)
        bases, offsets = self._offsets
        out = np.empty((batch * groups, c_out, bases.size, self.outputs[-1]), x.dtype)
        flat = np.ascontiguousarray(weights).reshape(groups, c_out, c_in, -1)
        units = batch * groups * bases.size * -(-self.outputs[-1] // _compiled.TILE)
        self._threaded(
            units, batch, lambda a, b: _compiled.correlate(extended, flat, out, bases, offsets, step, a, b)
        )
        return out.reshape(batch, groups, c_out, *self.outputs)

    def _transpose(self, y: Array, weights: Array) -> Array:
        from sparsetconv.methods import _compiled

        batch, groups, c_out = y.shape[:3]
        c_in, axis = weights.shape[2], self.geometry.axes[-1]
        source = np.ascontiguousarray(y).reshape(batch * groups, c_out, -1, self.outputs[-1])
        shape = self.extension.shape
        out = np.empty((batch * groups, c_in, prod(shape[:-1]), shape[-1]), y.dtype)
        flat = np.ascontiguousarray(weights).reshape(groups, c_out, c_in, -1, self.taps[-1])
        units = batch * groups * out.shape[2] * -(-shape[-1] // _compiled.TILE)
        lead = self._leading
        self._threaded(
            units,
            batch,
            lambda a, b: _compiled.scatter(source, flat, out, *lead, axis.dilation, axis.stride, a, b),
        )
        return self.extension.fold(out.reshape(batch, groups, c_in, *shape))

    def _threaded(self, units: int, batch: int, function: Callable[[int, int], None]) -> None:
        work = batch * self.weights.size * prod(self.outputs)
        workers = min(thread_count(), units) if work >= THREAD_WORK else 1
        workers = max(1, workers)
        cuts = [units * i // workers for i in range(workers + 1)]
        for_each(lambda i: function(cuts[i], cuts[i + 1]), range(workers), workers)


def _outer_sum(parts: list[Array]) -> Array:
    total = np.zeros(1, np.int64)
    for part in parts:
        total = np.add.outer(total, part).reshape(-1)
    return total


def _wrapped(x: Array) -> Array:
    """Return integers as int64, modulo 2**64."""
    return x.view(np.int64) if x.dtype == np.uint64 else x.astype(np.int64, copy=False)
