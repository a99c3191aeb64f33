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
    """Return a picture reduced by antialiased bicubic, and the part of the picture that this stands for.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, channels) array_like
    scale : int
        Pixels of the picture for each reduced pixel, in each direction.

    Returns
    -------
    small : (rows // scale, columns // scale, ...) array
        Floating-point, reduced as Pillow does it.
    large : (rows // scale * scale, columns // scale * scale, ...) array
        Floating-point, without last rows and columns that do not fill a reduced pixel.

    Raises
    ------
    TypeError
        If ``scale`` is not an integer, or the picture not of uint8, uint16, float32 or float64.
    ValueError
        If ``scale`` is less than 1, the shape is not that of a picture, or the picture smaller than one
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
    """Return the kernel that restores pictures best, in least squares, after they were reduced.

    Parameters
    ----------
    pictures : iterable of (rows, columns) or (rows, columns, channels) array_like
        Taken one after another; every channel counts as a picture.
    scale : int
        Factor by which pictures are reduced and restored.
    taps : int
        Rows and columns of the kernel, at least `scale`; odd if `scale` is odd, else even, so that the middle
        of the kernel lies over the middle of a pixel.
    ridge : float
        As for `fit_kernel`.

    Returns
    -------
    (taps, taps) array
        With the symmetry of the square, exactly; for `upsample`, and for `ConvTransposeOperator` with a
        stride of `scale`.

    Raises
    ------
    TypeError
        If a number or picture is of the wrong type.
    ValueError
        If `taps` is less than `scale`, or only one of the two is odd; if there are no pictures, or a picture
        is too small or not finite; if flat areas would not stay flat; or as for `fit_kernel`.
    numpy.linalg.LinAlgError
        If the pictures do not determine a kernel: if they are flat, say.

    See Also
    --------
    sparsetconv.fit_kernel : The least-squares problem, for any pairs of arrays.

    Notes
    -----
    Pictures are reduced by antialiased bicubic, see `shrink`. Each is used in its eight mirrored and rotated
    positions, so that the kernel has the symmetry of the square. Finally the weights that meet in one pixel
    are divided by their sum, which is nearly 1 anyway: so flat areas stay flat, without a checkerboard.

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
            f"taps must be {'odd' if factor % 2 else 'even'} as scale is, so that the kernel has its middle "
            f"over that of a pixel; got {size} for scale {factor}"
        )
        raise ValueError(msg)
    kernel = _fitted(pictures, factor, size, ridge)
    sums = phase_sums(kernel, factor)
    if abs(sums - 1).max() > NEAR_ONE:
        msg = (
            "pictures must determine a kernel that keeps flat areas: the weights that meet in one pixel sum "
            f"to {sums.min():.3g} to {sums.max():.3g}; more pictures or less ridge would help"
        )
        raise ValueError(msg)
    balanced = kernel / np.tile(sums, [-(-size // factor)] * 2)[:size, :size]
    return _symmetric(balanced)


def _fitted(pictures: Iterable[ArrayLike], factor: int, size: int, ridge: float) -> Array:
    """Return the kernel of least squares; errors of `fit_kernel` become errors about pictures."""
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
            msg = "pictures must be one at least, got none"
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
            f"pictures must have, in 8 positions, at least as many pixels as a kernel of {size} x {size} has "
            f"weights, {size * size}, got {pixels}: fewer equations than unknowns; larger pictures, "
            "a smaller kernel or ridge > 0 would do"
        )
        raise ValueError(msg) from None


def learnable(name: str, picture: ArrayLike, scale: int) -> Array:
    """Return a picture as an array, or raise if nothing can be learned from it.

    Parameters
    ----------
    name : str
        Name of the picture in messages.
    picture : (rows, columns) or (rows, columns, channels) array_like
    scale : int
        Factor by which it will be reduced.

    Returns
    -------
    (rows, columns) or (rows, columns, channels) array

    Raises
    ------
    TypeError, ValueError
        If it is not a picture, too small, or not finite.
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
    """Return the mean of a square kernel's eight mirrored and rotated copies, exactly symmetric.

    A sum of two numbers does not depend on their order, so rounding does not break the symmetry.
    """
    for mirrored in (np.flipud, np.fliplr, np.transpose):
        kernel = (kernel + mirrored(kernel)) / 2
    return kernel


def _rotated(plane: Array, position: int) -> Array:
    rotated = np.rot90(plane, position % 4)
    return rotated if position < 4 else rotated.T
