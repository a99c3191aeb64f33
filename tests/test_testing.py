"""The adjoint tests: they pass what is right, in float32 too, and catch what is wrong."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import sparsetconv as stc
from sparsetconv import testing


def operator(matrix, adjoint=None, **products):
    matrix = np.asarray(matrix)
    adjoint = matrix.conj().T if adjoint is None else np.asarray(adjoint)
    functions = {"matvec": lambda x: matrix @ x, "rmatvec": lambda y: adjoint @ y, **products}
    return LinearOperator(matrix.shape, dtype=matrix.dtype, **functions)


@pytest.mark.parametrize("seed", range(200))
def test_correct_float32_operators_pass(seed):
    """A fixed relative tolerance of the dot product fails dozens of these."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((5, 4)).astype(np.float32)
    A = stc.ConvOperator(kernel, (60, 50), padding="same", padding_mode="reflect", stride=1 + seed % 3)
    assert stc.testing.dot_test(A, rng=seed)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, aslinearoperator, operator])
def test_takes_any_operator(dtype, form):
    matrix = np.arange(12).reshape(3, 4).astype(dtype)
    if dtype.startswith("complex"):
        matrix = matrix * (1 + 2j)
    assert stc.testing.dot_test(form(matrix))
    assert stc.testing.dot_test(form(matrix), exact=True)
    stc.testing.assert_adjoint(form(matrix))


def test_forgotten_conjugate_is_caught():
    matrix = np.array([[1 + 1j, 2], [0, 3 - 1j], [1j, 0]])
    wrong = operator(matrix, matrix.T)
    assert not stc.testing.dot_test(wrong)
    with pytest.raises(
        AssertionError,
        match=r"seems to be A.T: .* first at A\[0, 0\] = 1\+1j, A.H\[0, 0\] = 1\+1j, expected 1-1j",
    ):
        stc.testing.assert_adjoint(wrong)
    with pytest.raises(AssertionError, match="the adjoint is not that of the operator"):
        stc.testing.assert_adjoint(wrong, exact=True)


def test_unflipped_kernel_is_caught():
    """The adjoint of a correlation is a convolution; only asymmetric kernels show it."""
    A = stc.ConvOperator([1.0, 2.0, 4.0], 9, padding=1)
    wrong = LinearOperator((9, 9), matvec=A.matvec, rmatvec=A.matvec, dtype=float)
    with pytest.raises(AssertionError, match=r"first at A\[0, 1\] = 4, A.H\[1, 0\] = 1, expected 4$"):
        stc.testing.assert_adjoint(wrong)


def test_one_wrong_entry_in_a_large_float32_operator():
    """Too small for round-off to show; the exact mode sees it."""
    A = stc.ConvOperator(np.array([[1, 2], [3, 4]], np.float32), (200, 200))

    def wrong(y):
        x = A.rmatvec(y)
        x[12_345] += y[5]
        return x

    B = LinearOperator(A.shape, matvec=A.matvec, rmatvec=wrong, dtype=A.dtype)
    assert not stc.testing.dot_test(B, exact=True)
    with pytest.raises(AssertionError, match="too many to name the first"):
        stc.testing.assert_adjoint(B, exact=True)


@pytest.mark.parametrize(
    ("broken", "match"),
    [
        ({"matvec": lambda x: x[:1]}, r"matvec must return shape \(3,\) .* got \(1,\)"),
        ({"rmatvec": lambda y: np.float64(y.sum())}, r"rmatvec must return shape \(4,\)"),
        ({"matmat": lambda x: np.ones((3, x.shape[1]))}, r"matmat differs from matvec, first at \[0, 0\]"),
        ({"rmatmat": lambda y: np.ones((1, y.shape[1]))}, r"rmatmat must return shape \(4, 3\)"),
    ],
)
def test_broken_products_are_named(broken, match):
    class Plain:
        """No base class that would correct shapes, or hide them by broadcasting."""

        shape, dtype = (3, 4), np.dtype(float)
        matrix = np.arange(12.0).reshape(3, 4)

        def __getattr__(self, name):
            functions = {
                "matvec": lambda x: self.matrix @ x,
                "rmatvec": lambda y: self.matrix.T @ y,
                "matmat": lambda x: self.matrix @ x,
                "rmatmat": lambda y: self.matrix.T @ y,
                **broken,
            }
            if name not in functions:
                raise AttributeError(name)
            return functions[name]

    with pytest.raises(AssertionError, match=match):
        stc.testing.assert_adjoint(Plain())


def test_not_linear():
    square = LinearOperator((2, 2), matvec=lambda x: x * np.abs(x), rmatvec=lambda x: x, dtype=float)
    with pytest.raises(AssertionError, match="not linear or depends on earlier ones"):
        stc.testing.assert_adjoint(square)


