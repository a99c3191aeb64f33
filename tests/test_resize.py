"""Resize matrices and operators against loops that write ONNX's formulas down; kernels that are interpolations."""

import itertools
import warnings
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from reference import naive_resize
from scipy.sparse.linalg import lsmr
from strategies import examples

import sparsetconv as stc
from sparsetconv._methods.cpu.csr import product
from sparsetconv._resize import separable
from sparsetconv._resize.conventions import CONVENTIONS
from sparsetconv._resize.geometry import COORDINATE_MODES, NEAREST_MODES

MODES = ("nearest", "linear", "cubic", "lanczos3", "area")


@st.composite
def resizes(draw):
    """Draw one axis: sizes, a scale or none, and every parameter."""
    size = draw(st.integers(1, 9))
    mode = draw(st.sampled_from(MODES))
    options = {
        "mode": mode,
        "coordinate_mode": "half_pixel" if mode == "area" else draw(st.sampled_from(COORDINATE_MODES)),
        "nearest_mode": draw(st.sampled_from(NEAREST_MODES)),
        "cubic_coeff": draw(st.sampled_from((-0.75, -0.5, -1.0))),
        "exclude_outside": draw(st.booleans()),
        "antialias": mode in ("linear", "cubic", "lanczos3") and draw(st.booleans()),
    }
    if draw(st.booleans()):
        outputs = draw(st.integers(1, 20))
        return size, {"output_shape": outputs}, outputs, Fraction(outputs, size), options
    scale = draw(st.fractions(Fraction(1, size), 4, max_denominator=9))
    outputs = int(size * scale)
    given_scale = (
        draw(st.sampled_from((scale, float(scale)))) if float(scale) * size == scale * size else scale
    )
    return size, {"scale": given_scale}, outputs, scale, options


@examples(1500)
@given(resizes())
def test_axis_against_loops(case):
    size, sizes, outputs, scale, options = case
    matrix = stc.resize_matrix(size, **sizes, **options)
    expected = naive_resize(size, outputs, scale, **options)
    np.testing.assert_allclose(matrix.toarray(), expected, atol=2e-14)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-14)
    assert matrix.data.all()
    again = matrix.copy()
    again.sum_duplicates()
    np.testing.assert_array_equal(again.indices, matrix.indices)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((4, 5), {"output_shape": (7, 3)}),
        ((2, 3, 4), {"output_shape": (5, 2, 9)}),
        ((2, 3, 4), {"scale": (2, 0.5)}),
        ((3, 40, 50), {"scale": (1.7, 1.3)}),
        ((600, 700), {"output_shape": (400, 1000)}),
    ],
    ids=str,
)
def test_matrix_is_the_kronecker_product_of_the_factors(mode, shape, sizes):
    matrix = stc.resize_matrix(shape, mode=mode, **sizes)
    factors = stc.ResizeOperator(shape, mode=mode, **sizes).factors
    expected = factors[0]
    for factor in factors[1:]:
        expected = sp.kron(expected, factor, format="csr")
    assert matrix.nnz == expected.nnz
    assert matrix.has_sorted_indices
    assert matrix.has_canonical_format
    np.testing.assert_array_equal(matrix.indptr, expected.indptr)
    assert abs(matrix - expected).max() < 1e-15


def test_solver_inverts_up_sampling():
    R = stc.ResizeOperator((12, 9), scale=(2, 3), mode="bicubic")
    x = np.random.default_rng(1).standard_normal(R.shape[1])
    np.testing.assert_allclose(lsmr(R, R @ x, atol=1e-14, btol=1e-14)[0], x, atol=1e-9)


