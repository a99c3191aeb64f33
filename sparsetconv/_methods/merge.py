"""Merge axes of one sample, and axes along which nothing is convolved, with their neighbours.

Inner loops and SIMD vectors run along the last axis; if it has only a few samples, most of each vector is
wasted. Every method therefore plans for the geometry that `arrangement` returns. The matrix is the same, and
arrays have the same elements in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.convolution import ConvGeometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array

# a last axis of one tap and at most this many samples, too few for vectors, is merged with the axis before it
NARROW_AXIS = 16


class Arrangement(NamedTuple):
    """A geometry with merged axes.

    Attributes
    ----------
    geometry : ConvGeometry
    order : tuple of int
        The original axes in the order in which the merged kernel has them.
    """

    geometry: ConvGeometry
    order: tuple[int, ...]

    def weights(self, given: Array) -> Array:
        """Return weights ``(groups, c_out, c_in, k1, ..., kd)`` of the original axes with merged axes."""
        ordered = given.transpose(0, 1, 2, *(3 + number for number in self.order))
        return ordered.reshape(*given.shape[:3], *(axis.taps for axis in self.geometry.axes))

    def given(self, weights: Array, geometry: ConvGeometry) -> Array:
        """Return weights of merged axes with the axes of the original geometry: the inverse of `weights`."""
        taps = [axis.taps for axis in geometry.axes]
        ordered = weights.reshape(*weights.shape[:3], *(taps[number] for number in self.order))
        back = sorted(range(len(taps)), key=self.order.__getitem__)
        return ordered.transpose(0, 1, 2, *(3 + number for number in back))


@lru_cache(maxsize=256)
def arrangement(geometry: ConvGeometry) -> Arrangement:
    """Return the geometry that a method plans for.

    Axes of one sample and one output move to the front, which does not change the order in memory; those with
    one tap are then dropped. Neighbouring axes along which nothing is convolved (one tap, and output ``o``
    reads sample ``o``) become one axis. A narrow last axis of that kind is merged with the axis before it,
    whose size, padding and dilation are multiplied by the narrow axis' size.
    """
    axes = geometry.axes
    order = sorted(range(len(axes)), key=lambda number: not axes[number].size == axes[number].outputs == 1)
    kept: list[Axis] = []
    for axis in (axes[number] for number in order):
        if kept and _is_pointwise(kept[-1]) and _is_pointwise(axis):
            kept[-1] = Axis.plain(kept[-1].size * axis.size)
        else:
            kept.append(axis)
    if len(kept) > 1 and kept[0].size == 1 and _is_pointwise(kept[0]):
        kept = kept[1:]
    if (
        len(kept) > 1
        and kept[-1].size <= NARROW_AXIS
        and _is_pointwise(kept[-1])
        and _can_interleave(kept[-2])
    ):
        kept[-2:] = [_interleaved(kept[-2], kept[-1].size)]
    if len(kept) == len(axes) and order == sorted(order):
        return Arrangement(geometry, tuple(order))
    return Arrangement(_with_axes(geometry, kept), tuple(order))


def merged(geometry: ConvGeometry) -> ConvGeometry:
    """Return the geometry of the `arrangement`."""
    return arrangement(geometry).geometry


def _is_pointwise(axis: Axis) -> bool:
    """Return whether nothing is convolved along an axis: output ``o`` is sample ``o`` times the only tap."""
    return axis.taps == 1 and axis.low == 0 and axis.outputs == axis.size and axis.high == axis.size - 1


def _can_interleave(axis: Axis) -> bool:
    """Return whether an axis can be interleaved: stride and padding stay the same for wider samples."""
    mode = axis.effective_mode
    return axis.stride == 1 and not (mode.edge or mode.mirrored)


def _interleaved(axis: Axis, times: int) -> Axis:
    """Return the axis with each sample replaced by ``times`` neighbours, which no output combines."""
    return replace(
        axis,
        size=axis.size * times,
        before=axis.before * times,
        after=axis.after * times,
        dilation=axis.dilation * times,
    )


def _with_axes(geometry: ConvGeometry, axes: Sequence[Axis]) -> ConvGeometry:
    lead = 1 if geometry.has_channels else 0
    channels = geometry.input_shape[:lead], geometry.kernel_shape[: 2 * lead]
    return geometry_of(axes, *channels, groups=geometry.groups, flip=geometry.flip)


def geometry_of(
    axes: Sequence[Axis],
    channels: tuple[int, ...] = (),
    kernel_channels: tuple[int, ...] = (),
    *,
    groups: int = 1,
    flip: bool = False,
) -> ConvGeometry:
    """Return the geometry with the given axes, and with channels in front if they are given."""
    return ConvGeometry._of_settled(
        (*channels, *(axis.size for axis in axes)),
        (*kernel_channels, *(axis.taps for axis in axes)),
        tuple(axis.stride for axis in axes),
        tuple((axis.before, axis.after) for axis in axes),
        tuple(axis.dilation for axis in axes),
        groups,
        tuple(axis.mode for axis in axes),
        flip,
    )
