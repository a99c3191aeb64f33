"""One axis against lists that are walked through."""

from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import CONSTANTS, PERIODS, extension_index
from strategies import examples

from sparsetconv._geometry import segments as segments_module
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.padding import PADDING, PADDING_MODES
from sparsetconv._geometry.segments import Segment, forward_segments, transposed_segments


@st.composite
def axes(draw):
    size, taps, stride, dilation = (draw(st.integers(1, top)) for top in (9, 8, 5, 4))
    before = draw(st.integers(-6, 14))
    lowest = dilation * (taps - 1) + 1 - size - before
    after = draw(st.integers(lowest, max(lowest, 14)))
    return Axis(size, taps, stride, before, after, dilation, draw(st.sampled_from(PADDING_MODES)))


def reads(axis):
    """For each output the (sample, tap) pairs, ascending."""
    return [
        sorted(
            (sample, t)
            for t in range(axis.taps)
            if (sample := extension_index(axis.mode, axis.size, axis.first(o) + t * axis.dilation))
            is not None
        )
        for o in range(axis.outputs)
    ]


@st.composite
def huge_axes(draw):
    """Numbers of any magnitude up to 2**62; at least one output."""
    number = st.integers(0, 62).flatmap(lambda bits: st.integers(1, 2**bits))
    size, taps, stride, dilation = (draw(number) for _ in range(4))
    before = draw(number) * draw(st.sampled_from([-1, 1]))
    after = dilation * (taps - 1) + 1 - size - before + draw(st.one_of(st.just(0), number))
    return Axis(size, taps, stride, before, after, dilation, draw(st.sampled_from(PADDING_MODES)))


def replay(segments, rows):
    """Expand segments into rows, asserting that they are in order and without gaps."""
    result = []
    for start, period, repeat, shift in segments:
        assert start == len(result)
        for time in range(repeat):
            for number in range(start, start + period):
                # without one shift columns move as from the first group to the second
                steps = [shift] * len(rows[number])
                if shift is None:
                    following = rows[number + period * (repeat > 1)]
                    steps = [
                        after - before
                        for (after, _), (before, _) in zip(following, rows[number], strict=True)
                    ]
                result.append(
                    [
                        (column + time * step, tap)
                        for (column, tap), step in zip(rows[number], steps, strict=True)
                    ]
                )
    return result


