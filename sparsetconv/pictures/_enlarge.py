"""Enlarge pictures by interpolation or by learned kernels.

Pictures are arrays ``(rows, columns)`` or ``(rows, columns, channels)``, as in files.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from math import prod
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._arrays.display import shown
from sparsetconv._arrays.validation import as_array
from sparsetconv._geometry import validation
from sparsetconv._geometry.convolution import INT32_MAX
from sparsetconv._resize.geometry import resize_geometry
from sparsetconv.operators._convolution import ConvTransposeOperator
from sparsetconv.operators._resize import ResizeOperator
from sparsetconv.pictures._arrays import NEAR_ONE, as_picture, margin_of, phase_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike

    from sparsetconv._arrays.types import Array

    Enlarge: TypeAlias = Callable[[Array], Array]


EnlargeMode = Literal["nearest", "bilinear", "bicubic", "lanczos", "learned"]
#: The values of ``mode`` of `upsample`.
MODES: tuple[EnlargeMode, ...] = get_args(EnlargeMode)
SHIPPED = resources.files(__package__) / "learned_kernels.npz"
_BY_DEFAULT = dict.fromkeys(
    ("coordinate_mode", "nearest_mode", "cubic_coeff", "exclude_outside", "antialias", "convention")
)


def upsample(
    picture: ArrayLike,
    scale: float,
    mode: EnlargeMode = "learned",
    *,
    kernel: ArrayLike | None = None,
    alpha: bool = False,
    progress: Callable[[range], Iterable[int]] = iter,
) -> Array:
    """Return a larger picture.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, channels) array_like
        Of uint8, uint16, float32 or float64, in either byte order.
    scale : number
        Factor by which both sizes grow, at least 1; an integer with ``"learned"``.
    mode : {"nearest", "bilinear", "bicubic", "lanczos", "learned"}
        The first four are those of `resize_matrix`; ``"learned"`` is a transposed convolution.
    kernel : (k1, k2) array_like, optional
        The learned kernel, from `learn`. If not given, the kernel that is included in the package, for a
        scale of 2, 3 or 4.
    alpha : bool
        Whether the last channel is opacity, by which the other channels are weighted. Channels are then
        clipped to the range that they have in the picture.
    progress : callable
        Wraps the range of channels that is iterated over, such as ``tqdm.tqdm``.

    Returns
    -------
    array
        Of shape ``(floor(rows * scale), floor(columns * scale), ...)`` and of the picture's dtype, in native
        byte order; integers are rounded, and clipped to their range.

    Raises
    ------
    TypeError
        If the picture is not of uint8, uint16, float32 or float64, or another argument is of the wrong type.
    ValueError
        If the shape is not that of a picture, or has channels first, such as (3, 480, 640), which
        ``np.moveaxis(picture, 0, -1)`` moves to the end; if the scale is less than 1, or not an integer with
        ``"learned"``; if the kernel is too small, does not preserve constant areas, or is given with another
        mode.
    MemoryError
        If the result does not fit into memory; raised before it is allocated.

    See Also
    --------
    sparsetconv.ResizeOperator : The fixed modes as an operator.
    sparsetconv.ConvTransposeOperator : The learned mode as an operator.

    Notes
    -----
    Beyond the border the edge pixel is repeated, except with ``"lanczos"``, which leaves out taps there.
    Pixel values are used as they are stored, without regard to gamma or colour profile.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetconv import pictures
    >>> pictures.upsample(np.array([[0, 100], [100, 255]], np.uint8), 2, "bilinear")
    array([[  0,  25,  75, 100],
           [ 25,  53, 110, 139],
           [ 75, 110, 181, 216],
           [100, 139, 216, 255]], dtype=uint8)
    """
    array = as_picture("picture", picture)
    word = validation.word("mode", mode, MODES)
    dtype = np.dtype(np.float32 if array.dtype in (np.uint8, np.float32) else np.float64)
    if kernel is not None and word != "learned":
        msg = f"kernel belongs to mode='learned', got mode={shown(mode)}"
        raise ValueError(msg)
    shape = larger_shape(array.shape, scale, word)[:2]
    planes = np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0)
    need = len(planes) * prod(shape) * array.itemsize + 3 * prod(shape) * dtype.itemsize
    memory.require("the larger picture", need, "scale sets its size")
    if word == "learned":
        enlarge = _learned(array.shape[:2], int(scale), kernel, dtype)
    else:
        enlarge = ResizeOperator(array.shape[:2], scale=scale, mode=word, dtype=dtype).apply
    larger = np.empty((*shape, len(planes)), array.dtype)
    opacity = planes[-1].astype(dtype) if validation.flag("alpha", alpha) and len(planes) > 1 else None
    weight = None if opacity is None else _within(enlarge(opacity), opacity)
    for channel in progress(range(len(planes))):
        plane = planes[channel].astype(dtype)
        if opacity is None or weight is None:
            result = enlarge(plane)
        elif channel == len(planes) - 1:
            result = weight
        else:
            result = enlarge(plane * opacity)
            result = np.divide(result, weight, out=np.zeros_like(result), where=weight > 0)
            # where opacity is nearly zero, the division amplifies errors
            result = _within(result, plane)
        larger[..., channel] = _of_depth(result, array.dtype)
    return larger.reshape(*shape, *array.shape[2:])


def larger_shape(shape: tuple[int, ...], scale: Any, mode: str) -> tuple[int, ...]:
    """Return the shape of the picture that `upsample` makes, without making it.

    Parameters
    ----------
    shape : (rows, columns) or (rows, columns, channels)
    scale : number
    mode : str
        As for `upsample`.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        If the scale is less than 1, not a number, or not an integer with ``"learned"``.

    Examples
    --------
    >>> from sparsetconv.pictures._enlarge import larger_shape
    >>> larger_shape((9, 12, 3), 1.5, "bicubic")
    (13, 18, 3)
    """
    if mode == "learned":
        is_number = isinstance(scale, Real)
        factor = int(scale) if is_number and 1 <= scale <= INT32_MAX else 0
        if not factor or scale != factor:
            msg = (
                f"scale must be a whole number with mode='learned', got {shown(scale)}; other modes take any"
            )
            raise ValueError(msg)
        return tuple(n * factor for n in shape[:2]) + shape[2:]
    sizes = resize_geometry(shape[:2], None, scale=scale, mode=mode, **_BY_DEFAULT).output_shape
    if any(m < n for n, m in zip(shape, sizes, strict=False)):
        msg = f"scale must be at least 1 for a larger picture, got {shown(scale)}"
        raise ValueError(msg)
    return sizes + shape[2:]


def learned_kernel(scale: int) -> Array:
    """Return the learned kernel that is included in the package.

    Parameters
    ----------
    scale : {2, 3, 4}

    Returns
    -------
    (12, 12), (19, 19) or (24, 24) array
        Of float32, read-only. It is six pixels wide, with one more weight for scale 3, where the size must be
        odd.

    Raises
    ------
    ValueError
        If the scale is another one.

    Notes
    -----
    Fitted by `learn` to eight of scikit-image's pictures, which ``docs/scripts/learned_kernels.py`` lists.

    Examples
    --------
    >>> from sparsetconv import pictures
    >>> pictures.learned_kernel(2).shape
    (12, 12)
    """
    kernels = _shipped()
    if not isinstance(scale, Real) or scale not in tuple(kernels):
        known = ", ".join(map(str, kernels))
        given = shown(scale)
        msg = f"scale must be one of {known}, for which a kernel is included, got {given}; learn fits others"
        raise ValueError(msg)
    return kernels[int(scale)]


@cache
def _shipped() -> dict[int, Array]:
    with SHIPPED.open("rb") as opened, np.load(opened) as file:
        kernels = {int(name): file[name] for name in file.files}
    for kernel in kernels.values():
        kernel.setflags(write=False)
    return kernels


def _learned(shape: tuple[int, ...], factor: int, kernel: ArrayLike | None, dtype: np.dtype[Any]) -> Enlarge:
    """Return a function that enlarges a plane: repeat the edge, apply the transposed convolution, crop."""
    weights = as_array("kernel", learned_kernel(factor) if kernel is None else kernel)
    if weights.ndim != 2 or min(weights.shape) < factor or weights.dtype.kind == "c":
        msg = (
            f"kernel must be real, of two axes with at least scale = {factor} taps each, "
            f"got {weights.dtype} of shape {weights.shape}"
        )
        raise ValueError(msg)
    sums = phase_sums(weights, factor)
    if not abs(sums - 1).max() <= NEAR_ONE:
        msg = (
            f"kernel must preserve constant areas, but at scale={factor} the weights that contribute to one "
            f"pixel sum to {sums.min():.3g} to {sums.max():.3g}. Was it learned for another scale?"
        )
        raise ValueError(msg)
    margin, padding = margin_of(weights.shape, factor)
    wide = tuple(n + 2 * margin for n in shape)
    larger = tuple(n * factor for n in shape)
    operator = ConvTransposeOperator(
        weights.astype(dtype), wide, stride=factor, padding=padding, output_shape=larger
    )
    return lambda plane: operator.apply(np.pad(plane, margin, mode="edge"))


def _within(result: Array, plane: Array) -> Array:
    """Return a result clipped to the range of a plane."""
    limited: Array = result.clip(plane.min(), plane.max())
    return limited


def _of_depth(plane: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return plane
    limits = np.iinfo(dtype)
    return np.rint(plane).clip(limits.min, limits.max).astype(dtype)