@pytest.mark.parametrize("large", [0, 1 << 60], ids=["loops", "SciPy"])
@pytest.mark.parametrize("threads_from", [0, 1 << 60], ids=["threads", "one thread"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(7,), (5, 9), (3, 4, 33), (40, 3)])
def test_products_by_loops_and_by_scipy(shape, dtype, large, threads_from, monkeypatch):
    """Integers, so that all sums are exact; a batch, given arrays, both directions, pieces of every width."""
    monkeypatch.setattr(product, "LARGE", large)
    monkeypatch.setattr(product, "_ready", {})
    monkeypatch.setattr(separable, "THREAD_WORK", threads_from)
    monkeypatch.setattr(separable, "PIECE", 256)
    rng = np.random.default_rng(0)
    sizes = [(n + 3, n) for n in shape]
    dense = [rng.integers(-3, 4, size) * rng.integers(0, 2, size) for size in sizes]
    separate = separable.Separable([sp.csr_array(each.astype(float)) for each in dense], sizes)
    for batch, transposed in itertools.product((1, 2, 20), (False, True)):
        own = [each.T if transposed else each for each in dense]
        x = rng.integers(-9, 10, (batch, *(each.shape[1] for each in own))).astype(dtype)
        expected = x
        for axis, each in enumerate(own, 1):
            expected = np.moveaxis(np.tensordot(expected, each, (axis, 1)), -1, axis)
        found = separate.apply(x, transposed)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, expected)
        out = np.full(expected.shape, np.nan, dtype)
        assert separate.apply(x, transposed, out) is out
        np.testing.assert_array_equal(out, expected)
    assert bool(product._ready) is (large == 0)


def test_aliases_and_last_axes():
    for alias, mode in (("bilinear", "linear"), ("tricubic", "cubic"), ("lanczos", "lanczos3")):
        assert (stc.resize_matrix(4, 7, mode=alias) != stc.resize_matrix(4, 7, mode=mode)).nnz == 0
    channels = stc.resize_matrix((3, 4, 5), (8, 10))
    assert channels.shape == (240, 60)
    assert (channels != stc.resize_matrix((3, 4, 5), scale=(2, 2))).nnz == 0
    assert (channels != sp.kron(sp.eye_array(3), stc.resize_matrix((4, 5), scale=2), format="csr")).nnz == 0


def test_scales_are_the_simplest_fraction_that_they_can_mean():
    """A third is a third, so that ties are ties; the size is the floating-point product's, as torch's."""
    third = stc.resize_matrix(9, scale=1 / 3, mode="nearest")
    assert third.shape == (3, 9)
    np.testing.assert_array_equal(third.indices, [1, 4, 7])
    assert stc.resize_matrix(10, scale=0.7).shape == (7, 10)
    assert stc.resize_matrix(100, scale=0.57).shape == (int(100 * 0.57), 100)
    assert stc.resize_matrix(100, scale=np.float32(0.5)).shape == (50, 100)
    assert stc.resize_matrix(100, scale=np.int8(2)).shape == (200, 100)
    # a scale that no short fraction means: positions need more than 64 bits
    odd = stc.resize_matrix(1000, scale=np.pi, mode="nearest")
    expected = np.floor((np.arange(3141) + 0.5) / np.pi).astype(int)
    np.testing.assert_array_equal(odd.indices, expected)


def test_antialias_changes_nothing_where_the_array_grows():
    plain, smoothed = (stc.resize_matrix(5, 11, mode="cubic", antialias=a) for a in (False, True))
    assert abs(plain - smoothed).max() < 1e-15


def test_more_columns_than_32_bits_hold():
    """Columns are computed in the width of the result."""
    n = 100_000
    matrix = stc.resize_matrix((n, n), (3, 3), mode="nearest")
    rows = stc.resize_matrix(n, 3, mode="nearest").indices.astype(np.int64)
    np.testing.assert_array_equal(matrix.indices, (rows[:, None] * n + rows).ravel())
    cube = stc.resize_matrix((10, n, n), (2, 3, 3), mode="nearest")
    assert cube.indices.dtype == np.int64
    assert cube.indices.max() == 7 * n**2 + rows[-1] * n + rows[-1]


def test_a_position_out_of_reach_reads_the_edge():
    matrix = stc.resize_matrix(
        2, scale=0.75, convention="opencv", coordinate_mode="align_corners", exclude_outside=True
    )
    np.testing.assert_array_equal(matrix.toarray(), np.eye(2))


