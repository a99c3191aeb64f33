"""`Csr` and `TransposedCsr`: products with any CSR matrix, small ones by SciPy, large ones by compiled loops.

Both compute the same bits where SciPy rounds each product before it is added, as its builds for x86 do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays import memory
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.layout import LINE_BYTES, aligned, transposed
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.switches import compiler_switch
from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._methods.cpu.rates import vector_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sparsetconv._arrays.types import Array

# entries times columns from which on threads pay, and compiled loops are loaded or made
LARGE = 5 << 17
# bytes of an operand's row in a panel, and of the operand from which on panels pay
PANEL_BYTES, LARGE_OPERAND = 128, 1 << 22
# neighbouring rows that are looked at, the most of their entries, and the columns in them over their entries
# from which on the matrix is scattered
WINDOW, MOST_OF_WINDOW, SCATTERED = 256, 1 << 14, 0.5
# mean entries of a column from which on a copy of the operand pays in which no vector is in two cache lines,
# if vectors are as long as these
ALIGNED = 96
# the part of the available memory that the CSR of a transpose, or a copy of an operand, may take
MOST_OF_MEMORY = 0.5


# the loops that large products have compiled or loaded: by the dtypes of indices, entries and results, and
# whether they are for several columns
_ready: dict[Hashable, Any] = {}


class CsrArrays(NamedTuple):
    """The arrays of a CSR matrix."""

    indptr: Array
    indices: Array
    data: Array

    @classmethod
    def of(cls, matrix: Any) -> CsrArrays:
        """Return the arrays of a CSR matrix, or those of the transpose of a CSC matrix."""
        return cls(matrix.indptr, matrix.indices, matrix.data)

    def cuts(self, parts: int) -> list[int]:
        """Return the bounds of ranges of rows with about as many entries each."""
        rows, pointer = self.indptr.size - 1, self.indptr.dtype.type
        last = int(self.indptr[-1])
        # searchsorted would convert all row pointers for a number of another dtype
        inner = (int(self.indptr.searchsorted(pointer(last * n // parts))) for n in range(1, parts))
        return [0, *(min(cut, rows) for cut in inner), rows]

    def is_scattered(self) -> bool:
        """Return whether neighbouring rows have few columns in common: those in the middle stand for all."""
        rows = self.indptr.size - 1
        middle = max(0, (rows - WINDOW) // 2)
        start, stop = (int(self.indptr[n]) for n in (middle, min(middle + WINDOW, rows)))
        window = self.indices[start : min(stop, start + MOST_OF_WINDOW)]
        return np.unique(window).size > SCATTERED * window.size


def with_arrays(kind: Any, arrays: CsrArrays, shape: tuple[int, int]) -> Any:
    """Return a sparse array that has these arrays themselves; its constructor might copy some."""
    made = kind(shape, dtype=arrays.data.dtype)
    made.indptr, made.indices, made.data = arrays
    return made


class CsrProducts(ABC):
    """What a CSR matrix and its transpose share: who computes a product, SciPy or the loops.

    Parameters
    ----------
    matrix : (m, n) scipy.sparse array
        As SciPy multiplies with it: a CSR, or a CSC, the transpose of a CSR with the same arrays. They are
        kept as they are; in any order, and with duplicates, but with valid indices: nothing checks them
        later.

    Attributes
    ----------
    matrix : (m, n) scipy.sparse array
    """

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self._rows, self._columns = matrix.shape
        self._arrays = CsrArrays.of(matrix)
        self._data = matrix.data
        # number of columns from which on a product is large
        self._large_from = -(-LARGE // max(1, self._data.size))
        self._compiles_alike = all(map(_compiles_alike, self._arrays))
        self._dtypes = matrix.indices.dtype, self._data.dtype
        # those of `_ready` that serve small products with this matrix, by the rest of their key: to hash all
        # of it takes as long as a small product
        self._known: dict[Hashable, Any] = {}
        self._scattered: bool | None = None

    def vector(self, x: Array, out: Array | None = None) -> Array:
        """Return the product with a vector, which has the result's dtype, in ``out`` if that is given."""
        loops = self.loops(x, 1)
        if loops is None:
            product: Array = self.matrix @ x
            return product if out is None else placed(product, out)
        return self._product(loops, np.ascontiguousarray(x), 1, out)

    def batch(self, x: Array, dtype: np.dtype[Any], out: Array | None = None) -> Array:
        """Return the products with a batch of vectors, in the result's dtype.

        Parameters
        ----------
        x : (k, n) array
            Best the transpose of a contiguous ``(n, k)`` array.
        dtype : dtype
        out : (k, m) array, optional
            For the result, contiguous.

        Returns
        -------
        (k, m) array
            In the memory order of ``x``: contiguous, or the transpose of a contiguous array.
        """
        vectors = x.astype(dtype, copy=False)
        count = len(vectors)
        by_columns = vectors.T.flags.c_contiguous
        if not by_columns:
            NUMPY.require("the operand's copy", vectors.nbytes, "fewer vectors need less")
        columns = vectors.T if by_columns else transposed(vectors)
        # with real entries, real and imaginary parts are multiplied as two real columns
        number = dtype if self._data.dtype.kind == "c" else np.zeros(0, dtype).real.dtype
        # the result of one vector is contiguous in either order
        flat = out.reshape(-1).view(number) if out is not None and count == 1 else None
        result = self._multiplied(columns.view(number), flat).view(dtype).T
        if count == 1:
            return result
        if out is not None:
            return transposed(result.T, out)
        if by_columns:
            return result
        NUMPY.require("the result's copy", result.nbytes, "fewer vectors need less")
        return transposed(result.T)

    def _multiplied(self, columns: Array, out: Array | None) -> Array:
        """Return the product with a contiguous matrix, contiguous, in ``out`` if that is a flat array."""
        count = columns.shape[1]
        if count == 1:
            return self.vector(columns.reshape(-1), out).reshape(-1, 1)
        loops = self.loops(columns, count)
        if loops is None:
            product: Array = self.matrix @ columns
            return product if out is None else placed(product, out.reshape(-1, count))
        return self._product(loops, columns.reshape(-1), count, out).reshape(-1, count)

    def loops(self, x: Array, columns: int) -> Any:
        """Return the loops for products with this many columns in all, or None if SciPy's serve them.

        Small products take loops that large ones have loaded, where that leaves the bits as they are.
        """
        if columns >= self._large_from:
            return None if compiler_switch() else self._loaded(x.dtype, columns > 1)
        if not _ready or not self._compiles_alike:
            return None
        own = x.dtype, columns > 1
        loops = self._known.get(own)
        if loops is None and rounds_twice():
            loops = _ready.get((*self._dtypes, *own))
            if loops is not None:
                self._known[own] = loops
        return loops if loops is not None and _compiles_alike(x) else None

    def _loaded(self, dtype: np.dtype[Any], many: bool) -> Any:
        """Return compiled loops, which are ready for small products, too, once they have been called."""
        from sparsetconv._methods.cpu.csr import loops

        run = loops.multiply_columns if many else loops.multiply_vector

        def called(*args: Any) -> None:
            run(*args)
            _ready[(*(args[n].dtype for n in (1, 2, 4)), many)] = run

        known = (*self._dtypes, dtype, many) in _ready
        return run if known or not self._compiles_alike else called

    @abstractmethod
    def _product(
        self, loops: Callable[..., None], source: Array, columns: int, out: Array | None = None
    ) -> Array:
        """Return the product by compiled loops, flat, in ``out`` if that is given."""

    def _gathered(
        self, loops: Callable[..., None], arrays: CsrArrays, source: Array, columns: int, out: Array | None
    ) -> Array:
        """Return the product of the rows of a CSR, by threads with ranges of rows."""
        target = result_array(out, (self._rows * columns,), source.dtype)
        if columns < self._large_from:
            loops(*arrays, source, target, 0, self._rows, columns, columns)
            return target
        workers = self._workers(columns)
        cuts = arrays.cuts(workers)

        def multiply(operand: Array, result: Array, width: int) -> None:
            def part(n: int) -> None:
                loops(*arrays, operand, result, cuts[n], cuts[n + 1], width, columns)

            for_each(part, range(workers), workers)

        width = PANEL_BYTES // source.itemsize
        if columns > width and source.nbytes >= LARGE_OPERAND and self._is_scattered(arrays):
            for panel, first in _panels(source.reshape(-1, columns), width):
                multiply(panel.reshape(-1), target[first:], panel.shape[1])
        else:
            multiply(self._aligned(source, columns), target, columns)
        return target

    def _aligned(self, source: Array, columns: int) -> Array:
        """Return an operand, or a copy of it with each of its rows in as few cache lines as they fill.

        The loads of the loops read neighbouring columns. Those that are in two cache lines take two to three
        times as long on some processors, and each row is read for all entries of a column of the matrix.
        """
        fits = columns * source.itemsize % LINE_BYTES == 0 < source.ctypes.data % LINE_BYTES
        pays = vector_bytes() == LINE_BYTES and self._data.size >= ALIGNED * self._columns
        if not (fits and pays and memory.fits(source.nbytes, MOST_OF_MEMORY)):
            return source
        copy = aligned(source.size, source.dtype)
        copy[...] = source
        return copy

    def _is_scattered(self, arrays: CsrArrays) -> bool:
        if self._scattered is None:
            self._scattered = arrays.is_scattered()
        return self._scattered

    def _workers(self, columns: int) -> int:
        return min(thread_count(), max(1, self._rows)) if columns >= self._large_from else 1


