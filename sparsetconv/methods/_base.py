"""What every way of multiplying offers.

Floor 3. A method knows a geometry and weights in the one layout ``(groups, c_out, c_in, k1, ..., kd)``,
channels those of a group; it knows neither operators nor users. Arrays have a batch axis and a group
axis in front.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sparsetconv._axis import Axis
from sparsetconv._backend import NUMPY
from sparsetconv.boundary import Extension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._backend import Backend
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class Method(ABC):
    """A convolution and its transpose, computed in one way.

    Parameters
    ----------
    geometry : ConvGeometry
    weights : (groups, c_out, c_in, k1, ..., kd) array
        Never written to.
    backend : Backend
        That of the weights, and of all arrays.

    Attributes
    ----------
    large_shape, small_shape : tuple of int
        ``(groups, channels, ...)`` of the input and of the output of the forward direction.
    """

    name: ClassVar[str]

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        self.geometry = geometry
        self.weights = weights
        self.backend = backend
        groups, (c_in, c_out) = geometry.groups, geometry.channels
        self.large_shape = (groups, c_in, *(axis.size for axis in geometry.axes))
        self.small_shape = (groups, c_out, *(axis.outputs for axis in geometry.axes))

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method does not take such a convolution, or None."""
        del geometry, weights
        return None

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Return ``(batch, groups, c_out, m1, ..., md)`` from ``(batch, groups, c_in, n1, ..., nd)``."""

    @abstractmethod
    def transpose(self, y: Array) -> Array:
        """Return the plain transpose (no conjugate) applied to ``(batch, groups, c_out, m1, ..., md)``."""

    def vector(self, x: Array, transposed: bool) -> Array:
        """Return the product with one flat array of the weights' dtype, in either direction."""
        if transposed:
            return self.transpose(x.reshape(1, *self.small_shape)).reshape(-1)
        return self.forward(x.reshape(1, *self.large_shape)).reshape(-1)


class PaddedMethod(Method):
    """A method that computes with an input extended by its padding.

    Padded zeros are multiplied like any sample: with a kernel that is not finite they would make NaN
    where the matrix has no entry, so such kernels are refused.
    """

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method does not take such a convolution, or None."""
        del geometry
        if not bool(np.isfinite(weights).all()):
            return "a kernel with NaN or infinity (padded zeros would spread it)"
        return None


def folding(axes: Sequence[Axis], xp: Any = np) -> Extension:
    """Return what folds the padding back: nothing along axes with zeros outside, which is dropped."""
    return Extension(tuple(_unpadded(a) if a.reach == "zeros" else a for a in axes), xp)


def far_padding(axes: Sequence[Axis]) -> tuple[Extension, tuple[Axis, ...]]:
    """Take away the padding of axes that repeat the signal more than once on a side.

    Returns
    -------
    padding : Extension
        What pads arrays along these axes, and folds them back. It does nothing along all others.
    axes : tuple of Axis
        What is left to do: these axes of the padded array, unpadded, and the others as they are.
    """
    far = [a.reach != "zeros" and (a.low < -a.size or a.high >= 2 * a.size) for a in axes]
    padded = tuple(a if long else _unpadded(a) for a, long in zip(axes, far, strict=True))
    left = tuple(
        Axis(a.high - a.low + 1, a.taps, a.stride, 0, 0, a.dilation, "zeros") if long else a
        for a, long in zip(axes, far, strict=True)
    )
    return Extension(padded), left


def _unpadded(axis: Axis) -> Axis:
    """Return an axis of as many samples that needs no padding."""
    return Axis(axis.size, 1, 1, 0, 0, 1, "zeros")
