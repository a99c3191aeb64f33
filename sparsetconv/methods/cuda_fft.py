"""Method ``"fft"`` on a GPU: the extended input as a whole and the kernel meet as transforms.

Floor 3. The kernel's transforms are kept, one for each direction. It asks for nothing but an array library
with transforms, so the same lines run with NumPy in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._backend import NUMPY
from sparsetconv._kernel import last_axes
from sparsetconv.boundary import Extension
from sparsetconv.methods._finite import TransformMethod
from sparsetconv.methods._transforms import Transforms

if TYPE_CHECKING:
    from sparsetconv._backend import Backend
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class CudaFFTMethod(TransformMethod):
    """A correlation on a circle that is at least as long as the extended input, so that nothing wraps.

    Each result is a sum over all samples in this form. What NaN and infinity reach is set right afterwards,
    so that every product waits for its result.
    """

    name = "fft"

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._extension = Extension(geometry.axes, backend.xp)
        outputs, strides = self.small_shape[2:], geometry.stride
        # where the outputs stand on the circle
        self._outputs = last_axes(slice(0, (m - 1) * s + 1, s) for m, s in zip(outputs, strides, strict=True))
        self._spectra: dict[tuple[bool, np.dtype[Any]], tuple[Transforms, Array]] = {}

    def _convolved(self, x: Array, transposed: bool) -> Array:
        """See `TransformMethod`."""
        return self._back(x) if transposed else self._forth(x)

    def _forth(self, x: Array) -> Array:
        dtype = np.result_type(x.dtype, self.weights.dtype)
        transforms, spectrum = self._spectrum(False, dtype)
        transformed = transforms.forward(self._extension.extend(x.astype(dtype, copy=False)))
        circle = self._summed(transforms, transformed, spectrum)
        result: Array = circle[self._outputs].astype(dtype)
        return result

    def _back(self, y: Array) -> Array:
        dtype = np.result_type(y.dtype, self.weights.dtype)
        transforms, spectrum = self._spectrum(True, dtype)
        spread = self.backend.xp.zeros((*y.shape[:3], *self._extension.shape), dtype)
        spread[self._outputs] = y
        circle = self._summed(transforms, transforms.forward(spread), spectrum)
        whole = circle[last_axes(slice(0, size) for size in self._extension.shape)]
        # what is folded is written to
        return self._extension.fold(self.backend.xp.ascontiguousarray(whole, dtype))

    def _spectrum(self, transposed: bool, dtype: np.dtype[Any]) -> tuple[Transforms, Array]:
        """Return the transforms, and that of the kernel: ``(groups, results, sources, ...)``."""
        known = self._spectra.get((transposed, dtype))
        if known is not None:
            return known
        axes, xp = self.geometry.axes, self.backend.xp
        weights = self.weights.astype(dtype)
        if transposed:
            weights = weights.swapaxes(1, 2)
        apart = xp.zeros((*weights.shape[:3], *(axis.extent for axis in axes)), dtype)
        apart[last_axes(slice(None, None, axis.dilation) for axis in axes)] = weights
        transforms = Transforms(self.backend, self._extension.shape, dtype.kind == "f")
        # a correlation: the transform of the reversed kernel is the conjugate of that of its conjugate
        spectrum = transforms.forward(apart) if transposed else transforms.forward(apart.conj()).conj()
        return self._spectra.setdefault((transposed, dtype), (transforms, spectrum))

    def _summed(self, transforms: Transforms, x: Array, spectrum: Array) -> Array:
        """Sum over source channels, one after the other, so that their products are never all there."""
        total = x[:, :, :1] * spectrum[:, :, 0]
        for channel in range(1, x.shape[2]):
            total += x[:, :, channel : channel + 1] * spectrum[:, :, channel]
        return transforms.backward(total)
