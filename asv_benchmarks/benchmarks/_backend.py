"""The backends of arrays, NumPy with SciPy and CuPy, as two values of one type; or why there is none.

Time on the GPU is taken by events. To read the clock is to record an event after the submitted work and to
wait for it, so that the next work starts on an idle device. The time between two events is that of the work,
and of submitting its first part from Python. asv's own timing takes the clock through the attribute
``timer``, which ``setup`` sets, so that ids and code are the same on both.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sparsetconv as stc

try:
    # asv shows it as n/a wherever it is raised, NotImplementedError only in ``setup``
    from asv_runner.benchmarks.mark import SkipNotImplemented as Skip
except ImportError:
    Skip = NotImplementedError

BACKENDS = ("numpy", "cupy")


@dataclass(frozen=True)
class Backend:
    """A package of arrays, the SciPy that goes with it, and how to measure there."""

    name: str
    xp: Any
    scipy: str
    clock: Callable[[], float]
    free_bytes: Callable[[], int | None]
    out_of_memory: tuple[type[BaseException], ...]

    def module(self, name: str) -> Any:
        """Return a module of SciPy, or of cupyx's."""
        try:
            return importlib.import_module(f"{self.scipy}.{name}")
        except ImportError as error:
            msg = f"{self.scipy}.{name} cannot be imported: {error}"
            raise Skip(msg) from error

    def array(self, array: Any) -> Any:
        """Return a NumPy array as an array of this backend."""
        return self.xp.asarray(array)

    @property
    def options(self) -> dict[str, str]:
        """The keyword arguments of functions that cannot tell the backend from an array."""
        return {} if self.name == "numpy" else {"device": self.name}

    def require(self, nbytes: float) -> None:
        """Skip the benchmark where this much memory is not available."""
        free = self.free_bytes()
        if free is not None and nbytes > free:
            msg = f"needs {nbytes / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
            raise Skip(msg)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Skip the benchmark where memory runs out after all."""
        try:
            yield
        except self.out_of_memory as error:
            msg = f"out of memory: {error}"
            raise Skip(msg) from error

    def seconds(self, function: Callable[[], object], budget: float = 0.3, warm: bool = False) -> float:
        """Return the median time of a call, of three or more, after one that is not counted unless warm."""
        if not warm:
            with self.guarded():
                function()
        times: list[float] = []
        end = time.perf_counter() + budget
        while len(times) < 3 or (len(times) < 50 and time.perf_counter() < end):
            start = self.clock()
            result = function()
            times.append(self.clock() - start)
            # freed outside of the timing
            del result
        return statistics.median(times)


class EventClock:
    """A clock of the device, which is read by an event that has happened."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._last = self._mark()
        self._seconds = 0.0

    def _mark(self) -> Any:
        event = self._cuda.Event()
        event.record()
        event.synchronize()
        return event

    def __call__(self) -> float:
        """Return seconds since the clock was made."""
        mark = self._mark()
        # milliseconds in single precision are exact enough only between neighbours, hence the sum
        self._seconds += self._cuda.get_elapsed_time(self._last, mark) / 1e3
        self._last = mark
        return self._seconds


def _free_on_host() -> int | None:
    """Return the bytes that are free: on the machine, and of what a container may use."""
    found = [left for left in (_free_on_machine(), _free_in_container()) if left is not None]
    return min(found, default=None)


def _free_on_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _free_in_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what a control group's limit leaves; page cache, which can be taken back, is not counted."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        cache = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(cache[1] if cache else 0)


def _numpy() -> Backend:
    import numpy as np

    return Backend("numpy", np, "scipy", time.perf_counter, _free_on_host, (MemoryError,))


def _cupy() -> Backend:
    try:
        import cupy
    except ImportError as error:
        msg = f"CuPy cannot be imported: {error}"
        raise Skip(msg) from error
    if not cupy.is_available():
        msg = "CuPy finds no GPU"
        raise Skip(msg)
    needs("to_device")
    pool = cupy.get_default_memory_pool()
    return Backend(
        "cupy",
        cupy,
        "cupyx.scipy",
        EventClock(cupy.cuda),
        lambda: cupy.cuda.Device().mem_info[0] + pool.free_bytes(),
        (MemoryError,),
    )


@functools.cache
def get(name: str) -> Backend:
    """Return a backend, or skip the benchmark with the reason why there is none."""
    return {"numpy": _numpy, "cupy": _cupy}[name]()


def needs(*names: str) -> None:
    """Skip the benchmark where this version of the package lacks a function."""
    for name in names:
        if not hasattr(stc, name):
            msg = f"this version has no sparsetconv.{name}"
            raise Skip(msg)


@dataclass(frozen=True)
class Work:
    """The least that a call has to do: bytes to move, operations to perform."""

    nbytes: float
    flops: float

    def ns_a_byte(self, seconds: float) -> float:
        """Return the nanoseconds per byte: one over the bandwidth in GB/s."""
        return seconds * 1e9 / self.nbytes

    def ns_an_operation(self, seconds: float) -> float:
        """Return the nanoseconds per operation: one over the rate in GFLOP/s."""
        return seconds * 1e9 / self.flops


def size(*arrays: Any) -> float:
    """Return the bytes of arrays, and of the arrays of sparse ones."""
    parts = [(a.data, a.indices, a.indptr) if hasattr(a, "indptr") else (a,) for a in arrays]
    return math.fsum(part.nbytes for some in parts for part in some)
