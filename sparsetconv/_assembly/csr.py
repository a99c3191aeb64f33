"""The arrays of a convolution's CSR matrix, for any range of its rows, in closed form.

An N-D convolution is the product of its axes, and so is its matrix. The rows are divided into boxes, each a
product of ranges of the axes. Sizes and row pointers are outer products, and `Writer` writes columns and
values straight into the final arrays: no triplets, no sorting, no duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from operator import call
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._assembly.axis_rows import axis_rows
from sparsetconv._assembly.formats import fitting_index_dtype, require_matrix
from sparsetconv._assembly.products import Level
from sparsetconv._assembly.row_pointers import pointer_jobs
from sparsetconv._assembly.templates import Template
from sparsetconv._assembly.writer import LIMITS, Writer, small_box, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.axis_rows import RunRows
    from sparsetconv._geometry.convolution import ConvGeometry

Box: TypeAlias = tuple[tuple[int, int], ...]
TemplateCopy: TypeAlias = "Callable[[Template, int, int, int, Array], None]"

PARTS_OR_PRODUCTS = "rows= assembles a part of it, an operator with method='direct' needs no matrix"

# boxes of several channels have at most this many entries
BOX_ENTRIES = 1 << 17
# boxes of at least TEMPLATE_SHARE times the entries of a template are copied from one of at most
# TEMPLATE_ENTRIES entries
TEMPLATE_SHARE, TEMPLATE_ENTRIES = 8, 1 << 19
# entries from which on threads pay
THREAD_ENTRIES = 1 << 20
# entries from which on compiled loops may be used: NumPy writes fewer in some hundredths of a second
COMPILED_ENTRIES = 1 << 19


class ChannelSteps(NamedTuple):
    """Increments of a channel index from one group, row channel or column channel to the next."""

    group: int
    row: int
    column: int


@dataclass(frozen=True)
class MatrixLayout:
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
        size, steps = prod(self.column_sizes), self.column_steps
        group, row = divmod(first, self.row_channels)
        base = (group * steps.group + row * steps.row) * size
        offsets = base + np.arange(self.column_channels) * (steps.column * size)
        if last == first + 1:
            return offsets, np.empty(0, np.int64)
        groups, rows = np.divmod(np.arange(first + 1, last), self.row_channels)
        return offsets, (groups * steps.group + rows * steps.row) * size - base

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

    @cached_property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the array, channels first, whose elements in C order correspond to the rows."""
        return (self.groups * self.row_channels, *(axis.shape[0] for axis in self.axes))

    @cached_property
    def column_sizes(self) -> tuple[int, ...]:
        """Spatial sizes of the array whose elements correspond to the columns."""
        return tuple(axis.shape[1] for axis in self.axes)

    @cached_property
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
    if (start, stop) == (0, prod(shape)):
        yield tuple((0, size) for size in shape)
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
    require_matrix(backend, need, layout.shape[1], hint)
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
    shared = nnz >= THREAD_ENTRIES
    workers = thread_count() if shared else 1
    compiles = nnz >= COMPILED_ENTRIES
    data = np.empty(nnz, weights.dtype)
    indices = np.empty(nnz, index_dtype)
    indptr = np.empty(stop - start + 1, index_dtype)
    indptr[0] = 0
    pieces: list[_Piece] = []
    pointers: list[Callable[[], None]] = []
    entry, row = 0, 1
    for box in boxes(layout.row_shape, start, stop):
        for part, outer in _divided(layout, box, workers) if shared else [(box, None)]:
            count = layout.box_nnz(part)
            rows = prod(last - first for first, last in part)
            pieces.append(_Piece(layout, part, outer, entry, count))
            pointers += pieces[-1].pointer_jobs(indptr[row : row + rows])
            entry, row = entry + count, row + rows
    writes: list[Callable[[], None]] = [
        partial(piece.write, weights, data, indices, compiles) for piece in pieces
    ]
    for_each(call, writes, workers)
    copies = _copies([piece for piece in pieces if piece.template], data, indices, workers)
    for_each(call, [*pointers, *copies], workers)
    return data, indices, indptr