@final
class Csr(CsrProducts):
    """A CSR matrix, and its products."""

    def _product(
        self, loops: Callable[..., None], source: Array, columns: int, out: Array | None = None
    ) -> Array:
        return self._gathered(loops, self._arrays, source, columns, out)


@final
class TransposedCsr(CsrProducts):
    """The transpose of a CSR matrix, and its products.

    Large products are made with the transpose's own CSR, which is made when first needed, if there is memory
    for it; else with the given one, by threads with ranges of the result's rows. The bits are the same.

    Parameters
    ----------
    matrix : (m, n) scipy.sparse.csr_array
        The matrix whose transpose, ``(n, m)``, is multiplied.
    """

    def __init__(self, matrix: Any) -> None:
        super().__init__(with_arrays(sp.csc_array, CsrArrays.of(matrix), matrix.shape[::-1]))
        self._own: CsrArrays | None = None

    def _product(
        self, loops: Callable[..., None], source: Array, columns: int, out: Array | None = None
    ) -> Array:
        nbytes = self._data.nbytes + self.matrix.indices.nbytes + self._rows * 8
        if self._own is None and memory.fits(nbytes, MOST_OF_MEMORY):
            # entries of one column are in the order of their rows
            self._own = CsrArrays.of(self.matrix.tocsr())
        if self._own is not None:
            return self._gathered(loops, self._own, source, columns, out)
        return self._without_own(source, columns, out)

    def _without_own(self, source: Array, columns: int, out: Array | None) -> Array:
        from sparsetconv._methods.cpu.csr.loops import scatter

        target = result_array(out, (self._rows * columns,), source.dtype, zeros=True)
        workers, arrays = self._workers(columns), self._arrays
        cuts = [self._rows * n // workers for n in range(workers + 1)]
        for_each(
            lambda n: scatter(*arrays, source, target, cuts[n], cuts[n + 1], columns), range(workers), workers
        )
        return target


def _panels(rows: Array, width: int) -> Iterator[tuple[Array, int]]:
    """Yield contiguous copies of ranges of columns, each in the same memory, and their first columns."""
    count, columns = rows.shape
    NUMPY.require("a panel of the operand", count * width * rows.itemsize, "the matrix' columns set it")
    memory_of_all = aligned(count * width, rows.dtype)
    workers = thread_count()
    cuts = [count * n // workers for n in range(workers + 1)]
    for first in range(0, columns, width):
        own = min(width, columns - first)
        panel = memory_of_all[: count * own].reshape(count, own)

        def copy(n: int, panel: Array = panel, first: int = first, own: int = own) -> None:
            part = slice(cuts[n], cuts[n + 1])
            panel[part] = rows[part, first : first + own]

        for_each(copy, range(workers), workers)
        yield panel, first


class CsrPair(NamedTuple):
    """A CSR matrix in both directions."""

    forward: Csr
    transposed: TransposedCsr

    @classmethod
    def of(cls, matrix: Any) -> CsrPair:
        """Return the pair of a CSR matrix."""
        return cls(Csr(matrix), TransposedCsr(matrix))

    def vector(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """See `CsrProducts.vector`."""
        return (self.transposed if transposed else self.forward).vector(x, out)

    def batch(self, x: Array, dtype: np.dtype[Any], transposed: bool, out: Array | None = None) -> Array:
        """See `CsrProducts.batch`."""
        return (self.transposed if transposed else self.forward).batch(x, dtype, out)


def _compiles_alike(array: Array) -> bool:
    """Return whether an array is of the type for which loops are compiled; numba has others for others."""
    return array.flags.writeable and array.flags.aligned


@cache
def rounds_twice() -> bool:
    """Return whether SciPy's product rounds each term before it adds it, as the compiled loops do."""
    term = 1 + 2.0**-27
    matrix = sp.csr_array(np.array([[-1.0, term]]))
    return bool((matrix @ np.array([1.0, term]))[0] == 2.0**-26)
