"""Fourier transforms of arrays of either backend, in the precision of the array.

Floor 3. SciPy's in threads, or CuPy's, which keeps cuFFT's plans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy.fft import next_fast_len

from sparsetconv._arrays.threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array


class Transforms:
    """Transforms along the last axes, padded with zeros to lengths that are fast.

    Parameters
    ----------
    backend : Backend
    sizes : sequence of int
        The least lengths.
    real : bool
        Whether the arrays are real: half of the transform is kept.
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
        """Return what has this transform; ``x`` may be overwritten."""
        return self._called(self._names[1], x)

    def _called(self, name: str, x: Array) -> Array:
        module, options = _library(self._backend)
        result: Array = getattr(module, name)(x, s=self.lengths, axes=self._axes, **options)
        return result


def fast_lengths(sizes: Sequence[int], real: bool) -> tuple[int, ...]:
    """Return the least lengths with small factors that are not below some sizes."""
    return tuple(next_fast_len(size, real) for size in sizes)


def _library(backend: Backend) -> tuple[Any, dict[str, Any]]:
    if backend.on_gpu:
        return backend.xp.fft, {}
    import scipy.fft

    # a single line is one thread's work anyway
    return scipy.fft, {"workers": thread_count()}
