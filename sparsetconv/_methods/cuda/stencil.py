"""The arguments and compile-time constants of the CUDA stencil, for one direction of a convolution.

``direct`` launches it; ``source/places.cuh`` and ``source/stencil.cuh`` explain the numbers. Sizes and
padding are arguments of a CUDA kernel. Taps, strides and dilations are compile-time constants, and so are
the numbers of results that a thread computes (see ``tiles``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

from sparsetconv._arrays import cuda
from sparsetconv._arrays.record import filled, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.record import Kind
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis

# number of threads that keeps a GPU busy
MANY_THREADS = 1 << 16
# bytes of sums that a thread keeps in registers; the most channels that it computes at once
SUM_BYTES, CHANNELS = 128, 4

# the structs StencilAxis and Samples; ``source/places.cuh`` and ``source/unpad.cu`` explain their members
AXIS = record(
    "source", "result", "own", "lead", "origin", "phase", "copies", "edge", "period", "mirror", "first",
    "last", "source_stride", "result_stride", "band", "tiles",
)  # fmt: skip
SAMPLES = record("begin", "number", "again", "total")


def stencil_record(ndim: int) -> Kind:
    """Return the fields of ``Stencil`` in ``source/places.cuh``, the struct that the CUDA kernels take."""
    return record(
        "batch", "groups", "source_channels", "result_channels", "channel_blocks", "source_size",
        "result_size", "band_size", ("axes", AXIS, ndim),
    )  # fmt: skip


def shared_constants(ndim: int) -> dict[str, str | Kind]:
    """Return the compile-time constants that depend only on the number of axes."""
    structs = {"StencilAxis": AXIS, "Stencil": stencil_record(ndim), "Samples": SAMPLES}
    return {"NDIM": str(ndim), **structs}


class Outside(NamedTuple):
    """The samples with copies in the padding.

    They are ``total`` samples in two intervals: ``number`` from ``begin``, and the rest from ``again``.
    """

    begin: int
    number: int
    again: int
    total: int


@dataclass(frozen=True)
class StencilAxis:
    """One axis of the CUDA stencil; the attributes are members of ``StencilAxis`` in ``places.cuh``."""

    axis: Axis
    transposed: bool

    @property
    def source(self) -> int:
        """Number of samples of the source."""
        return self.axis.outputs if self.transposed else self.axis.size

    @property
    def own(self) -> int:
        """Number of results in the result's array."""
        return self.axis.size if self.transposed else self.axis.outputs

    @property
    def has_bands(self) -> bool:
        """Whether positions in the padding have results too, which are then added to samples."""
        return self.transposed and not self.axis.effective_mode.zero

    @property
    def lead(self) -> int:
        """Number of results in the padding before the first sample."""
        return max(0, -self.axis.low) if self.has_bands else 0

    @property
    def result(self) -> int:
        """Number of results, including those in the padding."""
        return self.lead + max(self.own, self.axis.high + 1 if self.has_bands else 0)

    @property
    def origin(self) -> int:
        """Where the first result begins to read: see ``source/places.cuh``."""
        if not self.transposed:
            return -self.axis.before
        return (self.axis.before - self.lead) // self.axis.stride

    @property
    def phase(self) -> int:
        """The first result's position modulo the stride."""
        return (self.axis.before - self.lead) % self.axis.stride if self.transposed else 0

    @property
    def inside(self) -> tuple[int, int]:
        """The range of results whose taps all read inside the source."""
        axis = self.axis
        if not self.transposed:
            return axis.interior
        first = min(max(0, axis.extent - 1 - axis.before + self.lead), self.result)
        return first, max(first, min(axis.outputs * axis.stride - axis.before + self.lead, self.result))

    @property
    def outside(self) -> Outside:
        """The samples that have copies in the padding."""
        first, second = sorted(self.axis.images)
        # the second interval without its overlap with the first; an empty interval sorts first
        number, again = first.stop - first.start, max(first.stop, second.start)
        return Outside(first.start, number, again, number + max(0, second.stop - again))


