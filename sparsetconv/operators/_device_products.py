"""`DeviceProducts`: products with CuPy arrays that skip the checks for arrays that need none.

CuPy's `LinearOperator` and the checks of `ArrayProducts` take longer than a launch. Both are skipped for a
CuPy array of the operator's dtype on the operator's GPU, if that GPU is current.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, TypeGuard

from sparsetconv._arrays import memory
from sparsetconv.operators._products import ArrayProducts

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array


class DeviceProducts(ArrayProducts):
    """Products on CuPy arrays: the first base class, before an operator's core and CuPy's base class."""

    def matvec(self, x: Array) -> Array:  # type: ignore[override]
        """Multiply with a vector, as ``cupyx.scipy.sparse.linalg.LinearOperator.matvec``."""
        if self._is_ready(x) and x.shape == self.shape[1:]:
            self._where().order()
            return self._flat(x, False)
        product: Array = super().matvec(x)
        return product

    def rmatvec(self, x: Array) -> Array:  # type: ignore[override]
        """Multiply the adjoint with a vector, as ``cupyx.scipy.sparse.linalg.LinearOperator.rmatvec``."""
        if self._is_ready(x) and x.shape == self.shape[:1]:
            self._where().order()
            return self._flat(x, True)
        product: Array = super().rmatvec(x)
        return product

    def apply(self, x: Any, out: Array | None = None) -> Array:
        """Apply the operator to arrays instead of vectors; see `sparsetconv.ConvOperator.apply`."""
        if out is None and self._is_ready(x):
            batch = x.shape[: x.ndim - len(self.input_shape)]
            items = prod(batch)
            if 0 < items <= self._most_items and x.shape[len(batch) :] == self.input_shape:
                self._where().order()
                result = self._apply(x.reshape(items, *self.input_shape))
                return result.reshape(*batch, *self.output_shape)
        return super().apply(x, out)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, self.backend.xp.ndarray):
            if other.ndim == 1:
                return self.matvec(other)
            self._refuse_pictures(other)
        return super().__matmul__(other)

    @cached_property
    def _most_items(self) -> int:
        """Size of the largest batch for whose result the available memory need not be checked."""
        return memory.LARGE_RESULT // max(1, *self.shape)

    def _is_quick(self, x: Any, shape: tuple[int, ...]) -> TypeGuard[Array]:
        del x, shape
        return False

    def _is_ready(self, x: Any) -> bool:
        """Return whether an operand needs no conversion, and no check except of its shape."""
        if type(x) is not self.backend.xp.ndarray or x.dtype != self.dtype or not self._most_items:
            return False
        place, memory = self._where(), x.data
        return memory.device_id == place.device and not memory.ptr % x.itemsize and place.is_current()
