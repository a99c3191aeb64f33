"""`ArrayOperator`: a linear operator between arrays, its adjoint, and its Gram operator.

Floor 4. It turns all that SciPy may ask for into two methods on batches of arrays, which subclasses define.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from sparsetconv._kernel import SUPPORTED
from sparsetconv._threads import for_each, thread_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._types import Array

# rows of a matrix that are turned at once, and elements for which that pays
COPY_ROWS, COPY_WORK = 1024, 1 << 17


class ArrayOperator(LinearOperator):  # type: ignore[misc]
    """A linear operator between arrays of two fixed shapes.

    Subclasses define ``_apply`` and ``_apply_adjoint`` on a batch of arrays; everything that SciPy asks for
    follows, for vectors, matrices and (SciPy 1.18) batches, with no loop over columns.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def __init__(
        self, dtype: np.dtype[Any], input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> None:
        super().__init__(dtype, (prod(output_shape), prod(input_shape)))
        self.input_shape = input_shape
        self.output_shape = output_shape

    def _apply(self, x: Array) -> Array:
        """Return ``(batch, *output_shape)`` from ``(batch, *input_shape)``."""
        raise NotImplementedError

    def _apply_adjoint(self, y: Array) -> Array:
        """Apply the conjugate transpose: ``(batch, *input_shape)`` from ``(batch, *output_shape)``."""
        raise NotImplementedError

    def apply(self, x: ArrayLike) -> Array:
        """Apply the operator to arrays instead of vectors.

        Parameters
        ----------
        x : ``(*batch, *input_shape)`` array_like

        Returns
        -------
        ``(*batch, *output_shape)`` array

        Raises
        ------
        ValueError
            If the shape does not end in `input_shape`.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator(np.ones((3, 3)), (8, 8), padding="same")
        >>> A.apply(np.ones((5, 2, 8, 8))).shape
        (5, 2, 8, 8)
        """
        array = self._checked(x)
        batch = array.shape[: array.ndim - len(self.input_shape)]
        if array.shape[len(batch) :] != self.input_shape:
            msg = f"x must have a shape that ends in input_shape {self.input_shape}, got {array.shape}"
            if array.ndim == 1 and array.size == self.shape[1]:
                msg += "; flat vectors are multiplied by A @ x"
            raise ValueError(msg)
        return self._on_batch(array.reshape(prod(batch), *self.input_shape), False).reshape(
            *batch, *self.output_shape
        )

    def _on_batch(self, x: Array, adjoint: bool) -> Array:
        """Apply in one direction to a batch, which may be empty."""
        if not x.shape[0]:
            return np.zeros(
                (0, *(self.input_shape if adjoint else self.output_shape)), np.result_type(x, self.dtype)
            )
        return self._apply_adjoint(x) if adjoint else self._apply(x)

    def _checked(self, x: Any) -> Array:
        """Return an array whose products with the operator have a dtype that all methods know."""
        array = np.asarray(x)
        result = np.result_type(array.dtype, self.dtype)
        if result not in SUPPORTED:
            msg = f"x must be of a real, complex or integer dtype up to double precision, got {array.dtype}"
            raise TypeError(msg)
        return array

    def _vectors(self, x: Array, adjoint: bool) -> Array:
        """Apply to ``(..., n)``."""
        array = self._checked(x)
        here, there = self.input_shape, self.output_shape
        if adjoint:
            here, there = there, here
        lead = array.shape[:-1]
        return self._on_batch(array.reshape(prod(lead), *here), adjoint).reshape(*lead, prod(there))

    def matvec(self, x: ArrayLike) -> Array:
        """Multiply with a vector, ``(n,)`` or ``(n, 1)``, as `scipy.sparse.linalg.LinearOperator.matvec`."""
        if type(x) is np.ndarray and x.ndim == 1 and x.dtype == self.dtype and x.size == self.shape[1]:
            # what solvers call, without SciPy's checks, which take longer than a small product
            return self._flat(x, False)
        product: Array = super().matvec(x)
        return product

    def rmatvec(self, x: ArrayLike) -> Array:
        """Multiply the adjoint with a vector, as `scipy.sparse.linalg.LinearOperator.rmatvec`."""
        if type(x) is np.ndarray and x.ndim == 1 and x.dtype == self.dtype and x.size == self.shape[0]:
            return self._flat(x, True)
        product: Array = super().rmatvec(x)
        return product

    def _flat(self, x: Array, adjoint: bool) -> Array:
        """Apply to a vector of the operator's dtype."""
        if adjoint:
            return self._apply_adjoint(x.reshape(1, *self.output_shape)).reshape(-1)
        return self._apply(x.reshape(1, *self.input_shape)).reshape(-1)

    def __matmul__(self, other: Any) -> Any:
        if type(other) is np.ndarray:
            if other.ndim == 1:
                return self.matvec(other)
            own = other.shape[-len(self.input_shape) :] == self.input_shape
            if own and other.ndim > 1 and other.shape[-2] != self.shape[1]:
                msg = (
                    f"the operand must be a vector or a matrix with {self.shape[1]} rows, got the shape "
                    f"{other.shape}, which ends in input_shape: arrays are what .apply takes"
                )
                raise ValueError(msg)
        return super().__matmul__(other)

    def _matvec(self, x: Array) -> Array:
        # SciPy before 1.18 passes (n, 1) on
        return self._vectors(x.reshape(-1) if x.shape == (self.shape[1], 1) else x, False)

    def _rmatvec(self, x: Array) -> Array:
        return self._vectors(x.reshape(-1) if x.shape == (self.shape[0], 1) else x, True)

    def _matmat(self, X: Array) -> Array:
        return self._vectors(_columns(self._dense(X)), False).swapaxes(-1, -2)

    def _rmatmat(self, X: Array) -> Array:
        return self._vectors(_columns(self._dense(X)), True).swapaxes(-1, -2)

    @staticmethod
    def _dense(x: Any) -> Array:
        if not isinstance(x, np.ndarray):
            msg = f"the operand must be a dense array, got {type(x).__name__}; use .tosparse() @ operand"
            raise TypeError(msg)
        return x

    def _adjoint(self) -> ArrayOperator:
        return AdjointOperator(self)

    def tosparse(self, format: str = "csr") -> Any:
        """Return the operator's matrix.

        Parameters
        ----------
        format : str
            Any of SciPy's.

        Returns
        -------
        scipy.sparse array
        """
        raise NotImplementedError

    def gram(self) -> GramOperator:
        """Return the operator's Gram operator, ``A.H @ A``.

        Returns
        -------
        GramOperator
            Self-adjoint and positive semidefinite, for `scipy.sparse.linalg.cg`.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator([1.0, 2.0], 3)
        >>> A.gram() @ np.array([1.0, 0.0, 0.0])
        array([1., 2., 0.])
        """
        return GramOperator(self)


def _columns(x: Array) -> Array:
    """Return ``(..., k, n)`` from ``(..., n, k)``; a large matrix is copied, block by block, in threads."""
    if x.ndim != 2 or x.size < COPY_WORK or x.flags.f_contiguous:
        return x.swapaxes(-1, -2)
    columns = np.empty(x.shape[::-1], x.dtype)

    workers = thread_count()
    cuts = [len(x) * n // workers for n in range(workers + 1)]

    def copy(number: int) -> None:
        last = cuts[number + 1]
        for start in range(cuts[number], last, COPY_ROWS):
            rows = slice(start, min(start + COPY_ROWS, last))
            columns[:, rows] = x[rows].T

    for_each(copy, range(workers), workers)
    return columns


class AdjointOperator(ArrayOperator):
    """The adjoint ``A.H`` of an operator, itself one between arrays.

    Parameters
    ----------
    operator : ArrayOperator
        ``A``.
    """

    def __init__(self, operator: ArrayOperator) -> None:
        super().__init__(operator.dtype, operator.output_shape, operator.input_shape)
        self.operator = operator

    def _apply(self, x: Array) -> Array:
        return self.operator._apply_adjoint(x)

    def _apply_adjoint(self, y: Array) -> Array:
        return self.operator._apply(y)

    def _adjoint(self) -> ArrayOperator:
        return self.operator

    def _transpose(self) -> Any:
        # the plain transpose of a real operator is its adjoint
        return self.operator if self.dtype.kind != "c" else super()._transpose()

    def tosparse(self, format: str = "csr") -> Any:
        """Return the conjugate transpose of the operator's matrix.

        Parameters
        ----------
        format : str
            Any of SciPy's.

        Returns
        -------
        scipy.sparse array
        """
        return self.operator.tosparse().conj().T.asformat(format)

    def __repr__(self) -> str:
        return f"<{self.shape[0]}x{self.shape[1]} adjoint of {self.operator!r}>"


class GramOperator(ArrayOperator):
    """The Gram operator ``A.H @ A`` of an operator.

    Parameters
    ----------
    operator : ArrayOperator
        ``A``.
    """

    def __init__(self, operator: ArrayOperator) -> None:
        super().__init__(operator.dtype, operator.input_shape, operator.input_shape)
        self.operator = operator

    def _apply(self, x: Array) -> Array:
        return self.operator._apply_adjoint(self.operator._apply(x))

    def _apply_adjoint(self, y: Array) -> Array:
        return self._apply(y)

    def _adjoint(self) -> Self:
        return self

    def tosparse(self, format: str = "csr") -> Any:
        """Return ``A.H @ A`` as a sparse array, multiplied by SciPy.

        Parameters
        ----------
        format : str
            Any of SciPy's.

        Returns
        -------
        scipy.sparse array
        """
        matrix = self.operator.tosparse()
        return (matrix.conj().T @ matrix).asformat(format)
