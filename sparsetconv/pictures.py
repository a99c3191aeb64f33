"""Pictures: up-sampled by fixed or learned kernels, and kernels learned from them.

Floor 6. Pictures are arrays ``(rows, columns)`` or ``(rows, columns, channels)``, as files hold them.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import tee
from math import prod
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sparsetconv import _memory, _normalize
from sparsetconv._kernel import as_array
from sparsetconv.geometry import INT32_MAX
from sparsetconv.learning import fit_kernel
from sparsetconv.operators import ConvTransposeOperator
from sparsetconv.resize_operator import ResizeOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import ArrayLike

    from sparsetconv._types import Array

    Enlarge: TypeAlias = Callable[[Array], Array]

__all__ = ["MODES", "learn", "learned_kernel", "shrink", "upsample"]

#: What `upsample` takes as ``mode``.
MODES = ("nearest", "bilinear", "bicubic", "lanczos", "learned")
SHIPPED = resources.files("sparsetconv") / "learned_kernels.npz"
# how far from 1 the weights that meet in one pixel may sum to
NEAR_ONE = 0.05
DEPTHS = tuple(np.dtype(name) for name in ("uint8", "uint16", "float32", "float64"))


def upsample(
    picture: ArrayLike,
    scale: float,
    mode: str = "learned",
    *,
    kernel: ArrayLike | None = None,
    alpha: bool = False,
    progress: Callable[[range], Iterable[int]] = iter,
) -> Array:
    """Return a larger picture.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, channels) array_like
        Unsigned, of 8 or 16 bits, or floating-point.
    scale : number
        Pixels for each, at least 1; an integer with ``"learned"``.
    mode : {"nearest", "bilinear", "bicubic", "lanczos", "learned"}
        The fixed ones are those of `resize_matrix`; ``"learned"`` is a transposed convolution.
    kernel : (k1, k2) array_like, optional
        The learned kernel, from `learn`. If not given, the one that comes with the package for a scale of 2,
        3 or 4.
    alpha : bool
        Whether the last channel is opacity, by which the others are weighted. Channels then keep to the range
        that they have in the picture.
    progress : callable
        What the range of channels is led through, such as ``tqdm.tqdm``.

    Returns
    -------
    array
        Of shape ``(floor(rows * scale), floor(columns * scale), ...)`` and of the picture's dtype; integers
        are rounded, and cut off at the ends of their range.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

    See Also
    --------
    sparsetconv.ResizeOperator : The fixed modes as an operator.
    sparsetconv.ConvTransposeOperator : The learned mode as an operator.

    Notes
    -----
    Beyond the border stands the edge pixel, in every mode but ``"lanczos"``, which leaves it out. Pixels are
    taken as they are stored, without regard to gamma or profile.

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
    array = _picture("picture", picture)
    word = _normalize.word("mode", mode, MODES)
    dtype = np.dtype(np.float32 if array.dtype in (np.uint8, np.float32) else np.float64)
    if kernel is not None and word != "learned":
        msg = f"kernel belongs to mode='learned', got mode={mode!r}"
        raise ValueError(msg)
    enlarge, shape = (
        _learned(array.shape[:2], scale, kernel, dtype)
        if word == "learned"
        else _fixed(array.shape[:2], scale, word, dtype)
    )
    planes = np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0)
    need = len(planes) * prod(shape) * array.itemsize + 3 * prod(shape) * dtype.itemsize
    _memory.require("the larger picture", need, "scale sets its size")
    larger = np.empty((*shape, len(planes)), array.dtype)
    opacity = planes[-1].astype(dtype) if _normalize.flag("alpha", alpha) and len(planes) > 1 else None
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
            # where next to nothing is seen, next to nothing was divided by
            result = _within(result, plane)
        larger[..., channel] = _of_depth(result, array.dtype)
    return larger.reshape(*shape, *array.shape[2:])


