"""Method ``"sparse"`` on a GPU: the CSR of either direction, multiplied by cuSPARSE.

Floor 3. The transposed product has a matrix of its own: cuSPARSE's product with a transposed matrix is slow,
and adds in no fixed order.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv.assembly import MatrixLayout
from sparsetconv.matrices import oriented_csr
from sparsetconv.methods._base import Method

if TYPE_CHECKING:
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class CudaSparseMethod(Method):
    """Products with the matrix, each assembled when first needed."""

    name = "sparse"

    @staticmethod
    def refusal(geometry: ConvGeometry, weights: Array) -> str | None:
        """Return why this method does not take such a convolution, or None."""
        del geometry
        if weights.dtype.kind in "iu":
            return "an integer kernel (CuPy's sparse matrices hold none)"
        return None

    @cached_property
    def _forward_matrix(self) -> Any:
        return self._matrix(False)

    @cached_property
    def _transposed_matrix(self) -> Any:
        return self._matrix(True)

    def _matrix(self, transposed: bool) -> Any:
        layout = MatrixLayout.of(self.geometry, transposed)
        return oriented_csr(layout, self.weights, transposed, (0, layout.shape[0]), self.backend)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._product(self._forward_matrix, x).reshape(x.shape[0], *self.small_shape)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._product(self._transposed_matrix, y).reshape(y.shape[0], *self.large_shape)

    def _product(self, matrix: Any, x: Array) -> Array:
        """Return ``(batch, rows)``: one vector by SpMV, several as columns in Fortran order."""
        dtype = np.result_type(x.dtype, matrix.dtype)
        vectors = self.backend.xp.ascontiguousarray(x, dtype).reshape(x.shape[0], matrix.shape[1])
        if len(vectors) == 1:
            product: Array = matrix @ vectors[0]
            return product
        columns: Array = (matrix @ vectors.T).T
        return columns