def _divided(layout: MatrixLayout, box: Box, workers: int) -> Iterator[tuple[Box, int | None]]:
    """Divide a box for threads; yield parts, and the axis that repeats a `Template`, or None.

    Most boxes are copies of few rows: threads share the copies, not the rows. Otherwise they share the rows.
    """
    (first, last), *ranges = box
    levels = Level.each(layout.axes, ranges)
    outer = next((at for at, (low, high) in enumerate(ranges) if high - low > 1), len(ranges) - 1)
    channels, (low, high) = last - first, ranges[outer]
    # entries of a channel, and about as many as are in its template
    entries = layout.column_channels * prod(level.entries for level in levels)
    size = entries * levels[outer].rows() // (high - low)
    if size <= min(TEMPLATE_ENTRIES, entries // TEMPLATE_SHARE):
        step = max(1, min(TEMPLATE_ENTRIES // max(1, size), -(-channels // workers)))
        yield from ((part, outer) for part in _steps(box, 0, step))
    elif channels > 1:
        yield from ((part, None) for part in _steps(box, 0, max(1, BOX_ENTRIES // entries)))
    else:
        # rows of many entries, as the planes of a volume are, may be copies of few lines each
        single = 1 < high - low <= entries // THREAD_ENTRIES and outer + 1 < len(ranges)
        for part in _steps(box, outer + 1, 1 if single else -(-(high - low) // workers)):
            if single:
                yield from _divided(layout, part, workers)
            else:
                yield part, None


def _steps(box: Box, axis: int, step: int) -> Iterator[Box]:
    """Divide a box along one axis."""
    low, high = box[axis]
    for at in range(low, high, step):
        yield (*box[:axis], (at, min(at + step, high)), *box[axis + 1 :])


class _Piece:
    """A box of rows whose entries begin at ``entry``.

    If ``outer`` is an axis, `write` makes a template, from which `copy` writes any part of the entries.
    Otherwise `write` writes them all.
    """

    def __init__(
        self,
        layout: MatrixLayout,
        box: Box,
        outer: int | None,
        entry: int,
        count: int,
    ) -> None:
        (self.first, self.last), *self.ranges = box
        self.layout, self.outer, self.entry, self.count = layout, outer, entry, count
        self.template: Template | None = None

    def pointer_jobs(self, ends: Array) -> Iterator[Callable[[], None]]:
        """Yield jobs that write the end of each row."""
        layout = self.layout
        return pointer_jobs(
            layout.axes, self.ranges, self.last - self.first, layout.column_channels, ends, self.entry
        )

    def write(self, weights: Array, all_data: Array, all_indices: Array, compiles: bool) -> None:
        """Write the entries, or make their template.

        The channels of the box share their spatial layout: columns are written for the first channel and
        shifted for the others (to the columns of their group), values are written for all channels at once.
        ``compiles`` permits compiled loops.
        """
        if not self.count:
            return
        layout, place = self.layout, slice(self.entry, self.entry + self.count)
        data, indices = (
            array[place].reshape(self.last - self.first, -1) for array in (all_data, all_indices)
        )
        offsets, shifts = layout.offsets(self.first, self.last)
        # if sums of the user's weights overflow, do not warn: compiled loops do not either
        with np.errstate(over="ignore", invalid="ignore"):
            weights = layout.extended(layout.weights_of(weights, self.first, self.last))
            if indices.shape[1] <= LIMITS.whole and not compiles:
                rows = small_box(layout.axes, self.ranges, weights, offsets)
                data[...], indices[0] = rows.weights, rows.columns
            else:
                levels = Level.each(layout.axes, self.ranges)
                if self.outer is not None:
                    self.template = template_of(
                        levels, self.outer, weights, offsets, [0, *shifts.tolist()], indices.dtype, compiles
                    )
                    return
                Writer(levels, data, indices[0], offsets.size, compiles).write(0, weights, offsets, 0)
        if shifts.size:
            np.add(indices[0], shifts.astype(indices.dtype)[:, None], out=indices[1:])

    def copy(self, start: int, stop: int, out: Array, copy: TemplateCopy) -> None:
        """Write the values, or columns, of blocks of the template that begin in a range of entries.

        Parameters
        ----------
        start, stop : int
            Among all entries.
        out : (entries,) array
            The values, or columns, of all entries.
        copy : function
            The template's method.
        """
        if self.template is None:
            return
        size = self.count // (self.last - self.first)
        for channel in range(self.last - self.first):
            entry = self.entry + channel * size
            if start < entry + size and entry < stop:
                copy(self.template, channel, start - entry, stop - entry, out[entry : entry + size])


def _copies(pieces: list[_Piece], data: Array, indices: Array, workers: int) -> Iterator[Callable[[], None]]:
    """Yield jobs that write all entries of boxes that have templates.

    Each writes a part of memory in one piece, since threads wait for each other where they touch the same
    fresh page.
    """
    size = sum(piece.count for piece in pieces)
    for out, copy in (data, Template.copy_values), (indices, Template.copy_columns):
        for worker in range(workers if size else 0):
            yield partial(_share, pieces, size * worker // workers, size * (worker + 1) // workers, out, copy)


def _share(pieces: list[_Piece], start: int, stop: int, out: Array, copy: TemplateCopy) -> None:
    """Write a range of the entries of some boxes, counted as if nothing were between the boxes."""
    before = 0
    for piece in pieces:
        moved = piece.entry - before
        if start < before + piece.count and before < stop:
            piece.copy(start + moved, stop + moved, out, copy)
        before += piece.count
