"""Method ``"fft"``: one product of transforms; for large kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._kernel import last_axes
from sparsetconv._threads import thread_count
from sparsetconv.methods._base import PaddedMethod

if TYPE_CHECKING:
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class FFTMethod(PaddedMethod):
    """The padded input and the kernel meet as Fourier transforms; the kernel's is kept.

    Each output is a sum over all samples in this form, with round-off in the order of the largest: a
    NaN or an infinity in the input reaches every output of its batch item and group, not only those
    that the matrix sends it to.
    """

    name = "fft"

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        super().__init__(geometry, weights)
        self._spectra: dict[tuple[bool, bool, str], Array] = {}

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method does not take such a convolution, or None."""
        if weights.dtype.kind in "iu":
            return "an integer kernel (its sums would not be exact)"
        return PaddedMethod.refusal(geometry, weights)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        extended = self._convolved(self.extension.extend(x), False)
        return extended[self.extension.window((0,) * len(self.taps))]

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        spread = np.zeros((*y.shape[:3], *self.extension.shape), y.dtype)
        spread[self.extension.window((0,) * len(self.taps))] = y
        return self.extension.fold(self._convolved(spread, True))

    def _convolved(self, x: Array, transposed: bool) -> Array:
        """Convolve an extended array circularly with the kernel (transposed) or with its mirror image.

        The circle is at least as long as the extended array, so nothing that is kept wraps.
        """
        import scipy.fft

        dtype = np.result_type(x, self.weights)
        real = dtype.kind == "f"
        x = x.astype(dtype, copy=False)
        axes = tuple(range(3, x.ndim))
        lengths = [scipy.fft.next_fast_len(length, real) for length in self.extension.shape]
        forward, backward = (scipy.fft.rfftn, scipy.fft.irfftn) if real else (scipy.fft.fftn, scipy.fft.ifftn)
        workers = thread_count()
        spectrum = forward(x, lengths, axes, workers=workers)
        kernel = self._spectrum(lengths, transposed, dtype)
        # (batch, groups, c, frequencies) with (groups, other c, c, frequencies)
        mixed = np.einsum("bgi...,goi...->bgo...", spectrum, kernel)
        circle = backward(mixed, lengths, axes, overwrite_x=True, workers=workers)
        result: Array = circle[last_axes(slice(length) for length in self.extension.shape)]
        return result

    def _spectrum(self, lengths: list[int], transposed: bool, dtype: np.dtype[Any]) -> Array:
        """Return the transform of the kernel laid out on the circle, channels of the result first."""
        import scipy.fft

        key = (transposed, dtype.kind == "f", dtype.char)
        known = self._spectra.get(key)
        if known is not None:
            return known
        sign = 1 if transposed else -1
        places = [
            sign * axis.dilation * np.arange(axis.taps) % length
            for axis, length in zip(self.geometry.axes, lengths, strict=True)
        ]
        circle = np.zeros((*self.weights.shape[:3], *lengths), dtype)
        circle[last_axes(np.ix_(*places))] = self.weights
        transform = scipy.fft.rfftn if dtype.kind == "f" else scipy.fft.fftn
        spectrum: Array = transform(circle, axes=tuple(range(3, circle.ndim)), workers=thread_count())
        if transposed:
            spectrum = spectrum.swapaxes(1, 2)
        self._spectra[key] = spectrum
        return spectrum
