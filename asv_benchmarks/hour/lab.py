"""What steps use: arrays on a card, its clock, and its limits, measured in the same process.

Time is taken by events around several calls, so that the gaps in which Python submits a launch count only
where they are longer than the work. Calls alternate between inputs that together are larger than the
second-level cache.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import Any

import numpy as np
from trees import ROOT

from .limits import copy_seconds, fma_seconds
from .steps import Unavailable

# the least seconds between two events; seconds of one measurement
GROUP_SECONDS, MEASURE_SECONDS = 2e-3, 0.15
# groups of calls in a measurement
FEWEST_GROUPS, MOST_GROUPS = 5, 40
# numbers drawn on the host, which larger arrays repeat; not a power of two, so that rows differ
DRAWN = 1_000_003


@dataclass(frozen=True)
class Timing:
    """Seconds of a call: the median and the spread.

    Attributes
    ----------
    seconds : float
    spread : float
        From the tenth to the ninetieth percentile, as a share of the median.
    calls : int
        The number of timed calls.
    """

    seconds: float
    spread: float
    calls: int

    def row(self) -> dict[str, float]:
        """Return the fields of a row of results."""
        return {"ms": self.seconds * 1e3, "spread": round(self.spread, 4), "calls": self.calls}


class Lab:
    """A card, or the emulation of one where ``toy`` sizes are asked for and there is none.

    Parameters
    ----------
    toy : bool
        Use sizes that run in seconds on the emulation, to test the program.
    """

    def __init__(self, toy: bool = False) -> None:
        self.toy = toy
        # when the present step will be stopped, by the monotonic clock
        self.deadline = float("inf")

    def seconds_left(self) -> float:
        """Return how long the present step may go on."""
        return max(0.0, self.deadline - time.monotonic())

    @cached_property
    def cp(self) -> Any:
        """CuPy, or its emulation."""
        try:
            import cupy
        except ImportError as error:
            msg = f"CuPy cannot be imported: {error}"
            raise Unavailable(msg) from error
        if cupy.is_available():
            return cupy
        if not self.toy:
            msg = "CuPy finds no GPU"
            raise Unavailable(msg)
        sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
        from gpu import cupy_on_cpu

        sys.modules.update(cupy_on_cpu.modules())
        return cupy_on_cpu.cupy

    @property
    def emulated(self) -> bool:
        """Whether there is no card."""
        return self.cp.__version__.endswith("(emulated)")

    @cached_property
    def properties(self) -> dict[str, Any]:
        """What CUDA says of the card."""
        cuda = self.cp.cuda
        return cuda.runtime.getDeviceProperties(cuda.Device().id)

    def identity(self) -> dict[str, Any]:
        """Return what identifies a card and its software."""
        runtime, name = self.cp.cuda.runtime, self.properties["name"]
        return {
            "card": name.decode() if isinstance(name, bytes) else name,
            "memory": self.properties["totalGlobalMem"],
            "multiprocessors": self.properties["multiProcessorCount"],
            "cache": self.properties["l2CacheSize"],
            "cuda": runtime.runtimeGetVersion(),
            "driver": runtime.driverGetVersion(),
            "cupy": self.cp.__version__,
            "numpy": np.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "toy": self.toy,
        }

    def free_bytes(self) -> int:
        """Return the memory that is available."""
        pool = self.cp.get_default_memory_pool()
        return int(self.cp.cuda.Device().mem_info[0] + pool.free_bytes())

    def clear(self) -> None:
        """Free the memory that is no longer used."""
        if "cp" in self.__dict__:
            self.cp.get_default_memory_pool().free_all_blocks()
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
            sys.modules["torch"].cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for what has been submitted."""
        event = self.cp.cuda.Event()
        event.record()
        event.synchronize()

    def host_random(self, shape: Sequence[int], dtype: Any, seed: int = 0) -> np.ndarray:
        """Return random numbers on the host: normally distributed, or small integers."""
        rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
        count = prod(shape)
        drawn = min(count, DRAWN)
        if dtype.kind in "iu":
            values = rng.integers(1, 5, drawn)
        else:
            values = rng.standard_normal(drawn, np.float32 if dtype.char in "fF" else np.float64)
            if dtype.kind == "c":
                values = values + 1j * rng.permutation(values)
        return np.resize(values.astype(dtype), count).reshape(tuple(shape))

    def random(self, shape: Sequence[int], dtype: Any, seed: int = 0) -> Any:
        """Return the same numbers on the card."""
        count = prod(shape)
        drawn = self.cp.asarray(self.host_random((min(count, DRAWN),), dtype, seed))
        if count <= DRAWN:
            return drawn.reshape(tuple(shape))
        return self.cp.tile(drawn, ceil(count / DRAWN))[:count].reshape(tuple(shape))

    def sets(self, nbytes: float) -> int:
        """Return how many inputs, of ``nbytes`` each with the result, exceed the cache."""
        return int(min(16, max(2, ceil(2 * self.properties["l2CacheSize"] / nbytes))))

    def timed(
        self,
        call: Callable[[Any], object],
        inputs: Sequence[Any],
        seconds: float = MEASURE_SECONDS,
        keep: bool = True,
    ) -> Timing:
        """Return the time of a call on the inputs in turn, after calls that are not counted.

        Results are kept for one round of the inputs, so that their memory differs from call to call too,
        unless ``keep`` is false, for results so large that only one fits in the memory.
        """
        places = len(inputs)
        kept: list[object] = [None] * places
        turns = itertools.count()

        def group_seconds(group: int) -> float:
            cuda = self.cp.cuda
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            for _ in range(group):
                place = next(turns) % places
                result = call(inputs[place])
                kept[place] = result if keep else None
                del result
            end.record()
            end.synchronize()
            return cuda.get_elapsed_time(begin, end) / 1e3 / group

        group_seconds(2)
        once = group_seconds(1)
        group = max(1, min(500, ceil(GROUP_SECONDS / max(once, 1e-7))))
        groups = int(min(MOST_GROUPS, max(FEWEST_GROUPS, seconds / max(once * group, 1e-7))))
        if once > seconds:
            groups = 3
        if self.toy:
            group, groups = 1, 3
        times = sorted(group_seconds(group) for _ in range(groups))
        tenth = len(times) // 10
        median = statistics.median(times)
        return Timing(median, (times[-1 - tenth] - times[tenth]) / max(median, 1e-12), group * groups)

    def host_seconds(self, call: Callable[[], object], synchronize: bool, count: int = 200) -> float:
        """Return the host's time of a call: until it is submitted, or until its result is ready."""
        count = 3 if self.toy else count
        times = []
        call()
        self.synchronize()
        for _ in range(count):
            start = time.perf_counter()
            call()
            if synchronize:
                self.synchronize()
            times.append(time.perf_counter() - start)
        self.synchronize()
        return statistics.median(times)

    @cached_property
    def copy_rate(self) -> float:
        """Bytes read and written per second, by a large copy."""
        nbytes = 1 << (16 if self.toy else 29)
        return 2 * nbytes / copy_seconds(self, nbytes).seconds

    @cached_property
    def fma_rates(self) -> dict[int, float]:
        """Multiply-adds per second, by bytes of a real number."""
        rates = {}
        for dtype in ("float32", "float64"):
            timing, count = fma_seconds(self, dtype)
            rates[np.dtype(dtype).itemsize] = count / timing.seconds
        return rates

    def roofline(self, nbytes: float, fmas: float, itemsize: int) -> float:
        """Return the least seconds of a product that moves and multiplies this much."""
        return max(nbytes / self.copy_rate, fmas / self.fma_rates[itemsize])
