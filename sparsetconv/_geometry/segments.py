"""Segments of an axis' matrix: rows that repeat with shifted columns.

The pattern of a row changes only where a tap enters or leaves a copy of the signal, or where two taps pass
each other on mirrored copies. Between two such rows, each column moves by a constant step from row to row.
Kernels of few taps have few such rows, however long their borders are.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from sparsetconv._geometry.axis import Interval
from sparsetconv._geometry.padding import CIRCULAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sparsetconv._geometry.axis import Axis
    from sparsetconv._geometry.padding import PaddingMode

# an axis is cut into pieces only if there are at most MOST_PIECES, with more than ROWS_PER_PIECE border rows
# each: otherwise cutting costs more than it saves
MOST_PIECES, ROWS_PER_PIECE = 512, 128


class Segment(NamedTuple):
    """Rows that repeat: ``repeat`` groups of ``period`` rows each, the first from row ``start`` on.

    From one group to the next every column grows by ``shift``. If ``shift`` is None, each column grows by a
    step of its own, which is the same from group to group. Rows that do not repeat are one group.
    """

    start: int
    period: int
    repeat: int
    shift: int | None

    @property
    def stop(self) -> int:
        return self.start + self.period * self.repeat

    @property
    def written(self) -> int:
        """Number of groups that have to be written before the others follow from them."""
        return 1 if self.shift is not None else min(2, self.repeat)

    def clip(self, start: int, stop: int) -> Iterator[Segment]:
        """Yield the part in rows ``start`` to ``stop``, as at most three segments."""
        if start <= self.start and self.stop <= stop:
            yield self
            return
        start, stop = max(start, self.start), min(stop, self.stop)
        if start >= stop:
            return
        head = min((self.start - start) % self.period, stop - start)
        repeat, tail = divmod(stop - start - head, self.period)
        if head:
            yield Segment(start, head, 1, self.shift)
        if repeat:
            yield Segment(start + head, self.period, repeat, self.shift)
        if tail:
            yield Segment(stop - tail, tail, 1, self.shift)


def forward_segments(axis: Axis) -> tuple[Segment, ...]:
    """Return the rows of the axis' matrix, one for each output, as a bounded number of segments."""
    pieces = forward_pieces(axis)
    if pieces is not None:
        return pieces
    inside = axis.interior
    middle = Segment(inside.start, 1, inside.stop - inside.start, axis.stride)
    parts = [*_border(axis, 0, inside.start), middle, *_border(axis, inside.stop, axis.outputs)]
    return tuple(part for part in parts if part.repeat > 0 and part.period > 0)


