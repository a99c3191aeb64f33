"""`SparseOperator`: products with any CSR matrix, by SciPy's loops and by compiled ones; what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from operator_cases import FLOATS, integers
from operator_laws import working_threads
from strategies import examples

import sparsetconv as stc
from sparsetconv._arrays import layout, memory
from sparsetconv._methods.cpu.csr import product

COLUMNS = (1, 2, 7, 8, 33, 64, 200)
# the products of these are SciPy's, and by the compiled loops
SMALL, COMPILED = 1 << 60, 1


@pytest.fixture(params=[SMALL, COMPILED], ids=["SciPy", "compiled"])
def route(request, monkeypatch):
    """Let all products be small, or all large."""
    monkeypatch.setattr(product, "LARGE", request.param)
    monkeypatch.setattr(product, "_ready", {})


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(product, "LARGE", COMPILED)
    monkeypatch.setattr(product, "_ready", {})


def csr(rows, columns, shape, dtype="float64", index_dtype="int32", seed=0):
    """Return a CSR with entries in the given order, duplicates among them, and the same as a dense array."""
    rows, columns = np.asarray(rows, int), np.asarray(columns, int)
    by_row = np.argsort(rows, kind="stable")
    values = integers(rows.size, dtype, seed)
    M = sp.csr_array(shape, dtype=dtype)
    M.indptr = np.searchsorted(rows[by_row], np.arange(shape[0] + 1)).astype(index_dtype)
    M.indices, M.data = columns[by_row].astype(index_dtype), values
    dense = np.zeros(shape, dtype)
    np.add.at(dense, (rows[by_row], columns[by_row]), values)
    return M, dense


def rounded(seed=0, shape=(60, 50), entries=900, dtype="float64"):
    """Return a CSR whose products are rounded, with rows of all lengths, in no order and with duplicates."""
    rng = np.random.default_rng(seed)
    rows = (shape[0] * rng.random(entries) ** 3).astype(int)
    M, _ = csr(rows, rng.integers(0, shape[1], entries), shape, dtype)
    M.data = drawn(entries, dtype, seed)
    return M


def drawn(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else values).astype(dtype)


def in_order(M, X):
    """Return the products, each sum in the order of the entries, each term rounded before it is added."""
    Y = np.zeros((M.shape[0], X.shape[1]), np.result_type(M, X))
    for row in range(M.shape[0]):
        for place in range(M.indptr[row], M.indptr[row + 1]):
            a, x = M.data[place], X[M.indices[place]]
            if Y.dtype.kind == "c":
                # NumPy's own product of complex numbers may round only once
                Y[row].real += a.real * x.real - a.imag * x.imag
                Y[row].imag += a.real * x.imag + a.imag * x.real
            else:
                Y[row] += a * x
    return Y


@st.composite
def problems(draw):
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    places = st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1))
    entries = draw(st.lists(places, max_size=40))
    rows, columns = zip(*entries, strict=True) if entries else ((), ())
    dtype = draw(st.sampled_from(("float64", "complex64")))
    return csr(rows, columns, shape, dtype, draw(st.sampled_from(("int32", "int64"))))


@examples(60)
@given(problem=problems(), columns=st.sampled_from(COLUMNS), large=st.booleans())
def test_any_matrix(problem, columns, large):
    M, dense = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "LARGE", COMPILED if large else SMALL)
        A = stc.SparseOperator(M)
        X, Y = (integers((n, columns), M.dtype, 1) for n in A.shape[::-1])
        for order in "CF":
            np.testing.assert_array_equal(A @ np.asarray(X, order=order), dense @ X)
            np.testing.assert_array_equal(A.H @ np.asarray(Y, order=order), dense.conj().T @ Y)
        np.testing.assert_array_equal(A.apply(X.T.copy()), (dense @ X).T)
        np.testing.assert_array_equal(A.T @ Y[:, 0], dense.T @ Y[:, 0])
        np.testing.assert_array_equal(A.toarray(), dense)


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1), (3, 0), (0, 3)], ids=str)
@pytest.mark.usefixtures("route")
def test_thin_matrices(shape):
    rng = np.random.default_rng(0)
    entries = 40 if min(shape) else 0
    M, dense = csr(*(rng.integers(0, max(n, 1), entries) for n in shape), shape)
    A = stc.SparseOperator(M)
    for columns in COLUMNS:
        X = integers((shape[1], columns), "float64", 1)
        np.testing.assert_array_equal(A @ X, dense @ X)
        np.testing.assert_array_equal(A.T @ integers((shape[0], columns), "float64", 1),
                                      dense.T @ integers((shape[0], columns), "float64", 1))  # fmt: skip


@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "uint16", "int64"])
@pytest.mark.parametrize("operand", ["float32", "complex128", "int8", "bool"])
@pytest.mark.usefixtures("route")
def test_mixed_dtypes(dtype, operand):
    M, dense = csr([0, 2, 2, 1, 2, 0], [1, 0, 3, 2, 1, 3], (4, 5), dtype)
    A = stc.SparseOperator(M)
    for columns in (1, 5):
        X = integers((5, columns), operand, 1)
        Y = A @ X
        assert Y.dtype == np.result_type(np.dtype(dtype), np.dtype(operand))
        np.testing.assert_array_equal(Y, dense @ X)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.usefixtures("compiled")
def test_sums_are_in_the_order_of_the_entries(dtype):
    """With one vector and with many, in both directions: the bits of a loop, and SciPy's where it rounds alike."""
    M, X, Y = rounded(dtype=dtype), drawn((50, 70), dtype, 1), drawn((60, 70), dtype, 2)
    A = stc.SparseOperator(M)
    T = M.tocsc().T
    for operator, matrix, V in ((A, M, X), (A.T, T, Y)):
        wanted = in_order(matrix, V)
        for columns in COLUMNS:
            np.testing.assert_array_equal(operator @ V[:, :columns].copy(), wanted[:, :columns])
        np.testing.assert_array_equal(operator @ V[:, 3], wanted[:, 3])
        if product.rounds_twice():
            np.testing.assert_array_equal(matrix @ V, wanted)


