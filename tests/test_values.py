"""What products are worth: integers that fold, vectors of other dtypes than the matrix, NaN and infinity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_cases import METHODS, MODES, dense
from reference import naive_matrix, naive_pattern
from strategies import examples, geometries

import sparsetconv as stc
from sparsetconv._methods.cpu import fft
from sparsetconv._methods.cpu.csr import product as product_module
from sparsetconv._methods.kernel import gradient
from sparsetconv._methods.work import Work
from sparsetconv.operators import _kernel

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
OPTIONS = {"stride": (2, 1), "padding": ((3, 2), (2, 4)), "dilation": (1, 2), "groups": 1, "flip": True}


def exact_matrix(kernel, input_shape, mode, **options):
    """Return the matrix in Python's integers: nothing wraps, nothing is rounded."""
    modes = (mode,) * len(options["stride"])
    return naive_matrix(kernel.astype(object), input_shape, padding_mode=modes, **options)


def cast(numbers, dtype):
    """Return Python's integers in a dtype, as NumPy casts: modulo its range."""
    if np.dtype(dtype).kind not in "iu":
        return numbers.astype(dtype)
    bits = 8 * np.dtype(dtype).itemsize
    wrapped = np.array([int(n) % 2**bits for n in numbers.ravel()], np.uint64)
    return wrapped.astype(dtype).reshape(numbers.shape)


def large_integers(shape, dtype, seed=0):
    """Return integers of which two have no room in their dtype, of few bits, so that floats hold all sums."""
    step = np.iinfo(dtype).max // 8 + 1
    drawn = np.random.default_rng(seed).integers(5, 8, shape).astype(dtype)
    return drawn * np.dtype(dtype).type(step)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("method", ["sparse", "direct", "gemm"])
def test_integers_are_summed_in_the_results_dtype(method, dtype, mode):
    kernel = large_integers((3, 2), dtype)
    A = stc.ConvOperator(kernel, (5, 4), padding_mode=mode, method=method, **OPTIONS)
    exact = exact_matrix(kernel, (5, 4), mode, **OPTIONS)
    for B, matrix in ((A, exact), (A.T, exact.T), (A.gram(), exact.T @ exact)):
        x = np.arange(2 * B.shape[1]).reshape(2, -1) % 3
        for x_dtype in (dtype, "uint8", "int8", "int64", "uint64", "float32", "float64", "complex128"):
            result = np.result_type(dtype, x_dtype)
            if B.shape[0] == B.shape[1] and result.kind not in "iu":
                # sums of squares are not exact
                continue
            expected = cast(x.astype(object) @ matrix.T, result)
            product = B.matmat(x.astype(x_dtype).T).T
            assert product.dtype == result
            np.testing.assert_array_equal(product, expected)
            np.testing.assert_array_equal(B @ x[1].astype(x_dtype), expected[1])


def test_the_answer_does_not_change_with_the_size():
    """What auto takes for a small picture sums as what it takes for a large one."""
    kernel = np.array([200] * 3, np.uint8)
    for method in ("auto", "sparse", "direct", "gemm"):
        A = stc.ConvOperator(kernel, 6, padding=1, padding_mode="reflect", method=method)
        np.testing.assert_array_equal(A @ np.ones(6), [600.0] * 6)
    # the matrix is one of uint8, as its dtype says: 400 - 256
    assert A.tosparse().max() == 200
    assert A.tosparse()[0, 1] == 144


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_kernel_operator_sums_integers_in_the_results_dtype(dtype, mode, transposed, small, monkeypatch):
    if not small:
        monkeypatch.setattr(_kernel, "SMALL", 0)
    shape = stc.ConvGeometry((5, 4), (3, 2), **OPTIONS).output_shape if transposed else (5, 4)
    fixed = large_integers(shape, dtype)
    extra = {"output_shape": (5, 4)} if transposed else {}
    K = stc.KernelOperator(fixed, (3, 2), padding_mode=mode, transposed=transposed, **OPTIONS, **extra)
    columns = []
    for number in range(6):
        unit = np.zeros(6, int)
        unit[number] = 1
        matrix = exact_matrix(unit.reshape(3, 2), (5, 4), mode, **OPTIONS)
        columns.append((matrix.T if transposed else matrix) @ fixed.ravel().astype(object))
    exact = np.stack(columns, 1)
    for matrix, multiply in ((exact, K.matvec), (exact.T, K.rmatvec)):
        x = np.arange(matrix.shape[1]) % 3
        for x_dtype in (dtype, "uint8", "int64", "float64"):
            result = np.result_type(dtype, x_dtype)
            product = multiply(x.astype(x_dtype))
            assert product.dtype == result
            np.testing.assert_array_equal(product, cast(matrix @ x.astype(object), result))