def test_nan_fails():
    assert not stc.testing.dot_test(operator([[1.0, np.nan], [0.0, 1.0]]))


def test_exact_mode_says_when_it_cannot_be():
    with pytest.raises(ValueError, match="integer entries, but A x is not integer"):
        stc.testing.dot_test(operator([[0.3, 1.0], [0.0, 1.0]]), exact=True)
    with pytest.raises(ValueError, match="needs sums below 16777216 in float32"):
        stc.testing.dot_test(operator(np.full((2, 2), 2.0**25, np.float32)), exact=True)
    with pytest.raises(TypeError, match="op must be a matrix or have shape, matvec and rmatvec, got str"):
        stc.testing.dot_test("abc")
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        stc.testing.dot_test(np.eye(2), trials=0)


def test_result():
    result = stc.testing.dot_test(np.eye(3), rng=np.random.default_rng(1), trials=2, rtol=1e-3)
    assert isinstance(result, testing.AdjointTest)
    assert bool(result) is True
    assert result.tolerance == 1e-3
    assert result.forward == pytest.approx(result.adjoint)
    assert stc.testing.dot_test(np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_integer_operators(dtype):
    A = stc.ConvOperator(np.array([1, 2, 3], dtype), 7, padding=1)
    stc.testing.assert_adjoint(A, exact=True)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-3, 1e155, 1e200, 1e305])
def test_scale_hides_nothing(scale):
    """Squares of products have no room in double precision; the test does not depend on them."""
    right = LinearOperator(
        (5, 5), matvec=lambda v: scale * np.roll(v, 1), rmatvec=lambda v: scale * np.roll(v, -1), dtype=float
    )
    wrong = LinearOperator(
        (5, 5), matvec=lambda v: scale * np.roll(v, 1), rmatvec=lambda v: scale * np.roll(v, 1), dtype=float
    )
    # of subnormal numbers some digits are left
    tolerance = 0.01 if scale < 1e-300 else None
    assert stc.testing.dot_test(right, rtol=tolerance)
    assert not stc.testing.dot_test(wrong, rtol=tolerance)
    with pytest.raises(AssertionError, match="the adjoint is not that of the operator"):
        stc.testing.assert_adjoint(wrong, rtol=tolerance)


def test_infinite_products_fail():
    op = LinearOperator((2, 2), matvec=lambda v: v * np.inf, rmatvec=lambda v: v * np.inf, dtype=float)
    assert not stc.testing.dot_test(op)


def test_real_operators_have_real_products():
    for exact in (False, True):
        result = stc.testing.dot_test(stc.ConvOperator([1.0, 2.0], 5), exact=exact)
        assert isinstance(result.forward, float)
    assert isinstance(stc.testing.dot_test(stc.ConvOperator([1j, 2.0], 5)).forward, complex)


def test_operator_without_adjoint():
    op = LinearOperator((2, 2), matvec=lambda v: v, dtype=float)
    with pytest.raises(NotImplementedError, match="op must define rmatvec"):
        stc.testing.assert_adjoint(op)


@pytest.mark.parametrize("rtol", [-1, np.nan])
def test_negative_tolerance(rtol):
    with pytest.raises(ValueError, match="rtol must not be negative, got"):
        stc.testing.dot_test(stc.ConvOperator([1.0], 3), rtol=rtol)


def test_products_of_any_precision_give_plain_numbers():
    """Python's numbers are summed as they are; wider ones are reported as Python's."""
    for dtype in (object, np.longdouble, np.clongdouble):
        op = LinearOperator(
            (3, 3), matvec=lambda v, d=dtype: v.astype(d), rmatvec=lambda v, d=dtype: v.astype(d), dtype=float
        )
        result = stc.testing.dot_test(op)
        assert result
        assert type(result.forward) in (float, complex)


def test_tolerance_is_a_number():
    with pytest.raises(ValueError, match="rtol must not be negative, got 'a'"):
        stc.testing.dot_test(stc.ConvOperator([1.0], 3), rtol="a")


