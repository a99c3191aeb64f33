"""The rows of one axis' matrix: canonical, transposed to each other, and the same in ranges of any length."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import extension_index
from strategies import examples
from test_axis import axes

from sparsetconv._assembly import axis_rows, runs
from sparsetconv._assembly.axis_rows import AxisRows, _sorted
from sparsetconv._geometry import segments
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._geometry.segments import forward_segments, transposed_segments


def pairs(axis):
    """Return which sample each tap of each output reads, by walking through the extension: (row, tap, column)."""
    reads = [
        (o, t, extension_index(axis.mode, axis.size, axis.first(o) + t * axis.dilation))
        for o, t in itertools.product(range(axis.outputs), range(axis.taps))
    ]
    return [triple for triple in reads if triple[2] is not None]


def drawn_range(axis, transposed, data):
    """Return an axis' rows, and a range of them."""
    rows = AxisRows(axis, transposed)
    start = data.draw(st.integers(0, rows.shape[0]))
    return rows, start, data.draw(st.integers(start, rows.shape[0]))


def folds(axis_rows, rows, taps):
    """Return for each entry of some rows of an axis its row, its column, and which taps it sums."""
    identity = rows.fold(axis_rows.extended(np.eye(taps, dtype=int), 1), 1).T
    numbers = np.repeat(np.arange(rows.sizes.size), rows.sizes)
    return numbers, rows.columns, identity


@examples(1000)
@given(axes(), st.booleans(), st.data())
def test_rows_of_ranges_are_canonical_and_what_is_read(axis, transposed, data):
    dense = np.zeros((axis.outputs, axis.size, axis.taps), int)
    for output, tap, sample in pairs(axis):
        dense[output, sample, tap] += 1
    if transposed:
        dense = dense.swapaxes(0, 1)
    rows, start, stop = drawn_range(axis, transposed, data)
    expected = dense[start:stop]
    some = rows.rows(start, stop)
    numbers, columns, identity = folds(rows, some, axis.taps)
    assert (np.diff(numbers * (axis.size + axis.outputs) + columns) > 0).all()
    found = np.zeros_like(expected)
    found[numbers, columns] = identity
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(some.sizes, expected.any(2).sum(1))
    np.testing.assert_array_equal(rows.counts(start, stop), expected.any(2).sum(1))
    assert rows.count(start, stop) == expected.any(2).sum()
    # taps of a column ascend, whatever the order in which they were found, and single rows are the same
    for one, wanted in zip(some.each(), expected, strict=True):
        _, columns, identity = folds(rows, one, axis.taps)
        np.testing.assert_array_equal(columns, wanted.any(1).nonzero()[0])
        np.testing.assert_array_equal(identity, wanted[columns])
        if one.starts is not None:
            for taps in np.split(one.taps, one.starts[1:]):
                assert (np.diff(taps) > 0).all()


