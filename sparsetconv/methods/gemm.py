"""Method ``"gemm"``: channels and taps as one matrix product, tile by tile.

Floor 3. For a tile of outputs, what all taps read of all channels is copied into a panel that stays in cache,
and the kernel as a ``(c_out, c_in * taps)`` matrix multiplies it. The whole input is never unfolded.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sparsetconv._kernel import last_axes
from sparsetconv.methods._base import PaddedMethod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._types import Array, Index
    from sparsetconv.geometry import ConvGeometry

PANEL_BYTES = 1 << 21


class GemmMethod(PaddedMethod):
    """BLAS products of the kernel with panels of the padded input; best with many channels."""

    name = "gemm"

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        super().__init__(geometry, weights)
        # (groups, c_out, c_in * taps)
        self._matrix = np.ascontiguousarray(weights.reshape(*weights.shape[:2], -1))

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        windows = self._windows(self.extension.extend(x))
        dtype = np.result_type(x, self.weights)
        matrix = self._matrix.astype(dtype, copy=False)
        groups, c_out, depth = matrix.shape
        out = np.empty((x.shape[0], groups, c_out, *self.outputs), dtype)
        for item, rows in self._tiles(x.shape[0], dtype.itemsize):
            tile = windows[item][self._row_index(rows)]
            panel = np.ascontiguousarray(tile, dtype).reshape(groups, depth, -1)
            result = out[item, :, :, rows]
            result[...] = (matrix @ panel).reshape(result.shape)
        return out

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        dtype = np.result_type(y, self.weights)
        matrix = self._matrix.astype(dtype, copy=False).swapaxes(1, 2)
        groups, _, c_out = matrix.shape
        out = np.zeros((y.shape[0], groups, self.weights.shape[2], *self.extension.shape), dtype)
        windows = self._windows(out)
        for item, rows in self._tiles(y.shape[0], dtype.itemsize):
            tile = windows[item][self._row_index(rows)]
            values = y[item, :, :, rows].reshape(groups, c_out, -1)
            panel = (matrix @ values).reshape(tile.shape)
            # windows of one tap do not overlap, those of different taps do
            for tap in product(*map(range, self.taps)):
                place: Index = (slice(None), slice(None), *tap)
                tile[place] += panel[place]
        return self.extension.fold(out)

    def _windows(self, extended: Array) -> Array:
        """Return a view ``(batch, groups, c_in, k1, ..., kd, m1, ..., md)`` of an extended array."""
        axes = self.geometry.axes
        steps = extended.strides[3:]
        taps = (step * axis.dilation for step, axis in zip(steps, axes, strict=True))
        outputs = (step * axis.stride for step, axis in zip(steps, axes, strict=True))
        shape = (*extended.shape[:3], *self.taps, *self.outputs)
        return as_strided(extended, shape, (*extended.strides[:3], *taps, *outputs))

    def _row_index(self, rows: slice) -> Index:
        """Return the index of rows of the first spatial axis of the outputs, which are the last axes."""
        return last_axes([rows, *[slice(None)] * (len(self.outputs) - 1)])

    def _tiles(self, batch: int, itemsize: int) -> Iterator[tuple[int, slice]]:
        """Yield batch items and ranges of the first spatial axis whose panels fit."""
        row = self._matrix.shape[0] * self._matrix.shape[2] * prod(self.outputs[1:]) * itemsize
        step = max(1, PANEL_BYTES // row)
        for item in range(batch):
            for start in range(0, self.outputs[0], step):
                yield item, slice(start, min(start + step, self.outputs[0]))
