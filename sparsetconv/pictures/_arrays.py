"""Pictures as arrays, and the placement of a kernel over their pixels; for enlarging and learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._arrays.display import clipped
from sparsetconv._arrays.validation import to_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.types import Array

# the weights that contribute to one pixel must sum to 1 within this tolerance
NEAR_ONE = 0.05
# the most channels of a usual picture: three colours and opacity
USUAL_CHANNELS = 4
DEPTHS = tuple(np.dtype(name) for name in ("uint8", "uint16", "float32", "float64"))


def as_picture(name: str, value: ArrayLike) -> Array:
    """Return a picture as an array in native byte order, or raise an error that calls it ``name``."""
    # numbers from files and networks may be in either byte order
    array = to_array(name, value)
    if array.dtype not in DEPTHS:
        msg = f"{name} must be of uint8, uint16, float32 or float64, got {clipped(str(array.dtype))}"
        raise TypeError(msg)
    if array.ndim not in (2, 3) or not array.size:
        msg = f"{name} must have the shape (rows, columns) or (rows, columns, channels), got {array.shape}"
        raise ValueError(msg)
    if array.ndim == 3 and array.shape[0] <= USUAL_CHANNELS < array.shape[2]:
        msg = (
            f"{name} must have its channels last, (rows, columns, channels), got {array.shape}, which looks "
            "as if they came first; np.moveaxis(picture, 0, -1) moves them"
        )
        raise ValueError(msg)
    return array


def phase_sums(kernel: Array, scale: int) -> Array:
    """Return the sums of the weights that contribute to each of ``(scale, scale)`` pixels."""
    return np.array([[kernel[r::scale, c::scale].sum() for c in range(scale)] for r in range(scale)])


def margin_of(taps: tuple[int, ...], scale: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the number of times that the edge is repeated, and the padding that crops the result again.

    The kernel is centred on a pixel's cell.
    """
    margin = max(taps) // scale + 1
    befores = [(k - scale) // 2 + margin * scale for k in taps]
    # if k - scale is odd, the larger pad is at the end
    return margin, [(b, k - scale + 2 * margin * scale - b) for b, k in zip(befores, taps, strict=True)]
