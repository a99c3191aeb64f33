"""The arrays of a convolution's CSR matrix, for any range of its rows, in closed form.

An N-D convolution is the product of its axes, and so is its matrix. The rows are divided into boxes, each a
product of ranges of the axes. Sizes and row pointers are outer products, and `Writer` writes columns and
values straight into the final arrays: no triplets, no sorting, no duplicates.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._assembly.axis_rows import axis_rows
from sparsetconv._assembly.formats import check_columns, fitting_index_dtype
from sparsetconv._assembly.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.axis_rows import RunRows
    from sparsetconv._geometry.convolution import ConvGeometry

Box: TypeAlias = tuple[tuple[int, int], ...]

PARTS_OR_PRODUCTS = "rows= assembles a part of it, an operator with method='direct' needs no matrix"

# boxes of several channels have at most this many entries
BOX_ENTRIES = 1 << 17
# entries from which on threads pay
THREAD_ENTRIES = 1 << 20
# entries from which on compiled loops may be used: NumPy writes fewer in some hundredths of a second
COMPILED_ENTRIES = 1 << 19


class ChannelSteps(NamedTuple):
    """Increments of a channel index from one group, row channel or column channel to the next."""

    group: int
    row: int
    column: int


class MatrixLayout(NamedTuple):
    """Where the entries of a convolution's matrix lie, forward or transposed.

    Attributes
    ----------
    groups, row_channels, column_channels : int
        Number of groups, and the channels of one group along the rows and along the columns.
    axes : tuple of RunRows
    """

    groups: int
    row_channels: int
    column_channels: int
    axes: tuple[RunRows, ...]

    @classmethod
    def of(cls, geometry: ConvGeometry, transposed: bool) -> MatrixLayout:
        """Return the layout of a geometry's matrix, or of the transpose of it."""
        c_in, c_out = geometry.channels
        rows, columns = (c_in, c_out) if transposed else (c_out, c_in)
        axes = tuple(axis_rows(axis, transposed) for axis in geometry.axes)
        return cls(geometry.groups, rows, columns, axes)

    @property
    def column_steps(self) -> ChannelSteps:
        """The steps of a column's channel."""
        return ChannelSteps(self.column_channels, 0, 1)

    @property
    def weight_steps(self) -> ChannelSteps:
        """The steps of a weight's channel, among all channels of ``weights``."""
        return ChannelSteps(self.row_channels * self.column_channels, self.column_channels, 1)

    def offsets(self, first: int, last: int) -> tuple[Array, Array]:
        """Return the first column of each column channel in row channel ``first``, and later ones' shifts.

        The second array has, for each row channel in ``range(first + 1, last)``, the offset of its columns
        from those of row channel ``first``.
        """
        size = prod(self.column_sizes)
        steps = self.column_steps
        group, row = np.divmod(np.arange(first, last), self.row_channels)
        bases = (group * steps.group + row * steps.row) * size
        return bases[0] + np.arange(self.column_channels) * (steps.column * size), bases[1:] - bases[0]

    def weights_of(self, weights: Array, first: int, last: int) -> Array:
        """Return the ``(last - first, column_channels, k1, ..., kd)`` weights of some row channels."""
        return weights.reshape(-1, *weights.shape[2:])[first:last]

    def extended(self, weights: Array) -> Array:
        """Return ``(..., k1, ..., kd)`` weights with the sums that the axes' rows refer to as extra taps.

        Weights of single precision are summed in double precision.
        """
        if not any(axis.extends for axis in self.axes):
            return weights
        dtype = weights.dtype
        wide = np.result_type(dtype, np.float64) if dtype.kind in "fc" else dtype
        sums = weights.astype(wide)
        with np.errstate(over="ignore", invalid="ignore"):
            for at, axis in enumerate(self.axes, -len(self.axes)):
                if axis.extends:
                    sums = axis.extended(sums, at)
            return sums.astype(dtype, copy=False)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the array, channels first, whose elements in C order correspond to the rows."""
        return (self.groups * self.row_channels, *(axis.shape[0] for axis in self.axes))

    @property
    def column_sizes(self) -> tuple[int, ...]:
        """Spatial sizes of the array whose elements correspond to the columns."""
        return tuple(axis.shape[1] for axis in self.axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return prod(self.row_shape), self.groups * self.column_channels * prod(self.column_sizes)

    def box_nnz(self, box: Box) -> int:
        """Return the number of entries of a box of rows, given as a range for each axis of `row_shape`."""
        (first, last), *ranges = box
        counts = (axis.count(*limits) for axis, limits in zip(self.axes, ranges, strict=True))
        return (last - first) * self.column_channels * prod(counts)

    def entries_before(self, row: int) -> int:
        """Return the number of entries of all rows before ``row``; ``row`` may be the number of rows."""
        places = []
        for size in reversed(self.row_shape[1:]):
            row, place = divmod(row, size)
            places.append(place)
        before, after = 0, 1
        # from the last axis to the first: the entries before the row in its line, in its plane, and so on
        for axis, place in zip(reversed(self.axes), places, strict=True):
            before = axis.count(0, place) * after + axis.count(place, place + 1) * before
            after *= axis.count(0, axis.shape[0])
        return self.column_channels * (row * after + before)


def boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[Box]:
    """Divide a range of a C-order flattening into boxes, in order; at most ``2 * len(shape) - 1``.

    Examples
    --------
    >>> list(boxes((4, 10), 7, 23))
    [((0, 1), (7, 10)), ((1, 2), (0, 10)), ((2, 3), (0, 3))]
    """
    if start >= stop:
        return
    if len(shape) == 1:
        yield ((start, stop),)
        return
    inner = prod(shape[1:])
    (first, head), (last, tail) = divmod(start, inner), divmod(stop, inner)
    if first == last:
        yield from (((first, first + 1), *rest) for rest in boxes(shape[1:], head, tail))
        return
    if head:
        yield from (((first, first + 1), *rest) for rest in boxes(shape[1:], head, inner))
        first += 1
    if first < last:
        yield ((first, last), *((0, size) for size in shape[1:]))
    yield from (((last, last + 1), *rest) for rest in boxes(shape[1:], 0, tail))


def matrix_size(
    layout: MatrixLayout,
    start: int,
    stop: int,
    dtype: np.dtype[Any],
    index_dtype: np.dtype[Any] | None,
    backend: Backend,
    hint: str = PARTS_OR_PRODUCTS,
) -> tuple[int, np.dtype[Any]]:
    """Return the number of entries of rows ``start`` to ``stop``, and the dtype of the indices.

    Parameters
    ----------
    layout : MatrixLayout
    start, stop : int
        Range of rows.
    dtype : dtype
        Of the values.
    index_dtype : dtype or None
        None for the smallest that holds all indices.
    backend : Backend
    hint : str
        End of the message of a ``MemoryError``: an alternative that needs less memory.

    Raises
    ------
    ValueError
        If ``index_dtype`` is too small.
    MemoryError
        If the arrays do not fit into memory.
    """
    nnz = sum(map(layout.box_nnz, boxes(layout.row_shape, start, stop)))
    index_dtype = fitting_index_dtype(index_dtype, stop - start, layout.shape[1], nnz)
    need = nnz * (dtype.itemsize + index_dtype.itemsize) + (stop - start + 1) * index_dtype.itemsize
    backend.require("the matrix", need, hint)
    check_columns(layout.shape[1])
    return nnz, index_dtype


def csr_arrays(
    layout: MatrixLayout, weights: Array, start: int, stop: int, nnz: int, index_dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """Return ``data, indices, indptr`` of rows ``start`` to ``stop``, with global columns.

    Parameters
    ----------
    layout : MatrixLayout
    weights : (groups, row_channels, column_channels, k1, ..., kd) array
        ``data`` has the same dtype.
    start, stop : int
        Range of rows.
    nnz, index_dtype : int, dtype
        From `matrix_size`.
    """
    shape = layout.row_shape
    workers = thread_count()
    pieces = list(boxes(shape, start, stop))
    threaded = nnz >= THREAD_ENTRIES and workers > 1
    if nnz >= THREAD_ENTRIES:
        inner = prod(shape[1:]) // shape[1] if shape[0] == 1 else prod(shape[1:])
        shares = _shares(start, stop, workers, inner)
        pieces = [
            part for share in shares for box in boxes(shape, *share) for part in _channel_parts(layout, box)
        ]
    data = np.empty(nnz, weights.dtype)
    indices = np.empty(nnz, index_dtype)
    indptr = np.empty(stop - start + 1, index_dtype)
    indptr[0] = 0
    jobs, entry, row = [], 0, 1
    for box in pieces:
        count = layout.box_nnz(box)
        rows = prod(last - first for first, last in box)
        arrays = data[entry : entry + count], indices[entry : entry + count], indptr[row : row + rows]
        jobs.append((box, *arrays, entry))
        entry, row = entry + count, row + rows
    compiles = nnz >= COMPILED_ENTRIES
    for_each(lambda job: _fill_box(layout, weights, *job, compiles), jobs, workers if threaded else 1)
    return data, indices, indptr


def _shares(start: int, stop: int, workers: int, inner: int) -> Iterator[tuple[int, int]]:
    """Divide rows among workers, where possible at multiples of ``inner``."""
    cuts = [start + (stop - start) * i // workers for i in range(1, workers)]
    rounded = [max(start, cut - cut % inner) for cut in cuts]
    return pairwise([start, *rounded, stop])


def _channel_parts(layout: MatrixLayout, box: Box) -> Iterator[Box]:
    """Divide a box by channels, so that the columns that its channels share stay in cache."""
    (first, last), *ranges = box
    step = max(1, BOX_ENTRIES * (last - first) // max(1, layout.box_nnz(box)))
    for channel in range(first, last, step):
        yield ((channel, min(channel + step, last)), *ranges)


def _fill_box(
    layout: MatrixLayout,
    weights: Array,
    box: Box,
    data: Array,
    indices: Array,
    ends: Array,
    entry: int,
    compiles: bool,
) -> None:
    """Write the entries of a box of rows; ``entry`` is the number of entries before the box.

    The end of each row is written to ``ends``. The channels of the box share their spatial layout:
    columns are written for the first channel and shifted for the others (to the columns of their group),
    values are written for all channels at once. ``compiles`` permits compiled loops.
    """
    (first, last), *ranges = box
    channels = last - first
    counts = [axis.counts(*limits) for axis, limits in zip(layout.axes, ranges, strict=True)]
    _fill_pointers(np.full(channels, layout.column_channels, ends.dtype), counts, ends, entry)
    if not data.size:
        return
    offsets, shifts = layout.offsets(first, last)
    values, columns = data.reshape(channels, -1), indices.reshape(channels, -1)
    writer = Writer(layout.axes, ranges, counts, offsets.size, values, columns[0], compiles)
    # if sums of the user's weights overflow, do not warn: compiled loops do not either
    with np.errstate(over="ignore", invalid="ignore"):
        writer.write(0, layout.extended(layout.weights_of(weights, first, last)), offsets, 0)
    if channels > 1:
        np.add(columns[0], shifts.astype(indices.dtype)[:, None], out=columns[1:])


def _fill_pointers(upper: Array, counts: list[Array], ends: Array, entry: int) -> None:
    """Write the end of each row of a box; along a line, row lengths are a multiple of the last axis' own."""
    for numbers in counts[:-1]:
        upper = np.multiply.outer(upper, numbers.astype(ends.dtype)).reshape(-1)
    along = counts[-1].cumsum(dtype=ends.dtype)
    begins = np.empty_like(upper)
    begins[0] = entry
    np.cumsum(upper[:-1] * along[-1], out=begins[1:])
    begins[1:] += begins[0]
    lines = ends.reshape(upper.size, along.size)
    np.multiply.outer(upper, along, out=lines)
    lines += begins[:, None]
