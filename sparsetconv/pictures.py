"""Pictures: up-sampled by fixed or learned kernels, and kernels learned from them.

Floor 6. Pictures are arrays ``(rows, columns)`` or ``(rows, columns, channels)``, as files hold them; `read`
and `write` are OpenCV's, from the extra ``pictures``, imported when called.
"""

from __future__ import annotations

from functools import cache
from itertools import tee
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sparsetconv import _memory, _normalize
from sparsetconv._kernel import as_array
from sparsetconv.learning import fit_kernel
from sparsetconv.operators import ConvTransposeOperator
from sparsetconv.resize_operator import ResizeOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import ArrayLike

    from sparsetconv._types import Array

    Enlarge: TypeAlias = Callable[[Array], Array]

__all__ = ["MODES", "learn", "learned_kernel", "read", "shrink", "upsample", "write"]

MODES = ("nearest", "bilinear", "bicubic", "lanczos", "learned")
SHIPPED = Path(__file__).with_name("learned_kernels.npz")
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
        Whether the last channel is opacity, by which the others are weighted.
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
    weight = None if opacity is None else enlarge(opacity)
    for channel in progress(range(len(planes))):
        if opacity is None or weight is None or channel == len(planes) - 1:
            result = enlarge(planes[channel].astype(dtype))
        else:
            result = enlarge(planes[channel] * opacity)
            result = np.divide(result, weight, out=np.zeros_like(result), where=weight > 0)
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
        For `upsample`, and for `ConvTransposeOperator` with a stride of `scale`.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `fit_kernel`.

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
    factor = _normalize.integer("scale", scale, 1)
    size = _normalize.integer("taps", taps, factor)
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
    for row in range(factor):
        for column in range(factor):
            kernel[row::factor, column::factor] /= kernel[row::factor, column::factor].sum()
    return kernel


@cache
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
    with np.load(SHIPPED) as shipped:
        known = sorted(int(name) for name in shipped.files)
        if scale not in known:
            msg = f"scale must be one of {', '.join(map(str, known))} without a kernel, got {scale!r}"
            raise ValueError(msg)
        kernel: Array = shipped[str(int(scale))]
    kernel.setflags(write=False)
    return kernel


def read(path: Path) -> Array:
    """Return the picture in a file, with the channels, in the order and the depth that OpenCV finds.

    Parameters
    ----------
    path : pathlib.Path
        Any format that OpenCV reads: PNG, TIFF, JPEG and more.

    Returns
    -------
    (rows, columns) or (rows, columns, channels) array
        Turned as the camera says. Colours in the order blue, green, red, opacity.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no picture, or several.
    ImportError
        If OpenCV is missing.
    """
    cv2 = _opencv()
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if picture is None:
        msg = f"{path} is no picture that OpenCV can read"
        raise ValueError(msg)
    if cv2.imcount(str(path)) > 1:
        msg = f"{path} holds {cv2.imcount(str(path))} pictures; a file with one is needed"
        raise ValueError(msg)
    if picture.ndim == 2 or picture.shape[2] == 3:
        # once more as the camera was held, which OpenCV does only where it also drops the opacity
        picture = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    array: Array = picture
    return array


def write(path: Path, picture: Array) -> None:
    """Write a picture, channels as `read` returns them.

    Parameters
    ----------
    path : pathlib.Path
        Its ending names the format.
    picture : (rows, columns) or (rows, columns, channels) array

    Raises
    ------
    ValueError
        If the format cannot hold the picture's depth or channels.
    ImportError
        If OpenCV is missing.
    """
    check_format(path, picture)
    encoded = _encoded(path, picture)
    if encoded is None:
        msg = f"OpenCV could not encode {path}"
        raise ValueError(msg)
    path.write_bytes(encoded.tobytes())


def check_format(path: Path, picture: Array) -> None:
    """Raise if a file's format would silently change the depth or the channels of a picture.

    Parameters
    ----------
    path : pathlib.Path
    picture : (rows, columns) or (rows, columns, channels) array

    Raises
    ------
    ValueError
        Naming formats that serve.
    """
    cv2 = _opencv()
    corner = np.zeros((64, 64, *picture.shape[2:]), picture.dtype)
    encoded = _encoded(path, corner)
    again = None if encoded is None else cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if again is None or again.dtype != corner.dtype or again.shape != corner.shape:
        ending, channels = path.suffix or "a name without an ending", corner[0, 0].size
        msg = (
            f"{ending} cannot hold {channels} channel(s) of {corner.dtype}: "
            "PNG holds 8 and 16 bits, TIFF floating-point numbers too"
        )
        raise ValueError(msg)


def _encoded(path: Path, picture: Array) -> Array | None:
    cv2 = _opencv()
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        done, encoded = cv2.imencode(path.suffix or ".", picture)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    return encoded if done else None


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        msg = 'pictures in files need OpenCV, from an extra: python -m pip install "sparsetconv[pictures]"'
        raise ImportError(msg) from error
    return cv2


def _picture(name: str, value: ArrayLike) -> Array:
    array = as_array(name, value)
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
    factor = _normalize.integer(
        "scale", int(scale) if isinstance(scale, float) and scale.is_integer() else scale, 1
    )
    weights = as_array("kernel", learned_kernel(factor) if kernel is None else kernel)
    if weights.ndim != 2 or min(weights.shape) < factor or weights.dtype.kind == "c":
        msg = (
            f"kernel must be real, of two axes with at least scale = {factor} taps each, "
            f"got {weights.dtype} of shape {weights.shape}"
        )
        raise ValueError(msg)
    margin, padding = _margin(weights.shape, factor)
    wide = tuple(n + 2 * margin for n in shape)
    larger = tuple(n * factor for n in shape)
    operator = ConvTransposeOperator(
        weights.astype(dtype), wide, stride=factor, padding=padding, output_shape=larger
    )
    return lambda plane: operator.apply(np.pad(plane, margin, mode="edge")), larger


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


def _of_depth(plane: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return plane
    limits = np.iinfo(dtype)
    return np.rint(plane).clip(limits.min, limits.max).astype(dtype)
