"""`ResizeOperator`: interpolation as a linear operator.

There is one small sparse factor for each axis; their Kronecker product, the matrix, is not formed.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import device_backend
from sparsetconv._arrays.streams import Place
from sparsetconv._assembly.kronecker import kronecker
from sparsetconv._resize.cuda import CudaSeparable
from sparsetconv._resize.geometry import resize_geometry
from sparsetconv._resize.matrices import axis_matrices, float_dtype
from sparsetconv._resize.separable import Separable
from sparsetconv.operators._base import ArrayCore, ArrayOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from sparsetconv._arrays.backend import Backend, Device
    from sparsetconv._arrays.display import Facts
    from sparsetconv._arrays.types import CSR, Array
    from sparsetconv._geometry.validation import IntOrInts
    from sparsetconv._resize.geometry import (
        ConventionName,
        CoordinateMode,
        NearestMode,
        ResizeGeometry,
        ResizeMode,
    )


class ResizeCore(ArrayCore):
    """The operator on either backend; see `ResizeOperator`."""

    geometry: ResizeGeometry
    factors: tuple[CSR, ...]

    @classmethod
    def _backend_for(cls, *_: Any, device: Any = "numpy", **__: Any) -> Backend:
        return device_backend(device)

    def _settle(self, geometry: ResizeGeometry, dtype: np.dtype[Any]) -> None:
        self._prepare(dtype, geometry.input_shape, geometry.output_shape)
        self._place = Place(self.backend)
        self.geometry = geometry
        self.factors = axis_matrices(geometry)
        needed = [
            None if axis.is_identity else factor
            for axis, factor in zip(geometry.axes, self.factors, strict=True)
        ]
        sizes = [factor.shape for factor in self.factors]
        self._product: Separable | CudaSeparable = (
            CudaSeparable(needed, sizes, self.backend) if self.backend.on_gpu else Separable(needed, sizes)
        )

    def _on(self, backend: Backend) -> Any:
        return resize_operator(self.geometry, self.dtype, backend.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return resize_operator, (self.geometry, self.dtype, self.backend.name)

    def _facts(self) -> Facts:
        return super()._facts().adding(rows=self.geometry._settings())

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return self._product.apply(x.astype(np.result_type(x.dtype, self.dtype), copy=False), False, out)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self._product.apply(y.astype(np.result_type(y.dtype, self.dtype), copy=False), True, out)

    def _transpose(self) -> Any:
        # the factors are real, whatever the dtype
        return self._adjoint()

    @property
    def nnz(self) -> int:
        """Number of entries of the matrix, which is not assembled for this."""
        return prod(factor.nnz for factor in self.factors)

    def _matrix(self) -> Any:
        return kronecker(self.factors, self.dtype, self.backend)


class ResizeOperator(ResizeCore, ArrayOperator):
    """The resize of an array, up or down, as a linear operator.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``.
    output_shape : int or sequence of int, optional
        ``(m1, ..., md)``, or the sizes of the last axes.
    scale, mode, coordinate_mode, nearest_mode, cubic_coeff, exclude_outside, antialias, convention : optional
        As for `resize_matrix`.
    dtype : dtype, optional
        Dtype of the operator; a product has the result type of this and the operand's dtype.
    device : {"numpy", "cupy"}
        Kind of the arrays: with ``"cupy"`` the operator is a ``cupyx.scipy.sparse.linalg.LinearOperator`` on
        the current GPU.

    Attributes
    ----------
    factors : tuple of (m, n) scipy.sparse.csr_array
        One for each axis, float64, SciPy's on either device. The matrix is their Kronecker product.
    geometry : ResizeGeometry
        Sizes, and each axis' scale and rule.
    input_shape, output_shape : tuple of int
    shape : tuple of int
        ``(prod(output_shape), prod(input_shape))``.

    Raises
    ------
    TypeError
        If a size is not an integer, ``scale`` or ``cubic_coeff`` is not a number, or the dtype is not
        floating-point.
    ValueError
        If not exactly one of `output_shape` and `scale` is given, a size or scale is not positive, a word is
        unknown, or the mode or convention does not accept an option that was given.
    ImportError, RuntimeError
        With ``device="cupy"``, if CuPy, its libraries or a GPU are missing.

    See Also
    --------
    resize_matrix : The matrix, with the meaning of every parameter.
    interpolation_kernel : The kernel with which `ConvTransposeOperator` is the same, away from the border.

    Notes
    -----
    ``R @ x`` is ``resize_matrix(input_shape, ...) @ x``. The adjoint adds to each sample the outputs that it
    contributed to, with the same weights. It is not an interpolation: its rows do not sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> R = stc.ResizeOperator((2, 3), scale=2, mode="bilinear")
    >>> R.apply(np.ones((5, 2, 3))).shape
    (5, 4, 6)
    >>> R.H.apply(np.ones((4, 6)))
    array([[4., 4., 4.],
           [4., 4., 4.]])
    """

    def __init__(
        self,
        input_shape: IntOrInts,
        output_shape: IntOrInts | None = None,
        *,
        scale: float | Sequence[float] | None = None,
        mode: ResizeMode = "linear",
        coordinate_mode: CoordinateMode | None = None,
        nearest_mode: NearestMode | None = None,
        cubic_coeff: float | None = None,
        exclude_outside: bool | None = None,
        antialias: bool | None = None,
        convention: ConventionName | None = None,
        dtype: DTypeLike = np.float64,
        device: Device = "numpy",
    ) -> None:
        del device  # it has chosen the class
        geometry = resize_geometry(
            input_shape,
            output_shape,
            scale=scale,
            mode=mode,
            coordinate_mode=coordinate_mode,
            nearest_mode=nearest_mode,
            cubic_coeff=cubic_coeff,
            exclude_outside=exclude_outside,
            antialias=antialias,
            convention=convention,
        )
        self._settle(geometry, float_dtype(dtype))


def resize_operator(geometry: ResizeGeometry, dtype: np.dtype[Any], device: str) -> Any:
    """Return the operator of a settled geometry."""
    return ResizeOperator._settled(device_backend(device), geometry, dtype)
