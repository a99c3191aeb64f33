"""Names of types, used by the type checker only: no module imports this one at run time."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, dia_array

Array: TypeAlias = NDArray[Any]
"""An array of any dtype; CuPy's, which has no types, is called the same."""

CSR: TypeAlias = csr_array[Any, tuple[int, int]]
"""A matrix of SciPy's, by rows; or CuPy's of the same format."""

COO: TypeAlias = coo_array[Any, tuple[int, int]]

SparseArray: TypeAlias = CSR | csc_array[Any] | COO | bsr_array[Any] | dia_array[Any]
"""A matrix of SciPy's in any format that matrices are assembled in; or CuPy's."""

Index: TypeAlias = Any
"""An index expression."""