@pytest.mark.usefixtures("compiled")
def test_threads_change_no_bit():
    """Vectors are scaled, which is exact, so that no result is that which is still in the memory of another."""
    M, X = rounded(), drawn((50, 9), "float64", 1)
    bits = []
    for number in (1, 2, 4, 64):
        with working_threads(number):
            A, Y = stc.SparseOperator(M), X * number
            results = A @ Y, A @ Y[:, 0], A.T @ (A @ Y), A.apply(Y.T.copy())
            bits.append([result / number for result in results])
    np.testing.assert_array_equal(bits[0][0], in_order(M, X))
    for again in bits[1:]:
        for first, second in zip(bits[0], again, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", FLOATS)
def test_panels_change_no_bit(dtype, monkeypatch):
    """Of a matrix whose rows have no columns in common, columns of the operand are multiplied range by range."""
    M, X = rounded(dtype=dtype), drawn((50, 70), dtype, 1)
    panels, widths = product._panels, []
    monkeypatch.setattr(
        product, "_panels", lambda *args: (pair for pair in panels(*args) if widths.append(pair) is None)
    )
    monkeypatch.setattr(product, "LARGE_OPERAND", 0)
    for share, used in ((1.0, False), (0.0, True)):
        monkeypatch.setattr(product, "SCATTERED", share)
        widths.clear()
        np.testing.assert_array_equal(stc.SparseOperator(M) @ X, in_order(M, X))
        assert bool(widths) == used


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", FLOATS)
def test_operands_that_are_copied_to_whole_cache_lines(dtype, monkeypatch):
    """Only those whose rows fill cache lines, begin within one, and are read often; no bit changes."""
    M = rounded(dtype=dtype)
    memory_of_x = np.zeros(50 * 64 * 16 + 128, np.uint8)
    line, made = -memory_of_x.ctypes.data % 64, []
    monkeypatch.setattr(
        product, "aligned", lambda *size: made.append(layout.aligned(*size)) is None and made[-1]
    )
    monkeypatch.setattr(product, "vector_bytes", lambda: 64)
    for entries, columns, shift, used in [
        (0, 64, 16, True), (0, 64, 0, False), (0, 63, 16, False), (10**6, 64, 16, False)
    ]:  # fmt: skip
        X = memory_of_x[line + shift :][: 50 * columns * np.dtype(dtype).itemsize].view(dtype)
        X = X.reshape(50, columns)
        X[...] = drawn((50, columns), dtype, 1)
        monkeypatch.setattr(product, "ALIGNED", entries)
        made.clear()
        np.testing.assert_array_equal(stc.SparseOperator(M) @ X, in_order(M, X))
        assert len(made) == used
        assert all(array.ctypes.data % 64 == 0 for array in made)


def test_which_matrices_are_scattered():
    near = product.CsrArrays.of(stc.conv_matrix(np.ones((3, 3)), (40, 40), padding="same"))
    columns = np.random.default_rng(0).integers(0, 100_000, 10_000)
    scattered = sp.csr_array((np.ones(10_000), columns, np.arange(0, 10_001, 10)), shape=(1000, 100_000))
    far = product.CsrArrays.of(scattered)
    empty = product.CsrArrays.of(sp.csr_array((3, 4)))
    assert [arrays.is_scattered() for arrays in (near, far, empty)] == [False, True, False]


@pytest.mark.usefixtures("compiled")
def test_transpose_without_memory_has_the_same_bits(monkeypatch):
    M, Y = rounded(), drawn((60, 9), "float64", 1)
    A, B = stc.SparseOperator(M), stc.SparseOperator(M)
    wanted = A.T @ Y
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * (M.data.nbytes + M.indices.nbytes))
    for number in (1, 3):
        with working_threads(number):
            np.testing.assert_array_equal(B.T @ Y, wanted)
            np.testing.assert_array_equal(B.T @ Y[:, 0], wanted[:, 0])
    assert (A._pair.transposed._own is None, B._pair.transposed._own is None) == (False, True)


