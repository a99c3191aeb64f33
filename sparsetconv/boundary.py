"""What stands outside a signal, as arrays: the infinite extension, and its adjoint.

Floor 1. `Extension` pads arrays, and folds the pads back, for the methods that work on a padded array;
the integer rules are those of ``_axis``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._axis import extension_period
from sparsetconv._kernel import last_axes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._axis import Axis
    from sparsetconv._types import Array, Index


def source_indices(axis: Axis, positions: Array) -> Array:
    """Return the samples at positions of the extension, -1 for a padded zero."""
    size, mode = axis.size, axis.reach
    if mode == "zeros":
        return np.where((positions >= 0) & (positions < size), positions, -1)
    if mode == "replicate":
        return positions.clip(0, size - 1)
    period = extension_period(mode, size)
    folded = positions % period
    return np.where(folded < size, folded, period - folded - (mode == "symmetric"))


class _Piece(NamedTuple):
    """Padded positions that read neighbouring samples: ``step`` is 1, -1 or 0 (all the same one)."""

    positions: slice
    samples: slice
    step: int


class Extension:
    """Pad arrays as a geometry's axes say, and the adjoint, which folds the pads back.

    Parameters
    ----------
    axes : sequence of Axis
        The spatial axes; they are the last axes of the arrays.
    xp : module
        NumPy or CuPy, whichever the arrays are of.

    Notes
    -----
    The extended array holds, along each axis, the positions ``axis.low`` to ``axis.high``: what the
    convolution reads and no more, so that a valid convolution on it is the whole convolution.
    """

    def __init__(self, axes: tuple[Axis, ...], xp: Any = np) -> None:
        self.axes, self._xp = axes, xp
        self.shape = tuple(axis.high - axis.low + 1 for axis in axes)
        # where one side is cropped and the other reads samples from there, crop only at the end
        hulls = [
            (axis.low, axis.high)
            if axis.reach == "zeros"
            else (min(axis.low, 0), max(axis.high, axis.size - 1))
            for axis in axes
        ]
        spans = list(zip(axes, hulls, strict=True))
        self._lows = [low for low, _ in hulls]
        self._hull = tuple(high - low + 1 for low, high in hulls)
        self._inside = tuple(
            slice(max(low, 0), max(min(high + 1, axis.size), max(low, 0))) for axis, (low, high) in spans
        )
        self._placed = tuple(
            slice(inside.start - low, inside.stop - low)
            for inside, (low, _) in zip(self._inside, hulls, strict=True)
        )
        self._crop = tuple(
            slice(axis.low - low, axis.low - low + length)
            for (axis, (low, _)), length in zip(spans, self.shape, strict=True)
        )
        self._only_crops = all(
            size == inside.stop - inside.start for size, inside in zip(self._hull, self._inside, strict=True)
        )
        self._whole = all(
            hull == (0, axis.size - 1) and (axis.low, axis.high) == hull for axis, hull in spans
        )

    @cached_property
    def _pieces(self) -> list[list[_Piece]]:
        return [
            [] if axis.reach == "zeros" else list(_pieces(axis, low, low + length - 1))
            for axis, low, length in zip(self.axes, self._lows, self._hull, strict=True)
        ]

    def window(self, tap: tuple[int, ...]) -> Index:
        """Return the index of what one tap reads in an extended array, for all outputs.

        Parameters
        ----------
        tap : tuple of int
            Its place in the kernel.

        Returns
        -------
        index
            ``array[index]`` is a ``(..., m1, ..., md)`` view of a ``(..., l1, ..., ld)`` array.
        """
        starts = (t * axis.dilation for t, axis in zip(tap, self.axes, strict=True))
        return last_axes(
            slice(start, start + (axis.outputs - 1) * axis.stride + 1, axis.stride)
            for start, axis in zip(starts, self.axes, strict=True)
        )

    def extend(self, x: Array) -> Array:
        """Return the extended array.

        Parameters
        ----------
        x : (..., n1, ..., nd) array

        Returns
        -------
        (..., l1, ..., ld) array
            May be ``x`` itself, or a view, where nothing is padded.
        """
        if self._whole:
            return x
        lead = x.shape[: x.ndim - len(self.axes)]
        if self._only_crops:
            cropped: Array = x[last_axes(self._inside)]
            return cropped
        out: Array = self._xp.zeros(lead + self._hull, x.dtype)
        out[last_axes(self._placed)] = x[last_axes(self._inside)]
        for number, pieces in enumerate(self._pieces):
            view = self._xp.moveaxis(out, number - len(self.axes), 0)
            for piece in pieces:
                view[piece.positions] = view[piece.samples]
        extended: Array = out[last_axes(self._crop)]
        return extended

    def fold(self, z: Array) -> Array:
        """Return the adjoint of `extend` applied to ``z``, which may be overwritten.

        Parameters
        ----------
        z : (..., l1, ..., ld) array

        Returns
        -------
        (..., n1, ..., nd) array
            May be a view of ``z``.
        """
        if self._whole:
            return z
        lead = z.shape[: z.ndim - len(self.axes)]
        if self._hull != self.shape:
            hull = self._xp.zeros(lead + self._hull, z.dtype)
            hull[last_axes(self._crop)] = z
            z = hull
        for number, pieces in reversed(list(enumerate(self._pieces))):
            view = self._xp.moveaxis(z, number - len(self.axes), 0)
            for piece in pieces:
                source = view[piece.positions]
                view[piece.samples] += source if piece.step else source.sum(0, z.dtype, keepdims=True)
        folded: Array = z[last_axes(self._placed)]
        sizes = tuple(axis.size for axis in self.axes)
        if folded.shape[len(lead) :] == sizes:
            return folded
        out: Array = self._xp.zeros(lead + sizes, z.dtype)
        out[last_axes(self._inside)] = folded
        return out


def _pieces(axis: Axis, low: int, high: int) -> Iterator[_Piece]:
    """Divide the padded positions from ``low`` to ``high`` into runs of neighbouring samples."""
    for start, stop in ((low, 0), (axis.size, high + 1)):
        if start >= stop:
            continue
        samples = source_indices(axis, np.arange(start, stop))
        steps = np.diff(samples)
        # a run ends where the step changes; the jump of a wrapped period is a run's end as well
        at = 0
        while at < samples.size:
            step = int(steps[at]) if at < steps.size else 1
            step = step if abs(step) <= 1 else 1
            run = at + 1
            while run < samples.size and steps[run - 1] == step:
                run += 1
            first = int(samples[at])
            last = first + step * (run - at - 1)
            yield _Piece(
                slice(start + at - low, start + run - low), _inclusive(first - low, last - low, step), step
            )
            at = run


def _inclusive(first: int, last: int, step: int) -> slice:
    if step >= 0:
        return slice(first, last + 1)
    return slice(first, last - 1 if last > 0 else None, -1)
