"""The base classes of the methods, and helpers that several methods share.

A method takes a geometry and weights of shape ``(groups, c_out, c_in, k1, ..., kd)``, where ``c_out`` and
``c_in`` are the channels of one group; it does not depend on the operators. Arrays have a batch axis and a
group axis in front. Axes are merged where possible (see ``merge``) before a method makes its plan.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.results import result_array
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


# no warnings for NaN and infinity in the user's arrays; the compiled loops do not warn either
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
        The given ones with merged axes. The matrix is the same, and arrays have the same elements in the same
        order.
    name : str
        The name in ``method=``.
    compiled : bool
        Whether the method needs numba's compiler.
    assembles : bool
        Whether it multiplies with the assembled matrix.
    takes_columns : bool
        Whether a batch is best given as the columns of a contiguous matrix.
    large_shape, small_shape : tuple of int
        ``(groups, channels, ...)`` of the input and of the output of the forward direction.
    """

    name: ClassVar[str]
    compiled: ClassVar[bool] = False
    assembles: ClassVar[bool] = False
    takes_columns: ClassVar[bool] = False

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        arranged = arrangement(geometry)
        self.geometry = geometry = arranged.geometry
        self.weights = arranged.weights(weights)
        self.backend = backend
        groups, (c_in, c_out) = geometry.groups, geometry.channels
        self.large_shape = (groups, c_in, *(axis.size for axis in geometry.axes))
        self.small_shape = (groups, c_out, *(axis.outputs for axis in geometry.axes))

    @classmethod
    def chosen_by(cls, rates: Rates, geometry: ConvGeometry, weights: Array, backend: Backend) -> Self:
        """Return the method, chosen by some rates: what it decides later has to be by the same."""
        del rates
        return cls(geometry, weights, backend)

    def like(self, geometry: ConvGeometry, weights: Array) -> Self:
        """Return the method for another convolution, with the same rates."""
        return type(self)(geometry, weights, self.backend)

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return what this method does not accept about a convolution, or None if it accepts everything."""
        del geometry, weights
        return None

    @staticmethod
    @abstractmethod
    def seconds(work: Work, rates: Rates) -> float:
        """Return the estimated seconds of one product in one direction."""

    @classmethod
    def is_ready(cls, dtype: np.dtype[Any]) -> bool:
        """Return whether nothing is compiled for small products with a kernel of a dtype."""
        del dtype
        return not cls.compiled

    @classmethod
    def objection(cls, geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method cannot compute a convolution, for an error message, or None if it can."""
        switch = compiler_switch() if cls.compiled else None
        if switch is not None:
            return f"needs numba's compiler, which {switch} turns off"
        refusal = cls.refusal(geometry, weights)
        return None if refusal is None else f"does not accept {refusal}"

    @abstractmethod
    def forward(self, x: Array, out: Array | None = None) -> Array:
        """Return ``(batch, groups, c_out, m1, ..., md)`` from ``(batch, groups, c_in, n1, ..., nd)``.

        The result is in ``out`` if that is given: in C order, of the result's shape and dtype, and apart from
        ``x`` in memory.
        """

    @abstractmethod
    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """Return the plain transpose (no conjugate) applied to ``(batch, groups, c_out, m1, ..., md)``."""

    def vector(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """Return the product with one flat array of the weights' dtype, in either direction, flat."""
        small, large = (1, *self.small_shape), (1, *self.large_shape)
        if transposed:
            return self.transpose(x.reshape(small), None if out is None else out.reshape(large)).reshape(-1)
        return self.forward(x.reshape(large), None if out is None else out.reshape(small)).reshape(-1)


class PaddedMethod(Method):
    """A method that computes on the padded input.

    Padded zeros are multiplied by weights like any sample. With NaN or infinity in the kernel the results
    would be NaN where the matrix has no entry, so such kernels are refused.
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
    """Return the extension that pads and unpads the axes whose effective padding mode is not zeros."""
    return Extension(tuple(_unpadded(a) if a.effective_mode.zero else a for a in axes), xp)


def far_padding(axes: Sequence[Axis]) -> tuple[Extension, tuple[Axis, ...]]:
    """Split off the padding of the axes that are padded by more than the signal's length at either end.

    Returns
    -------
    padding : Extension
        Pads and unpads arrays along these axes only.
    axes : tuple of Axis
        The axes of the padded array. Those that ``padding`` pads have no padding left; the others are
        unchanged.
    """
    far = [not a.effective_mode.zero and (a.low < -a.size or a.high >= 2 * a.size) for a in axes]
    padded = tuple(a if long else _unpadded(a) for a, long in zip(axes, far, strict=True))
    left = tuple(
        replace(a, size=a.high - a.low + 1, before=0, after=0, mode=ZEROS.name) if long else a
        for a, long in zip(axes, far, strict=True)
    )
    return Extension(padded), left


def _unpadded(axis: Axis) -> Axis:
    """Return an axis of the same size with one tap and no padding, which ``padding`` leaves unchanged."""
    return Axis.plain(axis.size)


def entry_dtype(geometry: ConvGeometry, weights: np.dtype[Any], result: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the matrix's entries, for products whose results have dtype ``result``.

    It is the dtype of the weights, unless padding makes several taps read one sample. The entry is then the
    sum of their weights, which is computed in the result's dtype (its real dtype for real weights).
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


def joined_parts(x: Array, dtype: np.dtype[Any], xp: Any = np, out: Array | None = None) -> Array:
    """Return the batch of complex arrays whose `real_parts` are ``x``: the inverse of `real_parts`."""
    batch = len(x) // 2
    joined = result_array(out, (batch, *x.shape[1:]), dtype, xp)
    joined.real[...], joined.imag[...] = x[:batch], x[batch:]
    return joined
