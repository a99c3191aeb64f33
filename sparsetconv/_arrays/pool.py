"""Threads that help a calling thread.

A `Pool` has work for them that is done in the interpreter, and lets a team call them to work elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _thread import LockType as Lock

T = TypeVar("T")

# seconds to wait, after the system has refused a thread, before asking for another one
PATIENCE = 1.0


def _find_core() -> Callable[[], int] | None:
    """Return a function that returns the core of the calling thread, or None if the system has none."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core: Callable[[], int] | None = getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    return core


_core = _find_core()


class _Work:
    """The queue of items of one call of `for_each`, and a ticket for each helper thread that may work on it.

    A helper may begin late, or never: the caller waits only for helpers that have begun, which are those that
    took a ticket. A ticket is a lock, which the helper releases when it has done its part. Taking an item or
    a ticket from a list is a single operation, so that no other lock is needed.
    """

    def __init__(self, function: Callable[[T], object], items: Iterable[T], helpers: int) -> None:
        self._function: Callable[[T], object] | None = function
        self._left = deque(items)
        self._given = [threading.Lock() for _ in range(helpers)]
        for ticket in self._given:
            ticket.acquire()
        self._tickets = list(self._given)
        self._error: BaseException | None = None

    def do(self) -> None:
        """Take items until none is left; if one fails, drop the others."""
        function = self._function
        try:
            while self._left and function is not None:
                try:
                    item = self._left.popleft()
                except IndexError:
                    # another thread has taken the last item
                    return
                function(item)
        except BaseException:
            self._left.clear()
            raise

    def help(self) -> None:
        """Take items alongside the caller, unless it has finished already."""
        try:
            ticket = self._tickets.pop()
        except IndexError:
            return
        try:
            self.do()
        except BaseException as error:
            # raise_error raises it in the caller's thread
            self._error = error
        ticket.release()

    def close(self) -> bool:
        """Keep other helpers from starting; return whether all of them had started."""
        kept = 0
        while self._tickets:
            # a helper may have taken the last one meanwhile
            with contextlib.suppress(IndexError):
                ticket = self._tickets.pop()
                self._given.remove(ticket)
                kept += 1
        return not kept

    def finish(self, timeout: float = -1) -> bool:
        """Wait for the helpers at work, after `close`, and return whether all have ended.

        The function is then dropped, with the arrays that it holds, since a thread may still refer to this
        object.
        """
        while self._given:
            if not self._given[-1].acquire(timeout=timeout):
                return False
            self._given.pop()
        self._function = None
        return True

    def raise_error(self) -> None:
        """Raise the exception of a helper, if there was one."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            # the error's traceback holds this frame: a reference cycle
            del error


# what waits for a helper that is to go where it has been invited to
_VISIT = _Work(lambda _: None, (), 0)


class Pool:
    """Threads that help the calling thread, on other cores than the caller's.

    After a pause a scheduler may wake helpers on the caller's own core, where they wait until the caller has
    done all the work, call after call for tens of milliseconds, while another core idles. Helpers are
    therefore kept off that core. There they may have to wait for other threads: BLAS threads, for example,
    spin on the other cores for a while after each step of a solver. So the caller never waits for a helper
    that has not begun, and a helper that takes long may move to any core.

    A helper sleeps on a lock of its own, which is in ``_idle`` meanwhile; whoever takes the lock from there
    wakes the helper by releasing it. A helper that is awake takes work from ``_waiting`` until none is left.
    Before it sleeps it may stay for a while where others have work for it; see `invite`.

    Attributes
    ----------
    threads : int
        The most helpers.
    team : object or None
        What has invited the helpers: its ``stay`` is where they stay, and its ``call`` gets them back.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._ids: list[int] = []
        # the core that the threads are kept off (None: no core), and the caller's thread id
        self._placed: tuple[int | None, int] | None = None
        self._lock = threading.Lock()
        # the time at which the system last refused a thread
        self._refused: float | None = None
        # work that waits for helpers, once for each helper, and the locks of helpers that sleep
        self._waiting: deque[_Work] = deque()
        self._idle: list[Lock] = []
        self._helpers: list[threading.Thread] = []
        self._closed = False
        self.team: Any = None

    def invite(self, team: object) -> None:
        """Let helpers stay with a team before they sleep, unless another one has invited them."""
        with self._lock:
            self.team = self.team or team

    def wake(self, helpers: int) -> None:
        """Wake some helpers, which then go where they have been invited to, until `let_sleep`."""
        self._offer(_VISIT, helpers)

    def let_sleep(self) -> None:
        """Let helpers sleep that have not gone where they have been invited to."""
        if self._waiting:
            self._forget(_VISIT)

    def spread(self) -> None:
        """Let the threads run on all of the caller's cores."""
        self._keep_off(None)

    def run(self, function: Callable[[T], object], items: Iterable[T], helpers: int) -> None:
        """Call a function on every item, in this thread and in ``helpers`` others."""
        work = _Work(function, items, helpers)
        start = time.perf_counter()
        try:
            if self.team is not None:
                self.team.call()
            self._offer(work, helpers)
            work.do()
        finally:
            if not work.close():
                self._forget(work)
            # helpers that still work after another half of the caller's time may move to any core
            if not work.finish((time.perf_counter() - start) / 2):
                self.spread()
                work.finish()
        work.raise_error()

    def serves(self, threads: int) -> bool:
        """Return whether the pool is large enough for ``threads`` helpers and need not be replaced.

        A pool whose first thread the system refused is kept, without helpers, for ``PATIENCE`` seconds.
        """
        dead = self._refused is not None and not self._helpers and not self._patient()
        return self.threads >= threads and not dead

    def _patient(self) -> bool:
        """Return whether the system has refused a thread less than ``PATIENCE`` seconds ago."""
        return self._refused is not None and time.monotonic() < self._refused + PATIENCE

    def _offer(self, work: _Work, helpers: int) -> None:
        """Wake helpers, or start new ones, for some work; busy helpers take it up later."""
        self._keep_off(_core() if _core is not None else None)
        waiting, idle = self._waiting, self._idle
        for _ in range(helpers):
            waiting.append(work)
            try:
                idle.pop().release()
            except IndexError:
                if len(self._helpers) < self.threads:
                    self._start()

    def _start(self) -> None:
        """Start a helper, if the system has one to give."""
        with self._lock:
            if len(self._helpers) >= self.threads or self._closed or self._patient():
                return
            # a daemon, since it sleeps when the interpreter ends, and products at the end may still wake it
            name = f"sparsetconv_{len(self._helpers)}"
            helper = threading.Thread(target=self._serve, name=name, daemon=True)
            try:
                helper.start()
            except RuntimeError:
                # the system refused a thread, or the interpreter is shutting down
                self._refused = time.monotonic()
            else:
                self._helpers.append(helper)

    def _serve(self) -> None:
        """Help with all waiting work, the oldest first, and sleep until there is more."""
        with self._lock:
            self._ids.append(threading.get_native_id())
            self._placed = None
        own = threading.Lock()
        own.acquire()
        while True:
            self._help()
            if self.team is not None:
                self.team.stay()
            self._idle.append(own)
            # whoever gave work, or closed the pool, while this helper was not yet in the list did not see it
            if self._waiting or self._closed:
                with contextlib.suppress(ValueError):
                    self._idle.remove(own)
                    if self._closed:
                        return
                    continue
            own.acquire()

    def _help(self) -> None:
        while True:
            try:
                work = self._waiting.popleft()
            except IndexError:
                return
            if work is _VISIT:
                return
            work.help()

    def _forget(self, work: _Work) -> None:
        """Remove some work from the waiting work."""
        with contextlib.suppress(ValueError):
            while True:
                self._waiting.remove(work)

    def close(self) -> None:
        """Let the threads end when they have finished their work; callers then work without helpers."""
        with self._lock:
            self._closed = True
        if self.team is not None:
            self.team.call()
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().release()

    def end(self, seconds: float) -> None:
        """Close the pool, and wait for each of its threads for some seconds at most."""
        self.close()
        for helper in self._helpers:
            helper.join(seconds)

    def _keep_off(self, core: int | None) -> None:
        """Let the threads run on all of the caller's cores but ``core``; on all if it is None."""
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