def test_integer_pictures_are_resized_and_fitted_as_floats_are():
    rng = np.random.default_rng(0)
    pictures = rng.integers(200, 256, (3, 9, 8), np.uint8)
    R = stc.ResizeOperator((9, 8), scale=2, mode="cubic")
    np.testing.assert_array_equal(R.apply(pictures), R.apply(pictures.astype(float)))
    options = {"padding": 1, "padding_mode": "replicate"}
    for method in ("cholesky", "lsmr"):
        fits = [
            stc.fit_kernel(list(x), list(x), (3, 3), method=method, **options)
            for x in (pictures, pictures.astype(float))
        ]
        np.testing.assert_allclose(*fits, atol=1e-12)


PAIRS = [
    ("float32", "float64"),
    ("float32", "complex64"),
    ("float32", "complex128"),
    ("float64", "float32"),
    ("complex64", "float64"),
    ("complex64", "complex128"),
    ("int16", "float32"),
    ("int8", "int64"),
    ("uint64", "int8"),
]


@pytest.mark.parametrize(("dtype", "x_dtype"), PAIRS)
@pytest.mark.parametrize("mode", ["zeros", "symmetric"])
def test_mixed_dtypes_by_the_matrix(dtype, x_dtype, mode, monkeypatch):
    """Entries are converted when they are read; neither that nor threads are seen in the bits."""
    kernel = large_integers((3, 2), "int8").astype(dtype)
    products = []
    for large, threads in ((0, 1), (0, 3), (1 << 60, 1)):
        monkeypatch.setattr(product_module, "LARGE", large)
        monkeypatch.setattr(product_module, "thread_count", lambda threads=threads: threads)
        A = stc.ConvOperator(kernel, (5, 4), padding_mode=mode, method="sparse", **OPTIONS)
        exact = exact_matrix(large_integers((3, 2), "int8"), (5, 4), mode, **OPTIONS)
        for count in (1, 3, 20):
            x = (np.arange(count * 20).reshape(20, count) % 5).astype(x_dtype)
            product = A @ x
            assert product.dtype == np.result_type(dtype, x_dtype)
            np.testing.assert_array_equal(product, exact @ x.astype(complex))
            back = A.T @ np.ones((A.shape[0], count), x_dtype)
            np.testing.assert_array_equal(back, exact.T @ np.ones((A.shape[0], count), complex))
        rough = np.random.default_rng(0).standard_normal(20)
        products.append(A @ (rough * 9).astype(x_dtype))
    assert products[0].tobytes() == products[1].tobytes()
    if product_module.rounds_twice():
        assert products[0].tobytes() == products[2].tobytes()


@pytest.mark.parametrize("x_dtype", ["float64", "complex64", "complex128", "int64"])
def test_products_do_not_convert_the_matrix(x_dtype):
    """A product in another dtype takes its vectors, and keeps nothing."""
    import tracemalloc

    A, other = (stc.ConvOperator(np.ones((9, 9), np.float32), (n, n), method="sparse") for n in (160, 110))
    x = np.ones(A.shape[1], x_dtype)
    A @ np.ones(A.shape[1], np.float32)
    # loops are compiled, or loaded, once for all operators
    other @ np.ones(other.shape[1], x_dtype)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        y = A @ x
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 4 * (x.nbytes + 2 * y.nbytes) < 8 * A.nnz
    assert after - before < A.nnz


def test_folded_taps_are_summed_as_the_result_asks():
    """Two taps that fold onto one sample are rounded, or overflow, in the result's dtype alone."""
    kernel = np.array([1, 0, 2.0**-30, 3e38, 3e38], np.float32)
    x = np.arange(1.0, 7.0)
    options = {"padding": ((4, 0),), "padding_mode": "replicate"}
    wide = stc.ConvOperator(kernel.astype(float), 6, **options) @ x
    for method in ("sparse", "direct", "gemm"):
        A = stc.ConvOperator(kernel, 6, method=method, **options)
        np.testing.assert_allclose(A @ x, wide, rtol=1e-15)
        with np.errstate(over="ignore"):
            assert np.isinf(A @ x.astype(np.float32)).any()


