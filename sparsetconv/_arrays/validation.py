"""Check and convert a user's arrays and dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays import cuda
from sparsetconv._arrays.backend import backend_of
from sparsetconv._arrays.display import clipped, shown, type_name
from sparsetconv._arrays.streams import on_device

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from sparsetconv._arrays.types import Array


SUPPORTED = frozenset(np.dtype(code) for code in "bhilqBHILQfdFD")


def is_half(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is of half precision, which only arrays on a GPU may have."""
    return dtype.name in cuda.HALF_TYPES


def named_dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype, or raise an error that names the parameter."""
    try:
        return np.dtype(dtype)
    except Exception:
        # values that only look like a dtype, such as a dict, raise other errors than TypeError
        msg = f"{name} must be a dtype, got {shown(dtype)}"
        raise TypeError(msg) from None


def checked_dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return a supported dtype in native byte order, or raise."""
    wanted = named_dtype(name, dtype).newbyteorder("=")
    if wanted not in SUPPORTED:
        msg = (
            f"{name} must be float32, float64, complex64, complex128 or an integer, "
            f"got {clipped(str(wanted))}; convert it, for example with .astype(numpy.float32)"
        )
        raise TypeError(msg)
    return wanted


def as_array(name: str, value: Any, dtype: DTypeLike | None = None, half: bool = False) -> Array:
    """Return a NumPy or CuPy array of a supported dtype, converted to ``dtype`` if that keeps its values.

    ``half`` says whether a CuPy array may be of half precision.
    """
    backend = backend_of(name, value)
    if not backend.on_gpu:
        return _converted(name, value, to_array(name, value), dtype)
    with on_device(backend, backend.device_of(value)):
        return _converted(name, value, cuda.aligned(backend.xp, value), dtype, half)


def _converted(name: str, value: Any, array: Array, dtype: DTypeLike | None, half: bool = False) -> Array:
    own = array.dtype if half and is_half(array.dtype) else checked_dtype(name, array.dtype)
    if not array.ndim:
        msg = f"{name} must be an array of at least one axis, got {shown(value)}"
        raise ValueError(msg)
    if dtype is None:
        return array.astype(own, copy=False)
    wanted = checked_dtype("dtype", dtype)
    if not np.can_cast(own, wanted, "same_kind"):
        msg = f"dtype must keep the kind of {name}: {own} is not converted to {wanted}"
        raise TypeError(msg)
    if np.can_cast(own, wanted):
        return array.astype(wanted, copy=False)
    return _narrowed(name, array, wanted)


def to_array(name: str, value: Any) -> Array:
    """Convert an array-like to a NumPy array in native byte order, or raise."""
    if type(value) is not np.ndarray:
        value = _made_array(name, value)
    array: Array = value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    return array


def _made_array(name: str, value: Any) -> Array:
    refuse_what_is_no_array(name, value)
    try:
        return np.asarray(value)
    except ValueError:
        msg = f"{name} must be an array, got a sequence whose parts differ in length"
        raise ValueError(msg) from None
    except Exception as error:
        cause = clipped(str(error))
        msg = f"{name} must be an array, got {shown(value)}, which NumPy cannot convert: {cause}"
        raise TypeError(msg) from error


def _narrowed(name: str, array: Array, wanted: np.dtype[Any]) -> Array:
    """Convert to a smaller dtype, or raise: values may be rounded, but neither wrap nor overflow."""
    with np.errstate(over="ignore"):
        narrow: Array = array.astype(wanted)
    if wanted.kind in "iu":
        wrong = narrow != array
    else:
        xp = backend_of(name, array).xp
        wrong = xp.isinf(narrow) & ~xp.isinf(array)
    if wrong.any():
        first = array[wrong].reshape(-1)[0].item()
        msg = f"dtype must hold every value of {name}: {shown(first)} does not fit {wanted}"
        raise ValueError(msg)
    return narrow


def refuse_what_is_no_array(name: str, value: Any) -> None:
    """Raise for array-likes that NumPy would misread: sparse matrices, arrays with masked entries."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        msg = f"{name} must have no masked entries; use .filled(value) to replace them"
        raise TypeError(msg)
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        msg = f"{name} must be a dense array, got {type_name(value)}; use .toarray()"
        raise TypeError(msg)
