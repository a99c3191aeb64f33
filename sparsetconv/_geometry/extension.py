"""Padding of arrays, and its adjoint.

`Extension` pads arrays for the methods that work on a padded array, and applies the adjoint, which adds the
padded elements to the samples that they repeat. `PaddingMode` defines the sample at each position.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._arrays.layout import last_axes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.types import Array, Index
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._geometry.padding import PaddingMode


def source_indices(axis: Axis, positions: Array) -> Array:
    """Return the samples that an axis reads at positions of the extension, -1 for a padded zero."""
    return samples_at(axis.effective_mode, axis.size, positions)


def samples_at(mode: PaddingMode, size: int, positions: Array) -> Array:
    """Return `PaddingMode.sample` of each position, -1 for a padded zero."""
    if mode.zero:
        return np.where((positions >= 0) & (positions < size), positions, -1)
    if mode.edge:
        return positions.clip(0, size - 1)
    period = mode.period(size)
    offsets = positions % period
    return np.where(offsets < size, offsets, period - mode.mirror - offsets)


class Run(NamedTuple):
    """Neighbouring positions whose samples are neighbours too.

    Attributes
    ----------
    start, stop : int
        The positions.
    sample : int
        The sample at the first position.
    step : int
        Step from one position's sample to the next one's: 1, -1, or 0 if all are the same sample.
    """

    start: int
    stop: int
    sample: int
    step: int

    @property
    def samples(self) -> slice:
        """The distinct samples, in the order of the positions."""
        last = self.sample + self.step * (self.stop - self.start - 1)
        if self.step >= 0:
            return slice(self.sample, last + 1)
        return slice(self.sample, last - 1 if last > 0 else None, -1)


def runs(axis: Axis, start: int, stop: int) -> Iterator[Run]:
    """Divide the positions from ``start`` to ``stop`` into runs; padded zeros are in none of them."""
    size, mode = axis.size, axis.effective_mode
    if mode.constant:
        pieces = [Run(max(start, 0), min(stop, size), max(start, 0), 1)]
        if mode.edge:
            pieces = [
                Run(start, min(stop, 0), 0, 0),
                *pieces,
                Run(max(start, size), stop, size - 1, 0),
            ]
        yield from (piece for piece in pieces if piece.start < piece.stop)
        return
    period = axis.period
    while start < stop:
        offset = start % period
        mirrored = offset >= size
        end = min(stop, start - offset + (period if mirrored else size))
        yield Run(start, end, period - mode.mirror - offset if mirrored else offset, 1 - 2 * mirrored)
        start = end


class _Pad(NamedTuple):
    """The positions on one side of a signal.

    Attributes
    ----------
    runs : tuple of Run
        They cover the pad, except for the periods of ``whole`` after its first one.
    whole : slice
        The positions of all whole periods.
    period : int
    """

    runs: tuple[Run, ...]
    whole: slice
    period: int


def _pad(axis: Axis, start: int, stop: int) -> _Pad:
    """Return the pad between two positions; the cost is that of one period, however many there are."""
    if axis.effective_mode.constant:
        return _Pad(tuple(runs(axis, start, stop)), slice(start, start), 1)
    period = axis.period
    first = -(-start // period) * period
    count = max(0, (stop - first) // period)
    if count < 2:
        return _Pad(tuple(runs(axis, start, stop)), slice(start, start), period)
    end = first + count * period
    return _Pad((*runs(axis, start, first + period), *runs(axis, end, stop)), slice(first, end), period)


class Extension:
    """Padding of arrays along a geometry's axes (`pad`), and its adjoint (`unpad`).

    Parameters
    ----------
    axes : sequence of Axis
        The spatial axes; they are the last axes of the arrays.
    xp : module
        NumPy or CuPy, depending on the arrays.

    Attributes
    ----------
    is_whole : bool
        Whether the padded array is the array itself.

    Notes
    -----
    The padded array holds, along each axis, the positions ``axis.low`` to ``axis.high``: what the
    convolution reads and no more, so that a valid convolution on it is the whole convolution.
    """

    def __init__(self, axes: tuple[Axis, ...], xp: Any = np) -> None:
        self.axes, self._xp = axes, xp
        self.shape = tuple(axis.high - axis.low + 1 for axis in axes)
        # if one side is cropped and the padding of the other reads samples from there, crop only at the end
        hulls = [
            (axis.low, axis.high)
            if axis.effective_mode.zero
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
        self.is_whole = all(
            hull == (0, axis.size - 1) and (axis.low, axis.high) == hull for axis, hull in spans
        )

    @cached_property
    def _pads(self) -> list[list[_Pad]]:
        """For each axis, the pads before and after the signal that are not empty."""
        return [
            []
            if axis.effective_mode.zero
            else [_pad(axis, *ends) for ends in ((low, 0), (axis.size, low + length)) if ends[0] < ends[1]]
            for axis, low, length in zip(self.axes, self._lows, self._hull, strict=True)
        ]

    def window(self, tap: tuple[int, ...]) -> Index:
        """Return the index of the elements of a padded array that one tap reads, for all outputs.

        Parameters
        ----------
        tap : tuple of int
            Index of the tap in the kernel.

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

    def target(self, out: Array | None) -> Array | None:
        """Return the array for a result that is then unpadded: ``out``, if unpadding leaves it as it is."""
        return out if self.is_whole else None

    def pad(self, x: Array) -> Array:
        """Return the padded array.

        Parameters
        ----------
        x : (..., n1, ..., nd) array

        Returns
        -------
        (..., l1, ..., ld) array
            May be ``x`` itself, or a view, where nothing is padded.
        """
        if self.is_whole:
            return x
        lead = x.shape[: x.ndim - len(self.axes)]
        if self._only_crops:
            cropped: Array = x[last_axes(self._inside)]
            return cropped
        self._require(lead, x.dtype)
        out: Array = self._xp.zeros(lead + self._hull, x.dtype)
        out[last_axes(self._placed)] = x[last_axes(self._inside)]
        for number, (low, pads) in enumerate(zip(self._lows, self._pads, strict=True)):
            view = self._xp.moveaxis(out, number - len(self.axes), 0)
            for pad in pads:
                for run in pad.runs:
                    view[run.start - low : run.stop - low] = view[-low:][run.samples]
                _repeat(view, pad, low)
        padded: Array = out[last_axes(self._crop)]
        return padded

    def unpad(self, z: Array) -> Array:
        """Return the adjoint of `pad` applied to ``z``, which may be overwritten.

        Parameters
        ----------
        z : (..., l1, ..., ld) array

        Returns
        -------
        (..., n1, ..., nd) array
            May be a view of ``z``.
        """
        if self.is_whole:
            return z
        lead = z.shape[: z.ndim - len(self.axes)]
        if self._hull != self.shape:
            self._require(lead, z.dtype)
            hull = self._xp.zeros(lead + self._hull, z.dtype)
            hull[last_axes(self._crop)] = z
            z = hull
        whole = z.size
        for number, (low, pads) in reversed(list(enumerate(zip(self._lows, self._pads, strict=True)))):
            view = self._xp.moveaxis(z, number - len(self.axes), 0)
            for pad in pads:
                _gather(view, pad, low)
                for run in pad.runs:
                    source = view[run.start - low : run.stop - low]
                    kept = view[-low:][run.samples]
                    kept += source if run.step else source.sum(0, z.dtype, keepdims=True)
        inside: Array = z[last_axes(self._placed)]
        sizes = tuple(axis.size for axis in self.axes)
        if inside.shape[len(lead) :] == sizes:
            # a view would keep a much larger padded array alive
            return inside.copy() if 2 * inside.size < whole else inside
        out: Array = self._xp.zeros(lead + sizes, z.dtype)
        out[last_axes(self._inside)] = inside
        return out

    def _require(self, lead: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Raise ``MemoryError`` if the padded array does not fit into memory (a GPU's allocator does so)."""
        if self._xp is np:
            nbytes = prod(lead + self._hull) * dtype.itemsize
            memory.require("the padded array", nbytes, "padding, stride and dilation set its size")


def _repeat(view: Array, pad: _Pad, low: int) -> None:
    """Copy the first of a pad's whole periods to the others, doubling the copied part each time."""
    at, end = pad.whole.start - low, pad.whole.stop - low
    done = pad.period
    while at + done < end:
        count = min(done, end - at - done)
        view[at + done : at + done + count] = view[at : at + count]
        done += count


def _gather(view: Array, pad: _Pad, low: int) -> None:
    """Add a pad's whole periods to the first one, halving the number that is left each time."""
    at, count = pad.whole.start - low, (pad.whole.stop - pad.whole.start) // pad.period
    while count > 1:
        half = count // 2
        view[at : at + half * pad.period] += view[at + (count - half) * pad.period : at + count * pad.period]
        count -= half