BAD = st.sampled_from([np.nan, np.inf, -np.inf])
FLOATS = st.sampled_from(["float32", "float64", "complex64", "complex128"])


@st.composite
def poisoned(draw, shape, dtype):
    """Draw two arrays, the first with one or two numbers that are not finite, and where those are."""
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    arrays = rng.integers(-2, 3, (2, *shape)).astype(dtype)
    for _ in range(draw(st.integers(1, 2))):
        arrays[0].flat[draw(st.integers(0, arrays[0].size - 1))] = draw(BAD)
    return arrays, ~np.isfinite(arrays[0])


def assert_bad(product, places):
    """Compare which results of the first item are not finite; the second item has none."""
    np.testing.assert_array_equal(~np.isfinite(product[0].ravel()), places)
    assert np.isfinite(product[1]).all()


@pytest.mark.parametrize("method", METHODS)
@examples(100)
@given(data=st.data(), case=geometries(max_ndim=2), dtype=FLOATS, transposed=st.booleans())
def test_what_is_not_finite_goes_where_the_matrix_has_entries(method, data, case, dtype, transposed):
    kernel_shape, input_shape, options = case
    # zeros of the kernel are entries too
    kernel = np.random.default_rng(0).integers(-1, 2, kernel_shape).astype(dtype)
    A = stc.ConvOperator(kernel, input_shape, method=method, **options)
    pattern = naive_pattern(kernel_shape, input_shape, **options)
    if transposed:
        A, pattern = A.T, pattern.T
    x_dtype = data.draw(FLOATS)
    x, bad = data.draw(poisoned(A.input_shape, x_dtype))
    with np.errstate(invalid="ignore"):
        assert_bad(A.apply(x), pattern[:, bad.ravel()].any(1))
        assert_bad(A.gram().apply(x), pattern[:, bad.ravel()].any(1) @ pattern > 0)


@examples(100)
@given(data=st.data(), case=geometries(max_ndim=2), dtype=FLOATS)
def test_kernels_that_are_not_finite(data, case, dtype):
    kernel_shape, input_shape, options = case
    kernels, bad = data.draw(poisoned(kernel_shape, dtype))
    with np.errstate(invalid="ignore"):
        A = stc.ConvOperator(kernels[0], input_shape, **options)
        read = naive_matrix(bad.astype(int), input_shape, **options) > 0
        np.testing.assert_array_equal(~np.isfinite(A @ np.ones(A.shape[1])), read.any(1))
        np.testing.assert_array_equal(~np.isfinite(A.T @ np.zeros(A.shape[0])), read.any(0))


# one tap after the other in NumPy; by the method that is chosen; with transforms for the gradient
PATHS = {"small": {}, "compiled": {"SMALL": 0}, "transforms": {"SMALL": 0, "MANY_TAPS": 0}}


@pytest.mark.parametrize("path", PATHS)
@examples(100)
@given(
    data=st.data(), case=geometries(max_ndim=2), dtype=FLOATS, transposed=st.booleans(), which=st.booleans()
)
def test_kernel_operator_sends_what_is_not_finite_along_its_entries(
    path, data, case, dtype, transposed, which
):
    kernel_shape, input_shape, options = case
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    sides = [geometry.output_shape, input_shape] if transposed else [input_shape, geometry.output_shape]
    extra = {"output_shape": input_shape} if transposed else {}
    (fixed, _), at_fixed = data.draw(poisoned(sides[0], dtype))
    if not which:
        fixed, at_fixed = np.ones(sides[0], dtype), np.zeros(sides[0], bool)
    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore"):
        for name, value in PATHS[path].items():
            patch.setattr(_kernel if name == "SMALL" else gradient, name, value)
        K = stc.KernelOperator(fixed, kernel_shape, transposed=transposed, **options, **extra)
        w, at_w = data.draw(poisoned(K.input_shape, data.draw(FLOATS)))
        y, at_y = data.draw(poisoned(K.output_shape, data.draw(FLOATS)))
        products, gradients = K.apply(w), K.H.apply(y)
    units = np.eye(at_w.size, dtype=int).reshape(-1, *kernel_shape)
    # (taps, results, sources)
    reads = np.stack([naive_matrix(unit, input_shape, **options) > 0 for unit in units])
    reads = reads.swapaxes(1, 2) if transposed else reads
    met = reads & (at_w.reshape(-1, 1, 1) | at_fixed.ravel())
    np.testing.assert_array_equal(~np.isfinite(products[0].ravel()), met.any((0, 2)))
    met = reads & (at_y.reshape(-1, 1) | at_fixed.ravel())
    np.testing.assert_array_equal(~np.isfinite(gradients[0].ravel()), met.any((1, 2)))
    if not which:
        assert np.isfinite(products[1]).all()
        assert np.isfinite(gradients[1]).all()


