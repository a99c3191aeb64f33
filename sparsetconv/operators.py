"""`ConvOperator` and `ConvTransposeOperator`: a convolution as a linear operator.

Floor 4. What a user holds. Both classes are thin: they share one core that turns SciPy's calls into
calls of a method on arrays ``(batch, groups, channels, n1, ..., nd)``, and differ in the direction
alone.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from sparsetconv._kernel import SUPPORTED, as_array, oriented_weights
from sparsetconv._transposed import conv_transpose_geometry
from sparsetconv.geometry import ConvGeometry
from sparsetconv.matrices import geometry_matrix
from sparsetconv.methods import choose, explain

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._normalize import IntOrInts, Padding, PaddingMode
    from sparsetconv._types import Array
    from sparsetconv.methods._base import Method


class ArrayOperator(LinearOperator):  # type: ignore[misc]
    """A linear operator between arrays of two fixed shapes.

    Subclasses define `_apply` and `_apply_adjoint` on a batch of arrays; everything that SciPy asks for
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
        x : (*batch, *input_shape) array_like

        Returns
        -------
        (*batch, *output_shape) array

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
        """Apply to ``(..., n)``, or to ``(n, 1)`` as SciPy before 1.18 passes it."""
        array = self._checked(x)
        here, there = self.input_shape, self.output_shape
        if adjoint:
            here, there = there, here
        lead = () if array.shape == (prod(here), 1) else array.shape[:-1]
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
        if type(other) is np.ndarray and other.ndim == 1:
            return self.matvec(other)
        return super().__matmul__(other)

    def _matvec(self, x: Array) -> Array:
        return self._vectors(x, False)

    def _rmatvec(self, x: Array) -> Array:
        return self._vectors(x, True)

    def _matmat(self, X: Array) -> Array:
        return self._vectors(self._dense(X).swapaxes(-1, -2), False).swapaxes(-1, -2)

    def _rmatmat(self, X: Array) -> Array:
        return self._vectors(self._dense(X).swapaxes(-1, -2), True).swapaxes(-1, -2)

    @staticmethod
    def _dense(x: Any) -> Array:
        if not isinstance(x, np.ndarray):
            msg = f"the operand must be a dense array, got {type(x).__name__}; use .tosparse() @ operand"
            raise TypeError(msg)
        return x

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


class _Convolution(ArrayOperator):
    """What the two directions share: a forward geometry, its kernel, and a method."""

    _transposed: bool

    def _settle(self, kernel: Array, geometry: ConvGeometry, method: str) -> None:
        # a copy that nobody can write to: what a method derives from it is kept
        self.kernel = kernel.copy()
        self.kernel.setflags(write=False)
        self.geometry = geometry
        shapes = geometry.input_shape, geometry.output_shape
        super().__init__(kernel.dtype, *(shapes[::-1] if self._transposed else shapes))
        weights = oriented_weights(self.kernel, geometry.groups, geometry.flip, geometry.has_channels)
        self._choice = choose(method, geometry, weights)
        self._method: Method = self._choice.method(geometry, weights)

    @classmethod
    def _of(cls, kernel: Array, geometry: ConvGeometry, method: str) -> Any:
        operator = cls.__new__(cls)
        operator._settle(kernel, geometry, method)
        return operator

    @property
    def method(self) -> str:
        """The method that was chosen: ``"sparse"``, ``"direct"``, ``"gemm"`` or ``"fft"``."""
        return self._method.name

    def explain(self) -> str:
        """Say which method was chosen, why, and what a product by each is estimated to take.

        Returns
        -------
        str
            Several lines. The estimates are for two threads of the machine on which the constants of the
            model were measured; the choice rests on their ratios.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator(np.ones((5, 5)), (2000, 2000), padding="same")
        >>> print(A.explain().splitlines()[0])
        method 'direct': it has the lowest estimate
        """
        return explain(self._choice, self.geometry, self._method.weights)

    def _apply(self, x: Array) -> Array:
        return self._run(x, self._transposed)

    def _apply_adjoint(self, y: Array) -> Array:
        if self.dtype.kind != "c":
            return self._run(y, not self._transposed)
        return self._run(y.conj(), not self._transposed).conj()

    def _flat(self, x: Array, adjoint: bool) -> Array:
        if adjoint and self.dtype.kind == "c":
            return self._method.vector(x.conj(), not self._transposed).conj()
        return self._method.vector(x, self._transposed is not adjoint)

    def _run(self, x: Array, transpose: bool) -> Array:
        method = self._method
        if transpose:
            return method.transpose(x.reshape(x.shape[0], *method.small_shape))
        return method.forward(x.reshape(x.shape[0], *method.large_shape))

    @property
    def nnz(self) -> int:
        """Entries that the matrix has, whether or not it is assembled."""
        return self.geometry.nnz

    def _other(self) -> type[_Convolution]:
        return ConvOperator if self._transposed else ConvTransposeOperator

    def _transpose(self) -> _Convolution:
        """Return the plain transpose. It shares what the method keeps."""
        other = self._other()
        operator = other.__new__(other)
        shapes = self.output_shape, self.input_shape
        ArrayOperator.__init__(operator, self.dtype, *shapes)
        operator.kernel, operator.geometry = self.kernel, self.geometry
        operator._choice, operator._method = self._choice, self._method
        return operator

    def _adjoint(self) -> _Convolution:
        if self.dtype.kind != "c":
            return self._transpose()
        operator: _Convolution = self._other()._of(self.kernel.conj(), self.geometry, self.method)
        return operator

    def tosparse(self, format: str = "csr") -> Any:
        """Return the operator's matrix.

        Parameters
        ----------
        format : {"csr", "csc", "coo", "bsr", "dia"}

        Returns
        -------
        scipy.sparse array
            As from `conv_matrix` or `conv_transpose_matrix`.
        """
        return geometry_matrix(self.geometry, self.kernel, self._transposed, format=format)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._of, (self.kernel, self.geometry, self.method)

    def __repr__(self) -> str:
        return (
            f"<{self.shape[0]}x{self.shape[1]} {type(self).__name__}, dtype={self.dtype}, "
            f"{self.input_shape} to {self.output_shape}, method={self.method!r}>"
        )