@examples(500)
@given(axes(), st.booleans(), st.data())
def test_long_rows_are_the_same_rows(axis, transposed, data):
    """By slices of the kernel, whatever the runs of a row have in common; sums keep their bits."""
    rows, start, stop = drawn_range(axis, transposed, data)
    weights = np.random.default_rng(0).standard_normal((2, rows.taps, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axis_rows, "LONG_ROW", 0)
        found = list(rows.each(start, stop))
    assert len(found) == stop - start
    for row, expected in zip(found, rows.rows(start, stop).each(), strict=True):
        np.testing.assert_array_equal(row.columns, expected.columns)
        np.testing.assert_array_equal(row.fold(weights, 1), expected.fold(weights, 1))


@examples(500)
@given(axes(), st.booleans(), st.data())
def test_tables_are_the_same_rows(axis, transposed, data):
    """Stretches put each column in its place, with the same taps in the same order."""
    rows, start, stop = drawn_range(axis, transposed, data)
    table = rows.table(start, stop)
    assert table.ends.size == stop - start + 1
    for row, expected in enumerate(rows.rows(start, stop).each()):
        columns = np.full(expected.columns.size, -1)
        taps = [None] * columns.size
        for s in range(table.ends[row], table.ends[row + 1]):
            terms = slice(table.terms[s], table.terms[s + 1])
            for i in range(table.counts[s]):
                place = table.places[s] + i * table.apart[s]
                assert columns[place] == -1
                columns[place] = table.columns[s] + i * table.steps[s]
                taps[place] = (table.taps[terms] + i * table.rises[terms]).tolist()
        np.testing.assert_array_equal(columns, expected.columns)
        starts = range(columns.size) if expected.starts is None else expected.starts
        assert taps == [part.tolist() for part in np.split(expected.listed_taps, starts)[1:]]


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_borders_of_long_kernels_are_a_few_segments(mode):
    """However many rows differ, nothing lists them."""
    axis = Axis(10**6, 300_000, 1, 10**5, 2 * 10**5, 3, mode)
    assert len(forward_segments(axis)) <= 9
    assert len(transposed_segments(axis)) <= 9
    assert sum(segment.stop - segment.start for segment in forward_segments(axis)) == axis.outputs


@examples(1000)
@given(axes(), st.booleans(), st.booleans())
def test_segments_repeat_what_they_say(axis, transposed, pieces):
    """Rows, with their sums, whether pieces of borders are looked for where they are short or not."""
    with pytest.MonkeyPatch.context() as patch:
        if pieces:
            patch.setattr(segments, "ROWS_PER_PIECE", -1)
        rows = AxisRows(axis, transposed)
    at = 0
    for start, period, repeat, shift in rows.segments:
        assert start == at
        at += period * repeat
        groups = [rows.rows(first, first + period) for first in range(start, at, period)]
        template = groups[0]
        step = groups[min(1, repeat - 1)].columns - template.columns if shift is None else shift
        for time, again in enumerate(groups):
            np.testing.assert_array_equal(again.sizes, template.sizes)
            np.testing.assert_array_equal(again.columns, template.columns + time * step)
            np.testing.assert_array_equal(
                folds(rows, again, axis.taps)[2], folds(rows, template, axis.taps)[2]
            )
    assert at == rows.shape[0]


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_few_rows_of_huge_axes(mode, transposed):
    """Strides, dilations and pads far beyond the signal, and moduli beyond 32 bits: rows by Python's integers."""
    for size, taps, stride, dilation, before in (
        (7, 3, 1, 10**9, 10**9),
        (2**45, 5, 2**40 + 1, 2**39 + 3, 2**41),
        (10**15 + 37, 4, 3**25, 7 * 3**24, 5),
    ):
        after = dilation * (taps - 1) + 1 - size - before + 3 * stride
        axis = Axis(size, taps, stride, before, after, dilation, mode)
        rows = AxisRows(axis, transposed)
        for start in {0, rows.shape[0] // 2, rows.shape[0] - 2} if rows.shape[0] > 1 else {0}:
            some = rows.rows(start, start + 2)
            expected = list(map(expected_row(axis, transposed), range(start, start + 2)))
            assert list(zip(*folds(rows, some, axis.taps)[:2], strict=True)) == [
                (number, column) for number, row in enumerate(expected) for column in sorted(row)
            ]
            assert rows.counts(start, start + 2).tolist() == [len(row) for row in expected]


def expected_row(axis, transposed):
    """Return a function that gives the columns of one row, output by output."""
    reads = [
        (o, sample)
        for o in range(axis.outputs)
        for t in range(axis.taps)
        if (sample := extension_index(axis.mode, axis.size, axis.first(o) + t * axis.dilation)) is not None
    ]
    if transposed:
        return lambda row: {o for o, sample in reads if sample == row}
    return lambda row: {sample for o, sample in reads if o == row}


def test_entries_that_do_not_fit_into_packed_keys_are_sorted_all_the_same():
    rng = np.random.default_rng(0)
    numbers, columns, taps = (rng.integers(0, 9, 200) for _ in range(3))
    numbers.sort()
    expected = sorted(zip(numbers, columns, taps, strict=True))
    assert list(zip(*_sorted(numbers, columns, taps, 9), strict=True)) == expected
    far = 2**40
    wide = [(n, c * far, t * far) for n, c, t in expected]
    assert list(zip(*_sorted(numbers, columns * far, taps * far, 9 * far), strict=True)) == wide


def test_row_ranges_touch_their_rows_alone(monkeypatch):
    """Of a border of 10**8 rows, three."""
    asked = []
    forward = runs.forward_runs
    monkeypatch.setattr(
        "sparsetconv._assembly.axis_rows.forward_runs",
        lambda axis, *rows: (asked.append(rows), forward(axis, *rows))[1],
    )
    axis = Axis(10**8, 10**6, 1, 10**6 - 1, 10**6 - 1, 1, "symmetric")
    rows = AxisRows(axis, False)
    start = 10**6 // 2
    assert rows.count(start, start + 3) == rows.counts(start, start + 3).sum()
    assert [(s.start, s.stop) for s in rows.clip(start, start + 3)] == [(start, start + 3)]
    assert asked
    assert all(start <= low < high <= start + 3 for low, high in asked)
