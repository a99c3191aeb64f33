"""The problems that `sparsetconv.tune` times, and how it times them.

Each rate of the CPU counts in some of them, in both directions: its share of their time is from a few
hundredths (``weight_byte``) to nearly all. A product takes from two microseconds to a few milliseconds.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._assembly.csr import MatrixLayout
from sparsetconv._assembly.matrices import oriented_csr
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._methods.base import Method
from sparsetconv._methods.cpu.direct import DirectMethod
from sparsetconv._methods.cpu.fft import FFTMethod, FFTStrategy, as_a_whole, in_tiles
from sparsetconv._methods.cpu.sparse import SparseMethod
from sparsetconv._methods.gemm import GemmMethod
from sparsetconv._methods.merge import merged
from sparsetconv._methods.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._methods.work import Rates

# rounds in which all problems are timed one after the other, so that a disturbance spoils few times of each;
# seconds after which no other round begins
ROUNDS, LONGEST = 7, 10.0
# a problem is repeated in a round until it has taken so many seconds, but at least so often
REPEATED, LEAST = 3e-3, 3


class Tiles(FFTMethod):
    """Method ``"fft"`` with tiles, whatever is estimated."""

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        return in_tiles(work, rates).seconds

    def strategy(self, transposed: bool, dtype: np.dtype[Any], items: int = 1) -> FFTStrategy:
        """See `FFTMethod.strategy`."""
        return in_tiles(Work.of(self.geometry, transposed, dtype), self._rates, items)


class Whole(FFTMethod):
    """Method ``"fft"`` with transforms of the whole signal, whatever is estimated."""

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        return as_a_whole(work, rates).seconds

    def strategy(self, transposed: bool, dtype: np.dtype[Any], items: int = 1) -> FFTStrategy:
        """See `FFTMethod.strategy`."""
        return as_a_whole(Work.of(self.geometry, transposed, dtype), self._rates, items)


class Assembly(SparseMethod):
    """Assembles the matrix for every product, and does not multiply."""

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        return rates.call + rates.assembly_byte * work.geometry.nbytes(work.dtype)

    def vector(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """Return the values of the matrix of a direction."""
        del x, out
        layout = MatrixLayout.of(self.geometry, transposed)
        data: Array = oriented_csr(layout, self.weights, transposed, (0, layout.shape[0]), NUMPY).data
        return data


class Probe(NamedTuple):
    """A problem that is timed.

    Attributes
    ----------
    method : type of Method
    kernel_shape, input_shape : tuple of int
    dtype : str
    stride : int
    """

    method: type[Method]
    kernel_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    dtype: str
    stride: int = 1

    @property
    def geometry(self) -> ConvGeometry:
        """The geometry, padded to the signal's size."""
        return ConvGeometry(self.input_shape, self.kernel_shape, stride=self.stride, padding="same")

    def works(self) -> tuple[Work, Work]:
        """Return what is counted of both directions."""
        geometry, dtype = merged(self.geometry), np.dtype(self.dtype)
        return Work.of(geometry, False, dtype), Work.of(geometry, True, dtype)

    def calls(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return functions that compute a product in each direction; they have been called once."""
        rng, geometry = np.random.default_rng(0), self.geometry
        c_in, c_out = geometry.channels
        taps = self.kernel_shape[len(self.kernel_shape) - len(geometry.axes) :]
        weights = rng.standard_normal((geometry.groups, c_out, c_in, *taps)).astype(self.dtype)
        method = self.method(geometry, weights)
        rows, columns = geometry.matrix_shape
        x, y = (rng.standard_normal(size).astype(self.dtype) for size in (columns, rows))
        calls = partial(method.vector, x, False), partial(method.vector, y, True)
        for call in calls:
            call()
        return calls


# kernel and signal of each problem, in single and in double precision
BOTH: tuple[tuple[type[Method], tuple[int, ...], tuple[int, ...]], ...] = (
    # the stencil: memory, multiplications, narrow lines, channels, calls
    (DirectMethod, (1, 1), (600, 600)),
    (DirectMethod, (3, 3), (300, 300)),
    (DirectMethod, (3, 3), (900, 900)),
    (DirectMethod, (9, 9), (400, 400)),
    (DirectMethod, (5, 5), (4000, 12)),
    (DirectMethod, (3, 3, 3), (60, 60, 60)),
    (DirectMethod, (31,), (200_000,)),
    (DirectMethod, (16, 16, 3, 3), (16, 56, 56)),
    (DirectMethod, (64, 64, 3, 3), (64, 28, 28)),
    (DirectMethod, (128, 96, 3, 3), (96, 14, 14)),
    (DirectMethod, (3, 3), (40, 40)),
    (DirectMethod, (5, 5), (64, 64)),
    (DirectMethod, (9,), (1000,)),
    # BLAS: multiplications, panels, copies
    (GemmMethod, (64, 64, 3, 3), (64, 28, 28)),
    (GemmMethod, (256, 128, 3, 3), (128, 14, 14)),
    (GemmMethod, (128, 256, 1, 1), (256, 28, 28)),
    (GemmMethod, (8, 8, 5, 5), (8, 64, 64)),
    (GemmMethod, (4, 4, 3, 3), (4, 16, 16)),
    (GemmMethod, (3, 3), (200, 200)),
    # transforms of tiles
    (Tiles, (31, 31), (500, 500)),
    (Tiles, (15, 15), (250, 250)),
    (Tiles, (501,), (200_000,)),
    (Tiles, (9, 9, 9), (48, 48, 48)),
    (Tiles, (64,), (5000,)),
    (Tiles, (17, 17), (64, 64)),
    # transforms of the whole signal
    (Whole, (128, 128), (250, 250)),
    (Whole, (20_000,), (50_000,)),
    (Whole, (20, 20), (40, 40)),
    (Whole, (24, 24, 24), (40, 40, 40)),
    (Whole, (4, 4, 40, 40), (4, 60, 60)),
    (Whole, (300, 300), (500, 500)),
    # matrices: calls, entries, bytes
    (SparseMethod, (3, 3), (12, 12)),
    (SparseMethod, (3, 3), (60, 60)),
    (SparseMethod, (5, 5), (120, 120)),
    (SparseMethod, (3, 3), (500, 500)),
    (SparseMethod, (16, 16, 3, 3), (16, 16, 16)),
    (SparseMethod, (9, 9), (100, 100)),
    (Assembly, (3, 3), (400, 400)),
    (Assembly, (7, 7), (200, 200)),
)
PROBES: tuple[Probe, ...] = (
    *(Probe(*each, dtype) for each in BOTH for dtype in ("float32", "float64")),
    Probe(DirectMethod, (7, 7), (500, 500), "float32", 2),
    Probe(GemmMethod, (32, 32, 3, 3), (32, 56, 56), "float32", 2),
    Probe(DirectMethod, (5, 5), (200, 200), "complex128"),
    Probe(Tiles, (21, 21), (300, 300), "complex128"),
    Probe(Whole, (100, 100), (200, 200), "complex128"),
    Probe(SparseMethod, (3, 3), (100, 100), "complex128"),
)


def measure(
    probes: Sequence[Probe],
    progress: Callable[[range], Iterable[int]] = iter,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, float]]:
    """Return the seconds of each problem, forward and transposed: the median over rounds of the least time.

    Parameters
    ----------
    probes : sequence of Probe
    progress : callable
        Takes the range of rounds and returns an iterable of it.
    clock : callable
    """
    calls = [probe.calls() for probe in probes]
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in probes]
    end = clock() + LONGEST
    for _ in progress(range(ROUNDS)):
        if times[0][0] and clock() >= end:
            break
        for both, own in zip(calls, times, strict=True):
            for call, least in zip(both, own, strict=True):
                least.append(_least_seconds(call, clock))
    return [(median(forward), median(transposed)) for forward, transposed in times]


def _least_seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the least time of several calls."""
    times: list[float] = []
    while len(times) < LEAST or sum(times) < REPEATED:
        begin = clock()
        call()
        times.append(clock() - begin)
    return min(times)
