"""Picture files, read and written by libvips.

libvips is in the extra ``pictures``, and is imported when needed. It silently changes the depth or channels
of a picture if the format cannot hold them; here this is an error.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays.display import shown
from sparsetconv._arrays.output import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from sparsetconv._arrays.types import Array

#: The most pixels of a picture that is read, by default: 16384 x 16384.
MAX_PIXELS = 1 << 28
#: libvips' interpretations of samples that are used as they are; others, such as CMYK, are converted.
AS_STORED = frozenset(("b-w", "srgb", "grey16", "rgb16", "scrgb", "multiband"))
#: libvips' interpretations of grey values and of colours, for each depth.
MEANINGS = {"uint8": ("b-w", "srgb"), "uint16": ("grey16", "rgb16"), "float32": ("b-w", "scrgb")}
VIPS_SIDE = 99_999_999
# bytes of samples above which a TIFF may need 64-bit offsets
LARGE_TIFF = 1 << 31


class Format(NamedTuple):
    """A file format, and the pictures that it can hold.

    Attributes
    ----------
    endings, depths : tuple of str
        Endings of file names, and names of dtypes.
    channels : tuple of int
        Possible numbers of channels.
    side : int
        The most pixels in a row or in a column.
    options : dict
        Options of libvips' writer.
    """

    endings: tuple[str, ...]
    depths: tuple[str, ...]
    channels: tuple[int, ...]
    side: int
    options: dict[str, Any]


FORMATS = {
    "PNG": Format((".png",), ("uint8", "uint16"), (1, 2, 3, 4), VIPS_SIDE, {}),
    "TIFF": Format((".tif", ".tiff"), tuple(MEANINGS), (1, 2, 3, 4), VIPS_SIDE, {"compression": "deflate"}),
    "JPEG": Format((".jpg", ".jpeg"), ("uint8",), (1, 3), 65_500, {"Q": 95}),
    "WebP": Format((".webp",), ("uint8",), (3, 4), 16_383, {"lossless": True, "exact": True}),
}


def check_file(path: Path) -> None:
    """Raise if a file does not exist or is a folder.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    OSError
        If it does not exist, or is a folder.
    """
    path.stat()
    if path.is_dir():
        msg = f"{shown(str(path))} is a folder; name the pictures in it, such as {shown(str(path / '*.png'))}"
        raise IsADirectoryError(msg)


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Array:
    """Return the picture in a file, with its depth unchanged.

    Parameters
    ----------
    path : pathlib.Path
        Any format that libvips reads: PNG, TIFF, JPEG, WebP and more.
    max_pixels : int
        Larger pictures are refused before they are decoded.

    Returns
    -------
    (rows, columns) or (rows, columns, channels) array
        Rotated by the orientation tag to be upright. Channels are grey, or red, green and blue, followed by
        opacity if there is any (not premultiplied).

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a picture, is damaged, holds several pictures, is too large, or of another depth.
    ImportError
        If pyvips is missing.
    """
    check_file(path)
    vips = _vips()
    data = path.read_bytes()
    if not data:
        msg = f"{shown(str(path))} is empty"
        raise ValueError(msg)
    try:
        image = vips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
        _check_header(path, image, max_pixels)
        array: Array = _upright_colours(image).numpy()
    except vips.Error as error:
        msg = f"{shown(str(path))} is not a picture that libvips can read, or is damaged: {_cause(error)}"
        raise ValueError(msg) from None
    if array.dtype.name not in MEANINGS:
        msg = f"{shown(str(path))} must hold {', '.join(MEANINGS)}, got {array.dtype}"
        raise ValueError(msg)
    return array


def _check_header(path: Path, image: Any, max_pixels: int) -> None:
    count = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if count > 1:
        msg = f"{shown(str(path))} holds {count} pictures; a file with one is needed"
        raise ValueError(msg)
    if image.width * image.height > max_pixels:
        msg = (
            f"{shown(str(path))} has {image.width} x {image.height} pixels, more than max_pixels = "
            f"{max_pixels}; --max-pixels {image.width * image.height} would take it"
        )
        raise ValueError(msg)


def _upright_colours(image: Any) -> Any:
    """Return an upright image whose samples are grey values or red, green and blue."""
    if image.interpretation not in AS_STORED:
        image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
    # a picture that is read sequentially cannot be rotated
    return image.copy_memory().autorot()


def has_opacity(picture: Array) -> bool:
    """Return whether the last channel of a picture is opacity.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, channels) array
    """
    return picture.ndim == 3 and picture.shape[2] in (2, 4)


def write(path: Path, picture: Array) -> None:
    """Write a picture, completely or not at all; channels are as `read` returns them.

    Parameters
    ----------
    path : pathlib.Path
        The suffix determines the format.
    picture : (rows, columns) or (rows, columns, channels) array

    Raises
    ------
    ValueError
        If the format cannot hold the picture.
    ImportError
        If pyvips is missing.
    """
    name = check_format(path, picture.shape, picture.dtype)
    vips = _vips()
    options = dict(FORMATS[name].options)
    if name == "TIFF":
        options["bigtiff"] = picture.nbytes >= LARGE_TIFF
    meaning = MEANINGS[picture.dtype.name][_channels(picture.shape) > 2]
    try:
        image = vips.Image.new_from_array(np.ascontiguousarray(picture)).copy(interpretation=meaning)
        encoded = image.write_to_buffer(path.suffix.lower(), **options)
    except vips.Error as error:
        msg = f"libvips could not write {shown(str(path))}: {_cause(error)}"
        raise ValueError(msg) from None
    with whole_file(path) as file:
        file.write(encoded)


def check_format(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Return the name of a file's format, or raise if it cannot hold a picture unchanged.

    Parameters
    ----------
    path : pathlib.Path
    shape : (rows, columns) or (rows, columns, channels)
    dtype : numpy.dtype
        The dtype of the picture.

    Returns
    -------
    str
        One of `FORMATS`.

    Raises
    ------
    ValueError
        If the format cannot hold the picture, or the suffix is unknown.
    """
    suffix = path.suffix.lower()
    name = next((name for name, format in FORMATS.items() if suffix in format.endings), None)
    if name is None:
        known = ", ".join(ending for format in FORMATS.values() for ending in format.endings)
        msg = f"the ending of {shown(str(path))} must name a format that is written: {known}"
        raise ValueError(msg)
    format, channels = FORMATS[name], _channels(shape)
    if dtype.name not in format.depths or channels not in format.channels:
        msg = (
            f"{name} cannot hold {channels} channel(s) of {dtype}: "
            "PNG holds 8 and 16 bits, TIFF floating-point numbers too, both with and without opacity"
        )
        raise ValueError(msg)
    if max(shape[:2]) > format.side:
        msg = (
            f"{name} cannot hold {shape[1]} x {shape[0]} pixels, {format.side} in each direction at most"
            + (f"; PNG and TIFF hold {VIPS_SIDE}" if format.side < VIPS_SIDE else "")
        )
        raise ValueError(msg)
    return name


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1


def _cause(error: Exception) -> str:
    """Return the line of libvips' message that is about the file, not about the call."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(1, len(lines) - 1)][:120] if lines else "no reason given"


def _vips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        # OSError: pyvips is installed, but libvips is not
        msg = 'pictures in files need pyvips, from an extra: python -m pip install "sparsetconv[pictures]"'
        raise ImportError(msg) from error
    # do not print warnings about metadata; errors in the samples are raised
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    return pyvips
