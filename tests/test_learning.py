"""`fit_kernel` against dense least squares, and on data from known kernels."""

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, geometries

import sparsetconv as stc
from sparsetconv._geometry.extension import source_indices
from sparsetconv._learning.normal import axis_reads

# name: (kernel shape, inputs, options): asymmetric, even-sized, several sizes
CASES = {
    "1-D": ((4,), [(30,), (17,)], {"stride": 3, "padding": 1}),
    "wide stride": ((3,), [(40,)], {"stride": 3, "padding": 1}),
    "2-D": ((4, 3), [(9, 8), (9, 8), (7, 12)], {"stride": 2, "padding": ((1, 2), (0, 1))}),
    "same": ((4, 5), [(12, 12), (10, 14)], {"stride": (2, 3), "padding": "same"}),
    "reflect": ((4, 6), [(15, 14)], {"stride": 2, "padding": 2, "padding_mode": "reflect"}),
    "circular": ((3, 2), [(15, 16)] * 4, {"padding": ((9, 1), (2, 11)), "padding_mode": "circular"}),
    "mixed borders": ((4, 5), [(9, 8)], {"stride": (2, 1), "padding": 2, "padding_mode": ("symmetric", "replicate")}),
    "dilation": ((3, 2), [(13, 12), (12, 12)], {"stride": (2, 3), "dilation": (3, 2), "padding": 1}),
    "cropped": ((3, 4), [(9, 8), (8, 10)], {"padding": ((-1, 2), (0, -2))}),
    "flipped": ((3, 4), [(13, 12)], {"flip": True, "stride": 2}),
    "3-D": ((2, 3, 2), [(4, 7, 5), (4, 6, 4)], {"stride": (1, 2, 1), "padding": "same"}),
    "channels": ((3, 2, 4, 3), [(3, 14, 13), (3, 17, 9)], {"stride": 2, "padding": 1}),
    "groups": ((4, 3, 2, 3), [(4, 9, 8), (4, 7, 9)], {"stride": (1, 2), "groups": 2, "padding_mode": "reflect", "padding": 1}),
    "one group each": ((3, 1, 5), [(3, 40)], {"groups": 3, "padding": 2, "padding_mode": "circular"}),
}  # fmt: skip
FORWARD_SHAPES = {"channels": (2, 3, 4, 3), "groups": (6, 2, 2, 3), "one group each": (3, 1, 5)}


def make(name, transposed, dtype, seed=0):
    """Return a kernel's shape, inputs, the convolution's operators, and options."""
    kernel_shape, shapes, options = CASES[name]
    if not transposed:
        kernel_shape = FORWARD_SHAPES.get(name, kernel_shape)
    rng = np.random.default_rng(seed)

    def random(shape):
        values = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            values = values + 1j * rng.standard_normal(shape)
        return values.astype(dtype)

    operator = stc.ConvTransposeOperator if transposed else stc.ConvOperator
    kernel = random(kernel_shape)
    inputs = [random(shape) for shape in shapes]
    targets = [operator(kernel, x.shape, **options).apply(x) for x in inputs]
    return kernel, inputs, targets, options, random


def dense_problem(inputs, targets, kernel_shape, transposed, options):
    """Return the stacked matrix of the least-squares problem, and its right-hand side."""
    blocks = []
    for x, y in zip(inputs, targets, strict=True):
        wanted = {"output_shape": y.shape} if transposed else {}
        K = stc.KernelOperator(x, kernel_shape, transposed=transposed, **options, **wanted)
        blocks.append(K.tosparse().toarray())
    return np.concatenate(blocks), np.concatenate([y.ravel() for y in targets])


each_case = pytest.mark.parametrize("name", CASES)
each_direction = pytest.mark.parametrize("transposed", [True, False], ids=["transposed", "forward"])
each_method = pytest.mark.parametrize("method", ["cholesky", "lsmr"])


@each_case
@each_direction
@each_method
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_known_kernel_is_recovered(name, transposed, method, dtype):
    kernel, inputs, targets, options, _ = make(name, transposed, dtype)
    found = stc.fit_kernel(inputs, targets, kernel.shape, transposed=transposed, method=method, **options)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, kernel, atol=1e-10)


@each_case
@each_direction
@each_method
@pytest.mark.parametrize("ridge", [0, 2.5])
def test_dense_least_squares(name, transposed, method, ridge):
    """Noisy targets, so that the optimum is not zero error; ridge as rows of sqrt(ridge) below."""
    kernel, inputs, targets, options, random = make(name, transposed, "complex128", seed=1)
    targets = [y + random(y.shape) for y in targets]
    A, b = dense_problem(inputs, targets, kernel.shape, transposed, options)
    if ridge:
        A = np.concatenate([A, np.sqrt(ridge) * np.eye(kernel.size)])
        b = np.concatenate([b, np.zeros(kernel.size)])
    expected = np.linalg.lstsq(A, b)[0].reshape(kernel.shape)
    found = stc.fit_kernel(
        inputs, targets, kernel.shape, transposed=transposed, method=method, ridge=ridge, **options
    )
    np.testing.assert_allclose(found, expected, atol=1e-10)


