"""`ArrayOperator`: a linear operator between arrays, its adjoint, its transpose, and its Gram operator.

`ArrayCore` has the products, from `ArrayProducts`, and makes adjoint, transpose and Gram operator. An
operator class combines a core with a base class: public classes derive from SciPy's `LinearOperator`, and
`on_backend` combines the same core with CuPy's when the first CuPy array is passed.
"""

from __future__ import annotations

from functools import cache
from inspect import signature
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, TypeVar, overload

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from sparsetconv._arrays import display
from sparsetconv._arrays.backend import NUMPY, check_backend, device_backend, is_cupy
from sparsetconv._arrays.display import Facts, shown, type_name
from sparsetconv._arrays.results import Spare, conjugated
from sparsetconv._arrays.validation import refuse_what_is_no_array, to_array
from sparsetconv._assembly.formats import FORMATS
from sparsetconv._geometry import validation
from sparsetconv.operators._device_products import DeviceProducts
from sparsetconv.operators._products import ArrayProducts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.backend import Backend, Device
    from sparsetconv._arrays.streams import Place
    from sparsetconv._arrays.types import CSR, Array, SparseArray
    from sparsetconv._assembly.formats import Format


Operator = TypeVar("Operator", bound="ArrayCore")

# SciPy takes batches of matrices from 1.18 on, which brought `xp`
LARGEST_NDIM = 64 if "xp" in signature(LinearOperator.__init__).parameters else 2


