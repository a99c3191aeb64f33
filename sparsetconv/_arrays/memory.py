"""Refuse arrays that do not fit into memory, before they are allocated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# bytes that are never refused: querying the system takes longer than allocating them
ALWAYS_THERE = 1 << 26
# the largest array that a thread keeps from call to call
KEPT_BYTES = 1 << 23
# elements of a result up to which, at 16 bytes each at most, it fits in ALWAYS_THERE: its memory need not be
# checked
LARGE_RESULT = ALWAYS_THERE // 16


def available_bytes() -> int | None:
    """Return the bytes available for a new array, or None if the system does not report them."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def fits(nbytes: int, part: float = 1.0, available: Callable[[], int | None] | None = None) -> bool:
    """Return whether some bytes are no more than a part of those that are available."""
    free = (available or available_bytes)() if nbytes > ALWAYS_THERE else None
    return free is None or nbytes <= part * free


def require(what: str, nbytes: int, hint: str, available: Callable[[], int | None] = available_bytes) -> None:
    """Raise ``MemoryError`` with the bytes and a hint if fewer than ``nbytes`` are available."""
    free = available() if nbytes > ALWAYS_THERE else None
    if free is not None and nbytes > free:
        msg = f"{what} needs {nbytes} bytes ({nbytes / 2**30:.1f} GiB), {free} are available; {hint}"
        raise MemoryError(msg)
