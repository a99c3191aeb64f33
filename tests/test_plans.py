"""Plans cost what differs between phases and what is read, whatever the strides, dilations and pads are."""

import tracemalloc
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import naive_matrix
from strategies import MODES, SHOWING, distinct_kernel, examples

import sparsetconv as stc
from sparsetconv._arrays import memory, threads
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.extension import Extension, runs, source_indices
from sparsetconv._methods import phases
from sparsetconv._methods.cpu import direct, fft
from sparsetconv._methods.cpu.stencil import plan as plan_module
from sparsetconv._methods.cpu.stencil.partition import Layout
from sparsetconv._methods.cpu.stencil.plan import plan_of
from sparsetconv._methods.kernel.gradient import KernelGradient
from sparsetconv._methods.work import Work

REAL = Layout(1, 1, 1, 1, 1, 8)


@st.composite
def far_geometries(draw):
    """Draw geometries whose strides, dilations and pads may be far beyond the signal."""
    ndim = draw(st.integers(1, 3))
    most = {1: 40, 2: 9, 3: 4}[ndim]
    sizes, taps, stride, dilation, padding, modes = [], [], [], [], [], []
    for _ in range(ndim):
        n, k = draw(st.integers(1, 5)), draw(st.integers(1, 4))
        s, d = draw(st.integers(1, most)), draw(st.integers(1, most))
        extent = d * (k - 1) + 1
        outputs = draw(st.integers(1, 4))
        total = extent + (outputs - 1) * s + draw(st.integers(0, s - 1)) - n
        before = draw(st.integers(min(-n + 1, total), max(total, 0)))
        sizes.append(n), taps.append(k), stride.append(s), dilation.append(d)
        padding.append((before, total - before))
        modes.append(draw(st.sampled_from(MODES)))
    options = {
        "stride": tuple(stride),
        "padding": tuple(padding),
        "dilation": tuple(dilation),
        "padding_mode": tuple(modes),
        "flip": draw(st.booleans()),
        "groups": 1,
    }
    if not draw(st.booleans()):
        return tuple(taps), tuple(sizes), options
    options["groups"] = groups = draw(st.integers(1, 2))
    c_in, c_out = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return (groups * c_out, c_in, *taps), (groups * c_in, *sizes), options


@examples(100)
@given(far_geometries())
@pytest.mark.parametrize("method", ["direct", "gemm"])
def test_steps_and_pads_beyond_the_signal(method, case):
    kernel_shape, input_shape, options = case
    kernel = distinct_kernel(kernel_shape)
    matrix = naive_matrix(kernel, input_shape, **options)
    A = stc.ConvOperator(kernel, input_shape, method=method, **options)
    x, y = (np.arange(n) * 5 % 17 - 8 for n in A.shape[::-1])
    np.testing.assert_array_equal(A @ x, matrix @ x)
    np.testing.assert_array_equal(A.H @ y, matrix.T @ y)


@examples(60)
@given(far_geometries())
def test_gradients_with_steps_and_pads_beyond_the_signal(case):
    kernel_shape, input_shape, options = case
    x = np.arange(prod(input_shape)).reshape(input_shape) * 5 % 17 - 8
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    groups, (c_in, c_out) = geometry.groups, geometry.channels
    large = x.reshape(groups, c_in, *(axis.size for axis in geometry.axes))
    small = np.arange(prod(geometry.output_shape)) * 3 % 13 - 6
    small = small.reshape(groups, c_out, *(axis.outputs for axis in geometry.axes))
    found = KernelGradient(geometry)(large, small)
    # the gradient's inner product with any kernel is that of the output with the result
    weights = distinct_kernel(found.shape)
    kernel = weights.reshape(kernel_shape)[..., *[slice(None, None, -1)] * (geometry.ndim * options["flip"])]
    matrix = naive_matrix(kernel, input_shape, **options)
    assert (found * weights).sum() == small.reshape(-1) @ (matrix @ x.reshape(-1))