class ArrayCore(ArrayProducts):
    """A linear operator between arrays of two fixed shapes, independent of its base class.

    Attributes
    ----------
    backend : Backend
        Backend of all arrays.
    input_shape, output_shape : tuple of int
    shape : tuple of int
    dtype : dtype
    """

    def _on(self, backend: Backend) -> Any:
        """Return the same operator on arrays of another backend."""
        raise NotImplementedError

    @classmethod
    def _backend_for(cls, *args: Any, **kwargs: Any) -> Backend:
        """Return the backend that the arguments of the constructor ask for."""
        del args, kwargs
        return NUMPY

    @classmethod
    def _class_for(cls, backend: Backend) -> Any:
        """Return the class of these operators on arrays of a backend."""
        public: Any = getattr(cls, "_public", cls)
        return on_backend(public, backend)

    @classmethod
    def _settled(cls, backend: Backend, *parts: Any) -> Any:
        """Return an operator on a backend, initialized by ``_settle`` instead of the constructor."""
        own = cls._class_for(backend)
        operator = own.__new__(own)
        operator._settle(*parts)
        return operator

    def _adjoint(self) -> ArrayCore:
        adjoint: ArrayCore = on_backend(AdjointOperator, self.backend)(self)
        return adjoint

    def _transpose(self) -> ArrayCore:
        if self.dtype.kind != "c":
            return self._adjoint()
        transpose: ArrayCore = on_backend(TransposedOperator, self.backend)(self)
        return transpose

    def to(self, device: Device) -> Self:
        """Return the same operator on the arrays of another device.

        Parameters
        ----------
        device : {"numpy", "cupy"}
            ``"cupy"`` is the current GPU.

        Returns
        -------
        operator
            The operator itself if it is on that device; a copy otherwise, also from another GPU. A method
            that was chosen by ``"auto"`` is chosen again.

        Raises
        ------
        TypeError, ValueError
            If the device is not one of these words.
        ImportError, RuntimeError
            If CuPy, its libraries or a GPU are missing.

        Examples
        --------
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator([1.0, 2.0], 3)
        >>> A.to("numpy") is A
        True
        """
        backend = device_backend(device)
        place = self._where()
        if self.backend == backend and place.is_current():
            return self
        if not backend.on_gpu:
            with place.entered():
                host: Self = self._on(backend)
            return host
        # copied by the current device, which waits for the other one
        place.order()
        there: Self = self._on(backend)
        return there

    def toarray(self) -> Array:
        """Return the operator's matrix as a dense array.

        Returns
        -------
        (m, n) array
            Of the operator's dtype; CuPy's, for an operator on CuPy arrays.

        Raises
        ------
        MemoryError
            If the array needs more memory than is available; raised before anything is allocated.
        TypeError
            On a GPU, as `tosparse`, for dtypes that CuPy's sparse matrices do not support.

        Examples
        --------
        >>> import sparsetconv as stc
        >>> stc.ConvOperator([1.0, 2.0], 3).toarray()
        array([[1., 2., 0.],
               [0., 1., 2.]])
        """
        with self._where().entered():
            nbytes = prod(self.shape) * self.dtype.itemsize
            self.backend.require("the dense array", nbytes, ".tosparse() stores only the entries")
            dense: Array = self.tosparse().toarray()
            return dense

    @overload
    def tosparse(self, format: Literal["csr"] = "csr") -> CSR: ...
    @overload
    def tosparse(self, format: Format) -> SparseArray: ...
    def tosparse(self, format: Format = "csr") -> SparseArray:
        """Return the operator's matrix.

        Parameters
        ----------
        format : {"csr", "csc", "coo", "bsr", "dia"}
            For convolutions, as for `conv_matrix`.

        Returns
        -------
        scipy.sparse array
            As from `conv_matrix`, `conv_transpose_matrix` or `resize_matrix`; CuPy's, for an operator on CuPy
            arrays.

        Raises
        ------
        TypeError, ValueError
            If the format is not one of these words, or does not fit a convolution.
        MemoryError
            If the matrix needs more memory than is available.
        """
        validation.word("format", format, FORMATS)
        with self._where().entered():
            return self._matrix_as(format)

    def _matrix_as(self, format: Format) -> SparseArray:
        """Return the operator's matrix in a format."""
        matrix: SparseArray = self._matrix().asformat(format)
        return matrix

    def _matrix(self) -> Any:
        """Return the operator's matrix, in any format."""
        raise NotImplementedError

    def _facts(self) -> Facts:
        """Return a description of the operator, to which subclasses add.

        The number of entries is included if a subclass has ``nnz``, which does not need the matrix.
        """
        shapes = [("input", str(self.input_shape)), ("output", str(self.output_shape))]
        nnz = getattr(self, "nnz", None)
        matrix = [] if nnz is None else display.entries(self.shape, nnz, self.dtype.itemsize)
        return Facts(type(self).__name__, [("dtype", str(self.dtype))], shapes, matrix, self.shape)

    def __repr__(self) -> str:
        return display.operator_text(self._facts())

    def _repr_html_(self) -> str:
        return display.html(self._facts())

    def gram(self) -> GramCore:
        """Return the operator's Gram operator, ``A.H @ A``.

        Returns
        -------
        GramOperator
            Self-adjoint and positive semidefinite, for `scipy.sparse.linalg.cg`. Its matrix has the dtype of
            the operator, in which integers wrap around.

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


if TYPE_CHECKING:
    # a core always precedes it among the bases
    Base: TypeAlias = ArrayProducts
else:
    Base = LinearOperator


class ArrayOperator(Base):
    """Base class of operators on NumPy arrays: SciPy's, with fewer checks.

    A subclass lists a core before it, and adds a constructor. If the arguments are for another backend, the
    constructor returns an operator of that backend's class.
    """

    backend: ClassVar[Backend] = NUMPY

    def __init_subclass__(cls) -> None:
        """Show the constructor's parameters, which `__new__` would hide."""
        super().__init_subclass__()
        own = signature(cls.__init__)
        shown_as: Any = cls
        shown_as.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return an instance, of the class that the arguments ask for."""
        own: Any = cls
        backend: Backend = own._backend_for(*args, **kwargs)
        if backend.on_gpu:
            of_backend: Any = on_backend
            return of_backend(cls, backend)(*args, **kwargs)
        blank: Any = super().__new__
        return blank(cls)

    def matvec(self, x: ArrayLike) -> Array:  # type: ignore[override]
        """Multiply with a vector, ``(n,)``, as `scipy.sparse.linalg.LinearOperator.matvec`.

        A column ``(n, 1)`` is accepted as long as SciPy accepts it: with a FutureWarning from 1.18 on, and no
        longer from 1.20 on. `matmat` and ``@`` continue to accept columns.
        """
        if self._is_quick(x, self.shape[1:]):
            # what solvers call, without SciPy's checks, which take longer than a small product
            product: Array = self._flat(x, False)
            return product
        vector = self._operand(x)
        self._refuse_lengths(vector, self.shape[1])
        slow: Array = super().matvec(vector)
        return slow

    def rmatvec(self, x: ArrayLike) -> Array:  # type: ignore[override]
        """Multiply the adjoint with a vector, as `scipy.sparse.linalg.LinearOperator.rmatvec`.

        Columns are accepted as long as by `matvec`; use `rmatmat` or ``A.H @ Y`` for them.
        """
        if self._is_quick(x, self.shape[:1]):
            product: Array = self._flat(x, True)
            return product
        vector = self._operand(x)
        self._refuse_lengths(vector, self.shape[0])
        slow: Array = super().rmatvec(vector)
        return slow

    def matmat(self, X: Any) -> Any:
        """Multiply with a matrix, as `scipy.sparse.linalg.LinearOperator.matmat`."""
        return super().matmat(self._operand(X))

    def rmatmat(self, X: Any) -> Any:
        """Multiply the adjoint with a matrix, as `scipy.sparse.linalg.LinearOperator.rmatmat`."""
        return super().rmatmat(self._operand(X))

    def dot(self, x: Any) -> Any:
        """Multiply with a vector, a matrix or an operator, as `scipy.sparse.linalg.LinearOperator.dot`."""
        if isinstance(x, LinearOperator) or (np.isscalar(x) and not isinstance(x, (str, bytes))):
            factor: Any = x
            return super().dot(factor)
        operand = self._operand(x)
        if not 1 <= operand.ndim <= LARGEST_NDIM:
            msg = (
                f"the operand must be a vector of {self.shape[1]} entries or a matrix of {self.shape[1]} "
                f"rows, got the shape {shown(operand.shape)}"
            )
            raise ValueError(msg)
        return super().dot(operand)

    def _refuse_lengths(self, x: Any, size: int) -> None:
        """Raise for a vector of the wrong length."""
        shape = tuple(getattr(x, "shape", ()))
        if len(shape) == 1 and shape[0] != size:
            msg = (
                f"the operand must be a vector of {size} entries or a matrix of {size} rows, "
                f"got {shown(shape)}"
            )
            raise ValueError(msg)

    def _operand(self, x: Any) -> Any:
        """Return an operand that SciPy accepts, or raise and say how to convert it."""
        if is_cupy(x):
            check_backend("x", x, self.backend, "the operator")
        if hasattr(x, "matvec") and hasattr(x, "shape"):
            msg = (
                f"the operand must be an array or a SciPy LinearOperator, got {type_name(x)}; wrap the "
                "operator first, with scipy.sparse.linalg.aslinearoperator(operand)"
            )
            raise TypeError(msg)
        if isinstance(x, np.ndarray) or issparse(x):
            # products with np.matrix are np.matrix, and sparse operands are refused with their own message
            if isinstance(x, np.ma.MaskedArray):
                refuse_what_is_no_array("the operand", x)
            return x
        return to_array("the operand", x)

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
    bases = DeviceProducts, core, backend.linear_operator
    return type(
        f"{backend.title}{operator.__name__}", bases, {**own, "backend": backend, "_public": operator}
    )


def to_device(op: Operator, device: Device) -> Operator:
    """Return the same operator on the arrays of another device: ``op.to(device)``.

    Parameters
    ----------
    op : operator
        Any of this package's.
    device : {"numpy", "cupy"}
        As for `sparsetconv.operators.ArrayCore.to`.

    Returns
    -------
    operator
        As from `sparsetconv.operators.ArrayCore.to`.

    Raises
    ------
    TypeError
        If ``op`` is not an operator of this package.
    TypeError, ValueError, ImportError, RuntimeError
        As from `sparsetconv.operators.ArrayCore.to`.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> A = stc.ConvOperator([1.0, 2.0], 3)
    >>> stc.to_device(A, "numpy") is A
    True
    """
    _check_operator("op", op, "; use cupy.asarray for arrays")
    return op.to(device)


def _check_operator(name: str, value: Any, hint: str = "") -> None:
    """Raise unless a value is an operator of this package."""
    if not isinstance(value, ArrayCore):
        msg = f"{name} must be an operator of sparsetconv, got {type_name(value)}{hint}"
        raise TypeError(msg)


def _made_of(public: Any, operator: ArrayCore) -> Any:
    """Unpickle a derived operator, on the backend of the operator that it is derived from."""
    return on_backend(public, operator.backend)(operator)


class _Derived(ArrayCore):
    """An operator derived from another one, on arrays of the same backend."""

    operator: ArrayCore
    # its relation to the other operator, as shown in its repr
    _made: ClassVar[str]

    def __repr__(self) -> str:
        return f"<{display.sized(self._made, self._facts())} {self.operator!r}>"

    def _repr_html_(self) -> str:
        return display.html(display.made_of(self._made, self._facts(), self.operator._facts()))

    def _where(self) -> Place:
        # not stored, since the other operator may make more arrays later
        return self.operator._where()

    @property
    def _takes_columns(self) -> bool:
        return self.operator._takes_columns

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_of, (getattr(self, "_public", type(self)), self.operator)


class _OtherWay(_Derived):
    """A derived operator, from the other operator's output to its input.

    Parameters
    ----------
    operator : ArrayCore
        ``A``.
    """

    def __init__(self, operator: ArrayCore) -> None:
        _check_operator("operator", operator)
        self._prepare(operator.dtype, operator.output_shape, operator.input_shape)
        self.operator = operator


class AdjointCore(_OtherWay):
    """The adjoint ``A.H`` of an operator."""

    _made = "adjoint of"

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return self.operator._apply_adjoint(x, out)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self.operator._apply(y, out)

    def _flat(self, x: Array, adjoint: bool, out: Array | None = None) -> Array:
        return self.operator._flat(x, not adjoint, out)

    def _on(self, backend: Backend) -> Any:
        return on_backend(AdjointOperator, backend)(self.operator._on(backend))

    def _adjoint(self) -> ArrayCore:
        return self.operator

    def _matrix(self) -> Any:
        return self.operator.tosparse().conj().T


class AdjointOperator(AdjointCore, ArrayOperator):
    """The adjoint ``A.H`` of an operator on NumPy arrays."""


class TransposedCore(_OtherWay):
    """The plain transpose of a complex operator: ``A.T @ x`` is ``conj(A.H @ conj(x))``."""

    _made = "transpose of"

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return conjugated(self.operator._apply_adjoint(x.conj(), out), self.backend.xp)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        return conjugated(self.operator._apply(y.conj(), out), self.backend.xp)

    def _on(self, backend: Backend) -> Any:
        return on_backend(TransposedOperator, backend)(self.operator._on(backend))

    def _transpose(self) -> ArrayCore:
        return self.operator

    def _matrix(self) -> Any:
        return self.operator.tosparse().T


class TransposedOperator(TransposedCore, ArrayOperator):
    """The plain transpose ``A.T`` of a complex operator on NumPy arrays."""


class GramCore(_Derived):
    """The Gram operator ``A.H @ A`` of an operator.

    Parameters
    ----------
    operator : ArrayCore
        ``A``.
    """

    _made = "Gram operator of"

    def __init__(self, operator: ArrayCore) -> None:
        _check_operator("operator", operator)
        self._prepare(operator.dtype, operator.input_shape, operator.input_shape)
        self.operator = operator
        self._spare = Spare(self.backend)

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        operator, items = self.operator, len(x)
        if items > 1 and self._takes_columns:
            # what the first product returns is already in the memory order that the second one reads fastest
            return operator._apply_adjoint(operator._apply(x), out)
        kept = self._spare.take(items * operator.shape[0], np.result_type(x.dtype, self.dtype))
        middle = kept.reshape(items, *operator.output_shape)
        result = operator._apply_adjoint(operator._apply(x, middle), out)
        self._spare.put_back(kept)
        return result

    def _flat(self, x: Array, adjoint: bool, out: Array | None = None) -> Array:
        del adjoint
        operator = self.operator
        middle = self._spare.take(operator.shape[0], x.dtype)
        result = operator._flat(operator._flat(x, False, middle), True, out)
        self._spare.put_back(middle)
        return result

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self._apply(y, out)

    def _on(self, backend: Backend) -> Any:
        return on_backend(GramOperator, backend)(self.operator._on(backend))

    def _adjoint(self) -> Self:
        return self

    def _matrix(self) -> Any:
        # both factors are assembled, so that none has to be transposed
        product = self.operator._adjoint().tosparse() @ self.operator.tosparse()
        product.sort_indices()
        return product


class GramOperator(GramCore, ArrayOperator):
    """The Gram operator ``A.H @ A`` of an operator on NumPy arrays."""
