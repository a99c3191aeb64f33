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
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# seconds until a system that has refused a thread is asked for one again
PATIENCE = 1.0

_limit: int | None = None


def thread_count() -> int:
    """Return how many threads to use.

    The limit that ``threadpoolctl`` was asked for, else the first number in ``NUMBA_NUM_THREADS`` or in
    ``OMP_NUM_THREADS`` (4 in ``"4,2"``; what is no positive number is ignored), else the CPUs that we may
    run on.
    """
    notice_threadpoolctl()
    return _own_count() if _limit is None else _limit


def _own_count() -> int:
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        number = _first_number(os.environ.get(name, ""))
        if number > 0:
            return number
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_number(value: str) -> int:
    """Return the first entry of OpenMP's list, one number for each level of nesting; 0 for what is none."""
    first = value.split(",")[0].strip().removeprefix("+")
    return int(first) if first.isascii() and first.isdigit() else 0


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
            # what it restores at the end of a context is the number that it found: no limit, if that is ours
            set_thread_limit(None if num_threads == _own_count() else max(num_threads, 1))

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


class _Work:
    """Items that several threads do, each taking the next; it knows who is at it, begun late or never."""

    def __init__(self, function: Callable[[T], object], items: Iterable[T]) -> None:
        self._function: Callable[[T], object] | None = function
        self._left = deque(items)
        self._changed = threading.Condition()
        self._helping, self._closed = 0, False
        self._error: BaseException | None = None

    def do(self) -> None:
        """Do what is left, item by item; leave nothing to others if one fails."""
        function = self._function
        try:
            while self._left and function is not None:
                try:
                    item = self._left.popleft()
                except IndexError:
                    # another thread was faster
                    return
                function(item)
        except BaseException:
            self._left.clear()
            raise

    def help(self) -> None:
        """Do the same beside the caller, who may have finished meanwhile."""
        with self._changed:
            if self._closed:
                return
            self._helping += 1
        try:
            self.do()
        except BaseException as error:
            # the caller raises it
            self._error = error
        with self._changed:
            self._helping -= 1
            self._changed.notify_all()

    def finish(self, timeout: float | None = None) -> bool:
        """Let nobody begin any more, and wait for those who have; return whether all are done.

        Then the function is let go of, with the arrays that it holds: a thread may still know this object.
        """
        with self._changed:
            self._closed = True
            done = self._changed.wait_for(lambda: not self._helping, timeout)
            if done:
                self._function = None
            return done

    def raise_error(self) -> None:
        """Raise what a helper has met."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            # its traceback holds this frame
            del error


class _Pool:
    """Threads that work beside the one that calls them, and on other cores than it.

    After a pause a scheduler may wake them on the caller's own core, where they wait until the caller has
    done all the work, call after call for tens of milliseconds, while another core idles. Kept off that core
    they may wait for something else, such as a BLAS's threads, which spin on the others for a while after
    each of a solver's steps: so nobody waits for a thread that has not begun, and what it has begun may go on
    anywhere.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._ids: list[int] = []
        # the core that they are kept off, and for which caller
        self._placed: tuple[int | None, int] | None = None
        self._lock = threading.Lock()
        # when the system has refused a thread
        self._refused: float | None = None
        # work that looks for helpers, once for each of them, and the calls to threads that have not ended
        self._waiting: list[_Work] = []
        self._calls: set[object] = set()
        self._executor = ThreadPoolExecutor(threads, "sparsetconv", self._note)

    def _note(self) -> None:
        with self._lock:
            self._ids.append(threading.get_native_id())
            self._placed = None

    def run(self, function: Callable[[T], object], items: Iterable[T], helpers: int) -> None:
        """Call a function on every item, in this thread and in so many others."""
        work = _Work(function, items)
        self._keep_off(_core() if _core is not None else None)
        start = time.perf_counter()
        try:
            self._call_for(work, helpers)
            work.do()
        finally:
            self._forget(work)
            # what takes half as long again as the caller's share may go on anywhere
            if not work.finish((time.perf_counter() - start) / 2):
                self._keep_off(None)
                work.finish()
        work.raise_error()

    def serves(self, threads: int) -> bool:
        """Return whether it has, or may get, so many threads, or was refused the first of them just now."""
        dead = self._refused is not None and not self._ids and not self._patient()
        return self.threads >= threads and not dead

    def _patient(self) -> bool:
        """Return whether the system has refused a thread a moment ago."""
        return self._refused is not None and time.monotonic() < self._refused + PATIENCE

    def _call_for(self, work: _Work, helpers: int) -> None:
        """Let threads help with some work: those that are called already take it up later.

        So there are no more calls than threads, however many products a long one outlasts.
        """
        calls: list[object] = []
        try:
            with self._lock:
                self._waiting += [work] * helpers
                most = len(self._ids) if self._patient() else self.threads
                calls += [object() for _ in range(min(helpers, most - len(self._calls)))]
                self._calls.update(calls)
            while calls:
                self._executor.submit(self._serve, calls[-1])
                calls.pop()
        except RuntimeError:
            # a system refuses a thread, and this call waits for another one; or the interpreter shuts down
            calls.pop()
            self._refused = time.monotonic()
        finally:
            if calls:
                with self._lock:
                    self._calls.difference_update(calls)

    def _serve(self, call: object) -> None:
        """Help with all work that waits, the oldest first."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._calls.discard(call)
                    return
                work = self._waiting.pop(0)
            work.help()

    def _forget(self, work: _Work) -> None:
        """Take some work from what waits."""
        with self._lock:
            self._waiting[:] = [other for other in self._waiting if other is not work]

    def close(self) -> None:
        """Let the threads end when they have done what they have begun; others then work without them."""
        self._executor.shutdown(wait=False)

    def _keep_off(self, core: int | None) -> None:
        """Let the threads run on all of the caller's cores but one, or on all."""
        wanted = core, threading.get_ident()
        if _core is None or wanted == self._placed:
            return
        allowed = os.sched_getaffinity(0)
        with self._lock:
            self._placed = wanted
            for thread in self._ids:
                # a thread may have ended
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(thread, allowed - {core} or allowed)


_pools: list[_Pool] = []

if hasattr(os, "register_at_fork"):
    # a pool's threads do not come along into a forked child, which makes a pool of its own
    os.register_at_fork(after_in_child=_pools.clear)


def for_each(function: Callable[[T], object], items: Iterable[T], workers: int) -> None:
    """Call ``function`` on every item, in so many threads, this one included; an exception of any is raised.

    Items may not call `for_each` with several workers themselves.
    """
    todo = list(items)
    workers = min(workers, len(todo))
    if workers <= 1:
        for item in todo:
            function(item)
        return
    _pool_of(workers - 1).run(function, todo, workers - 1)


def _pool_of(threads: int) -> _Pool:
    """Return the pool; a new one where it is too small, or has no thread and one may be tried again."""
    known = _pools[0] if _pools else None
    if known is not None and known.serves(threads):
        return known
    made = _Pool(max(threads, _own_count() - 1))
    _pools[:] = [made]
    if known is not None:
        known.close()
    return made