class ConvOperator(_Convolution):
    """A convolution as a linear operator.

    Parameters
    ----------
    kernel : (k1, ..., kd) or (c_out, c_in // groups, k1, ..., kd) array_like
        Weights: float32, float64, complex64, complex128 or an integer dtype. A copy is kept.
    input_shape : int or sequence of int
        ``(n1, ..., nd)`` or ``(c_in, n1, ..., nd)``.
    stride, padding, dilation, groups, padding_mode, flip : int, sequence, str, bool
        As for `ConvGeometry`.
    method : {"auto", "sparse", "direct", "gemm", "fft"}
        ``"sparse"`` multiplies with the assembled matrix, takes everything, and is the fastest for
        small problems; ``"direct"`` is a compiled stencil; ``"gemm"`` one matrix product for each tile,
        for many channels; ``"fft"`` for large kernels. ``"auto"`` takes the one with the lowest
        estimate. ``"direct"``, ``"gemm"`` and ``"fft"`` do not accept kernels with NaN or infinity,
        ``"fft"`` no integer kernels; with ``"fft"`` a NaN or an infinity in the input spreads to every
        output of its group.

    Attributes
    ----------
    kernel : array
        Read-only.
    geometry : ConvGeometry
    input_shape, output_shape : tuple of int
    shape : tuple of int
        ``(prod(output_shape), prod(input_shape))``.
    method : str
        The method chosen.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

    See Also
    --------
    conv_matrix : The matrix, whose entry formula is this operator's.
    ConvTransposeOperator : The other direction; ``A.H`` and ``A.T`` are of that class.

    Notes
    -----
    ``A @ x`` is ``conv_matrix(kernel, input_shape, ...) @ x``. ``A.H`` conjugates a complex kernel,
    ``A.T`` does not. Operators can be pickled (without what the method keeps) and used by several
    threads at once.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> A = stc.ConvOperator(np.ones((2, 3)) / 6, (4, 4), stride=2, padding="same", padding_mode="reflect")
    >>> A.shape, A.output_shape, A.method
    ((4, 16), (2, 2), 'sparse')
    >>> x, y = np.arange(16.0), np.arange(4.0)
    >>> bool(np.isclose(y @ (A @ x), (A.H @ y) @ x))
    True
    """

    _transposed = False

    def __init__(
        self,
        kernel: ArrayLike,
        input_shape: IntOrInts,
        *,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
        method: str = "auto",
    ) -> None:
        weights = as_array("kernel", kernel)
        geometry = ConvGeometry(
            input_shape, weights.shape, stride, padding, dilation, groups, padding_mode, flip
        )
        self._settle(weights, geometry, method)


class ConvTransposeOperator(_Convolution):
    """A transposed convolution as a linear operator.

    Parameters
    ----------
    kernel : (k1, ..., kd) or (c_in, c_out // groups, k1, ..., kd) array_like
        Weights; the same array serves the forward convolution.
    input_shape : int or sequence of int
        The small shape.
    stride, padding, output_padding, output_shape, dilation, groups, padding_mode, flip : optional
        As for `conv_transpose_matrix`.
    method : {"auto", "sparse", "direct", "gemm", "fft"}
        As for `ConvOperator`.

    Attributes
    ----------
    kernel : array
        Read-only.
    geometry : ConvGeometry
        That of the forward convolution whose plain transpose this is.
    input_shape, output_shape : tuple of int
    shape : tuple of int
    method : str
        The method chosen.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

    See Also
    --------
    conv_transpose_matrix : The matrix.
    ConvOperator : The forward direction; ``T.H`` and ``T.T`` are of that class.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> T = stc.ConvTransposeOperator(np.ones((4, 4)), (3, 3), stride=2, padding=1)
    >>> T.apply(np.ones((3, 3))).shape
    (6, 6)
    >>> type(T.H).__name__
    'ConvOperator'
    """

    _transposed = True

    def __init__(
        self,
        kernel: ArrayLike,
        input_shape: IntOrInts,
        *,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        output_shape: IntOrInts | None = None,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
        method: str = "auto",
    ) -> None:
        weights = as_array("kernel", kernel)
        geometry = conv_transpose_geometry(
            input_shape,
            weights.shape,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            output_shape=output_shape,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            flip=flip,
        )
        self._settle(weights, geometry, method)
