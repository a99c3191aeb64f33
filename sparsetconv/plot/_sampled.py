"""The pattern of a matrix at the resolution of a picture, from a sample of its rows.

This is used for matrices with more entries than a picture can show. The pattern of an operator's matrix is
the Kronecker product of one pattern per axis, and a row or column of each of these is a few arithmetic
progressions. So a line of pixels is computed from a few integers, in a time that does not depend on the
sizes.
"""

from __future__ import annotations

from functools import partial
from math import ceil, prod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp

from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._geometry.counting import congruence
from sparsetconv._geometry.extension import source_indices
from sparsetconv.operators._base import AdjointCore, GramCore, TransposedCore
from sparsetconv.operators._channels_last import ChannelsLastOperator
from sparsetconv.operators._convolution import Convolution
from sparsetconv.operators._kernel import KernelCore
from sparsetconv.operators._resize import ResizeCore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis

    # line(number, most): the entries of a row or column, ascending, thinned evenly to about ``most``
    Line = Callable[[int, int], Array]

# rows sampled for each row of pixels: of an operator, and of a matrix, whose rows may all differ
SAMPLES, MATRIX_SAMPLES = 3, 32


class AxisPattern(NamedTuple):
    """The pattern of the matrix of one axis, by row and by column."""

    rows: int
    columns: int
    row: Line
    column: Line

    def transposed(self) -> AxisPattern:
        return AxisPattern(self.columns, self.rows, self.column, self.row)

    def gram(self) -> AxisPattern:
        """Return the pattern of the Gram matrix: the transpose times the matrix."""

        def row(number: int, most: int) -> Array:
            met = [self.row(int(middle), most) for middle in self.column(number, SAMPLES)]
            return np.unique(np.concatenate([np.empty(0, np.int64), *met]))

        return AxisPattern(self.columns, self.columns, row, row)


