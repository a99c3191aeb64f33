"""Operators on the CPU beside their laws, which are in `operator_laws`: threads, forks, SciPy, refusals."""

import multiprocessing
import pickle
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse.linalg as spla
from operator_cases import METHODS, dense, integers, make

import sparsetconv as stc
from sparsetconv._arrays import memory
from sparsetconv._methods import choice
from sparsetconv._methods.cpu.direct import LOOPS, DirectMethod
from sparsetconv._methods.cpu.fft import FFTMethod
from sparsetconv._methods.gemm import GemmMethod
from sparsetconv._methods.registry import METHODS as KNOWN_METHODS


@pytest.mark.parametrize("method", METHODS)
def test_kernel_with_nan(method):
    """Padded zeros must not meet a NaN; the matrix has no entry there."""
    kernel = np.array([1.0, np.nan, 2.0])
    if method != "sparse":
        with pytest.raises(ValueError, match=f"method='{method}' does not accept a kernel with NaN"):
            stc.ConvOperator(kernel, 5, padding=2, method=method)
    A = stc.ConvOperator(kernel, 5, padding=2)
    assert A.method == "sparse"
    np.testing.assert_array_equal(np.isnan(A @ np.ones(5)), [False, True, True, True, True, True, False])


@pytest.mark.parametrize("method", METHODS)
def test_pickles_without_its_caches(method):
    A = make("groups", "complex64", "reflect", method)
    x = integers(A.shape[1], "complex64")
    before = A @ x
    text = pickle.dumps(A)
    assert len(text) < 2500
    np.testing.assert_array_equal(pickle.loads(text) @ x, before)


@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded:DeprecationWarning"
)  # Python 3.12 warns of what is tested
@pytest.mark.parametrize("method", METHODS)
def test_works_after_a_fork(method):
    """A child process multiplies although its parent's threads did not come along."""
    A = stc.ConvOperator(integers((5, 4), "float64"), (400, 300), padding="same", method=method)
    x = integers(A.shape[1], "float64", 1)
    expected = A @ x
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        result = pool.apply_async(A.matvec, (x,)).get(timeout=60)
    np.testing.assert_array_equal(result, expected)


def test_kernel_is_a_read_only_copy():
    kernel = np.ones(3)
    A = stc.ConvOperator(kernel, 5)
    kernel[:] = 7
    assert (A.kernel == 1).all()
    assert not A.kernel.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        A.kernel[0] = 2


class TestScipyProtocol:
    """How SciPy calls operators: until 1.17 with columns, from 1.18 with batches of rows."""

    def setup_method(self):
        self.A = make("groups", "float64", "reflect", "gemm")
        self.M = dense(self.A)

    def test_column(self):
        x = integers((self.A.shape[1], 1), "float64")
        np.testing.assert_array_equal(self.A._matvec(x).ravel(), (self.M @ x).ravel())
        y = integers((self.A.shape[0], 1), "float64")
        np.testing.assert_array_equal(self.A._rmatvec(y).ravel(), (self.M.T @ y).ravel())

    def test_batch_of_rows(self):
        x = integers((4, 2, self.A.shape[1]), "float64")
        np.testing.assert_array_equal(self.A._matvec(x), x @ self.M.T)
        y = integers((4, 2, self.A.shape[0]), "float64")
        np.testing.assert_array_equal(self.A._rmatvec(y), y @ self.M)

    def test_batch_of_matrices(self):
        x = integers((4, self.A.shape[1], 3), "float64")
        np.testing.assert_array_equal(self.A._matmat(x), self.M @ x)
        y = integers((4, self.A.shape[0], 3), "float64")
        np.testing.assert_array_equal(self.A._rmatmat(y), self.M.T @ y)

    def test_is_a_linear_operator(self):
        assert isinstance(self.A, spla.LinearOperator)
        assert spla.aslinearoperator(self.A) is self.A
        x = integers(self.A.shape[1], "float64")
        product = (2 * self.A.H @ self.A + 3 * self.A.gram()) @ x
        np.testing.assert_array_equal(product, 5 * (self.M.T @ (self.M @ x)))

    def test_native_products_do_not_loop(self, monkeypatch):
        monkeypatch.setattr(type(self.A), "_matvec", None)
        monkeypatch.setattr(type(self.A), "_rmatvec", None)
        x = integers((self.A.shape[1], 3), "float64")
        np.testing.assert_array_equal(self.A.matmat(x), self.M @ x)
        np.testing.assert_array_equal(self.A.rmatmat(self.M @ x), self.M.T @ (self.M @ x))


