"""The stencil's ways to fill lanes and rows: places of a line in few or many rows, and channels in lanes."""

import numpy as np
import pytest
from strategies import MODES, distinct_kernel

import sparsetconv as stc
from sparsetconv._methods.cpu import direct
from sparsetconv._methods.cpu.emit import VECTOR_BYTES
from sparsetconv._methods.cpu.stencil import lanes
from sparsetconv._methods.cpu.stencil.lanes import PLACES
from sparsetconv._methods.cpu.stencil.partition import Layout
from sparsetconv._methods.cpu.stencil.plan import plan_of
from sparsetconv._methods.work import SMALL

# the ways that are chosen where they pay; registers for tall blocks are not in all processors
WAYS = ["channel_lanes", *(["tall"] if lanes.TALL else [])]


def go(way, monkeypatch):
    """Fill lanes and rows in one way in all products."""
    monkeypatch.setattr(direct, "SMALL", 0)
    monkeypatch.setattr(lanes, "chosen", lambda *given: given[-1]._replace(**{way: True}))


@pytest.fixture(params=WAYS)
def every_way(request, monkeypatch):
    go(request.param, monkeypatch)


def check(A, dtype, batch=()):
    """Compare both directions with the matrix; all numbers are small integers."""
    (n, m), M = A.shape[::-1], A.tosparse()
    x, y = (np.arange(size * (batch[0] if batch else 1)) * 7 % 23 - 11 for size in (n, m))
    x, y = (v.astype(dtype).reshape(*batch, -1) for v in (x, y))
    if np.dtype(dtype).kind == "c":
        x, y = x + 1j * x[..., ::-1], y - 2j * y[..., ::-1]
    inputs, outputs = A.input_shape, A.output_shape
    np.testing.assert_array_equal(A.apply(x.reshape(*batch, *inputs)).reshape(*batch, -1), (M @ x.T).T)
    adjoint = A.H.apply(y.reshape(*batch, *outputs)).reshape(*batch, -1)
    np.testing.assert_array_equal(adjoint, (M.conj().T @ y.T).T)


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize("width", [*range(1, PLACES + 2), 2 * PLACES - 1, 2 * PLACES, 2 * PLACES + 1])
def test_every_width_of_a_line(width):
    kernel = distinct_kernel((3, 2, 3, 3))
    check(stc.ConvOperator(kernel, (2, 4, width), padding=1, method="direct"), np.int64)


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize(
    "channels", [1, 2, VECTOR_BYTES // 8 * 2 - 1, VECTOR_BYTES // 8 * 2, VECTOR_BYTES // 4 + 1]
)
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64, np.complex64, np.complex128])
def test_every_number_of_channels(channels, dtype):
    A = stc.ConvOperator(distinct_kernel((channels, 2, 2, 3)), (2, 5, 9), padding=1, method="direct")
    check(A, dtype)
    check(A, dtype, (3,))


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((2, 19), (5, 2, 4), {"padding": 2}),
        ((2, 9, 11), (5, 2, 3, 4), {"padding": (1, 2), "stride": 2}),
        ((2, 9, 11), (5, 2, 3, 4), {"padding": (2, 3), "stride": (3, 2), "dilation": (1, 2)}),
        ((4, 5, 6), (6, 2, 2, 3), {"padding": 1, "groups": 2}),
        ((2, 4, 5, 6), (3, 2, 3, 2, 3), {"padding": 1, "stride": (1, 2, 2)}),
    ],
)
def test_geometries(shape, kernel, options, mode):
    real = distinct_kernel(kernel)
    check(stc.ConvOperator(real, shape, padding_mode=mode, method="direct", **options), np.float64)
    complex_kernel = real - 1j * real[::-1]
    check(
        stc.ConvOperator(complex_kernel, shape, padding_mode=mode, method="direct", **options), np.complex128
    )


@pytest.mark.parametrize("way", WAYS)
def test_bits_do_not_depend_on_the_way(way, monkeypatch):
    """All sum over the taps in one order, so a choice between them changes no bit."""
    rng = np.random.default_rng(0)
    kernel, x = rng.standard_normal((8, 3, 3, 3)), rng.standard_normal((3, 20, 21))
    places = stc.ConvOperator(kernel, x.shape, padding=1, method="direct").apply(x)
    go(way, monkeypatch)
    others = stc.ConvOperator(kernel, x.shape, padding=1, method="direct").apply(x)
    np.testing.assert_array_equal(others, places)


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [
        pytest.param(1, VECTOR_BYTES // 4 - 2, False, id="one channel"),
        pytest.param(3, VECTOR_BYTES // 4 - 2, False, id="less channels than lanes"),
        pytest.param(256, VECTOR_BYTES // 4 + 1, True, id="a line just longer than a vector"),
        pytest.param(16 * VECTOR_BYTES, 1, True, id="one place"),
        pytest.param(2 * VECTOR_BYTES // 4 + 1, VECTOR_BYTES, False, id="a channel more than the lanes"),
    ],
)
def test_lanes_are_filled_by_what_fills_them_better(channels, width, expected):
    geometry = stc.ConvGeometry((64, 8, width), (channels, 64, 3, 3), padding=1)
    plan = plan_of(geometry.axes, False, Layout(1, 64, channels, 1, 1, 4), choose_lanes=True)
    assert plan.layout.channel_lanes is expected


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, False), (4, False), (8, True), (9, False), (16, True)]
)
def test_blocks_are_tall_where_that_saves_time(channels, expected):
    geometry = stc.ConvGeometry((3, 40, 8 * VECTOR_BYTES), (channels, 3, 3, 3), padding=1)
    plan = plan_of(geometry.axes, False, Layout(1, 3, channels, 1, 1, 4), choose_lanes=True)
    assert plan.layout.tall is (expected and lanes.TALL)


def test_small_products_use_the_loops_that_others_have_loaded():
    """A plan for channels needs loops of its own, and nothing is compiled for a small product."""
    A = stc.ConvOperator(np.ones((64, 1, 1, 3)), (1, 4, 7), padding=(0, 1), method="direct")
    assert A.nnz <= SMALL
    A.matvec(np.ones(28))
    assert not any(plan.layout.channel_lanes for plan in A._method._plans.values())
