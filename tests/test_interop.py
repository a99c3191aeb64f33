"""What other packages do with the matrices and operators: solvers, stacks, models, files, processes.

Operators are asymmetric and even-sized; results are compared with dense linear algebra.
"""

import inspect
import os
import pickle
import warnings

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from scipy_files import read

import sparsetconv as stc
from sparsetconv.operators._channels_last import ChannelsLastOperator

RNG = np.random.default_rng(0)
KERNEL = np.array([[1.0, 4.0, 0.5], [-2.0, 0.25, 1.5]])


def blur(dtype="float64", **options):
    """Return a square operator that is well conditioned and not symmetric."""
    kernel = np.array([[0.1, 1.0, 0.2], [0.05, -0.3, 0.1]])
    if np.dtype(dtype).kind == "c":
        kernel = kernel + 1j * np.array([[0.05, 0.2, -0.1], [0.1, 0.0, 0.15]])
    return stc.ConvOperator(kernel.astype(dtype), (6, 7), padding="same", padding_mode="reflect", **options)


def tall():
    """Return an operator with more rows than columns, of full column rank."""
    return stc.ConvTransposeOperator(KERNEL, (4, 5), stride=2)


OPERATORS = {
    "blur": blur(),
    "complex": blur("complex128"),
    "direct": blur(method="direct"),
    "fft": blur(method="fft"),
    "transposed": tall(),
    "channels": stc.ConvOperator(RNG.standard_normal((4, 2, 2, 3)), (2, 4, 4), padding="same"),
    "channels-last": ChannelsLastOperator(
        stc.ConvOperator(RNG.standard_normal((4, 2, 2, 3)), (2, 4, 4), padding="same")
    ),
    "kernel": stc.KernelOperator(RNG.standard_normal((8, 9)), (4, 3)),
    "resize": stc.ResizeOperator((3, 4), scale=2, mode="cubic"),
}

# SciPy 1.15 gave the argument its new name
SEED = {"rng" if "rng" in inspect.signature(spla.svds).parameters else "random_state": 2}


each_operator = pytest.mark.parametrize("A", [pytest.param(A, id=name) for name, A in OPERATORS.items()])


def vector(size, dtype):
    values = np.random.default_rng(1).standard_normal(size)
    return values + 1j * values[::-1] if np.dtype(dtype).kind == "c" else values