@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        *[(method, dtype) for method in ("direct", "gemm") for dtype in ("int8", "int64")],
        *[(method, dtype) for method in ("direct", "gemm", "fft") for dtype in ("float32", "complex128")],
    ],
)
def test_what_no_tap_meets_is_zero(method, dtype, monkeypatch):
    # tiles on every processor: a transform of the whole signal rounds relative to its largest sample
    monkeypatch.setattr(fft, "fft_strategy", strategy_with_tiles)
    kernel = distinct_kernel((2, 1)).astype(dtype)
    A = stc.ConvOperator(kernel, (20, 9), stride=(7, 4), method=method)
    y = np.arange(A.shape[0]).astype(A.dtype) + 1
    expected = np.zeros((20, 9), A.dtype)
    for t in range(2):
        expected[t : 15 + t : 7, ::4] += kernel[t, 0] * y.reshape(A.output_shape)[:, :3]
    np.testing.assert_allclose((A.H @ y).reshape(20, 9), expected, atol=1e-5)


def strategy_with_tiles(geometry, transposed, dtype, rates, items=1):
    return fft.in_tiles(Work.of(geometry, transposed, dtype), rates, items)


def test_nothing_of_the_signal_is_read():
    A = stc.ConvOperator(np.ones(1), 1, stride=5, padding=2, method="direct")
    assert (A.H @ np.ones(A.shape[0])).tolist() == [0.0]
    assert (A @ np.ones(1)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("kernel", "size", "stride"),
    [
        pytest.param((100, 100), (1000, 1000), 100, id="block average"),
        pytest.param((10**5,), (10**6,), 10**5, id="block average of a line"),
        pytest.param((3,), (10**6,), 10**5, id="few taps, far apart"),
        pytest.param((1,), (5,), 3 * 10**7, id="a stride beyond the signal"),
        pytest.param((1, 1, 1), (5, 5, 5), 10**6, id="in three dimensions"),
    ],
)
def test_rows_of_plans_are_as_many_as_taps(kernel, size, stride):
    """Nothing in a plan is as long as the stride, or a product of strides."""
    geometry = stc.ConvGeometry(size, kernel, stride=stride)
    taps, outputs = prod(kernel), prod(geometry.output_shape)
    forward, adjoint = plan_of(geometry.axes, False, REAL), plan_of(geometry.axes, True, REAL)
    assert len(forward.runs) == 1
    # what is read, at most all taps of all outputs, and a row of vectors for each column
    assert sum(table.size for table in forward.padded) <= 16 * (taps + outputs + 16)
    assert len(adjoint.runs) <= kernel[-1]
    assert len(adjoint.row_blocks) <= outputs * taps
    for plan in (forward, adjoint):
        assert plan.taps.offsets.size <= 10 * taps
        assert len(plan.taps.bounds) <= 4 * taps
    A = stc.ConvOperator(np.ones(kernel), size, stride=stride, method="direct")
    x = np.arange(prod(size)) % 7.0
    blocks = np.zeros(geometry.output_shape)
    blocks.flat[:] = np.arange(blocks.size) % 5 + 1
    # exact: sums of small integers
    large = np.zeros(size)
    for place in np.ndindex(geometry.output_shape):
        window = (slice(o * stride, o * stride + k) for o, k in zip(place, kernel, strict=True))
        large[tuple(window)] = blocks[place]
    assert (A @ x) @ blocks.reshape(-1) == x @ large.reshape(-1)
    np.testing.assert_array_equal(A.H @ blocks.reshape(-1), large.reshape(-1))


@pytest.mark.parametrize("side", [phases.forward_axis, phases.transposed_axis])
@pytest.mark.parametrize("stride", [1, 10**6, 10**7 + 1])
def test_sources_have_places_for_what_is_read(stride, side):
    """Three taps 10**7 apart in a signal of seven samples: nothing between them is there."""
    axis = Axis(7, 3, stride, 2 * 10**7, 3 * stride + 10**7, 10**7 + 1, "zeros")
    source = side(axis).source
    assert source.length * source.columns.size <= 4 * axis.taps * max(axis.outputs, axis.size)


def test_axes_of_one_sample_have_no_lines():
    """A signal as a column is a line."""
    column = plan_of(stc.ConvGeometry((10**5, 1, 1), (3, 1, 1), padding=((1, 1), 0, 0)).axes, False, REAL)
    line = plan_of(stc.ConvGeometry(10**5, 3, padding=1).axes, False, REAL)
    for own, other in zip(column.padded, line.padded, strict=True):
        np.testing.assert_array_equal(own, other)
    assert len(column.row_blocks) == 1
    assert column.sizes == (10**5, 1, 1)


@pytest.mark.parametrize("mode", MODES)
def test_lists_of_samples_are_those_of_the_border(mode):
    plan = plan_of(stc.ConvGeometry(10**6, 9, padding=4, padding_mode=mode).axes, False, REAL)
    assert plan.padded.borders.size == 8