def shrink(picture: ArrayLike, scale: int) -> tuple[Array, Array]:
    """Return a picture reduced by antialiased bicubic, and what of the picture it stands for.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, channels) array_like
    scale : int
        Pixels, in each direction, for one.

    Returns
    -------
    small : (rows // scale, columns // scale, ...) array
        Floating-point, reduced as Pillow does it.
    large : (rows // scale * scale, columns // scale * scale, ...) array
        Floating-point, without the last rows and columns that fill no pixel.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetconv import pictures
    >>> small, large = pictures.shrink(np.ones((9, 7)), 2)
    >>> small.shape, large.shape
    ((4, 3), (8, 6))
    """
    array = _picture("picture", picture)
    factor = _normalize.integer("scale", scale, 1)
    rows, columns = (n // factor for n in array.shape[:2])
    if not (rows and columns):
        msg = f"picture must have {factor} x {factor} pixels at least, got the shape {array.shape}"
        raise ValueError(msg)
    large = array[: rows * factor, : columns * factor].astype(np.result_type(array, np.float32))
    reduce = ResizeOperator(
        large.shape[:2], (rows, columns), mode="bicubic", convention="pillow", dtype=large.dtype
    )
    planes = reduce.apply(np.moveaxis(large.reshape(*large.shape[:2], -1), -1, 0))
    return np.moveaxis(planes, 0, -1).reshape(rows, columns, *array.shape[2:]), large


def learn(pictures: Iterable[ArrayLike], scale: int, taps: int, *, ridge: float = 0.0) -> Array:
    """Return the kernel that restores pictures best, in least squares, after they were reduced.

    Parameters
    ----------
    pictures : iterable of (rows, columns) or (rows, columns, channels) array_like
        Taken one after another; every channel counts as a picture.
    scale : int
        By how much pictures are reduced, and restored.
    taps : int
        Rows and columns of the kernel, at least `scale`.
    ridge : float
        As for `fit_kernel`.

    Returns
    -------
    (taps, taps) array
        Symmetric, for `upsample`, and for `ConvTransposeOperator` with a stride of `scale`.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `fit_kernel`; if `taps` is even and `scale` odd or the other way; if what comes out keeps no flat
        area.

    See Also
    --------
    sparsetconv.fit_kernel : The least-squares problem, for any pairs of arrays.

    Notes
    -----
    Pictures are reduced by antialiased bicubic, see `shrink`. Each is seen in its eight mirrored and turned
    positions, so that the kernel has the symmetry of the square. At last the weights that meet in one pixel
    are divided by their sum, which is nearly 1 anyway: what is flat stays flat, without a checkerboard.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetconv import pictures
    >>> picture = np.random.default_rng(0).random((60, 50))
    >>> pictures.learn([picture], 2, 6).shape
    (6, 6)
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim < 4:
        msg = f"pictures must be several, got an array of shape {pictures.shape}; one alone is [picture]"
        raise ValueError(msg)
    factor = _normalize.integer("scale", scale, 1)
    size = _normalize.integer("taps", taps, factor)
    if (size - factor) % 2:
        msg = (
            f"taps must be {'odd' if factor % 2 else 'even'} as scale is, so that the kernel has its middle "
            f"over that of a pixel; got {size} for scale {factor}"
        )
        raise ValueError(msg)
    margin, padding = _margin((size, size), factor)

    def pairs() -> Iterator[tuple[Array, Array]]:
        for number, picture in enumerate(pictures):
            reduced, whole = shrink(_picture(f"pictures[{number}]", picture), factor)
            for channel in range(prod(whole.shape[2:])):
                sides = (side.reshape(*side.shape[:2], -1)[..., channel] for side in (reduced, whole))
                little, big = (side.astype(np.float64) for side in sides)
                for position in range(8):
                    yield np.pad(_turned(little, position), margin, mode="edge"), _turned(big, position)

    left, right = tee(pairs())
    small, large = (pair[0] for pair in left), (pair[1] for pair in right)
    kernel = fit_kernel(small, large, (size, size), stride=factor, padding=padding, ridge=ridge)
    sums = _phase_sums(kernel, factor)
    if abs(sums - 1).max() > NEAR_ONE:
        msg = (
            "pictures must determine a kernel that keeps flat areas: the weights that meet in one pixel sum "
            f"to {sums.min():.3g} to {sums.max():.3g}; more pictures or less ridge would help"
        )
        raise ValueError(msg)
    balanced: Array = kernel / np.tile(sums, [-(-size // factor)] * 2)[:size, :size]
    return balanced


def learned_kernel(scale: int) -> Array:
    """Return the learned kernel that comes with the package.

    Parameters
    ----------
    scale : {2, 3, 4}

    Returns
    -------
    (6 * scale, 6 * scale) array
        Of float32, read-only.

    Raises
    ------
    ValueError
        For any other scale.

    Notes
    -----
    Fitted by `learn` to eight of scikit-image's pictures; ``docs/scripts/learned_kernels.py`` made it, and
    says which.

    Examples
    --------
    >>> from sparsetconv import pictures
    >>> pictures.learned_kernel(2).shape
    (12, 12)
    """
    kernels = _shipped()
    if scale not in tuple(kernels):
        known = ", ".join(map(str, kernels))
        msg = (
            f"scale must be one of {known}, for which a kernel is at hand, got {scale!r}; learn makes others"
        )
        raise ValueError(msg)
    return kernels[int(scale)]


@cache
def _shipped() -> dict[int, Array]:
    with SHIPPED.open("rb") as opened, np.load(opened) as file:
        kernels = {int(name): file[name] for name in file.files}
    for kernel in kernels.values():
        kernel.setflags(write=False)
    return kernels


def _picture(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype not in DEPTHS:
        msg = f"{name} must be of uint8, uint16, float32 or float64, got {array.dtype}"
        raise TypeError(msg)
    if array.ndim not in (2, 3) or not array.size:
        msg = f"{name} must have the shape (rows, columns) or (rows, columns, channels), got {array.shape}"
        raise ValueError(msg)
    return array


def _fixed(
    shape: tuple[int, ...], scale: float, mode: str, dtype: np.dtype[Any]
) -> tuple[Enlarge, tuple[int, ...]]:
    resize = ResizeOperator(shape, scale=scale, mode=mode, dtype=dtype)
    if any(m < n for n, m in zip(shape, resize.output_shape, strict=True)):
        msg = f"scale must be at least 1 for a larger picture, got {scale!r}"
        raise ValueError(msg)
    return resize.apply, resize.output_shape


def _learned(
    shape: tuple[int, ...], scale: Any, kernel: ArrayLike | None, dtype: np.dtype[Any]
) -> tuple[Enlarge, tuple[int, ...]]:
    """Return a transposed convolution of the picture with its edge repeated, cut back to size."""
    is_number = isinstance(scale, Real)
    factor = int(scale) if is_number and 1 <= scale <= INT32_MAX else 0
    if not factor or scale != factor:
        msg = f"scale must be a whole number with mode='learned', got {scale!r}; other modes take any"
        raise ValueError(msg)
    weights = as_array("kernel", learned_kernel(factor) if kernel is None else kernel)
    if weights.ndim != 2 or min(weights.shape) < factor or weights.dtype.kind == "c":
        msg = (
            f"kernel must be real, of two axes with at least scale = {factor} taps each, "
            f"got {weights.dtype} of shape {weights.shape}"
        )
        raise ValueError(msg)
    sums = _phase_sums(weights, factor)
    if not abs(sums - 1).max() <= NEAR_ONE:
        msg = (
            f"kernel must keep flat areas, which at scale={factor} it does not: the weights that meet in one "
            f"pixel sum to {sums.min():.3g} to {sums.max():.3g}. Was it learned for another scale?"
        )
        raise ValueError(msg)
    margin, padding = _margin(weights.shape, factor)
    wide = tuple(n + 2 * margin for n in shape)
    larger = tuple(n * factor for n in shape)
    operator = ConvTransposeOperator(
        weights.astype(dtype), wide, stride=factor, padding=padding, output_shape=larger
    )
    return lambda plane: operator.apply(np.pad(plane, margin, mode="edge")), larger


def _phase_sums(kernel: Array, scale: int) -> Array:
    """Return the sums of the weights that meet in each of the ``(scale, scale)`` pixels."""
    return np.array([[kernel[r::scale, c::scale].sum() for c in range(scale)] for r in range(scale)])


def _margin(taps: tuple[int, ...], scale: int) -> tuple[int, list[tuple[int, int]]]:
    """Return how often the edge is repeated, and the padding that cuts what comes of that off again.

    The middle of the kernel stands over the middle of a pixel's cell.
    """
    margin = max(taps) // scale + 1
    befores = [(k - scale) // 2 + margin * scale for k in taps]
    # an odd tap is left at the end
    return margin, [(b, k - scale + 2 * margin * scale - b) for b, k in zip(befores, taps, strict=True)]


def _turned(plane: Array, position: int) -> Array:
    turned = np.rot90(plane, position % 4)
    return turned if position < 4 else turned.T


def _within(result: Array, plane: Array) -> Array:
    """Return a result cut off where it leaves the range of a plane."""
    limited: Array = result.clip(plane.min(), plane.max())
    return limited


def _of_depth(plane: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return plane
    limits = np.iinfo(dtype)
    return np.rint(plane).clip(limits.min, limits.max).astype(dtype)
