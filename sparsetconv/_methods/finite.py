"""Confine NaN and infinity to the results that read them, in methods that would spread them further.

The rule for every method and operator: a result is not finite exactly if its matrix row has an entry (zeros
of the kernel included) in the column of a sample that is not finite, or an entry that is not finite. Whether
the result is infinite or NaN is not specified. Fourier transforms sum over all samples, and zero times NaN is
NaN. The product is therefore computed with all non-finite samples set to zero. A second product, of the mask
of these samples with a kernel of ones, counts how many of them each result reads.
"""

from __future__ import annotations

from abc import abstractmethod
from math import frexp
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.results import placed
from sparsetconv._arrays.streams import Kept
from sparsetconv._methods.base import PaddedMethod, quiet
from sparsetconv._methods.merge import geometry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry


def all_finite(x: Array, xp: Any = np) -> bool:
    """Return whether an array holds neither NaN nor infinity."""
    if x.dtype.kind not in "fc":
        return True
    # a sum needs no temporary array; if it is not finite, which overflow may cause, each element is tested
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(xp.isfinite(x.sum())) or bool(xp.isfinite(x).all())


def confined(product: Callable[[Array, Array], Array], left: Array, right: Array, xp: Any = np) -> Array:
    """Return a bilinear product of arrays that may hold NaN or infinity.

    Parameters
    ----------
    product : callable
        A function of two arrays. Each result is a sum of products of an element of ``left`` and an element of
        ``right``, one of which may be a padded zero.
    left, right : array
    xp : module

    Returns
    -------
    array
        NaN where a factor of any of the summed products is not finite.
    """
    bad = [~xp.isfinite(operand) for operand in (left, right)]
    result = product(
        xp.where(bad[0], 0, left).astype(left.dtype), xp.where(bad[1], 0, right).astype(right.dtype)
    )
    ones = [xp.ones(operand.shape) for operand in (left, right)]
    # the number of summed products with a non-finite factor, in double precision
    reached = product(bad[0].astype(np.float64), ones[1]) + product(ones[0], bad[1].astype(np.float64))
    result[reached > 0.5] = np.nan
    return result


class TransformMethod(PaddedMethod):
    """A method whose results depend, up to round-off, on more samples than the matrix row has entries.

    A NaN or an infinity would spread to all of these results. If a result is not finite, the product is
    computed again with the non-finite samples set to zero, and a product of their mask finds the results that
    read them.
    """

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._patterns: Kept[Self] = Kept(backend)

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """See `Method.refusal`."""
        if weights.dtype.kind in "iu":
            return "an integer kernel (its sums would not be exact)"
        return PaddedMethod.refusal(geometry, weights)

    @abstractmethod
    def _convolved(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """Return the product in one direction; NaN and infinity may spread to other results."""

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """See `Method.forward`."""
        return self._confined(x, False, out)

    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """See `Method.transpose`."""
        return self._confined(y, True, out)

    @quiet
    def _confined(self, x: Array, transposed: bool, out: Array | None) -> Array:
        xp = self.backend.xp
        result = self._convolved(x, transposed, out)
        if all_finite(result, xp):
            return result
        bad = ~xp.isfinite(x)
        result = placed(self._scaled(xp.where(bad, 0, x).astype(x.dtype), transposed), out)
        # each result reads all channels of its group, so one mask serves all channels
        pattern = self._pattern
        shape = pattern.small_shape if transposed else pattern.large_shape
        places = bad.any(2).reshape(-1, *shape).astype(np.float64)
        reached = pattern._convolved(places, transposed) > 0.5
        result[xp.broadcast_to(reached.reshape(*x.shape[:2], 1, *result.shape[3:]), result.shape)] = np.nan
        return result

    @property
    def _pattern(self) -> Self:
        """The method of the same class for one channel and a kernel of ones."""
        return self._patterns.get(None, self._of_ones)

    def _of_ones(self) -> Self:
        axes = self.geometry.axes
        geometry = geometry_of(axes)
        ones = self.backend.xp.ones((1, 1, 1, *(axis.taps for axis in axes)))
        return self.like(geometry, ones)

    def _scaled(self, x: Array, transposed: bool) -> Array:
        """Return the product with finite samples; if an intermediate sum overflows, scale the operands."""
        xp = self.backend.xp
        result = self._convolved(x, transposed)
        if all_finite(result, xp):
            return result
        exponents = [_exponent(array, xp) for array in (x, self.weights)]
        smaller = self.like(self.geometry, self.weights / 2.0 ** exponents[1])
        # in two steps, since 2**sum(exponents) may overflow where the result does not
        first = sum(exponents) // 2
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: Array = smaller._convolved(x / 2.0 ** exponents[0], transposed)
            scaled *= 2.0**first
            scaled *= 2.0 ** (sum(exponents) - first)
        return scaled


def _exponent(array: Array, xp: Any) -> int:
    """Return the binary exponent of the largest real or imaginary part of a finite array."""
    return frexp(float(xp.abs(xp.stack([array.real, array.imag])).max()))[1] - 1
