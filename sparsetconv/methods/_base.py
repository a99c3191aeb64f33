"""What every way of multiplying offers.

Floor 3. A method knows a geometry and weights in the one layout ``(groups, c_out, c_in, k1, ..., kd)``,
channels those of a group; it knows neither operators nor users. Arrays have a batch axis and a group
axis in front.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sparsetconv.boundary import Extension

if TYPE_CHECKING:
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class Method(ABC):
    """A convolution and its transpose, computed in one way.

    Parameters
    ----------
    geometry : ConvGeometry
    weights : (groups, c_out, c_in, k1, ..., kd) array
        Never written to.
    """

    name: ClassVar[str]

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        self.geometry = geometry
        self.weights = weights

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


class PaddedMethod(Method):
    """A method that pads the input, then runs a valid convolution on it.

    Padded zeros are multiplied like any sample: with a kernel that is not finite they would make NaN
    where the matrix has no entry, so such kernels are refused.
    """

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        super().__init__(geometry, weights)
        self.extension = Extension(geometry.axes)
        self.taps = tuple(axis.taps for axis in geometry.axes)
        self.outputs = tuple(axis.outputs for axis in geometry.axes)

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method does not take such a convolution, or None."""
        del geometry
        if not np.isfinite(weights).all():
            return "a kernel with NaN or infinity (padded zeros would spread it)"
        return None
