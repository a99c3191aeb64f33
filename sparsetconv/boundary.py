"""Axis maps as arrays: which samples an output reads, and the infinite extension with its adjoint.

Floor 1. `AxisRows` gives the rows of one axis' matrix to the assembly, forward or transposed;
`Extension` pads arrays, and folds the pads back, for the methods that work on a padded array. Both
rest on the integer rules of ``_axis``.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from sparsetconv._axis import extension_period, source_copies
from sparsetconv._kernel import last_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sparsetconv._axis import Axis, Segment
    from sparsetconv._types import Array, Index


T = TypeVar("T")

# axes with at most this many taps are kept between calls, and of each at most so many rows
KEPT_TAPS = 64
KEPT_LENGTH = 1024


class Row(NamedTuple):
    """What one row of an axis' matrix holds.

    Attributes
    ----------
    columns : (c,) int64 array
        Columns, ascending, each once.
    taps : slice or int array
        The kernel taps, those of a column next to each other.
    starts : (c,) int array or None
        Where in ``taps`` each column's taps begin; None where each column has one. Contracting the
        kernel with this fold is a segmented sum.
    """

    columns: Array
    taps: slice | Array
    starts: Array | None

    def fold(self, weights: Array, axis: int) -> Array:
        """Sum the taps of each column: the kernel's axis becomes an axis of columns."""
        if isinstance(self.taps, slice):
            return weights[(slice(None),) * axis + (self.taps,)]
        chosen = weights.take(self.taps, axis)
        if self.starts is None:
            return chosen
        folded: Array = np.add.reduceat(chosen, self.starts, axis, weights.dtype)
        return folded


class Template(NamedTuple):
    """Several rows of an axis side by side, as one row.

    Attributes
    ----------
    joined : Row
        Columns and taps of all rows, one after the other.
    numbers : (c,) int array
        Which of the rows each column belongs to.
    parts : tuple of (int, int, int)
        Groups of rows: the number of their columns, how often they stand there, the shift of the columns.
    """

    joined: Row
    numbers: Array
    parts: tuple[tuple[int, int, int], ...]


EMPTY_ROW = Row(np.empty(0, np.int64), slice(0, 0), None)


def _joined(columns: Array, rows: list[Row]) -> Row:
    """Return rows side by side, with the given columns."""
    taps = [np.arange(t.start, t.stop) if isinstance(t, slice) else t for t in (row.taps for row in rows)]
    starts = None
    if any(row.starts is not None for row in rows):
        offsets = accumulate((t.size for t in taps), initial=0)
        starts = np.concatenate(
            [
                at + (np.arange(row.columns.size) if row.starts is None else row.starts)
                for at, row in zip(offsets, rows, strict=False)
            ]
        )
    return Row(columns, np.concatenate(taps), starts)


