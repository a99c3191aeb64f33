"""Check the format, the range of rows and the index dtype of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from sparsetconv._arrays.display import shown
from sparsetconv._arrays.validation import named_dtype
from sparsetconv._geometry import validation
from sparsetconv._geometry.convolution import smallest_index_dtype

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from sparsetconv._arrays.backend import Backend

Format = Literal["csr", "csc", "coo", "bsr", "dia"]
FORMATS: tuple[Format, ...] = get_args(Format)
INT64_MAX = 2**63 - 1


def row_range(rows: slice | None, total: int) -> tuple[int, int]:
    """Return the first row and the end of a slice, or of all rows without one."""
    if rows is None:
        return 0, total
    if not isinstance(rows, slice) or not _is_unit(rows.step):
        msg = f"rows must be a slice of unit step, got {shown(rows)}"
        raise TypeError(msg)
    start = 0 if rows.start is None else validation.integer("rows.start", rows.start)
    stop = total if rows.stop is None else validation.integer("rows.stop", rows.stop)
    if not 0 <= start <= stop <= total:
        msg = f"rows must satisfy 0 <= start <= stop <= {total}, the number of rows; got {shown(rows)}"
        raise ValueError(msg)
    return start, stop


def _is_unit(step: Any) -> bool:
    return step is None or (not validation.is_sequence(step) and bool(step == 1))


def wanted_index_dtype(index_dtype: DTypeLike | None) -> np.dtype[Any] | None:
    """Return the requested index dtype, or None for the smallest that fits."""
    if index_dtype is None:
        return None
    wanted = named_dtype("index_dtype", index_dtype)
    if wanted not in (np.int32, np.int64):
        msg = f"index_dtype must be int32 or int64, got {wanted}"
        raise ValueError(msg)
    return wanted


def fitting_index_dtype(wanted: np.dtype[Any] | None, rows: int, columns: int, nnz: int) -> np.dtype[Any]:
    """Return the wanted index dtype, or the smallest that fits if it is None; raise if it is too small."""
    smallest = smallest_index_dtype(rows, columns, nnz)
    if wanted is None:
        return smallest
    if wanted.itemsize < smallest.itemsize:
        msg = (
            f"index_dtype must hold {max(rows, columns, nnz)} (rows, columns or entries), "
            f"got {wanted}; use int64 or leave it out"
        )
        raise ValueError(msg)
    return wanted


def require_matrix(backend: Backend, nbytes: int, columns: int, hint: str) -> None:
    """Raise unless a matrix fits into memory, and 64-bit indices can number its columns.

    As many rows do not fit into any memory. ``hint`` ends the message of a ``MemoryError``: what needs less.
    """
    backend.require("the matrix", nbytes, hint)
    if columns > INT64_MAX:
        msg = f"the sizes must leave a matrix of less than 2**63 columns, got {columns}"
        raise ValueError(msg)


def canonical(matrix: Any) -> Any:
    """Set the flags of canonical format, for which SciPy would otherwise read the whole matrix."""
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix
