"""Method ``"loops"``: for each tap a pass over the padded input, in plain NumPy or CuPy.

Nothing is compiled and nothing unfolded: the definition, tap by tap. It is the yardstick of the others.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry.extension import Extension
from sparsetconv._methods.base import PaddedMethod, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array, Index
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work

# arrays that a tap reads and writes: a window, its product, and the sum twice
ARRAYS = 4


class LoopsMethod(PaddedMethod):
    """Sums of shifted and scaled arrays."""

    name = "loops"

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        sources, results = work.channels
        calls = work.kernel_taps * sources * results
        shifted = work.geometry.groups * max(work.read, work.made) * work.dtype.itemsize
        return rates.call * (1 + calls) + calls * ARRAYS * rates.byte * shifted

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._extension = Extension(self.geometry.axes, backend.xp)

    @quiet
    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        dtype = np.result_type(x.dtype, self.weights.dtype)
        padded = self._extension.extend(x.astype(dtype, copy=False))
        out: Array = self.backend.xp.zeros((len(x), *self.small_shape), dtype)
        for window, made, read, factors in self._terms():
            out[:, :, made] += factors * padded[window][:, :, read]
        return out

    @quiet
    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        dtype = np.result_type(y.dtype, self.weights.dtype)
        shape = (len(y), *self.large_shape[:2], *self._extension.shape)
        padded: Array = self.backend.xp.zeros(shape, dtype)
        values = y.astype(dtype, copy=False)
        for window, made, read, factors in self._terms():
            padded[window][:, :, read] += factors * values[:, :, made]
        return self._extension.fold(padded)

    def _terms(self) -> Iterator[tuple[Index, int, int, Array]]:
        """Yield, by tap and pair of channels, what is read, the channels, and a weight for each group."""
        _, results, sources, *taps = self.weights.shape
        for tap in np.ndindex(*taps):
            window = self._extension.window(tap)
            for made, read in product(range(results), range(sources)):
                factors = self.weights[(slice(None), made, read, *tap)]
                yield window, made, read, factors.reshape(-1, *[1] * len(taps))
