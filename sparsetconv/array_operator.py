"""`ArrayOperator`: a linear operator between arrays, its adjoint, and its Gram operator.

Floor 4. `ArrayCore` turns all that SciPy or CuPy may ask for into two methods on batches of arrays, which
subclasses define. An operator is a core on top of a base: the class that users name is on SciPy's
`LinearOperator`, and `on_backend` puts the same core on CuPy's when the first CuPy array arrives.
"""

from __future__ import annotations

from functools import cache
from inspect import signature
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from sparsetconv import _display
from sparsetconv._backend import NUMPY, check_backend, device_backend, is_cupy
from sparsetconv._kernel import SUPPORTED
from sparsetconv._threads import for_each, thread_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._backend import Backend
    from sparsetconv._types import Array

# rows of a matrix that are turned at once, and elements for which that pays
COPY_ROWS, COPY_WORK = 1024, 1 << 17


class ArrayCore:
    """A linear operator between arrays of two fixed shapes, whatever its base.

    Subclasses define ``_apply`` and ``_apply_adjoint`` on a batch of arrays; everything that the bases ask
    for follows, for vectors, matrices and (SciPy 1.18) batches, with no loop over columns.

    Attributes
    ----------
    backend : Backend
        Of all arrays.
    input_shape, output_shape : tuple of int
    shape : tuple of int
    dtype : dtype
    """

    backend: ClassVar[Backend] = NUMPY
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def _prepare(
        self, dtype: np.dtype[Any], input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> None:
        """Initialize the base."""
        self.backend.linear_operator.__init__(self, dtype, (prod(output_shape), prod(input_shape)))
        self.input_shape = input_shape
        self.output_shape = output_shape

    def _on(self, backend: Backend) -> Any:
        """Return the same operator on arrays of another backend."""
        raise NotImplementedError

    @classmethod
    def _backend_for(cls, *args: Any, **kwargs: Any) -> Backend:
        """Return the backend that the arguments of the constructor ask for."""
        del args, kwargs
        return NUMPY

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
            shape = self.input_shape if adjoint else self.output_shape
            empty: Array = self.backend.xp.zeros((0, *shape), np.result_type(x.dtype, self.dtype))
            return empty
        return self._apply_adjoint(x) if adjoint else self._apply(x)

    def _checked(self, x: Any) -> Array:
        """Return an array whose products with the operator have a dtype that all methods know."""
        check_backend("x", x, self.backend, "the operator")
        array: Array = x if self.backend.on_gpu else np.asarray(x)
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

    def _flat(self, x: Array, adjoint: bool) -> Array:
        """Apply to a vector of the operator's dtype."""
        if adjoint:
            return self._apply_adjoint(x.reshape(1, *self.output_shape)).reshape(-1)
        return self._apply(x.reshape(1, *self.input_shape)).reshape(-1)

    def _matvec(self, x: Array) -> Array:
        # SciPy before 1.18, and CuPy, pass (n, 1) on
        return self._vectors(x.reshape(-1) if x.shape == (self.shape[1], 1) else x, False)

    def _rmatvec(self, x: Array) -> Array:
        return self._vectors(x.reshape(-1) if x.shape == (self.shape[0], 1) else x, True)

    def _matmat(self, X: Array) -> Array:
        return self._vectors(self._columns(X), False).swapaxes(-1, -2)

    def _rmatmat(self, X: Array) -> Array:
        return self._vectors(self._columns(X), True).swapaxes(-1, -2)

    def _refuse_pictures(self, x: Array) -> None:
        """Say where arrays belong that were given for a matrix."""
        own = x.shape[-len(self.input_shape) :] == self.input_shape
        if own and x.ndim > 1 and x.shape[-2] != self.shape[1]:
            msg = (
                f"the operand must be a vector or a matrix with {self.shape[1]} rows, got the shape "
                f"{x.shape}, which ends in input_shape: arrays are what .apply takes"
            )
            raise ValueError(msg)

    def _columns(self, x: Any) -> Array:
        """Return ``(..., k, n)`` from ``(..., n, k)``."""
        check_backend("the operand", x, self.backend, "the operator")
        if not isinstance(x, self.backend.xp.ndarray):
            msg = f"the operand must be a dense array, got {type(x).__name__}; use .tosparse() @ operand"
            raise TypeError(msg)
        columns: Array = x.swapaxes(-1, -2) if self.backend.on_gpu else _turned(x)
        return columns

    def _adjoint(self) -> ArrayCore:
        adjoint: ArrayCore = on_backend(AdjointOperator, self.backend)(self)
        return adjoint

    def tosparse(self, format: str = "csr") -> Any:
        """Return the operator's matrix.

        Parameters
        ----------
        format : str
            Any of SciPy's.

        Returns
        -------
        scipy.sparse array
            CuPy's, for an operator on CuPy arrays.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return _display.operator_text(self)

    def _repr_html_(self) -> str:
        return _display.operator_html(self)

    def gram(self) -> GramCore:
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
        gram: GramCore = on_backend(GramOperator, self.backend)(self)
        return gram


def _turned(x: Array) -> Array:
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


class ArrayOperator(LinearOperator):  # type: ignore[misc]
    """The base of operators on NumPy arrays: SciPy's, with less to check.

    A subclass puts a core in front of it, and adds a constructor. Where the arguments ask for another
    backend, what is constructed is an operator of that backend's class.
    """

    backend: ClassVar[Backend] = NUMPY
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __init_subclass__(cls) -> None:
        """Show the constructor's parameters, which `__new__` would hide."""
        super().__init_subclass__()
        own = signature(cls.__init__)
        cls.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return an instance, of the class that the arguments ask for."""
        backend: Backend = cls._backend_for(*args, **kwargs)
        if backend.on_gpu:
            of_backend: Any = on_backend
            return of_backend(cls, backend)(*args, **kwargs)
        return super().__new__(cls)

    def matvec(self, x: ArrayLike) -> Array:
        """Multiply with a vector, ``(n,)`` or ``(n, 1)``, as `scipy.sparse.linalg.LinearOperator.matvec`."""
        if type(x) is np.ndarray and x.ndim == 1 and x.dtype == self.dtype and x.size == self.shape[1]:
            # what solvers call, without SciPy's checks, which take longer than a small product
            product: Array = self._flat(x, False)
            return product
        self._refuse_cupy(x)
        slow: Array = super().matvec(x)
        return slow

    def rmatvec(self, x: ArrayLike) -> Array:
        """Multiply the adjoint with a vector, as `scipy.sparse.linalg.LinearOperator.rmatvec`."""
        if type(x) is np.ndarray and x.ndim == 1 and x.dtype == self.dtype and x.size == self.shape[0]:
            product: Array = self._flat(x, True)
            return product
        self._refuse_cupy(x)
        slow: Array = super().rmatvec(x)
        return slow

    def matmat(self, X: Any) -> Any:
        """Multiply with a matrix, as `scipy.sparse.linalg.LinearOperator.matmat`."""
        self._refuse_cupy(X)
        return super().matmat(X)

    def rmatmat(self, X: Any) -> Any:
        """Multiply the adjoint with a matrix, as `scipy.sparse.linalg.LinearOperator.rmatmat`."""
        self._refuse_cupy(X)
        return super().rmatmat(X)

    def dot(self, x: Any) -> Any:
        """Multiply with a vector, a matrix or an operator, as `scipy.sparse.linalg.LinearOperator.dot`."""
        self._refuse_cupy(x)
        return super().dot(x)

    def _refuse_cupy(self, x: Any) -> None:
        """Say how to convert what SciPy could not."""
        if is_cupy(x):
            check_backend("x", x, self.backend, "the operator")

    def __matmul__(self, other: Any) -> Any:
        if type(other) is np.ndarray:
            if other.ndim == 1:
                return self.matvec(other)
            self._refuse_pictures(other)
        return super().__matmul__(other)


@cache
def on_backend(operator: Any, backend: Backend) -> Any:
    """Return the class of an operator for a backend's arrays: the same core and constructor on its base."""
    if not backend.on_gpu:
        return operator
    (core,) = (base for base in operator.__bases__ if issubclass(base, ArrayCore))
    own = {name: value for name, value in vars(operator).items() if name not in ("__dict__", "__weakref__")}

    def multiply(self: Any, other: Any) -> Any:
        if isinstance(other, backend.xp.ndarray):
            self._refuse_pictures(other)
        return backend.linear_operator.__matmul__(self, other)

    members = {**own, "backend": backend, "__matmul__": multiply}
    return type(f"{backend.title}{operator.__name__}", (core, backend.linear_operator), members)


def to_device(op: Any, device: str) -> Any:
    """Return the same operator on the arrays of another device.

    Parameters
    ----------
    op : operator
        Any of this package's.
    device : {"numpy", "cupy"}
        ``"cupy"`` is the current GPU.

    Returns
    -------
    operator
        ``op`` itself where it is there already. A method that was chosen by ``"auto"`` is chosen anew.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.
    ImportError, RuntimeError
        If CuPy, its libraries or a GPU are missing.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> A = stc.ConvOperator([1.0, 2.0], 3)
    >>> stc.to_device(A, "numpy") is A
    True
    """
    if not isinstance(op, ArrayCore):
        msg = f"op must be an operator of sparsetconv, got {type(op).__name__}; arrays go by cupy.asarray"
        raise TypeError(msg)
    backend = device_backend(device)
    return op if op.backend == backend else op._on(backend)


class AdjointCore(ArrayCore):
    """The adjoint ``A.H`` of an operator, itself one between arrays.

    Parameters
    ----------
    operator : ArrayCore
        ``A``.
    """

    def __init__(self, operator: ArrayCore) -> None:
        self._prepare(operator.dtype, operator.output_shape, operator.input_shape)
        self.operator = operator

    def _apply(self, x: Array) -> Array:
        return self.operator._apply_adjoint(x)

    def _apply_adjoint(self, y: Array) -> Array:
        return self.operator._apply(y)

    def _on(self, backend: Backend) -> Any:
        return on_backend(AdjointOperator, backend)(self.operator._on(backend))

    def _adjoint(self) -> ArrayCore:
        return self.operator

    def _transpose(self) -> Any:
        # the plain transpose of a real operator is its adjoint
        return self.operator if self.dtype.kind != "c" else self.backend.linear_operator._transpose(self)

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


class AdjointOperator(AdjointCore, ArrayOperator):
    """The adjoint ``A.H`` of an operator on NumPy arrays; see ``AdjointCore``."""


class GramCore(ArrayCore):
    """The Gram operator ``A.H @ A`` of an operator.

    Parameters
    ----------
    operator : ArrayCore
        ``A``.
    """

    def __init__(self, operator: ArrayCore) -> None:
        self._prepare(operator.dtype, operator.input_shape, operator.input_shape)
        self.operator = operator

    def _apply(self, x: Array) -> Array:
        return self.operator._apply_adjoint(self.operator._apply(x))

    def _apply_adjoint(self, y: Array) -> Array:
        return self._apply(y)

    def _on(self, backend: Backend) -> Any:
        return on_backend(GramOperator, backend)(self.operator._on(backend))

    def _adjoint(self) -> Self:
        return self

    def tosparse(self, format: str = "csr") -> Any:
        """Return ``A.H @ A`` as a sparse array, multiplied by SciPy or CuPy.

        Parameters
        ----------
        format : str
            Any of SciPy's.

        Returns
        -------
        scipy.sparse array
            CuPy's, for an operator on CuPy arrays.
        """
        # both directions are assembled, neither is transposed
        return (self.operator._adjoint().tosparse() @ self.operator.tosparse()).asformat(format)


class GramOperator(GramCore, ArrayOperator):
    """The Gram operator ``A.H @ A`` of an operator on NumPy arrays; see ``GramCore``."""
