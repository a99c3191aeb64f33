"""Messages about two products that differ: the first wrong entry, in readable numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array

# operators of at most this many entries are compared entry by entry after a failure
DENSE_ENTRIES = 1 << 22


class Conjugated:
    """An operator with its adjoint conjugated, which is correct if the given adjoint is the transpose."""

    def __init__(self, operator: Any) -> None:
        self.shape, self.dtype, self.matvec = operator.shape, operator.dtype, operator.matvec
        self._adjoint = operator.rmatvec

    def rmatvec(self, y: Array) -> Array:
        return np.asarray(self._adjoint(y.conj())).conj()


def first_difference(operator: Any, dtype: np.dtype[Any], tolerance: float) -> str:
    """Return the first entry in which an operator and its adjoint differ, found by unit vectors, as text."""
    rows, columns = operator.shape
    if rows * columns > DENSE_ENTRIES:
        return f"; {rows} x {columns} entries are too many to name the first that differs"
    matrix = np.array([operator.matvec(e) for e in np.eye(columns, dtype=dtype)]).T
    adjoint = np.array([operator.rmatvec(e) for e in np.eye(rows, dtype=dtype)])
    expected = adjoint.conj() if adjoint.dtype.kind == "c" else adjoint
    wrong = different(matrix, expected, tolerance)
    if not wrong.any():
        return "; column by column the two agree, so a product is not linear or depends on earlier ones"
    i, j = np.argwhere(wrong)[0]
    found, wanted = readable(adjoint[i, j]), readable(matrix[i, j].conj())
    return f"; first at A[{i}, {j}] = {readable(matrix[i, j])}, A.H[{j}, {i}] = {found}, expected {wanted}"


def different(a: Array, b: Array, tolerance: float) -> Array:
    """Return where two arrays differ: integers modulo their range, others by more than a tolerance.

    The tolerance is relative to the largest number in both arrays.
    """
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        # modulo the range of the narrower dtype, where sums may have wrapped around
        narrow = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        wrong: Array = a.astype(narrow) != b.astype(narrow)
        return wrong
    allowed = tolerance * max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    # "not <=" rather than ">", so that NaN counts as different
    return np.asarray(~(np.abs(a - b) <= allowed))


def readable(number: Any) -> str:
    """Return a number in a few digits; parts of complex numbers that are zero are left out."""
    number = number.item()
    if isinstance(number, complex):
        number = number.real + 0.0 if not number.imag else number + 0.0
        return f"{number:.6g}" if number.real or isinstance(number, float) else f"{number.imag:.6g}j"
    return f"{number:.6g}" if isinstance(number, float) else str(number)