@pytest.mark.parametrize("solver", ["lsqr", "lsmr", "cg", "svds"])
def test_scipys_solvers(solver):
    rng = np.random.default_rng(0)
    kernel = np.array([[0.1, 0.2, 0.0], [0.1, 1.0, 0.3]])
    A = stc.ConvOperator(kernel, (9, 8), padding="same_lower", padding_mode="reflect")
    x = rng.standard_normal(72)
    b = A @ x
    if solver == "svds":
        values = spla.svds(A, 3, v0=np.ones(72), return_singular_vectors=False)
        np.testing.assert_allclose(np.sort(values)[::-1], np.linalg.svd(dense(A))[1][:3])
        return
    if solver == "cg":
        solution, info = spla.cg(A.gram(), A.H @ b, rtol=1e-13)
        assert info == 0
    else:
        solution = getattr(spla, solver)(A, b, atol=1e-14, btol=1e-14)[0]
    np.testing.assert_allclose(solution, x, atol=1e-8)


def test_small_problems_take_loops_that_are_loaded(monkeypatch):
    """Nothing is compiled for them; the loops of `direct` are taken once a larger problem has loaded them."""
    loops = types.SimpleNamespace(is_loaded=lambda dtype: dtype == np.float64)
    monkeypatch.delitem(sys.modules, LOOPS, raising=False)
    kernel = np.ones((5, 5))
    assert stc.ConvOperator(kernel, (40, 40)).method == "sparse"
    monkeypatch.setitem(sys.modules, LOOPS, loops)
    assert stc.ConvOperator(kernel, (40, 40)).method == "direct"
    assert stc.ConvOperator(1j * kernel, (40, 40)).method == "direct"
    # the loops for other dtypes are not loaded
    for dtype in (np.float32, np.complex64, np.int64):
        assert stc.ConvOperator(kernel.astype(dtype), (40, 40)).method == "sparse"
    # a product of so few numbers is a matrix's
    assert stc.ConvOperator(kernel[:2, :2], (6, 6)).method == "sparse"


def test_loaded_loops_are_known():
    A = stc.ConvOperator(np.ones((3, 3)), (300, 300), method="direct")
    A @ np.ones(90_000)
    assert DirectMethod.is_ready(np.dtype(np.float64))
    assert not FFTMethod.is_ready(np.dtype(np.float64))
    assert GemmMethod.is_ready(np.dtype(np.float64))


def test_auto_prefers_what_its_estimate_says():
    from sparsetconv._methods import cost

    for kernel_shape, input_shape in (
        ((5, 5), (1024, 1024)),
        ((99, 99), (512, 512)),
        ((64, 64, 3, 3), (64, 56, 56)),
    ):
        kernel = np.ones(kernel_shape, np.float32)
        A = stc.ConvOperator(kernel, input_shape, padding="same")
        costs = cost.estimate(A.geometry, A.dtype)
        assert costs[A.method] == min(costs.values())
        assert set(costs) == set(KNOWN_METHODS)


