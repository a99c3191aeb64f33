"""The laws of linear operators, one body for all kinds of operators, and for NumPy's and CuPy's arrays.

`test_laws.py` runs them on NumPy's arrays, `gpu/test_gpu_laws.py` on CuPy's: both take all the tests that are
here, and say by a fixture ``arrays`` on what. What a law compares with is computed on the host, from matrices
that are proven against naive loops elsewhere.
"""

from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import pytest
from operator_cases import FLOATS, GEOMETRIES, METHODS, MODES, dense, integers, make

import sparsetconv as stc
from sparsetconv.operators._channels_last import ChannelsLastOperator

either = pytest.mark.parametrize("transposed", [False, True], ids=["forward", "transposed"])
each_mode = pytest.mark.parametrize("mode", MODES)
each_dtype = pytest.mark.parametrize("dtype", FLOATS)
each_method = pytest.mark.parametrize("method", METHODS)
each_geometry = pytest.mark.parametrize("name", GEOMETRIES)
RESIZE_MODES = ("nearest", "linear", "cubic", "lanczos3", "area")
# those whose arithmetic is exact on integers
EXACT = [method for method in METHODS if method != "fft"]


def close(method, dtype):
    """Return the assertion for a method: equality on integers, round-off for the FFT."""
    return within(0 if method != "fft" else 2e-4 if np.dtype(dtype).char in "fF" else 1e-11)


def within(tolerance):
    """Return an assertion of equality, but for an error."""

    def compare(actual, desired):
        np.testing.assert_allclose(actual, desired, rtol=0, atol=tolerance)

    return np.testing.assert_array_equal if tolerance == 0 else compare


def on(arrays, name, dtype, mode, method, transposed=False):
    """Return an operator of the table on arrays of one kind."""
    kernel_shape, input_shape, options = GEOMETRIES[name]
    kernel = arrays.put(integers(kernel_shape, dtype))
    forward = stc.ConvOperator(kernel, input_shape, padding_mode=mode, method=method, **options)
    return forward.T if transposed else forward


def check_laws(arrays, A, M, equal, draw):
    """All that a linear operator promises, by its matrix on the host.

    Parameters
    ----------
    arrays : Arrays
    A : linear operator
    M : dense array
        On the host.
    equal : callable
        Asserts that two arrays on the host agree.
    draw : callable
        From a shape and a seed to an array on the host.
    """
    assert A.shape == M.shape
    assert A.dtype == M.dtype
    x, y = draw((A.shape[1], 3), 1), draw((A.shape[0], 3), 2)
    # products, one vector and several, in all directions
    for operator, matrix, vectors in ((A, M, x), (A.T, M.T, y), (A.H, M.conj().T, y)):
        product = operator @ arrays.put(vectors)[:, 0]
        assert product.dtype == A.dtype
        assert product.shape == (matrix.shape[0],)
        equal(arrays.get(product), matrix @ vectors[:, 0])
        equal(arrays.get(operator @ arrays.put(vectors[:, :1])), matrix @ vectors[:, :1])
        equal(arrays.get(operator @ arrays.put(vectors)), matrix @ vectors)
        equal(arrays.dense(operator), matrix)
    equal(arrays.get(A.rmatvec(arrays.put(y)[:, 1])), M.conj().T @ y[:, 1])
    equal(arrays.get(A.rmatmat(arrays.put(y))), M.conj().T @ y)
    # the adjoint of the adjoint, and mixed with the transpose
    equal(arrays.get(A.H.H @ arrays.put(x)), M @ x)
    equal(arrays.get(A.T.T @ arrays.put(x)), M @ x)
    equal(arrays.get(A.H.T @ arrays.put(x)), M.conj() @ x)
    # linearity
    whole = arrays.get(A @ arrays.put(2 * x[:, 0] - 3 * x[:, 1]))
    equal(whole, arrays.get(2 * (A @ arrays.put(x[:, 0])) - 3 * (A @ arrays.put(x[:, 1]))))
    # batches of arrays
    batch = arrays.put(x.T.reshape(3, 1, *A.input_shape))
    applied = A.apply(batch)
    assert applied.shape == (3, 1, *A.output_shape)
    equal(arrays.get(applied).reshape(3, -1).T, M @ x)
    equal(arrays.get(A.apply(batch[0, 0])).ravel(), M @ x[:, 0])
    assert A.apply(batch[:0]).shape == (0, 1, *A.output_shape)
    # what comes back is the caller's, and what was given stays
    again = A @ arrays.put(x)
    again += 1
    equal(arrays.get(A @ arrays.put(x)), M @ x)
    equal(arrays.get(batch).reshape(3, -1).T, x)
    assert stc.testing.dot_test(A)
    stc.testing.assert_adjoint(A)


@either
@each_mode
@each_dtype
@each_method
@each_geometry
def test_convolutions(arrays, name, method, dtype, mode, transposed):
    A = on(arrays, name, dtype, mode, method, transposed)
    M = dense(make(name, dtype, mode, "sparse", transposed))
    check_laws(arrays, A, M, close(method, dtype), lambda shape, seed: integers(shape, dtype, seed))
    assert A.method == method
    assert type(A.H).__name__.endswith("ConvOperator" if transposed else "ConvTransposeOperator")
    if method != "fft":
        stc.testing.assert_adjoint(A, exact=True)


