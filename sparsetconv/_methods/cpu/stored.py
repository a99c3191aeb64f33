"""The files that hold measured rates, in the user's cache folder, one for each `Key`.

A file says for which machine it was written; it is ignored on any other, as after its folder was copied.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sparsetconv._arrays.output import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# the most characters of a file that are read
MOST = 1 << 16
# what `read` raises for a file that it cannot read, whatever is in it
UNREADABLE = (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError)


class Key(NamedTuple):
    """What measured rates depend on.

    Attributes
    ----------
    model : int
        The version of the model.
    processor : str
        The processor's name.
    features : str
        Its instruction sets that are used.
    threads : int
    """

    model: int
    processor: str
    features: str
    threads: int


class Measured(NamedTuple):
    """Measured rates.

    Attributes
    ----------
    date : str
        The day of the measurement.
    times : mapping
        Seconds by the rate's name.
    """

    date: str
    times: Mapping[str, float]


def folder() -> Path:
    """Return the user's cache folder for this package, which need not exist."""
    # imported when first needed: most programs end without having asked for a method
    import platformdirs

    return platformdirs.user_cache_path("sparsetconv", appauthor=False)


def any_stored() -> bool:
    """Return whether rates have ever been stored for this user."""
    try:
        return folder().is_dir()
    except OSError:
        # where nobody may look, nothing has been stored
        return False


def key(model: int, features: Iterable[str], threads: int) -> Key:
    """Return the key of this machine."""
    return Key(model, processor(), ",".join(sorted(features)), threads)


def processor() -> str:
    """Return the processor's name."""
    asked = os.environ.get("NUMBA_CPU_NAME", "")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"model name\s*:\s*(.+)", text)
    except OSError:
        found = None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{name}, compiled for {asked}" if asked else name


def path_of(key: Key) -> Path:
    """Return the path of the file for a key."""
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return folder() / f"rates-{name}.json"


def read(path: Path, key: Key) -> Measured | None:
    """Return what a file holds, or None if there is none or if it was written for another key.

    Raises
    ------
    UNREADABLE
        If it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            found: dict[str, Any] = json.loads(file.read(MOST))
    except FileNotFoundError:
        return None
    if any(found[name] != value for name, value in key._asdict().items()):
        return None
    date = datetime.date.fromisoformat(found["measured"])
    return Measured(date.isoformat(), {name: float(time) for name, time in dict(found["seconds"]).items()})


def write(path: Path, key: Key, measured: Measured) -> None:
    """Write a file, whole or not at all."""
    content = {**key._asdict(), "measured": measured.date, "seconds": dict(measured.times)}
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