RIGHT_INTEGERS = {
    "kernel": lambda: stc.ConvOperator(np.full((5, 5), 100, np.uint8), (16, 16), padding="same"),
    "folds": lambda: stc.ConvOperator(np.full(5, 100, np.int8), 6, padding=9, padding_mode="reflect"),
    "int64": lambda: stc.ConvOperator(np.full(5, 2**62), 9, padding="same"),
    "uint64": lambda: stc.ConvOperator(np.full(5, 2**63, np.uint64), 9, padding="same"),
    "kernel operator": lambda: stc.KernelOperator(np.full(30, 200, np.uint8), 5, padding="same"),
    **{
        f"ones of {dtype}": lambda dtype=dtype: aslinearoperator(np.ones((300, 300), dtype))
        for dtype in ("bool", "int8", "uint8", "int16", "uint32", "int64", "uint64")
    },
    # a matrix whose sums wrap in its own dtype, whatever the vector's
    "narrow products": lambda: operator(
        np.full((40, 30), 99, np.int8), matvec=lambda x: np.full((40, 30), 99, np.int8) @ x.astype(np.int8)
    ),
    "narrow both ways": lambda: LinearOperator(
        (300, 300), dtype=np.uint8,
        matvec=lambda x: (np.tri(300) @ x).astype(np.int64).astype(np.uint8),
        rmatvec=lambda y: (np.tri(300).T @ y).astype(np.int64).astype(np.uint8),
    ),
    "floats for integers": lambda: LinearOperator(
        (300, 300), dtype=np.uint8, matvec=lambda x: np.tri(300) @ x, rmatvec=lambda y: np.tri(300).T @ y
    ),
    "truth values": lambda: LinearOperator(
        (3, 3), dtype=bool, matvec=lambda x: np.tri(3) @ x > 0, rmatvec=lambda y: np.tri(3).T @ y > 0
    ),
}  # fmt: skip


# those that make integers, or truth values, of what they are given are linear for integers alone
TAKE_FLOATS = [name for name in RIGHT_INTEGERS if "narrow" not in name and "truth" not in name]


@pytest.mark.parametrize(
    ("name", "exact"), [*((n, True) for n in RIGHT_INTEGERS), *((n, False) for n in TAKE_FLOATS)]
)
def test_right_integer_operators_are_not_condemned(name, exact):
    """Sums may wrap: in the operator's own dtype, in the vector's, in 64 bits."""
    op = RIGHT_INTEGERS[name]()
    assert stc.testing.dot_test(op, exact=exact)
    if exact:
        stc.testing.assert_adjoint(op, exact=True)


WRONG = [(d, False) for d in ("bool", "int8", "uint8", "int16", "uint32", "int64", "uint64")]


@pytest.mark.parametrize(("dtype", "narrow"), [*WRONG, *((d, True) for d, _ in WRONG[1:])])
def test_wrong_integer_operators_are_found(dtype, narrow):
    """One entry in 90,000 is wrong, and sums wrap."""
    matrix = np.ones((300, 300), dtype)
    other = matrix.copy()
    other[123, 45] = 0
    own = dtype if narrow else None
    wrong = LinearOperator(
        (300, 300), dtype=matrix.dtype,
        matvec=lambda x: matrix @ x.astype(own or x.dtype), rmatvec=lambda y: other.T @ y.astype(own or y.dtype),
    )  # fmt: skip
    assert not stc.testing.dot_test(wrong, exact=True, trials=9)
    with pytest.raises(AssertionError, match=r"first at A\[\d+, \d+\] = "):
        stc.testing.assert_adjoint(wrong, exact=True, trials=9)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("matvec", "rmatvec", "match"),
    [
        (lambda x: x[:3], lambda y: y[:2], r"^rmatvec must return shape \(4,\) for a vector of shape \(3,\), got \(2,\)$"),
        (lambda x: x[:2], lambda y: y.sum() * np.ones(4), r"^matvec must return shape \(3,\) for a vector of shape \(4,\), got \(2,\)$"),
        (lambda x: x[:3], lambda y: y.sum() * np.ones((4, 4)), r"^rmatvec must return shape \(4,\) .*, got \(4, 4\)$"),
    ],
)  # fmt: skip
def test_a_wrong_length_names_its_function(matvec, rmatvec, match, exact):
    """SciPy's own message says that an array cannot be reshaped."""
    op = LinearOperator((3, 4), matvec=matvec, rmatvec=rmatvec, dtype=float)
    with pytest.raises(AssertionError, match=match):
        stc.testing.assert_adjoint(op, exact=exact)


def test_a_users_own_error_stays():
    def fails(y):
        msg = f"something of the user's about {y.size}"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="something of the user's"):
        stc.testing.assert_adjoint(LinearOperator((3, 3), matvec=lambda x: x, rmatvec=fails, dtype=float))


@pytest.mark.parametrize("size", [3, 3000])
def test_a_plain_transpose_is_named(size):
    """For large operators too, of which no entries are compared."""
    wrong = LinearOperator((size, size), matvec=lambda x: 2j * x, rmatvec=lambda y: 2j * y, dtype=complex)
    text = r"A.H seems to be A.T: conjugate the entries; "
    text += (
        r"first at A\[0, 0\] = 2j, A.H\[0, 0\] = 2j, expected -2j$" if size == 3 else "3000 x 3000 entries"
    )
    with pytest.raises(AssertionError, match=text):
        stc.testing.assert_adjoint(wrong)
    other = LinearOperator((3, 3), matvec=lambda x: 2j * x, rmatvec=lambda y: 3j * y, dtype=complex)
    with pytest.raises(AssertionError, match=r"^(?!.*seems).*expected -2j"):
        stc.testing.assert_adjoint(other)