def imported(name):
    """Return a package, or skip; what it warns of as it is imported is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@pytest.fixture(scope="module")
def pylops():
    # with this PyLops leaves CuPy alone, which may be there without a GPU
    os.environ.setdefault("CUPY_PYLOPS", "0")
    return imported("pylops")


@pytest.fixture(scope="module")
def cp():
    return imported("cvxpy")


@pytest.fixture(scope="module")
def linear_model():
    return imported("sklearn.linear_model")


@pytest.fixture(scope="module")
def joblib():
    return imported("joblib")


class TestSolvers:
    @each_operator
    @pytest.mark.parametrize("solver", [spla.lsqr, spla.lsmr])
    def test_least_squares(self, A, solver):
        b = vector(A.shape[0], A.dtype)
        expected = np.linalg.lstsq(A.tosparse().toarray(), b, rcond=None)[0]
        x = solver(A, b, atol=1e-13, btol=1e-13)[0]
        np.testing.assert_allclose(x, expected, atol=1e-8)

    @pytest.mark.parametrize("solver", [spla.lsqr, spla.lsmr])
    def test_damped_least_squares(self, solver):
        A, b = blur("complex128"), vector(42, "complex128")
        M = A.tosparse().toarray()
        expected = np.linalg.solve(M.conj().T @ M + 0.25 * np.eye(42), M.conj().T @ b)
        np.testing.assert_allclose(solver(A, b, damp=0.5, atol=1e-13, btol=1e-13)[0], expected, atol=1e-8)

    @each_operator
    def test_cg_on_the_gram_operator(self, A):
        M, b = A.tosparse().toarray(), vector(A.shape[0], A.dtype)
        x, info = spla.cg(A.gram(), A.H @ b, rtol=1e-13, maxiter=1000)
        assert info == 0
        np.testing.assert_allclose(x, np.linalg.lstsq(M, b, rcond=None)[0], atol=1e-7)

    def test_gmres_and_bicgstab(self):
        A, b = blur(), vector(42, "float64")
        expected = np.linalg.solve(A.tosparse().toarray(), b)
        for solver in (spla.gmres, spla.bicgstab):
            x, info = solver(A, b, rtol=1e-12, maxiter=500)
            assert info == 0
            np.testing.assert_allclose(x, expected, atol=1e-8)

    def test_spsolve_and_factorized(self):
        matrix, b = blur().tosparse("csc"), vector(42, "float64")
        x = spla.spsolve(matrix, b)
        np.testing.assert_allclose(x, np.linalg.solve(matrix.toarray(), b), atol=1e-10)
        np.testing.assert_allclose(spla.factorized(matrix)(b), x, atol=1e-10)


class TestSpectra:
    @each_operator
    @pytest.mark.parametrize("solver", ["arpack", "propack", "lobpcg"])
    def test_svds(self, A, solver):
        values = np.linalg.svd(A.tosparse().toarray(), compute_uv=False)
        # LOBPCG squares its tolerance
        tolerance = 1e-5 if solver == "lobpcg" else 1e-10
        u, s, vh = spla.svds(A, k=2, solver=solver, maxiter=2000, tol=tolerance, **SEED)
        np.testing.assert_allclose(np.sort(s)[::-1], values[:2], rtol=1e-8)
        np.testing.assert_allclose(A @ vh.conj().T, u * s, atol=1e-6)

    @each_operator
    def test_eigsh_of_the_gram_operator(self, A):
        values, vectors = spla.eigsh(A.gram(), k=3, v0=np.ones(A.shape[1], A.dtype))
        expected = np.linalg.svd(A.tosparse().toarray(), compute_uv=False)[:3] ** 2
        np.testing.assert_allclose(np.sort(values)[::-1], expected, rtol=1e-8)
        np.testing.assert_allclose(A.gram() @ vectors, vectors * values, atol=1e-8)

    def test_eigs(self):
        A = blur()
        values = spla.eigs(A, k=3, return_eigenvectors=False, v0=np.ones(42))
        expected = np.linalg.eigvals(A.tosparse().toarray())
        expected = np.sort(np.abs(expected))[::-1][:3]
        np.testing.assert_allclose(np.sort(np.abs(values))[::-1], expected, rtol=1e-8)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
    @pytest.mark.parametrize("method", ["sparse", "direct"])
    def test_onenormest(self, dtype, method):
        # entries without a sign: the first sweep finds the column of the largest sum
        kernel = np.abs(KERNEL).astype(dtype) * (1j if np.dtype(dtype).kind == "c" else 1)
        A = stc.ConvOperator(kernel, (6, 7), padding="same", padding_mode="reflect", method=method)
        for B in (A, A.H, A.T, A.gram()):
            norm = np.abs(B.tosparse().toarray()).sum(0).max()
            assert spla.onenormest(B) == pytest.approx(norm, rel=1e-5)

    @pytest.mark.parametrize("dtype", ["float64", "complex128"])
    def test_onenormest_is_that_of_the_matrix(self, dtype):
        # with signs it is an estimate from below, from random vectors of NumPy's global state
        A = blur(dtype)
        matrix = A.tosparse()
        norm = np.abs(matrix.toarray()).sum(0).max()
        for seed in range(5):
            estimate, v, w = self.estimate(A, seed)
            assert estimate == pytest.approx(self.estimate(matrix, seed)[0])
            assert 0.5 * norm <= estimate <= norm * (1 + 1e-12)
            np.testing.assert_allclose(A @ v, w)
        # as many vectors as columns: exact
        assert spla.onenormest(A, t=42) == pytest.approx(norm)

    @staticmethod
    def estimate(operator, seed):
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        try:
            return spla.onenormest(operator, compute_v=True, compute_w=True)
        finally:
            np.random.set_state(state)  # noqa: NPY002

    def test_expm_multiply(self):
        # the heat equation's matrix, through the operator alone
        A = stc.ConvOperator([1.0, -2.0, 1.0], 20, padding=1, padding_mode="symmetric")
        x = vector(20, "float64")
        expected = spla.expm(A.tosparse("csc").toarray()) @ x
        np.testing.assert_allclose(spla.expm_multiply(A, x, traceA=-38.0), expected, atol=1e-10)


class TestComposition:
    """What SciPy's own algebra of operators makes of them."""

    @each_operator
    def test_sums_products_powers(self, A):
        M = A.tosparse().toarray()
        x = vector(A.shape[1], A.dtype)
        np.testing.assert_allclose((2 * A) @ x, 2 * M @ x)
        np.testing.assert_allclose((A + A) @ x, 2 * M @ x)
        np.testing.assert_allclose((A.H @ A) @ x, M.conj().T @ (M @ x))
        np.testing.assert_allclose((A.H @ A) ** 2 @ x, np.linalg.matrix_power(M.conj().T @ M, 2) @ x)
        np.testing.assert_allclose(spla.aslinearoperator(A) @ x, M @ x)

    def test_sparse_algebra(self):
        A = blur()
        stacked = sp.vstack([A.tosparse(), 0.1 * sp.eye_array(42)], format="csr")
        b = np.concatenate([vector(42, "float64"), np.zeros(42)])
        M = A.tosparse().toarray()
        expected = np.linalg.solve(M.T @ M + 0.01 * np.eye(42), M.T @ b[:42])
        np.testing.assert_allclose(spla.lsqr(stacked, b, atol=1e-13, btol=1e-13)[0], expected, atol=1e-8)


