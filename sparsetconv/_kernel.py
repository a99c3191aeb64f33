"""Kernels as arrays: the dtypes that are taken, and the one layout that all code below sees.

Floor 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._backend import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import DTypeLike

    from sparsetconv._types import Array


SUPPORTED = frozenset(np.dtype(code) for code in "bhilqBHILQfdFD")


def named_dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype, or raise an error that names the parameter."""
    try:
        return np.dtype(dtype)
    except TypeError:
        msg = f"{name} must be a dtype, got {dtype!r}"
        raise TypeError(msg) from None


def checked_dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return a supported dtype in native byte order, or raise."""
    wanted = named_dtype(name, dtype).newbyteorder("=")
    if wanted not in SUPPORTED:
        msg = (
            f"{name} must be float32, float64, complex64, complex128 or an integer, "
            f"got {np.dtype(dtype)}; convert it, for example with .astype(numpy.float32)"
        )
        raise TypeError(msg)
    return wanted


def as_array(name: str, value: Any, dtype: DTypeLike | None = None) -> Array:
    """Return a NumPy or CuPy array of a supported dtype, converted to ``dtype`` if that loses no kind."""
    try:
        array = value if backend_of(name, value).on_gpu else np.asarray(value)
    except ValueError:
        msg = f"{name} must be an array, got a sequence whose parts differ in length"
        raise ValueError(msg) from None
    own = checked_dtype(name, array.dtype)
    if dtype is None:
        return array.astype(own, copy=False)
    wanted = checked_dtype("dtype", dtype)
    if not np.can_cast(own, wanted, "same_kind"):
        msg = f"dtype must keep the kind of {name}: {own} does not convert to {wanted} without loss"
        raise TypeError(msg)
    return array.astype(wanted, copy=False)


def last_axes(index: Iterable[Any]) -> Any:
    """Return an index of the last axes of an array; the axes in front are left alone."""
    return (..., *index)


def oriented_weights(kernel: Array, groups: int, flip: bool, has_channels: bool) -> Array:
    """Return the kernel as ``(groups, c_out // groups, c_in // groups, k1, ..., kd)``, ``flip`` applied."""
    if has_channels:
        weights = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:])
    else:
        weights = kernel[None, None, None]
    return weights[last_axes([slice(None, None, -1)] * (weights.ndim - 3))] if flip else weights
