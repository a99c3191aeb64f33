"""`ChannelsLastOperator`: a convolution on arrays whose channels are the last axis.

It wraps an operator on arrays whose channels are the first axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.display import shown, type_name
from sparsetconv._arrays.results import Spare
from sparsetconv.operators._base import ArrayCore, ArrayOperator, on_backend
from sparsetconv.operators._convolution import Convolution

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.display import Facts
    from sparsetconv._arrays.streams import Place
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry


class ChannelsLastCore(ArrayCore):
    """The operator on either backend; see `ChannelsLastOperator`."""

    operator: Any
    _spare: Spare

    def _where(self) -> Place:
        place: Place = self.operator._where()
        return place

    @classmethod
    def _backend_for(cls, operator: Any = None, *_: Any, **__: Any) -> Backend:
        own: Backend = getattr(operator, "backend", NUMPY)
        return own

    def _on(self, backend: Backend) -> Any:
        return on_backend(ChannelsLastOperator, backend)(self.operator._on(backend))

    @property
    def geometry(self) -> ConvGeometry:
        """Geometry of the forward convolution, channels first."""
        geometry: ConvGeometry = self.operator.geometry
        return geometry

    @property
    def kernel(self) -> Array:
        """The kernel, in the layout of `ConvOperator`."""
        kernel: Array = self.operator.kernel
        return kernel

    @property
    def method(self) -> str:
        """The method that was chosen."""
        return str(self.operator.method)

    @property
    def nnz(self) -> int:
        """Number of entries of the matrix, which is not assembled for this."""
        return int(self.operator.nnz)

    def explain(self) -> str:
        """Say which method was chosen, and why.

        Returns
        -------
        str
            Several lines; see `sparsetconv.ConvOperator.explain`.
        """
        return str(self.operator.explain())

    def _facts(self) -> Facts:
        return super()._facts().adding([("method", repr(self.method))], self.geometry._settings())

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return self._moved(self.operator._apply, x, self.operator.output_shape, out)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self._moved(self.operator._apply_adjoint, y, self.operator.input_shape, out)

    def _moved(
        self, product: Callable[..., Array], x: Array, shape: tuple[int, ...], out: Array | None
    ) -> Array:
        """Return results, which are ``(batch, *shape)`` with channels first."""
        if out is None:
            return _to_back(product(_to_front(x)).reshape(len(x), *shape))
        kept = self._spare.take(out.size, out.dtype)
        first = kept.reshape(len(x), *shape)
        product(_to_front(x), first)
        out[...] = _to_back(first)
        self._spare.put_back(kept)
        return out

    def _adjoint(self) -> ChannelsLastOperator:
        return ChannelsLastOperator(self.operator.H)

    def _transpose(self) -> ChannelsLastOperator:
        return ChannelsLastOperator(self.operator.T)

    def _matrix(self) -> Any:
        asarray = self.backend.asarray
        rows, columns = (asarray(_order(s)) for s in (self.operator.output_shape, self.operator.input_shape))
        matrix = self.operator.tosparse()[rows][:, columns]
        matrix.sort_indices()
        return matrix

    def __reduce__(self) -> tuple[Any, ...]:
        return ChannelsLastOperator, (self.operator,)


class ChannelsLastOperator(ChannelsLastCore, ArrayOperator):
    """A convolution on arrays ``(n1, ..., nd, c)``, as Keras and TensorFlow lay them out.

    Parameters
    ----------
    operator : ConvOperator or ConvTransposeOperator
        The same convolution on arrays ``(c, n1, ..., nd)``.

    Attributes
    ----------
    operator : ConvOperator or ConvTransposeOperator
        As given.
    geometry, kernel, method, nnz : ConvGeometry, array, str, int
        Those of ``operator``, channels first.
    input_shape, output_shape : tuple of int
        Channels last.

    Raises
    ------
    TypeError, ValueError
        If ``operator`` is of another kind, or has no channels.

    Notes
    -----
    With ``P`` and ``Q`` the permutations that bring the channels of an input and of an output to the front,
    the matrix is ``Q.T @ operator.tosparse() @ P``.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> from sparsetconv.operators._channels_last import ChannelsLastOperator
    >>> A = stc.ConvOperator(np.ones((4, 3, 2, 2)), (3, 8, 8))
    >>> ChannelsLastOperator(A).apply(np.ones((5, 8, 8, 3))).shape
    (5, 7, 7, 4)
    """

    def __init__(self, operator: Any) -> None:
        if not isinstance(operator, Convolution):
            msg = f"operator must be a ConvOperator or ConvTransposeOperator, got {type_name(operator)}"
            raise TypeError(msg)
        if not operator.geometry.has_channels:
            msg = f"operator must be a convolution with channels, got one on {shown(operator.input_shape)}"
            raise ValueError(msg)
        self._prepare(operator.dtype, _last(operator.input_shape), _last(operator.output_shape))
        self.operator = operator
        self._spare = Spare(self.backend)


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return *shape[1:], shape[0]


def _to_front(x: Array) -> Array:
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def _to_back(x: Array) -> Array:
    return x.transpose(0, *range(2, x.ndim), 1)


def _order(shape: tuple[int, ...]) -> Array:
    """Return the flat channels-first index of each element, in channels-last order."""
    return np.moveaxis(np.arange(np.prod(shape)).reshape(shape), 0, -1).reshape(-1)
