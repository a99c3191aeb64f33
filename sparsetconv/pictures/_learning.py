"""Learn kernels for enlarging: pictures are reduced, and the kernel that restores them is fitted."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._arrays.display import shown
from sparsetconv._geometry import validation
from sparsetconv._learning.fit import fit_pairs
from sparsetconv.operators._resize import ResizeOperator
from sparsetconv.pictures._arrays import NEAR_ONE, as_picture, margin_of, phase_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from sparsetconv._arrays.types import Array


def shrink(picture: ArrayLike, scale: int) -> tuple[Array, Array]:
    """Return a picture reduced by antialiased bicubic interpolation, and the part of it that was reduced.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, channels) array_like
    scale : int
        Pixels of the picture per reduced pixel, in each direction.

    Returns
    -------
    small : (rows // scale, columns // scale, ...) array
        Floating-point, reduced as in Pillow.
    large : (rows // scale * scale, columns // scale * scale, ...) array
        Floating-point, without the last rows and columns that do not fill a reduced pixel.

    Raises
    ------
    TypeError
        If ``scale`` is not an integer, or the picture is not of uint8, uint16, float32 or float64.
    ValueError
        If ``scale`` is less than 1, the shape is not that of a picture, or the picture is smaller than one
        reduced pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetconv import pictures
    >>> small, large = pictures.shrink(np.ones((9, 7)), 2)
    >>> small.shape, large.shape
    ((4, 3), (8, 6))
    """
    factor = validation.integer("scale", scale, 1)
    return _shrunk(_shrinkable("picture", picture, factor), factor)


def learn(pictures: Iterable[ArrayLike], scale: int, taps: int, *, ridge: float = 0.0) -> Array:
    """Return the kernel that best restores reduced pictures, in the least-squares sense.

    Parameters
    ----------
    pictures : iterable of (rows, columns) or (rows, columns, channels) array_like
        The pictures, which are processed one by one; every channel counts as a picture.
    scale : int
        Factor by which pictures are reduced and restored.
    taps : int
        Rows and columns of the kernel, at least `scale`; odd if `scale` is odd, else even, so that the kernel
        is centred on a pixel.
    ridge : float
        As for `fit_kernel`.

    Returns
    -------
    (taps, taps) array
        Exactly symmetric under reflections and rotations by 90 degrees. For `upsample`, and for
        `ConvTransposeOperator` with a stride of `scale`.

    Raises
    ------
    TypeError
        If a number or picture is of the wrong type.
    ValueError
        If `taps` is less than `scale`, or only one of the two is odd; if there are no pictures, or a picture
        is too small or not finite; if the kernel would not preserve constant areas; or as for `fit_kernel`.
    numpy.linalg.LinAlgError
        If the pictures do not determine a kernel, for example if they are constant.

    See Also
    --------
    sparsetconv.fit_kernel : The least-squares problem, for any pairs of arrays.

    Notes
    -----
    Pictures are reduced by antialiased bicubic interpolation (see `shrink`). Each is used in its eight
    reflected and rotated orientations, so that the kernel has the symmetry of the square. Finally the weights
    that contribute to one pixel are divided by their sum, which is nearly 1 already, so that constant areas
    are preserved without checkerboard artefacts.

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
    factor = validation.integer("scale", scale, 1)
    size = validation.integer("taps", taps, factor)
    if (size - factor) % 2:
        msg = (
            f"taps must be {'odd' if factor % 2 else 'even'} like scale, so that the kernel is centred on "
            f"a pixel; got {size} for scale {factor}"
        )
        raise ValueError(msg)
    kernel = _fitted(pictures, factor, size, ridge)
    sums = phase_sums(kernel, factor)
    if abs(sums - 1).max() > NEAR_ONE:
        msg = (
            "pictures must determine a kernel that preserves constant areas: the weights that contribute to "
            f"one pixel sum to {sums.min():.3g} to {sums.max():.3g}; more pictures or less ridge would help"
        )
        raise ValueError(msg)
    balanced = kernel / np.tile(sums, [-(-size // factor)] * 2)[:size, :size]
    return _symmetric(balanced)


def _fitted(pictures: Iterable[ArrayLike], factor: int, size: int, ridge: float) -> Array:
    """Return the least-squares kernel; errors of `fit_kernel` are raised as errors about pictures."""
    margin, padding = margin_of((size, size), factor)
    pixels, finished = 0, False

    def pairs() -> Iterator[tuple[ArrayLike, ArrayLike]]:
        nonlocal pixels, finished
        for number, picture in enumerate(pictures):
            reduced, whole = _shrunk(learnable(f"pictures[{number}]", picture, factor), factor)
            pixels += 8 * whole.size
            for channel in range(prod(whole.shape[2:])):
                sides = (side.reshape(*side.shape[:2], -1)[..., channel] for side in (reduced, whole))
                little, big = (side.astype(np.float64) for side in sides)
                for position in range(8):
                    yield np.pad(_rotated(little, position), margin, mode="edge"), _rotated(big, position)
        if not pixels:
            msg = "pictures must hold at least one picture, got none"
            raise ValueError(msg)
        finished = True

    if not isinstance(pictures, Iterable):
        msg = f"pictures must be a sequence or an iterator of arrays, got {shown(pictures)}"
        raise TypeError(msg)
    try:
        return fit_pairs(pairs(), (size, size), transposed=True, ridge=ridge, stride=factor, padding=padding)
    except np.linalg.LinAlgError as error:
        msg = (
            f"pictures must vary enough to determine a kernel of {size} x {size}, and these do not: are they "
            "flat, or all alike? Other pictures, a smaller kernel or ridge > 0 would help"
        )
        raise np.linalg.LinAlgError(msg) from error
    except ValueError:
        if not finished or pixels >= size * size or ridge:
            raise
        msg = (
            f"pictures must have, in 8 orientations, at least as many pixels as a kernel of {size} x {size} "
            f"has weights, {size * size}, got {pixels}: fewer equations than unknowns; larger pictures, "
            "a smaller kernel or ridge > 0 would do"
        )
        raise ValueError(msg) from None


def learnable(name: str, picture: ArrayLike, scale: int) -> Array:
    """Return a picture as an array, or raise if nothing can be learned from it.

    Parameters
    ----------
    name : str
        Name of the picture, for messages.
    picture : (rows, columns) or (rows, columns, channels) array_like
    scale : int
        Factor by which it will be reduced.

    Returns
    -------
    (rows, columns) or (rows, columns, channels) array

    Raises
    ------
    TypeError, ValueError
        If it is not a picture, is too small, or is not finite.
    """
    array = _shrinkable(name, picture, scale)
    if not np.isfinite(array).all():
        msg = f"{name} must be finite, got NaN or infinity"
        raise ValueError(msg)
    return array


def _shrinkable(name: str, picture: ArrayLike, scale: int) -> Array:
    """Return a picture as an array, or raise if it is smaller than one reduced pixel."""
    array = as_picture(name, picture)
    if min(array.shape[:2]) < scale:
        msg = f"{name} must have {scale} x {scale} pixels at least, got the shape {array.shape}"
        raise ValueError(msg)
    return array


def _shrunk(array: Array, factor: int) -> tuple[Array, Array]:
    rows, columns = (n // factor for n in array.shape[:2])
    large = array[: rows * factor, : columns * factor].astype(np.result_type(array, np.float32))
    reduce = ResizeOperator(
        large.shape[:2], (rows, columns), mode="bicubic", convention="pillow", dtype=large.dtype
    )
    planes = reduce.apply(np.moveaxis(large.reshape(*large.shape[:2], -1), -1, 0))
    return np.moveaxis(planes, 0, -1).reshape(rows, columns, *array.shape[2:]), large


def _symmetric(kernel: Array) -> Array:
    """Return the mean of a square kernel's eight reflected and rotated copies, exactly symmetric.

    Copies are added in pairs; since floating-point addition is commutative, rounding preserves the symmetry.
    """
    for mirrored in (np.flipud, np.fliplr, np.transpose):
        kernel = (kernel + mirrored(kernel)) / 2
    return kernel


def _rotated(plane: Array, position: int) -> Array:
    rotated = np.rot90(plane, position % 4)
    return rotated if position < 4 else rotated.T
