"""`ArrayProducts`: all products of SciPy's and CuPy's operator interface.

They are based on two methods on batches of arrays, ``_apply`` and ``_apply_adjoint``.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeGuard

import numpy as np

from sparsetconv._arrays import cuda, memory
from sparsetconv._arrays.backend import NUMPY, check_backend, check_device
from sparsetconv._arrays.display import clipped, shown, type_name
from sparsetconv._arrays.layout import COPY_WORK, transposed
from sparsetconv._arrays.results import checked_out, result_array
from sparsetconv._arrays.validation import SUPPORTED, is_half, to_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.streams import Place
    from sparsetconv._arrays.types import Array


if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    # SciPy's, or CuPy's, which has no types; an operator's class lists its core before it
    Base: TypeAlias = LinearOperator[Any]
else:
    Base = object


class ArrayProducts(Base):
    """The products of a linear operator between arrays of two fixed shapes.

    Subclasses define ``_apply`` and ``_apply_adjoint`` on a batch of arrays. All products of SciPy's and
    CuPy's operators are based on these, for vectors, matrices and (SciPy 1.18) batches, with no loop over
    columns.
    """

    backend: ClassVar[Backend] = NUMPY
    # set at the end of an operator's construction
    _place: Place
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _is_small: bool

    def _prepare(
        self, dtype: np.dtype[Any], input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> None:
        """Initialize the base."""
        self.backend.linear_operator.__init__(self, dtype, (prod(output_shape), prod(input_shape)))
        self.input_shape = input_shape
        self.output_shape = output_shape
        self._is_small = max(self.shape) <= memory.LARGE_RESULT

    @property
    def _takes_columns(self) -> bool:
        """Whether a batch is best given as the columns of a contiguous matrix, instead of as its rows."""
        return False

    def _where(self) -> Place:
        """Return the operator's GPU, and the event after the work that made its arrays."""
        return self._place

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        """Return ``(batch, *output_shape)`` from ``(batch, *input_shape)``.

        The result is in ``out`` if that is given: in C order, of the result's shape and dtype, and apart from
        ``x`` in memory.
        """
        raise NotImplementedError

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        """Apply the conjugate transpose: ``(batch, *input_shape)`` from ``(batch, *output_shape)``."""
        raise NotImplementedError

    def apply(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Apply the operator to arrays instead of vectors.

        Parameters
        ----------
        x : ``(*batch, *input_shape)`` array_like
        out : ``(*batch, *output_shape)`` array, optional
            For the result, instead of a new array, whose memory may take as long to get as the product. It
            must have exactly the shape and the dtype of the result, and be writeable and C-contiguous. If it
            shares memory with ``x``, the product is computed in a new array and copied.

        Returns
        -------
        ``(*batch, *output_shape)`` array
            ``out`` if it is given.

        Raises
        ------
        ValueError
            If the shape does not end in `input_shape`, or ``out`` is not as described.
        TypeError
            If an array is of another kind or dtype.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator(np.ones((3, 3)), (8, 8), padding="same")
        >>> A.apply(np.ones((5, 2, 8, 8))).shape
        (5, 2, 8, 8)

        A loop that needs no new memory:

        >>> blurred, back = np.empty(A.output_shape), np.ones(A.input_shape)
        >>> for _ in range(3):
        ...     back = A.H.apply(A.apply(back, out=blurred), out=back)
        """
        if out is None and self._is_quick(x, self.input_shape):
            return self._flat(x.reshape(-1), False).reshape(self.output_shape)
        array = self._checked(x)
        batch = array.shape[: array.ndim - len(self.input_shape)]
        if array.shape[len(batch) :] != self.input_shape:
            msg = (
                f"x must have a shape that ends in input_shape {shown(self.input_shape)}, "
                f"got {shown(array.shape)}{self._shape_hint(array.shape)}"
            )
            raise ValueError(msg)
        return self._apply_batch(array, batch, (*batch, *self.output_shape), False, out)

    def _is_quick(self, x: Any, shape: tuple[int, ...]) -> TypeGuard[Array]:
        """Return whether an operand needs neither checks nor conversion: a NumPy array of a shape."""
        return type(x) is np.ndarray and x.shape == shape and x.dtype == self.dtype and self._is_small

    def _shape_hint(self, shape: tuple[int, ...]) -> str:
        """Return a hint for an array whose axes are in another order."""
        own, ndim = self.input_shape, len(self.input_shape)
        if shape == (self.shape[1],):
            return "; use A @ x for flat vectors"
        # number of the first of these axes: counted from the front if there is no batch
        first = 0 if len(shape) == ndim else -ndim
        if shape[-ndim:] == (*own[1:], own[0]):
            return f"; its last axis belongs in front: np.moveaxis(x, -1, {first})"
        if shape[-ndim:] == (own[-1], *own[:-1]):
            return f"; its first axis belongs at the end: np.moveaxis(x, {first}, -1)"
        if shape[-ndim - 1 : -1] == own:
            return "; the channels are a batch here and belong in front: np.moveaxis(x, -1, 0)"
        return ""

    def _apply_batch(
        self,
        x: Array,
        batch: tuple[int, ...],
        shape: tuple[int, ...],
        adjoint: bool,
        out: Array | None = None,
    ) -> Array:
        """Apply in one direction to a batch of any shape, which may be empty; ``shape`` is the result's."""
        if self.backend is NUMPY:
            return self._on_this_device(x, prod(batch), shape, adjoint, out)
        # reshaping may copy the operand, which has to happen on that device, too
        with self._where().entered():
            return self._on_this_device(x, prod(batch), shape, adjoint, out)

    def _on_this_device(
        self, x: Array, items: int, shape: tuple[int, ...], adjoint: bool, out: Array | None
    ) -> Array:
        """Apply in one direction, on the current device, to a batch of ``items``."""
        dtype = self.dtype if x.dtype == self.dtype else np.result_type(x.dtype, self.dtype)
        if out is None:
            return self._results(None, x, items, adjoint, dtype).reshape(shape)
        target = checked_out(out, shape, dtype, self.backend, self._where().device)
        if self.backend.xp.may_share_memory(x, target):
            target[...] = self._results(None, x, items, adjoint, dtype).reshape(shape)
        else:
            self._results(target, x, items, adjoint, dtype)
        return out

    def _results(self, out: Array | None, x: Array, items: int, adjoint: bool, dtype: np.dtype[Any]) -> Array:
        """Return the results of a batch of ``items`` in one direction, in a new array or in ``out``."""
        xp = self.backend.xp
        source, result = self.input_shape, self.output_shape
        if adjoint:
            source, result = result, source
        if not items:
            return result_array(out, (0, *result), dtype, xp)
        size = items * self.shape[1 if adjoint else 0]
        if size > memory.LARGE_RESULT and out is None:
            self.backend.require("the result", size * dtype.itemsize, "the operator's shape sets it")
        if self.backend.on_gpu:
            x = cuda.aligned(xp, x)
        x, target = x.reshape(items, *source), None if out is None else out.reshape(items, *result)
        return self._apply_adjoint(x, target) if adjoint else self._apply(x, target)

    def _checked(self, x: Any) -> Array:
        """Return an array whose products with the operator have a dtype that all methods support."""
        if type(x) is np.ndarray and x.dtype == self.dtype and self.backend is NUMPY:
            return x
        check_backend("x", x, self.backend, "the operator")
        array: Array = x
        if self.backend.on_gpu:
            check_device("x", x, self.backend, self._where().device, "the operator")
        else:
            array = to_array("x", x)
        if not self._is_multiplied(array.dtype):
            msg = (
                "x must be of a real, complex or integer dtype up to double precision, "
                f"got {clipped(str(array.dtype))}"
            )
            raise TypeError(msg)
        return array

    def _is_multiplied(self, dtype: np.dtype[Any]) -> bool:
        """Return whether products with arrays of a dtype have a dtype that all methods support."""
        if dtype == self.dtype:
            return True
        if dtype.kind not in "biufc" and not (self.backend.on_gpu and is_half(dtype)):
            return False
        try:
            result = np.result_type(dtype, self.dtype)
        except TypeError:
            # the two kinds of half precision, for example
            return False
        return result in SUPPORTED or (self.backend.on_gpu and is_half(result))

    def _vectors(self, x: Array, adjoint: bool) -> Array:
        """Apply to ``(..., n)``."""
        array = self._checked(x)
        lead = array.shape[:-1]
        return self._apply_batch(array, lead, (*lead, self.shape[1 if adjoint else 0]), adjoint)

    def _flat(self, x: Array, adjoint: bool, out: Array | None = None) -> Array:
        """Apply to a vector of the operator's dtype; ``out`` is flat, too."""
        inputs, outputs = (1, *self.input_shape), (1, *self.output_shape)
        if adjoint:
            return self._apply_adjoint(
                x.reshape(outputs), None if out is None else out.reshape(inputs)
            ).reshape(-1)
        return self._apply(x.reshape(inputs), None if out is None else out.reshape(outputs)).reshape(-1)

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
        """Raise for an array of ``input_shape`` given as a matrix, and point to `apply`."""
        own = x.shape[-len(self.input_shape) :] == self.input_shape
        if own and x.ndim > 1 and x.shape[-2] != self.shape[1]:
            msg = (
                f"the operand must be a vector or a matrix with {self.shape[1]} rows, got the shape "
                f"{shown(x.shape)}, which ends in input_shape; use .apply for arrays"
            )
            raise ValueError(msg)

    def _columns(self, x: Any) -> Array:
        """Return ``(..., k, n)`` from ``(..., n, k)``."""
        check_backend("the operand", x, self.backend, "the operator")
        if not isinstance(x, self.backend.xp.ndarray):
            msg = f"the operand must be a dense array, got {type_name(x)}; use .tosparse() @ operand"
            raise TypeError(msg)
        if self.backend.on_gpu or self._takes_columns or x.ndim != 2 or x.size < COPY_WORK:
            columns: Array = x.swapaxes(-1, -2)
            return columns
        return x.T if x.flags.f_contiguous else transposed(x)
