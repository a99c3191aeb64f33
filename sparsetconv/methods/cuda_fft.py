"""Method ``"fft"`` on a GPU: the extended input as a whole and the kernel meet as transforms.

Floor 3. It asks for nothing but an array library with transforms, so the same lines run with NumPy in the
tests, and serve ``fft`` for large kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._backend import NUMPY
from sparsetconv.methods._base import PaddedMethod
from sparsetconv.methods._whole import WholeTransform

if TYPE_CHECKING:
    from sparsetconv._backend import Backend
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class CudaFFTMethod(PaddedMethod):
    """A circulant matrix in each direction, whose transform is kept for each dtype.

    Each result is a sum over all samples in this form: a NaN or an infinity reaches all outputs of its group.
    """

    name = "fft"

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._transforms: dict[tuple[bool, np.dtype[Any]], WholeTransform] = {}

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method does not take such a convolution, or None."""
        if weights.dtype.kind in "iu":
            return "an integer kernel (its sums would not be exact)"
        return PaddedMethod.refusal(geometry, weights)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._convolved(x, False)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._convolved(y, True)

    def _convolved(self, x: Array, transposed: bool) -> Array:
        dtype = np.result_type(x.dtype, self.weights.dtype)
        known = self._transforms.get((transposed, dtype))
        if known is None:
            made = WholeTransform(self.geometry.axes, self.weights, dtype, transposed, self.backend)
            known = self._transforms.setdefault((transposed, dtype), made)
        return known(x)
