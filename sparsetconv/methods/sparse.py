"""Method ``"sparse"``: the CSR matrices of both directions, each assembled when first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse._sparsetools import csr_matvec, csr_matvecs

from sparsetconv._threads import for_each, thread_count
from sparsetconv.assembly import MatrixLayout
from sparsetconv.matrices import oriented_csr
from sparsetconv.methods._base import Method

if TYPE_CHECKING:
    from sparsetconv._types import Array


# entries for which a second thread pays
THREAD_WORK = 1 << 18


class SparseMethod(Method):
    """Products with the matrix, by SciPy's functions; several vectors at once read it once."""

    name = "sparse"

    @cached_property
    def _forward_matrix(self) -> _Csr:
        return self._matrix(False)

    @cached_property
    def _transposed_matrix(self) -> _Csr:
        return self._matrix(True)

    def _matrix(self, transposed: bool) -> _Csr:
        layout = MatrixLayout.of(self.geometry, transposed)
        matrix = oriented_csr(layout, self.weights, transposed, (0, layout.shape[0]), self.backend)
        rows, columns = matrix.shape
        return _Csr(rows, columns, matrix.indptr, matrix.indices, matrix.data)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._forward_matrix.product(x).reshape(x.shape[0], *self.small_shape)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._transposed_matrix.product(y).reshape(y.shape[0], *self.large_shape)

    def vector(self, x: Array, transposed: bool) -> Array:
        """See `Method.vector`."""
        return (self._transposed_matrix if transposed else self._forward_matrix).product(x)


class _Csr(NamedTuple):
    """A matrix, multiplied by the functions that SciPy's own product calls.

    They release the interpreter's lock. Called directly they work on any range of rows, so that threads share
    a matrix without copying it, and small products are not dominated by checks.
    """

    rows: int
    columns: int
    indptr: Array
    indices: Array
    data: Array

    def product(self, x: Array) -> Array:
        """Return the product with a vector, or with each item of a batch, ``(batch, ...)``."""
        rows, columns, _, indices, data = self
        if x.ndim == 1 and data.size < THREAD_WORK:
            result = np.zeros(rows, data.dtype)
            csr_matvec(*self, x, result)
            return result
        batch = x.size // columns
        dtype = np.result_type(data, x)
        # of several vectors, the numbers that meet one entry stand side by side
        vectors = x.reshape(batch, columns).astype(dtype, copy=False).T.ravel()
        result = np.zeros(rows * batch, dtype)
        workers = 1 if data.size * batch < THREAD_WORK else max(1, min(thread_count(), rows))

        def multiply(number: int) -> None:
            first, last = rows * number // workers, rows * (number + 1) // workers
            part = self.indptr[first : last + 1], indices, data, vectors, result[first * batch : last * batch]
            if batch == 1:
                csr_matvec(last - first, columns, *part)
            else:
                csr_matvecs(last - first, columns, batch, *part)

        for_each(multiply, range(workers), workers)
        return result if batch == 1 else np.ascontiguousarray(result.reshape(rows, batch).T)
