"""Method ``"gemm"``: channels as matrix products, one for each tap, on shifted views of the padded input.

Floor 3.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv.methods._base import PaddedMethod

if TYPE_CHECKING:
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class GemmMethod(PaddedMethod):
    """BLAS products of ``(c_out, c_in)`` matrices with windows of the input; best with many channels."""

    name = "gemm"

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        super().__init__(geometry, weights)
        # (groups, c_out, c_in) for each tap, contiguous as BLAS wants it
        self._matrices = [
            (self.extension.window(tap), np.ascontiguousarray(weights[(slice(None),) * 3 + tap]))
            for tap in product(*map(range, self.taps))
        ]

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        extended = self.extension.extend(x)
        dtype = np.result_type(x, self.weights)
        lead = (*x.shape[:2], self.weights.shape[1])
        out = np.zeros((*lead, prod(self.outputs)), dtype)
        part, read = np.empty_like(out), np.empty((*x.shape[:3], *self.outputs), x.dtype)
        flat = read.reshape(*x.shape[:3], -1)
        for window, matrix in self._matrices:
            read[...] = extended[window]
            np.matmul(matrix, flat, out=part)
            out += part
        return out.reshape(*lead, *self.outputs)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        dtype = np.result_type(y, self.weights)
        lead = (*y.shape[:2], self.weights.shape[2])
        flat = np.ascontiguousarray(y).reshape(*y.shape[:3], -1)
        out = np.zeros((*lead, *self.extension.shape), dtype)
        part = np.empty((*lead, *self.outputs), dtype)
        for window, matrix in self._matrices:
            np.matmul(matrix.swapaxes(1, 2), flat, out=part.reshape(*lead, -1))
            out[window] += part
        return self.extension.fold(out)
