"""The stencil of ``method="direct"``: both kernels, in every shape of a launch, against naive loops."""

import itertools
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_cases import MODES, integers
from reference import naive_matrix
from strategies import distinct_kernel, geometries

import sparsetconv as stc
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry.axis import Axis
from sparsetconv._methods.cuda import direct, tiles, tuning
from sparsetconv._methods.cuda.direct import CudaDirectMethod
from sparsetconv._methods.cuda.stencil import Problem, StencilAxis
from sparsetconv._methods.cuda.tiles import Tile, candidates, default_tile, tile
from sparsetconv._methods.cuda.tuning import LaunchShape, Tuning


def problem(kernel_shape, input_shape, transposed=False, dtype="float32", batch=1, **options):
    """Return one direction of a convolution as the kernels know it."""
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    groups, (c_in, c_out) = geometry.groups, geometry.channels
    weights = np.ones((groups, c_out, c_in, *(axis.taps for axis in geometry.axes)), dtype)
    return CudaDirectMethod(geometry, weights, NUMPY).problem(batch, transposed, np.dtype(dtype))


def check(cp, kernel, input_shape, expected=None, **options):
    """Compare products with the identity, in both directions, with a matrix: that of the CPU if none is given."""
    if expected is None:
        expected = stc.conv_matrix(kernel, input_shape, **options).toarray()
    operator = stc.ConvOperator(cp.asarray(kernel), input_shape, method="direct", **options)
    m, n = expected.shape
    np.testing.assert_array_equal((operator @ cp.asarray(np.eye(n))).get(), expected)
    np.testing.assert_array_equal((operator.T @ cp.asarray(np.eye(m))).get(), expected.T)
    return operator


def names(operator):
    """Return the kernels that an operator has launched."""
    return {plan.product[0].name for plan in operator._method._plans.values()}


# results, columns, channels, lanes, threads, unrolled: every kind of tile, with several of them in small arrays
LAUNCHES = [
    LaunchShape(1, 1, 1, 8, 8, 1),
    LaunchShape(2, 1, 2, 8, 32, 2),
    LaunchShape(4, 2, 1, 8, 16, 8),
    LaunchShape(3, 3, 4, 8, 24, 3),
    LaunchShape(8, 1, 1, 32, 64, 4),
]
PROBLEMS = {
    "plane": ((4, 3), (13, 19), {"padding": ((3, 1), (0, 2))}),
    "strided": ((3, 5), (14, 21), {"stride": (2, 3), "padding": 2}),
    "dilated": ((3, 2), (15, 12), {"stride": (2, 2), "dilation": (3, 2), "padding": ((1, 4), (2, 0))}),
    "line": ((7,), (60,), {"padding": ((4, 2),)}),
    "strided line": ((7,), (61,), {"stride": 3, "dilation": 2, "padding": 5}),
    "volume": ((2, 3, 2), (5, 7, 9), {"padding": 1, "stride": (1, 2, 1)}),
    "channels": ((5, 3, 3, 2), (3, 7, 9), {"padding": 1}),
    "groups": ((4, 1, 3, 3), (2, 8, 10), {"padding": 1, "groups": 2, "stride": 2}),
    "cropped": ((3, 3), (12, 14), {"padding": ((-2, 1), (1, -3))}),
}  # fmt: skip


# of all pairs two for each problem: one compiles for a second and more
PAIRS = [(name, LAUNCHES[(n + k) % len(LAUNCHES)]) for n, name in enumerate(PROBLEMS) for k in (0, 2)]


@pytest.mark.parametrize(("name", "launch"), PAIRS)
def test_every_shape_of_a_launch(cp, name, launch):
    kernel_shape, input_shape, options = PROBLEMS[name]
    # modes in turn
    mode = MODES[PAIRS.index((name, launch)) % len(MODES)]
    kernel = distinct_kernel(kernel_shape, "float64")
    with tuning.forced(launch):
        operator = check(cp, kernel, input_shape, padding_mode=mode, **options)
    assert names(operator) == {"tiles"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_kernels_that_reach_too_far_for_a_tile(cp, name, monkeypatch):
    number = list(PROBLEMS).index(name)
    monkeypatch.setattr(tiles, "SHARED_BYTES", 0)
    # with one result for each thread, and with several
    monkeypatch.setattr(direct, "MANY_THREADS", 1 if number % 2 else 1 << 16)
    kernel_shape, input_shape, options = PROBLEMS[name]
    kernel = distinct_kernel(kernel_shape, "float64")
    operator = check(cp, kernel, input_shape, padding_mode=MODES[number % len(MODES)], **options)
    assert names(operator) == {"gather"}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries(max_ndim=3), st.sampled_from(LAUNCHES))
