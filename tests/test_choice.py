"""Which way to multiply is chosen: whole transforms, merged axes, bounded stores, ``auto``."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import prod

import numpy as np
import pytest
import scipy.fft
from hypothesis import assume, given
from hypothesis import strategies as st
from operator_cases import integers
from reference import extension_index, naive_matrix
from scipy.sparse.linalg import lsmr

import sparsetconv as stc
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._learning import cost as fit_cost
from sparsetconv._learning import fit
from sparsetconv._methods import cost, transforms
from sparsetconv._methods.cpu.fft import FFTMethod, fft_strategy
from sparsetconv._methods.cpu.overlap_save import plan
from sparsetconv._methods.cpu.rates import current
from sparsetconv._methods.kernel.gradient import kernel_gradient
from sparsetconv._methods.merge import NARROW_AXIS, arrangement
from sparsetconv._methods.registry import METHODS
from sparsetconv._methods.store import Store
from sparsetconv._methods.transforms import fast_lengths
from sparsetconv._methods.whole import WholeTransform, circle

each_mode = pytest.mark.parametrize("mode", PADDING_MODES)

# name: (kernel shape, input shape, options); each is there for what its comment says
WHOLE = {
    # a pad on both sides, unlike ones
    "line": ((6,), (11,), {"padding": ((3, 2),)}),
    # a fast length, so that a periodic signal is its own circle
    "period": ((5,), (16,), {"padding": ((2, 2),)}),
    # a pad longer than the signal, a kernel longer than twice the signal
    "long": ((15,), (5,), {"padding": ((9, 12),), "stride": 2}),
    # every result is there, the circle must be as long as all of them
    "full": ((4, 3), (5, 7), {"padding": "full"}),
    # strides leave samples at the end unread; taps stand apart
    "strides": ((3, 2), (9, 10), {"stride": (2, 3), "padding": ((1, 2), (0, 1)), "dilation": (2, 3)}),
    # cropped, on one side or on both
    "cropped": ((3, 2), (9, 8), {"padding": ((-2, 3), (-1, -2)), "stride": (1, 2)}),
    # all that is read lies beyond the end of the signal
    "beyond": ((2,), (3,), {"padding": ((-4, 5),)}),
    # and before its beginning
    "before": ((2,), (3,), {"padding": ((5, -4),)}),
    "channels": ((4, 3, 2, 3), (6, 4, 5), {"groups": 2, "padding": 1, "stride": (1, 2)}),
    "volume": ((2, 3, 2), (4, 3, 5), {"padding": ((1, 0), (1, 1), (0, 2))}),
}


@each_mode
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_whole_transforms_are_the_matrix(name, mode, dtype):
    kernel_shape, input_shape, options = WHOLE[name]
    geometry = ConvGeometry(input_shape, kernel_shape, padding_mode=mode, **options)
    kernel = integers(kernel_shape, dtype)
    numbers = (geometry.stride, geometry.padding, geometry.dilation, geometry.groups, geometry.padding_mode)
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    matrix = naive_matrix(kernel, input_shape, flip=False, **dict(zip(names, numbers, strict=True)))
    groups, (c_in, c_out) = geometry.groups, geometry.channels
    weights = kernel.reshape(groups, c_out, c_in, *(axis.taps for axis in geometry.axes))
    sides = [(groups, c_in, *(axis.size for axis in geometry.axes))]
    sides.append((groups, c_out, *(axis.outputs for axis in geometry.axes)))
    for transposed in (False, True):
        compute = WholeTransform(geometry.axes, weights, np.dtype(dtype), transposed, NUMPY)
        source, result = sides[::-1] if transposed else sides
        x = integers((3, *source), dtype, 1)
        given = x.copy()
        actual = compute(x)
        assert actual.dtype == dtype
        assert actual.shape == (3, *result)
        np.testing.assert_array_equal(x, given)
        expected = x.reshape(3, -1) @ (matrix if transposed else matrix.T)
        # integers: what is left after rounding is exact
        np.testing.assert_array_equal(np.round(actual.reshape(3, -1)), expected)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(-3, 12),
    st.integers(-3, 12),
    st.integers(1, 3),
    st.sampled_from(PADDING_MODES),
    st.booleans(),
)
def test_circles_are_no_shorter_than_they_must_be_and_no_longer_than_the_padded_signal(
    size, taps, stride, before, after, dilation, mode, real
):
    axis = Axis(size, taps, stride, before, after, dilation, mode)
    assume(axis.outputs >= 1)
    around = circle(axis, real)
    assert around.least <= max(axis.high, axis.size - 1) - min(axis.low, 0) + 1
    for output in range(axis.outputs):
        for tap in range(axis.taps):
            place = (output * stride + around.first + tap * dilation) % around.least
            found = None
            if place < around.window.outputs:
                found = extension_index(mode, size, around.window.low + place)
            assert found == extension_index(mode, size, output * stride - before + tap * dilation)


@pytest.mark.parametrize(
    ("kernel_shape", "input_shape", "options"),
    [
        ((256, 256), (512, 512), {"padding": "same"}),
        ((257, 257), (512, 512), {"padding": "same"}),
        ((255, 256), (511, 513), {}),
        ((65_535,), (131_071,), {"padding": "same"}),
        ((65_536,), (131_072,), {"padding": "same"}),
        ((32, 32, 32), (64, 64, 64), {"padding": "same"}),
        ((31, 33, 32), (63, 65, 64), {"padding": "full", "stride": 2}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_kernels_as_long_as_half_the_signal_are_transformed_as_a_whole(
    kernel_shape, input_shape, options, dtype
):
    geometry = ConvGeometry(input_shape, kernel_shape, **options)
    costs = cost.estimate(geometry, np.dtype(dtype))
    assert min(costs, key=costs.__getitem__) == "fft"
    for transposed in (False, True):
        assert fft_strategy(geometry, transposed, np.dtype(dtype), current().rates).whole


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_large_products_by_whole_transforms(dtype):
    """What ``auto`` takes for large kernels gives what the stencil gives, in the array's own precision."""
    kernel, shape = integers((80, 81), dtype), (130, 131)
    A = stc.ConvOperator(kernel, shape, padding="same")
    assert A.method == "fft"
    assert A._method.strategy(False, np.dtype(dtype)).whole
    B = stc.ConvOperator(kernel, shape, padding="same", method="direct")
    x, y = integers((3, *shape), dtype, 1), integers((3, *A.output_shape), dtype, 2)
    for actual, expected in ((A.apply(x), B.apply(x)), (A.T.apply(y), B.T.apply(y))):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("threads", ["1", "2", "3"])