@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_matrices_of_one_column(shape):
    R = stc.ResizeOperator(*shape)
    np.testing.assert_array_equal(R.matmat(np.ones((shape[0], 1))), np.ones((shape[1], 1)))
    np.testing.assert_array_equal(R.rmatmat(np.ones((shape[1], 1))), R.tosparse().T @ np.ones((shape[1], 1)))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_keeps_constants(convention):
    package = CONVENTIONS[convention]
    for mode in {**package.modes, **package.antialiased}:
        for size, outputs in ((7, 12), (12, 7), (1, 3), (3, 1)):
            matrix = stc.resize_matrix(size, outputs, mode=mode, convention=convention)
            np.testing.assert_allclose(matrix @ np.ones(size), 1, atol=1e-14)


def test_conventions_take_a_scale_their_way():
    # OpenCV, Pillow and scikit-image round
    for convention, outputs in (("torch", 2), ("onnx", 2), ("tensorflow", 2), ("opencv", 3), ("pillow", 3)):
        matrix = stc.resize_matrix(5, scale=0.55, mode="linear", convention=convention)
        assert matrix.shape == (outputs, 5)
    # positions follow the scale in ONNX and torch, the ratio of sizes in TensorFlow
    scaled, ratio = (stc.resize_matrix(5, scale=0.55, convention=c) for c in ("torch", "tensorflow"))
    assert abs(scaled - stc.resize_matrix(5, scale=0.55)).max() == 0
    assert abs(ratio - stc.resize_matrix(5, 2)).max() == 0