def test_drawn_launches_match_naive_loops(cp, case, launch):
    kernel_shape, input_shape, options = case
    kernel = distinct_kernel(kernel_shape, "float64")
    with tuning.forced(launch):
        check(cp, kernel, input_shape, naive_matrix(kernel, input_shape, **options), **options)


@pytest.mark.parametrize("shared", [0, tiles.SHARED_BYTES])
def test_places_of_64_bits(cp, shared, monkeypatch):
    monkeypatch.setattr(tiles, "SHARED_BYTES", shared)
    monkeypatch.setattr(Problem, "place_type", "long long")
    for name in ("dilated", "strided line"):
        kernel_shape, input_shape, options = PROBLEMS[name]
        check(cp, distinct_kernel(kernel_shape, "float64"), input_shape, padding_mode="symmetric", **options)


FAR = 3 * 10**9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("taps", "stride", "dilation", "padding"),
    [
        (2, FAR, FAR, (FAR, FAR)), (3, FAR + 1, FAR, (FAR, FAR)), (1, FAR, 1, (0, FAR)), (1, 1, FAR, (2, 0)),
        (3, FAR, 1, (1, 1)), (3, 2**31 - 1, 1, (1, 2**31 - 1)), (3, 2**30, 2**30 + 1, (2**30, 2**31)), (2, 4 * 10**9 + 2, FAR + 2, (FAR, 2 * FAR)),
    ],
)  # fmt: skip
def test_strides_and_dilations_past_32_bits(cp, taps, stride, dilation, padding, mode):
    if mode != "zeros" and padding[0] == FAR:
        padding = (5, padding[1] + FAR - 5)
    kernel = distinct_kernel((taps,), "float64")
    options = {"stride": stride, "dilation": dilation, "padding": (padding,), "padding_mode": mode}
    host = stc.ConvOperator(kernel, 7, method="sparse", **options)
    device = stc.ConvOperator(cp.asarray(kernel), 7, method="direct", **options)
    x, y = integers(7, "float64"), integers(host.shape[0], "float64", 1)
    np.testing.assert_array_equal((device @ cp.asarray(x)).get(), host @ x)
    if mode == "zeros":
        np.testing.assert_array_equal((device.T @ cp.asarray(y)).get(), host.T @ y)


@pytest.mark.parametrize("far", [2**31 - 2, 2**31 - 1, 2**31, 2**33])
@pytest.mark.parametrize("axis", [0, 1])
def test_strides_about_32_bits_on_one_of_two_axes(cp, axis, far):
    size, step, pads = [40, 5], [1, 1], [(1, 1), (1, 1)]
    if axis:
        size = size[::-1]
    step[axis], pads[axis] = far, (far, far)
    options = {"stride": tuple(step), "padding": tuple(pads)}
    kernel = distinct_kernel((3, 3), "float64")
    host = stc.ConvOperator(kernel, tuple(size), method="sparse", **options)
    device = stc.ConvOperator(cp.asarray(kernel), tuple(size), method="direct", **options)
    x, y = integers(host.input_shape, "float64"), integers(host.output_shape, "float64", 1)
    np.testing.assert_array_equal(device.apply(cp.asarray(x)).get(), host.apply(x))
    np.testing.assert_array_equal(device.T.apply(cp.asarray(y)).get(), host.T.apply(y))


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128", "int8", "uint64"])
def test_dtypes(cp, dtype):
    kernel, x = integers((3, 2, 3, 3), dtype), integers((2, 2, 40, 9), dtype, 1)
    options = {"padding": 1, "padding_mode": "reflect", "stride": (2, 1)}
    host = stc.ConvOperator(kernel, (2, 40, 9), method="gemm", **options)
    device = stc.ConvOperator(cp.asarray(kernel), (2, 40, 9), method="direct", **options)
    y = integers((2, *host.output_shape), dtype, 2)
    np.testing.assert_array_equal(device.apply(cp.asarray(x)).get(), host.apply(x))
    np.testing.assert_array_equal(device.T.apply(cp.asarray(y)).get(), host.T.apply(y))


