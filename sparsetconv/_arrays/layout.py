"""The memory layout of kernels below the public functions, with and without channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparsetconv._arrays.types import Array


def last_axes(index: Iterable[Any]) -> Any:
    """Return an index of the last axes of an array that keeps all axes before them."""
    return (..., *index)


def oriented_weights(kernel: Array, groups: int, flip: bool, has_channels: bool) -> Array:
    """Return the kernel as ``(groups, c_out // groups, c_in // groups, k1, ..., kd)``, ``flip`` applied."""
    if has_channels:
        weights = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:])
    else:
        weights = kernel[None, None, None]
    return weights[last_axes([slice(None, None, -1)] * (weights.ndim - 3))] if flip else weights
