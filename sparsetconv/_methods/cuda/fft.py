"""Method ``"fft"`` on a GPU: the padded input as a whole and the kernel meet as transforms.

It needs only an array library with transforms, so the same lines run with NumPy in the
tests, and serve ``fft`` for large kernels.
"""

from __future__ import annotations

from functools import partial
from math import log2
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.streams import Kept
from sparsetconv._methods.finite import TransformMethod
from sparsetconv._methods.whole import WholeTransform

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work

# launches of a product
CALLS = 6


class CudaFFTMethod(TransformMethod):
    """A circulant matrix in each direction, whose transform is kept for each dtype.

    Each result is a sum over all samples in this form. What NaN and infinity reach is set right afterwards,
    so that every product waits for its result.
    """

    name = "fft"

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        sources, results = work.channels
        points = max(work.read, work.made)
        # a complex number for each real one, there and back, half of them kept; at least one pass
        passes = max(2 * rates.byte, rates.transform_byte * log2(max(2, points)))
        planes = work.geometry.groups * (sources + results + sources * results)
        transforms = passes * work.dtype.itemsize * points * planes
        return rates.call * CALLS + 2 * rates.byte * work.moved + transforms

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._transforms: Kept[WholeTransform] = Kept(backend)

    def _convolved(self, x: Array, transposed: bool) -> Array:
        """See `TransformMethod`."""
        dtype = np.result_type(x.dtype, self.weights.dtype)
        make = partial(WholeTransform, self.geometry.axes, self.weights, dtype, transposed, self.backend)
        return self._transforms.get((transposed, dtype), make)(x)