@examples(100)
@given(data=st.data(), dtype=FLOATS, mode=st.sampled_from(["nearest", "linear", "cubic", "area"]))
def test_a_resize_sends_what_is_not_finite_along_its_entries(data, dtype, mode):
    sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))
    R = stc.ResizeOperator(data.draw(sizes), data.draw(sizes), mode=mode, dtype=dtype)
    for op in (R, R.H):
        x, bad = data.draw(poisoned(op.input_shape, dtype))
        with np.errstate(invalid="ignore"):
            assert_bad(op.apply(x), (dense(op) != 0)[:, bad.ravel()].any(1))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64"])
def test_transforms_have_room_where_results_have(dtype, transposed):
    """Sums of a whole tile overflow where those of a few samples do not."""
    A = stc.ConvOperator(np.full(5, 0.125, dtype), 300, padding="same", method="fft")
    A = A.T if transposed else A
    x = np.full(300, np.finfo(dtype).max / 2, dtype)
    np.testing.assert_allclose(A @ x / x[0], A @ np.ones(300, dtype), rtol=1e-5)
    with np.errstate(over="ignore", invalid="ignore"):
        x[150] = np.inf
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(A @ x)), range(148, 153))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [60, 3000])
@pytest.mark.parametrize(("dtype", "large"), [("float64", 1e308), ("complex128", 1e308), ("float32", 2e38)])
def test_kernels_near_the_largest_number_have_transforms(dtype, large, size, transposed):
    kernel = np.array([1, 0.5, -1, 0.25], dtype)
    small = stc.ConvOperator(kernel, size, padding="same", method="fft")
    A = stc.ConvOperator(kernel * np.dtype(dtype).type(large), size, padding="same", method="fft")
    small, A = (small.T, A.T) if transposed else (small, A)
    x = np.random.default_rng(0).standard_normal(size).astype(dtype)
    for scale in (0.25, 1e-30):
        found = A @ (x * np.dtype(dtype).type(scale))
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found / large / scale, small @ x, atol=1e-5)


@pytest.mark.parametrize("way", [fft.in_tiles, fft.as_a_whole])
def test_no_transform_warns_of_what_was_given(way, monkeypatch):
    """Nor does either way of the transforms, whichever the rates of a processor choose."""

    def strategy(geometry, transposed, dtype, rates, items=1):
        return way(Work.of(geometry, transposed, dtype), rates, items)

    monkeypatch.setattr(fft, "fft_strategy", strategy)
    x = np.ones(40)
    x[5] = np.inf
    A = stc.ConvOperator(np.array([1.0, 2.0, -1.0]), 40, padding=1, method="fft")
    for operator in (A, A.T):
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(operator @ x)), [4, 5, 6])


@pytest.mark.parametrize("method", METHODS)
def test_no_method_warns_of_what_was_given(method):
    """Warnings are errors here: infinity minus infinity is the user's, in the same words by every method: none."""
    x = np.array([1, np.inf, 1, 1])
    A = stc.ConvOperator(np.array([1.0, 0, -1]), 4, padding=1, padding_mode="reflect", method=method)
    for operator in (A, A.T):
        assert not np.isfinite(operator @ x).all()
    K = stc.KernelOperator(np.array([1.0, np.inf, 0, 2]), 2)
    assert not np.isfinite(K @ np.array([0.0, 1])).all()
    assert not np.isfinite(K.H @ np.array([1.0, -np.inf, 1])).all()