def without_idle_steps(axis: Axis) -> Axis:
    """Return an axis with the same matrix, but without a dilation or stride that has no effect.

    Such a dilation (of one tap) or stride (of one output) may be arbitrarily large, and would rule out tiles.
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
        Arrays of the batch, groups, and channels of a group in the source and in the result.
    value_bytes, factor_bytes, sum_bytes : int
        Bytes of a sample, of a weight as it is multiplied, and of a sum.
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
        """Whether this is the transposed direction."""
        return self.axes[0].transposed

    @property
    def kernel_size(self) -> int:
        """Number of taps of the kernel."""
        return prod(each.axis.taps for each in self.axes)

    @property
    def bands(self) -> list[int]:
        """The offset of each axis' band in the bands of a channel, then their total size."""
        places = [0]
        for a, each in enumerate(self.axes):
            before = prod(other.own for other in self.axes[:a])
            behind = prod(other.result for other in self.axes[a + 1 :])
            places.append(places[-1] + before * (each.result - each.own) * behind)
        return places

    @property
    def place_type(self) -> str:
        """The type of offsets in a channel of the source, of the result and of the bands."""
        furthest = max(
            abs(each.origin) + each.result * each.axis.stride + each.axis.extent for each in self.axes
        )
        sizes = [prod(each.source for each in self.axes), prod(each.result for each in self.axes)]
        return "int" if max(furthest, *sizes, self.kernel_size) < 2**31 else "long long"

    @property
    def number_type(self) -> str:
        """The type of taps, strides and dilations; the sum of two must fit."""
        most = max(max(each.axis.taps, each.axis.stride, each.axis.dilation) for each in self.axes)
        return "int" if most < 2**30 else "long long"

    @property
    def blocked(self) -> int:
        """The axis along which results share the most samples; the last axis only if it is the only one."""
        shared = [
            each.axis.taps / each.axis.stride
            if not self.transposed
            else -(-each.axis.taps // each.axis.stride)
            for each in self.axes[:-1]
        ]
        return shared.index(max(shared)) if shared else 0

    def phases(self, a: int) -> int:
        """Number of phases along an axis: neighbouring results of different phases have different taps."""
        return self.axes[a].axis.stride if self.transposed else 1

    def constants(self) -> dict[str, str | Kind]:
        """Return the compile-time constants that depend on the axes."""
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
            **shared_constants(len(axes)),
            "TRANSPOSED": str(int(self.transposed)),
            "PLACE": self.place_type,
            "NUMBER": self.number_type,
            **{name: cuda.braced(numbers) for name, numbers in lists.items()},
        }

    def record(self, channels: int, tiles: Sequence[int]) -> Array:
        """Return the ``Stencil`` struct, given the channels per thread and the tiles along each axis."""
        behind = [self.axes[a + 1 :] for a in range(len(self.axes))]
        inside = [each.inside for each in self.axes]
        axes = filled(
            AXIS,
            source=[each.source for each in self.axes],
            result=[each.result for each in self.axes],
            own=[each.own for each in self.axes],
            lead=[each.lead for each in self.axes],
            origin=[each.origin for each in self.axes],
            phase=[each.phase for each in self.axes],
            copies=[each.axis.effective_mode.copies for each in self.axes],
            edge=[int(each.axis.effective_mode.edge) for each in self.axes],
            period=[each.axis.period for each in self.axes],
            mirror=[each.axis.effective_mode.mirror for each in self.axes],
            first=[first for first, _ in inside],
            last=[last for _, last in inside],
            source_stride=[prod(other.source for other in axes) for axes in behind],
            result_stride=[prod(other.own for other in axes) for axes in behind],
            band=self.bands[:-1],
            tiles=tiles,
        )
        return filled(
            stencil_record(len(self.axes)),
            batch=self.batch,
            groups=self.groups,
            source_channels=self.sources,
            result_channels=self.results,
            channel_blocks=-(-self.results // channels),
            source_size=prod(each.source for each in self.axes),
            result_size=prod(each.own for each in self.axes),
            band_size=self.bands[-1],
            axes=axes,
        )