# name: (call, what the message says)
BAD = {
    "nothing": (lambda: stc.resize_matrix(4), "one of output_shape and scale must be given"),
    "both": (lambda: stc.resize_matrix(4, 5, scale=2), "one of output_shape and scale must be given"),
    "empty": (lambda: stc.resize_matrix(4, 0), r"output_shape\[0\] must be at least 1, got 0"),
    "vanishes": (lambda: stc.resize_matrix((9, 3), scale=0.2), "axis 0 has 9, times 0.2 that is 1.8|axis 1 has 3"),
    "negative": (lambda: stc.resize_matrix(4, scale=-1), "scale must be positive and finite, got -1"),
    "zero": (lambda: stc.resize_matrix(4, scale=0.0), "scale must be positive and finite, got 0.0"),
    "huge": (lambda: stc.resize_matrix(64, scale=1e308), "scale must leave less than 2\\*\\*62 samples: axis 0 has 64"),
    "huge integer": (lambda: stc.resize_matrix(64, scale=10**400), "scale must leave less than"),
    "0-d": (lambda: stc.resize_matrix(np.array(4), np.array(5.5)), r"output_shape\[0\] must be an integer"),
    "opencv's nearest": (lambda: stc.resize_matrix(4, 5, mode="nearest", nearest_mode="ceil", convention="opencv"), "nearest_mode must be left out here, convention='opencv'"),
    "skimage's cubic": (lambda: stc.resize_matrix(4, 5, mode="cubic", cubic_coeff=-1, convention="skimage"), "cubic_coeff must be left out here"),
    "nan": (lambda: stc.resize_matrix(4, scale=float("nan")), "scale must be positive and finite"),
    "word": (lambda: stc.resize_matrix(4, scale="2"), "scale must be a positive number"),
    "bool": (lambda: stc.resize_matrix(4, scale=True), "scale must be a positive number"),
    "mode": (lambda: stc.resize_matrix(4, 5, mode="quintic"), "mode must be one of nearest, linear, cubic"),
    "mode of a package": (lambda: stc.resize_matrix(4, 5, mode="lanczos3", convention="torch"), "mode must be one of nearest, nearest-exact, .*got 'lanczos3' with convention='torch'"),
    "convention": (lambda: stc.resize_matrix(4, 5, convention="matlab"), "convention must be one of onnx, torch"),
    "coordinate": (lambda: stc.resize_matrix(4, 5, coordinate_mode="half"), "coordinate_mode must be one of half_pixel"),
    "area": (lambda: stc.resize_matrix(4, 5, mode="area", coordinate_mode="asymmetric"), "coordinate_mode must be left out here, mode='area'"),
    "nearest": (lambda: stc.resize_matrix(4, 5, mode="nearest", nearest_mode="up"), "nearest_mode must be one of round_prefer_floor"),
    "coefficient": (lambda: stc.resize_matrix(4, 5, mode="cubic", cubic_coeff="a"), "cubic_coeff must be a number"),
    "infinite": (lambda: stc.resize_matrix(4, 5, mode="cubic", cubic_coeff=float("inf")), "cubic_coeff must be finite"),
    "antialias": (lambda: stc.resize_matrix(4, 2, mode="nearest", antialias=True), "antialias must be False with mode='nearest'"),
    "never antialiased": (lambda: stc.resize_matrix(4, 2, antialias=True, convention="opencv"), "antialias must be False with mode='linear' with convention='opencv'"),
    "always antialiased": (lambda: stc.resize_matrix(4, 2, antialias=False, convention="pillow"), "antialias must be True"),
    "flag": (lambda: stc.resize_matrix(4, 2, exclude_outside=3), "exclude_outside must be True or False"),
    "rank": (lambda: stc.resize_matrix(4, (5, 6)), r"output_shape must have an entry for each of the last axes of input_shape \(4,\)"),
    "scales": (lambda: stc.resize_matrix(4, scale=(1, 2)), "scale must have an entry for each of the last axes"),
    "dtype": (lambda: stc.resize_matrix(4, 5, dtype=int), "dtype must be a real or complex floating-point one"),
    "corners": (lambda: stc.resize_matrix(4, 3, antialias=True, coordinate_mode="align_corners", convention="torch"), "antialias must be False with coordinate_mode='align_corners'"),
    "size": (lambda: stc.ResizeOperator((3, 0), scale=2), r"input_shape\[1\] must be at least 1"),
    "kernel": (lambda: stc.interpolation_kernel("area", 2), "mode must be one of nearest, linear, cubic, lanczos3"),
    "factor": (lambda: stc.interpolation_kernel("linear", 0), r"factor\[0\] must be at least 1"),
    "factors": (lambda: stc.interpolation_kernel("bilinear", (2, 2, 2)), "factor must be one integer or 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_memory_is_checked_before_it_is_taken():
    with pytest.raises(MemoryError, match="ResizeOperator needs no matrix"):
        stc.resize_matrix((60_000, 60_000), scale=4, mode="lanczos3")
    for convention in (None, "opencv", "pillow"):
        with pytest.raises(MemoryError, match="an axis of the matrix needs"):
            stc.resize_matrix(10, 10**13, mode="nearest", convention=convention)
    # the operator of the same size costs its factors alone
    assert stc.ResizeOperator((60_000, 60_000), scale=4).shape == (240_000**2, 60_000**2)


RADIUS = {"nearest": 0.5, "linear": 1, "cubic": 2, "lanczos3": 3}


def continuous(mode, x):
    """Write the continuous kernels down once more."""
    x = np.abs(x)
    return {
        "nearest": lambda: (x < 0.5) * 1.0,
        "linear": lambda: np.clip(1 - x, 0, None),
        "cubic": lambda: np.where(
            x < 1, 1.25 * x**3 - 2.25 * x**2 + 1, np.where(x < 2, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4), 0)
        ),
        "lanczos3": lambda: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0),
    }[mode]()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("mode", RADIUS)
def test_interpolation_kernel_entries(mode, factor):
    kernel = stc.interpolation_kernel(mode, factor)
    taps = int(2 * RADIUS[mode] * factor)
    taps -= factor % 2 == 1 and mode != "nearest"
    assert kernel.shape == (taps,)
    expected = continuous(mode, (np.arange(taps) - (taps - 1) / 2) / factor)
    for phase in range(factor):
        if mode == "lanczos3":
            expected[phase::factor] /= expected[phase::factor].sum()
    np.testing.assert_allclose(kernel, expected, atol=1e-15)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-16)


