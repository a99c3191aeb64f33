"""Method ``"sparse"``: a CSR matrix for each direction, assembled when first needed.

If padding makes several taps of an output read one sample, the entry is the sum of their weights, computed in
the dtype of the result; there is then one matrix for each such dtype. Otherwise one matrix in the kernel's
dtype serves all dtypes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._assembly.csr import MatrixLayout
from sparsetconv._assembly.matrices import oriented_csr
from sparsetconv._methods.base import Method, entry_dtype
from sparsetconv._methods.cpu.csr.product import Csr

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work


# factor of the time per entry for complex entries
COMPLEX = 1.6
# entries that take as long as the start of a row
ROW_ENTRIES = 4


class SparseMethod(Method):
    """Products with the CSR matrix, small ones by SciPy; a product with many vectors reads it only once."""

    name = "sparse"
    assembles = True
    takes_columns = True

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        entry = rates.sparse_entry * (COMPLEX if work.dtype.kind == "c" else 1)
        nnz, rows = work.geometry.nnz, work.geometry.matrix_shape[1 if work.transposed else 0]
        entries = nnz * (entry + rates.sparse_byte * work.dtype.itemsize)
        return rates.sparse_call + entries + rows * ROW_ENTRIES * rates.sparse_entry + rates.byte * work.moved

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._matrices: dict[tuple[bool, np.dtype[Any]], Csr] = {}

    def _matrix(self, transposed: bool, result: np.dtype[Any]) -> Csr:
        """Return the matrix of a direction, in the `entry_dtype` for results of dtype ``result``."""
        known = self._matrices.get((transposed, result))
        if known is not None:
            return known
        entries = entry_dtype(self.geometry, self.weights.dtype, result)
        made = self._matrices.get((transposed, entries))
        if made is None:
            layout = MatrixLayout.of(self.geometry, transposed)
            weights = self.weights.astype(entries, copy=False)
            matrix = oriented_csr(layout, weights, transposed, (0, layout.shape[0]), self.backend)
            made = self._matrices.setdefault((transposed, entries), Csr(matrix))
        return self._matrices.setdefault((transposed, result), made)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """See `Method.forward`."""
        return self._product(x, False, out).reshape(x.shape[0], *self.small_shape)

    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """See `Method.transpose`."""
        return self._product(y, True, out).reshape(y.shape[0], *self.large_shape)

    def _product(self, x: Array, transposed: bool, out: Array | None) -> Array:
        dtype, items = np.result_type(x, self.weights), len(x)
        target = None if out is None else out.reshape(items, -1)
        return self._matrix(transposed, dtype).batch(x.reshape(items, -1), dtype, target)

    def vector(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """See `Method.vector`."""
        return self._matrix(transposed, x.dtype).vector(x, out)
