"""Method ``"gemm"``: channels as matrix products, one for each tap, on shifted views of the padded input."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._kernel import last_axes
from sparsetconv.methods._base import PaddedMethod

if TYPE_CHECKING:
    from sparsetconv._types import Array


class GemmMethod(PaddedMethod):
    """BLAS products of ``(c_out, c_in)`` matrices with windows of the input; best with many channels."""

    name = "gemm"

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        batch, groups, c_in = x.shape[:3]
        extended = self.extension.extend(x)
        dtype = np.result_type(x, self.weights)
        out = np.zeros((batch, groups, self.weights.shape[1], prod(self.outputs)), dtype)
        for tap in product(*map(range, self.taps)):
            window = extended[self.extension.window(tap)].reshape(batch, groups, c_in, -1)
            out += self.weights[last_axes(tap)] @ window
        return out.reshape(*out.shape[:3], *self.outputs)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        batch, groups, c_out = y.shape[:3]
        dtype = np.result_type(y, self.weights)
        flat = y.reshape(batch, groups, c_out, -1)
        out = np.zeros((batch, groups, self.weights.shape[2], *self.extension.shape), dtype)
        for tap in product(*map(range, self.taps)):
            part = self.weights[last_axes(tap)].swapaxes(1, 2) @ flat
            out[self.extension.window(tap)] += part.reshape(*part.shape[:3], *self.outputs)
        return self.extension.fold(out)
