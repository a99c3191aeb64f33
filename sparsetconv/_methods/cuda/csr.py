"""Products with a CSR matrix in both directions on a GPU, by cuSPARSE.

Each direction and dtype has a matrix of its own: cuSPARSE requires the vector's dtype, and its product with a
transposed matrix is slow and does not add in a fixed order.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sparsetconv._arrays import cuda
from sparsetconv._arrays.results import placed
from sparsetconv._arrays.streams import Kept
from sparsetconv._methods.base import joined_parts, real_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array


class CudaCsrPair:
    """A CSR matrix and its transpose.

    Parameters
    ----------
    backend : Backend
    dtype : dtype
        Of the entries. A real matrix multiplies the real and imaginary parts of complex vectors separately.
    make : callable
        Returns the matrix, or with True its transpose, in a dtype; called once for each.
    """

    def __init__(
        self, backend: Backend, dtype: np.dtype[Any], make: Callable[[bool, np.dtype[Any]], Any]
    ) -> None:
        self._backend, self._dtype, self._make = backend, dtype, make
        self._matrices: Kept[Any] = Kept(backend)

    @classmethod
    def of(cls, matrix: Any, backend: Backend) -> CudaCsrPair:
        """Return the pair of a CSR matrix."""

        def make(transposed: bool, dtype: np.dtype[Any]) -> Any:
            own = matrix.T.tocsr() if transposed else matrix
            return own if own.dtype == dtype else own.astype(dtype)

        return cls(backend, matrix.dtype, make)

    def vector(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """Return the product with a vector of the entries' dtype."""
        return placed(self.batch(x[None], self._dtype, transposed).reshape(-1), out)

    def batch(self, x: Array, dtype: np.dtype[Any], transposed: bool, out: Array | None = None) -> Array:
        """Return ``(k, m)`` from ``(k, n)``: by SpMV for one vector, else by SpMM with columns."""
        xp = self._backend.xp
        vectors = cuda.contiguous(xp, x, dtype)
        split = dtype.kind == "c" and self._dtype.kind != "c"
        if split:
            vectors = real_parts(vectors, xp)
        key = transposed, vectors.dtype
        matrix = self._matrices.get(key, partial(self._make, *key))
        if len(vectors) == 1:
            product: Array = matrix @ vectors[0]
            return placed(product[None], out)
        columns: Array = (matrix @ vectors.T).T
        return joined_parts(columns, dtype, xp, out) if split else placed(columns, out)
