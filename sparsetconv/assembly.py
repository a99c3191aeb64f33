"""The arrays of a convolution's CSR matrix, for any range of its rows, in closed form.

Floor 2. An N-D convolution is the product of its axes, and so is its matrix. `_Writer` walks the axes
from the first to the last; at each it takes the rows of the axis' matrix in turn, contracts the kernel
with the row's fold, adds the row's columns to those so far, and goes on to the next axis; at the end of
the walk stands one row of the matrix. Rows that repeat with shifted columns (the interior of every
axis) are written once; their neighbours are copies of the whole block of entries plus a constant. So
almost everything is written by long copies straight into the final arrays: no triplets, no sorting, no
duplicates.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from sparsetconv._threads import for_each, thread_count
from sparsetconv.axis_rows import axis_rows
from sparsetconv.geometry import smallest_index_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._backend import Backend
    from sparsetconv._types import Array
    from sparsetconv.axis_rows import AxisRows, Template
    from sparsetconv.geometry import ConvGeometry

Box: TypeAlias = tuple[tuple[int, int], ...]

# blocks are doubled up to this many entries, so that copies have long inner loops and stay in cache
COPY_BLOCK = 1 << 14
# lines of at most this many entries (of the last axis) are written without repeating anything
LINE_ENTRIES = 1 << 9
# boxes of several channels have at most this many entries
BOX_ENTRIES = 1 << 17
# rows of a line that do not repeat are written in chunks of about this many entries (of the last axis)
CHUNK_ENTRIES = 1 << 16
# entries for which a second thread pays
THREAD_ENTRIES = 1 << 20


class MatrixLayout(NamedTuple):
    """Where the entries of a convolution's matrix lie, forward or transposed.

    Attributes
    ----------
    groups, row_channels, column_channels : int
        Channels are those of one group.
    axes : tuple of AxisRows
    """

    groups: int
    row_channels: int
    column_channels: int
    axes: tuple[AxisRows, ...]

    @classmethod
    def of(cls, geometry: ConvGeometry, transposed: bool) -> MatrixLayout:
        """Return the layout of a geometry's matrix, or of the transpose of it."""
        c_in, c_out = geometry.channels
        rows, columns = (c_in, c_out) if transposed else (c_out, c_in)
        axes = tuple(axis_rows(axis, transposed) for axis in geometry.axes)
        return cls(geometry.groups, rows, columns, axes)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the array whose C-order flattening the rows are: channels first."""
        return (self.groups * self.row_channels, *(axis.shape[0] for axis in self.axes))

    @property
    def column_sizes(self) -> tuple[int, ...]:
        """Spatial sizes on the side of the columns."""
        return tuple(axis.shape[1] for axis in self.axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return prod(self.row_shape), self.groups * self.column_channels * prod(self.column_sizes)

    def box_nnz(self, box: Box) -> int:
        """Return the entries of a box of rows, given as a range for each axis of `row_shape`."""
        (first, last), *ranges = box
        counts = (axis.count(*limits) for axis, limits in zip(self.axes, ranges, strict=True))
        return (last - first) * self.column_channels * prod(counts)

    def entries_before(self, row: int) -> int:
        """Return the entries of all rows before one, which may be the end."""
        places = []
        for size in reversed(self.row_shape[1:]):
            row, place = divmod(row, size)
            places.append(place)
        before, after = 0, 1
        # from the last axis to the first: what precedes within the line, the plane, and so on
        for axis, place in zip(reversed(self.axes), places, strict=True):
            before = axis.count(0, place) * after + axis.count(place, place + 1) * before
            after *= axis.axis.nnz
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
) -> tuple[int, np.dtype[Any]]:
    """Return how many entries some rows have, and the dtype of the indices; refuse what cannot be.

    Parameters
    ----------
    layout : MatrixLayout
    start, stop : int
        Range of rows.
    dtype : dtype
        Of the values.
    index_dtype : dtype or None
        The smallest that holds everything if None.
    backend : Backend
    """
    nnz = layout.entries_before(stop) - layout.entries_before(start)
    smallest = smallest_index_dtype(stop - start, layout.shape[1], nnz)
    index_dtype = smallest if index_dtype is None else np.dtype(index_dtype)
    if index_dtype.itemsize < smallest.itemsize:
        msg = (
            f"index_dtype must hold {max(stop - start, layout.shape[1], nnz)} (rows, columns or entries), "
            f"got {index_dtype}; use int64 or leave it out"
        )
        raise ValueError(msg)
    need = nnz * (dtype.itemsize + index_dtype.itemsize) + (stop - start + 1) * index_dtype.itemsize
    hint = "rows= assembles a part of it, an operator with method='direct' needs none"
    backend.require("the matrix", need, hint)
    return nnz, index_dtype


def csr_arrays(
    layout: MatrixLayout, weights: Array, start: int, stop: int, nnz: int, index_dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """Return ``data, indices, indptr`` of rows ``start`` to ``stop``, with global columns.

    Parameters
    ----------
    layout : MatrixLayout
    weights : (groups, row_channels, column_channels, k1, ..., kd) array
        Its dtype is that of ``data``.
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
    for_each(lambda job: _fill_box(layout, weights, *job), jobs, workers if threaded else 1)
    return data, indices, indptr


