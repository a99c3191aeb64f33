"""The entries of a matrix for `plot`, and the positions of its rows and columns in output and input.

Operators, geometries and matrices of any kind are converted to COO matrices on the host.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from sparsetconv._arrays.backend import operator_backend
from sparsetconv._arrays.display import shown
from sparsetconv._assembly.matrices import conv_matrix
from sparsetconv._geometry import validation
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv.operators._base import AdjointCore, ArrayCore, GramCore, TransposedCore
from sparsetconv.plot._sampled import picture

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array

# the most inputs, and the most outputs, of a diagram, and of an operator whose entries are found by products
LARGEST_DIAGRAM = 64
# a matrix with more entries is drawn from a sample
LARGEST_PATTERN = 1 << 20


def drawable(A: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """Return a geometry, an operator of ours or a matrix, and the shapes of its output and input.

    The entries of geometries and of our operators are not computed.
    """
    if isinstance(A, (ConvGeometry, ArrayCore)):
        return A, A.output_shape, A.input_shape
    if isinstance(A, LinearOperator):
        A = _columns_of(A)
    A = _on_host(A)
    if not sp.issparse(A):
        A = np.asarray(A)
    if A.ndim != 2 or A.dtype.kind not in "biufc":
        msg = f"A must be an operator, a geometry or a matrix, got {A.dtype} of the shape {shown(A.shape)}"
        raise TypeError(msg)
    return A, A.shape[:1], A.shape[1:]


def entries_of(A: Any) -> Any:
    """Return all entries of the result of `drawable`, as a COO matrix without duplicates."""
    if isinstance(A, ConvGeometry):
        return conv_matrix(np.ones(A.kernel_shape), A, format="coo")
    if isinstance(A, ArrayCore):
        return sp.coo_array(_on_host(A.tosparse()))
    entries = sp.coo_array(A, copy=True)
    entries.sum_duplicates()
    return entries


def pattern_of(A: Any, rows: int, columns: int, side: int) -> tuple[Array, bool]:
    """Return the pattern, of at most ``side`` pixels in each direction, and whether it shows all entries."""
    height, width = min(rows, side), min(columns, side)
    if _entry_count(A) > LARGEST_PATTERN:
        sampled = picture(A, height, width)
        if sampled is None:
            msg = (
                f"A must have at most {LARGEST_PATTERN} entries to be drawn, unless it is a convolution or "
                f"a resize, got {rows} x {columns}"
            )
            raise ValueError(msg)
        return sampled, False
    drawn = np.zeros((height, width), bool)
    row, column = (index.astype(np.int64) for index in entries_of(A).coords)
    drawn[row * height // rows, column * width // columns] = True
    return drawn, True


def _entry_count(A: Any) -> int:
    """Return the number of entries of a matrix, or of the multiplications to find them."""
    if hasattr(A, "nnz"):
        return int(A.nnz)
    if isinstance(A, (AdjointCore, TransposedCore)):
        return _entry_count(A.operator)
    if isinstance(A, GramCore):
        return _entry_count(A.operator) ** 2 // A.operator.shape[0]
    return prod(A.shape)


def _on_host(A: Any) -> Any:
    """Return a CuPy matrix as a SciPy or NumPy matrix; others are returned unchanged."""
    return A.get() if operator_backend(A).on_gpu else A


def _columns_of(A: LinearOperator) -> Any:
    """Return the matrix of an operator, found by products."""
    if max(A.shape) > LARGEST_DIAGRAM:
        msg = (
            f"A must have at most {LARGEST_DIAGRAM} rows and columns to be drawn, unless it is one of "
            f"sparsetconv's operators, got {A.shape[0]} x {A.shape[1]}"
        )
        raise ValueError(msg)
    return sp.coo_array(A @ np.eye(A.shape[1], dtype=A.dtype))


def places_of(shape: tuple[int, ...]) -> list[str]:
    """Return the labels of an array's elements: their indices."""
    if len(shape) == 1:
        return [str(i) for i in range(shape[0])]
    return [str(place) for place in np.ndindex(*shape)]


def middle_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((n - 1) // 2 for n in shape)


def place_in(name: str, value: Any, shape: tuple[int, ...]) -> int:
    """Return the flat index of an element, which may be given by its indices or by its flat index."""
    flat = not validation.is_sequence(value)
    place = (value,) if flat else tuple(value)
    limits = (prod(shape),) if flat else shape
    place = tuple(validation.integer(name, i) for i in place)
    if len(place) != len(limits) or not all(0 <= i < n for i, n in zip(place, limits, strict=False)):
        msg = f"{name} must be a place in an array of shape {shown(shape)}, got {shown(value)}"
        raise ValueError(msg)
    return place[0] if flat else int(np.ravel_multi_index(place, shape))
