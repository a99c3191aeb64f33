"""The number of threads to use, and `for_each`, a loop over items in several threads.

NumPy and the compiled loops release the interpreter's lock while they work, so that plain threads are enough
for work that consists of a few long array operations.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sparsetconv._arrays.pool import Pool

T = TypeVar("T")

_limit: int | None = None


def thread_count() -> int:
    """Return the number of threads to use.

    This is the limit that a user has set by ``threadpoolctl``, else the first number in ``NUMBA_NUM_THREADS``
    or in ``OMP_NUM_THREADS`` (4 in ``"4,2"``; anything that is not a positive number is ignored), else the
    number of CPUs that this process may run on.
    """
    notice_threadpoolctl()
    return _own_count() if _limit is None else _limit


def _own_count() -> int:
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        number = _first_number(os.environ.get(name, ""))
        if number > 0:
            return number
    return core_count()


def core_count() -> int:
    """Return the number of CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_number(value: str) -> int:
    """Return the first entry of OpenMP's list (one number for each level of nesting); 0 if it is not one."""
    first = value.split(",")[0].strip().removeprefix("+")
    return int(first) if len(first) < 20 and first.isascii() and first.isdigit() else 0


def set_thread_limit(number: int | None) -> None:
    """Set the limit that `thread_count` returns; None removes it."""
    global _limit
    _limit = number


_registered = False


def notice_threadpoolctl() -> None:
    """Make ``threadpoolctl``, if it is imported, control our threads too: ``user_api="sparsetconv"``.

    ``threadpoolctl`` finds thread pools by their shared libraries; ours has none, so NumPy's, which is always
    loaded, stands in for it. Limits that are set before the first operator is made are not seen.
    """
    global _registered
    threadpoolctl: Any = sys.modules.get("threadpoolctl")
    if _registered or threadpoolctl is None:
        return
    _registered = True

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = internal_api = "sparsetconv"
        filename_prefixes = ("_multiarray_umath",)

        def get_num_threads(self) -> int:
            return thread_count()

        def set_num_threads(self, num_threads: int) -> None:
            # at the end of a context threadpoolctl restores the number it found: our default means no limit
            set_thread_limit(None if num_threads == _own_count() else max(num_threads, 1))

        def get_version(self) -> None:
            return None

    threadpoolctl.register(Controller)


_pools: list[Pool] = []

if hasattr(os, "register_at_fork"):
    # a fork copies no threads, so the child makes a pool of its own
    os.register_at_fork(after_in_child=_pools.clear)


@atexit.register
def _end_pools() -> None:
    """Let helpers leave compiled code before that is unloaded."""
    for pool in _pools:
        pool.end(0.1)


def for_each(function: Callable[[T], object], items: Iterable[T], workers: int) -> None:
    """Call ``function`` on every item in ``workers`` threads, this one included; raise what a call raises.

    ``function`` may not itself call `for_each` with several workers.
    """
    todo = list(items)
    workers = min(workers, len(todo))
    if workers <= 1:
        for item in todo:
            function(item)
        return
    pool_of(workers - 1).run(function, todo, workers - 1)


def pool_of(threads: int) -> Pool:
    """Return the pool; make a new one if it is too small, or has no thread and may try again to get one."""
    known = _pools[0] if _pools else None
    if known is not None and known.serves(threads):
        return known
    made = Pool(max(threads, _own_count() - 1))
    _pools[:] = [made]
    if known is not None:
        known.close()
    return made
