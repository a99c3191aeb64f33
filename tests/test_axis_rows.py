"""The rows of one axis' matrix: canonical, transposed to each other, and whole in chunks of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import geometries

from sparsetconv.axis_rows import AxisRows
from sparsetconv.geometry import ConvGeometry


@settings(max_examples=300, deadline=None)
@given(geometries(max_ndim=1))
def test_rows_are_canonical_and_transposed(case):
    kernel_shape, input_shape, options = case
    (axis,) = ConvGeometry(input_shape, kernel_shape, **options).axes
    dense = []
    for transposed in (False, True):
        rows = AxisRows(axis, transposed)
        matrix = np.zeros((*rows.shape, axis.taps), int)
        for number in range(rows.shape[0]):
            row = rows.row(number)
            assert (np.diff(row.columns) > 0).all()
            # folding the identity shows which taps each column sums
            matrix[number, row.columns] = row.fold(np.eye(axis.taps, dtype=int), 1).T
        assert rows.count(0, rows.shape[0]) == matrix.any(2).sum()
        np.testing.assert_array_equal(rows.counts(0, rows.shape[0]), matrix.any(2).sum(1))
        dense.append(matrix)
    np.testing.assert_array_equal(dense[0], dense[1].swapaxes(0, 1))


@settings(max_examples=500, deadline=None)
@given(geometries(max_ndim=1), st.booleans(), st.integers(0, 40), st.integers(0, 20), st.data())
def test_chunks_hold_every_row(case, transposed, whole, most, data):
    """However a range of rows is divided, repeating its parts gives its rows, one by one."""
    kernel_shape, input_shape, options = case
    (axis,) = ConvGeometry(input_shape, kernel_shape, **options).axes
    rows = AxisRows(axis, transposed)
    start = data.draw(st.integers(0, rows.shape[0]))
    stop = data.draw(st.integers(start, rows.shape[0]))
    identity = np.eye(axis.taps, dtype=int)
    columns, folds = [], []
    for chunk in rows.chunks(start, stop, whole, most):
        joined, numbers, parts = rows.template(chunk)
        assert (np.diff(numbers) >= 0).all()
        fold = joined.fold(identity, 1).T
        done = 0
        for count, repeat, shift in parts:
            block = slice(done, done + count)
            done += count
            columns += [joined.columns[block] + shift * time for time in range(repeat)]
            folds += [fold[block]] * repeat
        assert done == joined.columns.size
    wanted = [rows.row(number) for number in range(start, stop)]
    if wanted:
        expected = np.concatenate([row.columns for row in wanted])
        np.testing.assert_array_equal(np.concatenate(columns), expected)
        np.testing.assert_array_equal(
            np.concatenate(folds), np.concatenate([row.fold(identity, 1).T for row in wanted])
        )


@pytest.mark.parametrize("transposed", [False, True])
def test_border_heavy_rows_are_divided(transposed):
    """A wrapped kernel as long as its signal is all border; no chunk takes the memory of the matrix."""
    (axis,) = ConvGeometry(500, 500, padding=((0, 499),), padding_mode="circular").axes
    rows = AxisRows(axis, transposed)
    chunks = rows.chunks(0, 500, 512, 5000)
    assert len(chunks) >= 50
    assert max(rows.template(chunk).joined.columns.size for chunk in chunks) <= 5000
