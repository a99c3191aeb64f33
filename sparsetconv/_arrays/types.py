"""Names of types, used by the type checker only: no module imports this one at run time."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, dia_array

Array: TypeAlias = NDArray[Any]
"""An array of any dtype, of NumPy or of CuPy (which has no types)."""

CSR: TypeAlias = csr_array[Any, tuple[int, int]]
"""A CSR array of SciPy, or CuPy's counterpart."""

COO: TypeAlias = coo_array[Any, tuple[int, int]]

SparseArray: TypeAlias = CSR | csc_array[Any] | COO | bsr_array[Any] | dia_array[Any]
"""A sparse array of SciPy in any format of `conv_matrix`, or CuPy's counterpart."""

Index: TypeAlias = Any
"""An index expression."""
