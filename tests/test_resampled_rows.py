"""Positions in integers, and rows of a resize that are written in blocks."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import examples
from test_resize import resizes

import sparsetconv as stc
from sparsetconv._assembly import kronecker
from sparsetconv._resize import rows
from sparsetconv._resize.conventions import CONVENTIONS

LARGE = st.integers(1, 2**80)


@examples(200)
@given(
    slope=st.builds(Fraction, LARGE, LARGE).filter(lambda f: f < 2**40),
    start=st.builds(Fraction, st.integers(-(2**90), 2**90), LARGE).filter(lambda f: abs(f) < 2**60),
    first=st.integers(0, 10**5),
    count=st.integers(1, 700),
)
# output 2 falls on a sample
@example(slope=Fraction(1, 4), start=Fraction(1, 2), first=0, count=5)
def test_positions_are_exact(slope, start, first, count):
    """Whatever the denominators: products of 64-bit numbers have no room in 64 bits."""
    line = rows.Line(slope, start)
    floors, rests = line.positions(first, first + count)
    for number in {0, 1, count // 2, count - 1}:
        position = slope * (first + min(number, count - 1)) + start
        place = min(number, count - 1)
        assert int(floors[place]) + Fraction(int(rests[place]), line.denominator) == position
        assert 0 <= rests[place] < line.denominator


@examples(200)
@given(case=resizes(), block=st.sampled_from([1, 5, 24, 60]))
def test_blocks_are_not_seen(case, block):
    """Neither where blocks end, nor which of them are copies."""
    size, sizes, _, _, options = case
    size, sizes = (
        7 * size,
        {name: value * (7 if name == "output_shape" else 1) for name, value in sizes.items()},
    )
    matrices = []
    for entries in (1 << 20, block):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "BLOCK", entries)
            patch.setattr(rows, "PART", 1 + entries % 7)
            matrices.append(stc.resize_matrix(size, **sizes, **options))
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(*(getattr(matrix, name) for matrix in matrices))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_blocks_of_conventions_are_not_seen(name, monkeypatch):
    convention = CONVENTIONS[name]
    cases = [
        (mode, antialias)
        for antialias, modes in ((False, convention.modes), (True, convention.antialiased))
        for mode in modes
    ]
    for mode, antialias in cases:
        for outputs in (23, 77, 200):
            monkeypatch.undo()
            options = {"mode": mode, "convention": name, "antialias": antialias}
            whole = stc.resize_matrix(100, outputs, **options)
            monkeypatch.setattr(rows, "BLOCK", 40)
            assert (stc.resize_matrix(100, outputs, **options) != whole).nnz == 0


@pytest.mark.parametrize(
    ("outputs", "mode", "most"),
    [
        # a whole factor: the borders, and one block between them
        (600_000, "linear", 5),
        (600_000, "nearest", 5),
        (200_000, "linear", 5),
        (100_000, "area", 5),
        # no rows that repeat: block by block
        (299_999, "linear", 300_000 * 2 // rows.BLOCK + 2),
        (300_007, "cubic", 300_007 * 4 // rows.BLOCK + 2),
    ],
)
def test_large_axes(outputs, mode, most, monkeypatch):
    """Few blocks are computed, none by rows, in little memory beside the matrix."""
    calls = []
    original = rows._inner
    monkeypatch.setattr(rows, "_inner", lambda *arrays: calls.append(1) or original(*arrays))
    tracemalloc.start()
    try:
        matrix = stc.resize_matrix(300_000, outputs, mode=mode)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(calls) <= most
    nbytes = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    assert peak < 1.5 * nbytes + 3 * rows.ENTRY_BYTES * rows.BLOCK
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-14)
    middle = outputs // 2
    part = matrix[[0, 1, middle, outputs - 1]].tocoo()
    positions = (np.array([0, 1, middle, outputs - 1]) + 0.5) * 300_000 / outputs - 0.5
    assert np.abs(part.col - positions[part.row]).max() <= (3 if mode != "area" else 300_000 / outputs)


def test_a_matrix_without_room_is_refused_first():
    with pytest.raises(MemoryError, match="an axis of the matrix needs"):
        stc.resize_matrix(10**7, 10**13)


@examples(60)
@given(st.data())
def test_kronecker_products_of_many_rows(data):
    """Rows of the left factor are vectors where the right one is short."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    factors = []
    for _ in range(data.draw(st.integers(2, 3))):
        factor = rng.integers(0, 3, data.draw(st.tuples(st.integers(1, 9), st.integers(1, 5)))) * 1.5
        # the rows of an interpolation are not empty
        factor[:, 0] += 1
        factors.append(sp.csr_array(factor))
    expected = np.ones((1, 1))
    for factor in factors:
        expected = np.kron(expected, factor.toarray())
    for short in (0, 1 << 9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kronecker, "SHORT_LINE", short)
            patch.setattr(kronecker, "SHORT_BLOCK", 7)
            matrix = kronecker.kronecker(factors, np.dtype("float32"))
        np.testing.assert_array_equal(matrix.toarray(), expected.astype(np.float32))
        assert matrix.nnz == np.count_nonzero(expected)
        assert matrix.indptr.dtype == matrix.indices.dtype == np.int32
        again = matrix.copy()
        again.has_canonical_format = again.has_sorted_indices = False
        again.sum_duplicates()
        np.testing.assert_array_equal(again.indices, matrix.indices)


def test_an_operators_factor_is_not_its_matrix():
    """A single factor is copied for whoever may write to the matrix."""
    R = stc.ResizeOperator(5, 9)
    matrix = R.tosparse()
    matrix.data[:] = 0
    assert R.factors[0].data.all()
