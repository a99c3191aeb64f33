"""`DiagonalOperator`: each entry of an array times a weight of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsetconv._arrays.backend import backend_of
from sparsetconv._arrays.streams import Place, on_device
from sparsetconv._arrays.validation import as_array
from sparsetconv.operators._base import ArrayCore, ArrayOperator, on_backend

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.display import Facts
    from sparsetconv._arrays.types import Array


class DiagonalCore(ArrayCore):
    """The operator on either backend; see `DiagonalOperator`."""

    weights: Array

    @classmethod
    def _backend_for(cls, weights: Any = None, *_: Any, **__: Any) -> Backend:
        return backend_of("weights", weights)

    def _settle(self, weights: Array) -> None:
        self._prepare(weights.dtype, weights.shape, weights.shape)
        with on_device(self.backend, self.backend.device_of(weights)):
            self.weights = self.backend.frozen(weights)
            self._place = Place(self.backend)

    def _apply(self, x: Array) -> Array:
        y: Array = x * self.weights
        return y

    def _apply_adjoint(self, y: Array) -> Array:
        x: Array = y * self.weights.conj()
        return x

    def _matrix(self) -> Any:
        steps = self.backend.xp.arange(self.nnz + 1, dtype="int32")
        return self.backend.csr(self.weights.ravel(), steps[:-1], steps, self.shape)

    def _on(self, backend: Backend) -> Any:
        return on_backend(DiagonalOperator, backend)(backend.asarray(self.weights))

    def __reduce__(self) -> tuple[Any, ...]:
        return DiagonalOperator, (self.weights,)

    @property
    def nnz(self) -> int:
        """Entries of the matrix."""
        return int(self.weights.size)

    def _facts(self) -> Facts:
        return super()._facts().adding(rows=[("weights", str(self.weights.shape))])


class DiagonalOperator(DiagonalCore, ArrayOperator):
    """The product with weights, entry by entry, as a linear operator.

    Parameters
    ----------
    weights : ``(n1, ..., nd)`` array_like
        A copy is kept. With a CuPy array the operator is CuPy's, on CuPy arrays.

    Notes
    -----
    ``D[i, i] = weights.ravel()[i]``; all other entries are zero.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> D = stc.operators.DiagonalOperator([[1.0, 2.0], [3.0, 4.0]])
    >>> D.apply([[1.0, 1.0], [2.0, 2.0]])
    array([[1., 2.],
           [6., 8.]])
    """

    def __init__(self, weights: ArrayLike) -> None:
        self._settle(as_array("weights", weights))