class TestPyLops:
    @each_operator
    def test_aslinearoperator(self, pylops, A):
        M = A.tosparse().toarray()
        Op = pylops.aslinearoperator(A)
        x, y = vector(A.shape[1], A.dtype), vector(A.shape[0], A.dtype)
        np.testing.assert_allclose(Op @ x, M @ x)
        np.testing.assert_allclose(Op.H @ y, M.conj().T @ y)
        np.testing.assert_allclose(Op.todense(), M, atol=1e-12)
        pylops.utils.dottest(Op, complexflag=3 if A.dtype.kind == "c" else 0, rtol=1e-10, raiseerror=True)

    def test_products(self, pylops):
        """PyLops' operators are not SciPy's: on the right of a product they are to be wrapped."""
        A, D = blur(), pylops.Diagonal(np.arange(42.0))
        x = np.random.default_rng(0).random(A.shape[1])
        for product in (lambda: A @ D, lambda: A * D, lambda: A.dot(D), lambda: A.H @ D):
            with pytest.raises(
                TypeError, match=r"got Diagonal; wrap .* scipy\.sparse\.linalg\.aslinearoperator"
            ):
                product()
        expected = A @ (D @ x)
        np.testing.assert_array_equal((A @ spla.aslinearoperator(D)) @ x, expected)
        np.testing.assert_array_equal((pylops.aslinearoperator(A) @ D) @ x, expected)
        np.testing.assert_array_equal((D @ A) @ x, D @ (A @ x))

    def test_stack(self, pylops):
        A, C = blur(), stc.ConvOperator(KERNEL, (6, 7))
        D = pylops.FirstDerivative((6, 7), axis=0)
        S = pylops.VStack([pylops.aslinearoperator(A), pylops.aslinearoperator(C), D])
        expected = np.vstack([A.tosparse().toarray(), C.tosparse().toarray(), D.todense()])
        np.testing.assert_allclose(S.todense(), expected, atol=1e-12)
        np.testing.assert_allclose(S.H @ np.ones(S.shape[0]), expected.T @ np.ones(S.shape[0]))

    def test_regularised_inversion(self, pylops):
        A, D = blur(), pylops.Laplacian((6, 7))
        b = vector(42, "float64")
        x = pylops.optimization.leastsquares.regularized_inversion(
            pylops.aslinearoperator(A), b, [D], epsRs=[0.3], iter_lim=500, atol=1e-13, btol=1e-13
        )[0]
        M, L = A.tosparse().toarray(), D.todense()
        np.testing.assert_allclose(x, np.linalg.solve(M.T @ M + 0.09 * L.T @ L, M.T @ b), atol=1e-7)

    def test_sparse_inversion(self, pylops):
        # ISTA, which asks for the largest eigenvalue itself: two spikes, blurred
        A = blur()
        truth = np.zeros(42)
        truth[[9, 30]] = 3.0, -2.0
        x = pylops.optimization.sparsity.fista(pylops.aslinearoperator(A), A @ truth, niter=400, eps=1e-3)[0]
        np.testing.assert_allclose(x, truth, atol=0.02)


class TestCVXPY:
    def test_least_squares(self, cp):
        matrix, b = tall().tosparse(), vector(tall().shape[0], "float64")
        x = cp.Variable(20)
        problem = cp.Problem(cp.Minimize(cp.sum_squares(matrix @ x - b) + 0.1 * cp.sum_squares(x)))
        problem.solve(solver=cp.CLARABEL)
        M = matrix.toarray()
        expected = np.linalg.solve(M.T @ M + 0.1 * np.eye(20), M.T @ b)
        np.testing.assert_allclose(x.value, expected, atol=1e-6)

    def test_constraints(self, cp):
        # non-negative deconvolution, which keeps what was not negative
        A = blur()
        truth = np.abs(vector(42, "float64"))
        x = cp.Variable(42, nonneg=True)
        cp.Problem(cp.Minimize(cp.norm1(A.tosparse() @ x - A @ truth))).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(x.value, truth, atol=1e-5)


