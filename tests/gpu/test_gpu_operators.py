"""Operators on a GPU: the laws and the values of the operators on the CPU."""

import copy
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from operator_cases import GEOMETRIES, dense, integers
from reference import naive_matrix
from strategies import distinct_kernel, geometries

import sparsetconv as stc
from sparsetconv._methods import cost
from sparsetconv._methods.cuda import direct, tuning
from sparsetconv._methods.kernel import gradient
from sparsetconv._methods.registry import GPU_METHODS
from sparsetconv.operators import _kernel


def pair(cp, name, dtype, mode, method, transposed=False):
    """Return the operator on the device and its matrix, from the CPU, as a dense array."""
    kernel_shape, input_shape, options = GEOMETRIES[name]
    kernel = integers(kernel_shape, dtype)
    options = {**options, "padding_mode": mode}
    device = stc.ConvOperator(cp.asarray(kernel), input_shape, method=method, **options)
    matrix = stc.conv_matrix(kernel, input_shape, **options).toarray()
    return (device.T, matrix.T) if transposed else (device, matrix)


@pytest.mark.parametrize("transposed", [False, True])
def test_is_cupys_linear_operator(cp, transposed):
    from cupyx.scipy.sparse.linalg import LinearOperator, aslinearoperator

    operator, matrix = pair(cp, "picture", "float64", "reflect", "auto", transposed)
    assert isinstance(operator, LinearOperator)
    assert aslinearoperator(operator) is operator
    x = np.arange(matrix.shape[1], dtype=float)
    scaled = 2 * operator + operator
    np.testing.assert_array_equal((scaled @ cp.asarray(x)).get(), 3 * matrix @ x)
    np.testing.assert_array_equal(operator.tosparse().get().toarray(), matrix)
    np.testing.assert_array_equal(operator.gram().tosparse().get().toarray(), matrix.T @ matrix)
    np.testing.assert_array_equal((operator.gram() @ cp.asarray(x)).get(), matrix.T @ (matrix @ x))


# large enough for threads that make several results, at the border and inside; name: kernel, input, options
STENCILS = {
    # several results of a thread along the first axis
    "tall": ((3, 2), (70, 5), {"padding": ((4, 2), (1, 0)), "padding_mode": "symmetric"}),
    # strides and dilations with and without a common divisor
    "strided": ((4, 3), (90, 7), {"stride": (2, 3), "dilation": (3, 1), "padding": (5, 1)}),
    "common": ((3, 2), (80, 6), {"stride": (4, 2), "dilation": (2, 2), "padding_mode": "replicate", "padding": 3}),
    # taps that are unrolled in parts
    "long": ((21, 2), (100, 4), {"padding": "same", "padding_mode": "circular"}),
    "long_strided": ((21, 2), (150, 4), {"padding": "same", "stride": (2, 1)}),
    # one axis: results of a thread lie apart
    "signal": ((9,), (3000,), {"padding": "same", "padding_mode": "reflect"}),
    "signal_strided": ((10,), (6000,), {"padding": 4, "stride": 3}),
    # taps so far apart that results share no samples
    "apart": ((3, 2), (900, 4), {"dilation": (100, 1), "stride": (1, 2)}),
    # channels that do not fill the last block of them, in groups
    "channels": ((10, 2, 3, 3), (4, 40, 6), {"groups": 2, "padding": 1}),
    # three axes, the second one blocked
    "volume": ((1, 4, 2), (4, 60, 5), {"padding": "same"}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int8"])
@pytest.mark.parametrize("name", STENCILS)
def test_stencils(cp, name, dtype, monkeypatch):
    monkeypatch.setattr(direct, "MANY_THREADS", 1)
    kernel_shape, input_shape, options = STENCILS[name]
    kernel = integers(kernel_shape, dtype, 5)
    device = stc.ConvOperator(cp.asarray(kernel), input_shape, method="direct", **options)
    host = stc.ConvOperator(kernel, input_shape, method="sparse", **options)
    x, y = integers((2, *host.input_shape), dtype, 6), integers((2, *host.output_shape), dtype, 7)
    for ours, theirs, arrays in ((device, host, x), (device.H, host.H, y), (device.T, host.T, y)):
        result = ours.apply(cp.asarray(arrays))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result.get(), theirs.apply(arrays))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries(max_ndim=3))