class Rows(Protocol):
    """A matrix whose rows can be read one by one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def sample(self, start: int, stop: int) -> Sequence[int]:
        """Return the indices of a few rows in a range."""

    def pixels(self, row: int, width: int) -> Array:
        """Return the pixels in which a row has entries, if ``width`` pixels show all columns."""


class ProductRows:
    """The Kronecker product of the patterns of axes, the first axis outermost."""

    def __init__(self, axes: Sequence[AxisPattern]) -> None:
        self.axes = axes
        self.shape = prod(axis.rows for axis in axes), prod(axis.columns for axis in axes)

    def sample(self, start: int, stop: int) -> Sequence[int]:
        last = stop - 1 - start
        return sorted({start + last * part // (SAMPLES - 1) for part in range(SAMPLES)})

    def pixels(self, row: int, width: int) -> Array:
        columns, inner = self.shape[1], self.shape[1]
        lines = []
        for axis, number in zip(self.axes, _place(row, [axis.rows for axis in self.axes]), strict=True):
            # two entries for each of the pixels that one entry of the axes before covers
            lines.append(axis.row(number, 2 * ceil(width * inner / columns) + 2))
            inner //= axis.columns
        if not all(line.size for line in lines):
            return np.empty(0, np.int64)
        found, prefixes, inner = [], np.zeros(1), columns
        for axis, line in zip(self.axes, lines, strict=True):
            inner //= axis.columns
            # exact below 2**53; beyond, the error is less than a pixel
            prefixes = (prefixes[:, None] * axis.columns + line).ravel()
            first = np.floor(prefixes * (inner * width) / columns)
            last = np.floor(((prefixes + 1) * inner - 1) * width / columns)
            found.append(first[first == last])
            prefixes = prefixes[first != last]
        return np.concatenate(found).astype(np.int64).clip(0, width - 1)


def _place(row: int, sizes: list[int]) -> list[int]:
    """Return the indices of a flat index, as Python integers of any size."""
    place = []
    for size in reversed(sizes):
        row, index = divmod(row, size)
        place.append(index)
    return place[::-1]


class MatrixRows:
    """The rows of a CSR matrix."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.shape: tuple[int, int] = matrix.shape

    def sample(self, start: int, stop: int) -> Sequence[int]:
        # sample entries, not rows: rows without entries show nothing
        pointers = self.matrix.indptr
        entries = _thinned(range(int(pointers[start]), int(pointers[stop])), MATRIX_SAMPLES)
        # in the dtype of the pointers, all of which NumPy would otherwise convert
        found = np.searchsorted(pointers, entries.astype(pointers.dtype), "right") - 1
        rows: list[int] = np.unique(found).tolist()
        return rows

    def pixels(self, row: int, width: int) -> Array:
        start, stop = self.matrix.indptr[row : row + 2]
        step = max(1, int(stop - start) // (4 * width))
        columns: Array = self.matrix.indices[start:stop:step].astype(np.int64)
        return columns * width // self.shape[1]


def _thinned(numbers: range, most: int) -> Array:
    """Return a range as an array; if it is longer than ``most``, ``most`` evenly spaced numbers of it."""
    if len(numbers) <= most:
        return np.arange(numbers.start, numbers.stop, numbers.step)
    last = len(numbers) - 1
    places = np.linspace(0, last, most).astype(np.int64).clip(0, last)
    return numbers.start + places * numbers.step


def _solutions(a: int, b: int, total: int, most_x: int, most_y: int) -> range:
    """Return the ``x`` below ``most_x`` for which a ``y`` below ``most_y`` has ``a * x + b * y == total``."""
    solutions = congruence(a, total, b)
    if solutions is None:
        return range(0)
    return solutions.within(max(0, -((b * (most_y - 1) - total) // a)), min(most_x, total // a + 1))


def _copies(axis: Axis, sample: int, most: int) -> Array:
    """Return the positions of the extension that are read and hold a sample, thinned to about ``most``."""
    runs = [range(max(sample, axis.low), min(sample, axis.high) + 1)]
    mode = axis.effective_mode
    if mode.edge:
        runs += [range(axis.low, 0)] if sample == 0 else []
        runs += [range(axis.size, axis.high + 1)] if sample == axis.size - 1 else []
    elif not mode.zero:
        anchors = {sample, -sample - mode.mirror} if mode.mirrored else {sample}
        firsts = [axis.low + (anchor - axis.low) % axis.period for anchor in anchors]
        runs = [range(first, axis.high + 1, axis.period) for first in firsts]
    return np.concatenate([_thinned(run, most) for run in runs])


def _readers(axis: Axis, sample: int, most: int, taps: bool) -> Array:
    """Return the outputs that read a sample, or the taps through which it is read."""
    numbers = (axis.dilation, axis.stride) if taps else (axis.stride, axis.dilation)
    sizes = (axis.taps, axis.outputs) if taps else (axis.outputs, axis.taps)
    totals = (int(copy) + axis.before for copy in _copies(axis, sample, most))
    found = [_thinned(_solutions(*numbers, total, *sizes), most) for total in totals]
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _taps_of(axis: Axis, output: int) -> range:
    """Return the taps of an output that read a sample rather than a padded zero."""
    if not axis.effective_mode.zero:
        return range(axis.taps)
    first = axis.first(output)
    return range(
        max(0, -(first // axis.dilation)), min(axis.taps, (axis.size - 1 - first) // axis.dilation + 1)
    )


def _outputs_of(axis: Axis, tap: int) -> range:
    """Return the outputs for which a tap reads a sample rather than a padded zero."""
    if not axis.effective_mode.zero:
        return range(axis.outputs)
    first = tap * axis.dilation - axis.before
    return range(
        max(0, -(first // axis.stride)), min(axis.outputs, (axis.size - 1 - first) // axis.stride + 1)
    )


def _convolution(axis: Axis) -> AxisPattern:
    """Return the pattern of outputs by samples."""

    def samples(output: int, most: int) -> Array:
        taps = _thinned(_taps_of(axis, output), most)
        return np.unique(source_indices(axis, axis.first(output) + taps * axis.dilation))

    return AxisPattern(axis.outputs, axis.size, samples, partial(_readers, axis, taps=False))


def _kernel(axis: Axis, flip: bool, transposed: bool) -> AxisPattern:
    """Return the pattern of outputs by taps; of samples by taps if transposed."""

    def as_given(taps: Array) -> Array:
        return axis.taps - 1 - taps[::-1] if flip else taps

    def taps(number: int, most: int) -> Array:
        if transposed:
            return as_given(_readers(axis, number, most, taps=True))
        return as_given(_thinned(_taps_of(axis, number), most))

    def others(tap: int, most: int) -> Array:
        forward = axis.taps - 1 - tap if flip else tap
        outputs = _thinned(_outputs_of(axis, forward), most)
        if not transposed:
            return outputs
        return np.unique(source_indices(axis, outputs * axis.stride + forward * axis.dilation - axis.before))

    return AxisPattern(axis.size if transposed else axis.outputs, axis.taps, taps, others)


def _blocks(count: int, rows: int, columns: int) -> AxisPattern:
    """Return the pattern of full blocks along the diagonal."""

    def row(number: int, most: int, height: int, width: int) -> Array:
        block = number // height
        return _thinned(range(block * width, (block + 1) * width), most)

    return AxisPattern(
        count * rows,
        count * columns,
        partial(row, height=rows, width=columns),
        partial(row, height=columns, width=rows),
    )


def _factor(factor: Any) -> AxisPattern:
    """Return the pattern of one axis of a resize."""

    def row(number: int, most: int, matrix: Any) -> Array:
        columns = matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]]
        chosen: Array = columns[_thinned(range(columns.size), most)].astype(np.int64)
        return chosen

    def column(number: int, most: int) -> Array:
        return row(number, most, factor.T.tocsr())

    rows, columns = factor.shape
    return AxisPattern(rows, columns, partial(row, matrix=factor), column)


def axes_of(A: Any) -> list[AxisPattern] | None:
    """Return the patterns of the axes of a geometry or one of our operators; None for other operators."""
    if isinstance(A, ConvGeometry):
        c_in, c_out = A.channels
        outer = [_blocks(A.groups, c_out, c_in)] if A.has_channels else []
        return outer + [_convolution(axis) for axis in A.axes]
    if isinstance(A, KernelCore):
        g, (c_in, c_out) = A.geometry, A.geometry.channels
        # a row has one channel along one channel axis of the kernel, and all along the other
        outer = [_blocks(1, 1, c_out), _blocks(c_in, 1, 1)] if A.transposed else [_blocks(c_out, 1, 1)]
        outer = [_blocks(g.groups, 1, 1), *outer] + ([] if A.transposed else [_blocks(1, 1, c_in)])
        return outer + [_kernel(axis, g.flip, A.transposed) for axis in g.axes]
    if isinstance(A, ResizeCore):
        return [_factor(factor) for factor in A.factors]
    if isinstance(A, Convolution):
        axes = axes_of(A.geometry)
        return [axis.transposed() for axis in axes or []] if A._transposed else axes
    inner = axes_of(A.operator) if hasattr(A, "operator") else None
    if inner is None:
        return None
    if isinstance(A, (AdjointCore, TransposedCore)):
        return [axis.transposed() for axis in inner]
    if isinstance(A, GramCore):
        return [axis.gram() for axis in inner]
    return [*inner[1:], inner[0]] if isinstance(A, ChannelsLastOperator) else None


def picture(A: Any, height: int, width: int) -> Array | None:
    """Return the pixels in which an operator, a geometry or a matrix has entries; None if not known."""
    if sp.issparse(A) or isinstance(A, np.ndarray):
        matrix: Any = A
        return sampled(MatrixRows(sp.csr_array(matrix)), height, width)
    axes = axes_of(A)
    if axes is None:
        return None
    # columns are sampled too, since most rows of a transposed convolution with a large stride are empty
    transposed = ProductRows([axis.transposed() for axis in axes])
    return sampled(ProductRows(axes), height, width) | sampled(transposed, width, height).T


def sampled(rows: Rows, height: int, width: int) -> Array:
    """Return the pixels in which sampled rows have entries: a few rows for each line of pixels."""
    count = rows.shape[0]
    shown = np.zeros((height, width), bool)
    for line in range(height):
        for row in rows.sample(-(-line * count // height), -(-(line + 1) * count // height)):
            shown[line, rows.pixels(row, width)] = True
    return shown
