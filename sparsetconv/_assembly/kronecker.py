"""The Kronecker product of small sparse matrices, assembled in closed form.

Row lengths are outer products, and every entry is written to its final place: nothing is sorted. Rows of the
left factor with equal weights make equal blocks, which are copies of the first one with shifted columns.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._assembly.cuda import product_arrays
from sparsetconv._assembly.formats import fitting_index_dtype, require_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array

# entries from which on threads pay; bytes that `_line` takes for each entry
THREAD_WORK, LINE_BYTES = 1 << 18, 64
# a right factor of at most SHORT_LINE entries is multiplied with many rows of the left one at once, in blocks
# of about SHORT_BLOCK entries
SHORT_LINE, SHORT_BLOCK = 1 << 9, 1 << 16


def kronecker(
    factors: Sequence[Any], dtype: np.dtype[Any], backend: Backend = NUMPY, shared: bool = True
) -> Any:
    """Return the Kronecker product of SciPy's CSR matrices with sorted rows, as a matrix of the backend.

    Its rows are sorted, too. A single factor is copied, unless the caller says that it is not ``shared``.
    """
    columns = prod(factor.shape[1] for factor in factors)
    return stacked_products([factors], columns, dtype, backend, shared=shared)


def stacked_products(
    pieces: Sequence[Sequence[Any]],
    columns: int,
    dtype: np.dtype[Any],
    backend: Backend = NUMPY,
    *,
    shared: bool = True,
    index_dtype: np.dtype[Any] | None = None,
) -> Any:
    """Return vertically stacked Kronecker products as one CSR matrix; each piece is the factors of one.

    A range of rows of a product is such a stack, with one piece for each box of rows.
    """
    sizes = [_size(factors) for factors in pieces]
    rows, nnz = (sum(size) for size in zip((0, 0), *sizes, strict=True))
    index = fitting_index_dtype(index_dtype, rows, columns, nnz)
    need = nnz * (dtype.itemsize + index.itemsize) + (rows + 1) * index.itemsize
    if backend.on_gpu:
        # concatenating several pieces copies them
        need *= min(2, max(1, len(pieces)))
    else:
        need += max(map(_preparing, pieces), default=0)
    require_matrix(backend, need, columns, "ResizeOperator needs no matrix")
    if backend.on_gpu:
        return backend.csr(*_device_arrays(pieces, sizes, dtype, index, backend), (rows, columns))
    if len(pieces) == 1 and len(pieces[0]) == 1:
        only = pieces[0][0]
        values = only.data.astype(dtype, copy=shared)
        places, ends = (array.astype(index, copy=shared) for array in (only.indices, only.indptr))
        return backend.csr(values, places, ends, (rows, columns))
    data, indices, pointers = np.empty(nnz, dtype), np.empty(nnz, index), np.zeros(rows + 1, index)
    entry, row = 0, 1
    for factors, (lines, entries) in zip(pieces, sizes, strict=True):
        part = slice(entry, entry + entries)
        _write_product(factors, data[part], indices[part], pointers[row : row + lines])
        entry, row = entry + entries, row + lines
    np.cumsum(pointers, out=pointers)
    return backend.csr(data, indices, pointers, (rows, columns))


def _size(factors: Sequence[Any]) -> tuple[int, int]:
    """Return the rows and the entries of a product."""
    return prod(factor.shape[0] for factor in factors), prod(factor.nnz for factor in factors)


def _device_arrays(
    pieces: Sequence[Sequence[Any]],
    sizes: Sequence[tuple[int, int]],
    dtype: np.dtype[Any],
    index: np.dtype[Any],
    backend: Backend,
) -> tuple[Array, Array, Array]:
    """Return the arrays of stacked products on a GPU: products are written one by one, then concatenated."""
    xp = backend.xp
    parts, before = [(xp.empty(0, dtype), xp.empty(0, index), xp.zeros(1, index))], 0
    for factors, (rows, entries) in zip(pieces, sizes, strict=True):
        if entries:
            data, indices, pointers = product_arrays(backend, factors, dtype, index)
        else:
            data, indices, pointers = xp.empty(0, dtype), xp.empty(0, index), xp.zeros(rows + 1, index)
        parts.append((data, indices, pointers[1:] + index.type(before) if before else pointers[1:]))
        if len(pieces) == 1:
            return data, indices, pointers
        before += entries
    joined: tuple[Array, Array, Array] = tuple(map(xp.concatenate, zip(*parts, strict=True)))
    return joined


def _write_product(factors: Sequence[Any], data: Array, indices: Array, lengths: Array) -> None:
    """Write the entries of a product, and the lengths of its rows."""
    first, *others = factors
    if not others:
        data[:], indices[:], lengths[:] = first.data, first.indices, np.diff(first.indptr)
        return
    dtype, index = data.dtype, indices.dtype
    rest = reduce(lambda b, a: _kronecker_pair(a, b, dtype, index), reversed(others))
    np.multiply.outer(
        np.diff(first.indptr), np.diff(rest.indptr), out=lengths.reshape(first.shape[0], -1), casting="unsafe"
    )
    write = _write_short if rest.nnz <= SHORT_LINE else _write_long
    write(first, rest, data, indices)


def _preparing(factors: Sequence[Any]) -> int:
    """Return the largest number of bytes that `_line` takes for any factor."""
    most, rest = 0, 1
    for factor in reversed(factors):
        longest = int(np.diff(factor.indptr).max())
        if longest > 1 and factor is not factors[-1]:
            most = max(most, LINE_BYTES * longest * rest)
        rest *= factor.nnz
    return most


def _kronecker_pair(a: Any, b: Any, dtype: np.dtype[Any], index: np.dtype[Any]) -> Any:
    data, indices = np.empty(a.nnz * b.nnz, dtype), np.empty(a.nnz * b.nnz, index)
    pointers = np.zeros(a.shape[0] * b.shape[0] + 1, index)
    _write_product((a, b), data, indices, pointers[1:])
    np.cumsum(pointers, out=pointers)
    return sp.csr_array((data, indices, pointers), shape=(a.shape[0] * b.shape[0], a.shape[1] * b.shape[1]))


def _write_short(a: Any, b: Any, data: Array, indices: Array) -> None:
    """Write the entries if ``b`` has few: at once for many rows of ``a`` with the same number of entries."""
    counts = np.diff(a.indptr)
    jobs = []
    for count in np.unique(counts[counts > 0]).tolist():
        which, columns, values = _line(b, np.zeros(count, indices.dtype), indices.dtype)
        rows = np.flatnonzero(counts == count)
        parts = np.array_split(rows, max(1, -(-rows.size * values.size // SHORT_BLOCK)))
        jobs += [(which, columns, values, part) for part in parts]

    def write(job: tuple[Array, Array, Array, Array]) -> None:
        which, columns, values, rows = job
        starts = a.indptr[rows].astype(np.int64)
        entries = starts[:, None] + which
        places = (starts * b.nnz)[:, None] + np.arange(values.size)
        data[places] = a.data[entries] * values
        indices[places] = a.indices[entries].astype(indices.dtype) * indices.dtype.type(b.shape[1]) + columns

    for_each(write, jobs, thread_count() if data.size > THREAD_WORK else 1)


def _write_long(a: Any, b: Any, data: Array, indices: Array) -> None:
    """Write the entries if ``b`` has many: row by row of ``a``, all entries of ``b`` at once."""
    index, dtype = indices.dtype, data.dtype
    blocks = _equal_rows(a)
    lines = {offsets.tobytes(): _line(b, offsets, index) for offsets, _, _ in blocks}

    def write(block: tuple[Array, Array, Array]) -> None:
        """Write the products of all rows of ``a`` with the same weights: copies with shifted columns."""
        offsets, weights, members = block
        which, line_indices, line_values = lines[offsets.tobytes()]
        line_data = (weights[which] * line_values).astype(dtype, copy=False)
        for row in members:
            start = int(a.indptr[row]) * b.nnz
            place = slice(start, start + line_data.size)
            data[place] = line_data
            np.add(line_indices, index.type(int(a.indices[a.indptr[row]]) * b.shape[1]), out=indices[place])

    for_each(write, _shared(blocks), thread_count() if indices.size > THREAD_WORK else 1)


def _equal_rows(a: Any) -> list[tuple[Array, Array, Array]]:
    """Return the distinct rows of a matrix: columns relative to the first, values, and the row numbers."""
    known: dict[tuple[bytes, bytes], list[int]] = {}
    for row, (first, last) in enumerate(zip(a.indptr[:-1], a.indptr[1:], strict=True)):
        columns = a.indices[first:last]
        key = (columns - columns[:1]).tobytes(), a.data[first:last].tobytes()
        known.setdefault(key, []).append(row)
    return [
        (np.frombuffer(columns, a.indices.dtype), np.frombuffer(values, a.data.dtype), np.array(rows))
        for (columns, values), rows in known.items()
    ]


def _shared(blocks: list[tuple[Array, Array, Array]]) -> list[tuple[Array, Array, Array]]:
    """Divide blocks of many rows, so that threads share them."""
    return [
        (columns, values, part)
        for columns, values, rows in blocks
        for part in np.array_split(rows, min(len(rows), thread_count()))
    ]


def _line(b: Any, offsets: Array, index: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return the parts of a product that rows of ``a`` with the same ``offsets`` share.

    ``offsets`` are the columns of a row of ``a``, relative to the first. The row's product with ``b`` is
    ordered by row of ``b``, then entry of ``a``, then entry of ``b``. Returned are, for each entry of the
    product, the index of its factor within the row of ``a``, its column (relative to that of the first entry
    of ``a``), and its factor in ``b``.
    """
    length = len(offsets)
    if length == 1:
        return np.zeros(1, np.intp), b.indices.astype(index, copy=False), b.data
    counts = np.repeat(np.diff(b.indptr), length)
    which = np.repeat(np.tile(np.arange(length), b.shape[0]), counts)
    begins = np.repeat(b.indptr[:-1], length)
    ends = np.cumsum(counts)
    entry = np.arange(which.size) + np.repeat(begins - (ends - counts), counts)
    columns = (offsets.astype(index) * b.shape[1])[which] + b.indices[entry].astype(index)
    return which, columns, b.data[entry]