def test_auto_leaves_out_a_matrix_that_would_fill_the_memory(monkeypatch):
    kernel, geometry = np.ones((1, 1)), stc.ConvGeometry((9000, 3000), (1, 1), stride=(3, 1))
    seconds = {"sparse": 1.0, "direct": 2.0, "gemm": 3.0, "fft": 4.0}
    monkeypatch.setattr(choice, "estimate", lambda *_: seconds)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    assert stc.ConvOperator.from_geometry(kernel, geometry).method == "sparse"
    # of 144 MB
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**8)
    assert stc.ConvOperator.from_geometry(kernel, geometry).method == "direct"
    # nothing else takes a kernel with NaN, so the matrix stays, and says so itself
    B = stc.ConvOperator(np.full((300, 300), np.nan), (400, 400))
    assert B.method == "sparse"
    with pytest.raises(MemoryError, match="the matrix needs"):
        B @ np.ones(400 * 400)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda A: A @ np.ones(7), ValueError, r"a vector of 20 entries or a matrix of 20 rows, got \(7,\)"),
        (lambda A: A.rmatvec(np.ones(7)), ValueError, r"a vector of 12 entries or a matrix of 12 rows, got \(7,\)"),
        (lambda A: A.apply(A.tosparse()), TypeError, r"x must be a dense array, got csr_array; use \.toarray"),
        (lambda A: A.apply(np.ma.array(np.ones((5, 4)), mask=True)), TypeError, "x must have no masked entries"),
        (lambda A: A @ np.ma.array(np.ones(20), mask=True), TypeError, "the operand must have no masked entries"),
        (lambda A: A * np.ma.array(np.ones((20, 2)), mask=True), TypeError, "the operand must have no masked entries"),
        (lambda _: stc.ConvOperator("ab", 5), TypeError, "kernel must be float32, .* got <U2"),
        (lambda _: stc.ConvOperator(None, 5), TypeError, "kernel must be float32, .* got object"),
        (lambda _: stc.ConvGeometry(9, 2).nbytes("half"), TypeError, "dtype must be float32, .* got float16"),
        (lambda _: stc.ConvGeometry(9, 2).nbytes("foo"), TypeError, "dtype must be a dtype, got 'foo'"),
        (lambda A: A.apply(np.ones((4, 5))), ValueError, r"ends in input_shape \(5, 4\), got \(4, 5\)"),
        (lambda A: A.apply(np.ones(4)), ValueError, r"ends in input_shape \(5, 4\), got \(4,\)"),
        (lambda A: A.apply(np.ones((5, 4), object)), TypeError, "x must be of a real, complex or integer dtype"),
        (lambda A: A @ np.ones(20, np.longdouble), TypeError, "x must be of a real.* up to double precision"),
        (lambda A: A.tosparse("nonsense"), ValueError, "format must be one of csr"),
        (lambda _: stc.ConvOperator(np.ones(2), 5, method="magic"), ValueError, "one of auto, sparse, direct, gemm, fft"),
        (lambda _: stc.ConvOperator(np.ones(2), 5, method=None), TypeError, "method must be a string, got None"),
        (lambda _: stc.ConvOperator([1, 2], 5, method="fft"), ValueError, "method='fft' does not accept an integer"),
        (lambda _: stc.ConvOperator(np.ones(2, np.float16), 5), TypeError, "got float16; convert it"),
        (lambda _: stc.ConvTransposeOperator(np.ones(2), 5, output_shape=9), ValueError, "output_shape on spatial axis 0 must be 6 for"),
    ],
)  # fmt: skip
def test_bad_input(call, error, match):
    A = stc.ConvOperator(np.ones((2, 2)), (5, 4))
    with pytest.raises(error, match=match):
        call(A)


def test_auto_leaves_out_a_matrix_of_many_empty_rows():
    A = stc.ConvOperator(np.ones((3, 3)), (8, 8), padding=10**5)
    assert A.geometry.nnz < 1000
    assert A.method == "direct"
    assert "lowest estimate" in A.explain()


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_result_that_no_machine_holds(method, flat):
    """Nothing is allocated: neither the result nor, for the adjoint's side, what it is made from."""
    A = stc.ConvOperator(np.ones((3, 3)), (8, 8), padding=10**6, method=method)
    with pytest.raises(MemoryError, match=r"the result needs 32\d+ bytes|the matrix needs"):
        A @ np.ones(64) if flat else A.apply(np.ones((8, 8)))


class Foreign:
    """A vector of another package: NumPy can read it, and its ``size`` is a method, or not there."""

    ndim, shape = 1, (20,)

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values

    def size(self):
        return self.shape


def test_vectors_of_other_packages():
    A, x = stc.ConvOperator(np.ones((2, 2)), (5, 4)), np.arange(20.0)
    np.testing.assert_array_equal(A.matvec(Foreign(x)), A @ x)
    y = Foreign(np.arange(7.0))
    y.shape = (7,)
    with pytest.raises(ValueError, match=r"a vector of 20 entries .* got \(7,\)"):
        A.matvec(y)


def test_sparse_operand_gets_a_hint():
    A = stc.ConvOperator(np.ones((2, 2)), (5, 4))
    with pytest.raises(TypeError, match=r"aslinearoperator.? first"):
        A @ A.tosparse().T


def test_an_array_multiplied_by_mistake():
    A = stc.ConvOperator(np.ones((3, 3)), (8, 9), padding="same")
    for shape in ((8, 9), (5, 8, 9)):
        with pytest.raises(ValueError, match=r"which ends in input_shape; use \.apply for arrays"):
            A @ np.ones(shape)
    # a matrix whose shape happens to be the input's
    B = stc.ConvOperator(np.ones(3), 4, padding="same")
    assert (B @ np.ones((4, 4))).shape == (4, 4)


