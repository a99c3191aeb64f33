"""A convolution as a function of its kernel: products by the methods, and the gradient as a correlation.

The gradient of a weight is the inner product of the output with the samples of the padded input that the
weight's tap reads. It is computed in compiled loops, for more than ``MANY_TAPS`` taps by Fourier transforms.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.layout import last_axes
from sparsetconv._arrays.record import filled, numbers
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.switches import compiler_switch
from sparsetconv._arrays.threads import thread_count
from sparsetconv._geometry.extension import Extension
from sparsetconv._methods.base import PaddedMethod, far_padding
from sparsetconv._methods.choice import choose
from sparsetconv._methods.cpu.direct import DirectMethod
from sparsetconv._methods.finite import all_finite, confined
from sparsetconv._methods.kernel.windows import Windows
from sparsetconv._methods.merge import arrangement
from sparsetconv._methods.transforms import Transforms
from sparsetconv._methods.whole import circle

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.base import Method
    from sparsetconv._methods.cpu.stencil.plan import Plan

# number of taps above which Fourier transforms are faster
MANY_TAPS = 400


class KernelProducts:
    """Products with changing kernels, by the method that ``"auto"`` chooses for the geometry.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        The dtype of the kernels.
    backend : Backend
    """

    def __init__(self, geometry: ConvGeometry, dtype: np.dtype[Any], backend: Backend = NUMPY) -> None:
        self._geometry, self._backend = geometry, backend
        c_in, c_out = geometry.channels
        taps = (axis.taps for axis in geometry.axes)
        weights = backend.xp.broadcast_to(backend.xp.zeros(1, dtype), (geometry.groups, c_out, c_in, *taps))
        choice = choose("auto", geometry, weights, backend)
        self._method, self._rates = choice.method, choice.known.rates
        self._direct = DirectMethod(geometry, weights) if self._method is DirectMethod else None

    def _of(self, weights: Array) -> Method:
        if self._direct is not None:
            return self._direct.with_weights(weights)
        return self._method.chosen_by(self._rates, self._geometry, weights, self._backend)

    def forward(self, weights: Array, large: Array, out: Array | None = None) -> Array:
        """See `Windows.forward`."""
        return self._products(weights, large, False, out)

    def transpose(self, weights: Array, small: Array, out: Array | None = None) -> Array:
        """See `Windows.transpose`."""
        return self._products(weights, small, True, out)

    def _products(self, weights: Array, fixed: Array, transposed: bool, out: Array | None) -> Array:
        """Return ``(batch, groups, channels, ...)``: the products of a batch of kernels with one array."""
        groups, channels = self._geometry.groups, self._geometry.channels
        sizes = [axis.size if transposed else axis.outputs for axis in self._geometry.axes]
        xp = self._backend.xp

        def product(kernels: Array, array: Array, out: Array | None = None) -> Array:
            shape = len(kernels), groups, channels[not transposed], *sizes
            together = result_array(out, shape, np.result_type(kernels.dtype, array.dtype), xp)
            for kernel, result in zip(kernels, together, strict=True):
                _product(self._of(kernel), array, transposed, result)
            return together

        if not issubclass(self._method, PaddedMethod) or all_finite(weights, xp):
            return product(weights, fixed, out)
        return placed(confined(product, weights, fixed, xp), out)


def _product(method: Method, x: Array, transposed: bool, out: Array) -> None:
    """Write the product with one array of any dtype, in one direction, to ``out``."""
    small, large = ((1, *shape) for shape in (method.small_shape, method.large_shape))
    if transposed:
        method.transpose(x.reshape(small), out.reshape(large))
    else:
        method.forward(x.reshape(large), out.reshape(small))


class KernelGradient:
    """The gradient of ``sum(small * conv(large))`` with respect to the kernel, by compiled loops.

    Parameters
    ----------
    geometry : ConvGeometry
    """

    def __init__(self, geometry: ConvGeometry) -> None:
        self.geometry = geometry
        self._padding, self._axes = far_padding(geometry.axes)
        self._transformed = TransformedGradient(geometry)
        self._plans: dict[tuple[int, int], tuple[Plan, Array, int]] = {}

    def __call__(self, large: Array, small: Array) -> Array:
        """Return the gradient.

        Parameters
        ----------
        large : (groups, c_in, n1, ..., nd) array
            The input.
        small : (groups, c_out, m1, ..., md) array
            One number per output. Nothing is conjugated.

        Returns
        -------
        (groups, c_out, c_in, k1, ..., kd) array
        """
        dtype = np.result_type(large, small)
        if dtype.kind in "iu":
            wide = self._summed(large.astype(np.int64), small.astype(np.int64), dtype)
            return wide.astype(dtype)
        large, small = (np.ascontiguousarray(array, dtype) for array in (large, small))
        if prod(axis.taps for axis in self.geometry.axes) > MANY_TAPS:
            return self._transformed(large, small)
        return self._summed(large, small, dtype)

    def _plan(self, parts: int, itemsize: int) -> tuple[Plan, Array, int]:
        known = self._plans.get((parts, itemsize))
        if known is not None:
            return known
        from sparsetconv._methods.cpu.emit import VECTOR_BYTES
        from sparsetconv._methods.cpu.stencil.partition import Layout
        from sparsetconv._methods.cpu.stencil.plan import loop_tables, plan_of
        from sparsetconv._methods.cpu.stencil.records import BLOCK_ROWS

        geometry = self.geometry
        c_in, _ = geometry.channels
        # with BLOCK_ROWS result channels each line is its own row block, and all taps are in one list
        layout = Layout(geometry.groups, c_in * parts, BLOCK_ROWS, parts, 1, itemsize)
        plan = plan_of(self._axes, False, layout)
        taps = tuple(axis.taps for axis in geometry.axes)
        line = int((plan.tiles["end"] - plan.tiles["begin"]).max()) + 4 * VECTOR_BYTES
        _, tables = loop_tables(plan, np.zeros((geometry.groups, BLOCK_ROWS, c_in * parts, *taps)), line)
        known = plan, tables, line + plan.elements + 4 * VECTOR_BYTES
        return self._plans.setdefault((parts, itemsize), known)

    def _summed(self, large: Array, small: Array, dtype: np.dtype[Any]) -> Array:
        from sparsetconv._methods.cpu.stencil.gradient_loops import SCRATCH, kernel_gradient
        from sparsetconv._methods.cpu.team import Call, together

        geometry = self.geometry
        groups, (c_in, c_out) = geometry.groups, geometry.channels
        taps = tuple(axis.taps for axis in geometry.axes)
        parts = 2 if dtype.kind == "c" else 1
        real = large.real.dtype
        plan, tables, elements = self._plan(parts, real.itemsize)
        tiles, entries = len(plan.tiles), c_in * parts * prod(taps)
        partial = np.zeros((groups, tiles, c_out * parts, entries), real)
        large = np.ascontiguousarray(self._padding.pad(large))
        flat = [array.view(real).reshape(-1) for array in (large, small)]
        scratch = numbers(filled(SCRATCH, small_planes=c_out * parts, entries=entries))
        last = groups * tiles
        arrays = flat[0], partial.reshape(-1), np.zeros(elements, real), flat[1], tables, scratch
        # the tile buffer is each thread's own, and is multiplied by zeros past its samples: no NaN of others
        together(Call(kernel_gradient, arrays, (0, tiles, last), (2,), zeros=True), min(thread_count(), last))
        total: Array = partial.sum(1)
        if parts == 1:
            return total.reshape(groups, c_out, c_in, *taps)
        # (groups, c_out, part, c_in, part, taps)
        pairs = total.reshape(groups, c_out, 2, c_in, 2, *taps)
        gradient = np.empty((groups, c_out, c_in, *taps), dtype)
        gradient.real = pairs[:, :, 0, :, 0] - pairs[:, :, 1, :, 1]
        gradient.imag = pairs[:, :, 0, :, 1] + pairs[:, :, 1, :, 0]
        return gradient


class TransformedGradient:
    """The gradient of `KernelGradient` by Fourier transforms, for many taps.

    Parameters
    ----------
    geometry : ConvGeometry
    backend : Backend
    """

    def __init__(self, geometry: ConvGeometry, backend: Backend = NUMPY) -> None:
        self._axes, self._backend = geometry.axes, backend

    def __call__(self, large: Array, small: Array) -> Array:
        """Correlate on circles that are long enough that the lags of the taps do not wrap around."""
        real = large.dtype.kind == "f"
        circles = [circle(axis, real) for axis in self._axes]
        transforms = Transforms(self._backend, [c.least for c in circles], real)
        extension = Extension(tuple(c.window for c in circles), self._backend.xp)
        spread = self._backend.xp.zeros((*small.shape[:2], *(c.reads for c in circles)), small.dtype)
        spread[last_axes(slice(0, c.reads, c.step) for c in circles)] = small
        # the DFT of the reversed array is the conjugate of the DFT of the conjugated array
        reverse = transforms.forward(spread.conj()).conj()
        padded = transforms.forward(extension.pad(large))
        lags = transforms.backward(reverse[:, :, None] * padded[:, None])
        together = zip(circles, self._axes, transforms.lengths, strict=True)
        places = [(c.first + np.arange(axis.taps) * axis.dilation) % length for c, axis, length in together]
        gradient: Array = lags[last_axes(map(self._backend.xp.asarray, np.ix_(*places)))]
        return gradient


def kernel_gradient(geometry: ConvGeometry, backend: Backend) -> Callable[[Array, Array], Array]:
    """Return the function that computes gradients of large problems.

    On the CPU it uses compiled loops or Fourier transforms; on a GPU, or if numba's compiler is turned off,
    windows or Fourier transforms.
    """
    arranged = arrangement(geometry)
    compute = _gradient_of(arranged.geometry, backend)
    axes = arranged.geometry.axes
    sizes, outputs = [axis.size for axis in axes], [axis.outputs for axis in axes]

    def gradient(large: Array, small: Array) -> Array:
        large, small = large.reshape(*large.shape[:2], *sizes), small.reshape(*small.shape[:2], *outputs)
        return arranged.given(compute(large, small), geometry)

    return gradient


def _gradient_of(geometry: ConvGeometry, backend: Backend) -> Callable[[Array, Array], Array]:
    if not backend.on_gpu and compiler_switch() is None:
        compute: Callable[[Array, Array], Array] = KernelGradient(geometry)
        return lambda large, small: _confined(compute, large, small, backend)
    windows, transformed = Windows(geometry, backend.xp), TransformedGradient(geometry, backend)
    many = prod(axis.taps for axis in geometry.axes) > MANY_TAPS

    def gradient(large: Array, small: Array) -> Array:
        dtype = np.result_type(large.dtype, small.dtype)
        operands = large.astype(dtype, copy=False), small.astype(dtype, copy=False)
        if many and dtype.kind in "fc":
            return _confined(transformed, *operands, backend)
        return windows.gradient(*operands)

    return gradient


def _confined(
    gradient: Callable[[Array, Array], Array], large: Array, small: Array, backend: Backend
) -> Array:
    """Return the gradient for arrays that may hold NaN or infinity, without spreading these."""
    found = gradient(large, small)
    return found if all_finite(found, backend.xp) else confined(gradient, large, small, backend.xp)
