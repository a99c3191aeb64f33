"""A convolution, and its gradient with respect to the kernel, window by window in NumPy.

Floor 3, for `KernelOperator` on small problems: nothing is compiled, and a new kernel costs nothing. Each tap
of the kernel meets one window of the extended input; the product is a sum over taps of channel matrices times
windows, the gradient the inner product of the output with each window.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._kernel import last_axes
from sparsetconv.boundary import Extension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._types import Array, Index
    from sparsetconv.geometry import ConvGeometry


class Windows:
    """The windows of a geometry.

    Parameters
    ----------
    geometry : ConvGeometry
    xp : module
        NumPy or CuPy.
    """

    def __init__(self, geometry: ConvGeometry, xp: Any = np) -> None:
        self._xp = xp
        self._extension = Extension(geometry.axes, xp)
        self._taps = tuple(axis.taps for axis in geometry.axes)
        self._outputs = tuple(axis.outputs for axis in geometry.axes)

    def _each(self) -> Iterator[tuple[tuple[int, ...], Index]]:
        """Yield each tap, and what it reads of an extended array."""
        for tap in product(*map(range, self._taps)):
            yield tap, self._extension.window(tap)

    def forward(self, weights: Array, large: Array) -> Array:
        """Convolve ``(groups, c_in, n1, ..., nd)`` with ``(batch, groups, c_out, c_in, k1, ..., kd)``."""
        extended = self._extension.extend(large)
        out: Array = self._xp.zeros(
            (*weights.shape[:3], prod(self._outputs)), np.result_type(weights.dtype, large.dtype)
        )
        for tap, window in self._each():
            out += weights[last_axes(tap)] @ extended[window].reshape(*large.shape[:2], -1)
        return out

    def transpose(self, weights: Array, small: Array) -> Array:
        """Apply the transposes to ``(groups, c_out, m1, ..., md)``."""
        flat = small.reshape(*small.shape[:2], -1)
        batch, groups, _, c_in = weights.shape[:4]
        spread = self._xp.zeros(
            (batch, groups, c_in, *self._extension.shape), np.result_type(weights.dtype, small.dtype)
        )
        for tap, window in self._each():
            part = weights[last_axes(tap)].swapaxes(-1, -2) @ flat
            spread[window] += part.reshape(*part.shape[:3], *self._outputs)
        return self._extension.fold(spread)

    def gradient(self, large: Array, small: Array) -> Array:
        """Return the sums over outputs of input times output, as `KernelGradient` does."""
        extended = self._extension.extend(large)
        flat = small.reshape(*small.shape[:2], -1)
        channels = *small.shape[:2], large.shape[1]
        gradient: Array = self._xp.empty((*channels, *self._taps), np.result_type(large.dtype, small.dtype))
        for tap, window in self._each():
            met = extended[window].reshape(*large.shape[:2], -1)
            gradient[last_axes(tap)] = flat @ met.swapaxes(-1, -2)
        return gradient