@examples(400)
@given(geometries(max_ndim=2), st.booleans())
def test_every_output_is_read_once_and_right(case, transposed):
    """The lists of reads, axis by axis, against the definition of the padded signal."""
    kernel_shape, input_shape, options = case
    for axis in stc.ConvGeometry(input_shape, kernel_shape, **options).axes:
        seen = np.zeros((axis.size if transposed else axis.outputs, axis.taps, 60), int)
        counts = np.zeros(len(seen), int)
        for reads in axis_reads(axis, transposed):
            counts[reads.outputs] += 1
            for m, t, o in np.argwhere(reads.samples >= 0):
                seen[reads.outputs[o], reads.taps[t], reads.samples[m, t, o]] += 1
        assert counts.max() <= 1
        expected = np.zeros_like(seen)
        for o in range(axis.outputs):
            for t in range(axis.taps):
                i = source_indices(axis, np.array(axis.first(0) + o * axis.stride + t * axis.dilation))
                if i >= 0:
                    expected[(i, t, o) if transposed else (o, t, i)] += 1
        np.testing.assert_array_equal(seen, expected)
        # an output that is in no list reads nothing
        assert not expected[counts == 0].any()


def test_streams_batches_and_lists_are_the_same():
    kernel, inputs, targets, options, random = make("2-D", True, "float64", seed=2)
    targets = [y + random(y.shape) for y in targets]
    expected = stc.fit_kernel(inputs, targets, kernel.shape, transposed=True, **options)
    generated = stc.fit_kernel(iter(inputs), (y for y in targets), kernel.shape, transposed=True, **options)
    np.testing.assert_array_equal(generated, expected)
    x, y = np.stack(inputs[:2]), np.stack(targets[:2])
    np.testing.assert_allclose(
        stc.fit_kernel(x, y, kernel.shape, transposed=True, **options),
        stc.fit_kernel(inputs[:2], targets[:2], kernel.shape, transposed=True, **options),
        atol=1e-13,
    )


def test_a_generator_may_fill_the_same_array_again():
    A = stc.ConvTransposeOperator([1.0, 2.0, 3.0, 4.0], 20, stride=2, padding=1)

    def signals(make):
        rng, buffer = np.random.default_rng(1), np.empty(make(np.zeros(20)).shape)
        for _ in range(6):
            buffer[:] = make(rng.standard_normal(20))
            yield buffer

    found = stc.fit_kernel(signals(np.copy), signals(A.apply), 4, stride=2, padding=1, transposed=True)
    np.testing.assert_allclose(found, [1, 2, 3, 4], atol=1e-12)


def test_blocks_of_every_size(monkeypatch):
    """Sums do not depend on how rows are divided into blocks."""
    import sparsetconv._learning.normal as normal

    for name in ("2-D", "mixed borders", "groups", "3-D"):
        kernel, inputs, targets, options, _ = make(name, True, "float64")
        monkeypatch.setattr(normal, "BLOCK", 1 << 21)
        monkeypatch.setattr(normal, "RUN", 1 << 12)
        expected = stc.fit_kernel(inputs, targets, kernel.shape, transposed=True, **options)
        for block, run in ((1, 1), (100, 3), (5000, 2)):
            monkeypatch.setattr(normal, "BLOCK", block)
            monkeypatch.setattr(normal, "RUN", run)
            np.testing.assert_allclose(
                stc.fit_kernel(inputs, targets, kernel.shape, transposed=True, **options),
                expected,
                atol=1e-12,
            )


def test_precision_follows_the_pairs():
    kernel, inputs, targets, options, _ = make("2-D", True, "float64")
    single = [x.astype("float32") for x in inputs], [y.astype("float32") for y in targets]
    found = stc.fit_kernel(*single, kernel.shape, transposed=True, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, kernel, atol=1e-5)
    whole = [np.rint(100 * x).astype("int16") for x in inputs]
    ones = [
        stc.ConvTransposeOperator(np.arange(12).reshape(4, 3), x.shape, **options).apply(x) for x in whole
    ]
    found = stc.fit_kernel(whole, ones, (4, 3), transposed=True, **options)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.arange(12).reshape(4, 3), atol=1e-10)


