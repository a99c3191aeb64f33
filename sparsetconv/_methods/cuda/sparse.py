"""Method ``"sparse"`` on a GPU: a CSR matrix for each direction and dtype, multiplied by cuSPARSE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.validation import is_half
from sparsetconv._assembly.csr import MatrixLayout
from sparsetconv._assembly.matrices import oriented_csr
from sparsetconv._methods.base import Method
from sparsetconv._methods.cuda.csr import CudaCsrPair

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work


class CudaSparseMethod(Method):
    """Products with the matrix, assembled for each direction and dtype when first needed."""

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
        self._pair = CudaCsrPair(backend, self.weights.dtype, self._assembled)

    def _assembled(self, transposed: bool, dtype: np.dtype[Any]) -> Any:
        layout = MatrixLayout.of(self.geometry, transposed)
        weights = self.weights.astype(dtype, copy=False)
        return oriented_csr(layout, weights, transposed, (0, layout.shape[0]), self.backend)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """See `Method.forward`."""
        return self._product(x, False, out).reshape(x.shape[0], *self.small_shape)

    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """See `Method.transpose`."""
        return self._product(y, True, out).reshape(y.shape[0], *self.large_shape)

    def _product(self, x: Array, transposed: bool, out: Array | None) -> Array:
        dtype, items = np.result_type(x.dtype, self.weights.dtype), len(x)
        target = None if out is None else out.reshape(items, -1)
        return self._pair.batch(x.reshape(items, -1), dtype, transposed, target)
