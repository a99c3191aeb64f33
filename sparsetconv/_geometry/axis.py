"""One axis of a convolution: every rule about sizes, padding and reads.

All of this is arithmetic on a handful of integers. An N-D convolution is the product of its axes.

Output ``o`` of an axis reads, through tap ``t``, position ``p = o * stride + t * dilation - before``
of the infinite extension of a signal of length ``size``. `PaddingMode.sample` says which sample stands at
``p``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import NamedTuple

from sparsetconv._geometry.counting import Residues, congruence, floor_sum
from sparsetconv._geometry.padding import PADDING, ZEROS, PaddingMode


class Interval(NamedTuple):
    """The integers of ``range(start, stop)``."""

    start: int
    stop: int

    def cut(self, other: Interval) -> Interval:
        """Return the longer of the two pieces that are left when ``other`` is removed."""
        left = Interval(self.start, min(self.stop, other.start))
        right = Interval(max(self.start, other.stop), self.stop)
        if other.start >= other.stop:
            return self
        return max(left, right, key=lambda piece: piece.stop - piece.start)


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution, with normalized parameters.

    Attributes
    ----------
    size, taps, stride, before, after, dilation : int
        Samples, kernel taps, step between outputs, padding on either side (negative crops),
        distance between taps.
    mode : str
        A name of ``PADDING``.
    """

    size: int
    taps: int
    stride: int
    before: int
    after: int
    dilation: int
    mode: str

    @classmethod
    def plain(cls, size: int, before: int = 0, after: int = 0) -> Axis:
        """Return an axis with a single tap, whose outputs are the signal itself, padded with zeros."""
        return cls(size, 1, 1, before, after, 1, ZEROS.name)

    @property
    def extent(self) -> int:
        """Number of samples from the first tap to the last, both included."""
        return self.dilation * (self.taps - 1) + 1

    @cached_property
    def outputs(self) -> int:
        """Number of outputs; not positive where the kernel does not fit."""
        return (self.size + self.before + self.after - self.extent) // self.stride + 1

    @property
    def low(self) -> int:
        """First position that is read."""
        return -self.before

    @property
    def high(self) -> int:
        """Last position that is read."""
        return (self.outputs - 1) * self.stride - self.before + self.extent - 1

    @cached_property
    def effective_mode(self) -> PaddingMode:
        """The padding mode, or zeros where nothing outside the signal is read."""
        return ZEROS if self.low >= 0 and self.high < self.size else PADDING[self.mode]

    @property
    def period(self) -> int:
        """Period of the extension (1 where it is constant outside the signal)."""
        return self.effective_mode.period(self.size)

    def first(self, output: int) -> int:
        """Return the position that tap 0 of an output reads."""
        return output * self.stride - self.before

    @cached_property
    def interior(self) -> Interval:
        """The outputs whose taps all read inside the signal."""
        start = min(max(0, -(-self.before // self.stride)), self.outputs)
        stop = (self.size - self.extent + self.before) // self.stride + 1
        return Interval(start, max(start, min(stop, self.outputs)))

    @cached_property
    def nnz(self) -> int:
        """Entries of the axis' matrix of ``outputs`` rows and ``size`` columns, in closed form."""
        return self.entries(0, self.outputs)

    def entries(self, start: int, stop: int) -> int:
        """Return the entries of the rows of outputs ``start`` to ``stop``, in closed form."""
        mode, period = self.effective_mode, self.period
        if mode.constant:
            inside = self.reads(start, stop, 0, self.size)
            return inside + self._edges(start, stop) if mode.edge else inside
        cycle = period // gcd(period, self.dilation)
        distinct = min(self.taps, cycle)
        entries = (stop - start) * distinct
        if not mode.mirrored or period == 1:
            return entries
        return entries - self._mirrored_pairs(start, stop, period, distinct)

    def reads(self, start: int, stop: int, low: int, high: int) -> int:
        """Count the taps of outputs ``start`` to ``stop`` that read positions ``low`` to ``high``."""
        return self._reads_below(start, stop, high) - self._reads_below(start, stop, low)

    def _reads_below(self, start: int, stop: int, position: int) -> int:
        """Count reads below a position: the first outputs read it with all taps, later ones with fewer."""
        reach = position + self.before
        whole = min(max(start, -((self.extent - 1 - reach) // self.stride)), stop)
        some = min(max(whole, -(-reach // self.stride)), stop)
        least = reach - (some - 1) * self.stride
        partly = floor_sum(some - whole, self.stride, least + self.dilation - 1, self.dilation)
        return (whole - start) * self.taps + partly

    def _edges(self, start: int, stop: int) -> int:
        """Count, for both edges, the outputs that read the edge sample through padding only."""
        if self.size == 1:
            return (stop - start) - self._hits(start, stop, 0)
        padded = min(max(start, -(-self.before // self.stride)), stop)
        beyond = self.size + self.before - self.extent
        first = min(max(start, beyond // self.stride + 1), stop)
        left = padded - start - self._hits(start, padded, 0)
        return left + stop - first - self._hits(first, stop, self.size - 1)

    def _hits(self, start: int, stop: int, position: int) -> int:
        """Count the outputs from ``start`` up to ``stop`` that read a position."""
        reach = position + self.before
        start = max(start, -((self.extent - 1 - reach) // self.stride))
        stop = min(stop, reach // self.stride + 1)
        solution = congruence(self.stride, reach, self.dilation)
        return solution.count(start, stop) if solution else 0

    def _mirrored_pairs(self, start: int, stop: int, period: int, distinct: int) -> int:
        """Count the pairs of taps that read the same sample by symmetry, for outputs ``start`` to ``stop``.

        By periodicity, taps that are a cycle apart read the same sample. By symmetry, so do taps whose
        positions add up to a fixed number modulo the period, which pairs each tap with at most one other. The
        sum of two such taps, modulo the cycle, changes by a constant from one output with pairs to the next.
        """
        common = gcd(period, self.dilation)
        cycle = period // common
        target = 2 * self.before - self.effective_mode.mirror
        outputs = congruence(2 * self.stride, target, common)
        if outputs is None:
            return 0
        chosen = outputs.within(start, stop)
        unit = pow(self.dilation // common, -1, cycle)
        first = (target - 2 * self.stride * chosen.start) // common * unit
        step = -2 * self.stride * outputs.period // common * unit
        return _pairs_sum(Residues(first % cycle, step % cycle, cycle, outputs.count(start, stop)), distinct)

    @cached_property
    def swapped(self) -> Axis:
        """The axis with taps and outputs exchanged: both step along the same positions."""
        reach = self.stride * (self.outputs - 1) + self.dilation * (self.taps - 1) + 1
        after = reach - self.size - self.before
        return Axis(self.size, self.outputs, self.dilation, self.before, after, self.stride, self.mode)

    def kernel_entries(self, transposed: bool) -> int:
        """Return the number of (output, tap) pairs that read a sample, or of (sample, tap) pairs read."""
        if self.effective_mode.zero:
            return self.nnz
        return self.swapped.nnz if transposed else self.outputs * self.taps

    @cached_property
    def images(self) -> list[Interval]:
        """The samples that padded positions before and after the signal read."""
        return [self._image(self.low, 0), self._image(self.size, self.high + 1)]

    @cached_property
    def transposed_interior(self) -> Interval:
        """Samples that padding does not read, and that every tap of their phase reads for some output."""
        inside = Interval(
            max(0, self.dilation * (self.taps - 1) - self.before),
            min(self.size, self.outputs * self.stride - self.before),
        )
        for image in self.images:
            inside = inside.cut(image)
        return inside

    def _image(self, start: int, stop: int) -> Interval:
        """Return an interval that contains the samples that padded positions read."""
        mode = self.effective_mode
        if start >= stop or mode.zero:
            return Interval(0, 0)
        if mode.edge:
            edge = 0 if start < 0 else self.size - 1
            return Interval(edge, edge + 1)
        if stop - start >= self.size:
            return Interval(0, self.size)
        ends = [mode.sample(self.size, p) for p in (start, stop - 1)]
        low, high = min(e for e in ends if e is not None), max(e for e in ends if e is not None)
        return Interval(low, high + 1) if high - low == stop - start - 1 else Interval(0, self.size)


def _pairs_sum(totals: Residues, count: int) -> int:
    """Count the pairs ``t < u`` in ``range(count)`` whose sum is one of the totals, modulo their modulus.

    ``count`` is at most the modulus. The number of ordered pairs is a piecewise linear function of the total;
    pairs with ``t == u`` are subtracted, and the rest is halved.
    """
    cycle, each = totals.modulus, totals.count
    ordered = each * (2 * count - cycle) - 2 * totals.excess(count - 1)
    ordered += totals.excess(2 * count - 1) + totals.excess(2 * count - 1 - cycle)
    return (ordered - _doubles(totals, count)) // 2


def _doubles(totals: Residues, count: int) -> int:
    """Count the ``t`` in ``range(count)`` whose double is one of the totals, modulo their modulus."""
    first, step, cycle, each = totals.first, totals.step, totals.modulus, totals.count
    if cycle % 2:
        half = (cycle + 1) // 2
        return Residues(first * half, step * half, cycle, each).below(count)
    even = congruence(step, first, 2)
    if even is None:
        return 0
    start = first + step * even.first
    halves = Residues(start // 2, step * even.period // 2, cycle // 2, even.count(0, each))
    return halves.below(count) + halves.below(count - cycle // 2)
