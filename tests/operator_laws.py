"""The laws of linear operators, one body for all kinds of operators, and for NumPy's and CuPy's arrays.

`operator_cases` has the operators. `test_laws.py` runs the laws on NumPy's arrays, `gpu/test_gpu_laws.py` on
CuPy's: both take all the tests that are here, and say by a fixture ``arrays`` on what. What a law compares with
is computed on the host, from matrices that are made by other means.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from math import prod

import numpy as np
import pytest
from operator_cases import CASES, OPERATORS, integers
from pairs import choice

import sparsetconv as stc
from sparsetconv._arrays.validation import SUPPORTED

# rows and columns from which threads may share a product
SHARED = 1000
OPERANDS = ("int8", "bool", "float16", "float64", "complex64", "complex128")


def agree(actual, desired, roundoffs, dtype=None):
    """Assert that arrays on the host are equal, or equal but for units of round-off of the largest entry.

    The round-off is that of the arrays' dtype, or of another one where that is larger.
    """
    if not roundoffs:
        np.testing.assert_array_equal(actual, desired)
        return
    scale = max(np.abs(desired).max(initial=0), 1)
    eps = max(np.finfo(d).eps for d in (actual.dtype, dtype or actual.dtype))
    tolerance = roundoffs * eps * scale
    np.testing.assert_allclose(actual, desired, rtol=0, atol=tolerance)


def agree_sparse(matrix, desired, roundoffs):
    """Assert the same of sparse matrices, which may be too large to be dense."""
    difference = matrix != desired
    if roundoffs and difference.nnz:
        rows, columns = difference.nonzero()
        agree(matrix[rows, columns], desired[rows, columns], roundoffs)
        return
    assert difference.nnz == 0


def drawn(shape, dtype, seed):
    """Return numbers whose sums depend on their order."""
    values = np.random.default_rng(seed).standard_normal((2, *shape))
    if np.dtype(dtype).kind in "iu":
        return integers(shape, dtype, seed)
    return (values[0] + 1j * values[1] if np.dtype(dtype).kind == "c" else values[0]).astype(dtype)


class Trial:
    """An operator, its matrix, vectors for both, and how their products are compared."""

    def __init__(self, arrays, subject):
        self.arrays, (self.A, self.M, self.roundoffs, self.pattern) = arrays, subject
        self.x = integers((self.M.shape[1], 3), self.M.dtype, 1)
        self.y = integers((self.M.shape[0], 3), self.M.dtype, 2)

    def equal(self, product, desired):
        """Assert that a product on arrays of the case's kind is that of the matrix on the host."""
        agree(self.arrays.get(product), desired, self.roundoffs)

    @property
    def directions(self):
        """Operators with their matrices, and vectors."""
        A, M = self.A, self.M
        return (A, M, self.x), (A.T, M.T, self.y), (A.H, M.conj().T, self.y)

    @property
    def has_matrix(self):
        """Whether there is one: CuPy's hold no integers."""
        return not self.arrays.on_device or self.M.dtype.kind not in "iu"


def shapes(t):
    """Shapes and the dtype are those of the matrix."""
    assert t.A.shape == t.M.shape == (prod(t.A.output_shape), prod(t.A.input_shape))
    assert t.A.dtype == t.M.dtype
    for B in (t.A.T, t.A.H):
        assert (B.input_shape, B.output_shape) == (t.A.output_shape, t.A.input_shape)


def products(t):
    """Products with a vector, a column and a matrix, in all directions, are those of the matrix."""
    for A, M, vectors in t.directions:
        y = A @ t.arrays.put(vectors)[:, 0]
        assert (y.shape, y.dtype) == ((M.shape[0],), t.M.dtype)
        t.equal(y, M @ vectors[:, 0])
        t.equal(A @ t.arrays.put(vectors[:, :1]), M @ vectors[:, :1])
        t.equal(A @ t.arrays.put(vectors), M @ vectors)
    t.equal(t.A.rmatvec(t.arrays.put(t.y)[:, 1]), t.M.conj().T @ t.y[:, 1])
    t.equal(t.A.rmatmat(t.arrays.put(t.y)), t.M.conj().T @ t.y)


def adjoints(t):
    """The adjoint of the adjoint is the operator, and so on; dot products agree."""
    t.equal(t.A.H.H @ t.arrays.put(t.x), t.M @ t.x)
    t.equal(t.A.T.T @ t.arrays.put(t.x), t.M @ t.x)
    t.equal(t.A.H.T @ t.arrays.put(t.x), t.M.conj() @ t.x)
    stc.testing.assert_adjoint(t.A, exact=not t.roundoffs, trials=1)


def linearity(t):
    """The product of a sum is the sum of the products."""
    x, y = t.x[:, 0], t.x[:, 1]
    whole = t.A @ t.arrays.put(2 * x - 3 * y)
    t.equal(whole, t.arrays.get(2 * (t.A @ t.arrays.put(x)) - 3 * (t.A @ t.arrays.put(y))))