def test_small_products_compile_nothing():
    """Nor do they import the compiler; once large ones have, small ones use it, with the same bits."""
    code = """
import sys
import numpy as np, scipy.sparse as sp
import sparsetconv as stc
from sparsetconv._methods.cpu.csr import product
values = np.random.default_rng(0).random((40, 30))
M = sp.csr_array(np.where(values < 0.3, values, 0.0))
A, x = stc.SparseOperator(M), np.linspace(0, 1, 30) ** 3
before = A @ x, A @ np.stack([x, x], 1), A.T @ (A @ x)
assert "numba" not in sys.modules and not product._ready
product.LARGE, large = 1, product.LARGE
stc.SparseOperator(M) @ x
product.LARGE = large
assert len(product._ready) == 1
after = A @ x, A @ np.stack([x, x], 1), A.T @ (A @ x)
assert len(A._pair.forward._known) == product.rounds_twice()
for first, second in zip(before, after): np.testing.assert_array_equal(first, second)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("compiled")
def test_without_the_compiler(monkeypatch):
    monkeypatch.setattr(product, "compiler_switch", lambda: "NUMBA_DISABLE_JIT=1")
    M, X = rounded(), drawn((50, 9), "float64", 1)
    A = stc.SparseOperator(M)
    np.testing.assert_array_equal(A @ X, M @ X)
    np.testing.assert_array_equal(A.T @ (A @ X), M.T @ (M @ X))
    assert not product._ready


@pytest.mark.usefixtures("compiled")
def test_columns_are_read_where_they_lie(monkeypatch):
    """A matrix in C order is neither transposed nor copied, and its product is in C order, too."""
    monkeypatch.setattr(product, "transposed", lambda _: pytest.fail("transposed"))
    A = stc.SparseOperator(rounded())
    for operator in (A, A.H, A.gram()):
        assert (operator @ drawn((operator.shape[1], 9), "float64", 0)).flags.c_contiguous


@pytest.mark.usefixtures("compiled")
def test_arrays_are_used():
    M = rounded()
    A = stc.SparseOperator(M)
    for name in ("data", "indices", "indptr"):
        for matrix in (A._csr, A._pair.transposed.matrix):
            assert np.shares_memory(getattr(matrix, name), getattr(M, name))
    assert not np.shares_memory(A.tosparse().data, M.data)
    assert A.nnz == M.nnz
    assert A.tosparse().has_canonical_format


@pytest.mark.parametrize(
    "kind", [sp.csr_matrix, sp.csc_array, sp.coo_matrix, sp.lil_array, sp.dia_array, sp.bsr_array]
)
@pytest.mark.usefixtures("route")
def test_other_formats(kind):
    given = kind(integers((5, 4), "float64"))
    X = integers((4, 3), "float64", 1)
    np.testing.assert_array_equal(stc.SparseOperator(given) @ X, given.toarray() @ X)


@pytest.mark.usefixtures("route")
def test_strided_arrays_and_operands():
    """Compiled loops read contiguous arrays of the machine's byte order only."""
    M, dense = csr([0, 0, 1], [1, 0, 2], (2, 3))
    M.data, M.indices = np.repeat(M.data, 2)[::2], np.repeat(M.indices, 3)[::3]
    A = stc.SparseOperator(M)
    x = np.arange(6.0)[::2]
    np.testing.assert_array_equal(A @ x, dense @ x)
    np.testing.assert_array_equal(A @ x.astype(">f8"), dense @ x)
    X = integers((6, 8), "float64")[::2, ::4]
    np.testing.assert_array_equal(A @ X, dense @ X)
    M.data = M.data.astype(">f8")
    np.testing.assert_array_equal(stc.SparseOperator(M) @ X, dense @ X)


