"""Files that are written whole or not at all.

Floor 0, standard library only.
"""

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
    """Raise where a file cannot be written, before the work rather than after it.

    Parameters
    ----------
    path : pathlib.Path
        A symbolic link stands for what it points to.

    Raises
    ------
    FileNotFoundError, FileExistsError, PermissionError
        If there is no such folder, if something that is no file has the name, if the folder is read-only.
    """
    target = _target(path)
    if not target.parent.is_dir():
        msg = f"output must lie in a folder that exists, got {shown(str(path))}"
        raise FileNotFoundError(msg)
    if os.path.lexists(target) and not target.is_file():
        msg = f"output must be a file, but {shown(str(path))} exists and is none"
        raise FileExistsError(msg)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        msg = f"output must lie in a folder that can be written to, got {shown(str(path))}"
        raise PermissionError(msg)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of ``path`` at the end of the block, unless the block fails.

    What is written goes to a temporary file beside it, which is renamed. A file that is replaced hands on its
    permissions; a symbolic link stays, and what it points to is replaced.

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
        # nobody asked for the temporary file
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        # there is none any more where all went well
        temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    # unlike Path.resolve this does not raise where links lead in a circle
    return Path(os.path.realpath(path))
