"""Method ``"direct"`` on a GPU: a stencil, with one launch for a product in either direction.

The CUDA kernels are ``source/tiles.cu``, which uses tiles in shared memory, and ``source/gather.cu``, for
convolutions whose tile does not fit there. In the transposed direction, with a padding mode other than zeros,
``source/unpad.cu`` is then launched once for each padded axis. ``stencil`` and ``tiles`` compute the
arguments of a launch, once for each plan.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays import cuda
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.record import filled
from sparsetconv._arrays.results import result_array
from sparsetconv._arrays.streams import Kept
from sparsetconv._methods.base import Method
from sparsetconv._methods.cuda.stencil import (
    CHANNELS,
    MANY_THREADS,
    SAMPLES,
    SUM_BYTES,
    Problem,
    StencilAxis,
    shared_constants,
    without_idle_steps,
)
from sparsetconv._methods.cuda.tiles import Tile, default_tile, tile
from sparsetconv._methods.cuda.tuning import known_shape, problem_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.record import Kind
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work

# threads of a block of ``gather`` and ``unpad``; the numbers of results that a thread of ``gather`` may
# compute, of which the largest that keeps the GPU busy is taken
THREADS, RESULTS = 128, (8, 4, 2, 1)
UNROLLED = 8


class Launch(NamedTuple):
    """A CUDA kernel, its compile-time constants, and its launch arguments other than arrays.

    Attributes
    ----------
    name : str
    constants : dict
        Compile-time constants.
    blocks, threads : int
        Number of blocks, and threads per block.
    numbers : tuple of array
        Structs that are passed by value.
    """

    name: str
    constants: dict[str, str | Kind]
    blocks: int
    threads: int
    numbers: tuple[Array, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the source files of the kernel."""
        shared = ("places.cuh",) if self.name == "unpad" else ("places.cuh", "stencil.cuh")
        return *shared, f"{self.name}.cu"


class _Ready(NamedTuple):
    """A compiled CUDA kernel with its launch arguments other than arrays."""

    kernel: Any
    blocks: int
    threads: tuple[int]
    numbers: tuple[Array, ...]

    def __call__(self, *arrays: Array) -> None:
        """Launch the kernel on the current stream."""
        cuda.launch(self.kernel, self.blocks, self.threads, (*self.numbers, *arrays))


class _Plan(NamedTuple):
    """The launches and the result's shape for one direction, dtype and batch size."""

    product: _Ready
    unpadding: tuple[_Ready, ...]
    shape: tuple[int, ...]
    bands: int


