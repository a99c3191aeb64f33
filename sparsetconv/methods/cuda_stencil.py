"""What a launch of the CUDA stencil is given: the numbers of the problem, and what a block of threads makes.

Floor 3, beside ``cuda_direct``, which launches. ``cuda/places.cuh`` and ``cuda/stencil.cuh`` explain the
numbers, ``cuda/tiles.cu`` the tiles. All here is arithmetic on integers. Sizes and padding are arguments of a
kernel; taps, strides and dilations, and the tile, which is chosen by the sizes, are constants of its
compilation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

from sparsetconv import _cuda
from sparsetconv._axis import PADDING_MODES
from sparsetconv.methods.cuda_tuning import LaunchShape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparsetconv._axis import Axis

# bytes of shared memory that every card since compute capability 7.5 gives a block without being asked
SHARED_BYTES = 48 << 10
MOST_THREADS = 1024
# threads that a GPU wants at the least
MANY_THREADS = 1 << 16
# bytes of sums that one thread keeps in registers; channels that it makes at once
SUM_BYTES, CHANNELS = 128, 4
# blocks of 256 threads that a multiprocessor shall hold, by the bytes of a sum: 80 registers for each thread,
# or 128; one block loads while others compute
BLOCKS = {4: 3, 8: 3, 16: 2}
# bytes of the source's channels that are loaded at once, and how many channels at the most
STAGE_BYTES, SOURCES = 12 << 10, 8

# the members of the structures in cuda/places.cuh, in their order
AXIS_MEMBERS = (
    "source", "result", "own", "lead", "origin", "phase", "mode", "first", "last", "source_stride",
    "result_stride", "band", "tiles",
)  # fmt: skip
PROBLEM_MEMBERS = (
    "batch", "groups", "source_channels", "result_channels", "channel_blocks", "source_size", "result_size",
    "band_size",
)  # fmt: skip


class Outside(NamedTuple):
    """Samples with copies in padding: ``number`` from ``begin`` on, of ``total`` the rest from ``again``."""

    begin: int
    number: int
    again: int
    total: int


@dataclass(frozen=True)
class StencilAxis:
    """An axis as the kernels know it; the attributes are those of ``StencilAxis`` in ``cuda/places.cuh``."""

    axis: Axis
    transposed: bool

    @property
    def source(self) -> int:
        """Samples of the source."""
        return self.axis.outputs if self.transposed else self.axis.size

    @property
    def own(self) -> int:
        """Results in the result's array."""
        return self.axis.size if self.transposed else self.axis.outputs

    @property
    def lead(self) -> int:
        """Places of the padding before them."""
        padded = self.transposed and self.axis.reach != "zeros"
        return max(0, -self.axis.low) if padded else 0

    @property
    def result(self) -> int:
        """Places at which something is computed, padding included."""
        padded = self.transposed and self.axis.reach != "zeros"
        return self.lead + max(self.own, self.axis.high + 1 if padded else 0)

    @property
    def origin(self) -> int:
        """Where the first result begins to read: see ``cuda/places.cuh``."""
        if not self.transposed:
            return -self.axis.before
        return (self.axis.before - self.lead) // self.axis.stride

    @property
    def phase(self) -> int:
        """The remainder of the first result's place by the stride."""
        return (self.axis.before - self.lead) % self.axis.stride if self.transposed else 0

    @property
    def inside(self) -> tuple[int, int]:
        """The range of results that read nothing outside of the source."""
        axis = self.axis
        if not self.transposed:
            return axis.interior
        first = min(max(0, axis.extent - 1 - axis.before + self.lead), self.result)
        return first, max(first, min(axis.outputs * axis.stride - axis.before + self.lead, self.result))

    @property
    def outside(self) -> Outside:
        """The samples that have copies in the padding."""
        first, second = sorted((i.start, i.stop) for i in self.axis.images)
        if first[0] == first[1] or second[0] == second[1]:
            begin, stop = first if first[1] > first[0] else second
            return Outside(begin, stop - begin, 0, stop - begin)
        if second[0] <= first[1]:
            count = max(first[1], second[1]) - first[0]
            return Outside(first[0], count, 0, count)
        count = first[1] - first[0]
        return Outside(first[0], count, second[0], count + second[1] - second[0])


def without_idle_steps(axis: Axis) -> Axis:
    """Return an axis of the same matrix without a dilation or a stride that means nothing.

    These may be of any size, and would keep the axis from tiles.
    """
    if axis.taps == 1:
        axis = replace(axis, dilation=1)
    if axis.outputs == 1:
        axis = replace(axis, stride=1, after=axis.extent - axis.size - axis.before)
    return axis


