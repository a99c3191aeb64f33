"""Sums over arithmetic progressions in logarithmic time: the number of entries of a matrix in closed form.

Python integers are used, which do not overflow. Everything is based on sums of ``(step * i + first) //
modulus``, which count the lattice points below a line. As in the Euclidean algorithm, exchanging the two axes
exchanges ``step`` and ``modulus``, and the remainders shrink.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import NamedTuple


class FloorSums(NamedTuple):
    """Sums over ``i`` of ``q``, of ``i * q`` and of ``q * q``, for ``q = (step * i + first) // modulus``."""

    plain: int
    weighted: int
    squares: int


def floor_sums(count: int, step: int, first: int, modulus: int) -> FloorSums:
    """Return the sums over ``i`` in ``range(count)``.

    Examples
    --------
    >>> floor_sums(4, 5, 1, 3)  # 0, 2, 3, 5
    FloorSums(plain=10, weighted=23, squares=38)
    """
    if count <= 0:
        return FloorSums(0, 0, 0)
    last = count - 1
    ones, linear, square = count, last * count // 2, last * count * (2 * last + 1) // 6
    (slope, step), (height, first) = divmod(step, modulus), divmod(first, modulus)
    plain, weighted, squares = _below_diagonal(count, step, first, modulus)
    return FloorSums(
        plain + slope * linear + height * ones,
        weighted + slope * square + height * linear,
        squares
        + 2 * (height * plain + slope * weighted)
        + slope * slope * square
        + 2 * slope * height * linear
        + height * height * ones,
    )


def _below_diagonal(count: int, step: int, first: int, modulus: int) -> FloorSums:
    """Return the sums if ``step`` and ``first`` are less than ``modulus``, by exchanging the axes."""
    last = count - 1
    top = (step * last + first) // modulus
    if not top:
        return FloorSums(0, 0, 0)
    other = floor_sums(top, modulus, modulus - first - 1, step)
    plain = last * top - other.plain
    weighted = (last * count * top - other.squares - other.plain) // 2
    squares = last * top * (top + 1) - 2 * (other.weighted + other.plain) - plain
    return FloorSums(plain, weighted, squares)


def floor_sum(count: int, step: int, first: int, modulus: int) -> int:
    """Return the sum of ``(step * i + first) // modulus`` for ``i`` in ``range(count)``.

    Examples
    --------
    >>> floor_sum(4, 5, 1, 3)
    10
    """
    total, sign = 0, 1
    while count > 0:
        (slope, step), (height, first) = divmod(step, modulus), divmod(first, modulus)
        last = count - 1
        total += sign * (slope * (last * count // 2) + height * count)
        top = (step * last + first) // modulus
        total += sign * last * top
        count, step, first, modulus, sign = top, modulus, modulus - first - 1, step, -sign
    return total


@dataclass(frozen=True)
class Congruence:
    """The integers ``first + period * i``, for all ``i``; ``first`` is the smallest that is not negative."""

    first: int
    period: int

    def within(self, start: int, stop: int) -> range:
        """Return those of the integers that are in ``range(start, stop)``."""
        return range(start + (self.first - start) % self.period, stop, self.period)

    def count(self, start: int, stop: int) -> int:
        """Return the number of the integers that are in ``range(start, stop)``."""
        start += (self.first - start) % self.period
        return max(0, -((start - stop) // self.period))


def congruence(factor: int, rest: int, modulus: int) -> Congruence | None:
    """Return all ``x`` with ``factor * x`` equal to ``rest`` modulo ``modulus``, or None if there are none.

    Examples
    --------
    >>> congruence(4, 2, 6)
    Congruence(first=2, period=3)
    >>> congruence(4, 3, 6)
    """
    common = gcd(factor, modulus)
    if rest % common:
        return None
    period = modulus // common
    return Congruence(rest // common * pow(factor // common, -1, period) % period, period)


@dataclass(frozen=True)
class Residues:
    """The residues ``(first + step * i) % modulus`` for ``i`` in ``range(count)``."""

    first: int
    step: int
    modulus: int
    count: int

    def below(self, bound: int) -> int:
        """Return the number of residues less than ``bound``."""
        if not 0 < bound < self.modulus:
            return self.count if bound > 0 else 0
        # a residue is below the bound where subtracting it crosses a multiple of the modulus
        lower = floor_sum(self.count, self.step, self.first - bound, self.modulus)
        return floor_sum(self.count, self.step, self.first, self.modulus) - lower

    def sums(self) -> tuple[int, int]:
        """Return the sum of the residues, and of their squares."""
        count, first, step, modulus = self.count, self.first % self.modulus, self.step, self.modulus
        plain, weighted, squares = floor_sums(count, step, first, modulus)
        linear, square = count * (count - 1) // 2, (count - 1) * count * (2 * count - 1) // 6
        total = first * count + step * linear - modulus * plain
        values = first * first * count + 2 * first * step * linear + step * step * square
        crossed = first * plain + step * weighted
        return total, values - 2 * modulus * crossed + modulus * modulus * squares

    def excess(self, bound: int) -> int:
        """Return the sum of ``max(0, residue - bound)``."""
        total, squares = self.sums()
        if bound <= 0:
            return total - bound * self.count
        if bound >= self.modulus:
            return 0
        # (r - bound) % modulus is r - bound, plus one modulus where r < bound: sums of both and of their
        # squares tell for how many residues r < bound, and the sum of bound - r over these
        moved, moved_squares = replace(self, first=self.first - bound).sums()
        total, squares = (
            total - bound * self.count,
            squares - 2 * bound * total + bound * bound * self.count,
        )
        negative = (moved - total) // self.modulus
        deficit = (moved_squares - squares - self.modulus**2 * negative) // (2 * self.modulus)
        return total - deficit