# A tile has so many bases of the last axis. With padding (p, q) of n samples, stride 1, results stand at bases 0 to
# p + n + q - 1; those from p up to p + n are stored, the others are added.
LENGTH = plan_module.TILE_LENGTH
TILES = [
    # size, kernel, options: tiles of the store pass, and of the accumulate pass
    pytest.param(10 * LENGTH, 5, {"padding": 2, "padding_mode": "zeros"}, (10, 0), id="no padding is added"),
    pytest.param(10 * LENGTH, 5, {"padding": 2}, (11, 2), id="the first tile and the last one add"),
    pytest.param(10 * LENGTH, 31, {"padding": ((15, 0),)}, (11, 1), id="the first one adds"),
    # bases 0 to 4999 are padding: the first tile stores nothing, it and the second one add, and so does the last
    pytest.param(
        10 * LENGTH, 5, {"padding": ((LENGTH + 904, 2),)}, (11, 3), id="a tile of nothing but padding"
    ),
    # two phases of half as many bases each, one before the signal and one behind it
    pytest.param(20 * LENGTH, 6, {"padding": 2, "stride": 2}, (11, 2), id="two phases"),
    # three lines are stored; what stands on a line of padding, above and below, is all added
    pytest.param((3, 10 * LENGTH), (3, 5), {"padding": (1, 2)}, (11, 2 + 2 * 11), id="a plane"),
    # a short line is one tile, which stores first and then adds
    pytest.param(LENGTH, 5, {"padding": 2}, (1, 0), id="a short line"),
]


@pytest.mark.parametrize(("size", "kernel", "options", "expected"), TILES)
@pytest.mark.parametrize("mode", SHOWING)
def test_tiles_of_both_passes(size, kernel, options, expected, mode):
    """No tile is visited in a pass in which it has no result."""
    geometry = stc.ConvGeometry(size, kernel, **{"padding_mode": mode, **options})
    plan = plan_of(geometry.axes, True, REAL)
    assert (plan.storing, plan.accumulating) == expected
    for tile in plan.tiles:
        runs = plan.runs[tile["first_run"] : tile["end_run"]]
        assert ((runs["base"] < tile["end"]) & (runs["base"] + runs["count"] > tile["begin"])).any()
        assert tile["end_block"] > tile["first_block"]


@pytest.mark.parametrize("mode", SHOWING)
def test_tiles_are_visited_once(mode):
    """A tile is visited again where it has something to add: along a long line, at the two ends."""
    size = 10 * plan_module.TILE_LENGTH
    plan = plan_of(stc.ConvGeometry(size, 5, padding=2, padding_mode=mode).axes, True, REAL)
    assert plan.storing == 11
    assert plan.accumulating <= 2
    adding, again = plan.runs[plan.runs["adds"] == 1], plan.tiles[plan.storing :]
    ends = adding["base"] + adding["count"]
    # each place of what is added belongs to one of them
    seen = [np.minimum(tile["end"], ends) - np.maximum(tile["begin"], adding["base"]) for tile in again]
    assert np.clip(seen, 0, None).any(1).all()
    assert np.clip(seen, 0, None).sum() == adding["count"].sum() == 4


@pytest.mark.parametrize("mode", MODES)
def test_long_lines_with_borders_are_exact(mode):
    size, rng = 3 * plan_module.TILE_LENGTH + 5, np.random.default_rng(0)
    kernel, y = distinct_kernel((5,)), rng.integers(-9, 10, size)
    A = stc.ConvOperator(kernel, size, padding=2, padding_mode=mode, method="direct")
    np.testing.assert_array_equal(A.H @ y, A.tosparse().T @ y)


