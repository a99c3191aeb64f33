"""`ConvOperator` and `ConvTransposeOperator`: a convolution as a linear operator.

Both classes are thin: they share one core that turns calls on arrays into calls of a method on arrays
``(batch, groups, channels, n1, ..., nd)``, and differ only in the direction.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sparsetconv._arrays.backend import backend_of
from sparsetconv._arrays.layout import oriented_weights
from sparsetconv._arrays.streams import Place, on_device
from sparsetconv._arrays.validation import as_array
from sparsetconv._assembly.matrices import conv_matrix, conv_transpose_matrix
from sparsetconv._geometry.convolution import ConvGeometry, kernel_is_longer
from sparsetconv._geometry.transposed import (
    check_geometry,
    check_kernel,
    check_no_geometry,
    conv_transpose_geometry,
    ends,
)
from sparsetconv._methods.choice import choose, explain
from sparsetconv.operators._base import ArrayCore, ArrayOperator, on_backend

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.display import Facts
    from sparsetconv._arrays.types import Array, SparseArray
    from sparsetconv._assembly.formats import Format
    from sparsetconv._geometry.validation import IntOrInts, Padding, PaddingMode
    from sparsetconv._methods.base import Method
    from sparsetconv._methods.choice import Choice
    from sparsetconv._methods.cpu.rates import KnownRates
    from sparsetconv._methods.registry import MethodName


class Convolution(ArrayCore):
    """What the two directions share: a forward geometry, its kernel, and a method."""

    _transposed: ClassVar[bool]
    kernel: Array
    geometry: ConvGeometry
    _choice: Choice
    _method: Method

    @classmethod
    def _backend_for(cls, kernel: Any = None, *_: Any, **__: Any) -> Backend:
        return backend_of("kernel", kernel)

    @classmethod
    def from_geometry(cls, kernel: ArrayLike, geometry: ConvGeometry, *, method: MethodName = "auto") -> Self:
        """Return the operator of a given geometry.

        Parameters
        ----------
        kernel : array_like
            Of the geometry's ``kernel_shape``; a copy is kept, as by the constructor.
        geometry : ConvGeometry
            Of the forward convolution, also for `ConvTransposeOperator`; it becomes the operator's
            ``geometry``.
        method : str
            As for `ConvOperator`.

        Returns
        -------
        ConvOperator or ConvTransposeOperator
            Of the class on which it is called.

        Raises
        ------
        TypeError
            If the kernel is not a dense numeric array, or the geometry is not a `ConvGeometry`.
        ValueError
            If the kernel has another shape, or the method does not accept it.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator(np.ones((3, 3)), (8, 8), stride=2, padding="same")
        >>> T = stc.ConvTransposeOperator.from_geometry(np.arange(9.0).reshape(3, 3), A.geometry)
        >>> T.input_shape, T.output_shape
        ((4, 4), (8, 8))
        """
        weights = as_array("kernel", kernel, half=True)
        check_geometry(geometry)
        check_kernel(geometry, weights.shape)
        operator: Self = cls._settled(backend_of("kernel", weights), weights, geometry, method)
        return operator

    def _settle(
        self, kernel: Array, geometry: ConvGeometry, method: str, known: KnownRates | None = None
    ) -> None:
        backend = self.backend
        with on_device(backend, backend.device_of(kernel)):
            # a copy, since methods keep arrays derived from it
            self.kernel = backend.frozen(kernel)
            self.geometry = geometry
            self._shape_by(geometry)
            weights = self._weights()
            self._choice = choose(method, geometry, weights, backend, known)
            self._method = self._choice.made(geometry, weights, backend)
            self._place = Place(backend)

    def _shape_by(self, geometry: ConvGeometry) -> None:
        self._prepare(self.kernel.dtype, *ends(geometry, self._transposed))

    def _weights(self) -> Array:
        geometry = self.geometry
        return oriented_weights(self.kernel, geometry.groups, geometry.flip, geometry.has_channels)

    @cached_property
    def _adjoint_method(self) -> Method:
        """The method with the conjugate of the kernel: the adjoint is its transpose."""
        if self.dtype.kind != "c":
            return self._method
        method = self._method.like(self.geometry, self._weights().conj())
        # later work on other streams waits for the arrays of this method, too
        self._place = Place(self.backend)
        return method

    def _on(self, backend: Backend) -> Any:
        method: Any = self.method if self._choice.asked else "auto"
        return self.from_geometry(backend.asarray(self.kernel), self.geometry, method=method)

    @property
    def method(self) -> str:
        """The name of the method that was chosen: a value of ``method=`` other than ``"auto"``."""
        return self._method.name

    def explain(self) -> str:
        """Say which method was chosen, why, and the estimated time of a product by each method.

        Returns
        -------
        str
            Several lines. The estimates are by the rates that `sparsetconv.tune` has measured on this
            machine, else by those of the processor's class with two threads; the text says which. On a GPU
            only ratios are given, until the constants of a card have been measured.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator(np.ones((5, 5)), (2000, 2000), padding="same")
        >>> print(A.explain().splitlines()[0])
        method 'direct': it has the lowest estimate
        """
        with self._place.entered():
            text = explain(self._choice, self._method)
        if kernel_is_longer(self.geometry):
            text += "\nthe kernel is longer than the signal on every axis: are the two swapped?"
        return text

    def _facts(self) -> Facts:
        return super()._facts().adding([("method", repr(self.method))], self.geometry._settings())

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return self._run(self._method, x, self._transposed, out)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self._run(self._adjoint_method, y, not self._transposed, out)

    def _flat(self, x: Array, adjoint: bool, out: Array | None = None) -> Array:
        method = self._adjoint_method if adjoint else self._method
        return method.vector(x, self._transposed is not adjoint, out)

    @property
    def _takes_columns(self) -> bool:
        return self._method.takes_columns

    @staticmethod
    def _run(method: Method, x: Array, transpose: bool, out: Array | None) -> Array:
        small, large = (len(x), *method.small_shape), (len(x), *method.large_shape)
        if transpose:
            return method.transpose(x.reshape(small), None if out is None else out.reshape(large))
        return method.forward(x.reshape(large), None if out is None else out.reshape(small))

    @property
    def nnz(self) -> int:
        """Number of entries of the matrix, which is not assembled for this."""
        return self.geometry.nnz

    def _other(self) -> Any:
        """Return the class of the other direction."""
        return on_backend(ConvOperator if self._transposed else ConvTransposeOperator, self.backend)

    def _transpose(self) -> Convolution:
        """Return the plain transpose, which shares the method and the arrays that it keeps."""
        other = self._other()
        operator: Convolution = other.__new__(other)
        operator.kernel, operator.geometry = self.kernel, self.geometry
        operator._shape_by(self.geometry)
        operator._choice, operator._method = self._choice, self._method
        operator._place = self._place
        return operator

    def _adjoint(self) -> Convolution:
        return self._conjugate_transpose

    @cached_property
    def _conjugate_transpose(self) -> Convolution:
        """The adjoint, which shares the adjoint method and its arrays; kept, since loops ask for it often."""
        operator = self._transpose()
        if self.dtype.kind == "c":
            with self._place.entered():
                operator.kernel = self.backend.frozen(self.kernel.conj())
                operator._method = self._adjoint_method
                operator.__dict__["_adjoint_method"] = self._method
                operator._place = Place(self.backend)
        return operator

    def _matrix_as(self, format: Format) -> SparseArray:
        matrix = conv_transpose_matrix if self._transposed else conv_matrix
        return matrix(self.kernel, self.geometry, format=format)

    def __reduce__(self) -> tuple[Any, ...]:
        public = ConvTransposeOperator if self._transposed else ConvOperator
        how = self.method, self._choice.known, self._choice.reason, self._choice.asked
        return _with_method, (public, self.kernel, self.geometry, *how)


def _with_method(
    public: Any,
    kernel: Array,
    geometry: ConvGeometry,
    method: MethodName,
    known: KnownRates,
    reason: str,
    asked: bool,
) -> Any:
    """Unpickle an operator: by its method and its rates, for the same bits, and with why it was chosen."""
    operator = public._settled(backend_of("kernel", kernel), kernel, geometry, method, known)
    operator._choice = operator._choice._replace(reason=reason, asked=asked)
    return operator


class ConvOperator(Convolution, ArrayOperator):
    """A convolution as a linear operator.

    Parameters
    ----------
    kernel : (k1, ..., kd) or (c_out, c_in // groups, k1, ..., kd) array_like
        Weights: float32, float64, complex64, complex128 or an integer dtype. A copy is kept. With a CuPy
        kernel the operator is a ``cupyx.scipy.sparse.linalg.LinearOperator``, on CuPy arrays; the kernel may
        then also be float16 or bfloat16, for which ``"direct"`` sums in float32.
    input_shape : int or sequence of int
        ``(n1, ..., nd)`` or ``(c_in, n1, ..., nd)``.
    stride, padding, dilation, groups, padding_mode, flip : int, sequence, str, bool
        As for `ConvGeometry`.
    method : {"auto", "sparse", "direct", "gemm", "fft"}
        ``"sparse"`` multiplies with the assembled matrix, accepts every kernel, and is the fastest for small
        problems; ``"direct"`` is a compiled stencil; ``"gemm"`` is one matrix product for each tile, for
        many channels; ``"fft"`` is for large kernels. ``"auto"`` takes the method with the lowest estimated
        time. ``"direct"`` on the CPU, ``"gemm"`` and ``"fft"`` do not accept kernels with NaN or infinity,
        ``"fft"`` does not accept integer kernels.

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
    TypeError
        If `kernel` is not a dense numeric array, or a parameter has the wrong type.
    ValueError
        If the kernel does not fit into the padded input or does not match the channels; if a parameter has a
        value that `ConvGeometry` refuses; if the method does not accept the kernel.

    See Also
    --------
    conv_matrix : The matrix of this operator, with the formula of its entries.
    ConvTransposeOperator : The other direction; ``A.H`` and ``A.T`` are of that class.

    Notes
    -----
    ``A @ x`` is ``conv_matrix(kernel, input_shape, ...) @ x``, with sums in the dtype of the result.
    ``A.H`` conjugates a complex kernel, ``A.T`` does not. NaN and infinity in the input spread to the outputs
    whose row of the matrix has an entry for such a sample, and to no others. Operators can be pickled
    (without the arrays that the method keeps) and used by several threads at once.

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
        method: MethodName = "auto",
    ) -> None:
        weights = as_array("kernel", kernel, half=True)
        check_no_geometry("input_shape", input_shape)
        geometry = ConvGeometry(
            input_shape, weights.shape, stride, padding, dilation, groups, padding_mode, flip
        )
        self._settle(weights, geometry, method)


class ConvTransposeOperator(Convolution, ArrayOperator):
    """A transposed convolution as a linear operator.

    Parameters
    ----------
    kernel : (k1, ..., kd) or (c_in, c_out // groups, k1, ..., kd) array_like
        Weights: the same array as for the forward convolution.
    input_shape : int or sequence of int
        The small shape.
    stride, padding, output_padding, output_shape, dilation, groups, padding_mode, flip : optional
        As for `conv_transpose_matrix`.
    method : str
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
        As `ConvOperator`. Also ValueError if `output_padding` is too large or given together with
        `output_shape`, or if no forward convolution maps `output_shape` to `input_shape`; the message has
        the possible sizes.

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
        method: MethodName = "auto",
    ) -> None:
        weights = as_array("kernel", kernel, half=True)
        check_no_geometry("input_shape", input_shape)
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
