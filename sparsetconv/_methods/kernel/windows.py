"""A convolution and its gradient with respect to the kernel, with one array operation per tap.

`KernelOperator` uses this for small problems: nothing is compiled, and a new kernel needs no preparation. A
window is the strided slice of the padded input that one tap reads. The product is a sum over taps of a
channel matrix times a window; the gradient of a tap is the inner product of its window with the output.
Windows leave out padded zeros, so that NaN and infinity in the kernel are not multiplied by zero.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.layout import last_axes
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._methods.base import padding_of, quiet

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array, Index
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._geometry.convolution import ConvGeometry


class Windows:
    """A convolution and its gradient by windows, for one geometry.

    Parameters
    ----------
    geometry : ConvGeometry
    xp : module
        NumPy or CuPy.
    """

    def __init__(self, geometry: ConvGeometry, xp: Any = np) -> None:
        self._xp = xp
        self._axes = geometry.axes
        self._extension = padding_of(geometry.axes, xp)
        self._taps = tuple(axis.taps for axis in geometry.axes)
        self._outputs = tuple(axis.outputs for axis in geometry.axes)

    @cached_property
    def _windows(self) -> list[tuple[Index, Index, Index, tuple[int, ...]]]:
        """For each tap that reads a sample: the indices of tap, outputs and window, and a window's shape."""
        windows = []
        for tap in product(*map(range, self._taps)):
            parts = [_part(axis, t) for axis, t in zip(self._axes, tap, strict=True)]
            counts = tuple(outputs.stop - outputs.start for outputs, _ in parts)
            if all(counts):
                outputs, reads = (last_axes(side) for side in zip(*parts, strict=True))
                windows.append((last_axes(tap), outputs, reads, counts))
        return windows

    @quiet
    def forward(self, weights: Array, large: Array, out: Array | None = None) -> Array:
        """Convolve ``(groups, c_in, n1, ..., nd)`` with ``(batch, groups, c_out, c_in, k1, ..., kd)``."""
        padded = self._extension.pad(large)
        dtype = np.result_type(weights.dtype, large.dtype)
        out = result_array(out, (*weights.shape[:3], *self._outputs), dtype, self._xp, zeros=True)
        for tap, outputs, reads, counts in self._windows:
            part = weights[tap] @ padded[reads].reshape(*large.shape[:2], -1)
            out[outputs] += part.reshape(*part.shape[:3], *counts)
        return out

    @quiet
    def transpose(self, weights: Array, small: Array, out: Array | None = None) -> Array:
        """Apply the transposes to ``(groups, c_out, m1, ..., md)``."""
        batch, groups, _, c_in = weights.shape[:4]
        shape, dtype = (
            (batch, groups, c_in, *self._extension.shape),
            np.result_type(weights.dtype, small.dtype),
        )
        spread = result_array(self._extension.target(out), shape, dtype, self._xp, zeros=True)
        for tap, outputs, reads, counts in self._windows:
            part = weights[tap].swapaxes(-1, -2) @ small[outputs].reshape(*small.shape[:2], -1)
            spread[reads] += part.reshape(*part.shape[:3], *counts)
        return placed(self._extension.unpad(spread), out)

    @quiet
    def gradient(self, large: Array, small: Array) -> Array:
        """Return the sums over outputs of window times output; see `KernelGradient`."""
        padded = self._extension.pad(large)
        channels = *small.shape[:2], large.shape[1]
        gradient: Array = self._xp.zeros((*channels, *self._taps), np.result_type(large.dtype, small.dtype))
        for tap, outputs, reads, _ in self._windows:
            met = padded[reads].reshape(*large.shape[:2], -1)
            gradient[tap] = small[outputs].reshape(*small.shape[:2], -1) @ met.swapaxes(-1, -2)
        return gradient


def _part(axis: Axis, tap: int) -> tuple[slice, slice]:
    """Return the outputs for which a tap reads a sample, and what they read of the padded input."""
    first, last = 0, axis.outputs
    start = tap * axis.dilation
    if axis.effective_mode.zero:
        start -= axis.before
        first = min(max(0, -(start // axis.stride)), last)
        last = max(first, min(last, (axis.size - 1 - start) // axis.stride + 1))
        start += first * axis.stride
    return slice(first, last), slice(start, start + (last - first - 1) * axis.stride + 1, axis.stride)
