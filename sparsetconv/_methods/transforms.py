"""Fourier transforms of arrays of either backend, in the precision of the array.

NumPy arrays are transformed by `scipy.fft`, large ones in several threads, CuPy arrays by CuPy, which caches
cuFFT plans.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from scipy.fft import next_fast_len

from sparsetconv._arrays.threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array

# longer than any array, and less than the limit of SciPy's next_fast_len
LONGEST = 1 << 60
# elements from which on several threads pay off
THREAD_WORK = 1 << 16


class Transforms:
    """Discrete Fourier transforms along the last axes, zero-padded to fast lengths.

    Parameters
    ----------
    backend : Backend
    sizes : sequence of int
        The smallest allowed length of each axis.
    real : bool
        Whether the arrays are real; then only half of the spectrum is kept (``rfftn``).
    """

    def __init__(self, backend: Backend, sizes: Sequence[int], real: bool) -> None:
        self.lengths = fast_lengths(sizes, real)
        self._backend = backend
        self._axes = tuple(range(-len(sizes), 0))
        self._names = ("rfftn", "irfftn") if real else ("fftn", "ifftn")

    def forward(self, x: Array) -> Array:
        """Return the transform."""
        return self._called(self._names[0], x)

    def backward(self, x: Array) -> Array:
        """Return the inverse transform; ``x`` may be overwritten."""
        return self._called(self._names[1], x)

    def _called(self, name: str, x: Array) -> Array:
        module, options = _library(self._backend, max(x.size, prod(self.lengths)))
        result: Array = getattr(module, name)(x, s=self.lengths, axes=self._axes, **options)
        return result


def fast_lengths(sizes: Sequence[int], real: bool) -> tuple[int, ...]:
    """Return for each size the smallest length at or above it that has only small prime factors.

    Above the largest size that SciPy accepts it is a power of two. No transform is so long, but estimates are
    made for all sizes.
    """
    return tuple(
        next_fast_len(size, real) if size <= LONGEST else 1 << (size - 1).bit_length() for size in sizes
    )


def _library(backend: Backend, elements: int) -> tuple[Any, dict[str, Any]]:
    if backend.on_gpu:
        return backend.xp.fft, {}
    import scipy.fft

    # SciPy distributes lines over threads; a single 1-D transform runs on one thread
    return scipy.fft, {"workers": thread_count() if elements >= THREAD_WORK else 1}