def test_a_complex_pair_after_real_ones():
    x = np.random.default_rng(0).standard_normal((3, 20))
    w = np.array([1.0, 2 - 1j, 3j])
    y = [stc.ConvTransposeOperator(w, 20).apply(each) for each in x]
    found = stc.fit_kernel([*x, x[0]], [y[0], y[1], y[2], y[0]], 3, transposed=True)
    np.testing.assert_allclose(found, w, atol=1e-12)
    real = stc.fit_kernel([x[0], x[1] + 0j], [y[0].real, y[1].real], 3, transposed=True)
    assert real.dtype == np.complex128


def test_memory_does_not_grow_with_the_number_of_pictures():
    def peak(count):
        def pictures(scale):
            for seed in range(count):
                picture = np.random.default_rng(seed).standard_normal((64, 64))
                yield np.kron(picture, np.ones((scale, scale)))

        tracemalloc.start()
        stc.fit_kernel(pictures(1), pictures(2), (4, 4), stride=2, padding=1, transposed=True)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(40), peak(160)
    assert many < 1.2 * few + (1 << 18)


def test_memory_does_not_grow_where_targets_are_small():
    def peak(count):
        def signals(size):
            for seed in range(count):
                yield np.random.default_rng(seed).standard_normal(20_000)[:size]

        tracemalloc.start()
        stc.fit_kernel(signals(20_000), signals(1), 3, stride=20_000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(200) < 1.2 * peak(50) + (1 << 18)


def test_folding_lists_the_border_alone():
    """Padding that folds costs what is near the border, not what the whole signal reads."""

    def peak(mode):
        x = np.random.default_rng(0).standard_normal(40_000)
        y = stc.ConvTransposeOperator(np.ones(65), x.size, padding=32, padding_mode=mode).apply(x)
        tracemalloc.start()
        stc.fit_kernel([x], [y], 65, padding=32, padding_mode=mode, transposed=True)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    plain = peak("zeros")
    for mode in ("circular", "reflect", "replicate"):
        assert peak(mode) < 1.3 * plain, mode


def test_lsmr_takes_the_smallest_of_several_best():
    x, y = np.ones((4, 20)), np.ones((4, 18))
    found = stc.fit_kernel(x, y, 3, method="lsmr")
    np.testing.assert_allclose(found, 1 / 3)


def test_lsmr_has_one_array_for_all_products(monkeypatch):
    """The residuals of all pairs may be as large as all targets: no product takes new memory for them."""
    products = []
    usual = scipy.sparse.linalg.lsmr

    def noted(A, *args, **options):
        class Noted(type(A)):
            def _matvec(self, x):
                products.append(super()._matvec(x))
                return products[-1]

        A.__class__ = Noted
        return usual(A, *args, **options)

    monkeypatch.setattr(scipy.sparse.linalg, "lsmr", noted)
    stc.fit_kernel(*good(), (4, 4), method="lsmr", **OPTIONS)
    assert len(products) > 3
    assert len({product.ctypes.data for product in products}) == 1


def test_large_kernels_are_left_to_lsmr():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal(5001)
    x = rng.standard_normal(9000)
    y = stc.ConvOperator(kernel, 9000 + 5000).apply(np.pad(x, 2500))
    found = stc.fit_kernel([np.pad(x, 2500)], [y], 5001)
    np.testing.assert_allclose(found, kernel, atol=1e-8)


def good():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((6, 7)) for _ in range(2)], [rng.standard_normal((12, 14)) for _ in range(2)]


