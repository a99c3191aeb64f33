"""Method ``"sparse"``: the CSR matrices of both directions, each assembled when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import scipy.sparse as sp

from sparsetconv.assembly import MatrixLayout, csr_arrays
from sparsetconv.methods._base import Method

if TYPE_CHECKING:
    from sparsetconv._types import Array


class SparseMethod(Method):
    """Products with the matrix, by SciPy, on one thread; several vectors at once read it once."""

    name = "sparse"

    @cached_property
    def _forward_matrix(self) -> Any:
        return self._matrix(False)

    @cached_property
    def _transposed_matrix(self) -> Any:
        return self._matrix(True)

    def _matrix(self, transposed: bool) -> Any:
        layout = MatrixLayout.of(self.geometry, transposed)
        weights = self.weights.swapaxes(1, 2) if transposed else self.weights
        arrays = csr_arrays(layout, weights, 0, layout.shape[0], None)
        return sp.csr_array(arrays, shape=layout.shape)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return _product(self._forward_matrix, x).reshape(x.shape[0], *self._shape(0))

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return _product(self._transposed_matrix, y).reshape(y.shape[0], *self._shape(1))

    def _shape(self, side: int) -> tuple[int, ...]:
        geometry = self.geometry
        sizes = (axis.size if side else axis.outputs for axis in geometry.axes)
        return (geometry.groups, geometry.channels[0 if side else 1], *sizes)


def _product(matrix: Any, x: Array) -> Array:
    product: Array
    if x.shape[0] == 1:
        product = matrix @ x.reshape(-1)
    else:
        product = (matrix @ x.reshape(x.shape[0], matrix.shape[1]).T).T
    return product
