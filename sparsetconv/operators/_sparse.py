"""`SparseOperator`: any sparse matrix as a linear operator, with products in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays.backend import operator_backend
from sparsetconv._arrays.display import shown, type_name
from sparsetconv._arrays.results import conjugated
from sparsetconv._arrays.streams import Place, on_device, operator_device
from sparsetconv._arrays.validation import checked_dtype
from sparsetconv._assembly.matrices import check_gpu_dtype
from sparsetconv._methods.cpu.csr.product import CsrArrays, CsrPair, with_arrays
from sparsetconv._methods.cuda.csr import CudaCsrPair
from sparsetconv.operators._base import ArrayCore, ArrayOperator

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array


class SparseCore(ArrayCore):
    """The operator on either backend; see `SparseOperator`."""

    _csr: Any
    _pair: CsrPair | CudaCsrPair

    @classmethod
    def _backend_for(cls, matrix: Any = None, *_: Any, **__: Any) -> Backend:
        return operator_backend(matrix)

    def _settle(self, matrix: Any) -> None:
        backend = self.backend
        _refuse_others(matrix, backend)
        with on_device(backend, operator_device(matrix, backend)):
            csr = matrix.tocsr()
            arrays = _checked(CsrArrays.of(csr), csr.shape, backend)
            rows, columns = csr.shape
            self._prepare(arrays.data.dtype, (columns,), (rows,))
            if backend.on_gpu:
                self._csr = _made(arrays, self.shape, backend)
                self._pair = CudaCsrPair.of(self._csr, backend)
            else:
                self._csr = with_arrays(sp.csr_array, arrays, self.shape)
                self._pair = CsrPair.of(self._csr)
            self._place = Place(backend)

    def _on(self, backend: Backend) -> Any:
        arrays = CsrArrays(*map(backend.asarray, CsrArrays.of(self._csr)))
        return SparseOperator(_made(arrays, self.shape, backend))

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseOperator, (self._csr,)

    @property
    def nnz(self) -> int:
        """Number of stored entries; duplicates count, which `tosparse` sums."""
        return int(self._csr.nnz)

    @property
    def _takes_columns(self) -> bool:
        return True

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return self._pair.batch(x, np.result_type(x.dtype, self.dtype), False, out)

    def _apply_adjoint(self, y: Array, out: Array | None = None) -> Array:
        dtype = np.result_type(y.dtype, self.dtype)
        if self.dtype.kind != "c":
            return self._pair.batch(y, dtype, True, out)
        return conjugated(self._pair.batch(y.conj(), dtype, True, out), self.backend.xp)

    def _flat(self, x: Array, adjoint: bool, out: Array | None = None) -> Array:
        if adjoint and self.dtype.kind == "c":
            return conjugated(self._pair.vector(x.conj(), True, out), self.backend.xp)
        return self._pair.vector(x, adjoint, out)

    def _matrix(self) -> Any:
        csr = self._csr
        nbytes = csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes
        self.backend.require("the matrix' copy", nbytes, "the operator has the matrix that was given")
        copied = _made(CsrArrays(*(array.copy() for array in CsrArrays.of(csr))), self.shape, self.backend)
        copied.sum_duplicates()
        return copied


def _made(arrays: CsrArrays, shape: tuple[int, int], backend: Backend) -> Any:
    indptr, indices, data = arrays
    return backend.sparse_type("csr")((data, indices, indptr), shape=shape)


def _refuse_others(matrix: Any, backend: Backend) -> None:
    """Raise unless a value is a sparse matrix with two axes."""
    if not backend.sparse.issparse(matrix):
        hint = "; scipy.sparse.csr_array(matrix) makes one" if isinstance(matrix, (np.ndarray, list)) else ""
        if backend.on_gpu:
            hint = "; cupyx.scipy.sparse.csr_matrix(matrix) makes one"
        msg = f"matrix must be a sparse matrix of SciPy or CuPy, got {type_name(matrix)}{hint}"
        raise TypeError(msg)
    if len(matrix.shape) != 2:
        msg = f"matrix must have two axes, got the shape {shown(matrix.shape)}"
        raise ValueError(msg)


def _checked(arrays: CsrArrays, shape: tuple[int, int], backend: Backend) -> CsrArrays:
    """Return arrays that the loops can read, the given ones if possible; raise unless they are a matrix."""
    xp = backend.xp
    wanted = checked_dtype("matrix", arrays.data.dtype)
    if backend.on_gpu:
        check_gpu_dtype("matrix", wanted)
    index = np.result_type(arrays.indptr.dtype, arrays.indices.dtype).newbyteorder("=")
    index = index if index in (np.int32, np.int64) else np.dtype(np.int64)
    own = CsrArrays(
        xp.ascontiguousarray(arrays.indptr, index),
        xp.ascontiguousarray(arrays.indices, index),
        xp.ascontiguousarray(arrays.data, wanted),
    )
    _check_pointers(own, shape[0])
    columns = own.indices[: int(own.indptr[-1])]
    if columns.size:
        lowest, highest = int(columns.min()), int(columns.max())
        if lowest < 0 or highest >= shape[1]:
            msg = (
                f"matrix.indices must be columns from 0 to {shape[1] - 1}, "
                f"got {lowest if lowest < 0 else highest}"
            )
            raise ValueError(msg)
    return own


def _check_pointers(arrays: CsrArrays, rows: int) -> None:
    """Raise unless row pointers lead from the first entry to the last, upwards."""
    indptr, indices, data = arrays
    if indptr.shape != (rows + 1,):
        msg = f"matrix.indptr must have {rows + 1} numbers, one more than rows, got the shape {indptr.shape}"
        raise ValueError(msg)
    stored = min(indices.size, data.size)
    if int(indptr[0]) != 0 or int(indptr[-1]) > stored or bool((indptr[1:] < indptr[:-1]).any()):
        msg = (
            f"matrix.indptr must begin with 0, not decrease, and end with at most {stored}, the number of "
            f"entries; got {int(indptr[0])} at the beginning and {int(indptr[-1])} at the end"
        )
        raise ValueError(msg)


class SparseOperator(SparseCore, ArrayOperator):
    """Any sparse matrix as a linear operator: fast products by several threads, in both directions.

    Parameters
    ----------
    matrix : (m, n) sparse matrix or array
        SciPy's, of any format, or CuPy's, for an operator on CuPy arrays. Its dtype is float32, float64,
        complex64, complex128 or an integer dtype. The arrays of a CSR matrix are used, not copied; other
        formats are converted by ``.tocsr()``. Columns of a row may be in any order and occur several times.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        ``(n,)`` and ``(m,)``.
    shape : tuple of int
        ``(m, n)``.
    nnz : int
        Number of stored entries.

    Raises
    ------
    TypeError
        If `matrix` is not sparse, or of another dtype.
    ValueError
        If it has not two axes, or if its indices are not those of a matrix of this shape. They are checked
        once, so that no product reads outside of the arrays.

    See Also
    --------
    ConvOperator : Convolutions, for which methods without a matrix are faster.

    Notes
    -----
    Products with a vector are limited by the time to read the matrix. Products with many vectors read it
    once: ``A @ X`` is fastest if ``X``, of shape ``(n, k)``, is in C order, as for SciPy.

    The sum of a row is computed in the order of its entries, and each product is rounded before it is added.
    So results have the same bits with any number of threads and in each run; on x86 they are SciPy's bits,
    for one vector or many. Small products, of less than 655,360 entries times vectors, are SciPy's until
    large ones have loaded the compiled loops; then they use them, too, where SciPy's bits are the same.
    Where SciPy rounds otherwise, bits of small and of large products may differ. The first large product of
    each combination of dtypes compiles (about half a second; numba caches the result on disk). Without
    numba's compiler all products are SciPy's.

    Products with the adjoint need the CSR of the transpose, which is made by the first one that is computed
    by the loops. If it does not fit into half of the available memory, the given matrix is used, at a lower
    speed; bits are the same.

    Do not change the arrays of the matrix afterwards: new values would appear in one direction only, and new
    indices are not checked.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse as sp
    >>> import sparsetconv as stc
    >>> A = stc.SparseOperator(sp.csr_array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    >>> A @ np.array([1.0, 2.0, 3.0])
    array([7., 6.])
    >>> A.H @ np.eye(2)
    array([[1., 0.],
           [0., 3.],
           [2., 0.]])
    """

    def __init__(self, matrix: Any) -> None:
        self._settle(matrix)
