"""The tile of results that a thread block of the CUDA stencil computes, and its choice.

``source/tiles.cu`` explains the tiles, and asserts that it needs the same bytes of shared memory. If
``tuning`` has no measured shape for a class of problems, the shape is chosen such that sums fit in registers
and the tile in shared memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from sparsetconv._arrays import cuda
from sparsetconv._methods.cuda.stencil import CHANNELS, MANY_THREADS, SUM_BYTES, Problem
from sparsetconv._methods.cuda.tuning import LaunchShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.record import Kind

# bytes of shared memory that a block may use without opting in, on every card since compute capability 7.5
SHARED_BYTES = 48 << 10
MOST_THREADS = 1024
# blocks of 256 threads that should be resident on a multiprocessor, by the bytes of a sum, so that one block
# loads while others compute; this leaves 80 registers per thread for three blocks, 128 for two
BLOCKS = {4: 3, 8: 3, 16: 2}
# the most bytes, and the most channels, of the source that are loaded at once
STAGE_BYTES, SOURCES = 12 << 10, 8


@dataclass(frozen=True)
class Tile:
    """The tile of a thread block and its shared memory, in agreement with ``source/tiles.cu``.

    Attributes
    ----------
    problem : Problem
    shape : LaunchShape
    threads : tuple of int
        Threads along each axis.
    sources : int
        Channels of the source that are loaded at once.
    buffers : int
        2 with double buffering (the next channels are loaded during the computation), else 1.
    """

    problem: Problem
    shape: LaunchShape
    threads: tuple[int, ...]
    sources: int
    buffers: int

    @property
    def rows(self) -> tuple[int, ...]:
        """Results along each axis."""
        last, blocked = len(self.threads) - 1, self.problem.blocked
        return tuple(
            n * (self.shape.results if a == blocked else 1) * (self.shape.columns if a == last else 1)
            for a, n in enumerate(self.threads)
        )

    @property
    def extents(self) -> tuple[int, ...]:
        """Samples of the source along each axis, with the halo."""
        found = []
        for rows, each in zip(self.rows, self.problem.axes, strict=True):
            stride, halo = each.axis.stride, each.axis.extent - 1
            if each.transposed:
                found.append((rows + stride - 2) // stride + 1 + halo // stride)
            else:
                found.append((rows - 1) * stride + halo + 1)
        return tuple(found)

    @property
    def size(self) -> int:
        """Elements of one channel; with a stride, the last axis is split into segments of equal size."""
        *outer, last = self.extents
        stride = 1 if self.problem.transposed else self.problem.axes[-1].axis.stride
        return prod(outer) * -(-last // stride) * stride

    @property
    def weight_bytes(self) -> int:
        """Bytes of shared memory for the weights."""
        problem = self.problem
        each = problem.kernel_size * self.shape.channels * problem.factor_bytes
        return _rounded(self.buffers * self.sources * each)

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        loaded = self.buffers * self.sources * self.size
        tile = _rounded(max(loaded, prod(self.rows)) * self.problem.value_bytes)
        place = 4 if self.problem.place_type == "int" else 8
        return tile + self.weight_bytes + _rounded(sum(self.extents) * place)

    @property
    def tiles(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return tuple(-(-each.result // n) for each, n in zip(self.problem.axes, self.rows, strict=True))

    @property
    def blocks(self) -> int:
        """Number of thread blocks of the launch."""
        problem = self.problem
        return prod(self.tiles) * -(-problem.results // self.shape.channels) * problem.groups * problem.batch

    @property
    def is_valid(self) -> bool:
        """Whether shared memory and threads per block are within the limits."""
        return self.shared <= SHARED_BYTES and prod(self.threads) <= MOST_THREADS

    def constants(self) -> dict[str, str | Kind]:
        """Return the compile-time constants that depend on the tile."""
        return {
            "BLOCKED": str(self.problem.blocked),
            "RESULTS": str(self.shape.results),
            "COLUMNS": str(self.shape.columns),
            "CHANNELS": str(self.shape.channels),
            "SOURCES": str(self.sources),
            "BUFFERS": str(self.buffers),
            "THREADS": cuda.braced(self.threads),
            "UNROLLED": str(self.shape.unrolled),
            "SHARED": str(self.shared),
            "LOADS": str(self.shape.loads),
            "BLOCKS": str(max(1, 256 * self.shape.blocks // prod(self.threads))),
        }


def _rounded(nbytes: int) -> int:
    return -(-nbytes // 16) * 16


def tile(problem: Problem, shape: LaunchShape) -> Tile | None:
    """Return the tile of a shape, or None if it does not fit."""
    if len(problem.axes) == 1:
        # the last axis is the blocked axis: a thread's results are already neighbours along it
        shape = replace(shape, columns=1)
    threads = _threads(problem, shape)
    if threads is None or problem.number_type != "int":
        return None
    one = Tile(problem, shape, threads, 1, 1)
    if not one.is_valid:
        return None
    each = max(one.size * problem.value_bytes, one.weight_bytes)
    most = min(SOURCES, problem.sources, max(1, STAGE_BYTES // each))
    stages = [
        replace(one, sources=n, buffers=buffers)
        for n in range(most, 0, -1)
        for buffers in ((2, 1) if n < problem.sources else (1,))
    ]
    return next(t for t in stages if t.is_valid)


def _threads(problem: Problem, shape: LaunchShape) -> tuple[int, ...] | None:
    """Return the threads of a block along each axis, or None if the strides need more than a block has."""
    last, blocked = len(problem.axes) - 1, problem.blocked
    found = [1] * (last + 1)
    if shape.results > 1 and blocked != last:
        found[blocked] = problem.phases(blocked)
    lanes = max(1, shape.threads // problem.phases(0)) if not last else shape.lanes
    found[last] = lanes * problem.phases(last)
    if prod(found) > MOST_THREADS:
        return None
    # extend the tile along the axis where it is shortest, as long as there are results
    each = [shape.results if a == blocked else 1 for a in range(last)]
    phases = list(found)
    while True:
        open_axes = [
            a
            for a in range(last)
            if found[a] * each[a] < problem.axes[a].result
            and prod(found) // found[a] * (found[a] + phases[a]) <= max(shape.threads, prod(phases))
        ]
        if not open_axes:
            return tuple(found)
        a = min(open_axes, key=lambda a: found[a] * each[a])
        found[a] += phases[a]


def default_tile(problem: Problem) -> Tile | None:
    """Return the tile for a problem without measurements, or None if no tile fits."""
    return next(_fitting(problem, _default_shape(problem)), None)


def candidates(problem: Problem) -> list[LaunchShape]:
    """Return the shapes to measure, that of `default_tile` first; an empty list if no tile fits."""
    own = default_tile(problem)
    if own is None:
        return []
    along = (1, 3, 5, 7, 9) if len(problem.axes) == 1 else (1, 2, 4, 8)
    found = [own.shape]
    across = (1,) if len(problem.axes) == 1 else (1, 2, 3, 4)
    bounds = (8, 1), (8, 2), (8, 3), (4, 3)
    for results, columns, channels, threads, (unrolled, blocks) in product(
        along, across, (1, 2, 4, 8), (64, 128, 256, 512), bounds
    ):
        many = channels > 1 and channels >= 2 * problem.results
        if many or results * columns * channels * problem.sum_bytes > 2 * SUM_BYTES:
            continue
        shape = LaunchShape(results, columns, channels, own.shape.lanes, threads, unrolled, blocks=blocks)
        if shape not in found and tile(problem, shape) is not None:
            found.append(shape)
    return found


def _default_shape(problem: Problem) -> LaunchShape:
    """Return the shape with the most results per thread that fit in registers and keep the GPU busy."""
    last, blocked = problem.axes[-1], problem.blocked
    channels = 1
    while 2 * channels <= min(CHANNELS, problem.results):
        channels *= 2
    everything = problem.batch * problem.groups * problem.results * prod(each.result for each in problem.axes)
    while channels > 1 and everything // channels < MANY_THREADS // 4:
        channels //= 2
    room = max(1, SUM_BYTES // (problem.sum_bytes * channels))
    busy = max(1, everything // channels // MANY_THREADS)
    if len(problem.axes) == 1:
        # odd, so that neighbouring threads read different banks of shared memory
        alone = problem.axes[0].axis.taps == 1
        results = max(n for n in (1, 3, 5, 7, 9) if n == 1 or (n <= min(room, busy) and not alone))
        return LaunchShape(results, 1, channels, 32, 256, blocks=BLOCKS[problem.sum_bytes])
    length = -(-problem.axes[blocked].result // problem.phases(blocked))
    results = max(n for n in (1, 2, 4, 8) if n == 1 or n <= min(room, busy, length))
    wide = -(-last.result // problem.phases(len(problem.axes) - 1))
    lanes = next((n for n in (8, 16) if wide <= n), 32)
    most = max(1, min(4, room // results, busy // results, wide // lanes))
    # the most columns for which the padded length is within 5 % of the shortest
    lengths = {n: -(-wide // (n * lanes)) * n * lanes for n in range(1, most + 1)}
    columns = max(n for n, length in lengths.items() if 20 * length <= 21 * min(lengths.values()))
    return LaunchShape(results, columns, channels, lanes, 256, blocks=BLOCKS[problem.sum_bytes])


def _fitting(problem: Problem, shape: LaunchShape) -> Iterator[Tile]:
    """Yield the tiles that fit, of the given shape and of successively smaller ones."""
    while True:
        found = tile(problem, shape)
        if found is not None:
            yield found
        if shape.columns > 1:
            shape = replace(shape, columns=shape.columns - 1)
        elif shape.results > 1:
            results = shape.results - 2 if len(problem.axes) == 1 else shape.results // 2
            shape = replace(shape, results=results)
        elif shape.threads > 64:
            shape = replace(shape, threads=shape.threads // 2)
        elif shape.channels > 1:
            shape = replace(shape, channels=shape.channels // 2)
        elif shape.lanes > 8 and len(problem.axes) > 1:
            shape = replace(shape, lanes=shape.lanes // 2)
        else:
            return