def kernel_operator(arrays, name, dtype, mode, transposed):
    """Return the convolution of the table as a function of its kernel."""
    kernel_shape, input_shape, options = GEOMETRIES[name]
    options = {**options, "padding_mode": mode}
    forward = stc.ConvGeometry(input_shape, kernel_shape, **options)
    if transposed:
        # the padding with which the transpose gives the forward's sizes again
        options["padding"] = tuple((a.before, a.high - a.size + 1) for a in forward.axes)
    x = integers(forward.output_shape if transposed else input_shape, dtype, 1)
    K = stc.KernelOperator(arrays.put(x), kernel_shape, transposed=transposed, **options)
    function = stc.conv_transpose_matrix if transposed else stc.conv_matrix

    def column(number):
        kernel = np.zeros(prod(kernel_shape), dtype)
        kernel[number] = 1
        return function(kernel.reshape(kernel_shape), x.shape, **options) @ x.ravel()

    return K, np.stack([column(number) for number in range(prod(kernel_shape))], 1)


@either
@each_mode
@pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
@each_geometry
def test_kernel_operators(arrays, name, dtype, mode, transposed):
    if arrays.on_device and dtype == "int64":
        pytest.skip("CuPy's matrices hold no integers")
    K, M = kernel_operator(arrays, name, dtype, mode, transposed)
    # on the card products may be the FFT's
    equal = close("fft" if arrays.on_device else "direct", dtype)
    check_laws(arrays, K, M, equal, lambda shape, seed: integers(shape, dtype, seed))
    if not arrays.on_device:
        stc.testing.assert_adjoint(K, exact=True)


@each_dtype
@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((7,), {"output_shape": 4}),
        ((7,), {"scale": 3}),
        ((2, 5, 4), {"scale": (2, 1.5)}),
        ((4, 3, 5), {"output_shape": (3, 8, 2)}),
        ((4, 4), {"output_shape": (4, 4)}),
        ((12, 10, 3), {"output_shape": (9, 14, 4)}),
    ],
    ids=str,
)
def test_resizes(arrays, shape, sizes, mode, dtype):
    R = stc.ResizeOperator(shape, mode=mode, dtype=dtype, **sizes, **arrays.options)
    M = stc.resize_matrix(shape, mode=mode, dtype=dtype, **sizes).toarray()

    def draw(shape, seed):
        values = np.random.default_rng(seed).standard_normal((2, *shape))
        return (values[0] + 1j * values[1] if np.dtype(dtype).kind == "c" else values[0]).astype(dtype)

    check_laws(arrays, R, M, within(200 * np.finfo(dtype).eps), draw)
    assert R.H.H is R
    if np.dtype(dtype).kind == "f":
        assert R.H.T is R
    x = arrays.put(draw((R.shape[1],), 3))
    np.testing.assert_array_equal(arrays.get(arrays.pickled(R) @ x), arrays.get(R @ x))


CHANNELS = [name for name, (kernel, shape, _) in GEOMETRIES.items() if len(kernel) > len(shape)]


@either
@each_dtype
@pytest.mark.parametrize("name", CHANNELS)
def test_channels_last(arrays, name, dtype, transposed):
    first = make(name, dtype, "reflect", "sparse", transposed)
    A = ChannelsLastOperator(on(arrays, name, dtype, "reflect", "direct", transposed))
    # what is moved is the arrays' axis, said without the permutations
    units = np.eye(first.shape[1], dtype=dtype).reshape(-1, *A.input_shape)
    columns = np.moveaxis(first.apply(np.moveaxis(units, -1, 1)), 1, -1)
    M = columns.reshape(len(units), -1).T
    check_laws(arrays, A, M, close("direct", dtype), lambda shape, seed: integers(shape, dtype, seed))
    np.testing.assert_array_equal(arrays.dense(A.gram()), M.conj().T @ M)
    assert isinstance(A.H, type(A))
    assert isinstance(A.T, type(A))
    assert A.T.input_shape == A.output_shape


@each_mode
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_gram(arrays, mode, dtype):
    G = on(arrays, "groups", dtype, mode, "direct").gram()
    M = dense(make("groups", dtype, mode, "sparse"))
    M = M.conj().T @ M
    check_laws(arrays, G, M, close("direct", dtype), lambda shape, seed: integers(shape, dtype, seed))
    assert G.H is G
    stc.testing.assert_adjoint(G, exact=True)


@each_method
@each_geometry
@pytest.mark.parametrize("kernel_dtype", ["float32", "complex64"])
@pytest.mark.parametrize("x_dtype", ["int8", "bool", "float16", "float64", "complex64", "complex128"])
def test_mixed_dtypes(arrays, name, method, kernel_dtype, x_dtype):
    A = on(arrays, name, kernel_dtype, "reflect", method)
    drawn = integers(A.shape[1], "int8") % 2 if x_dtype == "bool" else integers(A.shape[1], x_dtype)
    x = drawn.astype(x_dtype)
    product = A @ arrays.put(x)
    assert product.dtype == np.result_type(kernel_dtype, x_dtype)
    close(method, "complex64")(arrays.get(product), dense(make(name, kernel_dtype, "reflect", "sparse")) @ x)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