def wrong(**arrays):
    M, _ = csr([0, 0, 1], [1, 0, 2], (2, 3))
    for name, value in arrays.items():
        setattr(M, name, np.array(value, getattr(M, name).dtype))
    return M


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (np.ones((2, 2)), TypeError, r"matrix must be a sparse matrix .*ndarray; scipy.sparse.csr_array\(matrix\)"),
        ([[1.0]], TypeError, "matrix must be a sparse matrix .* list"),
        (None, TypeError, "matrix must be a sparse matrix"),
        (sp.coo_array(np.ones(3)), ValueError, r"matrix must have two axes, got the shape \(3,\)"),
        (sp.csr_array(np.ones((2, 2), bool)), TypeError, "matrix must be float32.*got bool.*astype"),
        (wrong(indices=[1, 0, 3]), ValueError, "columns from 0 to 2, got 3"),
        (wrong(indices=[1, -1, 2]), ValueError, "columns from 0 to 2, got -1"),
        (wrong(indptr=[0, 4, 3]), ValueError, "matrix.indptr must begin with 0, not decrease"),
        (wrong(indptr=[1, 2, 3]), ValueError, "matrix.indptr must begin with 0"),
        (wrong(indptr=[0, 2, 4]), ValueError, "end with at most 3"),
        (wrong(data=[1.0]), ValueError, "end with at most 1"),
        (wrong(indptr=[0, 3]), ValueError, "matrix.indptr must have 3 numbers"),
    ],
)  # fmt: skip
def test_what_is_refused(matrix, error, message):
    with pytest.raises(error, match=message) as raised:
        stc.SparseOperator(matrix)
    assert len(str(raised.value)) < 500


@pytest.mark.usefixtures("route")
def test_more_places_than_entries():
    """Arrays may be longer than the last row pointer says, and hold anything there."""
    M, dense = csr([0, 0, 1], [1, 0, 2], (2, 3))
    M.data, M.indices = np.append(M.data, 7), np.append(M.indices, 99)
    A = stc.SparseOperator(M)
    assert A.nnz == 3
    np.testing.assert_array_equal(A @ np.eye(3), dense)
    np.testing.assert_array_equal(A.T @ np.eye(2), dense.T)


def test_memory_is_checked_first(monkeypatch):
    A = stc.SparseOperator(rounded())
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10)
    with pytest.raises(MemoryError, match="the operand's copy needs"):
        A.apply(np.ones((9, 50)))
    with pytest.raises(MemoryError, match="the matrix' copy needs"):
        A.tosparse()


@pytest.mark.parametrize("name", ["bsr", "coo", "csc", "dia", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_of_scipy(name, kind):
    M = sp.csr_array(np.arange(35.0).reshape(7, 5) % 3)
    given = getattr(sp, f"{name}_{kind}")(M)
    np.testing.assert_array_equal(stc.SparseOperator(given) @ np.arange(5.0), M @ np.arange(5.0))
