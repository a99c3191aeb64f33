"""What `plot` draws: the entries of a matrix, and the places in the arrays that rows and columns stand for.

Floor 5. Operators, geometries and matrices of any kind become COO matrices on the host here.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from sparsetconv import _normalize
from sparsetconv._backend import operator_backend
from sparsetconv._display import shown
from sparsetconv.array_operator import ArrayCore
from sparsetconv.geometry import ConvGeometry
from sparsetconv.matrices import geometry_matrix

# samples on one side of a diagram, and of what has to be multiplied to be known
LARGEST_DIAGRAM = 64


def matrix_of(A: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """Return the entries of a matrix, and the shapes of the arrays that its rows and columns stand for."""
    if isinstance(A, ConvGeometry):
        ones = np.ones(A.kernel_shape)
        return geometry_matrix(A, ones, False).tocoo(), A.output_shape, A.input_shape
    if isinstance(A, ArrayCore):
        return sp.coo_array(_on_host(A.tosparse())), A.output_shape, A.input_shape
    if isinstance(A, LinearOperator):
        A = _columns_of(A)
    A = _on_host(A)
    if not sp.issparse(A):
        A = np.asarray(A)
    if A.ndim != 2 or A.dtype.kind not in "biufc":
        msg = f"A must be an operator, a geometry or a matrix, got {A.dtype} of the shape {shown(A.shape)}"
        raise TypeError(msg)
    entries = sp.coo_array(A, copy=True)
    entries.sum_duplicates()
    return entries, entries.shape[:1], entries.shape[1:]


def _on_host(A: Any) -> Any:
    """Return a matrix of CuPy's as one of SciPy's or NumPy's, and others as they are."""
    return A.get() if operator_backend(A).on_gpu else A


def _columns_of(A: LinearOperator) -> Any:
    """Return the matrix of an operator that knows only how to multiply."""
    if max(A.shape) > LARGEST_DIAGRAM:
        msg = (
            f"A must have at most {LARGEST_DIAGRAM} rows and columns to be drawn where it is not one of "
            f"sparsetconv's operators, got {A.shape[0]} x {A.shape[1]}"
        )
        raise ValueError(msg)
    return sp.coo_array(A @ np.eye(A.shape[1], dtype=A.dtype))


def places_of(shape: tuple[int, ...]) -> list[str]:
    """Return the places of an array, as indices."""
    if len(shape) == 1:
        return [str(i) for i in range(shape[0])]
    return [str(place) for place in np.ndindex(*shape)]


def middle_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((n - 1) // 2 for n in shape)


def place_in(name: str, value: Any, shape: tuple[int, ...]) -> int:
    """Return the flat index of a place, which may be given as one."""
    flat = not _normalize.is_sequence(value)
    place = (value,) if flat else tuple(value)
    limits = (prod(shape),) if flat else shape
    place = tuple(_normalize.integer(name, i) for i in place)
    if len(place) != len(limits) or not all(0 <= i < n for i, n in zip(place, limits, strict=False)):
        msg = f"{name} must be a place in an array of shape {shown(shape)}, got {shown(value)}"
        raise ValueError(msg)
    return place[0] if flat else int(np.ravel_multi_index(place, shape))