def _merged(columns: Array, taps: Array) -> Row:
    """Return a row from (column, tap) pairs in any order."""
    order = np.lexsort((taps, columns))
    columns, taps = columns[order], taps[order]
    first = np.ones(columns.size, bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    if first.all():
        return Row(columns, taps, None)
    return Row(columns[first], taps, np.flatnonzero(first))


class AxisRows:
    """The matrix of one axis by rows, forward or transposed.

    Parameters
    ----------
    axis : Axis
    transposed : bool
        Forward: a row for each output, columns are samples. Transposed: a row for each sample,
        columns are outputs.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    segments : tuple of Segment
        Runs of rows that repeat with shifted columns.
    """

    def __init__(self, axis: Axis, transposed: bool) -> None:
        self.axis = axis
        self.transposed = transposed
        self.shape = (axis.size, axis.outputs) if transposed else (axis.outputs, axis.size)
        self.segments = axis.transposed_segments if transposed else axis.segments
        self._kept: dict[Hashable, Any] = {}

    def _keep(self, key: Hashable, make: Callable[[], T], size: int) -> T:
        """Return what was made for a key before, or make it, and keep it unless that would take much."""
        known: T | None = self._kept.get(key)
        if known is None:
            known = make()
            if size <= KEPT_LENGTH and len(self._kept) < KEPT_LENGTH:
                self._kept[key] = known
        return known

    def clip(self, start: int, stop: int) -> Iterator[Segment]:
        """Yield the segments within a range of rows."""
        if (start, stop) == (0, self.shape[0]):
            yield from self.segments
            return
        for segment in self.segments:
            if segment.start < stop and segment.stop > start:
                yield from segment.clip(start, stop)

    def row(self, number: int) -> Row:
        """Return one row; border rows recur in an N-D matrix, so they are kept."""
        make = self._transposed_row if self.transposed else self._forward_row
        return self._keep(number, lambda: make(number), 1)

    def template(self, start: int, stop: int, whole: int) -> Template:
        """Return the rows of a range that the others repeat, side by side.

        Parameters
        ----------
        start, stop : int
            Range of rows.
        whole : int
            Where the range has at most this many entries, all its rows are returned.
        """
        return self._keep((start, stop, whole), lambda: self._template(start, stop, whole), 1)

    def _template(self, start: int, stop: int, whole: int) -> Template:
        whole_range = self.count(start, stop) <= whole
        rows, shifts, parts = [], [], []
        for first, period, repeat, shift in self.clip(start, stop):
            group = [self.row(number) for number in range(first, first + period)]
            times = repeat if whole_range else 1
            rows += group * times
            shifts += [shift * time for time in range(times) for _ in group]
            parts.append((sum(row.columns.size for row in group), repeat // times, shift))
        if whole_range:
            parts = [(sum(row.columns.size for row in rows), 1, 0)]
        sizes = [row.columns.size for row in rows]
        columns = np.concatenate([row.columns for row in rows]) + np.repeat(shifts, sizes)
        return Template(_joined(columns, rows), np.repeat(np.arange(len(rows)), sizes), tuple(parts))

    def counts(self, start: int, stop: int) -> Array:
        """Return the number of entries of each row in a range."""
        return self._keep((start, stop), lambda: self._counts(start, stop), stop - start)

    def _counts(self, start: int, stop: int) -> Array:
        counts = np.empty(stop - start, np.int64)
        at = 0
        for first, period, repeat, _ in self.clip(start, stop):
            end = at + period * repeat
            counts[at:end].reshape(repeat, period)[...] = self._row_counts(first, period)
            at = end
        return counts

    def count(self, start: int, stop: int) -> int:
        """Return the number of entries in a range of rows."""
        if (start, stop) == (0, self.shape[0]):
            return self.axis.nnz
        return sum(
            repeat * sum(self._row_counts(first, period))
            for first, period, repeat, _ in self.clip(start, stop)
        )

    def _row_counts(self, first: int, period: int) -> list[int]:
        numbers = range(first, first + period)
        if self.transposed:
            return [self.row(number).columns.size for number in numbers]
        return [self.axis.row_count(number) for number in numbers]

    def _forward_row(self, output: int) -> Row:
        axis = self.axis
        first = axis.first(output)
        if axis.reach == "zeros" or 0 <= first <= axis.size - axis.extent:
            low = max(0, -(first // axis.dilation))
            high = min(axis.taps, (axis.size - 1 - first) // axis.dilation + 1)
            if low >= high:
                return EMPTY_ROW
            start, step = first + low * axis.dilation, axis.dilation
            columns = np.arange(start, start + (high - low) * step, step)
            return Row(columns, slice(low, high), None)
        taps = np.arange(axis.taps)
        return _merged(source_indices(axis, first + taps * axis.dilation), taps)

    def _transposed_row(self, sample: int) -> Row:
        axis = self.axis
        copies = source_copies(axis.reach, axis.size, sample, axis.low, axis.high)
        taps = np.arange(axis.taps)[::-1]
        # (copies, taps): the output that would read this copy through this tap, times the stride
        steps = np.array(copies, np.int64)[:, None] + axis.before - taps * axis.dilation
        valid = (steps >= 0) & (steps < axis.outputs * axis.stride) & (steps % axis.stride == 0)
        columns = steps[valid] // axis.stride
        met = np.broadcast_to(taps, valid.shape)[valid]
        return Row(columns, met, None) if len(copies) == 1 else _merged(columns, met)


@lru_cache(maxsize=64)
def _kept_rows(axis: Axis, transposed: bool) -> AxisRows:
    return AxisRows(axis, transposed)


def axis_rows(axis: Axis, transposed: bool) -> AxisRows:
    """Return an axis' rows, for short kernels those that were made for the same axis before."""
    return (_kept_rows if axis.taps <= KEPT_TAPS else AxisRows)(axis, transposed)


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

    Notes
    -----
    The extended array holds, along each axis, the positions ``axis.low`` to ``axis.high``: what the
    convolution reads and no more, so that a valid convolution on it is the whole convolution.
    """

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        self.axes = axes
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
        out = np.zeros(lead + self._hull, x.dtype)
        out[last_axes(self._placed)] = x[last_axes(self._inside)]
        for number, pieces in enumerate(self._pieces):
            view = np.moveaxis(out, number - len(self.axes), 0)
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
        """
        if self._whole:
            return z
        lead = z.shape[: z.ndim - len(self.axes)]
        if self._hull != self.shape:
            hull = np.zeros(lead + self._hull, z.dtype)
            hull[last_axes(self._crop)] = z
            z = hull
        for number, pieces in reversed(list(enumerate(self._pieces))):
            view = np.moveaxis(z, number - len(self.axes), 0)
            for piece in pieces:
                source = view[piece.positions]
                view[piece.samples] += source if piece.step else source.sum(0, z.dtype, keepdims=True)
        out = np.zeros(lead + tuple(axis.size for axis in self.axes), z.dtype)
        out[last_axes(self._inside)] = z[last_axes(self._placed)]
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
