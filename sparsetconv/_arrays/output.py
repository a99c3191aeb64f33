"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sparsetconv._arrays.display import shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_place(path: Path) -> None:
    """Raise if a file cannot be written, before the work whose result it is to hold.

    Parameters
    ----------
    path : pathlib.Path
        Symbolic links are followed.

    Raises
    ------
    FileNotFoundError, FileExistsError, PermissionError
        If the folder does not exist, if something other than a file has the name, if the folder is read-only.
    """
    target = _target(path)
    if not target.parent.is_dir():
        msg = f"output must lie in a folder that exists, got {shown(str(path))}"
        raise FileNotFoundError(msg)
    if os.path.lexists(target) and not target.is_file():
        msg = f"output must be a file, got {shown(str(path))}, which exists and is not a regular file"
        raise FileExistsError(msg)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        msg = f"output must lie in a folder that can be written to, got {shown(str(path))}"
        raise PermissionError(msg)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``path`` at the end of the block, unless the block fails.

    The block writes to a temporary file beside ``path``, which is renamed. The new file has the permissions
    of the file that it replaces; a symbolic link stays, and the file that it points to is replaced.

    Parameters
    ----------
    path : pathlib.Path
    """
    target = _target(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        # name the file that the user asked for, not the temporary one
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        # on success it has been renamed
        temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    # unlike Path.resolve, this does not raise for circular links
    return Path(os.path.realpath(path))