def row_count(axis, output):
    """Return how many different samples an output reads: by another rule than the package's."""
    first, last = axis.first(output), axis.first(output) + axis.extent - 1
    if first >= 0 and last < axis.size:
        return axis.taps
    if axis.mode in CONSTANTS:
        low = max(0, -(first // axis.dilation))
        high = min(axis.taps, (axis.size - 1 - first) // axis.dilation + 1)
        inside = max(0, high - low)
        edges = {extension_index(axis.mode, axis.size, p) for p in (first, last) if not 0 <= p < axis.size}
        edges -= {None}
        touched = {e for e in edges if (e - first) % axis.dilation or not first <= e <= last}
        return inside + len(touched)
    return periodic_count(axis, first, PERIODS[axis.mode](axis.size))


def periodic_count(axis, first, pieces):
    """Count classes of ``first + t * dilation`` under the extension's symmetries.

    Shifts by the period identify ``t`` with ``t + cycle``; a mirror identifies taps whose
    positions add up to a fixed number modulo the period, which pairs each tap with at most one
    other.
    """
    period = sum(map(len, pieces))
    common = gcd(period, axis.dilation)
    cycle = period // common
    distinct = min(axis.taps, cycle)
    if len(pieces) == 1 or period == 1:
        return distinct
    # position -1 shows what stands at a position inside
    target = -1 + extension_index(axis.mode, axis.size, -1) - 2 * first
    if target % common:
        return distinct
    total = (target // common) * pow(axis.dilation // common, -1, cycle) % cycle
    return distinct - pairs(total, distinct) - pairs(total + cycle, distinct)


def pairs(total, count):
    """Count the pairs ``t < u`` in ``range(count)`` with ``t + u == total``."""
    return max(0, (total + 1) // 2 - max(0, total - count + 1))


@examples(1500)
@given(axes())
def test_counts_and_segments(axis):
    rows = reads(axis)
    counts = [len({sample for sample, _ in row}) for row in rows]
    assert [row_count(axis, o) for o in range(axis.outputs)] == counts
    assert axis.nnz == sum(counts)
    assert replay(forward_segments(axis), rows) == rows
    columns = [[] for _ in range(axis.size)]
    for o, row in enumerate(rows):
        for sample, tap in row:
            columns[sample].append((o, tap))
    assert replay(transposed_segments(axis), columns) == columns


@examples(1500)
@given(axes())
def test_pieces_of_borders_repeat(axis):
    """Wherever pieces are found they say what is read, short as they may be."""
    rows = reads(axis)
    columns = [[] for _ in range(axis.size)]
    for o, row in enumerate(rows):
        for sample, tap in row:
            columns[sample].append((o, tap))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_module, "ROWS_PER_PIECE", -1)
        assert replay(forward_segments(axis), rows) == rows
        assert replay(transposed_segments(axis), columns) == columns


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_long_borders_of_few_taps_are_few_pieces(mode):
    for stride in (1, 2):
        axis = Axis(10**6, 3, stride, 10**5, 10**5, 10**5, mode)
        for segments in (forward_segments(axis), transposed_segments(axis)):
            assert len(segments) < 100
            # rows that stand there once or are looked at twice
            assert sum(s.period * min(2, s.repeat) for s in segments) < 400


@examples(1500)
@given(axes(), st.data())
def test_counts_of_ranges_and_of_samples_that_taps_read(axis, data):
    rows = reads(axis)
    start = data.draw(st.integers(0, axis.outputs))
    stop = data.draw(st.integers(start, axis.outputs))
    assert axis.entries(start, stop) == sum(len({sample for sample, _ in row}) for row in rows[start:stop])
    pairs = {pair for row in rows for pair in row}
    assert axis.kernel_entries(True) == len(pairs)
    assert axis.kernel_entries(False) == sum(map(len, rows))


@examples(400)
@given(huge_axes(), st.data())
def test_counts_of_any_size_in_closed_form(axis, data):
    """Ranges add up, single rows are counted by another rule, and taps and outputs may change places."""
    start = data.draw(st.integers(0, axis.outputs))
    stop = data.draw(st.integers(start, axis.outputs))
    parts = axis.entries(0, start), axis.entries(start, stop), axis.entries(stop, axis.outputs)
    assert axis.nnz == sum(parts) <= min(axis.outputs * axis.taps, axis.outputs * axis.size)
    row = min(start, axis.outputs - 1)
    assert axis.entries(row, row + 1) == row_count(axis, row)
    assert axis.swapped.outputs == axis.taps
    assert axis.swapped.swapped.nnz == axis.nnz
    assert axis.kernel_entries(True) <= axis.taps * min(axis.outputs, axis.size)


def test_known_counts_of_huge_axes():
    n, k = 2**62, 2**61 + 1
    assert Axis(n, k, 1, k - 1, k - 1, 1, "zeros").nnz == n * k
    assert Axis(n, k, 1, k - 1, 0, 1, "circular").nnz == n * k
    # of k - 1 rows the first reads sample 0 and those before it as one and the same
    assert Axis(n, k, 1, k - 1, 0, 1, "replicate").nnz == n * k - k * (k - 1) // 2
    # a window folded about sample 0 in the middle has half of its samples twice
    half = k // 2
    assert Axis(n, k, 1, half, 0, 1, "reflect").nnz == (n - half) * k - sum_below(half + 1)


def sum_below(count):
    return count * (count - 1) // 2


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("size", range(1, 6))
def test_source_index(mode, size):
    positions = range(-4 * size - 3, 5 * size + 3)
    expected = [extension_index(mode, size, p) for p in positions]
    assert [PADDING[mode].sample(size, p) for p in positions] == expected


def test_huge_pads_need_few_segments():
    """A border far longer than the signal is periodic, so that it costs no more than one period."""
    for mode in PADDING_MODES:
        axis = Axis(5, 3, 2, 10**9, 10**9, 1, mode)
        assert len(forward_segments(axis)) < 50
        assert axis.nnz > 0


@examples(300)
@given(st.integers(0, 9), st.integers(1, 5), st.integers(1, 6), st.data())
def test_clip_keeps_rows_and_phase(start, period, repeat, data):
    segment = Segment(start, period, repeat, 3)
    first = data.draw(st.integers(0, segment.stop + 2))
    last = data.draw(st.integers(first, segment.stop + 4))
    rows = []
    for piece in segment.clip(first, last):
        assert piece.repeat == 1 or (piece.period == period and (piece.start - start) % period == 0)
        rows += range(piece.start, piece.stop)
    assert rows == list(range(max(first, start), min(last, segment.stop)))
