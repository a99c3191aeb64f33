"""Arrays for results: the caller's, a new one, or one that is kept from product to product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import check_backend, check_device
from sparsetconv._arrays.display import clipped, shown, type_name
from sparsetconv._arrays.validation import refuse_what_is_no_array

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array


def result_array(
    out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any], xp: Any = np, *, zeros: bool = False
) -> Array:
    """Return ``out``, or a new array if it is None; if ``zeros``, set to zero."""
    if out is None:
        made: Array = (xp.zeros if zeros else xp.empty)(shape, dtype)
        return made
    if zeros:
        out.fill(0)
    return out


def placed(result: Array, out: Array | None) -> Array:
    """Return a result in ``out``, where it may be already; the result itself if ``out`` is None."""
    if out is None or result is out:
        return result
    out[...] = result.reshape(out.shape)
    return out


def conjugated(result: Array, xp: Any = np) -> Array:
    """Return the conjugate of a result, in the same memory."""
    conjugate: Array = xp.conjugate(result, out=result)
    return conjugate


def checked_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], backend: Backend, device: int | None
) -> Array:
    """Return a caller's array for a result, as a plain array, or raise if it is not exactly what is needed.

    Parameters
    ----------
    out : object
    shape, dtype : tuple of int, dtype
        Those of the result.
    backend : Backend
    device : int or None
        The number of the GPU of the result.
    """
    plain: Array = out
    right = type(out) is np.ndarray and out.shape == shape and out.dtype == dtype and out.flags.carray
    if right and not backend.on_gpu:
        return plain
    check_backend("out", out, backend, "the operator")
    if not isinstance(out, backend.xp.ndarray):
        msg = f"out must be a {backend.title} array or None, got {type_name(out)}"
        raise TypeError(msg)
    refuse_what_is_no_array("out", out)
    if backend.on_gpu:
        check_device("out", out, backend, device, "the operator")
    if out.dtype != dtype:
        msg = f"out must have the dtype of the result, {dtype}, got {clipped(str(out.dtype))}"
        raise TypeError(msg)
    if out.shape != shape:
        msg = f"out must have the shape of the result, {shown(shape)}, got {shown(out.shape)}"
        raise ValueError(msg)
    if not _is_plain(out, backend.on_gpu):
        msg = (
            f"out must be writeable, aligned and C-contiguous, got an array with strides {shown(out.strides)}"
        )
        if not backend.on_gpu and not out.flags.writeable:
            msg = "out must be writeable, got an array that is read-only"
        raise ValueError(msg)
    return plain if type(out) is backend.xp.ndarray else backend.xp.asarray(out)


def _is_plain(out: Array, on_gpu: bool) -> bool:
    """Return whether an array is in C order and may be written to by loops that load whole elements."""
    if not on_gpu:
        return out.flags.carray
    return out.flags.c_contiguous and not out.data.ptr % out.itemsize  # type: ignore[attr-defined]


class Spare:
    """An array for an intermediate result, kept from one product to the next: new memory is slow.

    Concurrent callers each have an array of their own, of which one is kept. On a GPU nothing is kept, since
    a stream might write to the array while another one reads it, and CuPy's memory pool serves each stream.
    """

    def __init__(self, backend: Backend) -> None:
        self._empty, self._keeps = backend.xp.empty, not backend.on_gpu
        # at most one array; taking it and putting it back are single operations on a list
        self._kept: list[Array] = []

    def take(self, size: int, dtype: np.dtype[Any]) -> Array:
        """Return a flat array with any elements, which is the caller's until it is put back."""
        try:
            known = self._kept.pop()
        except IndexError:
            known = None
        if known is not None and known.size == size and known.dtype == dtype:
            return known
        made: Array = self._empty(size, dtype)
        return made

    def put_back(self, array: Array) -> None:
        """Keep an array that the caller no longer uses."""
        if self._keeps:
            self._kept[:] = [array]