def test_drawn_stencils_match_naive_loops(cp, case):
    kernel_shape, input_shape, options = case
    kernel = distinct_kernel(kernel_shape, "float64")
    expected = naive_matrix(kernel, input_shape, **options)
    operator = stc.ConvOperator(cp.asarray(kernel), input_shape, method="direct", **options)
    m, n = expected.shape
    np.testing.assert_array_equal((operator @ cp.asarray(np.eye(n))).get(), expected)
    np.testing.assert_array_equal((operator.H @ cp.asarray(np.eye(m))).get(), expected.T)


# CuPy's matrices hold no integers
FOLDS = [
    (method, kernel, x)
    for method in ("sparse", "direct", "gemm")
    for kernel, x in (
        ("float32", "float64"), ("float32", "complex64"), ("float32", "complex128"), ("uint8", "float64"), ("int16", "int64"),
    )
    if method != "sparse" or kernel == "float32"
]  # fmt: skip


@pytest.mark.parametrize(("method", "kernel", "x"), FOLDS)
def test_folds_are_summed_in_the_results_dtype(cp, kernel, x, method):
    """Of a matrix in another dtype there is a copy in the result's, which is kept; a real one stays real."""
    weights = np.array([[200, 100], [77, 250], [90, 255]]).astype(kernel)
    options = {"padding": ((3, 1), (2, 2)), "padding_mode": "replicate"}
    device = stc.ConvOperator(cp.asarray(weights), (6, 5), method=method, **options)
    wide = stc.ConvOperator(weights.astype(float), (6, 5), method="direct", **options)
    for ours, theirs in ((device, wide), (device.T, wide.T)):
        values = integers((3, *theirs.input_shape), x, 1)
        for batch in (values[:1], values):
            result = ours.apply(cp.asarray(batch))
            assert result.dtype == np.result_type(kernel, x)
            np.testing.assert_array_equal(result.get(), theirs.apply(batch))
    if method == "sparse":
        matrices = device._method._pair._matrices.keys()
        assert {dtype.kind for _, dtype in matrices} == {"f"}
        assert len(matrices) == 2


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("method", GPU_METHODS)
def test_what_is_not_finite_goes_where_the_matrix_has_entries(cp, method, mode):
    kernel = np.array([[1.0, 0.0], [2.0, 3.0], [0.0, 1.0]])
    A = stc.ConvOperator(
        cp.asarray(kernel), (12, 6), stride=(2, 1), padding=2, padding_mode=mode, method=method
    )
    for op in (A, A.T):
        pattern = np.zeros(op.shape, bool)
        # the forward and the transposed pattern, zeros of the kernel included
        entries = op.tosparse().get().tocoo()
        pattern[entries.row, entries.col] = True
        x = np.ones((2, *op.input_shape))
        x[0, 5, 3], x[0, 0, 0] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            product = op.apply(cp.asarray(x)).get()
        reached = pattern[:, ~np.isfinite(x[0].ravel())].any(1)
        np.testing.assert_array_equal(~np.isfinite(product[0].ravel()), reached)
        assert np.isfinite(product[1]).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_of_kernel_operators(cp, transposed):
    fixed = integers((7, 5), "float32")
    device, host = (
        stc.KernelOperator(x, (3, 2), padding=2, padding_mode="reflect", transposed=transposed)
        for x in (cp.asarray(fixed), fixed)
    )
    ours, theirs = device.tosparse(), host.tosparse()
    assert isinstance(ours.data, cp.ndarray)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(ours, name).get(), getattr(theirs, name))
    whole = stc.KernelOperator(cp.asarray(fixed.astype("int32")), (3, 2), transposed=transposed)
    with pytest.raises(TypeError, match=r"x must be float32, .* on a GPU, .*; got int32"):
        whole.tosparse()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("limits", [{}, {"SMALL": 0}, {"SMALL": 0, "MANY_TAPS": 0}], ids=str)
