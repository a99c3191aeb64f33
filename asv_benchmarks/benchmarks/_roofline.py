"""The machine's limits, measured in the process that measures: copying, filling, matrix products.

A roofline is the larger of two times: moving the bytes at the speed of a copy of as many bytes (so that what
fits into a cache is compared with a copy in that cache), and all operations at the speed of a matrix product.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ._backend import Backend, Work, get

# beyond this a copy is no faster, and only takes longer to measure
LARGEST_COPY = 1 << 29


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# divides a number of elements into slices and does work on each
Split = Callable[[int, Callable[[slice], object]], None]


def _fastest(backend: Backend, call: Callable[[Split], object]) -> float:
    """Return the seconds of a call that splits its work, on one thread or on all, whichever is faster."""

    def whole(elements: int, work: Callable[[slice], object]) -> None:
        work(slice(0, elements))

    alone = backend.seconds(lambda: call(whole), 0.05)
    workers = _threads() if backend.name == "numpy" else 1
    if workers == 1:
        return alone
    with ThreadPoolExecutor(workers) as pool:

        def split(elements: int, work: Callable[[slice], object]) -> None:
            bounds = [elements * i // workers for i in range(workers + 1)]
            list(pool.map(work, map(slice, bounds, bounds[1:])))

        # threads cost more than they gain where there is little to do
        return min(alone, backend.seconds(lambda: call(split), 0.05))


def _copy_seconds(backend: Backend, elements: int) -> float:
    xp = backend.xp
    with backend.guarded():
        source, target = xp.ones(elements), xp.zeros(elements)
    return _fastest(
        backend, lambda split: split(elements, lambda part: xp.copyto(target[part], source[part]))
    )


@functools.cache
def copy_rate(name: str, nbytes: int) -> float:
    """Return bytes read and written in a second, by a copy that reads and writes ``nbytes`` in all."""
    elements = max(min(nbytes, LARGEST_COPY) // 16, 64)
    return 16 * elements / _copy_seconds(get(name), elements)


@functools.cache
def product_rate(name: str, dtype: str) -> float:
    """Return floating-point operations in a second, by a matrix product."""
    backend = get(name)
    side = 1024 if name == "numpy" else 4096
    a = backend.xp.ones((side, side), dtype)
    return 2 * side**3 / backend.seconds(lambda: a @ a, 0.1)


def excess(backend: Backend, work: Work, seconds: float, dtype: str) -> float:
    """Return our time over the roofline's."""
    moving = work.nbytes / copy_rate(backend.name, int(work.nbytes))
    return seconds / max(moving, work.flops / product_rate(backend.name, dtype))


def fill_seconds(backend: Backend, arrays: list[Any]) -> float:
    """Return the time of filling new arrays like these with a constant."""
    sizes = [(array.size, array.dtype) for array in arrays]

    def fill(split: Split) -> list[Any]:
        new = [backend.xp.empty(elements, dtype) for elements, dtype in sizes]
        for array in new:
            split(array.size, lambda part, array=array: array[part].fill(1))
        return new

    return _fastest(backend, fill)