def test_padding_of_many_periods_is_added_in_bands(cp):
    """Samples that the padding repeats often are sums over many places of the bands."""
    for mode in MODES[1:]:
        operator = check(
            cp, distinct_kernel((3, 2), "float64"), (3, 4), padding=((9, 7), (5, 11)), padding_mode=mode
        )
        (plan,) = (plan for plan in operator._method._plans.values() if plan.unpadding)
        assert [launch[0].name for launch in plan.unpadding] == ["unpad", "unpad"]
        # places around each of twelve arrays
        assert plan.bands == operator.shape[0] * ((3 + 16) * (4 + 16) - 12)


def test_zeros_need_no_bands(cp):
    operator = check(cp, distinct_kernel((3, 2), "float64"), (8, 9), padding=2)
    assert not any(plan.unpadding or plan.bands for plan in operator._method._plans.values())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("stride", [1, 2])
def test_padded_zeros_do_not_meet_weights_that_are_no_numbers(cp, bad, stride):
    """In the tiles at the border as in those inside; what is not finite goes where the matrix has entries."""
    kernel = distinct_kernel((3, 3), "float64")
    kernel[0, 2] = bad
    options = {"padding": ((2, 3), (1, 1)), "stride": stride}
    host = stc.ConvOperator(kernel, (30, 20), method="sparse", **options)
    x, y = np.ones(host.input_shape), np.ones(host.output_shape)
    with tuning.forced(LaunchShape(2, 1, 1, 8, 16)):
        device = stc.ConvOperator(cp.asarray(kernel), (30, 20), method="direct", **options)
        np.testing.assert_array_equal(device.apply(cp.asarray(x)).get(), host.apply(x))
        np.testing.assert_array_equal(device.T.apply(cp.asarray(y)).get(), host.T.apply(y))


def axes():
    """Draw axes of any mode, crops and padding of several periods among them."""
    numbers = st.tuples(
        st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.integers(-3, 50), st.integers(-3, 50),
        st.integers(1, 4), st.sampled_from(MODES),
    )  # fmt: skip
    return numbers.map(lambda n: Axis(*n)).filter(lambda axis: axis.outputs > 0)


