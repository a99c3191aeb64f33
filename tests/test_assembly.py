"""The closed form against naive loops, exactly."""

import itertools
import subprocess
import sys
import tracemalloc
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
import scipy.sparse as sp
from both_ways import WAYS, written_by
from hypothesis import given
from hypothesis import strategies as st
from reference import PERIODS, extension_index, naive_matrix, naive_pattern
from strategies import distinct_kernel, examples, geometries, stand_for

import sparsetconv as stc
from sparsetconv._assembly import csr, repeats, row_pointers, writer
from sparsetconv._assembly.matrices import geometry_matrix
from sparsetconv._geometry.padding import PADDING_MODES


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    written_by(monkeypatch, request.param)


def assert_canonical(matrix):
    """Check the arrays themselves: SciPy's flags are set by us, so they prove nothing."""
    assert matrix.indptr[0] == 0
    assert matrix.indptr[-1] == matrix.indices.size == matrix.data.size
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        assert (np.diff(matrix.indices[start:stop]) > 0).all()


def features(geometry):
    """Yield what is special about a geometry."""
    yield f"{geometry.ndim}-D"
    yield "channels" if geometry.has_channels else "plain"
    for axis in geometry.axes:
        yield axis.mode
        if not axis.effective_mode.zero:
            yield f"{axis.mode} in use"
        if axis.before < 0 or axis.after < 0:
            yield "cropped"
        if axis.extent > axis.size:
            yield "kernel longer than the signal"
        if max(axis.before, axis.after) > axis.size:
            yield "pad longer than the signal"
        if axis.taps % 2 == 0:
            yield "even size"
        if axis.dilation > 1 and axis.taps > 1:
            yield "dilated"
        if axis.stride > 1:
            yield "strided"
    if geometry.groups > 1:
        yield "groups"
    if geometry.flip:
        yield "flipped"


@pytest.mark.draws
def test_closed_form_equals_naive_loops(monkeypatch):
    """Over 2,000 geometries with ``--all``; each feature in one of 25 or more."""
    seen, wanted = Counter(), examples(2500)

    @wanted
    @given(geometries(), st.sampled_from(WAYS))
    def check(case, way):
        written_by(monkeypatch, way)
        kernel_shape, input_shape, options = case
        kernel = distinct_kernel(kernel_shape)
        dense = naive_matrix(kernel, input_shape, **options)
        pattern = naive_pattern(kernel_shape, input_shape, **options)
        geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
        seen.update({"all", way, *features(geometry)})
        forward = stc.conv_matrix(kernel, input_shape, **options)
        transposed = geometry_matrix(geometry, kernel, True)
        assert geometry.matrix_shape == dense.shape
        assert geometry.nnz == pattern.sum()
        for matrix, expected, where in ((forward, dense, pattern), (transposed, dense.T, pattern.T)):
            assert_canonical(matrix)
            assert matrix.shape == expected.shape
            np.testing.assert_array_equal(matrix.toarray(), expected)
            # stored entries are the pattern, whatever the values
            np.testing.assert_array_equal(np.diff(matrix.indptr), where.sum(1))
        arrays = (forward.data, forward.indices, forward.indptr)
        assert geometry.nbytes(kernel.dtype) == sum(array.nbytes for array in arrays)
        assert forward.indices.dtype == geometry.index_dtype

    check()
    assert seen.pop("all") >= 0.8 * wanted.max_examples
    assert {f"{n}-D" for n in (1, 2, 3, 4)} | {f"{mode} in use" for mode in PADDING_MODES[1:]} <= set(seen)
    assert len(seen) == 2 + 4 + 2 + len(PADDING_MODES) + len(PADDING_MODES[1:]) + 8
    assert min(seen.values()) >= wanted.max_examples / 25, seen


@examples(500)
@given(geometries(), st.booleans(), st.data())
def test_row_ranges(case, transposed, data):
    """One way's ranges are the other one's, bit by bit."""
    kernel_shape, input_shape, options = case
    kernel = distinct_kernel(kernel_shape)
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    whole = geometry_matrix(geometry, kernel, transposed)
    start = data.draw(st.integers(0, whole.shape[0]))
    stop = data.draw(st.integers(start, whole.shape[0]))
    with pytest.MonkeyPatch.context() as patch:
        written_by(patch, "compiled")
        part = geometry_matrix(geometry, kernel, transposed, rows=slice(start, stop))
    assert_canonical(part)
    assert part.shape == (stop - start, whole.shape[1])
    np.testing.assert_array_equal(part.toarray(), whole.toarray()[start:stop])