def _shares(start: int, stop: int, workers: int, inner: int) -> Iterator[tuple[int, int]]:
    """Divide rows among workers, where possible at multiples of ``inner``."""
    cuts = [start + (stop - start) * i // workers for i in range(1, workers)]
    rounded = [max(start, cut - cut % inner) for cut in cuts]
    return pairwise([start, *rounded, stop])


def _channel_parts(layout: MatrixLayout, box: Box) -> Iterator[Box]:
    """Divide a box by channels, so that what its channels share stays in cache."""
    (first, last), *ranges = box
    step = max(1, BOX_ENTRIES * (last - first) // max(1, layout.box_nnz(box)))
    for channel in range(first, last, step):
        yield ((channel, min(channel + step, last)), *ranges)


def _fill_box(
    layout: MatrixLayout, weights: Array, box: Box, data: Array, indices: Array, ends: Array, entry: int
) -> None:
    """Write the entries of a box of rows, the first of which is number ``entry`` of all.

    ``ends`` becomes the row pointers after each row. The channels of the box share their spatial layout:
    columns are written for the first channel and shifted for the others (to the columns of their group),
    values for all at once.
    """
    (first, last), *ranges = box
    channels = last - first
    _fill_pointers(layout, box, ends, entry)
    if not data.size:
        return
    size = prod(layout.column_sizes)
    groups = np.arange(first, last) // layout.row_channels
    bases = groups * (layout.column_channels * size)
    offsets = bases[0] + np.arange(layout.column_channels) * size
    values, columns = data.reshape(channels, -1), indices.reshape(channels, -1)
    writer = _Writer(layout.axes, ranges, values, columns[0])
    # (channels, column_channels, k1, ..., kd)
    chosen = weights.reshape(-1, *weights.shape[2:])[first:last]
    writer.write(0, chosen, offsets, 0)
    if channels > 1:
        shifts = (bases[1:] - bases[0]).astype(indices.dtype)
        np.add(columns[0], shifts[:, None], out=columns[1:])


def _fill_pointers(layout: MatrixLayout, box: Box, ends: Array, entry: int) -> None:
    """Write where each row of a box ends: along a line the row lengths are those of the last axis, scaled."""
    (first, last), *ranges = box
    upper = np.full(last - first, layout.column_channels, ends.dtype)
    for axis, limits in zip(layout.axes[:-1], ranges, strict=False):
        upper = np.multiply.outer(upper, axis.counts(*limits).astype(ends.dtype)).reshape(-1)
    along = layout.axes[-1].counts(*ranges[-1]).cumsum(dtype=ends.dtype)
    begins = np.empty_like(upper)
    begins[0] = entry
    np.cumsum(upper[:-1] * along[-1], out=begins[1:])
    begins[1:] += begins[0]
    lines = ends.reshape(upper.size, along.size)
    np.multiply.outer(upper, along, out=lines)
    lines += begins[:, None]


class _Writer:
    """One box of rows: where its entries go, and the walk that writes them.

    The last axis is written by lines: the table of its template rows is contracted with the kernel as a
    whole, then permuted from (columns so far, template row, column) to the order of the rows.
    """

    def __init__(
        self, axes: tuple[AxisRows, ...], ranges: list[tuple[int, int]], data: Array, indices: Array
    ) -> None:
        self.data = data  # (channels, entries)
        self.indices = indices  # (entries,)
        sizes = [axis.shape[1] for axis in axes]
        self.levels = [
            (axis, list(axis.clip(*limits)), prod(sizes[level + 1 :]))
            for level, (axis, limits) in enumerate(zip(axes[:-1], ranges, strict=False))
        ]
        self.last = axes[-1]
        self.chunks = self.last.chunks(*ranges[-1], LINE_ENTRIES, CHUNK_ENTRIES)
        self.orders: dict[tuple[int, int], tuple[Array, Array, Array]] = {}

    def write(self, level: int, weights: Array, columns: Array, entry: int) -> int:
        """Write the rows below one choice of rows of the axes before ``level``.

        Parameters
        ----------
        level : int
            The axis to walk.
        weights : (channels, u, k_level, ..., kd) array
            The kernel, folded along the axes before.
        columns : (u,) array
            Columns so far.
        entry : int
            Where to write next.

        Returns
        -------
        int
            Where the last entry written ends.
        """
        if not columns.size:
            return entry
        if level == len(self.levels):
            return self.write_line(weights, columns, entry)
        axis, segments, stride = self.levels[level]
        for start, period, repeat, shift in segments:
            first = entry
            for number in range(start, start + period):
                row = axis.row(number)
                folded = row.fold(weights, 2)
                inner = np.add.outer(columns, row.columns * stride).reshape(-1)
                folded = folded.reshape(folded.shape[0], inner.size, *folded.shape[3:])
                entry = self.write(level + 1, folded, inner, entry)
            entry = self.repeat(first, entry, repeat, shift * stride)
        return entry

    def write_line(self, weights: Array, columns: Array, entry: int) -> int:
        """Write the rows along the last axis; arguments as for `write`."""
        for number, chunk in enumerate(self.chunks):
            template = self.last.template(chunk)
            upper, lower, order = self.order(number, template, columns.size)
            values = template.joined.fold(weights, 2).reshape(weights.shape[0], -1).take(order, 1)
            line = columns.take(upper) + lower
            done = 0
            for count, repeat, shift in template.parts:
                length = count * columns.size
                stop = entry + length
                self.data[:, entry:stop] = values[:, done : done + length]
                self.indices[entry:stop] = line[done : done + length]
                entry, done = self.repeat(entry, stop, repeat, shift), done + length
        return entry

    def order(self, number: int, template: Template, count: int) -> tuple[Array, Array, Array]:
        """Return how a chunk of a line with ``count`` columns so far is put in order.

        Returns
        -------
        tuple of int arrays
            For each entry: which of the columns so far, its column on the last axis, and its place
            in the table ``(count, template columns)``.
        """
        known = self.orders.get((number, count))
        if known is None:
            numbers = template.numbers
            order = np.argsort(np.concatenate([numbers] * count), kind="stable")
            upper, place = np.divmod(order, max(1, numbers.size))
            known = upper, template.joined.columns.take(place), order
            if len(self.chunks) == 1:
                self.orders[number, count] = known
        return known

    def repeat(self, first: int, stop: int, repeat: int, shift: int) -> int:
        """Repeat the block of entries just written, columns shifted, and return where that ends."""
        length = stop - first
        if repeat == 1 or not length:
            return stop
        end = first + length * repeat
        repeat_block(self.data[:, first:end], length, 0)
        repeat_block(self.indices[first:end], length, shift)
        return end


def repeat_block(out: Array, length: int, shift: int) -> None:
    """Fill ``out`` with its first ``length`` entries again and again, ``shift`` added each time.

    Short blocks are doubled first, so that every operation has a long inner loop.

    Examples
    --------
    >>> out = np.array([3, 5, 0, 0, 0, 0])
    >>> repeat_block(out, 2, 10)
    >>> out
    array([ 3,  5, 13, 15, 23, 25])
    """
    total, done = out.shape[-1], length
    while done < COPY_BLOCK and done < total // 8:
        more = min(done, total - done)
        _shifted(out[..., :more], shift * (done // length), out[..., done : done + more])
        done += more
    count = total // done
    if count > 1:
        blocks = out[..., : count * done].reshape(*out.shape[:-1], count, done)
        if shift:
            steps = np.arange(1, count, dtype=out.dtype) * out.dtype.type(shift * (done // length))
            np.add(blocks[..., :1, :], steps[:, None], out=blocks[..., 1:, :])
        else:
            blocks[..., 1:, :] = blocks[..., :1, :]
    done *= count
    if done < total:
        rest = total - done
        _shifted(out[..., :rest], shift * (done // length), out[..., done:])


def _shifted(source: Array, shift: int, out: Array) -> None:
    if shift:
        np.add(source, out.dtype.type(shift), out=out)
    else:
        out[...] = source