@either
def test_integers_wrap_as_numpys_do(arrays, method, dtype, transposed):
    if arrays.on_device and method == "sparse":
        pytest.skip("CuPy's matrices hold no integers")
    kernel = np.arange(1, 7).reshape(2, 3).astype(dtype)
    options = {"padding": 1, "padding_mode": "circular"}
    A = stc.ConvOperator(arrays.put(kernel), (6, 5), method=method, **options)
    M = stc.conv_matrix(kernel, (6, 5), **options).toarray()
    A, M = (A.T, M.T) if transposed else (A, M)
    x = np.arange(A.shape[1]).astype(dtype) * 7
    product = A @ arrays.put(x)
    assert product.dtype == dtype
    np.testing.assert_array_equal(arrays.get(product), M @ x)


@either
@pytest.mark.parametrize("value", [np.nan, np.inf])
@each_mode
@pytest.mark.parametrize("method", EXACT)
@each_geometry
def test_nan_travels_only_where_the_matrix_sends_it(arrays, name, method, mode, value, transposed):
    A = on(arrays, name, "float64", mode, method, transposed)
    pattern = make(name, "float64", mode, "sparse", transposed).tosparse()
    pattern.data[:] = 1
    for place in (0, A.shape[1] // 2, A.shape[1] - 1):
        x = np.ones(A.shape[1])
        x[place] = value
        with np.errstate(invalid="ignore"):
            reached = ~np.isfinite(arrays.get(A @ arrays.put(x)))
        np.testing.assert_array_equal(reached, pattern.toarray()[:, place] > 0)


@each_method
@pytest.mark.parametrize("options", [{}, {"output_padding": 1}, {"output_shape": (10, 12)}], ids=str)
def test_transposed_convolutions(arrays, method, options):
    kernel = integers((3, 2, 4, 5), "float64")
    options = {"stride": 2, "padding": (0, 1), **options}
    T = stc.ConvTransposeOperator(arrays.put(kernel), (3, 4, 5), method=method, **options)
    M = stc.conv_transpose_matrix(kernel, (3, 4, 5), **options).toarray()
    equal = close(method, "float64")
    check_laws(arrays, T, M, equal, lambda shape, seed: integers(shape, "float64", seed))


def test_torchs_layout_serves_both_directions(arrays):
    """One array is the kernel of a convolution and of its transpose."""
    kernel = integers((4, 3, 2, 3), "complex128")
    A = stc.ConvOperator(arrays.put(kernel), (3, 8, 9), stride=2)
    T = stc.ConvTransposeOperator(arrays.put(kernel), A.output_shape, stride=2, output_shape=(8, 9))
    np.testing.assert_array_equal(arrays.dense(T), arrays.dense(A).T)
    np.testing.assert_array_equal(arrays.dense(A.T), arrays.dense(T))
    np.testing.assert_array_equal(arrays.get(A.H.kernel), kernel.conj())


@each_method
def test_pickles(arrays, method):
    A = on(arrays, "groups", "complex64", "reflect", method)
    x = arrays.put(integers(A.shape[1], "complex64"))
    B = arrays.pickled(A)
    assert (B.method, B.geometry, B.dtype) == (A.method, A.geometry, A.dtype)
    np.testing.assert_array_equal(arrays.get(B @ x), arrays.get(A @ x))
    np.testing.assert_array_equal(arrays.dense(arrays.pickled(A.H)), arrays.dense(A.H))


@each_method
def test_result_is_the_callers(arrays, method):
    """What comes back may be written to, and shares nothing with the input."""
    A = stc.ConvOperator(arrays.put(np.ones((1, 1))), (4, 5), method=method)
    x = arrays.put(np.arange(20.0))
    for operator in (A, A.H):
        y = operator @ x
        y += 1
        assert arrays.get(x).tolist() == list(range(20))


@each_method
def test_shared_by_threads(arrays, method):
    """Eight threads start on an operator that has not kept anything yet."""
    if arrays.on_device and arrays.emulated:
        pytest.skip("the emulation's kernels run on one thread at a time")
    kernel, x = integers((3, 4), "float64"), integers((16, 300 * 200), "float64", 1)
    options = {"padding": "same", "padding_mode": "reflect"}
    A = stc.ConvOperator(arrays.put(kernel), (300, 200), method=method, **options)
    M = stc.conv_matrix(kernel, (300, 200), **options)
    with ThreadPoolExecutor(8) as pool:
        products = list(pool.map(A.matvec, map(arrays.put, x)))
        back = list(pool.map(A.rmatvec, products))
    for product, vector in zip(products, x, strict=True):
        close(method, "float64")(arrays.get(product), M @ vector)
    for product, vector in zip(back, x, strict=True):
        close(method, "float64")(arrays.get(product), M.T @ (M @ vector))