OPTIONS = {"transposed": True, "stride": 2, "padding": 1}
# name: (change of the good call, message)
BAD = {
    "fewer targets": (lambda x, y: ((x, y[:1]), {}), "equally many, but targets ended after 1"),
    "fewer inputs": (lambda x, y: ((x[:1], y), {}), "equally many, but inputs ended after 1"),
    "none": (lambda *_: (([], []), {}), "at least one pair"),
    "one picture": (lambda x, y: ((x[0], y[0]), {}), r"inputs\[0\] must have 2 axes with the kernel_shape \(4, 4\), got the shape \(7,\); pass a single pair as \[x\], \[y\]"),
    "mismatch": (lambda x, y: ((x, [y[0], y[1][:9]]), {}), r"inputs\[1\] of shape \(6, 7\) and targets\[1\] of shape \(9, 14\) do not fit: output_shape on spatial axis 0 must lie between 12 and 13"),
    "forward mismatch": (lambda x, y: ((y, x), {"transposed": False, "padding": 0}), r"targets\[0\] of shape \(6, 7\) do not fit: a target must have the shape of the output, \(5, 6\), got \(6, 7\)"),
    "ranks": (lambda x, y: (([x[0], x[1][0]], y), {}), r"inputs\[1\] must have 2 axes"),
    "nan": (lambda x, y: (([x[0] * np.nan], y[:1]), {}), r"inputs\[0\] must be finite"),
    "infinite": (lambda x, y: ((x[:1], [y[0] * np.inf]), {}), r"targets\[0\] must be finite"),
    "not arrays": (lambda _, y: ((3, y), {}), "inputs must be a sequence or an iterator of arrays, got 3"),
    "text": (lambda _, y: ((["a"], y), {}), r"inputs\[0\] must be"),
    "few equations": (lambda x, y: (([x[0][:1, :1]], [y[0][:2, :2]]), {}), r"fewer equations \(4 outputs of one channel\) than a kernel has unknowns \(16 weights\)"),
    "few equations, lsmr": (lambda x, y: (([x[0][:1, :1]], [y[0][:2, :2]]), {"method": "lsmr"}), r"fewer equations \(4 outputs"),
    "singular": (lambda _, y: (([np.ones((6, 7))], y[:1]), {"padding": "same", "padding_mode": "circular"}), "do not determine all 16 weights; more varied pairs or ridge > 0 would help"),
    "zeros": (lambda _, y: (([np.zeros((6, 7))], y[:1]), {}), "16 of the 16 weights of an output channel read only zeros"),
    "ridge": (lambda x, y: ((x, y), {"ridge": -1}), "ridge must be finite and not negative, got -1"),
    "ridge word": (lambda x, y: ((x, y), {"ridge": "1"}), "ridge must be a number, got '1'"),
    "method": (lambda x, y: ((x, y), {"method": "adam"}), "method must be one of auto, cholesky, lsmr; got 'adam'"),
    "stride": (lambda x, y: ((x, y), {"stride": 0}), "stride must be at least 1"),
    "groups": (lambda x, y: ((x, y), {"groups": 2}), "groups must be 1 where there are no channels"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    change, message = BAD[name]
    pairs, options = change(*good())
    with pytest.raises((ValueError, TypeError, np.linalg.LinAlgError), match=message):
        stc.fit_kernel(*pairs, (4, 4), **{**OPTIONS, **options})


def test_memory_is_checked_before_it_is_taken():
    x = np.ones((2, 300_000))
    with pytest.raises(MemoryError, match="the normal equations need"):
        stc.fit_kernel(x, x[:, : 300_000 - 200_000 + 1], 200_000, method="cholesky")


def test_ridge_makes_singular_problems_solvable():
    """What is refused as "singular" above, with a weight."""
    x, y = [np.ones((6, 7))], good()[1][:1]
    options = {"stride": 2, "padding": "same", "padding_mode": "circular"}
    A, b = dense_problem(x, y, (4, 4), True, options)
    assert np.linalg.matrix_rank(A) < 16
    expected = np.linalg.solve(A.T @ A + np.eye(16), A.T @ b)
    kernel = stc.fit_kernel(x, y, (4, 4), transposed=True, ridge=1.0, **options)
    np.testing.assert_allclose(kernel.ravel(), expected, atol=1e-12)


def test_badly_determined_weights_are_warned_of():
    t = np.linspace(0, 1, 4000)
    x = np.exp(-t) + 2e-7 * np.random.default_rng(0).standard_normal(t.size)
    with pytest.warns(scipy.linalg.LinAlgWarning, match=r"ill-conditioned \(reciprocal condition number"):
        stc.fit_kernel([x], [x[1:]], 2)


def test_lsmr_says_when_it_stops_early(monkeypatch):
    def stopped(A, *_, **__):
        return np.zeros(A.shape[1]), 7, 12, 1.0, 1.0, 1.0, 1.0, 0.0

    monkeypatch.setattr(scipy.sparse.linalg, "lsmr", stopped)
    with pytest.warns(scipy.linalg.LinAlgWarning, match="LSMR stopped after 12 iterations"):
        stc.fit_kernel(*good(), (4, 4), method="lsmr", **OPTIONS)


def test_good_problems_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stc.fit_kernel(*good(), (4, 4), **OPTIONS)


def test_wrong_direction_gets_a_hint():
    x, y = np.ones((40, 40)), np.ones((36, 36))
    with pytest.raises(ValueError, match=r"must be 44 for .* got 36; with transposed=False they do$"):
        stc.fit_kernel([x], [y], (5, 5), transposed=True)
    with pytest.raises(ValueError, match=r", \(36, 36\), got \(44, 44\); with transposed=True they do$"):
        stc.fit_kernel([x], [np.ones((44, 44))], (5, 5))
    with pytest.raises(ValueError, match=r"got 37$"):
        stc.fit_kernel([x], [np.ones((37, 37))], (5, 5), transposed=True)