@pytest.mark.parametrize("shape", [(63, 66), (4_001,), (7, 8, 9)])
def test_no_bit_of_a_whole_transform_depends_on_threads(shape, threads, monkeypatch):
    rng = np.random.default_rng(0)
    geometry = ConvGeometry(shape, shape, padding="same")
    weights, x = rng.standard_normal((1, 1, 1, *shape)), rng.standard_normal((3, 1, 1, *shape))
    # small transforms are not distributed over threads otherwise
    monkeypatch.setattr(transforms, "THREAD_WORK", 0)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    compute = WholeTransform(geometry.axes, weights, np.dtype(float), False, NUMPY)
    expected = compute(x)
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    again = WholeTransform(geometry.axes, weights, np.dtype(float), False, NUMPY)
    np.testing.assert_array_equal(again(x), expected)


@pytest.mark.parametrize(("shape", "workers"), [((20, 20), 1), ((300, 300), 3)])
def test_small_transforms_take_one_thread(shape, workers, monkeypatch):
    """SciPy's threads take longer to begin than a small transform takes."""
    asked = []
    usual = scipy.fft.rfftn
    monkeypatch.setattr(scipy.fft, "rfftn", lambda *x, **given: asked.append(given) or usual(*x, **given))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    transforms.Transforms(NUMPY, shape, True).forward(np.ones((1, *shape)))
    assert [given["workers"] for given in asked] == [workers]


@pytest.mark.parametrize("size", [2**40, 2**60 - 1, 2**60 + 1, 2**61, 2**62 - 1])
@pytest.mark.parametrize("options", [{}, {"padding": 2**60, "padding_mode": "reflect"}, {"padding": "same"}])
def test_operators_of_any_size_are_made_and_explained(size, options):
    A = stc.ConvOperator([1.0, 2.0], size, **options)
    assert A.explain().startswith(f"method '{A.method}': ")
    lengths = fast_lengths([size], True)
    assert size <= lengths[0] < 2 * size


