"""Formats, dtypes, options and errors of the matrix functions."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from strategies import distinct_kernel

import sparsetconv as stc
from sparsetconv._arrays import memory
from sparsetconv._assembly.formats import FORMATS

DTYPES = [
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint64",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [stc.conv_matrix, stc.conv_transpose_matrix])
def test_dtype_is_the_kernels(dtype, function):
    kernel = np.arange(1, 7).reshape(2, 3).astype(dtype)
    if kernel.dtype.kind == "c":
        kernel = kernel * (1 - 2j)
    matrix = function(kernel, (4, 5), padding=1, padding_mode="reflect")
    assert matrix.dtype == dtype
    expected = function(kernel.real.astype(int), (4, 5), padding=1, padding_mode="reflect")
    scale = 1 - 2j if kernel.dtype.kind == "c" else 1
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray() * scale)


def test_dtype_converts_before_folding():
    """Folded taps are summed in the dtype asked for: 100 + 100 does not fit an int8."""
    kernel = np.array([100, 1, 100], np.int8)
    matrix = stc.conv_matrix(kernel, 3, padding=1, padding_mode="reflect", dtype=np.int32)
    assert matrix.toarray()[0].tolist() == [1, 200, 0]
    assert stc.conv_matrix([1, 2], 3, dtype="complex64").dtype == np.complex64


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("format", ["csr", "csc"])
def test_index_dtype_is_kept(index_dtype, format):
    matrix = stc.conv_matrix(np.ones((3, 3)), (6, 7), index_dtype=index_dtype, format=format)
    assert matrix.indices.dtype == matrix.indptr.dtype == index_dtype


def test_int64_where_int32_would_overflow():
    part = stc.conv_matrix(np.ones(3), 2**31, rows=slice(2**31 - 4, 2**31 - 2))
    assert part.indices.dtype == np.int64
    assert part.indices.tolist() == [2**31 - 4, 2**31 - 3, 2**31 - 2, 2**31 - 3, 2**31 - 2, 2**31 - 1]
    with pytest.raises(ValueError, match=r"index_dtype must hold 2147483648 .* use int64"):
        stc.conv_matrix(np.ones(3), 2**31, rows=slice(0, 2), index_dtype=np.int32)


@pytest.mark.parametrize("function", [stc.conv_matrix, stc.conv_transpose_matrix])
@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize("rows", [None, slice(3, 17)])
def test_formats_hold_the_same_matrix(function, format, rows):
    kernel = distinct_kernel((4, 2, 2, 3))
    options = {"groups": 2, "stride": 2, "padding": 2, "padding_mode": "symmetric"}
    expected = function(kernel, (4, 4, 5), rows=rows, **options)
    matrix = function(kernel, (4, 4, 5), rows=rows, format=format, **options)
    assert matrix.format == format
    assert isinstance(matrix, sp.sparray)
    assert matrix.nnz == expected.nnz
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())


def test_canonical_flags_are_true():
    """What SciPy is told agrees with what it finds out by itself."""
    for format in ("csr", "csc"):
        matrix = stc.conv_matrix(
            distinct_kernel((3, 2)), (6, 5), padding=2, padding_mode="circular", format=format
        )
        assert matrix.has_canonical_format
        fresh = type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
        assert fresh.has_canonical_format
        assert fresh.has_sorted_indices


def test_zeros_in_the_kernel_are_stored():
    assert stc.conv_matrix([1.0, 0.0, 2.0], 5).nnz == 9


@pytest.mark.parametrize(
    ("kernel_shape", "input_shape", "options"),
    [
        ((3,), (9,), {"padding": "same"}),
        ((2, 3), (4, 5), {"padding": ((0, 0), (1, 1)), "padding_mode": "reflect"}),
        ((2, 3), (4, 5), {"padding": ((1, 0), (1, 1)), "padding_mode": "circular"}),
        ((3, 2, 3), (2, 9), {"padding": 1}),
    ],
)
@pytest.mark.parametrize("function", [stc.conv_matrix, stc.conv_transpose_matrix])
def test_dia(function, kernel_shape, input_shape, options):
    kernel = distinct_kernel(kernel_shape)
    if function is stc.conv_transpose_matrix and len(kernel_shape) > len(input_shape):
        kernel = kernel.swapaxes(0, 1)
    matrix = function(kernel, input_shape, format="dia", **options)
    assert matrix.format == "dia"
    np.testing.assert_array_equal(matrix.toarray(), function(kernel, input_shape, **options).toarray())


@pytest.mark.parametrize(
    ("kernel_shape", "input_shape", "options", "block"),
    [((2, 3), (4, 6), {"stride": (1, 3)}, 3), ((4, 2, 2), (2, 8), {"stride": 2, "padding": 2}, 2)],
)
def test_bsr(kernel_shape, input_shape, options, block):
    kernel = distinct_kernel(kernel_shape)
    matrix = stc.conv_matrix(kernel, input_shape, format="bsr", **options)
    assert matrix.format == "bsr"
    assert matrix.blocksize == (1, block)
    expected = stc.conv_matrix(kernel, input_shape, **options)
    assert matrix.nnz == expected.nnz  # no zeros were added
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())


def test_bsr_transposed():
    kernel = distinct_kernel((2, 3))
    matrix = stc.conv_transpose_matrix(kernel, (4, 5), stride=(1, 3), format="bsr")
    expected = stc.conv_transpose_matrix(kernel, (4, 5), stride=(1, 3))
    assert matrix.blocksize == (3, 1)
    assert matrix.nnz == expected.nnz
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())


def test_transpose_is_plain():
    kernel = distinct_kernel((2, 3)) * (1 + 2j)
    large = stc.conv_matrix(kernel, (6, 7), stride=2, padding=1, padding_mode="circular")
    small = stc.conv_transpose_matrix(
        kernel, (4, 4), stride=2, padding=1, padding_mode="circular", output_shape=(6, 7)
    )
    np.testing.assert_array_equal(small.toarray(), large.toarray().T)


def test_lists_and_foreign_byte_order():
    expected = stc.conv_matrix(np.array([1.0, 2.0]), 4).toarray()
    np.testing.assert_array_equal(stc.conv_matrix([1.0, 2.0], [4]).toarray(), expected)
    np.testing.assert_array_equal(stc.conv_matrix(np.array([1.0, 2.0], ">f8"), 4).toarray(), expected)


def test_works_with_pickle_and_npz(tmp_path):
    matrix = stc.conv_matrix(np.ones((3, 3)), (5, 5))
    assert (pickle.loads(pickle.dumps(matrix)) != matrix).nnz == 0
    sp.save_npz(tmp_path / "a.npz", matrix)
    assert (sp.load_npz(tmp_path / "a.npz") != matrix).nnz == 0


class OnAGpu:
    __cuda_array_interface__ = {}  # noqa: RUF012


@pytest.mark.parametrize(
    ("kernel", "options", "error", "match"),
    [
        (np.ones(3, object), {}, TypeError, "kernel must be float32, .* got object"),
        (np.ones(3, np.float16), {}, TypeError, "kernel must be float32, .* got float16; convert it"),
        (np.ones(3, bool), {}, TypeError, "kernel must be .* got bool"),
        (np.ones(3, np.longdouble), {}, TypeError, "kernel must be .* got"),
        (
            OnAGpu(),
            {},
            TypeError,
            r"kernel must be a NumPy or CuPy array, .*cupy.asarray\(kernel\) makes it one",
        ),
        ([[1, 2], [3]], {}, ValueError, "kernel must be an array, got a sequence whose parts differ"),
        ([1.0, 2.0], {"dtype": "foo"}, TypeError, "dtype must be a dtype, got 'foo'"),
        ([1.0, 2.0], {"index_dtype": "foo"}, TypeError, "index_dtype must be a dtype, got 'foo'"),
        ([1.5, 2.0], {"dtype": int}, TypeError, "dtype must keep the kind of kernel: float64 .* int64"),
        ([1j, 2.0], {"dtype": float}, TypeError, "dtype must keep the kind of kernel: complex128"),
        ([1.0, 2.0], {"dtype": np.float16}, TypeError, "dtype must be float32, .* got float16"),
        ([1.0, 2.0], {"index_dtype": np.int16}, ValueError, "index_dtype must be int32 or int64, got int16"),
        (
            [1.0, 2.0],
            {"format": "lil"},
            ValueError,
            "format must be one of csr, csc, coo, bsr, dia; got 'lil'",
        ),
        (
            [1.0, 2.0],
            {"rows": slice(0, 9)},
            ValueError,
            r"rows must satisfy 0 <= start <= stop <= 7.*slice\(0, 9",
        ),
        ([1.0, 2.0], {"rows": slice(-2, None)}, ValueError, "rows must satisfy"),
        ([1.0, 2.0], {"rows": slice(5, 2)}, ValueError, "rows must satisfy"),
        ([1.0, 2.0], {"rows": slice(0, 4, 2)}, TypeError, "rows must be a slice of unit step"),
        ([1.0, 2.0], {"rows": slice(0, 4, np.array([1, 2]))}, TypeError, "rows must be a slice of unit step"),
        ([1.0, 2.0], {"rows": slice(0.5, 2)}, TypeError, "rows.start must be an integer, got 0.5"),
        ([1.0, 2.0], {"rows": 3}, TypeError, "rows must be a slice of unit step, got 3"),
        ([1.0, 2.0], {"format": "bsr"}, ValueError, "format='bsr' fits where .* got stride 1"),
        ([1.0, 2.0], {"format": "dia", "stride": 2}, ValueError, "format='dia' fits where all strides are 1"),
        (np.ones((3, 3, 3)), {}, ValueError, "kernel_shape must have as many axes as input_shape"),
        (np.ones(0), {}, ValueError, r"kernel_shape\[0\] must be at least 1, got 0"),
        (5, {}, ValueError, "kernel must be an array of at least one axis, got 5"),
        (sp.eye_array(3), {}, TypeError, r"kernel must be a dense array, got dia_array; use \.toarray"),
        (
            np.ma.array([1.0, 2.0], mask=[0, 1]),
            {},
            TypeError,
            r"kernel must have no masked entries; use \.filled",
        ),
        (
            [300, 2],
            {"dtype": "int8"},
            ValueError,
            "dtype must hold every value of kernel: 300 does not fit int8",
        ),
        (
            [1, -1],
            {"dtype": "uint8"},
            TypeError,
            "dtype must keep the kind of kernel: int64 is not converted",
        ),
        ([1.0, 1e300], {"dtype": "float32"}, ValueError, r"of kernel: 1e\+300 does not fit float32"),
        ([1.0, 1e300j], {"dtype": "complex64"}, ValueError, "of kernel: .* does not fit complex64"),
    ],
)
def test_bad_input(kernel, options, error, match):
    with pytest.raises(error, match=match):
        stc.conv_matrix(kernel, 8, **options)


def test_narrower_dtypes_round_and_keep_what_is_not_finite():
    kernel = np.array([1 / 3, np.inf, -np.inf, np.nan])
    A = stc.conv_matrix(kernel, 4, dtype=np.float32)
    np.testing.assert_array_equal(A.toarray()[0], kernel.astype(np.float32))
    assert stc.conv_matrix([127, -128], 4, dtype=np.int8).max() == 127
    # each part fits, and their magnitude would not
    assert np.isfinite(stc.conv_matrix([3e38 + 3e38j], 3, dtype=np.complex64).data).all()


def test_array_in_the_place_of_a_shape():
    with pytest.raises(
        TypeError, match=r"input_shape must be a shape, got an array of the shape \(8, 9\): pass"
    ):
        stc.conv_matrix(np.ones((3, 3)), np.ones((8, 9)))
    assert stc.conv_matrix(np.ones((3, 3)), np.array([8, 9])).shape == (42, 72)


def test_more_columns_than_indices_can_number():
    """A row would fit into memory; all of them would not, which is said first."""
    n = 2**40
    for function, *arguments in (
        (stc.conv_matrix, np.ones((3, 3)), (n, n)),
        (stc.conv_transpose_matrix, np.ones((3, 3)), (n, n)),
        (stc.resize_matrix, (n, n), (n - 1, n)),
        (stc.zero_insertion_matrix, (n, n), 2),
    ):
        with pytest.raises(ValueError, match=r"must leave a matrix of less than 2\*\*63 columns, got \d+"):
            function(*arguments, rows=slice(0, 2))
        with pytest.raises(MemoryError):
            function(*arguments)


@pytest.mark.parametrize("format", FORMATS[:3])
@pytest.mark.parametrize("function", [stc.conv_matrix, stc.conv_transpose_matrix])
def test_too_large_for_the_machine(function, format):
    with pytest.raises(
        MemoryError, match=r"the matrix needs \d+ bytes \(.* GiB\).*method='direct' needs no matrix"
    ):
        function(np.ones((9, 9)), (10**6, 10**6), format=format)


def test_memory_is_checked_before_it_is_taken(monkeypatch):
    """A machine with 100 MB: the matrix of 200 MB is refused, a part of it is not."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**8)
    with pytest.raises(MemoryError, match="needs 200440580 bytes"):
        stc.conv_matrix(np.ones((5, 5)), (816, 816))
    assert stc.conv_matrix(np.ones((5, 5)), (816, 816), rows=slice(0, 812)).shape == (812, 816**2)