def batches(t):
    """`apply` takes arrays, batches of them, of any shape, and none."""
    for A, M, vectors in t.directions[::2]:
        batch = t.arrays.put(vectors.T.reshape(3, 1, *A.input_shape))
        applied = A.apply(batch)
        assert applied.shape == (3, 1, *A.output_shape)
        t.equal(applied.reshape(3, -1).T, M @ vectors)
        t.equal(A.apply(batch[0, 0]).ravel(), M @ vectors[:, 0])
        empty = A.apply(batch[:0])
        assert (empty.shape, empty.dtype) == ((0, 1, *A.output_shape), t.M.dtype)


def given_arrays(t):
    """`apply` fills an array that it is given, with the bits of a new one, even over its own operand."""
    for A, _, vectors in t.directions:
        batch = t.arrays.put(vectors.T.reshape(3, *A.input_shape))
        expected = t.arrays.get(A.apply(batch))
        out = t.arrays.put(np.full(expected.shape, 77, t.M.dtype))
        assert A.apply(batch, out=out) is out
        np.testing.assert_array_equal(t.arrays.get(out), expected)
        one, none = out[1], out[:0]
        assert A.apply(batch[0], out=one) is one
        np.testing.assert_array_equal(t.arrays.get(one), t.arrays.get(A.apply(batch[0])))
        assert A.apply(batch[:0], out=none) is none
        np.testing.assert_array_equal(t.arrays.get(out)[::2], expected[::2])
        # a result that begins where the operand does, and one that ends where it does
        for start in (0, max(0, batch.size - out.size)):
            room = t.arrays.put(np.zeros(max(batch.size, start + out.size), t.M.dtype))
            operand = room[: batch.size].reshape(batch.shape)
            operand[...] = batch
            over = room[start : start + out.size].reshape(out.shape)
            assert A.apply(operand, over) is over
            np.testing.assert_array_equal(t.arrays.get(over), expected)


def ownership(t):
    """What comes back is the caller's, and shares nothing with what was given, which stays."""
    for A, M, vectors in t.directions:
        given = t.arrays.fixed(vectors[:, 0])
        y = A @ given
        y += 1
        kept = t.arrays.get(y).copy()
        t.equal(A @ given, M @ vectors[:, 0])
        np.testing.assert_array_equal(t.arrays.get(y), kept)
        np.testing.assert_array_equal(t.arrays.get(given), vectors[:, 0])


def matrices(t):
    """The matrix is assembled, in any format, with as many entries as are said."""
    if not t.has_matrix:
        with pytest.raises(TypeError, match="on a GPU"):
            t.A.tosparse()
        return
    for A, M, _ in t.directions:
        matrix = t.arrays.sparse(A)
        assert (matrix.shape, matrix.dtype, matrix.format) == (M.shape, M.dtype, "csr")
        assert matrix.has_canonical_format
        agree_sparse(matrix, M, t.roundoffs)
        assert getattr(A, "nnz", matrix.nnz) == matrix.nnz
    columns = t.arrays.sparse(t.A, "csc")
    assert columns.format == "csc"
    agree_sparse(columns.tocsr(), t.M, t.roundoffs)
    if max(t.A.shape) <= SHARED:
        t.equal(t.A.toarray(), t.M.toarray())


def gram(t):
    """The Gram operator is the adjoint times the operator."""
    G = t.A.gram()
    assert G.shape == (t.M.shape[1], t.M.shape[1])
    t.equal(G @ t.arrays.put(t.x), t.M.conj().T @ (t.M @ t.x))
    if t.has_matrix and max(G.shape) <= SHARED:
        matrix = t.arrays.sparse(G)
        assert matrix.has_canonical_format
        agree_sparse(matrix, t.M.conj().T @ t.M, t.roundoffs)


def copies(t):
    """A pickled operator is the same again, to the bit, and says so; one on another device has the same products."""
    again = t.arrays.pickled(t.A)
    assert type(again) is type(t.A)
    x = t.arrays.put(drawn((t.A.shape[1],), t.M.dtype, 3))
    np.testing.assert_array_equal(t.arrays.get(again @ x), t.arrays.get(t.A @ x))
    assert repr(again) == repr(t.A)
    assert repr(t.A).startswith(f"<{t.M.shape[0]}x{t.M.shape[1]} ")
    assert f"dtype={t.M.dtype}" in repr(t.A)
    host = stc.to_device(t.A, "numpy")
    agree(host @ t.x, t.M @ t.x, t.roundoffs)
    if t.arrays.on_device:
        t.equal(stc.to_device(host, "cupy") @ t.arrays.put(t.x), t.M @ t.x)