LINES = {
    "k3": ((3, 3), (4096, 4096)), "k7": ((7, 7), (4096, 4096)), "k31": ((31, 31), (4096, 4096)),
    "volume k5": ((5, 5, 5), (256, 256, 256)), "line k31": ((31,), (1 << 24,)),
    "channels": ((64, 64, 3, 3), (64, 56, 56)), "small map": ((256, 256, 3, 3), (256, 14, 14)),
}  # fmt: skip


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", LINES)
def test_tiles_fit_and_cover_everything(name, transposed):
    kernel_shape, input_shape = LINES[name]
    own = problem(kernel_shape, input_shape, transposed, padding=1, padding_mode="reflect")
    shapes = candidates(own)
    assert shapes[0] == default_tile(own).shape
    assert len(set(shapes)) == len(shapes) > 10
    for shape in shapes:
        made = tile(own, shape)
        assert prod(made.threads) <= 1024
        assert made.shared <= 48 << 10
        blocks = 1
        for each, rows in zip(own.axes, made.rows, strict=True):
            blocks *= len(range(0, each.result, rows))
        assert made.blocks == blocks * -(-own.results // shape.channels)


@given(axes(), st.booleans(), st.integers(1, 40), st.integers(0, 5))
def test_a_tile_holds_what_its_results_read(axis, transposed, rows, number):
    """Of any tile along an axis, by the taps of each of its results; the samples at both ends are read."""
    own = StencilAxis(axis, transposed)
    each = Problem((own,), 1, 1, 1, 1, 4, 4, 4)
    made = Tile(each, LaunchShape(1, 1, 1, 1, rows), (rows,), 1, 1)
    assert made.rows == (rows,)
    (extent,), begin, reads = made.extents, number * rows, set()
    for result in range(begin, begin + rows):
        for tap in range(axis.taps):
            if not transposed:
                reads.add((result - begin) * axis.stride + tap * axis.dilation)
                continue
            place = own.origin * axis.stride + result + own.phase - tap * axis.dilation
            if place % axis.stride == 0:
                first = own.origin + (begin + own.phase) // axis.stride
                reads.add(place // axis.stride - first + (axis.extent - 1) // axis.stride)
    assert all(0 <= read < extent for read in reads)
    if not transposed:
        assert extent == max(reads) + 1


def test_large_strides_and_far_taps_are_gathered():
    assert default_tile(problem((3, 3), (4096, 4096), dilation=200)) is None
    assert default_tile(problem((3, 3), (4096, 4096), transposed=True, stride=400)) is None
    assert candidates(problem((20001,), (1 << 20,))) == []


@given(axes())
def test_numbers_of_a_transposed_axis(axis):
    """Every position that is read has a place; what padding copies is listed, and nothing else."""
    own = StencilAxis(axis, transposed=True)
    copies = {}
    for position in range(min(axis.low, 0), max(axis.high + 1, axis.size)):
        if axis.effective_mode.zero or 0 <= position < axis.size:
            continue
        assert 0 <= position + own.lead < own.result
        copies.setdefault(axis.effective_mode.sample(axis.size, position), position)
    outside = own.outside
    listed = {*range(outside.begin, outside.begin + outside.number)}
    listed |= {*range(outside.again, outside.again + outside.total - outside.number)}
    assert len(listed) == outside.total
    assert set(copies) <= listed <= set(range(axis.size))
    assert own.result == own.own + sum(
        1 for p in range(min(axis.low, 0), max(axis.high + 1, axis.size))
        if not axis.effective_mode.zero and not 0 <= p < axis.size
    )  # fmt: skip
    # the first place's position, counted from the first that is read
    assert own.origin * axis.stride + own.phase == axis.before - own.lead
    first, last = own.inside
    for place in range(own.result):
        positions = [place - own.lead + axis.before - t * axis.dilation for t in range(axis.taps)]
        reads = [p // axis.stride for p in positions if p % axis.stride == 0]
        if first <= place < last:
            assert all(0 <= read < axis.outputs for read in reads)


def test_places_are_of_32_bits_where_they_fit():
    assert problem((3,), (1 << 20,)).place_type == "int"
    assert problem((3,), ((1 << 31) + 5,)).place_type == "long long"
    assert problem((3, 3), (1 << 16, 1 << 15), transposed=True).place_type == "long long"
    assert problem((3,), (9,), padding=1 << 31, padding_mode="replicate").place_type == "long long"


class TestTuning:
    def test_what_is_measured_is_launched(self, monkeypatch):
        own = problem((7, 7), (512, 512))
        geometry = stc.ConvGeometry((512, 512), (7, 7))
        name = tuning.problem_class(geometry, np.dtype("float32"), False)
        shape = replace(default_tile(own).shape, threads=128, results=4)
        table = Tuning("A card", tuning.shipped().costs, {name: shape})
        monkeypatch.setattr(tuning, "shipped", lambda: table)
        method = CudaDirectMethod(geometry, np.ones((1, 1, 1, 7, 7), "float32"), NUMPY)
        (launch,) = method.launches(own, np.dtype("float32"))
        assert launch.threads == 128
        assert launch.constants["RESULTS"] == "4"
        # other classes have the planner's
        other = method.problem(1, True, np.dtype("float32"))
        (launch,) = method.launches(other, np.dtype("float32"))
        assert launch.constants["RESULTS"] == str(default_tile(other).shape.results)

    def test_a_measured_shape_that_does_not_fit_is_not_launched(self):
        own = problem((31, 31), (512, 512))
        huge = LaunchShape(8, 4, 4, 32, 512)
        assert tile(own, huge) is None
        geometry = stc.ConvGeometry((512, 512), (31, 31))
        method = CudaDirectMethod(geometry, np.ones((1, 1, 1, 31, 31), "float32"), NUMPY)
        with tuning.forced(huge):
            (launch,) = method.launches(own, np.dtype("float32"))
        assert launch.constants["COLUMNS"] == str(default_tile(own).shape.columns)

    def test_tables_are_read_as_they_are_written(self):
        table = Tuning("A card", {"launch": 1e-6}, {"a": LAUNCHES[0], "b": LAUNCHES[3]})
        assert Tuning.from_text(table.text()) == table
        own = tuning.shipped()
        assert set(own.costs) == {
            "launch", "byte", "stencil_multiply", "gemm_multiply", "integer_gemm", "passes_per_log",
        }  # fmt: skip
        assert (own.measured_on is None) == (not own.stencil)

    def test_classes_tell_problems_apart(self):
        found = {
            tuning.problem_class(stc.ConvGeometry(shape, kernel, stride=stride), np.dtype(dtype), transposed)
            for (kernel, shape), dtype, transposed, stride in itertools.product(
                [((3, 3), (64, 64)), ((7, 7), (64, 64)), ((31, 31), (64, 64)), ((3,), (64,))],
                ["float32", "float64", "complex64"],
                [False, True],
                [1, 2],
            )
        }
        assert len(found) == 4 * 3 * 2 * 2
