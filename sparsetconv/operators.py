"""`ConvOperator` and `ConvTransposeOperator`: a convolution as a linear operator.

Floor 4. What a user holds. Both classes are thin: they share one core that turns SciPy's calls into
calls of a method on arrays ``(batch, groups, channels, n1, ..., nd)``, and differ in the direction
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsetconv._kernel import as_array, oriented_weights
from sparsetconv._transposed import conv_transpose_geometry
from sparsetconv.array_operator import ArrayOperator
from sparsetconv.geometry import ConvGeometry
from sparsetconv.matrices import geometry_matrix
from sparsetconv.methods import choose, explain

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._normalize import IntOrInts, Padding, PaddingMode
    from sparsetconv._types import Array
    from sparsetconv.methods._base import Method


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
