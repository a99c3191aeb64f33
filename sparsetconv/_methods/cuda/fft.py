"""Method ``"fft"`` on a GPU: products of Fourier transforms of the whole padded input and the kernel.

It uses only an array library with Fourier transforms, so that the tests run it with NumPy.
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

# kernel launches of a product
CALLS = 6


class CudaFFTMethod(TransformMethod):
    """A circulant matrix for each direction, whose transform is kept for each dtype.

    Transforms spread NaN and infinity to all results, which `TransformMethod` corrects afterwards; so every
    product waits for its result.
    """

    name = "fft"

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        sources, results = work.channels
        points = max(work.read, work.made)
        # half of the spectrum of a real array is kept; a transform takes at least one read and one write
        passes = max(2 * rates.byte, rates.transform_byte * log2(max(2, points)))
        planes = work.geometry.groups * (sources + results + sources * results)
        transforms = passes * work.dtype.itemsize * points * planes
        return rates.call * CALLS + 2 * rates.byte * work.moved + transforms

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._transforms: Kept[WholeTransform] = Kept(backend)

    def _convolved(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """See `TransformMethod`."""
        dtype = np.result_type(x.dtype, self.weights.dtype)
        make = partial(WholeTransform, self.geometry.axes, self.weights, dtype, transposed, self.backend)
        return self._transforms.get((transposed, dtype), make)(x, out)