def test_spectra_are_shared_by_all_sizes_of_a_batch():
    """One is kept for each choice of lengths, and there are few; all sizes give the same numbers."""
    for kernel_shape, shape in (((31, 31), (300, 300)), ((200, 200), (220, 220))):
        kernel = integers(kernel_shape, "float64")
        A = stc.ConvOperator(kernel, shape, padding="same", method="fft")
        x = integers((8, *shape), "float64", 1)
        alone = A.apply(x[:1])
        (store, _) = A._method._prepared
        strategies = {A._method.strategy(False, np.dtype(float), items)[:2] for items in range(1, 9)}
        for items in range(2, 9):
            np.testing.assert_allclose(A.apply(x[:items])[:1], alone, atol=1e-6)
        assert len(store) == len(strategies) <= 3


def test_stores_are_bounded_in_number_and_bytes():
    store, made = Store(3, 100), []

    def make(nbytes):
        made.append(nbytes)
        return np.zeros(nbytes, np.int8)

    def keep(key, nbytes):
        return store.get(key, lambda: make(nbytes))

    for key in range(5):
        keep(key, 10)
    assert (len(store), store.nbytes) == (3, 30)
    first = keep(2, 10)
    assert made == [10] * 5
    # the least recently used ones go first: 3, then 4
    keep(5, 85)
    assert (len(store), store.nbytes) == (2, 95)
    assert keep(2, 10) is first
    # the newest stays, however large
    keep(6, 1000)
    assert (len(store), store.nbytes) == (1, 1000)


def test_stores_serve_threads():
    store = Store(2, 1 << 20)
    with ThreadPoolExecutor(8) as pool:
        things = list(pool.map(lambda n: store.get(n % 4, lambda: np.full(9, n % 4)), range(400)))
    assert all((thing == n % 4).all() for n, thing in enumerate(things))
    assert len(store) <= 2