class TestGivenArrays:
    """`apply(x, out=...)` takes an array that is exactly the result's, or says what is wrong with it."""

    def setup_method(self):
        self.A = stc.ConvOperator(integers((2, 3), "float32"), (6, 7))
        self.x = integers((6, 7), "float32", 1)
        self.expected = self.A.apply(self.x)

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda shape: np.zeros(shape), TypeError, "dtype of the result, float32, got float64"),
            (lambda shape: np.zeros(shape, ">f4"), TypeError, "dtype of the result, float32, got >f4"),
            (
                lambda shape: np.zeros(shape[::-1], "f4"),
                ValueError,
                r"shape of the result, \(5, 5\), got \(4, 6",
            ),
            (
                lambda shape: np.zeros((1, *shape), "f4"),
                ValueError,
                r"the shape of the result, .*\(1, 5, 5\)",
            ),
            (
                lambda shape: np.zeros(shape, "f4", order="F"),
                ValueError,
                r"C-contiguous, .* strides \(4, 20\)",
            ),
            (
                lambda shape: np.zeros((*shape, 2), "f4")[..., 0],
                ValueError,
                "C-contiguous, got an array with",
            ),
            (lambda shape: np.zeros(4 * 25 + 1, "b")[1:].view("f4").reshape(shape), ValueError, "aligned"),
            (lambda shape: np.broadcast_to(np.float32(0), shape), ValueError, "that is read-only"),
            (lambda shape: np.zeros(shape, "f4").tolist(), TypeError, "a NumPy array or None, got list"),
            (lambda shape: (np.zeros(shape, "f4"),), TypeError, "a NumPy array or None, got tuple"),
            (lambda shape: np.ma.masked_all(shape, "f4"), TypeError, "out must have no masked entries"),
        ],
    )
    def test_refusals(self, make, error, message):
        shape = (5, 5) if "4, 6" not in message else (6, 4)
        with pytest.raises(error, match=message):
            self.A.apply(self.x, out=make(shape))

    def test_a_file_in_memory_is_filled(self, tmp_path):
        out = np.memmap(tmp_path / "result", np.float32, "w+", shape=(5, 5))
        assert self.A.apply(self.x, out=out) is out
        np.testing.assert_array_equal(out, self.expected)

    def test_an_operand_of_another_dtype_over_its_own_memory(self):
        """Eight bytes are written where four are still to be read."""
        room = np.zeros(42, np.float64)
        operand = room.view(np.int32)[:42].reshape(6, 7)
        operand[...] = self.x
        out = room[:25].reshape(5, 5)
        A = stc.ConvOperator(self.A.kernel.astype(np.float64), (6, 7))
        assert A.apply(operand, out) is out
        np.testing.assert_array_equal(out, self.expected)

    def test_what_is_not_finite_reaches_no_further(self):
        """Transforms are made again then: into the same array."""
        A = stc.ConvOperator(integers((2, 3), "float32"), (6, 7), method="fft")
        x = self.x.copy()
        x[3, 3] = np.inf
        out = np.empty((5, 5), np.float32)
        assert A.apply(x, out=out) is out
        with np.errstate(invalid="ignore"):
            reached = ~np.isfinite(A.tosparse() @ x.ravel()).reshape(5, 5)
        assert 0 < reached.sum() < out.size
        np.testing.assert_array_equal(~np.isfinite(out), reached)
        np.testing.assert_allclose(out[~reached], self.expected[~reached], atol=1e-4)


def test_a_gram_operator_keeps_its_intermediate_array():
    A = stc.ConvOperator(integers((3, 4), "float64"), (40, 50), method="direct")
    G, x = A.gram(), integers((40, 50), "float64", 1)
    expected = G.apply(x)
    (kept,) = G._spare._kept
    for _ in range(3):
        np.testing.assert_array_equal(G.apply(x), expected)
        assert G._spare._kept[0] is kept
    # of another batch, in which another array is needed
    np.testing.assert_array_equal(G.apply(np.stack([x, -x])), [expected, -expected])
    assert G._spare._kept[0].size == 2 * A.shape[0]


def test_callers_of_a_gram_operator_have_an_intermediate_array_each():
    """Two threads meet between the operator's product and its adjoint's."""
    met = threading.Barrier(2)

    class Meeting(stc.ConvOperator):
        def _apply(self, x, out=None):
            result = super()._apply(x, out)
            met.wait(10)
            return result

    A = stc.ConvOperator(integers((3, 4), "float64"), (8, 9))
    G = Meeting(A.kernel, (8, 9)).gram()
    vectors = integers((2, 72), "float64", 1)
    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(G.matvec, vectors))
        np.testing.assert_array_equal(found, [A.H @ (A @ x) for x in vectors])
        assert len(G._spare._kept) == 1
