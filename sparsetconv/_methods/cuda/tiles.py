"""What a block of threads of the CUDA stencil makes: its tile, and the choice of one.

``source/tiles.cu`` explains the tiles, and asserts that it computes the same bytes of shared memory. Where
``tuning`` has no measured shape for a class of problem, registers and shared memory decide.
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

# bytes of shared memory that every card since compute capability 7.5 gives a block without being asked
SHARED_BYTES = 48 << 10
MOST_THREADS = 1024
# blocks of 256 threads that a multiprocessor shall hold, by the bytes of a sum: 80 registers for each thread,
# or 128; one block loads while others compute
BLOCKS = {4: 3, 8: 3, 16: 2}
# bytes of the source's channels that are loaded at once, and how many channels at the most
STAGE_BYTES, SOURCES = 12 << 10, 8


@dataclass(frozen=True)
class Tile:
    """What a block of threads makes, and the shared memory that it takes: as ``source/tiles.cu`` computes it.

    Attributes
    ----------
    problem : Problem
    shape : LaunchShape
    threads : tuple of int
        Along each axis.
    sources : int
        Channels of the source that are loaded at once.
    buffers : int
        2 where the next channels are loaded while those before are computed with, or else 1.
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
        """Samples along each axis."""
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
        """Numbers of one channel: with a stride, samples of the last axis stand in equal segments."""
        *outer, last = self.extents
        stride = 1 if self.problem.transposed else self.problem.axes[-1].axis.stride
        return prod(outer) * -(-last // stride) * stride

    @property
    def weight_bytes(self) -> int:
        """Shared memory of the weights."""
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
        """Blocks of the launch."""
        problem = self.problem
        return prod(self.tiles) * -(-problem.results // self.shape.channels) * problem.groups * problem.batch

    @property
    def is_valid(self) -> bool:
        """Whether a launch of it can be compiled and started."""
        return self.shared <= SHARED_BYTES and prod(self.threads) <= MOST_THREADS

    def constants(self) -> dict[str, str | Kind]:
        """Return what a compilation knows beside what it knows of the axes."""
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
    """Return the tile of a shape, or None where there is none: it would not fit."""
    if len(problem.axes) == 1:
        # a thread's results are neighbours along the last axis already
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
    """Divide the threads of a block among the axes; None where a stride wants more than there may be."""
    last, blocked = len(problem.axes) - 1, problem.blocked
    found = [1] * (last + 1)
    if shape.results > 1 and blocked != last:
        found[blocked] = problem.phases(blocked)
    lanes = max(1, shape.threads // problem.phases(0)) if not last else shape.lanes
    found[last] = lanes * problem.phases(last)
    if prod(found) > MOST_THREADS:
        return None
    # the axis on which the tile is the shortest grows, as long as there are results for it
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
    """Return the tile for a problem of which nothing has been measured, or None where no tile fits."""
    return next(_fitting(problem, _default_shape(problem)), None)


def candidates(problem: Problem) -> list[LaunchShape]:
    """Return the shapes that are worth measuring, that of `default_tile` first; none where no tile fits."""
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
    """Return as much for each thread as its registers hold, and as leaves a GPU busy."""
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
        # odd, so that neighbouring threads read from different banks of the shared memory
        alone = problem.axes[0].axis.taps == 1
        results = max(n for n in (1, 3, 5, 7, 9) if n == 1 or (n <= min(room, busy) and not alone))
        return LaunchShape(results, 1, channels, 32, 256, blocks=BLOCKS[problem.sum_bytes])
    length = -(-problem.axes[blocked].result // problem.phases(blocked))
    results = max(n for n in (1, 2, 4, 8) if n == 1 or n <= min(room, busy, length))
    wide = -(-last.result // problem.phases(len(problem.axes) - 1))
    lanes = next((n for n in (8, 16) if wide <= n), 32)
    most = max(1, min(4, room // results, busy // results, wide // lanes))
    # the most columns that make hardly more places beyond the last than others do
    lengths = {n: -(-wide // (n * lanes)) * n * lanes for n in range(1, most + 1)}
    columns = max(n for n, length in lengths.items() if 20 * length <= 21 * min(lengths.values()))
    return LaunchShape(results, columns, channels, lanes, 256, blocks=BLOCKS[problem.sum_bytes])


def _fitting(problem: Problem, shape: LaunchShape) -> Iterator[Tile]:
    """Yield tiles that fit: of the shape, and of ever smaller ones."""
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
