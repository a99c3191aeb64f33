"""Method ``"sparse"``: a CSR matrix for each direction, assembled when first needed.

If padding makes several taps of an output read one sample, the entry is the sum of their weights, computed in
the dtype of the result; there is then one matrix for each such dtype. Otherwise one matrix in the kernel's
dtype serves all dtypes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse._sparsetools import csr_matvec, csr_matvecs

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._assembly.csr import MatrixLayout
from sparsetconv._assembly.matrices import oriented_csr
from sparsetconv._methods.base import Method, entry_dtype, joined_parts, real_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work


# factor of the time per entry for complex entries
COMPLEX = 1.6
# entries times vectors above which a second thread pays off
THREAD_WORK = 1 << 18
# entries that are converted to another dtype at a time, in a buffer that stays in cache
CONVERTED = 1 << 18
# up to this many vectors are multiplied one by one, since the innermost loop of csr_matvecs, which runs over
# the vectors, would be too short
FEW_VECTORS = 8


class SparseMethod(Method):
    """Products with the CSR matrix, by SciPy's functions; a product with many vectors reads it only once."""

    name = "sparse"
    assembles = True

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        entry = rates.sparse_entry * (COMPLEX if work.dtype.kind == "c" else 1)
        return rates.sparse_call + work.geometry.nnz * (entry + rates.sparse_byte * work.dtype.itemsize)

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._matrices: dict[tuple[bool, np.dtype[Any]], _Csr] = {}

    def _matrix(self, transposed: bool, result: np.dtype[Any]) -> _Csr:
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
            rows, columns = matrix.shape
            made = _Csr(rows, columns, matrix.indptr, matrix.indices, matrix.data)
            self._matrices[transposed, entries] = made
        return self._matrices.setdefault((transposed, result), made)

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        dtype = np.result_type(x, self.weights)
        return self._matrix(False, dtype).product(x, dtype).reshape(x.shape[0], *self.small_shape)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        dtype = np.result_type(y, self.weights)
        return self._matrix(True, dtype).product(y, dtype).reshape(y.shape[0], *self.large_shape)

    def vector(self, x: Array, transposed: bool) -> Array:
        """See `Method.vector`."""
        matrix = self._matrix(transposed, x.dtype)
        if matrix.data.size >= THREAD_WORK:
            return matrix.product(x, x.dtype).reshape(-1)
        result = np.zeros(matrix.rows, x.dtype)
        csr_matvec(*matrix, x, result)
        return result


class _Csr(NamedTuple):
    """A CSR matrix, multiplied by the private functions on which SciPy's own product is based.

    These functions release the GIL. When they are called directly, they accept any range of rows, so that
    threads share a matrix without copies, and checks do not dominate small products.
    """

    rows: int
    columns: int
    indptr: Array
    indices: Array
    data: Array

    def product(self, x: Array, dtype: np.dtype[Any]) -> Array:
        """Return the products with the items of a batch, ``(batch, ...)``, or with one vector, in a dtype.

        Entries of another dtype are converted during the product, ``CONVERTED`` of them at a time.
        """
        rows, columns = self.rows, self.columns
        vectors = x.reshape(x.size // columns, columns).astype(dtype, copy=False)
        # with real entries, real and imaginary parts are multiplied as two real vectors
        real = dtype if self.data.dtype.kind == "c" else vectors.real.dtype
        if real != dtype:
            vectors = real_parts(vectors)
        count = len(vectors)
        few = count <= FEW_VECTORS
        # many vectors are transposed, so that all elements that an entry multiplies are contiguous
        source = np.ascontiguousarray(vectors) if few else vectors.T.ravel()
        result = np.zeros((count, rows) if few else (rows, count), real)
        workers = 1 if self.data.size * count < THREAD_WORK else max(1, min(thread_count(), rows))

        def multiply(number: int) -> None:
            first, last = rows * number // workers, rows * (number + 1) // workers
            for start, *arrays in self._parts(first, last, real):
                stop = start + arrays[0].size - 1
                if few:
                    for vector, sums in zip(source, result[:, start:stop], strict=True):
                        csr_matvec(stop - start, columns, *arrays, vector, sums)  # type: ignore[call-arg]
                else:
                    sums = result[start:stop].reshape(-1)
                    csr_matvecs(stop - start, columns, count, *arrays, source, sums)  # type: ignore[call-arg]

        for_each(multiply, range(workers), workers)
        items = result if few else result.T
        if real != dtype:
            return joined_parts(items, dtype)
        return np.ascontiguousarray(items)

    def _parts(
        self, first: int, last: int, dtype: np.dtype[Any]
    ) -> Iterator[tuple[int, Array, Array, Array]]:
        """Yield parts of the matrix with entries in a dtype: first row, row pointers, columns and values.

        A row that is divided between two parts is in both. Each part adds to the sums, so that the order in
        which the terms of a row are added does not depend on the division.
        """
        pointers, indices, data = self.indptr, self.indices, self.data
        if data.dtype == dtype:
            yield first, pointers[first : last + 1], indices, data
            return
        start, stop = int(pointers[first]), int(pointers[last])
        buffer = np.empty(min(CONVERTED, stop - start), dtype)
        rows = pointers[first : last + 1]
        # searchsorted would convert all row pointers for a number of another dtype
        index = rows.dtype.type
        for low in range(start, stop, CONVERTED):
            high = min(low + CONVERTED, stop)
            begin = int(rows.searchsorted(index(low), "right")) - 1
            end = int(rows.searchsorted(index(high), "left"))
            own = rows[begin : end + 1].clip(low, high) - index(low)
            buffer[: high - low] = data[low:high]
            yield first + begin, own, indices[low:high], buffer