@contextmanager
def working_threads(number):
    """Let loops be shared by a number of threads."""
    before = os.environ.get("NUMBA_NUM_THREADS")
    os.environ["NUMBA_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        del os.environ["NUMBA_NUM_THREADS"]
        if before is not None:
            os.environ["NUMBA_NUM_THREADS"] = before


def threads(t):
    """Neither how many call nor how many threads work changes a bit, from the first product on."""
    again = t.arrays.pickled(t.A)
    # what is small is the work of one thread
    numbers = (1, 2, 5) if max(t.A.shape) > SHARED else ()
    with ThreadPoolExecutor(t.arrays.threads) as pool:
        for name, size in (("matvec", t.A.shape[1]), ("rmatvec", t.A.shape[0])):
            vectors = list(map(t.arrays.put, drawn((3, size), t.M.dtype, 4)))
            multiply = getattr(t.A, name)
            expected = [t.arrays.get(multiply(vector)) for vector in vectors]
            results = list(pool.map(getattr(again, name), vectors))
            for number, vector in zip(numbers, vectors, strict=False):
                with working_threads(number):
                    results.append(multiply(vector))
            for result, bits in zip(results, expected * 2, strict=False):
                np.testing.assert_array_equal(t.arrays.get(result), bits)


def not_finite(t):
    """What is not finite goes where the matrix has entries, zeros of the kernel too, and nowhere else."""
    if t.M.dtype.kind in "iu":
        return
    pattern = t.pattern()
    for A, P in ((t.A, pattern), (t.A.H, pattern.T)):
        places = [0, A.shape[1] // 2, A.shape[1] - 1]
        x = np.ones((A.shape[1], 6), t.M.dtype)
        x[places, range(3)], x[places, range(3, 6)] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            reached = ~np.isfinite(t.arrays.get(A @ t.arrays.put(x)))
        np.testing.assert_array_equal(reached, P.tocsc()[:, places * 2].toarray() > 0)


LAWS = (
    shapes, products, adjoints, linearity, batches, given_arrays, ownership, matrices, gram, copies, threads,
    not_finite,
)  # fmt: skip


def mixed_dtypes():
    """Return cases and dtypes of vectors: those meet every value of every factor."""
    chosen = []
    for name in OPERATORS:
        cases = [case for case in CASES if case.name == name and not case.is_large]
        rows = list(product([case for case in cases if case.factors["made"] == "itself"], OPERANDS))
        meetings = [{(operand, level) for level in case.levels} for case, operand in rows]
        chosen += [rows[number] for number in choice(meetings)]
    return chosen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_laws(arrays, case):
    trial = Trial(arrays, case.on(arrays))
    for law in LAWS:
        law(trial)


@pytest.mark.parametrize(("case", "operand"), mixed_dtypes(), ids=str)
def test_mixed_dtypes(arrays, case, operand):
    """A product has the dtype that NumPy gives it, or is refused where that is none of a matrix."""
    A, M, roundoffs, _ = case.on(arrays)
    x = integers(A.shape[1], operand)
    dtype = np.result_type(M.dtype, operand)
    if dtype not in SUPPORTED and not arrays.on_device:
        with pytest.raises(TypeError, match="x must be of a real, complex or integer dtype up to double"):
            A @ x
        return
    y = A @ arrays.put(x)
    assert y.dtype == dtype
    out = arrays.put(np.ones(A.output_shape, dtype))
    assert A.apply(arrays.put(x.reshape(A.input_shape)), out=out) is out
    np.testing.assert_array_equal(arrays.get(out).ravel(), arrays.get(y))
    # SciPy has no matrices of half precision
    wide = dtype if dtype in SUPPORTED else np.float64
    # entries have been rounded to the narrower of the two
    agree(arrays.get(y), M.astype(wide) @ x.astype(wide), roundoffs, M.dtype)


def test_what_is_made_is_of_few_kinds(arrays):
    """Convolutions have each other's class; what has no other direction of its own is undone."""
    A = stc.ConvOperator(arrays.put(integers((3, 2), "complex64")), (5, 6))
    assert type(A.H) is type(A.T) is type(stc.ConvTransposeOperator(A.kernel, A.output_shape))
    assert type(A.H.H) is type(A)
    K = stc.KernelOperator(arrays.put(integers((5, 6), "float32")), (3, 2))
    R = stc.ResizeOperator((5, 6), scale=2, **arrays.options)
    for B in (K, R):
        assert B.H.H is B
        assert B.H.T is B
        assert B.T.H is B
    G = A.gram()
    assert G.H is G


def test_torchs_layout_serves_both_directions(arrays):
    """One array is the kernel of a convolution and of its transpose."""
    kernel = integers((4, 3, 2, 3), "complex128")
    A = stc.ConvOperator(arrays.put(kernel), (3, 8, 9), stride=2)
    T = stc.ConvTransposeOperator(arrays.put(kernel), A.output_shape, stride=2, output_shape=(8, 9))
    np.testing.assert_array_equal(arrays.dense(T), arrays.dense(A).T)
    np.testing.assert_array_equal(arrays.dense(A.T), arrays.dense(T))
    np.testing.assert_array_equal(arrays.get(A.H.kernel), kernel.conj())