@pytest.mark.parametrize(
    ("geometry", "planes", "least", "most"),
    [
        pytest.param(stc.ConvGeometry((1024, 1024), (3, 3), padding=1), 1, 8, 64, id="a picture"),
        pytest.param(
            stc.ConvGeometry((96, 28, 28), (96, 1, 7, 7), padding=3, groups=96), 1, 1, 1, id="many planes"
        ),
        pytest.param(
            stc.ConvGeometry((256, 14, 14), (256, 256, 3, 3), padding=1), 256, 2, 7, id="a small map"
        ),
        pytest.param(stc.ConvGeometry((256, 3136), (64, 256, 1)), 256, 6, 8, id="a line of channels"),
    ],
)
def test_tiles_keep_two_threads_busy(geometry, planes, least, most):
    """There are tiles for all threads, over all groups, and no more than that costs."""
    layout = Layout(geometry.groups, planes, geometry.channels[1], 1, 1, 4)
    threads.set_thread_limit(2)
    try:
        assert least <= plan_of(geometry.axes, False, layout).storing <= most
    finally:
        threads.set_thread_limit(None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("columns", [1, 7, 15, 16, 17, 47, 64, 65, 95, 130, 200])
@pytest.mark.parametrize("shape", [(), (1,), (9,), (3, 6), (2, 3, 4)])
def test_borders_of_what_is_read_in_place(shape, columns, mode):
    """Whole register blocks of a line read the signal, all others read copies: each width of a line ends differently."""
    shape = (*shape, columns)
    kernel = distinct_kernel((min(3, *shape),) * len(shape))
    A = stc.ConvOperator(
        kernel, shape, padding=tuple(k // 2 for k in kernel.shape), padding_mode=mode, method="direct"
    )
    x, y = (np.arange(n) * 7 % 23 - 11 for n in A.shape[::-1])
    M = A.tosparse()
    np.testing.assert_array_equal(A @ x, M @ x)
    np.testing.assert_array_equal(A.H @ y, M.T @ y)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(90,), (9, 70), (31, 130), (5, 4, 67)])
