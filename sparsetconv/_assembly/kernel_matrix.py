"""The matrix of a convolution as a function of its kernel: rows are outputs, columns are weights.

It is assembled from rows of axes, like the matrix of a convolution, with the roles of the kernel and of the
fixed array exchanged: columns are taps, and entries are samples, or sums of samples.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._assembly.axis_rows import AxisRows, RunRows
from sparsetconv._assembly.csr import ChannelSteps, MatrixLayout, csr_arrays, matrix_size
from sparsetconv._assembly.cuda import convolution_arrays
from sparsetconv._assembly.runs import Runs, kernel_runs
from sparsetconv._geometry.segments import Segment

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._geometry.convolution import ConvGeometry


class ForwardRows(RunRows):
    """Rows of outputs: columns are taps, and each entry is one sample.

    Parameters
    ----------
    axis : Axis
    flip : bool
        Whether taps are numbered from the end.
    """

    def __init__(self, axis: Axis, flip: bool) -> None:
        self._axis, self._flip = axis, flip
        super().__init__((axis.outputs, axis.taps), axis.size, [Segment(0, axis.outputs, 1, 0)])

    def _made_runs(self, start: int, stop: int) -> Runs:
        runs = kernel_runs(self._axis, start, stop)
        return runs.mirrored(self.shape[1]) if self._flip else runs

    def sliding(self) -> tuple[Segment, int] | None:
        """See `RunRows.sliding`: in the interior, an output reads one stride further on than the previous."""
        inside, axis = self._axis.interior, self._axis
        return Segment(inside.start, 1, inside.stop - inside.start, 0), axis.stride


class TransposedRows(AxisRows):
    """Rows of samples: columns are taps, and each entry is an output that reads the sample through the tap.

    The position read, ``output * stride + tap * dilation - before``, stays the same if output and tap are
    exchanged together with stride and dilation. So these are the rows of a transposed axis whose taps are the
    outputs, and whose outputs are the taps.

    Parameters
    ----------
    axis : Axis
    flip : bool
        Whether taps are numbered from the end.
    """

    def __init__(self, axis: Axis, flip: bool) -> None:
        self._flip, self._forward = flip, axis
        last = axis.high - (axis.size - 1)
        exchanged = replace(axis, taps=axis.outputs, after=last, stride=axis.dilation, dilation=axis.stride)
        super().__init__(exchanged, True)
        if flip:
            self.segments = [
                part._replace(shift=None if part.shift is None else -part.shift) for part in self.segments
            ]

    def _made_runs(self, start: int, stop: int) -> Runs:
        runs = super()._made_runs(start, stop)
        return runs.mirrored(self.shape[1]) if self._flip else runs

    def sliding(self) -> tuple[Segment, int] | None:
        """See `RunRows.sliding`: one stride further on, the next outputs read through the same taps."""
        inside, axis = self._forward.transposed_interior, self._forward
        repeat = max(0, inside.stop - inside.start) // axis.stride
        return Segment(inside.start, axis.stride, repeat, 0), 1


class KernelLayout(MatrixLayout):
    """Layout of the matrix that acts on kernels: each output channel has columns of its own."""

    @classmethod
    def of(cls, geometry: ConvGeometry, transposed: bool) -> KernelLayout:
        """Return the layout for a geometry, or for its transposed convolution."""
        c_in, c_out = geometry.channels
        if transposed:
            rows = tuple(TransposedRows(axis, geometry.flip) for axis in geometry.axes)
            return TransposedLayout(geometry.groups, c_in, c_out, rows)
        return cls(
            geometry.groups, c_out, c_in, tuple(ForwardRows(axis, geometry.flip) for axis in geometry.axes)
        )

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        channels = self.groups * self.row_channels * self.column_channels
        return prod(self.row_shape), channels * prod(self.column_sizes)

    @property
    def column_steps(self) -> ChannelSteps:
        """See `MatrixLayout.column_steps`: weights are (groups, row_channels, column_channels, taps)."""
        return ChannelSteps(self.row_channels * self.column_channels, self.column_channels, 1)

    @property
    def weight_steps(self) -> ChannelSteps:
        """See `MatrixLayout.weight_steps`: all row channels of a group read the same channels."""
        return ChannelSteps(self.column_channels, 0, 1)

    def weights_of(self, weights: Array, first: int, last: int) -> Array:
        """See `MatrixLayout.weights_of`: all row channels of a group read the same channels."""
        groups = np.arange(first, last) // self.row_channels
        return weights[:, 0].take(groups, 0)


class TransposedLayout(KernelLayout):
    """The same layout for a transposed convolution."""

    @property
    def column_steps(self) -> ChannelSteps:
        """See `MatrixLayout.column_steps`: weights are (groups, column_channels, row_channels, taps)."""
        return ChannelSteps(self.row_channels * self.column_channels, 1, self.row_channels)


def kernel_arrays(
    geometry: ConvGeometry, x: Array, transposed: bool, backend: Backend = NUMPY
) -> tuple[Array, Array, Array]:
    """Return ``data, indices, indptr`` of the CSR matrix, in canonical form.

    Parameters
    ----------
    geometry : ConvGeometry
    x : (groups, channels, ...) array
        The fixed array: the input, or the small array of a transposed convolution. Elements that padding maps
        to the same entry are summed in its dtype.
    transposed : bool
    backend : Backend
        Of ``x``, and of the arrays.
    """
    layout = KernelLayout.of(geometry, transposed)
    stop = layout.shape[0]
    hint = "products with the operator need no matrix"
    nnz, index = matrix_size(layout, 0, stop, x.dtype, None, backend, hint)
    if backend.on_gpu:
        return convolution_arrays(backend, layout, x[:, None], (0, stop), nnz, index)
    return csr_arrays(layout, x[:, None], 0, stop, nnz, index)