def _border(axis: Axis, start: int, stop: int) -> Iterator[Segment]:
    mode = axis.effective_mode
    if mode.constant:
        # outputs whose whole window lies outside the signal, on one side, have equal rows
        left = min(stop, max(start, -(-(axis.before - axis.extent + 1) // axis.stride)))
        right = max(left, min(stop, (axis.size - 1 + axis.before) // axis.stride + 1))
        yield Segment(start, 1, left - start, 0)
        yield Segment(left, right - left, 1, 0)
        yield Segment(right, 1, stop - right, 0)
        return
    period = axis.period // gcd(axis.period, axis.stride)
    repeat = (stop - start) // period
    if repeat > 1:
        yield Segment(start, period, repeat, 0)
        start += period * repeat
    if not mode.mirrored:
        yield Segment(start, stop - start, 1, 0)
        return
    # in a window within one mirrored copy of the signal, columns move backwards
    for copy in (-1, 1):
        first, end = (mode.copy_begin(axis.size, each) + axis.before for each in (copy, copy + 1))
        left = min(stop, max(start, -(-first // axis.stride)))
        right = max(left, min(stop, (end - axis.extent) // axis.stride + 1))
        yield Segment(start, left - start, 1, 0)
        yield Segment(left, 1, right - left, -axis.stride)
        start = right
    yield Segment(start, stop - start, 1, 0)


def transposed_segments(axis: Axis) -> tuple[Segment, ...]:
    """Return the rows of the transposed axis' matrix, one for each sample, as a bounded number of segments.

    Away from the borders, sample ``i + stride`` is read through the same taps as sample ``i``, by the next
    output: rows come in groups of ``stride``, one row for each phase.
    """
    pieces = transposed_pieces(axis)
    if pieces is not None:
        return pieces
    inside, images = axis.transposed_interior, axis.images
    repeat = max(0, inside.stop - inside.start) // axis.stride
    middle = Segment(inside.start, axis.stride, repeat, 1)
    if not repeat:
        middle = Segment(0, 1, 0, 1)
    read = [Interval(max(axis.low, 0), min(axis.high + 1, axis.size)), *images]
    parts = [
        *_with_gaps(0, middle.start, read),
        middle,
        *_with_gaps(middle.stop, axis.size, read),
    ]
    return tuple(part for part in parts if part.repeat > 0 and part.period > 0)


def _with_gaps(start: int, stop: int, read: list[Interval]) -> Iterator[Segment]:
    """Yield rows that do not repeat where samples may be read, and one run of empty rows in each gap."""
    for interval in sorted(read):
        left, right = max(start, interval.start), min(stop, interval.stop)
        if left < right:
            yield Segment(start, 1, left - start, 0)
            yield Segment(left, right - left, 1, 0)
            start = right
    yield Segment(start, 1, max(0, stop - start), 0)


class Copies(NamedTuple):
    """The copies of a signal that an axis reads, ``first`` to ``last``, where 0 is the signal itself."""

    first: int
    last: int
    size: int
    mode: PaddingMode

    @classmethod
    def of(cls, axis: Axis) -> Copies:
        """Return the copies that an axis reads; a constant extension, or one sample, has only copy 0."""
        mode, size = axis.effective_mode, axis.size
        if mode.constant or size == 1:
            return cls(0, 0, size, CIRCULAR)
        return cls(mode.copy_at(size, axis.low), mode.copy_at(size, axis.high), size, mode)

    @property
    def mirrored(self) -> bool:
        """Whether every second copy is reversed."""
        return self.mode.mirrored

    @property
    def number(self) -> int:
        return self.last - self.first + 1

    def begin(self, copy: int) -> int:
        """Return the position at which a copy begins."""
        return int(self.mode.copy_begin(self.size, copy))

    def sign(self, copy: int) -> int:
        """Return -1 for a reversed copy, else 1."""
        return -1 if self.mirrored and copy % 2 else 1


def forward_pieces(axis: Axis) -> tuple[Segment, ...] | None:
    """Return the outputs cut at each change of pattern, or None if the pieces are too many for the border."""
    copies = Copies.of(axis)
    number = axis.taps * (copies.number + 1) + copies.mirrored * 4 * axis.taps * copies.number
    border = axis.outputs - (axis.interior.stop - axis.interior.start)
    if axis.size == 1 or number > MOST_PIECES or border <= number * ROWS_PER_PIECE:
        return None
    cuts = _cuts(axis.outputs, _forward_events(axis, copies))
    return tuple(
        Segment(start, 1, stop - start, _forward_shift(axis, copies, start)) for start, stop in pairwise(cuts)
    )


def _forward_events(axis: Axis, copies: Copies) -> Iterator[int]:
    """Yield the outputs at which the pattern of a row changes."""
    bounds = [copies.begin(copy) for copy in range(copies.first, copies.last + 2)]
    if axis.effective_mode.edge:
        # an edge sample read both directly and through padding is a single column
        bounds += [1, axis.size - 1]
    for tap in range(axis.taps):
        for bound in bounds:
            yield -((axis.first(0) + tap * axis.dilation - bound) // axis.stride)
    if copies.mirrored:
        # two positions read the same sample where their sum is a multiple of the period (symmetric: one less)
        for centre in range(copies.first, copies.last + 2):
            total = centre * axis.period - copies.mode.mirror - 2 * axis.first(0)
            for taps in range(2 * axis.taps - 1):
                yield from _around(total - taps * axis.dilation, 2 * axis.stride)


def _forward_shift(axis: Axis, copies: Copies, output: int) -> int | None:
    """Return the step of all columns from a row to the next, or None if their steps differ."""
    first = axis.first(output)
    if axis.effective_mode.edge:
        inside = first >= 0 and first + axis.extent <= axis.size
        outside = first + axis.extent <= 0 or first >= axis.size
        return axis.stride if inside else 0 if outside else None
    reads = range(first, first + axis.extent, axis.dilation)
    signs = {copies.sign(copies.mode.copy_at(axis.size, position)) for position in reads}
    return axis.stride * signs.pop() if len(signs) == 1 else None


def transposed_pieces(axis: Axis) -> tuple[Segment, ...] | None:
    """Return the samples cut at each change of pattern, or None if the pieces are too many for the border."""
    copies = Copies.of(axis)
    number = 2 * axis.taps * copies.number + copies.mirrored * 4 * axis.taps * copies.number
    inside = axis.transposed_interior
    border = axis.size - max(0, inside.stop - inside.start)
    # a piece is a number of groups of ``stride`` rows, of which two and a remainder are written
    if axis.size == 1 or number > MOST_PIECES or border <= 3 * axis.stride * number * ROWS_PER_PIECE:
        return None
    cuts = _cuts(axis.size, _transposed_events(axis, copies))
    return tuple(piece for start, stop in pairwise(cuts) for piece in _phases(axis, copies, start, stop))


def _transposed_events(axis: Axis, copies: Copies) -> Iterator[int]:
    """Yield the samples at which the pattern of a transposed row changes."""
    # copies that run forwards end before the first mirrored one begins, and these before the next
    yield from (1, axis.size - 1, copies.begin(1), axis.size - copies.begin(2) + copies.begin(1))
    for copy, begin in _begins(axis, copies):
        for position in (begin, begin + axis.outputs * axis.stride):
            place = position - copies.begin(copy)
            yield place if copies.sign(copy) > 0 else axis.size - place
    if copies.mirrored:
        # columns that grow and columns that shrink meet
        for apart in range(copies.first - copies.last, copies.last - copies.first + 1):
            for taps in range(1 - axis.taps, axis.taps):
                yield from _around(copies.begin(apart) + axis.size - 1 + taps * axis.dilation, 2)


def _begins(axis: Axis, copies: Copies) -> Iterator[tuple[int, int]]:
    """Yield pairs of a copy and the first position that a tap reads, for all copies and taps."""
    for copy in range(copies.first, copies.last + 1):
        for tap in range(axis.taps):
            yield copy, axis.first(0) + tap * axis.dilation


def _phases(axis: Axis, copies: Copies, start: int, stop: int) -> Iterator[Segment]:
    """Yield segments of samples that the same taps read: groups of all phases, then the rest."""
    span = axis.outputs * axis.stride
    signs = set()
    for copy, begin in _begins(axis, copies):
        sign = copies.sign(copy)
        position = copies.begin(copy) + (start if sign > 0 else axis.size - 1 - start)
        if begin <= position < begin + span:
            signs.add(sign)
    repeat = (stop - start) // axis.stride
    if repeat > 1:
        yield Segment(start, axis.stride, repeat, None if len(signs) > 1 else min(signs, default=1))
        start += axis.stride * repeat
    if start < stop:
        yield Segment(start, stop - start, 1, 0)


def _around(value: int, divisor: int) -> Iterator[int]:
    """Yield the smallest integers that are at least, and greater than, ``value / divisor``."""
    yield -(-value // divisor)
    yield value // divisor + 1


def _cuts(stop: int, events: Iterable[int]) -> list[int]:
    return sorted({0, stop, *(event for event in events if 0 < event < stop)})