@dataclass(frozen=True)
class Problem:
    """One direction of a convolution, for results of one dtype.

    Attributes
    ----------
    axes : tuple of StencilAxis
    batch, groups, sources, results : int
        Arrays, groups, and channels of a group on either side.
    value_bytes, factor_bytes, sum_bytes : int
        Of a sample, of a weight as it is multiplied, and of a sum.
    """

    axes: tuple[StencilAxis, ...]
    batch: int
    groups: int
    sources: int
    results: int
    value_bytes: int
    factor_bytes: int
    sum_bytes: int

    @property
    def transposed(self) -> bool:
        """Whether results stand on the large side."""
        return self.axes[0].transposed

    @property
    def kernel_size(self) -> int:
        """Taps of the kernel."""
        return prod(each.axis.taps for each in self.axes)

    @property
    def bands(self) -> list[int]:
        """Where each axis' band begins, and the numbers of all bands of a channel."""
        places = [0]
        for a, each in enumerate(self.axes):
            before = prod(other.own for other in self.axes[:a])
            behind = prod(other.result for other in self.axes[a + 1 :])
            places.append(places[-1] + before * (each.result - each.own) * behind)
        return places

    @property
    def place_type(self) -> str:
        """The type of places in a channel of the source, of the result and of the bands."""
        furthest = max(
            abs(each.origin) + each.result * each.axis.stride + each.axis.extent for each in self.axes
        )
        sizes = [prod(each.source for each in self.axes), prod(each.result for each in self.axes)]
        return "int" if max(furthest, *sizes, self.kernel_size) < 2**31 else "long long"

    @property
    def number_type(self) -> str:
        """The type of taps, strides and dilations: sums of two have to fit."""
        most = max(max(each.axis.taps, each.axis.stride, each.axis.dilation) for each in self.axes)
        return "int" if most < 2**30 else "long long"

    @property
    def blocked(self) -> int:
        """The axis along which results share the most samples; never the last of several."""
        shared = [
            each.axis.taps / each.axis.stride
            if not self.transposed
            else -(-each.axis.taps // each.axis.stride)
            for each in self.axes[:-1]
        ]
        return shared.index(max(shared)) if shared else 0

    def phases(self, a: int) -> int:
        """Results along an axis that meet other taps than their neighbours."""
        return self.axes[a].axis.stride if self.transposed else 1

    def constants(self) -> dict[str, str]:
        """Return what a compilation knows of the axes."""
        axes = [each.axis for each in self.axes]
        common = [gcd(axis.stride, axis.dilation) for axis in axes]
        cycles = [axis.stride // c for axis, c in zip(axes, common, strict=True)]
        falls = [axis.dilation // c for axis, c in zip(axes, common, strict=True)]
        lists = {
            "TAPS": [axis.taps for axis in axes],
            "STRIDE": [axis.stride for axis in axes],
            "DILATION": [axis.dilation for axis in axes],
            "CYCLE": cycles,
            "FALL": falls,
            "INVERSE": [pow(fall, -1, cycle) for fall, cycle in zip(falls, cycles, strict=True)],
        }
        return {
            "NDIM": str(len(axes)),
            "TRANSPOSED": str(int(self.transposed)),
            "PLACE": self.place_type,
            "NUMBER": self.number_type,
            **{name: _cuda.braced(numbers) for name, numbers in lists.items()},
        }

    def numbers(self, channels: int, tiles: Sequence[int]) -> list[int]:
        """Return the members of ``Stencil``, for the channels of a thread, and the tiles along each axis."""
        bands = self.bands
        own = {
            "batch": self.batch,
            "groups": self.groups,
            "source_channels": self.sources,
            "result_channels": self.results,
            "channel_blocks": -(-self.results // channels),
            "source_size": prod(each.source for each in self.axes),
            "result_size": prod(each.own for each in self.axes),
            "band_size": bands[-1],
        }
        numbers = [own[name] for name in PROBLEM_MEMBERS]
        for a, each in enumerate(self.axes):
            first, last = each.inside
            values = {
                **{
                    name: getattr(each, name)
                    for name in ("source", "result", "own", "lead", "origin", "phase")
                },
                "mode": PADDING_MODES.index(each.axis.reach),
                "first": first,
                "last": last,
                "source_stride": prod(other.source for other in self.axes[a + 1 :]),
                "result_stride": prod(other.own for other in self.axes[a + 1 :]),
                "band": bands[a],
                "tiles": tiles[a],
            }
            numbers += [values[name] for name in AXIS_MEMBERS]
        return numbers


@dataclass(frozen=True)
class Tile:
    """What a block of threads makes, and the shared memory that it takes: as ``cuda/tiles.cu`` computes it.

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

    def constants(self) -> dict[str, str]:
        """Return what a compilation knows beside what it knows of the axes."""
        return {
            "BLOCKED": str(self.problem.blocked),
            "RESULTS": str(self.shape.results),
            "COLUMNS": str(self.shape.columns),
            "CHANNELS": str(self.shape.channels),
            "SOURCES": str(self.sources),
            "BUFFERS": str(self.buffers),
            "THREADS": _cuda.braced(self.threads),
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
    for results in along:
        for columns in (1,) if len(problem.axes) == 1 else (1, 2, 3, 4):
            for channels in (1, 2, 4, 8):
                few = channels == 1 or channels < 2 * problem.results
                if not few or results * columns * channels * problem.sum_bytes > 2 * SUM_BYTES:
                    continue
                for threads in (64, 128, 256, 512):
                    for unrolled, blocks in ((8, 1), (8, 2), (8, 3), (4, 3)):
                        shape = replace(
                            own.shape, results=results, columns=columns, channels=channels, threads=threads,
                            unrolled=unrolled, blocks=blocks,
                        )  # fmt: skip
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
