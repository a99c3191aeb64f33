"""Method ``"direct"`` on a GPU: a stencil, one launch for a product in either direction.

Floor 3. The kernel is ``cuda/stencil.cu``; this module settles what a thread makes and which numbers the
kernel is compiled with. Sizes and padding are arguments, so that one compilation serves all of them.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv import _cuda
from sparsetconv._axis import PADDING_MODES
from sparsetconv.methods._base import Method

if TYPE_CHECKING:
    from sparsetconv._axis import Axis
    from sparsetconv._types import Array

THREADS = 128
# threads that a GPU wants at the least; results of one thread along an axis, the most that leaves so many
MANY_THREADS, RESULTS = 1 << 16, (8, 4, 2, 1)
# bytes of sums that one thread keeps in registers; channels that it makes at once
SUM_BYTES, CHANNELS = 128, 4


class _Plan(NamedTuple):
    """What the products of one direction, dtype and size of batch have in common."""

    kernel: Any
    numbers: Array
    blocks: int
    shape: tuple[int, ...]


class CudaDirectMethod(Method):
    """Every result is a sum of its own: nothing is padded, inserted or added by two threads.

    The same bits come out of every run. The first product of a kernel shape compiles, well under a second,
    and CuPy keeps the result on disk. Integers wrap around as NumPy's do.
    """

    name = "direct"

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._computed(x, False)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._computed(y, True)

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        """The weights by results and sources, forward and transposed."""
        contiguous = self.backend.xp.ascontiguousarray
        return contiguous(self.weights), contiguous(self.weights.swapaxes(1, 2))

    @cached_property
    def _plans(self) -> dict[tuple[int, bool, np.dtype[Any]], _Plan]:
        return {}

    def _computed(self, x: Array, transposed: bool) -> Array:
        dtype = np.result_type(x.dtype, self.weights.dtype)
        key = len(x), transposed, dtype
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans.setdefault(key, self._plan(*key))
        xp = self.backend.xp
        out: Array = xp.empty(plan.shape, dtype)
        arguments = plan.numbers, xp.ascontiguousarray(x, dtype), self._weights[transposed], out
        _cuda.launch(plan.kernel, plan.blocks, (THREADS,), arguments)
        return out

    def _plan(self, batch: int, transposed: bool, dtype: np.dtype[Any]) -> _Plan:
        """Settle what a thread makes, and how many there are."""
        sides = self.large_shape, self.small_shape
        (groups, results, *sizes), (_, sources, *_) = sides if transposed else sides[::-1]
        axes = self.geometry.axes
        channels = min(CHANNELS, results)
        rows = batch * groups * -(-results // channels)
        blocked = _blocked_axis(axes, transposed)
        most = max(1, SUM_BYTES // (dtype.itemsize * channels))
        each = next(n for n in RESULTS if n == 1 or (n <= most and rows * prod(sizes) // n >= MANY_THREADS))
        spread = THREADS if len(axes) == 1 and each > 1 else 1
        span = spread * (axes[blocked].stride if transposed else 1)
        lengths = list(sizes)
        lengths[blocked] = -(-lengths[blocked] // (each * span)) * span
        threads = rows * prod(lengths)
        constants = self.constants(dtype, transposed) | {
            "BLOCKED": str(blocked),
            "RESULTS": str(each),
            "CHANNELS": str(channels),
            "SPREAD": str(spread),
            "ID": number_type(threads, sizes[blocked] + each * span),
        }
        kernel = _cuda.kernel(self.backend, ("stencil.cu",), tuple(constants.items()), "stencil")
        numbers = [batch, groups, sources, results]
        for axis in axes:
            numbers += _axis_numbers(axis, transposed)
        shape = batch, groups, results, *sizes
        return _Plan(kernel, _cuda.by_value(numbers), -(-threads // THREADS), shape)

    def constants(self, dtype: np.dtype[Any], transposed: bool) -> dict[str, str]:
        """Return what a compilation knows of the kernel, for results of a dtype."""
        axes, weights = self.geometry.axes, self.weights.dtype
        # weights are multiplied in the precision of the result, real ones as real numbers
        factor = dtype if weights.kind == "c" or dtype.kind != "c" else np.zeros(0, dtype).real.dtype
        return {
            "NDIM": str(len(axes)),
            "TAPS": _cuda.braced(axis.taps for axis in axes),
            "STRIDE": _cuda.braced(axis.stride for axis in axes),
            "DILATION": _cuda.braced(axis.dilation for axis in axes),
            "TRANSPOSED": str(int(transposed)),
            "VALUE": _cuda.type_name(dtype),
            "WEIGHT": _cuda.type_name(weights),
            "FACTOR": _cuda.sum_name(factor),
            "SUM": _cuda.sum_name(dtype),
        }


def number_type(threads: int, length: int) -> str:
    """Return the type that numbers threads, and holds the blocked axis' length, rounded up."""
    return "unsigned int" if max(threads + THREADS, length) < 2**32 else "unsigned long long"


def _blocked_axis(axes: tuple[Axis, ...], transposed: bool) -> int:
    """Return the axis along which a thread's results share the most samples; never the last of several."""
    shared = [
        axis.taps / axis.stride if not transposed else -(-axis.taps // axis.stride) for axis in axes[:-1]
    ]
    return shared.index(max(shared)) if shared else 0


def _axis_numbers(axis: Axis, transposed: bool) -> list[int]:
    """Return the numbers of ``StencilAxis``."""
    source, result = (axis.outputs, axis.size) if transposed else (axis.size, axis.outputs)
    whole = axis.transposed_interior if transposed else axis.interior
    mode = PADDING_MODES.index(axis.reach)
    return [source, result, axis.before, mode, *whole, axis.low, axis.high]