class TestScikitLearn:
    @pytest.mark.parametrize("format", ["csr", "csc", "coo"])
    @pytest.mark.parametrize("solver", ["sparse_cg", "lsqr", "sag", "auto"])
    def test_ridge(self, linear_model, solver, format):
        A = tall()
        y = vector(A.shape[0], "float64")
        model = linear_model.Ridge(alpha=0.5, fit_intercept=False, solver=solver, tol=1e-12, max_iter=20000)
        model.fit(A.tosparse(format), y)
        M = A.tosparse().toarray()
        expected = np.linalg.solve(M.T @ M + 0.5 * np.eye(20), M.T @ y)
        np.testing.assert_allclose(model.coef_, expected, atol=1e-6)
        np.testing.assert_allclose(model.predict(A.tosparse(format)), M @ model.coef_)

    def test_lasso_finds_spikes(self, linear_model):
        A = blur()
        truth = np.zeros(42)
        truth[[9, 30]] = 3.0, 2.0
        model = linear_model.Lasso(alpha=1e-4, fit_intercept=False, positive=True, tol=1e-10, max_iter=50000)
        model.fit(A.tosparse("csc"), A @ truth)
        np.testing.assert_allclose(model.coef_, truth, atol=0.02)


class TestFiles:
    @each_operator
    @pytest.mark.parametrize("format", ["csr", "csc", "coo"])
    def test_npz(self, A, format, tmp_path):
        self.check_npz(A.tosparse(format), tmp_path)

    def test_npz_of_blocks_and_diagonals(self, tmp_path):
        self.check_npz(blur().tosparse("dia"), tmp_path)
        self.check_npz(stc.conv_matrix(KERNEL, (6, 9), stride=3, format="bsr"), tmp_path)

    @staticmethod
    def check_npz(matrix, tmp_path):
        sp.save_npz(tmp_path / "matrix.npz", matrix)
        again = sp.load_npz(tmp_path / "matrix.npz")
        assert type(again) is type(matrix)
        assert again.dtype == matrix.dtype
        np.testing.assert_array_equal(again.toarray(), matrix.toarray())

    @each_operator
    def test_matrix_market(self, A, tmp_path):
        matrix = A.tosparse("csr")
        scipy.io.mmwrite(tmp_path / "matrix.mtx", matrix, comment="a convolution")
        again = read(scipy.io.mmread, tmp_path / "matrix.mtx")
        # shortest decimals that give the same number again; zeros of the kernel stay entries
        assert again.nnz == matrix.nnz
        np.testing.assert_array_equal(again.toarray(), matrix.toarray())

    def test_matrix_market_of_integers(self, tmp_path):
        matrix = stc.conv_matrix([[1, 0], [-3, 2]], (4, 5))
        scipy.io.mmwrite(tmp_path / "matrix.mtx", matrix)
        again = read(scipy.io.mmread, tmp_path / "matrix.mtx")
        assert again.dtype.kind == "i"
        assert again.nnz == matrix.nnz
        np.testing.assert_array_equal(again.toarray(), matrix.toarray())

    def test_harwell_boeing_and_matlab(self, tmp_path):
        matrix = blur().tosparse("csc")
        scipy.io.hb_write(tmp_path / "matrix.hb", matrix)
        again = read(scipy.io.hb_read, tmp_path / "matrix.hb")
        np.testing.assert_allclose(again.toarray(), matrix.toarray())
        scipy.io.savemat(tmp_path / "matrix.mat", {"A": matrix})
        again = read(scipy.io.loadmat, tmp_path / "matrix.mat")["A"]
        np.testing.assert_array_equal(again.toarray(), matrix.toarray())


def apply_to_ones(A):
    return A @ np.ones(A.shape[1])


class TestProcesses:
    @each_operator
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, A, protocol):
        for B in (A, A.H, A.gram()):
            again = pickle.loads(pickle.dumps(B, protocol))
            assert type(again) is type(B)
            assert repr(again) == repr(B)
            np.testing.assert_array_equal(again.tosparse().toarray(), B.tosparse().toarray())

    def test_pickle_of_the_geometry(self):
        g = blur().geometry
        again = pickle.loads(pickle.dumps(g))
        assert again == g
        assert hash(again) == hash(g)

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_joblib_workers(self, joblib, backend):
        operators = list(OPERATORS.values())
        with joblib.parallel_config(backend=backend, n_jobs=2):
            results = joblib.Parallel()(joblib.delayed(apply_to_ones)(A) for A in operators)
        for A, result in zip(operators, results, strict=True):
            np.testing.assert_allclose(result, A.tosparse().toarray().sum(1), atol=1e-12)

    def test_joblib_files_and_cache(self, joblib, tmp_path):
        A = blur()
        joblib.dump(A, tmp_path / "operator.joblib")
        np.testing.assert_array_equal(joblib.load(tmp_path / "operator.joblib").kernel, A.kernel)
        # equal operators have one hash, so that a cached function is not run again
        assert joblib.hash(A) == joblib.hash(blur())
        assert joblib.hash(A) != joblib.hash(A.H)
        calls = []
        memory = joblib.Memory(tmp_path, verbose=0)
        norm = memory.cache(lambda B: calls.append(B) or float(spla.norm(B.tosparse())))
        assert norm(A) == norm(blur()) == pytest.approx(np.linalg.norm(A.tosparse().toarray()))
        assert len(calls) == 1
