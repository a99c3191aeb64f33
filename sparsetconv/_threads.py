"""How many threads to use, and a loop over them.

Floor 0, standard library only. NumPy lets go of the interpreter's lock while it copies and adds, so
plain threads serve for work that is a few long array operations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def thread_count() -> int:
    """Return ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS`` if set, else the CPUs that we may run on."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_each(function: Callable[[T], object], items: Iterable[T], workers: int) -> None:
    """Call ``function`` on every item, in so many threads; the first exception is raised."""
    if workers == 1:
        for item in items:
            function(item)
        return
    # made anew each time: a pool that outlived a fork would never answer in the child
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(function, item) for item in items]:
            done.result()
