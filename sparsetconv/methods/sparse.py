"""Method ``"sparse"``: the CSR matrices of both directions, each assembled when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sparsetconv.assembly import MatrixLayout
from sparsetconv.matrices import oriented_csr
from sparsetconv.methods._base import Method

if TYPE_CHECKING:
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


class SparseMethod(Method):
    """Products with the matrix, by SciPy, on one thread; several vectors at once read it once."""

    name = "sparse"

    def __init__(self, geometry: ConvGeometry, weights: Array) -> None:
        super().__init__(geometry, weights)
        groups, (c_in, c_out) = geometry.groups, geometry.channels
        self._small = (groups, c_out, *(axis.outputs for axis in geometry.axes))
        self._large = (groups, c_in, *(axis.size for axis in geometry.axes))

    @cached_property
    def _forward_matrix(self) -> Any:
        return self._matrix(False)

    @cached_property
    def _transposed_matrix(self) -> Any:
        return self._matrix(True)

    def _matrix(self, transposed: bool) -> Any:
        layout = MatrixLayout.of(self.geometry, transposed)
        return oriented_csr(layout, self.weights, transposed, 0, layout.shape[0])

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return _product(self._forward_matrix, x).reshape(x.shape[0], *self._small)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return _product(self._transposed_matrix, y).reshape(y.shape[0], *self._large)


def _product(matrix: Any, x: Array) -> Array:
    product: Array
    if x.shape[0] == 1:
        product = matrix @ x.reshape(-1)
    else:
        product = (matrix @ x.reshape(x.shape[0], matrix.shape[1]).T).T
    return product
