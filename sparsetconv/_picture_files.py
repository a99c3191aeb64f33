"""Files of pictures, read and written by OpenCV.

Floor 6. OpenCV is in the extra ``pictures`` and imported when called. It changes depth and channels silently
where a format cannot hold them; here that is an error.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sparsetconv._types import Array


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
    upright = picture = None
    count = 0
    with _silent(cv2), contextlib.suppress(cv2.error):
        # as it is stored, with its opacity; and as the camera was held, without
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        upright = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
        count = cv2.imcount(str(path))
    if picture is None or upright is None:
        msg = f"{path} is no picture that OpenCV can read"
        raise ValueError(msg)
    if count > 1:
        msg = f"{path} holds {count} pictures; a file with one is needed"
        raise ValueError(msg)
    if picture.ndim == 2 or picture.shape[2] == 3:
        array: Array = upright
        return array
    # opacity is turned as the colours were
    return next((p for p in _positions(picture) if np.array_equal(p[..., :3], upright)), picture)


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
    if not cv2.haveImageWriter(f"x{path.suffix}"):
        msg = f"the ending of {path} must name a format that OpenCV writes, such as .png or .tif"
        raise ValueError(msg)
    corner = np.zeros((64, 64, *picture.shape[2:]), picture.dtype)
    encoded = _encoded(path, corner)
    with _silent(cv2):
        again = None if encoded is None else cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if again is None or again.dtype != corner.dtype or again.shape != corner.shape:
        channels = corner[0, 0].size
        msg = (
            f"{path.suffix} cannot hold {channels} channel(s) of {corner.dtype}: "
            "PNG holds 8 and 16 bits, TIFF floating-point numbers too"
        )
        raise ValueError(msg)


def _encoded(path: Path, picture: Array) -> Array | None:
    cv2 = _opencv()
    with _silent(cv2), contextlib.suppress(cv2.error):
        done, encoded = cv2.imencode(path.suffix, picture)
        return encoded if done else None
    return None


@contextlib.contextmanager
def _silent(cv2: Any) -> Iterator[None]:
    """Keep OpenCV from writing to the terminal what we raise."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _positions(picture: Array) -> Iterator[Array]:
    """Yield the eight positions of a picture, the one that it is in first."""
    for quarters in range(4):
        turned = np.rot90(picture, quarters)
        yield turned
        yield turned.swapaxes(0, 1)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        msg = 'pictures in files need OpenCV, from an extra: python -m pip install "sparsetconv[pictures]"'
        raise ImportError(msg) from error
    return cv2
