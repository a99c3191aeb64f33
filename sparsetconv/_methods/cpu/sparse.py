"""Method ``"sparse"``: the CSR matrices of both directions, each assembled when first needed.

Where padding folds several taps onto one sample, their sum is an entry, and it is taken in the dtype of the
result: such a matrix is assembled for each dtype of results that is asked for. Where nothing is folded there
is one matrix in the kernel's dtype, whatever it is multiplied with.
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


# seconds: of a product whatever its matrix, less than by other methods; of an entry, and how much longer of a
# complex one; of a byte of its value
CALL, ENTRY, COMPLEX, VALUE_BYTE = 3e-6, 0.4e-9, 1.6, 0.06e-9
# entries for which a second thread pays
THREAD_WORK = 1 << 18
# entries that are converted at a time, to a buffer that stays in cache
CONVERTED = 1 << 18
# up to so many vectors are multiplied one by one: SciPy's product with several loops over them inside
FEW = 8


class SparseMethod(Method):
    """Products with the matrix, by SciPy's functions; many vectors at once read it once."""

    name = "sparse"
    assembles = True

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        del rates
        entry = ENTRY * (COMPLEX if work.dtype.kind == "c" else 1)
        return CALL + work.geometry.nnz * (entry + VALUE_BYTE * work.dtype.itemsize)

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._matrices: dict[tuple[bool, np.dtype[Any]], _Csr] = {}

    def _matrix(self, transposed: bool, result: np.dtype[Any]) -> _Csr:
        """Return the matrix of a direction, its entries summed as results of a dtype ask."""
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
    """A matrix, multiplied by the functions that SciPy's own product calls.

    They release the interpreter's lock. Called directly they work on any range of rows, so that threads share
    a matrix without copying it, and small products are not dominated by checks.
    """

    rows: int
    columns: int
    indptr: Array
    indices: Array
    data: Array

    def product(self, x: Array, dtype: np.dtype[Any]) -> Array:
        """Return the products with the items of a batch, ``(batch, ...)`` or one vector, in a dtype.

        Entries of another dtype are converted as they are used, a block of them at a time.
        """
        rows, columns = self.rows, self.columns
        vectors = x.reshape(x.size // columns, columns).astype(dtype, copy=False)
        # a complex number that meets a real entry is two real ones
        real = dtype if self.data.dtype.kind == "c" else vectors.real.dtype
        if real != dtype:
            vectors = real_parts(vectors)
        count = len(vectors)
        few = count <= FEW
        # of many vectors, the numbers that meet one entry stand side by side
        source = np.ascontiguousarray(vectors) if few else vectors.T.ravel()
        result = np.zeros((count, rows) if few else (rows, count), real)
        workers = 1 if self.data.size * count < THREAD_WORK else max(1, min(thread_count(), rows))

        def multiply(number: int) -> None:
            first, last = rows * number // workers, rows * (number + 1) // workers
            for start, *arrays in self._parts(first, last, real):
                stop = start + arrays[0].size - 1
                if few:
                    for vector, sums in zip(source, result[:, start:stop], strict=True):
                        csr_matvec(stop - start, columns, *arrays, vector, sums)
                else:
                    sums = result[start:stop].reshape(-1)
                    csr_matvecs(stop - start, columns, count, *arrays, source, sums)

        for_each(multiply, range(workers), workers)
        items = result if few else result.T
        if real != dtype:
            return joined_parts(items, dtype)
        return np.ascontiguousarray(items)

    def _parts(
        self, first: int, last: int, dtype: np.dtype[Any]
    ) -> Iterator[tuple[int, Array, Array, Array]]:
        """Yield rows with their entries in a dtype: the first row, row pointers, columns and values.

        A row that ends in a later part is in both: sums are added to, so that the order of its terms is the
        same wherever it is divided.
        """
        pointers, indices, data = self.indptr, self.indices, self.data
        if data.dtype == dtype:
            yield first, pointers[first : last + 1], indices, data
            return
        start, stop = int(pointers[first]), int(pointers[last])
        buffer = np.empty(min(CONVERTED, stop - start), dtype)
        rows = pointers[first : last + 1]
        # a number of another dtype would make NumPy convert all pointers
        index = rows.dtype.type
        for low in range(start, stop, CONVERTED):
            high = min(low + CONVERTED, stop)
            begin = int(rows.searchsorted(index(low), "right")) - 1
            end = int(rows.searchsorted(index(high), "left"))
            own = rows[begin : end + 1].clip(low, high) - index(low)
            buffer[: high - low] = data[low:high]
            yield first + begin, own, indices[low:high], buffer