# sizes at which blocks are doubled, repeated and cut, which small geometries do not reach
LARGE = {
    "long line": ((31,), (40_000,), {"padding": "same"}),
    "many short lines": ((3, 2), (9_000, 5), {"padding": 1}),
    "reflected picture": ((7, 4), (150, 140), {"padding": 4, "padding_mode": "reflect"}),
    "strided, dilated, wrapped": ((4, 5), (160, 90), {"padding": 6, "stride": (3, 2), "dilation": (2, 1), "padding_mode": "circular"}),
    "channels and groups": ((12, 3, 3, 2), (6, 60, 50), {"groups": 2, "padding": "same"}),
    "one interior row": ((700,), (700,), {"padding": 3}),
    "all border": ((90,), (90,), {"padding": ((0, 89),), "padding_mode": "circular"}),
    "long windows": ((40, 37), (50, 45), {"padding": 20, "padding_mode": ("zeros", "reflect")}),
    "few planes": ((3, 2, 3), (5, 40, 90), {"padding": 1}),
    "depthwise": ((5, 1, 3, 3), (5, 40, 60), {"groups": 5, "padding": 2, "padding_mode": "reflect"}),
    "dilated far": ((3,), (60_000,), {"padding": 20_000, "dilation": 20_000, "padding_mode": "symmetric"}),
    "volume": ((3, 2, 4), (20, 22, 24), {"padding": "same", "padding_mode": ("zeros", "symmetric", "replicate")}),
}  # fmt: skip


