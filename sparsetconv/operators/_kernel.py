"""`KernelOperator`: the output of a convolution as a linear function of its kernel.

The product is a convolution of a fixed input with a variable kernel; its adjoint, the gradient with respect
to the kernel, is a correlation of the padded input with the output. Neither stores a matrix.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Self

from sparsetconv._arrays.backend import backend_of
from sparsetconv._arrays.display import shown
from sparsetconv._arrays.layout import last_axes, oriented_weights
from sparsetconv._arrays.results import placed
from sparsetconv._arrays.streams import Place, on_device
from sparsetconv._arrays.validation import as_array
from sparsetconv._assembly.kernel_matrix import kernel_arrays
from sparsetconv._assembly.matrices import check_gpu_dtype
from sparsetconv._geometry import validation
from sparsetconv._geometry.transposed import check_geometry, check_no_geometry, ends, settled_geometry
from sparsetconv._methods.kernel.gradient import KernelProducts, kernel_gradient
from sparsetconv._methods.kernel.windows import Windows
from sparsetconv._methods.work import SMALL
from sparsetconv.operators._base import ArrayCore, ArrayOperator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.display import Facts
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._geometry.validation import IntOrInts, Padding, PaddingMode


class KernelCore(ArrayCore):
    """The operator on either backend; see `KernelOperator`."""

    x: Array
    geometry: ConvGeometry
    transposed: bool

    @classmethod
    def _backend_for(cls, x: Any = None, *_: Any, **__: Any) -> Backend:
        return backend_of("x", x)

    def _settle(self, x: Array, geometry: ConvGeometry, transposed: bool) -> None:
        _, output = ends(geometry, transposed)
        nbytes = x.dtype.itemsize * prod(geometry.kernel_shape)
        self.backend.require("a kernel", nbytes, "kernel_shape sets its size")
        self._prepare(x.dtype, geometry.kernel_shape, output)
        with on_device(self.backend, self.backend.device_of(x)):
            self._keep(x, geometry, transposed)
            self._place = Place(self.backend)

    def _keep(self, x: Array, geometry: ConvGeometry, transposed: bool) -> None:
        self.x = self.backend.frozen(x)
        self.geometry, self.transposed = geometry, transposed
        c_in, c_out = geometry.channels
        sizes = [axis.outputs if transposed else axis.size for axis in geometry.axes]
        # (groups, channels, ...)
        self._fixed = self.x.reshape(geometry.groups, c_out if transposed else c_in, *sizes)
        # small problems are not worth compiling for
        small = geometry.nnz <= SMALL
        windows = Windows(geometry, self.backend.xp)
        self._products: Windows | KernelProducts = (
            windows if small else KernelProducts(geometry, x.dtype, self.backend)
        )
        self._gradient = windows.gradient if small else kernel_gradient(geometry, self.backend)

    @classmethod
    def from_geometry(cls, x: ArrayLike, geometry: ConvGeometry, *, transposed: bool = False) -> Self:
        """Return the operator of a given geometry.

        Parameters
        ----------
        x : array_like
            The fixed input, of the geometry's ``input_shape``; with `transposed`, of its ``output_shape``.
        geometry : ConvGeometry
            Of the forward convolution, with `transposed` too.
        transposed : bool
            Whether the convolution is a transposed one; False by default.

        Returns
        -------
        KernelOperator
            On kernels of the geometry's ``kernel_shape``.

        Raises
        ------
        TypeError
            If ``x`` is not a dense numeric array, or the geometry is not a `ConvGeometry`.
        ValueError
            If ``x`` has another shape.

        Examples
        --------
        >>> import numpy as np
        >>> import sparsetconv as stc
        >>> A = stc.ConvOperator(np.ones((2, 2)), (8, 8), stride=2)
        >>> stc.KernelOperator.from_geometry(np.ones((8, 8)), A.geometry).shape
        (16, 4)
        """
        fixed = as_array("x", x)
        check_geometry(geometry)
        own_shape, _ = ends(geometry, validation.flag("transposed", transposed))
        if fixed.shape != own_shape:
            msg = (
                f"x must have the geometry's {'output' if transposed else 'input'}_shape {shown(own_shape)} "
                f"with transposed={shown(transposed)}, got the shape {shown(fixed.shape)}"
            )
            raise ValueError(msg)
        operator: Self = cls._settled(backend_of("x", fixed), fixed, geometry, bool(transposed))
        return operator

    def _on(self, backend: Backend) -> Any:
        return self.from_geometry(backend.asarray(self.x), self.geometry, transposed=self.transposed)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(KernelOperator.from_geometry, transposed=self.transposed), (self.x, self.geometry)

    def _facts(self) -> Facts:
        facts = super()._facts()
        # the operator is linear in the kernel; the convolution's input is fixed
        (_, kernels), output = facts.rows
        (_, *settings) = self.geometry._settings()
        rows = [("kernels", kernels), output, ("x", str(self.x.shape)), *settings]
        return facts.adding([("transposed", str(self.transposed))])._replace(rows=rows)

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        geometry, fixed = self.geometry, self._fixed
        # kernels as the user gives them, in the forward convolution's layout
        weights = self.backend.xp.stack(
            [oriented_weights(k, geometry.groups, geometry.flip, geometry.has_channels) for k in x]
        )
        c_in, c_out = geometry.channels
        sizes = [axis.size if self.transposed else axis.outputs for axis in geometry.axes]
        shape = len(x), geometry.groups, c_in if self.transposed else c_out, *sizes
        target = None if out is None else out.reshape(shape)
        if self.transposed:
            return self._products.transpose(weights, fixed, target)
        return self._products.forward(weights, fixed, target)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        geometry = self.geometry
        c_in, c_out = geometry.channels
        sizes = [axis.size if self.transposed else axis.outputs for axis in geometry.axes]
        fixed = self._fixed.conj()
        gradients = []
        for residual in y.reshape(len(y), geometry.groups, c_in if self.transposed else c_out, *sizes):
            pair = (residual, fixed) if self.transposed else (fixed, residual)
            gradients.append(self._gradient(*pair))
        gradient: Array = self.backend.xp.stack(gradients)
        if geometry.flip:
            gradient = gradient[last_axes([slice(None, None, -1)] * len(geometry.axes))]
        return placed(gradient.reshape(len(y), *self.input_shape), out)

    @property
    def nnz(self) -> int:
        """Number of entries of the matrix, which is not assembled for this."""
        geometry = self.geometry
        pairs = prod(axis.kernel_entries(self.transposed) for axis in geometry.axes)
        return pairs * geometry.groups * prod(geometry.channels)

    def _matrix(self) -> Any:
        if self.backend.on_gpu:
            check_gpu_dtype("x", self.dtype)
        # samples that padding maps to the same entry are summed in the matrix' dtype
        arrays = kernel_arrays(self.geometry, self._fixed, self.transposed, self.backend)
        return self.backend.csr(*arrays, self.shape)


class KernelOperator(KernelCore, ArrayOperator):
    """The linear operator from a kernel to the output of its convolution with a fixed input.

    Parameters
    ----------
    x : (n1, ..., nd) or (c_in, n1, ..., nd) array_like
        The fixed input. A copy is kept. With a CuPy array the operator is CuPy's, on CuPy arrays.
    kernel_shape : int or sequence of int
        Shape of the kernels: ``(k1, ..., kd)`` or ``(c_out, c_in // groups, k1, ..., kd)``; with
        `transposed` ``(c_in, c_out // groups, k1, ..., kd)``.
    stride, padding : int, sequence, str
        As for `ConvGeometry`.
    output_padding, output_shape : int or sequence of int
        As for `conv_transpose_matrix`; with ``transposed`` only.
    dilation, groups, padding_mode, flip : int, sequence, str, bool
        As for `ConvGeometry`.
    transposed : bool
        Whether the convolution is a transposed one; False by default, as for `fit_kernel`.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of the kernels.
    output_shape : tuple of int
        Shape of the convolution's output.
    geometry : ConvGeometry
        Of the forward convolution.

    Raises
    ------
    TypeError
        If ``x`` is not a dense numeric array, or a parameter has the wrong type.
    ValueError
        If kernels of that shape do not fit into the padded input or do not match its channels; if a
        parameter has a value that `ConvGeometry` refuses; if `output_padding` or `output_shape` is given
        without `transposed`.
    MemoryError
        If a kernel needs more memory than is available.

    See Also
    --------
    ConvOperator : Linear in the input, for a fixed kernel.

    Notes
    -----
    ``K @ w.ravel()`` equals ``conv_matrix(w, x.shape, ...) @ x.ravel()`` (``conv_transpose_matrix``
    with ``transposed``): with one axis and without padding ``K[o, t] = x[o * stride + t * dilation]``.
    ``K.H @ r.ravel()`` is the gradient of ``0.5 * norm(K @ w - y)**2`` with respect to ``w`` at the
    residual ``r``.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> K = stc.KernelOperator(x, 2)
    >>> K @ np.eye(2)
    array([[1., 2.],
           [2., 3.],
           [3., 4.]])
    """

    def __init__(
        self,
        x: ArrayLike,
        kernel_shape: IntOrInts,
        *,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        output_shape: IntOrInts | None = None,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
        transposed: bool = False,
    ) -> None:
        fixed = as_array("x", x)
        transposed = validation.flag("transposed", transposed)
        check_no_geometry("kernel_shape", kernel_shape)
        geometry = settled_geometry(
            fixed.shape,
            kernel_shape,
            transposed=transposed,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            output_shape=output_shape,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            flip=flip,
        )
        self._settle(fixed, geometry, transposed)
