"""`resize_matrix` and `zero_insertion_matrix` in parts, formats and index dtypes, as `conv_matrix` has them."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import FLOATS

import sparsetconv as stc
from sparsetconv._assembly.formats import FORMATS
from sparsetconv._resize.matrices import SAMPLING_FORMATS

# name: (input shape, what is asked for)
RESIZES = {
    "line": ((7,), {"scale": 2.5, "mode": "cubic"}),
    "shrinking": ((9, 5), {"output_shape": (4, 3), "antialias": True}),
    "one axis stays": ((3, 4, 5), {"output_shape": (7, 3), "mode": "nearest"}),
    "area": ((6, 7), {"output_shape": (4, 3), "mode": "area"}),
    "smoothed": ((13, 9), {"output_shape": (4, 5), "convention": "skimage"}),
    "spline": ((5, 6), {"output_shape": (7, 4), "mode": "cubic", "convention": "skimage"}),
    "nearest of Pillow": ((11, 4), {"output_shape": (7, 9), "mode": "nearest", "convention": "pillow"}),
    "nearest of OpenCV": ((11, 4), {"output_shape": (7, 9), "mode": "nearest", "convention": "opencv"}),
    "many taps": ((4, 30), {"output_shape": (5, 7), "mode": "lanczos3", "antialias": True}),
}  # fmt: skip


def every_cut(total):
    """Return ranges of rows that begin and end in the middle of lines and of planes."""
    places = sorted({0, 1, total // 3, total // 2, total - 1, total})
    return [slice(a, b) for a in places for b in places if a <= b]


def assert_same(part, whole, rows):
    assert part.has_canonical_format
    expected = whole[rows]
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name), err_msg=name)
    assert part.shape == expected.shape


@pytest.mark.parametrize("name", RESIZES)
def test_rows_of_a_resize_are_those_of_the_whole(name):
    shape, options = RESIZES[name]
    whole = stc.resize_matrix(shape, **options)
    for rows in every_cut(whole.shape[0]):
        assert_same(stc.resize_matrix(shape, rows=rows, **options), whole, rows)
    half = whole.shape[0] // 2
    for rows, expected in ((slice(half, None), whole[half:]), (slice(None), whole)):
        part = stc.resize_matrix(shape, rows=rows, dtype="complex64", **options)
        np.testing.assert_array_equal(part.toarray(), expected.toarray().astype("complex64"))


def naive_insertion(shape, strides):
    large = [(n - 1) * s + 1 for n, s in zip(shape, strides, strict=True)]
    matrix = np.zeros((np.prod(large), np.prod(shape)), int)
    for column, place in enumerate(np.ndindex(*shape)):
        row = np.ravel_multi_index([p * s for p, s in zip(place, strides, strict=True)], large)
        matrix[row, column] = 1
    return matrix


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rows_of_a_zero_insertion(data):
    ndim = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim)))
    strides = tuple(data.draw(st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim)))
    expected = naive_insertion(shape, strides)
    start = data.draw(st.integers(0, len(expected)))
    stop = data.draw(st.integers(start, len(expected)))
    part = stc.zero_insertion_matrix(shape, strides, rows=slice(start, stop), dtype=np.int64)
    np.testing.assert_array_equal(part.toarray(), expected[start:stop])
    assert part.has_canonical_format


MATRICES = {
    "resize": (stc.resize_matrix, ((5, 6),), {"output_shape": (4, 9), "mode": "cubic"}),
    "zeros": (stc.zero_insertion_matrix, ((3, 4), (2, 3)), {}),
}
each_matrix = pytest.mark.parametrize("name", MATRICES)


@each_matrix
@pytest.mark.parametrize("format", SAMPLING_FORMATS)
@pytest.mark.parametrize("index_dtype", [None, "int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [None, slice(3, 21)])
def test_formats_and_dtypes(name, format, index_dtype, dtype, rows):
    make, args, options = MATRICES[name]
    expected = make(*args, **options).toarray()[slice(None) if rows is None else rows]
    A = make(*args, rows=rows, dtype=dtype, index_dtype=index_dtype, format=format, **options)
    assert isinstance(A, sp.sparray)
    assert (A.format, A.dtype, A.shape) == (format, dtype, expected.shape)
    np.testing.assert_array_equal(A.toarray(), expected.astype(dtype))
    indices = A.coords if format == "coo" else (A.indices, A.indptr)
    assert {index.dtype for index in indices} == {np.dtype(index_dtype or "int32")}
    if format != "coo":
        assert A.has_canonical_format
        assert A.has_sorted_indices


@each_matrix
def test_columns_first_are_the_same_matrix(name):
    """CSC is assembled from transposed factors, not converted."""
    make, args, options = MATRICES[name]
    by_rows, by_columns = (make(*args, format=format, **options) for format in ("csr", "csc"))
    converted = by_rows.tocsc()
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(by_columns, part), getattr(converted, part))


BAD = {
    "blocks": ({"format": "bsr"}, ValueError, r"format must be one of csr, csc, coo; got 'bsr'; A.asformat\('bsr'\)"),
    "diagonals": ({"format": "dia"}, ValueError, "format must be one of csr, csc, coo; got 'dia'"),
    "word": ({"format": "dense"}, ValueError, "format must be one of csr, csc, coo; got 'dense'$"),
    "no word": ({"format": 3}, TypeError, "format must be a string, got 3"),
    "no slice": ({"rows": 3}, TypeError, "rows must be a slice of unit step, got 3"),
    "step": ({"rows": slice(0, 4, 2)}, TypeError, "rows must be a slice of unit step"),
    "beyond": ({"rows": slice(0, 51)}, ValueError, "rows must satisfy 0 <= start <= stop <= (36|50), the number of rows"),
    "index word": ({"index_dtype": "int16"}, ValueError, "index_dtype must be int32 or int64, got int16"),
    "index": ({"index_dtype": "x"}, TypeError, "index_dtype must be a dtype"),
}  # fmt: skip


@each_matrix
@pytest.mark.parametrize("case", BAD)
def test_bad_input(name, case):
    make, args, options = MATRICES[name]
    bad, error, message = BAD[case]
    with pytest.raises(error, match=message):
        make(*args, **options, **bad)


def test_formats_are_some_of_all():
    assert set(SAMPLING_FORMATS) < set(FORMATS)


def test_few_rows_cost_few_rows():
    """Of matrices that no machine holds; whole factors of these axes would take gigabytes."""
    n = 10**9
    for mode in ("linear", "cubic", "area", "nearest"):
        rows = slice(n, n + 7)
        part = stc.resize_matrix(n, 2 * n, mode=mode, rows=rows)
        small = stc.resize_matrix(1000, 2000, mode=mode, rows=slice(1000, 1007))
        np.testing.assert_array_equal(part.data, small.data)
        np.testing.assert_array_equal(part.indices - n // 2, small.indices - 500)
    picture = stc.resize_matrix((n, n), scale=2, rows=slice(2 * n - 3, 2 * n + 4))
    assert (picture.shape, picture.indices.dtype) == ((7, n * n), np.int64)
    np.testing.assert_allclose(picture.sum(1), 1)
    zeros = stc.zero_insertion_matrix((n, n), (2, 3), rows=slice(4 * (3 * n - 2), 4 * (3 * n - 2) + 7))
    np.testing.assert_array_equal(zeros.indices, 2 * n + np.arange(3))
    np.testing.assert_array_equal(zeros.indptr, [0, 1, 1, 1, 2, 2, 2, 3])


def test_indices_that_are_too_small_are_refused():
    rows = slice(0, 4)
    for make, args in (
        (stc.resize_matrix, ((10**5, 10**5), (10**5, 10**5))),
        (stc.zero_insertion_matrix, ((10**5, 10**5), 2)),
    ):
        assert make(*args, rows=rows).indices.dtype == np.int64
        with pytest.raises(
            ValueError, match=r"index_dtype must hold 10000000000 \(rows, columns or entries\), got int32"
        ):
            make(*args, rows=rows, index_dtype="int32")
