"""Fourier transforms of arrays of either backend, in the precision of the array.

Floor 3. SciPy's in threads, or CuPy's, which keeps cuFFT's plans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy.fft import next_fast_len

from sparsetconv._threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._backend import Backend
    from sparsetconv._types import Array


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
        self.lengths = [next_fast_len(size, real) for size in sizes]
        self._module, self._options = _library(backend)
        self._options["s"] = self.lengths
        self._options["axes"] = tuple(range(-len(sizes), 0))
        self._names = ("rfftn", "irfftn") if real else ("fftn", "ifftn")

    def forward(self, x: Array) -> Array:
        """Return the transform."""
        transformed: Array = getattr(self._module, self._names[0])(x, **self._options)
        return transformed

    def backward(self, x: Array) -> Array:
        """Return what has this transform."""
        result: Array = getattr(self._module, self._names[1])(x, **self._options)
        return result


def _library(backend: Backend) -> tuple[Any, dict[str, Any]]:
    if backend.on_gpu:
        return backend.xp.fft, {}
    import scipy.fft

    return scipy.fft, {"workers": thread_count()}
