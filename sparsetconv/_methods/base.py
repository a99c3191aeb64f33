"""The base classes of the methods, and helpers that several methods share.

A method is given a geometry and weights of the shape ``(groups, c_out, c_in, k1, ..., kd)``, with the
channels of one group; it knows nothing of operators. Arrays have a batch axis and a group axis in front.
Axes are merged where possible (``merge``) before anything is planned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.switches import compiler_switch
from sparsetconv._arrays.validation import is_half
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.extension import Extension
from sparsetconv._geometry.padding import ZEROS
from sparsetconv._methods.merge import arrangement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work


# no warnings about NaN and infinity, which the user has given; compiled loops do not warn either
quiet = np.errstate(invalid="ignore", over="ignore")


class Method(ABC):
    """A convolution and its transpose, computed in one way.

    Parameters
    ----------
    geometry : ConvGeometry
    weights : (groups, c_out, c_in, k1, ..., kd) array
        Never written to.
    backend : Backend
        The backend of the weights and of all other arrays.

    Attributes
    ----------
    geometry, weights : ConvGeometry, array
        Those given, with merged axes: arrays have the same elements in the same order, and the matrix is the
        same.
    name : str
        What ``method=`` calls it.
    compiled : bool
        Whether the method needs numba's compiler.
    assembles : bool
        Whether it multiplies with the assembled matrix.
    large_shape, small_shape : tuple of int
        ``(groups, channels, ...)`` of the input and of the output of the forward direction.
    """

    name: ClassVar[str]
    compiled: ClassVar[bool] = False
    assembles: ClassVar[bool] = False

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        arranged = arrangement(geometry)
        self.geometry = geometry = arranged.geometry
        self.weights = arranged.weights(weights)
        self.backend = backend
        groups, (c_in, c_out) = geometry.groups, geometry.channels
        self.large_shape = (groups, c_in, *(axis.size for axis in geometry.axes))
        self.small_shape = (groups, c_out, *(axis.outputs for axis in geometry.axes))

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return what this method does not accept in a convolution, or None if it accepts all of it."""
        del geometry, weights
        return None

    @staticmethod
    @abstractmethod
    def seconds(work: Work, rates: Rates) -> float:
        """Return the estimated seconds of one product in one direction."""

    @classmethod
    def objection(cls, geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method cannot compute a convolution, for an error message, or None if it can."""
        switch = compiler_switch() if cls.compiled else None
        if switch is not None:
            return f"needs numba's compiler, which {switch} turns off"
        refusal = cls.refusal(geometry, weights)
        return None if refusal is None else f"does not accept {refusal}"

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
    """A method that computes on the padded input.

    Padded zeros are multiplied like any sample: times NaN or infinity in a kernel they would give NaN where
    the matrix has no entry, so such kernels are refused.
    """

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """See `Method.refusal`."""
        del geometry
        if is_half(weights.dtype):
            return "a kernel of half precision"
        if not bool(np.isfinite(weights).all()):
            return "a kernel with NaN or infinity (padded zeros would spread it)"
        return None


def padding_of(axes: Sequence[Axis], xp: Any = np) -> Extension:
    """Return the extension that pads and unpads all axes but those whose effective padding mode is zeros."""
    return Extension(tuple(_unpadded(a) if a.effective_mode.zero else a for a in axes), xp)


def far_padding(axes: Sequence[Axis]) -> tuple[Extension, tuple[Axis, ...]]:
    """Split off the padding of axes that is longer than the signal on either end.

    Returns
    -------
    padding : Extension
        Pads arrays along these axes, and unpads them. It does nothing along all other axes.
    axes : tuple of Axis
        The axes of the padded array: those that were padded need none, the others are as they were.
    """
    far = [not a.effective_mode.zero and (a.low < -a.size or a.high >= 2 * a.size) for a in axes]
    padded = tuple(a if long else _unpadded(a) for a, long in zip(axes, far, strict=True))
    left = tuple(
        replace(a, size=a.high - a.low + 1, before=0, after=0, mode=ZEROS.name) if long else a
        for a, long in zip(axes, far, strict=True)
    )
    return Extension(padded), left


def _unpadded(axis: Axis) -> Axis:
    """Return an axis of the same size with one tap and no padding, along which nothing happens."""
    return Axis.plain(axis.size)


def entry_dtype(geometry: ConvGeometry, weights: np.dtype[Any], result: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which a matrix holds its entries, for products with results of a dtype.

    It is the dtype of the weights, unless padding makes several taps read one sample: their sum is an entry,
    and it is taken in the result's dtype (its real dtype for real weights).
    """
    folds = any(
        not axis.effective_mode.zero and axis.nnz < axis.outputs * axis.taps for axis in geometry.axes
    )
    if not folds:
        return weights
    return result if weights.kind == "c" else np.zeros(0, result).real.dtype


def real_parts(x: Array, xp: Any = np) -> Array:
    """Return the real parts of a batch of complex arrays, then their imaginary parts, as one batch."""
    parts: Array = xp.concatenate([x.real, x.imag])
    return parts


def joined_parts(x: Array, dtype: np.dtype[Any], xp: Any = np) -> Array:
    """Return the batch of complex arrays whose `real_parts` are ``x``: the inverse of `real_parts`."""
    batch = len(x) // 2
    joined: Array = xp.empty((batch, *x.shape[1:]), dtype)
    joined.real[...], joined.imag[...] = x[:batch], x[batch:]
    return joined
