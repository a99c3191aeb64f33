"""Sums in logarithmic time against lists that are walked through, and huge ones against their own parts."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from sparsetconv._geometry.counting import Congruence, Residues, congruence, floor_sum, floor_sums

small = st.integers(-30, 30)
huge = st.integers(-(2**62), 2**62)


@examples(1000)
@given(st.integers(0, 14), small, small, st.integers(1, 13))
def test_floor_sums(count, step, first, modulus):
    quotients = [(step * i + first) // modulus for i in range(count)]
    weighted = sum(i * q for i, q in enumerate(quotients))
    assert floor_sums(count, step, first, modulus) == (
        sum(quotients),
        weighted,
        sum(q * q for q in quotients),
    )
    assert floor_sum(count, step, first, modulus) == sum(quotients)


@examples(200)
@given(st.integers(0, 2**62), st.integers(0, 2**62), huge, huge, st.integers(1, 2**62))
def test_huge_floor_sums_add_up(count, more, step, first, modulus):
    head, whole = floor_sums(count, step, first, modulus), floor_sums(count + more, step, first, modulus)
    tail = floor_sums(more, step, first + step * count, modulus)
    assert whole.plain == head.plain + tail.plain == floor_sum(count + more, step, first, modulus)
    assert whole.weighted == head.weighted + tail.weighted + count * tail.plain
    assert whole.squares == head.squares + tail.squares


@examples(500)
@given(small, small, st.integers(1, 13), small, small)
def test_congruences(factor, rest, modulus, start, stop):
    solution = congruence(factor, rest, modulus)
    expected = [x for x in range(start, stop) if (factor * x - rest) % modulus == 0]
    if solution is None:
        assert not any((factor * x - rest) % modulus == 0 for x in range(modulus))
        return
    assert 0 <= solution.first < solution.period
    assert list(solution.within(start, stop)) == expected
    assert solution.count(start, stop) == len(expected)


def test_counts_beyond_what_a_range_may_hold():
    assert Congruence(1, 2).count(-(2**70), 2**70) == 2**70


@examples(1000)
@given(small, small, st.integers(1, 13), st.integers(0, 14), st.integers(-4, 17))
def test_residues(first, step, modulus, count, bound):
    residues = [(first + step * i) % modulus for i in range(count)]
    progression = Residues(first, step, modulus, count)
    assert progression.sums() == (sum(residues), sum(r * r for r in residues))
    assert progression.below(bound) == sum(r < bound for r in residues)
    assert progression.excess(bound) == sum(max(0, r - bound) for r in residues)
