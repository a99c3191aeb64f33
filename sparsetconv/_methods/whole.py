"""A convolution as a product of Fourier transforms of the whole signal, for both directions and backends.

Along each axis the padded signal is placed on a circle, the domain of a DFT, of the smallest sufficient
length: padded zeros before and after the signal share places of the circle, and for circular padding the
circle may be one period. The matrix of the convolution is then a selection of places, times a circulant
matrix, times an embedding. The transposed direction is the product of the transposes in reverse order, on the
same circle.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays.layout import last_axes
from sparsetconv._arrays.results import result_array
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.extension import Extension
from sparsetconv._methods.transforms import Transforms, fast_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array

# the most bytes of the batch items that are transformed together, by backend; a single item may be larger
PART_BYTES = {"numpy": 1 << 23, "cupy": 1 << 28}


class Circle(NamedTuple):
    """One axis on a circle.

    Attributes
    ----------
    window : Axis
        An axis whose padded signal is placed on the circle from place 0 on.
    first : int
        The place that the first tap of the first output reads; a negative one counts from the circle's end.
    least : int
        The smallest length without wrap-around errors.
    reads, step : int
        Places from the first tap's read for the first output to that for the last, both included, and from
        one output to the next.
    """

    window: Axis
    first: int
    least: int
    reads: int
    step: int


def circle(axis: Axis, real: bool) -> Circle:
    """Return the shortest circle for an axis, for transforms of real or complex arrays."""
    reads = (axis.outputs - 1) * axis.stride + 1
    if axis.effective_mode.copies == 1 and max(axis.extent, reads) <= axis.size:
        period = axis.size
        if fast_lengths([period], real) == (period,):
            return Circle(Axis.plain(period), axis.low, period, reads, axis.stride)
    if axis.effective_mode.zero:
        # only the samples that are read, at least one; the rest of the circle is zero
        start = min(max(axis.low, 0), axis.size - 1)
        stop = max(min(axis.high + 1, axis.size), start + 1)
    else:
        start, stop = axis.low, axis.high + 1
    window = Axis(axis.size, 1, 1, -start, stop - axis.size, 1, axis.effective_mode.name)
    first = axis.low - start
    least = max(stop - start - min(first, 0), axis.high + 1 - start, axis.extent, reads)
    return Circle(window, first, least, reads, axis.stride)


class WholeTransform:
    """One direction of a convolution, for one dtype.

    Parameters
    ----------
    axes : sequence of Axis
    weights : (groups, c_out, c_in, k1, ..., kd) array
        The kernel of the forward direction.
    dtype : dtype
        The dtype of the results.
    transposed : bool
    backend : Backend

    Attributes
    ----------
    nbytes : int
        Bytes of the kernel's spectrum.
    """

    def __init__(
        self, axes: Sequence[Axis], weights: Array, dtype: np.dtype[Any], transposed: bool, backend: Backend
    ) -> None:
        circles = [circle(axis, dtype.kind == "f") for axis in axes]
        self._transposed, self._dtype, self._backend = transposed, dtype, backend
        self._transforms = Transforms(backend, [c.least for c in circles], dtype.kind == "f")
        self._extension = Extension(tuple(c.window for c in circles), backend.xp)
        self._window = last_axes(slice(0, size) for size in self._extension.shape)
        self._results = last_axes(slice(0, c.reads, c.step) for c in circles)
        self._reads = tuple(c.reads for c in circles)
        self._dense = all(c.step == 1 for c in circles)
        sizes = [axis.size if transposed else axis.outputs for axis in axes]
        self._shape = (weights.shape[0], weights.shape[2 if transposed else 1], *sizes)
        places = [c.first + np.arange(a.taps) * a.dilation for c, a in zip(circles, axes, strict=True)]
        self._spectrum = self._transformed(weights.astype(dtype), places)
        self.nbytes = int(self._spectrum.nbytes)

    def _transformed(self, weights: Array, places: Sequence[Array]) -> Array:
        """Return the kernel's spectrum, ``(groups, results, sources, ...)``.

        The forward direction is a correlation, so its kernel is reversed on the circle; the transposed
        direction is a convolution with the kernel itself.
        """
        lengths = self._transforms.lengths
        sign = 1 if self._transposed else -1
        index = [sign * place % length for place, length in zip(places, lengths, strict=True)]
        if self._transposed:
            weights = weights.swapaxes(1, 2)
        kernel = self._backend.xp.zeros((*weights.shape[:3], *lengths), self._dtype)
        kernel[last_axes(map(self._backend.xp.asarray, np.ix_(*index)))] = weights
        return self._transforms.forward(kernel)

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Return the results for ``(batch, groups, sources, ...)``, in ``out`` if that is given."""
        out = result_array(out, (len(x), *self._shape), self._dtype, self._backend.xp)
        item = prod(self._transforms.lengths) * prod(x.shape[1:3]) * self._dtype.itemsize
        step = max(1, PART_BYTES[self._backend.name] // item)
        for start in range(0, len(x), step):
            part = x[start : start + step].astype(self._dtype, copy=False)
            out[start : start + step] = self._back(part) if self._transposed else self._forth(part)
        return out

    def _forth(self, x: Array) -> Array:
        whole = self._extension.pad(x)
        results: Array = self._summed(self._transforms.forward(whole))[self._results]
        return results

    def _back(self, y: Array) -> Array:
        spread = y
        if not self._dense:
            spread = self._backend.xp.zeros((*y.shape[:3], *self._reads), self._dtype)
            spread[self._results] = y
        window = self._summed(self._transforms.forward(spread))[self._window]
        # unpad writes to its argument
        return self._extension.unpad(self._backend.xp.ascontiguousarray(window))

    def _summed(self, x: Array) -> Array:
        """Multiply by the spectrum, sum over source channels one at a time, and transform back."""
        spectrum = self._spectrum
        if spectrum.shape[1] == spectrum.shape[2] == 1:
            x *= spectrum[:, :, 0]
            return self._transforms.backward(x)
        products = (x[:, :, c : c + 1] * spectrum[:, :, c] for c in range(x.shape[2]))
        return self._transforms.backward(reduce(_added, products))


def _added(total: Array, more: Array) -> Array:
    total += more
    return total
