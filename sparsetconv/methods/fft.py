"""Method ``"fft"``: products of transforms, tile by tile; for large kernels.

Floor 3. How tiles are cut is in ``_tiles``, the loops are in ``_compiled_fft``. The kernel's transform is
kept, one for each direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._backend import NUMPY
from sparsetconv._threads import for_each, thread_count
from sparsetconv.methods import _tiles
from sparsetconv.methods._base import folding
from sparsetconv.methods._finite import TransformMethod

if TYPE_CHECKING:
    from sparsetconv._backend import Backend
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class FFTMethod(TransformMethod):
    """Tiles of the extended input and the kernel meet as Fourier transforms (overlap-save).

    Each result is a sum over all samples of its tile in this form, with round-off in the order of the
    largest. NaN and infinity in the input reach the outputs that the matrix sends them to, and no others:
    see `TransformMethod`.
    """

    name = "fft"

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._folding = folding(geometry.axes)
        self._prepared: dict[tuple[bool, str, int], _Transforms] = {}

    def _convolved(self, x: Array, transposed: bool) -> Array:
        """See `TransformMethod`."""
        dtype = np.result_type(x, self.weights)
        key = transposed, dtype.char, x.shape[0]
        transforms = self._prepared.get(key)
        if transforms is None:
            weights = self.weights.swapaxes(1, 2) if transposed else self.weights
            make = _tiles.transposed if transposed else _tiles.forward
            axes = [make(axis) for axis in self.geometry.axes]
            transforms = _Transforms(axes, x.shape, weights, dtype)
            self._prepared[key] = transforms
        results = transforms(np.ascontiguousarray(x, dtype))
        return self._folding.fold(results) if transposed else results


class _Transforms:
    """The loops for one direction, dtype and shape, with all that they need.

    Parameters
    ----------
    axes : sequence of Correlated
    shape : tuple of int
        Of the input: ``(batch, groups, channels, ...)``.
    weights : (groups, results, channels, k1, ..., kd) array
    dtype : dtype
    """

    def __init__(
        self, axes: list[_tiles.Correlated], shape: tuple[int, ...], weights: Array, dtype: np.dtype[Any]
    ) -> None:
        from sparsetconv.methods._compiled_fft import convolve_tiles
        from sparsetconv.methods._emit import VECTOR_BYTES

        self._convolve = convolve_tiles
        real = np.zeros(0, dtype).real.dtype
        width = VECTOR_BYTES // real.itemsize
        parts = dtype.itemsize // real.itemsize
        batch, groups, c_in = shape[:3]
        c_out = weights.shape[1]
        # two real tiles travel as one complex one
        slots = width * 2 // parts
        lengths = _tiles.tile_lengths([axis.span for axis in axes], batch, slots, 2 * VECTOR_BYTES)
        tiling = _tiles.Tiling(axes, lengths, shape[3:])
        self._shape = (batch, groups, c_out, *(axis.results for axis in axes))
        self._dtype, self._real, self._groups = dtype, real, groups
        self._units = -(-tiling.tiles * batch // slots)
        self._table = tiling.table(batch, parts, (c_in, c_out, groups), slots)
        spectrum = tiling.spectrum(weights)
        self._spectra = np.stack([spectrum.real, spectrum.imag], -1).astype(real).reshape(-1)
        self._twiddles = _tiles.twiddles(max(lengths)).astype(real)
        regions = 1 if c_in == c_out == 1 else c_in + 1
        self._elements = regions * tiling.size * width * 2

    def __call__(self, x: Array) -> Array:
        out = np.empty(self._shape, self._dtype)
        source, result = x.view(self._real).reshape(-1), out.view(self._real).reshape(-1)
        counter, last = np.zeros(1, np.int64), self._units * self._groups

        def work(_: int) -> None:
            buffer = np.zeros(self._elements, self._real)
            kernel = self._spectra, self._twiddles, self._table
            self._convolve(source, result, *kernel, buffer, counter, 0, self._units, last)

        workers = min(thread_count(), last)
        for_each(work, range(workers), workers)
        return out
