"""Method ``"direct"`` on a GPU: a stencil, one launch for a product in either direction.

The CUDA kernels are ``source/tiles.cu``, on tiles in shared memory, and ``source/gather.cu`` for convolution
kernels that reach too far for a tile. Transposed, with padding that is not zeros, a launch of
``source/unpad.cu`` for each padded axis follows. ``stencil`` and ``tiles`` work out the numbers of a launch,
once for each plan.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays import cuda
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.record import filled
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

# threads of a block of ``gather`` and ``unpad``;
# results of a thread of ``gather``: the most of these that keep a GPU busy
THREADS, RESULTS = 128, (8, 4, 2, 1)
UNROLLED = 8


class Launch(NamedTuple):
    """A kernel, how it is compiled, and what it is launched with beside arrays.

    Attributes
    ----------
    name : str
    constants : dict
        Of the compilation.
    blocks, threads : int
        Blocks, and threads of a block.
    numbers : tuple of array
        Structures that are passed by value.
    """

    name: str
    constants: dict[str, str | Kind]
    blocks: int
    threads: int
    numbers: tuple[Array, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The texts that hold the kernel."""
        shared = ("places.cuh",) if self.name == "unpad" else ("places.cuh", "stencil.cuh")
        return *shared, f"{self.name}.cu"


class _Ready(NamedTuple):
    """A compiled kernel with all that it is launched with beside arrays."""

    kernel: Any
    blocks: int
    threads: tuple[int]
    numbers: tuple[Array, ...]

    def __call__(self, *arrays: Array) -> None:
        """Launch it on the current stream."""
        cuda.launch(self.kernel, self.blocks, self.threads, (*self.numbers, *arrays))


class _Plan(NamedTuple):
    """What the products of one direction, dtype and size of batch have in common."""

    product: _Ready
    unpadding: tuple[_Ready, ...]
    shape: tuple[int, ...]
    bands: int


class CudaDirectMethod(Method):
    """Every result is a sum of its own: nothing is padded, inserted or added by two threads.

    The same bits come out of every run. The first product of a kernel shape compiles, well under a second,
    and CuPy keeps the result on disk. Integers wrap around as NumPy's do.
    """

    name = "direct"

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        # what is longest hides the rest
        return rates.call + max(rates.byte * work.moved, rates.multiply * work.multiplies(rates.word))

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._kept: Kept[tuple[Array, Array]] = Kept(backend)
        self._plans: dict[tuple[int, bool, np.dtype[Any]], _Plan] = {}

    def forward(self, x: Array) -> Array:
        """See `Method.forward`."""
        return self._computed(x, False)

    def transpose(self, y: Array) -> Array:
        """See `Method.transpose`."""
        return self._computed(y, True)

    def _made_weights(self) -> tuple[Array, Array]:
        """Return the weights by results and sources, forward and transposed."""
        contiguous = self.backend.xp.ascontiguousarray
        return contiguous(self.weights), contiguous(self.weights.swapaxes(1, 2))

    def _computed(self, x: Array, transposed: bool) -> Array:
        dtype = np.result_type(x.dtype, self.weights.dtype)
        key = len(x), transposed, dtype
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans.setdefault(key, self._plan(*key))
        xp = self.backend.xp
        out: Array = xp.empty(plan.shape, dtype)
        bands = out  # a pointer that no kernel follows where there are none
        if plan.bands:
            self.backend.require("what falls on the padding", plan.bands * dtype.itemsize, "padding= sets it")
            bands = xp.empty(plan.bands, dtype)
        if plan.product.blocks:
            weights = self._kept.get("weights", self._made_weights)[transposed]
            plan.product(cuda.contiguous(xp, x, dtype), weights, out, bands)
            for unpad in plan.unpadding:
                unpad(out, bands)
        return out

    def problem(self, batch: int, transposed: bool, dtype: np.dtype[Any]) -> Problem:
        """Return one direction as the kernels know it."""
        sides = self.large_shape, self.small_shape
        (groups, results, *_), (_, sources, *_) = sides if transposed else sides[::-1]
        axes = tuple(StencilAxis(without_idle_steps(axis), transposed) for axis in self.geometry.axes)
        factor, total = cuda.sum_dtype(self._factor(dtype)), cuda.sum_dtype(dtype)
        return Problem(axes, batch, groups, sources, results, dtype.itemsize, factor.itemsize, total.itemsize)

    def _factor(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Weights are multiplied in the precision of the result, real ones as real numbers."""
        weights = self.weights.dtype
        return dtype if weights.kind == "c" or dtype.kind != "c" else np.zeros(0, dtype).real.dtype

    def types(self, dtype: np.dtype[Any]) -> dict[str, str | Kind]:
        """Return the types that a compilation knows, for results of a dtype."""
        return {
            "VALUE": cuda.type_name(dtype),
            "WEIGHT": cuda.type_name(self.weights.dtype),
            "FACTOR": cuda.sum_name(self._factor(dtype)),
            "SUM": cuda.sum_name(dtype),
        }

    def launches(self, problem: Problem, dtype: np.dtype[Any]) -> list[Launch]:
        """Return the launches of a product: the stencil, and one for each axis whose padding is added."""
        constants = problem.constants() | self.types(dtype)
        own = self._tile(problem, dtype)
        first = _gather(problem, constants) if own is None else _tiles(own, constants)
        return [first, *_unpadding(problem, constants)]

    def _plan(self, batch: int, transposed: bool, dtype: np.dtype[Any]) -> _Plan:
        """Settle what a thread makes, and how many there are."""
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
        """Return the tile that was measured to be the fastest, or else the planner's."""
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
    """Yield a launch of ``unpad.cu`` for each axis with copies of samples in its padding."""
    numbers = cuda.by_value(problem.record(1, [1] * len(problem.axes)))
    lines = problem.batch * problem.groups * problem.results
    for a, each in enumerate(problem.axes):
        if each.result == each.own:
            continue
        before = prod(other.own for other in problem.axes[:a])
        behind = prod(other.result for other in problem.axes[a + 1 :])
        threads = lines * before * each.outside.total * behind
        # nothing of the kernel's shape, so that one compilation serves many
        own = shared_constants(len(problem.axes)) | {name: constants[name] for name in ("VALUE", "SUM")}
        own |= {"UNPADDED": str(a), "ID": number_type(threads, each.result)}
        samples = cuda.by_value(filled(SAMPLES, **each.outside._asdict()))
        yield Launch("unpad", own, -(-threads // THREADS), THREADS, (numbers, samples))


def gather_constants(problem: Problem) -> tuple[dict[str, str | Kind], int, int]:
    """Return what ``gather.cu`` is compiled with, its threads, and the channels of a thread."""
    blocked = problem.blocked
    sizes = [each.result for each in problem.axes]
    channels = min(CHANNELS, problem.results)
    rows = problem.batch * problem.groups * -(-problem.results // channels)
    most = max(1, SUM_BYTES // (problem.sum_bytes * channels))
    # with a stride longer than the array most phases have no result
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
    """Return the type that numbers threads, and holds the blocked axis' length, rounded up."""
    return "unsigned int" if max(threads + THREADS, length) < 2**32 else "unsigned long long"