class CudaDirectMethod(Method):
    """A stencil in which one thread sums each result: without padded copies, inserted zeros or atomics.

    Results are reproducible bit by bit. The first product with a kernel of a new shape compiles (well under a
    second), and CuPy caches the compiled code on disk. Integers wrap around as in NumPy.
    """

    name = "direct"

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        # memory traffic and arithmetic overlap
        return rates.call + max(rates.byte * work.moved, rates.multiply * work.multiplies(rates.word))

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._kept: Kept[tuple[Array, Array]] = Kept(backend)
        self._plans: dict[tuple[int, bool, np.dtype[Any]], _Plan] = {}

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """See `Method.forward`."""
        return self._computed(x, False, out)

    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """See `Method.transpose`."""
        return self._computed(y, True, out)

    def _contiguous_weights(self) -> tuple[Array, Array]:
        """Return contiguous weights for each direction, with the result's channels before the source's."""
        contiguous = self.backend.xp.ascontiguousarray
        return contiguous(self.weights), contiguous(self.weights.swapaxes(1, 2))

    def _computed(self, x: Array, transposed: bool, out: Array | None) -> Array:
        dtype = np.result_type(x.dtype, self.weights.dtype)
        key = len(x), transposed, dtype
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans.setdefault(key, self._plan(*key))
        xp = self.backend.xp
        out = result_array(out, plan.shape, dtype, xp)
        bands = out  # if there are no bands: a valid pointer that the kernels do not use
        if plan.bands:
            self.backend.require("what falls on the padding", plan.bands * dtype.itemsize, "padding= sets it")
            bands = xp.empty(plan.bands, dtype)
        if plan.product.blocks:
            weights = self._kept.get("weights", self._contiguous_weights)[transposed]
            plan.product(cuda.contiguous(xp, x, dtype), weights, out, bands)
            for unpad in plan.unpadding:
                unpad(out, bands)
        return out

    def problem(self, batch: int, transposed: bool, dtype: np.dtype[Any]) -> Problem:
        """Return one direction in the form that the CUDA kernels take."""
        sides = self.large_shape, self.small_shape
        (groups, results, *_), (_, sources, *_) = sides if transposed else sides[::-1]
        axes = tuple(StencilAxis(without_idle_steps(axis), transposed) for axis in self.geometry.axes)
        factor, total = cuda.sum_dtype(self._factor(dtype)), cuda.sum_dtype(dtype)
        return Problem(axes, batch, groups, sources, results, dtype.itemsize, factor.itemsize, total.itemsize)

    def _factor(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype in which weights are multiplied: the result's, but real for real weights."""
        weights = self.weights.dtype
        return dtype if weights.kind == "c" or dtype.kind != "c" else np.zeros(0, dtype).real.dtype

    def types(self, dtype: np.dtype[Any]) -> dict[str, str | Kind]:
        """Return the types among the compile-time constants, for results of a dtype."""
        return {
            "VALUE": cuda.type_name(dtype),
            "WEIGHT": cuda.type_name(self.weights.dtype),
            "FACTOR": cuda.sum_name(self._factor(dtype)),
            "SUM": cuda.sum_name(dtype),
        }

    def launches(self, problem: Problem, dtype: np.dtype[Any]) -> list[Launch]:
        """Return the launches of a product: the stencil, then `unpad` for each axis that needs it."""
        constants = problem.constants() | self.types(dtype)
        own = self._tile(problem, dtype)
        first = _gather(problem, constants) if own is None else _tiles(own, constants)
        return [first, *_unpadding(problem, constants)]

    def _plan(self, batch: int, transposed: bool, dtype: np.dtype[Any]) -> _Plan:
        """Compile the kernels of a product, and compute their launch arguments."""
        problem = self.problem(batch, transposed, dtype)
        made = [
            _Ready(
                cuda.kernel(self.backend, launch.sources, tuple(launch.constants.items()), launch.name),
                launch.blocks,
                (launch.threads,),
                launch.numbers,
            )
            for launch in self.launches(problem, dtype)
        ]
        shape = batch, problem.groups, problem.results, *(each.own for each in problem.axes)
        bands = batch * problem.groups * problem.results * problem.bands[-1]
        return _Plan(made[0], tuple(made[1:]), shape, bands)

    def _tile(self, problem: Problem, dtype: np.dtype[Any]) -> Tile | None:
        """Return the tile that was measured to be the fastest, or the default tile if none was measured."""
        known = known_shape(problem_class(self.geometry, dtype, problem.transposed))
        measured = None if known is None else tile(problem, known)
        return default_tile(problem) if measured is None else measured


def _tiles(own: Tile, constants: dict[str, str | Kind]) -> Launch:
    """Return the launch of ``tiles.cu``."""
    numbers = cuda.by_value(own.problem.record(own.shape.channels, own.tiles))
    return Launch("tiles", constants | own.constants(), own.blocks, prod(own.threads), (numbers,))


def _gather(problem: Problem, constants: dict[str, str | Kind]) -> Launch:
    """Return the launch of ``gather.cu``."""
    own, threads, channels = gather_constants(problem)
    numbers = cuda.by_value(problem.record(channels, [1] * len(problem.axes)))
    return Launch("gather", constants | own, -(-threads // THREADS), THREADS, (numbers,))


def _unpadding(problem: Problem, constants: dict[str, str | Kind]) -> Iterator[Launch]:
    """Yield a launch of ``unpad.cu`` for each axis whose padding holds copies of samples."""
    numbers = cuda.by_value(problem.record(1, [1] * len(problem.axes)))
    lines = problem.batch * problem.groups * problem.results
    for a, each in enumerate(problem.axes):
        if each.result == each.own:
            continue
        before = prod(other.own for other in problem.axes[:a])
        behind = prod(other.result for other in problem.axes[a + 1 :])
        threads = lines * before * each.outside.total * behind
        # no constants that depend on the convolution kernel's shape, so that few variants are compiled
        own = shared_constants(len(problem.axes)) | {name: constants[name] for name in ("VALUE", "SUM")}
        own |= {"UNPADDED": str(a), "ID": number_type(threads, each.result)}
        samples = cuda.by_value(filled(SAMPLES, **each.outside._asdict()))
        yield Launch("unpad", own, -(-threads // THREADS), THREADS, (numbers, samples))


def gather_constants(problem: Problem) -> tuple[dict[str, str | Kind], int, int]:
    """Return the compile-time constants of ``gather.cu``, its total threads, and the channels per thread."""
    blocked = problem.blocked
    sizes = [each.result for each in problem.axes]
    channels = min(CHANNELS, problem.results)
    rows = problem.batch * problem.groups * -(-problem.results // channels)
    most = max(1, SUM_BYTES // (problem.sum_bytes * channels))
    # if the stride exceeds the size of the array, most phases have no result
    together = min(most, rows * prod(sizes) // MANY_THREADS, sizes[blocked] // problem.phases(blocked))
    results = next(n for n in RESULTS if n <= max(1, together))
    spread = THREADS if len(sizes) == 1 and results > 1 else 1
    span = spread * problem.phases(blocked) if results > 1 else 1
    lengths = list(sizes)
    lengths[blocked] = -(-lengths[blocked] // (results * span)) * span
    threads = rows * prod(lengths)
    constants: dict[str, str | Kind] = {
        "BLOCKED": str(blocked),
        "RESULTS": str(results),
        "CHANNELS": str(channels),
        "SPREAD": str(spread),
        "UNROLLED": str(UNROLLED),
        "ID": number_type(threads, sizes[blocked] + results * span),
    }
    return constants, threads, channels


def number_type(threads: int, length: int) -> str:
    """Return the type of thread numbers, which also holds the blocked axis' length, rounded up."""
    return "unsigned int" if max(threads + THREADS, length) < 2**32 else "unsigned long long"
