"""Print the newest interpreter beside the one in use that the package supports, if there is a newer one.

pyenv and the like keep each version in a folder of its own, side by side. Supported are the versions that the
classifiers in ``pyproject.toml`` name.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

Version = tuple[int, ...]


def supported() -> set[Version]:
    """Return the versions that the classifiers name, as ``(3, 13)``."""
    table = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (line.rpartition(" :: ") for line in table["project"]["classifiers"])
    names = (name for head, _, name in lines if head == "Programming Language :: Python" and "." in name)
    return {tuple(map(int, name.split("."))) for name in names}


def version_of(interpreter: Path) -> Version:
    """Return the version of an interpreter, or nothing if it does not run."""
    code = "import sys; print(*sys.version_info[:3])"
    try:
        done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(map(int, done.stdout.split()))


def newest(folder: Path) -> Path | None:
    """Return the newest supported interpreter below a folder that is newer than the one in use."""
    found = {version_of(path): path for path in sorted(folder.glob("*/bin/python3"))}
    known, here = supported(), tuple(sys.version_info[:3])
    newer = [version for version in found if version > here and version[:2] in known]
    return found[max(newer)] if newer else None


if __name__ == "__main__":
    print(newest(Path(sys.base_prefix).parent) or "")