@pytest.mark.parametrize("apart", [2, 3, 5])
def test_what_is_read_in_place_with_a_dilation(shape, apart, mode):
    """Taps that are several lines and columns apart: the halo is wider than the kernel has taps."""
    kernel = distinct_kernel((2,) * (len(shape) - 1) + (4,))
    options = {"padding": tuple(apart * (k - 1) // 2 for k in kernel.shape), "padding_mode": mode}
    A = stc.ConvOperator(kernel, shape, dilation=apart, method="direct", **options)
    x, y = (np.arange(n) * 7 % 23 - 11 for n in A.shape[::-1])
    M = stc.conv_matrix(kernel, shape, dilation=apart, **options)
    np.testing.assert_array_equal(A @ x, M @ x)
    np.testing.assert_array_equal(A.H @ y, M.T @ y)
    assert [plan.in_place for plan in A._method._plans.values()] == [True, True]


def test_the_interior_is_not_copied():
    """Of a tile's buffer only what borders need is written."""
    A = stc.ConvOperator(np.ones((1, 3)), (200, 2000), padding=(0, 1), method="direct")
    x = np.arange(400_000) % 11.0
    threads.set_thread_limit(1)
    try:
        expected = A @ x
        (plan,) = A._method._plans.values()
        buffer = direct._kept.d[: plan.elements]
        buffer[:] = -1.0
        np.testing.assert_array_equal(A @ x, expected)
    finally:
        threads.set_thread_limit(None)
    assert (buffer == -1.0).mean() > 0.5


@pytest.mark.parametrize("transposed", [False, True])
def test_bits_do_not_depend_on_the_bands(transposed):
    kernel = np.random.default_rng(0).standard_normal((5, 3, 3, 4))
    x = np.random.default_rng(1).standard_normal((3, 40, 37))
    found, bands = [], set()
    for number in (1, 2, 16):
        threads.set_thread_limit(number)
        try:
            A = stc.ConvOperator(
                kernel, x.shape, padding=(1, 2), stride=(1, 2), padding_mode="reflect", method="direct"
            )
            found.append((A.H if transposed else A).apply(A.apply(x) if transposed else x))
            bands.add(next(iter(A._method._plans.values())).storing)
        finally:
            threads.set_thread_limit(None)
    assert len(bands) > 1
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@given(st.sampled_from(MODES), st.integers(1, 6), st.integers(-40, 40), st.integers(0, 60))
def test_runs_are_the_extension(mode, size, start, length):
    axis = Axis(size, 1, 1, 50, 50, 1, mode)
    found = np.full(length, -1)
    for run in runs(axis, start, start + length):
        samples = run.sample + run.step * np.arange(run.stop - run.start)
        found[run.start - start : run.stop - start] = samples
        assert sorted(set(samples.tolist())) == sorted(range(size)[run.samples])
    np.testing.assert_array_equal(found, source_indices(axis, np.arange(start, start + length)))


@pytest.mark.parametrize("mode", SHOWING)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pads_of_many_periods(mode, size):
    """Padded and unpadded in as many steps as the number of periods has digits."""
    pad = 10**5 + 3
    extension = Extension((Axis(size, 1, 1, pad, pad - 2, 1, mode),))
    assert sum(len(part.runs) for part in extension._pads[0]) <= 4 * 6
    x = np.arange(size) + 1
    places = source_indices(extension.axes[0], np.arange(-pad, size + pad - 2))
    padded = extension.pad(x)
    np.testing.assert_array_equal(padded, x[places])
    z = np.arange(padded.size) % 11
    unpadded = extension.unpad(z.copy())
    np.testing.assert_array_equal(unpadded, np.bincount(places, z, size).astype(int))
    # the result does not keep the padded array
    assert unpadded.base is None


@pytest.mark.parametrize("method", ["direct", "gemm", "fft"])
@pytest.mark.parametrize("mode", SHOWING)
def test_products_with_pads_of_many_periods(mode, method):
    pad, taps = 5000, np.array([2.0, 3.0, 7.0])
    A = stc.ConvOperator(taps, 5, padding=pad, padding_mode=mode, method=method)
    places = source_indices(A.geometry.axes[0], np.arange(-pad, 5 + pad))
    x, y = np.arange(5) + 1.0, np.arange(A.shape[0]) % 4.0
    np.testing.assert_allclose(A @ x, np.correlate(x[places], taps, "valid"), rtol=1e-12)
    expected = np.bincount(places, np.convolve(y, taps), 5)
    np.testing.assert_allclose(A.H @ y, expected, rtol=1e-12)


@pytest.mark.parametrize("method", ["direct", "gemm", "fft"])
@pytest.mark.parametrize(
    ("kernel", "size", "options"),
    [
        pytest.param((1,), (5,), {"padding": 10**9}, id="zeros"),
        pytest.param((1,), (5,), {"padding": 10**9, "padding_mode": "circular"}, id="periods"),
        pytest.param((2, 2), (5, 5), {"padding": ((10**9, 0), (0, 0))}, id="lines"),
    ],
)
def test_memory_is_checked_before_it_is_taken(kernel, size, options, method, monkeypatch):
    A = stc.ConvOperator(np.ones(kernel), size, method=method, **options)
    little_memory(monkeypatch)
    taken = tracemalloc_peak(lambda: A._method.forward(np.ones((1, 1, 1, *size))))
    assert taken < 10**8


@pytest.mark.parametrize("method", ["direct", "gemm"])
def test_memory_of_the_adjoint_is_checked(method, monkeypatch):
    A = stc.ConvOperator(np.ones(1), 5, padding=10**9, padding_mode="circular", method=method)
    little_memory(monkeypatch)
    y = np.broadcast_to(np.ones(1), (1, 1, 1, *A.output_shape))
    assert tracemalloc_peak(lambda: A._method.transpose(y)) < 10**8


@pytest.mark.parametrize("given", ["int8", "int64", "uint64", "float32", "float64", "complex64"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "complex64"])
@pytest.mark.parametrize("in_place", [True, False], ids=["out", "new"])
def test_all_memory_of_a_product_is_checked(dtype, given, in_place, monkeypatch):
    """Sums of narrow integers and converted operands count; the check is of what is really taken."""
    # one thread, whose tile buffer the first product makes; of others any may compute the second one
    monkeypatch.setattr(threads, "_limit", 1)
    A = stc.ConvOperator(np.ones((3, 3), dtype), (300, 400), padding=1, method="direct")
    x = np.ones((1, *A.input_shape), given)
    out = np.empty(x.shape, np.result_type(x, A.kernel)) if in_place else None
    A.apply(x, out)
    asked = []
    monkeypatch.setattr(memory, "LARGE_RESULT", 1000)
    monkeypatch.setattr(memory, "require", lambda what, nbytes, *_: asked.append((what, nbytes)))
    tracemalloc.start()
    kept = A.apply(x, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept.shape == x.shape
    ((_, nbytes),) = [each for each in asked if each[0] == "the product"]
    assert 0 <= peak - nbytes < 30_000


def little_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**8)
    monkeypatch.setattr(memory.require, "__defaults__", (memory.available_bytes,))


def tracemalloc_peak(product):
    """Return the most bytes that a product takes before it says how many it lacks."""
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match=r"needs \d+ bytes .* 100000000 are available"):
            product()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
