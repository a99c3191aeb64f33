"""How many threads to use, and a loop over them.

Floor 0, standard library only. NumPy lets go of the interpreter's lock while it copies and adds, so
plain threads serve for work that is a few long array operations.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


_limit: int | None = None


def thread_count() -> int:
    """Return how many threads to use.

    The limit that ``threadpoolctl`` was asked for, else ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS`` if set,
    else the CPUs that we may run on.
    """
    notice_threadpoolctl()
    if _limit is not None:
        return _limit
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_thread_limit(number: int | None) -> None:
    """Set the limit that `thread_count` returns, or take it away."""
    global _limit
    _limit = number


_registered = False


def notice_threadpoolctl() -> None:
    """Make ``threadpoolctl`` control our threads too, once it is imported: ``user_api="sparsetconv"``.

    It knows thread pools by the libraries that are loaded; ours has none, so NumPy's, which always is, stands
    for it. Limits hold that are set after the first operator was made.
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
            set_thread_limit(num_threads)

        def get_version(self) -> None:
            return None

    threadpoolctl.register(Controller)


def _find_core() -> Callable[[], int] | None:
    """Return a function that tells the core that the calling thread is on, where the system has one."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core: Callable[[], int] | None = getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    return core


_core = _find_core()


class _Pool:
    """Threads that work beside the one that calls them, and on other cores than it.

    After a pause a scheduler may wake them on the caller's own core, where they wait until the caller has
    done all the work, call after call for tens of milliseconds, while another core idles. Kept off that core
    they may wait for something else, such as a BLAS's threads, which spin on the others for a while after
    each of a solver's steps: so what no thread has begun when the caller has done its share, the caller does,
    and what a thread has begun may go on anywhere.
    """

    def __init__(self, workers: int) -> None:
        self._threads: list[int] = []
        self._kept_off: int | None = None
        self._executor = ThreadPoolExecutor(workers, "sparsetconv", self._note)

    def _note(self) -> None:
        self._threads.append(threading.get_native_id())
        self._kept_off = None

    def run(self, function: Callable[[T], object], items: Sequence[T], share: int) -> None:
        """Call a function on every item, on the first ``share`` of them in the thread that calls this."""
        if _core is not None:
            self._keep_off(_core())
        others = [self._executor.submit(function, item) for item in items[share:]]
        try:
            for item in items[:share]:
                function(item)
            for item, other in zip(items[share:], others, strict=True):
                if other.cancel():
                    function(item)
        finally:
            begun = [other for other in others if not other.cancelled()]
            if not all(other.done() for other in begun):
                self._keep_off(None)
            for other in begun:
                other.result()

    def _keep_off(self, core: int | None) -> None:
        """Let the threads run on all cores but one, or on all."""
        if core == self._kept_off:
            return
        self._kept_off = core
        everywhere = os.sched_getaffinity(0)
        for thread in self._threads:
            # a thread may have ended
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, everywhere - {core} or everywhere)


_pools: dict[int, _Pool] = {}

if hasattr(os, "register_at_fork"):
    # a pool's threads do not come along into a forked child, which makes pools of its own
    os.register_at_fork(after_in_child=_pools.clear)


def for_each(function: Callable[[T], object], items: Iterable[T], workers: int) -> None:
    """Call ``function`` on every item, in so many threads, this one included; the first exception is raised.

    Items may not call `for_each` with several workers themselves.
    """
    todo = list(items)
    if workers == 1 or len(todo) == 1:
        for item in todo:
            function(item)
        return
    pool = _pools.get(workers)
    if pool is None:
        pool = _pools.setdefault(workers, _Pool(workers - 1))
    pool.run(function, todo, -(-len(todo) // workers))