def test_tiles_of_many_axes_are_chosen_without_all_combinations(monkeypatch):
    """With twelve axes there are millions of combinations; one is kept for each size of a tile."""
    looked_at = []
    valid = plan.Span.valid
    monkeypatch.setattr(plan.Span, "valid", lambda span, length: looked_at.append(0) or valid(span, length))
    spans = tuple(plan.Span(40 + n, 3, 38 + n, 1) for n in range(12))
    tiles = plan.best_tiles(spans, 1, 16, 128)
    assert all(length >= 3 for length in tiles.lengths)
    assert len(looked_at) <= 12 * 7
    assert max(len(plan._fewest_tiles(spans[:n])) for n in range(1, 13)) <= 12 * 6


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 20), st.integers(1, 3)), min_size=1, max_size=3),
    st.sampled_from([8, 16, 32]),
    st.integers(1, 3),
)
def test_tiles_are_the_best_of_all_combinations(axes, slots, items):
    spans = tuple(plan.Span(results * step + extent, extent, results, step) for results, extent, step in axes)
    choices = []
    for span in spans:
        least = (span.extent - 1).bit_length()
        most = min((span.source - 1).bit_length(), least + (5 if len(spans) > 1 else 16))
        choices.append(range(least, max(least, most) + 1))

    def steps(bits):
        tiles = prod(-(-span.results // span.valid(1 << b)) for span, b in zip(spans, bits, strict=True))
        units = -(-tiles * items // slots)
        far = plan.FAR if 128 << sum(bits) > plan.NEAR_BYTES else 1
        return (units + units % 2) * 2 ** sum(bits) * (sum(bits) + plan.OVERHEAD * slots) * far

    fitting = [bits for bits in product(*choices) if 128 << sum(bits) <= plan.MOST_BYTES]
    assert plan.best_tiles(spans, items, slots, 128).steps == pytest.approx(min(map(steps, fitting)))


# name: (kernel shape, input shape, options, axes that a method plans for)
MERGED = {
    "column": ((3, 1), (50, 1), {"padding": ((1, 1), (0, 0))}, 1),
    "column, strides": ((3, 1), (50, 1), {"stride": 2}, 1),
    "row": ((1, 3), (1, 50), {}, 1),
    # the axis of one sample has taps: it goes in front
    "column, padded taps": ((3, 3), (50, 1), {"padding": 1}, 2),
    "narrow": ((3, 1), (20, 3), {"padding": ((2, 1), (0, 0)), "dilation": (2, 1)}, 1),
    "narrow, cropped": ((3, 1), (20, 2), {"padding": ((-2, 1), (0, 0))}, 1),
    "narrow, strides": ((3, 1), (20, 3), {"stride": (2, 1)}, 2),
    "wide": ((3, 1), (20, NARROW_AXIS + 1), {}, 2),
    "copied in front": ((1, 1, 4), (3, 4, 20), {}, 2),
    "nothing but copies": ((1, 1), (3, 1), {}, 1),
    "one sample": ((1, 1), (1, 1), {}, 1),
    "channels": ((4, 3, 3, 1, 2), (6, 9, 1, 5), {"groups": 2, "padding": ((1, 1), (0, 0), (2, 0))}, 2),
    "order of taps": ((2, 3, 4), (1, 7, 1), {"padding": ((1, 0), (2, 2), (3, 0))}, 3),
}


@each_mode
@pytest.mark.parametrize("name", MERGED)
def test_merged_axes_have_the_same_matrix(name, mode):
    """Also with modes that fold, in every method, in both directions, and for the gradient of the kernel."""
    kernel_shape, input_shape, options, axes = MERGED[name]
    geometry = ConvGeometry(input_shape, kernel_shape, padding_mode=mode, **options)
    if mode in ("zeros", "circular"):
        assert len(arrangement(geometry).geometry.axes) == axes
    again = arrangement(geometry).geometry
    assert arrangement(again).geometry == again
    assert again.nnz == geometry.nnz
    assert again.matrix_shape == geometry.matrix_shape
    kernel = integers(kernel_shape, "float64")
    numbers = (geometry.stride, geometry.padding, geometry.dilation, geometry.groups, geometry.padding_mode)
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    matrix = naive_matrix(kernel, input_shape, flip=False, **dict(zip(names, numbers, strict=True)))
    x, y = integers((2, matrix.shape[1]), "float64", 1), integers((2, matrix.shape[0]), "float64", 2)
    for method in METHODS:
        A = stc.ConvOperator(kernel, input_shape, padding_mode=mode, method=method, **options)
        forward, back = A.apply(x.reshape(2, *input_shape)), A.H.apply(y.reshape(2, *A.output_shape))
        np.testing.assert_array_equal(np.round(forward.reshape(2, -1), 6), x @ matrix.T)
        np.testing.assert_array_equal(np.round(back.reshape(2, -1), 6), y @ matrix)
    K = stc.KernelOperator(x[0].reshape(input_shape), kernel_shape, padding_mode=mode, **options)
    groups, (c_in, c_out) = geometry.groups, geometry.channels
    large = x[0].reshape(groups, c_in, *(axis.size for axis in geometry.axes))
    small = y[0].reshape(groups, c_out, *(axis.outputs for axis in geometry.axes))
    gradient = kernel_gradient(geometry, NUMPY)(large, small)
    np.testing.assert_array_equal(gradient.reshape(-1), K.tosparse().T @ y[0])


def test_a_single_column_is_no_dearer_than_a_line():
    column = cost.estimate(ConvGeometry((10**7, 1), (3, 1), padding="same"), np.dtype("float32"))
    line = cost.estimate(ConvGeometry(10**7, 3, padding="same"), np.dtype("float32"))
    assert column == line


def test_vectors_are_as_long_as_the_compiled_loops_have_them():
    code = """
import sys
from sparsetconv._methods.cpu import rates
known = rates.vector_bytes()
assert "numba" not in sys.modules
from sparsetconv._methods.cpu import emit
assert known == emit.VECTOR_BYTES, (known, emit.VECTOR_BYTES)
"""
    from sparsetconv._methods.cpu import emit, rates

    # here, where numba may have been imported, and in a new process, of another processor
    assert rates.vector_bytes() == emit.VECTOR_BYTES
    asked = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2,+sse3"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | asked)


def test_items_of_a_batch_may_be_tiled_otherwise_than_one():
    """Each size of a batch takes what is best for it; the spectra depend on the lengths alone."""
    geometry = ConvGeometry((300, 300), (31, 31), padding="same")
    method = FFTMethod(geometry, np.ones((1, 1, 1, 31, 31)))
    lengths = {method.strategy(False, np.dtype(float), items).lengths for items in range(1, 40)}
    assert 1 <= len(lengths) <= 3


@pytest.fixture
def solvers(monkeypatch):
    """Return the names of the solvers that `fit_kernel` takes; none is run."""
    taken = []
    for name in ("cholesky", "lsmr"):

        def note(problem, first, others, ridge, name=name):
            del others, ridge
            taken.append(name)
            return np.zeros(problem.kernel_shape), first.dtype

        monkeypatch.setattr(fit, f"_by_{name}", note)
    return taken


def smooth(shape, width):
    """Return noise without the frequencies that a window of some samples takes away."""
    window = np.hanning(width + 2)[1:-1]
    window /= window.sum()
    noise = np.random.default_rng(0).standard_normal(shape)
    return stc.ConvOperator(np.outer(window, window), shape, padding="same").apply(noise)


@pytest.mark.parametrize(
    ("shape", "kernel_shape", "width", "options", "expected"),
    [
        # 4096 weights: their cube takes many times what some forty iterations do
        ((256, 256), (64, 64), 1, {}, "lsmr"),
        ((100, 100), (60, 60), 1, {"padding": "same"}, "lsmr"),
        # few weights
        ((256, 256), (8, 8), 1, {}, "cholesky"),
        # frequencies that hardly occur: thousands of iterations
        ((300, 300), (50, 50), 9, {}, "cholesky"),
        # phases of a stride share no weights: sixteen small problems
        ((64, 64), (24, 24), 1, {"transposed": True, "stride": 4}, "cholesky"),
    ],
)
def test_kernels_are_fitted_by_what_takes_less(shape, kernel_shape, width, options, expected, solvers):
    options = {"transposed": False, **options}
    x = smooth(shape, width)
    make = stc.ConvTransposeOperator if options["transposed"] else stc.ConvOperator
    given = {key: value for key, value in options.items() if key != "transposed"}
    y = np.zeros(make(np.ones(kernel_shape), shape, **given).output_shape)
    stc.fit_kernel([x], [y], kernel_shape, **options)
    assert solvers == [expected]


def test_ridge_makes_iterations_few(solvers):
    """What `ridge` adds to every frequency counts as power."""
    x = smooth((300, 300), 9)
    y = np.zeros((251, 251))
    for ridge in (0.0, 1e4):
        stc.fit_kernel([x], [y], (50, 50), ridge=ridge)
    assert solvers == ["cholesky", "lsmr"]


def test_both_ways_to_fit_give_the_same_kernel():
    rng = np.random.default_rng(0)
    kernel, x = rng.standard_normal((12, 13)), rng.standard_normal((50, 60))
    y = stc.ConvOperator(kernel, x.shape).apply(x) + 0.1 * rng.standard_normal((39, 48))
    found = [stc.fit_kernel([x], [y], kernel.shape, method=method) for method in ("cholesky", "lsmr")]
    np.testing.assert_allclose(*found, atol=1e-10)


@pytest.mark.parametrize("width", [1, 3])
def test_iterations_are_guessed_within_a_factor_of_three(width):
    x = smooth((64, 64), width)
    kernel = np.random.default_rng(1).standard_normal((12, 12))
    K = stc.KernelOperator(x, kernel.shape, padding="same")
    y = K @ kernel.ravel() + 0.1 * np.random.default_rng(2).standard_normal(K.shape[0])
    iterations = lsmr(K, y, atol=fit.TOLERANCE, btol=fit.TOLERANCE, conlim=0, maxiter=5000)[2]
    condition = fit_cost.condition_estimate(x[None], kernel.shape, 0.0)
    assert iterations / 3 <= fit_cost.lsmr_iterations(condition, kernel.size, fit.TOLERANCE) <= 3 * iterations