def test_kernel_operators_of_what_is_not_finite(cp, limits, transposed, monkeypatch):
    for name, value in limits.items():
        monkeypatch.setattr(_kernel if name == "SMALL" else gradient, name, value)
    fixed = np.ones((9, 5))
    device, host = (
        stc.KernelOperator(x, (3, 2), padding=((2, 1), (0, 1)), transposed=transposed)
        for x in (cp.asarray(fixed), fixed)
    )
    w, y = np.ones(device.input_shape), np.ones(device.output_shape)
    w[1, 1], y[0, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        for ours, theirs, x in ((device, dense(host), w), (device.H, dense(host).T, y)):
            found = ~np.isfinite(ours.apply(cp.asarray(x)).get().ravel())
            np.testing.assert_array_equal(found, (theirs != 0)[:, ~np.isfinite(x.ravel())].any(1))


def test_nan_stays_where_the_matrix_has_entries(cp):
    kernel = np.array([[1.0, np.inf], [2.0, 3.0]])
    x = np.ones((40, 6))
    x[7, 3] = np.nan
    device, host = (
        stc.ConvOperator(k, (40, 6), stride=(2, 1), padding=1, method=method)
        for k, method in ((cp.asarray(kernel), "direct"), (kernel, "sparse"))
    )
    np.testing.assert_array_equal(device.apply(cp.asarray(x)).get(), host.apply(x))
    y = np.ones(host.output_shape)
    np.testing.assert_array_equal(device.H.apply(cp.asarray(y)).get(), host.H.apply(y))
    for method in ("gemm", "fft"):
        with pytest.raises(ValueError, match="does not accept a kernel with NaN or infinity"):
            stc.ConvOperator(cp.asarray(kernel), (40, 6), method=method)


def test_numbers_of_threads_hold_the_longest_axis():
    """A thread makes several results: that the threads fit into 32 bits does not mean that results do."""
    assert direct.number_type(threads=625_000_000, length=5_000_000_000) == "unsigned long long"
    assert direct.number_type(threads=1 << 20, length=1 << 23) == "unsigned int"
    assert direct.number_type(threads=1 << 32, length=1 << 10) == "unsigned long long"


def test_auto_takes_the_lowest_estimate(cp):
    for kernel_shape, input_shape in (
        ((3, 3), (512, 512)),
        ((64, 64, 3, 3), (64, 128, 128)),
        ((101, 101), (512, 512)),
    ):
        kernel = cp.ones(kernel_shape, "float32")
        operator = stc.ConvOperator(kernel, input_shape)
        costs = cost.estimate(operator.geometry, np.dtype("float32"), on_gpu=True)
        assert operator.method == min(costs, key=costs.get)
        assert "lowest estimate" in operator.explain()


def test_costs_are_ratios_until_they_are_measured(cp, monkeypatch):
    kernel, shape = cp.ones((5, 5), "float32"), (700, 800)
    table = tuning.shipped()
    costs = {name: 1e-3 if name == "launch" else value for name, value in table.costs.items()}
    monkeypatch.setattr(tuning, "shipped", lambda: tuning.Tuning(None, costs))
    operator = stc.ConvOperator(kernel, shape, padding=2)
    title, *lines = operator.explain().splitlines()[1:]
    assert title == "relative cost of a product (estimated; not measured on a card):"
    assert not any(" ms" in line for line in lines)
    relative = {line.split()[0]: float(line.split()[1].rstrip(",")) for line in lines}
    # launches outweigh everything: one of each but for gemm and fft
    assert relative["direct"] == 1
    assert relative["gemm"] == pytest.approx(4, rel=0.1)
    assert relative["fft"] == pytest.approx(6, rel=0.1)
    monkeypatch.setattr(tuning, "shipped", lambda: tuning.Tuning("A card", costs))
    operator = stc.ConvOperator(kernel, shape, padding=2)
    title, *lines = operator.explain().splitlines()[1:]
    assert title == "estimated time of a product, by rates measured on A card:"
    assert lines[1].split() == [
        "direct",
        f"{1e3 * cost.estimate(operator.geometry, np.dtype('f4'), on_gpu=True)['direct']:.3f}",
        "ms",
    ]


def test_ready_arrays_go_past_the_checks(cp, monkeypatch):
    """What a solver calls is a launch with little around it; whatever else is given is looked at."""
    from sparsetconv._arrays import memory
    from sparsetconv.operators import _products

    operator, matrix = pair(cp, "picture", "float64", "reflect", "direct")
    m, n = matrix.shape
    x, y = integers(n, "float64", 1), integers(m, "float64", 2)
    looked = []
    checked = _products.ArrayProducts._checked
    monkeypatch.setattr(
        _products.ArrayProducts, "_checked", lambda self, x: (looked.append(x), checked(self, x))[1]
    )
    on_card, there = cp.asarray(x), cp.asarray(y)
    pictures = on_card.reshape(1, 1, *operator.input_shape)
    ready = [operator @ on_card, operator.dot(on_card), operator.matvec(on_card), operator.apply(pictures)]
    for result in ready:
        np.testing.assert_array_equal(result.get().ravel(), matrix @ x)
    for result in (operator.rmatvec(there), operator.H @ there, operator.T.matvec(there)):
        np.testing.assert_array_equal(result.get(), matrix.T @ y)
    assert not looked
    np.testing.assert_array_equal((operator @ on_card.astype("float32")).get(), matrix @ x)
    assert len(looked) == 1
    with pytest.raises(ValueError, match="dimension mismatch"):
        operator @ on_card[1:]
    with pytest.raises(ValueError, match="x must have a shape that ends in input_shape"):
        operator.apply(on_card)
    # past a size somebody has to ask whether there is memory
    monkeypatch.setattr(memory, "LARGE_RESULT", 2 * max(m, n))
    large = operator.H.H
    batch = cp.asarray(np.ones((3, *operator.input_shape)))
    before = len(looked)
    assert large.apply(batch[:2]).shape == (2, *operator.output_shape)
    assert len(looked) == before
    assert large.apply(batch).shape == (3, *operator.output_shape)
    assert len(looked) == before + 1


def test_repr_names_whose_operator_it_is(cp):
    operator, _ = pair(cp, "groups", "float64", "zeros", "direct", True)
    assert " CuPyConvTransposeOperator, dtype=float64, method='direct'" in repr(operator)
    assert repr(operator.gram()).endswith(f" Gram operator of {operator!r}>")


class TestOtherOperators:
    @pytest.mark.parametrize("transposed", [False, True])
    @pytest.mark.parametrize("small", [True, False])
    @pytest.mark.parametrize("dtype", ["float64", "complex64"])
    def test_kernel_operator(self, cp, transposed, small, dtype, monkeypatch):
        from sparsetconv.operators import _kernel

        monkeypatch.setattr(_kernel, "SMALL", 1 << 30 if small else 0)
        shape = (2, 5, 6)
        options = {
            "stride": 2,
            "padding": 1,
            "padding_mode": "reflect",
            "flip": True,
            "transposed": transposed,
        }
        if transposed:
            options["padding_mode"] = "zeros"
        fixed = integers(shape, dtype)
        kernel_shape = (2, 3, 3, 2) if transposed else (3, 2, 3, 2)
        device, host = (stc.KernelOperator(x, kernel_shape, **options) for x in (cp.asarray(fixed), fixed))
        matrix = host.tosparse().toarray()
        np.testing.assert_array_equal(device.tosparse().get().toarray(), matrix)
        w, r = integers((prod(kernel_shape), 2), dtype, 1), integers((matrix.shape[0], 2), dtype, 2)
        np.testing.assert_allclose((device @ cp.asarray(w)).get(), matrix @ w, atol=1e-4)
        np.testing.assert_allclose((device.H @ cp.asarray(r)).get(), matrix.conj().T @ r, atol=1e-4)

    def test_kernel_operator_with_many_taps(self, cp):
        x = np.random.default_rng(0).standard_normal((60, 70))
        device, host = (stc.KernelOperator(v, (25, 21), padding="same") for v in (cp.asarray(x), x))
        r = np.random.default_rng(1).standard_normal(host.shape[0])
        np.testing.assert_allclose(device.rmatvec(cp.asarray(r)).get(), host.rmatvec(r), atol=1e-9)

    @pytest.mark.parametrize("method", ["cholesky", "lsmr"])
    @pytest.mark.parametrize("transposed", [True, False])
    def test_fit_kernel(self, cp, method, transposed):
        rng = np.random.default_rng(0)
        options = {"stride": 2, "padding": 1, "padding_mode": "reflect"}
        kernel = rng.standard_normal((4, 3))
        make = stc.ConvTransposeOperator if transposed else stc.ConvOperator
        x = rng.standard_normal((3, 11, 9))
        y = make(kernel, (11, 9), **options).apply(x)
        fitted = stc.fit_kernel(
            cp.asarray(x), cp.asarray(y), (4, 3), transposed=transposed, method=method, **options
        )
        assert isinstance(fitted, cp.ndarray)
        np.testing.assert_allclose(fitted.get(), kernel, atol=1e-8)

    def test_fit_kernel_with_channels(self, cp):
        rng = np.random.default_rng(1)
        kernel = rng.standard_normal((4, 1, 3, 2))
        x = rng.standard_normal((2, 4, 9, 8))
        y = stc.ConvTransposeOperator(kernel, (4, 9, 8), groups=2, stride=2).apply(x)
        fitted = stc.fit_kernel(
            cp.asarray(x), cp.asarray(y), kernel.shape, groups=2, stride=2, transposed=True
        )
        np.testing.assert_allclose(fitted.get(), kernel, atol=1e-9)


class TestSolvers:
    def blurred(self, cp):
        kernel = np.random.default_rng(0).random((3, 4))
        kernel /= kernel.sum()
        operator = stc.ConvOperator(cp.asarray(kernel), (9, 8), padding="same", padding_mode="reflect")
        x = np.random.default_rng(1).random(72)
        return operator, x, operator @ cp.asarray(x)

    def test_lsmr(self, cp):
        from cupyx.scipy.sparse.linalg import lsmr

        operator, x, blurred = self.blurred(cp)
        result = lsmr(operator, blurred, atol=1e-12, btol=1e-12, maxiter=500)[0]
        np.testing.assert_allclose(result.get(), x, atol=1e-4)

    @pytest.mark.parametrize("assembled", [False, True])
    def test_cg(self, cp, assembled):
        from cupyx.scipy.sparse.linalg import cg

        operator, x, blurred = self.blurred(cp)
        gram = operator.gram().tosparse() if assembled else operator.gram()
        result, info = cg(gram, operator.rmatvec(blurred), rtol=1e-10, maxiter=2000)
        assert info == 0
        np.testing.assert_allclose(result.get(), x, atol=1e-2)

    def test_svds(self, cp):
        if cp.__version__.endswith("(emulated)"):
            pytest.skip("CuPy's Lanczos has kernels of its own, which need a GPU")
        from cupyx.scipy.sparse.linalg import svds

        operator, _, _ = self.blurred(cp)
        values = np.sort(svds(operator, k=3, return_singular_vectors=False).get())
        expected = np.linalg.svd(operator.tosparse().get().toarray(), compute_uv=False)[:3]
        np.testing.assert_allclose(values[::-1], expected, rtol=1e-6)

    def test_adjoints_are_tested_there_too(self, cp):
        operator, _, _ = self.blurred(cp)
        assert stc.testing.dot_test(operator)
        stc.testing.assert_adjoint(operator)
        stc.testing.assert_adjoint(operator.tosparse())
        whole = stc.ConvOperator(cp.asarray([1.0, 2.0, -3.0]), 20, padding=1)
        stc.testing.assert_adjoint(whole, exact=True)
        from cupyx.scipy.sparse.linalg import LinearOperator

        wrong = LinearOperator(
            shape=(3, 3), matvec=lambda x: x.cumsum(), rmatvec=lambda x: x.cumsum(), dtype=float
        )
        with pytest.raises(AssertionError, match="the adjoint is not that of the operator"):
            stc.testing.assert_adjoint(wrong)


@pytest.mark.usefixtures("cp")
def test_copies_choose_again_where_they_go():
    """What "auto" chose for one device is not what the user asked for on the other one, in a copy neither."""
    for operator in (stc.ConvOperator(np.ones((3, 3)), (8, 8)), stc.ConvTransposeOperator(np.ones(3), 8)):
        assert operator.method == "sparse"
        for other in (operator, copy.deepcopy(operator), copy.deepcopy(operator).T.T):
            assert other.to("cupy").method == "direct"
    asked = stc.ConvOperator(np.ones((3, 3)), (8, 8), method="sparse")
    assert copy.deepcopy(asked).to("cupy").method == "sparse"
