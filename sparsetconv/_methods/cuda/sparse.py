"""Method ``"sparse"`` on a GPU: a CSR matrix for each direction, multiplied by cuSPARSE.

The transposed direction has its own matrix, since cuSPARSE's product with a transposed matrix is slow and
does not add in a fixed order.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays import cuda
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.streams import Kept
from sparsetconv._arrays.validation import is_half
from sparsetconv._assembly.csr import MatrixLayout
from sparsetconv._assembly.matrices import oriented_csr
from sparsetconv._methods.base import Method, joined_parts, real_parts

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work


class CudaSparseMethod(Method):
    """Products with the matrix, assembled for each direction and dtype when first needed.

    If the result's dtype is not the kernel's, a matrix of the result's dtype is assembled once and kept. A
    real matrix multiplies the real and imaginary parts of complex vectors separately.
    """

    name = "sparse"
    assembles = True

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        entry = work.dtype.itemsize + work.geometry.index_dtype.itemsize
        return rates.call + rates.byte * (work.geometry.nnz * entry + work.moved)

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """See `Method.refusal`."""
        del geometry
        if weights.dtype.kind in "iu":
            return "an integer kernel (CuPy has no sparse matrices of integers)"
        if is_half(weights.dtype):
            return "a kernel of half precision (CuPy has no such sparse matrices)"
        return None

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._matrices: Kept[Any] = Kept(backend)

    def _matrix(self, transposed: bool, dtype: np.dtype[Any]) -> Any:
        """Return the matrix of a direction in a dtype; cuSPARSE requires that of the vector."""
        return self._matrices.get((transposed, dtype), partial(self._assembled, transposed, dtype))

    def _assembled(self, transposed: bool, dtype: np.dtype[Any]) -> Any:
        layout = MatrixLayout.of(self.geometry, transposed)
        weights = self.weights.astype(dtype, copy=False)
        return oriented_csr(layout, weights, transposed, (0, layout.shape[0]), self.backend)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._product(False, x).reshape(x.shape[0], *self.small_shape)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._product(True, y).reshape(y.shape[0], *self.large_shape)

    def _product(self, transposed: bool, x: Array) -> Array:
        """Return ``(batch, rows)``: by SpMV for one vector, else by SpMM with columns in Fortran order."""
        xp = self.backend.xp
        dtype = np.result_type(x.dtype, self.weights.dtype)
        vectors = cuda.contiguous(xp, x, dtype).reshape(x.shape[0], -1)
        split = dtype.kind == "c" and self.weights.dtype.kind != "c"
        if split:
            vectors = real_parts(vectors, xp)
        matrix = self._matrix(transposed, vectors.dtype)
        if len(vectors) == 1:
            product: Array = matrix @ vectors[0]
            return product
        columns: Array = (matrix @ vectors.T).T
        return joined_parts(columns, dtype, xp) if split else columns