def shifted_rows_matrix(kernel, geometry):
    """Assemble row by row from single-row ranges, which repeat nothing."""
    rows = [
        geometry_matrix(geometry, kernel, False, rows=slice(r, r + 1))
        for r in range(geometry.matrix_shape[0])
    ]
    return sp.vstack(rows, format="csr")


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.usefixtures("way")
def test_repeated_blocks(name, threads, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    monkeypatch.setattr(csr, "THREAD_ENTRIES", 1000)
    monkeypatch.setattr(csr, "BOX_ENTRIES", 5000)
    monkeypatch.setattr(csr, "TEMPLATE_ENTRIES", 10_000)
    monkeypatch.setattr(row_pointers, "FEW_ROWS", 100)
    monkeypatch.setattr(row_pointers, "JOB_ROWS", 1000)
    kernel_shape, input_shape, options = LARGE[name]
    kernel = np.random.default_rng(0).integers(1, 100, kernel_shape)
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    matrix = stc.conv_matrix(kernel, input_shape, **options)
    # an independent construction: one triplet for each tap, output and channel
    expected = triplets(kernel, geometry)
    assert (matrix != expected).nnz == 0
    assert matrix.nnz == geometry.nnz
    assert_sorted(matrix)
    transposed = geometry_matrix(geometry, kernel, True)
    assert (transposed != expected.T).nnz == 0
    assert transposed.nnz == geometry.nnz
    assert_sorted(transposed)
    # a range that begins and ends inside lines, and inside the phases of the transpose
    for whole, flip in ((matrix, False), (transposed, True)):
        start, stop = whole.shape[0] // 7, whole.shape[0] * 6 // 7 + 1
        part = geometry_matrix(geometry, kernel, flip, rows=slice(start, stop))
        assert (part != whole[start:stop]).nnz == 0
        np.testing.assert_array_equal(part.indptr, whole.indptr[start : stop + 1] - whole.indptr[start])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", ["few planes", "depthwise", "dilated far", "reflected picture"])
def test_threads_write_the_same_bits(name, index_dtype, transposed, monkeypatch):
    """However the work is divided, which depends on the number of threads."""
    kernel_shape, input_shape, options = LARGE[name]
    kernel = np.random.default_rng(0).standard_normal(kernel_shape).astype(np.float32)
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    expected = geometry_matrix(geometry, kernel, transposed, index_dtype=index_dtype)
    monkeypatch.setattr(csr, "THREAD_ENTRIES", 1000)
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        found = geometry_matrix(geometry, kernel, transposed, index_dtype=index_dtype)
        for part in ("data", "indices", "indptr"):
            assert getattr(found, part).dtype == getattr(expected, part).dtype
            np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_few_entries_and_more(mode, channels):
    """Up to `LIMITS.whole` entries are written by a few operations on all of them."""
    kernel = distinct_kernel((channels, channels, 3, 4))
    sides = {}
    for side in (4, 9, 13, 14, 15, 18, 19, 20):
        geometry = stc.ConvGeometry((channels, side, side + 1), kernel.shape, padding=2, padding_mode=mode)
        expected = triplets(kernel, geometry)
        sides[geometry.nnz // channels <= writer.LIMITS.whole] = side
        for transposed, matrix in ((False, expected), (True, expected.T.tocsr())):
            found = geometry_matrix(geometry, kernel, transposed)
            assert_canonical(found)
            assert (found != matrix).nnz == 0
            np.testing.assert_array_equal(found.indptr, matrix.indptr)
    assert set(sides) == {False, True}


def assert_sorted(matrix):
    inside = np.ones(matrix.nnz, bool)
    starts = matrix.indptr[:-1]
    inside[starts[starts < matrix.nnz]] = False
    assert (np.diff(matrix.indices)[inside[1:]] > 0).all()


def triplets(kernel, geometry):
    """Assemble with masked index arrays: the usual recipe, slow and obviously right, so once for both ways."""
    return assembled(geometry, kernel.tobytes(), kernel.dtype)


@lru_cache(maxsize=16)
def assembled(geometry, weights, dtype):
    kernel = np.frombuffer(weights, dtype).reshape(geometry.kernel_shape)
    axes = geometry.axes
    weights = kernel if geometry.has_channels else kernel[None, None]
    per_group, c_out = weights.shape[1], weights.shape[0]
    sizes, outputs = [a.size for a in axes], [a.outputs for a in axes]
    sources = [
        np.array([
            [-1 if (i := extension_index(a.mode, a.size, a.first(o) + t * a.dilation)) is None else i for t in range(a.taps)]
            for o in range(a.outputs)
        ])
        for a in axes
    ]  # fmt: skip
    rows, columns, values = [], [], []
    output = np.arange(np.prod(outputs)).reshape(outputs)
    for tap in itertools.product(*(range(a.taps) for a in axes)):
        reads = np.meshgrid(*(s[:, t] for s, t in zip(sources, tap, strict=True)), indexing="ij")
        valid = np.logical_and.reduce([r >= 0 for r in reads])
        sample = np.ravel_multi_index([r[valid] for r in reads], sizes)
        for co in range(c_out):
            for ci in range(per_group):
                channel = co // (c_out // geometry.groups) * per_group + ci
                rows.append(co * output.size + output[valid])
                columns.append(channel * np.prod(sizes) + sample)
                values.append(np.full(sample.size, weights[(co, ci, *tap)]))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sp.coo_array(entries, shape=geometry.matrix_shape).tocsr()


def test_row_range_costs_what_it_contains():
    """Rows of a matrix of a thousand terabytes."""
    part = stc.conv_matrix(
        np.ones((7, 7), np.float32), (10**7, 10**7), padding="same", padding_mode="reflect", rows=slice(10**13 - 2, 10**13 + 2)
    )  # fmt: skip
    assert part.shape == (4, 10**14)
    assert part.indices.dtype == np.int64
    # two samples from either end of a line: 5 and 4 columns by 7 lines, twice
    assert part.nnz == 2 * 7 * (5 + 4)
    assert part.indices[-1] == (10**6 + 3) * 10**7 + 4


# borders that hold most rows, or most entries
BORDERS = {
    "dilated far": (3, 60_000, 1, 20_000),
    "dilated far, strided": (3, 60_000, 3, 20_000),
    "as long as the signal": (400, 400, 1, 1),
    "longer than the signal": (1500, 400, 2, 1),
    "half as long, dilated": (250, 1000, 1, 2),
    "dilated beyond the signal": (5, 3000, 2, 4001),
    "short, padded far": (2, 20_000, 1, 1),
}


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("name", BORDERS)
@pytest.mark.usefixtures("way")
def test_borders_that_dominate(name, mode):
    """What stands around the signal is what each tap reads; integers, so exact."""
    taps, size, stride, dilation = BORDERS[name]
    before = 15_000 if name == "short, padded far" else dilation * (taps - 1) * 2 // 3
    after = max(0, dilation * (taps - 1) - before) + size // 5
    options = {"stride": stride, "padding": ((before, after),), "dilation": dilation, "padding_mode": mode}
    samples = (extension_index(mode, size, position) for position in range(-before, size + after))
    padded = np.array([-1 if sample is None else sample for sample in samples])
    geometry = stc.ConvGeometry(size, taps, **options)
    reads = np.add.outer(np.arange(geometry.matrix_shape[0]) * stride, np.arange(taps) * dilation)
    reads = padded[reads]
    rng = np.random.default_rng(0)
    kernel, x = rng.integers(1, 100, taps), rng.integers(-99, 100, size)
    matrix = stc.conv_matrix(kernel, size, **options)
    assert_sorted(matrix)
    assert matrix.nnz == geometry.nnz
    np.testing.assert_array_equal(matrix @ x, np.append(x, 0)[reads] @ kernel)
    transposed = geometry_matrix(geometry, kernel, True)
    assert_sorted(transposed)
    assert (transposed != matrix.T.tocsr()).nnz == 0
    for whole, flip in ((matrix, False), (transposed, True)):
        start, stop = whole.shape[0] // 9, whole.shape[0] // 9 + 40
        part = geometry_matrix(geometry, kernel, flip, rows=slice(start, stop))
        assert (part != whole[start:stop]).nnz == 0


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.usefixtures("way")
def test_every_row_of_a_circulant_is_a_rotation(transposed):
    n = 1500
    kernel = np.arange(1, n + 1)
    geometry = stc.ConvGeometry(n, n, padding=((n - 1, 0),), padding_mode="circular")
    matrix = geometry_matrix(geometry, kernel, transposed)
    # the last tap of output o reads sample o
    rows = [np.roll(kernel[::-1], i) if transposed else np.roll(kernel, i + 1) for i in range(n)]
    np.testing.assert_array_equal(matrix.indices.reshape(n, n), np.broadcast_to(np.arange(n), (n, n)))
    np.testing.assert_array_equal(matrix.data.reshape(n, n), rows)


@pytest.mark.parametrize(
    "dtype", stand_for(["uint8", "float32", "complex128"], ["int16", "float64", "complex64"])
)
@examples(100)
@given(geometries(), st.booleans(), st.randoms(use_true_random=False))
def test_both_ways_write_the_same_values(dtype, case, transposed, random):
    """Of every dtype: sums wrap or round alike. Bit by bit where few taps are summed, as NumPy sums more in pairs."""
    kernel_shape, input_shape, options = case
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    rng = np.random.default_rng(random.randrange(10**6))
    kernel = (200 * rng.standard_normal((2, *kernel_shape))).astype(int if dtype[0] in "iu" else float)
    kernel = (kernel[0] + (1j * kernel[1] if dtype[0] == "c" else 0)).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        written_by(patch, "NumPy")
        expected = geometry_matrix(geometry, kernel, transposed)
        written_by(patch, "compiled")
        # small blocks, so that they are cut and repeated
        limits = writer.Limits(*(1 << random.randrange(12) for _ in range(4)))
        patch.setattr(writer, "COMPILED", limits)
        found = geometry_matrix(geometry, kernel, transposed)
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    if max(kernel_shape, default=1) <= 4:
        np.testing.assert_array_equal(found.data, expected.data)
    atol = 0 if dtype[0] in "iu" else 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(found.data, expected.data, rtol=0, atol=atol)


def test_ordinary_matrices_need_no_compiler():
    """What repeats is copied: numba is neither imported nor waited for."""
    code = """
import sys
import numpy as np
import sparsetconv as stc
for kernel, shape, options in [
    ((7, 7), (300, 300), {"padding": 3, "padding_mode": "reflect"}),
    ((3, 3, 3), (40, 40, 40), {"padding": 1, "padding_mode": "replicate"}),
    ((16, 16, 3, 3), (16, 64, 64), {"padding": "same"}),
    ((31,), (100_000,), {"padding": 15, "padding_mode": "circular", "stride": 2}),
    ((3,), (400_000,), {"padding": 40_000, "padding_mode": "symmetric"}),
]:
    A = stc.conv_matrix(np.ones(kernel), shape, **options)
    assert A.nnz > 500_000, A.nnz
    assert "numba" not in sys.modules, shape
stc.conv_matrix(np.ones(1000), 1000, padding=((0, 999),), padding_mode="circular")
assert "numba" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 3), (3, 2)])
def test_edges_that_are_read_again_and_again(stride, dilation):
    """An edge's entries are partial sums of the kernel, at the cost of the entries and not of the taps."""
    size, taps = 300, 1500
    pad = dilation * (taps - 1)
    geometry = stc.ConvGeometry(size, taps, stride, padding=pad, dilation=dilation, padding_mode="replicate")
    kernel = np.random.default_rng(0).integers(-99, 100, taps)
    tracemalloc.start()
    try:
        transposed = geometry_matrix(geometry, kernel, True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * geometry.nbytes(kernel.dtype)
    forward = geometry_matrix(geometry, kernel, False)
    assert (forward.T.tocsr() != transposed).nnz == 0
    first = np.arange(geometry.output_shape[0]) * stride - pad
    at = first[:, None] + dilation * np.arange(taps)
    np.testing.assert_array_equal(transposed[:1].toarray()[0], ((at <= 0) * kernel).sum(1))
    np.testing.assert_array_equal(transposed[-1:].toarray()[0], ((at >= size - 1) * kernel).sum(1))
    middle = transposed[size // 2 : size // 2 + 1].toarray()[0]
    np.testing.assert_array_equal(middle, ((at == size // 2) * kernel).sum(1))


def test_partial_sums_of_single_precision_do_not_lose_it():
    kernel = np.full(10**6, 0.1, np.float32)
    matrix = stc.conv_matrix(kernel, 2, padding=((10**6, 0),), padding_mode="replicate", rows=slice(0, 1))
    np.testing.assert_allclose(matrix.data, [kernel.sum(dtype=float)], rtol=1e-6)


def test_partial_sums_are_rounded_once_for_all_axes():
    options = {"padding": ((2, 0), (2, 0)), "padding_mode": "replicate", "rows": slice(0, 1)}
    for kernel, total in (([[1e8, -1e8], [1, 0]], 1), ([[3e38, -3e38], [3e38, -3e38]], 0)):
        matrix = stc.conv_matrix(np.array(kernel, np.float32), (2, 2), **options)
        np.testing.assert_array_equal(matrix.data, np.float32([total]))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mode", PADDING_MODES[1:])
def test_sums_warn_of_nothing(mode):
    """Neither those that nobody asks for, nor those that overflow; warnings are errors here."""
    for kernel in ([1, 1, 1e308, 1e308], [np.inf, 0, 1, -np.inf], [1e308] * 4):
        stc.conv_matrix(kernel, 4, padding=3, padding_mode=mode)
        stc.conv_matrix(np.stack([kernel, np.negative(kernel)]), (4, 4), padding=3, padding_mode=mode)
    few = stc.conv_matrix([1, 1, 1e308, 1e308], 4, padding=((1, 0),), padding_mode="replicate")
    np.testing.assert_array_equal(few.toarray(), [[2, 1e308, 1e308, 0], [1, 1, 1e308, 1e308]])


@pytest.mark.parametrize("size", [32, 1])
@pytest.mark.parametrize("mode", ["replicate", "circular"])
def test_a_few_rows_do_not_sum_the_kernels_of_other_channels(mode, size):
    kernel = np.ones((256, 256, 3, 3), np.float32)
    options = {"padding": 1, "padding_mode": mode, "rows": slice(0, 10)}
    tracemalloc.start()
    try:
        matrix = stc.conv_matrix(kernel, (256, size, size), **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert matrix.nnz == 10 * 256 if size == 1 else 40_000 > matrix.nnz > 10_000
    assert peak < 1 << 24
    assert peak < kernel.nbytes / 2


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mode", PERIODS)
def test_kernels_of_many_periods(mode, transposed):
    """What is read again after a period is summed first: 20,000 taps on 5 samples are some hundred thousand sums."""
    taps, size, dilation = 20_000, 5, 3
    kernel = np.random.default_rng(0).integers(-99, 100, taps)
    pad = dilation * (taps - 1) - 700
    geometry = stc.ConvGeometry(size, taps, padding=((pad, 1200),), dilation=dilation, padding_mode=mode)
    matrix = geometry_matrix(geometry, kernel, transposed)
    place = np.concatenate(PERIODS[mode](size))
    period = len(place)
    folded = np.bincount(np.arange(taps) * dilation % period, kernel, period)
    expected = np.zeros((geometry.output_shape[0], size))
    for output, row in enumerate(expected):
        np.add.at(row, place, np.roll(folded, output - pad))
    np.testing.assert_array_equal(matrix.toarray(), expected.T if transposed else expected)
    assert matrix.nnz == geometry.nnz


def test_rows_of_a_border_of_a_million_rows():
    k = 10**6
    start = k // 2
    part = stc.conv_matrix(np.arange(k), 10**8, padding="full", rows=slice(start, start + 2))
    assert part.shape == (2, 10**8 + k - 1 - (k - 1))
    # output o of a full convolution reads samples 0 to o, through the last taps
    np.testing.assert_array_equal(part.indptr, [0, start + 1, 2 * start + 3])
    np.testing.assert_array_equal(part.indices[: start + 1], np.arange(start + 1))
    np.testing.assert_array_equal(part.data[: start + 1], np.arange(k - start - 1, k))
    np.testing.assert_array_equal(part.data[start + 1 :], np.arange(k - start - 2, k))


@pytest.mark.usefixtures("way")
def test_borders_of_several_axes_with_short_lines():
    """A long axis that is mostly border before axes of a few samples: rows of all axes at once."""
    options = {"padding": ((2000, 2000), (1, 0), (0, 1)), "dilation": (2000, 1, 1)}
    for mode in PADDING_MODES:
        kernel = np.arange(1, 13).reshape(3, 2, 2)
        geometry = stc.ConvGeometry((6000, 2, 3), (3, 2, 2), padding_mode=mode, **options)
        matrix = geometry_matrix(geometry, kernel, False)
        expected = triplets(kernel, geometry)
        assert (matrix != expected).nnz == 0
        assert matrix.nnz == geometry.nnz
        assert_sorted(matrix)
        transposed = geometry_matrix(geometry, kernel, True)
        assert_sorted(transposed)
        assert (transposed != expected.T.tocsr()).nnz == 0


def test_single_rows_agree_with_the_whole():
    geometry = stc.ConvGeometry((2, 6, 5), (4, 2, 3, 2), padding=2, padding_mode="circular")
    kernel = distinct_kernel(geometry.kernel_shape)
    whole = stc.conv_matrix(kernel, (2, 6, 5), padding=2, padding_mode="circular")
    assert (shifted_rows_matrix(kernel, geometry) != whole).nnz == 0


@pytest.mark.parametrize("length", [1, 3, 700, 9000])
@pytest.mark.parametrize("rest", [0, 2])
@pytest.mark.parametrize("count", [1, 2, 9, 100])
def test_continue_block(length, count, rest):
    rng = np.random.default_rng(0)
    block, steps = rng.integers(0, 100, (2, length))
    expected = (block + np.arange(count + 1)[:, None] * steps).reshape(-1)[
        : length * count + min(rest, length)
    ]
    out = np.full(expected.size, -1)
    repeats.continue_block(block, steps, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("length", [1, 3, 700])
@pytest.mark.parametrize("count", [1, 2, 9, 1000])
@pytest.mark.parametrize("shift", [0, 5])
def test_repeat_block(length, count, shift):
    block = np.arange(length)
    out = np.full((2, length * count), -1)
    repeats.repeat_block(np.stack([block, 2 * block]), shift, out)
    steps = np.repeat(np.arange(count) * shift, length)
    np.testing.assert_array_equal(out, [np.tile(block, count) + steps, np.tile(2 * block, count) + steps])