@pytest.mark.parametrize("factors", [(2,), (3,), (2, 3), (4, 2)], ids=str)
@pytest.mark.parametrize("mode", RADIUS)
def test_transposed_convolution_is_the_interpolation(mode, factors):
    """Everywhere for nearest, in the interior for all, and everywhere with the edge repeated before."""
    shape = tuple(range(9, 9 + len(factors)))
    kernel = stc.interpolation_kernel(mode, factors)
    T = stc.ConvTransposeOperator(kernel, shape, stride=factors, padding="same")
    R = stc.ResizeOperator(shape, scale=factors, mode=mode)
    assert T.output_shape == R.output_shape
    x = np.random.default_rng(0).standard_normal(shape)
    up, interpolated = T.apply(x), R.apply(x)
    radius = ceil(RADIUS[mode])
    margins = [0 if mode == "nearest" else radius * f - f // 2 for f in factors]
    inside = tuple(slice(m, n - m) for m, n in zip(margins, up.shape, strict=True))
    np.testing.assert_allclose(up[inside], interpolated[inside], atol=1e-14)
    if mode == "nearest":
        np.testing.assert_array_equal(up, interpolated)
        return
    assert abs(up - interpolated).max() > 1e-3
    if mode == "lanczos3":
        # outside taps are dropped there, not clamped
        R = stc.ResizeOperator(shape, scale=factors, mode=mode, exclude_outside=False)
        interpolated = R.apply(x)
    padded = np.pad(x, radius, mode="edge")
    wide = stc.ConvTransposeOperator(kernel, padded.shape, stride=factors, padding="same").apply(padded)
    cut = tuple(slice(radius * f, radius * f + n) for f, n in zip(factors, up.shape, strict=True))
    np.testing.assert_allclose(wide[cut], interpolated, atol=1e-14)


def test_interpolation_kernel_names():
    assert stc.interpolation_kernel("bilinear", 2).shape == (4, 4)
    assert stc.interpolation_kernel("tricubic", 2).shape == (8, 8, 8)
    assert stc.interpolation_kernel("linear", (2, 3)).shape == (4, 5)
    rows, columns = stc.interpolation_kernel("cubic", 2), stc.interpolation_kernel("cubic", 3)
    np.testing.assert_array_equal(
        stc.interpolation_kernel("bicubic", (2, 3)), np.multiply.outer(rows, columns)
    )
    assert stc.interpolation_kernel("cubic", 2, cubic_coeff=0.0).shape == (8,)
    keys = stc.interpolation_kernel("cubic", 2, cubic_coeff=-0.5)
    assert abs(keys - rows).max() > 0.01


def test_three_ways_to_up_sample_are_one_matrix():
    """Zero insertion and convolution, the CSR, and polyphase, exactly, in integers."""
    rng = np.random.default_rng(0)
    for shape, taps, strides in itertools.product(
        [(5, 4), (3, 7)], [(4, 3), (2, 5), (1, 2)], [(2, 2), (3, 1)]
    ):
        kernel = rng.integers(-9, 10, taps)
        T = stc.conv_transpose_matrix(kernel, shape, stride=strides)
        Z = stc.zero_insertion_matrix(shape, strides, dtype=np.int64)
        between = tuple((n - 1) * s + 1 for n, s in zip(shape, strides, strict=True))
        full = tuple((k - 1, k - 1) for k in taps)
        C1 = stc.conv_matrix(kernel, between, padding=full, flip=True)
        polyphase = stc.ConvTransposeOperator(kernel, shape, stride=strides, method="direct")
        x = rng.integers(-9, 10, shape).ravel()
        np.testing.assert_array_equal((C1 @ Z).toarray(), T.toarray())
        np.testing.assert_array_equal(polyphase @ x, T @ x)
        wasted = 1 - T.nnz / C1.nnz
        if all(n > 1 for n in shape) and taps == (4, 3) and strides == (2, 2):
            # the share tends to 1 - 1 / 4; here borders cost a little
            assert wasted == pytest.approx(0.75, abs=0.25)


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stc.resize_matrix(1, 5, mode="lanczos3")
        stc.resize_matrix(5, 1, mode="cubic", antialias=True, exclude_outside=True)
