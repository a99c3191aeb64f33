"""The stencil's body for 3 x 3 kernels, which keeps the nine weights in registers."""

import numpy as np
import pytest
from operator_cases import integers
from strategies import MODES

import sparsetconv as stc
from sparsetconv._methods.cpu.emit import VECTOR_BYTES, VECTORS
from sparsetconv._methods.cpu.stencil.plan import Plan

# a register block of float64 and more: most of a line is computed in whole blocks
WIDE = 3 * VECTORS * VECTOR_BYTES // 8


def plans(A):
    """Return the plans of an operator in both directions, after a product in each."""
    A.T @ (A @ np.ones(A.shape[1], A.dtype))
    return list(A._method._plans.values())


@pytest.mark.parametrize(
    ("kernel", "shape", "options", "nine"),
    [
        pytest.param((3, 3), (9, WIDE), {"padding": 1}, [True, True], id="plain"),
        pytest.param((3, 3), (9, WIDE), {"padding": 1, "dilation": (1, 4)}, [True, True], id="dilated lines"),
        pytest.param((3, 3), (19, WIDE), {"padding": 2, "dilation": 2}, [True, True], id="dilated"),
        pytest.param((1, 3, 3), (2, 9, WIDE), {}, [True, True], id="a plane at a time"),
        pytest.param((4, 1, 3, 3), (4, 9, WIDE), {"groups": 4}, [True, True], id="depthwise"),
        pytest.param((3, 3), (3, WIDE), {"padding": 1}, [False, False], id="three lines"),
        pytest.param((3, 5), (9, WIDE), {"padding": 1}, [False, False], id="five taps of a line"),
        pytest.param((5, 3), (9, WIDE), {"padding": 1}, [False, False], id="five lines"),
        pytest.param((3, 3, 3), (9, 9, WIDE), {"padding": 1}, [False, False], id="three axes"),
        pytest.param((9,), (WIDE,), {"padding": 1}, [False, False], id="nine taps"),
        pytest.param((1, 2, 3, 3), (2, 9, WIDE), {"padding": 1}, [False, False], id="two planes"),
        pytest.param((3, 3), (9, WIDE), {"padding": 1, "stride": (2, 1)}, [False, False], id="strided lines"),
        pytest.param((3, 3), (9, WIDE), {"padding": 1, "stride": (1, 2)}, [False, False], id="strided"),
    ],
)
def test_which_plans_have_it(kernel, shape, options, nine):
    A = stc.ConvOperator(integers(kernel, "float64"), shape, method="direct", **options)
    assert [plan.is_nine for plan in plans(A)] == nine


def test_complex_kernels_do_not_have_it():
    kernel = integers((3, 3), "complex128")
    A = stc.ConvOperator(kernel, (9, WIDE), method="direct")
    assert not any(plan.is_nine for plan in plans(A))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex64"])
@pytest.mark.parametrize("width", [WIDE - 1, WIDE, 2 * WIDE + 5])
@pytest.mark.parametrize("options", [{}, {"dilation": (1, 3)}, {"dilation": 2}])
def test_products_are_those_of_the_matrix(options, width, dtype, mode):
    """Real kernels on samples of every dtype; all numbers are small integers."""
    kernel = integers((3, 3), dtype).real.copy()
    A = stc.ConvOperator(kernel, (11, width), padding=(2, 1), padding_mode=mode, method="direct", **options)
    assert all(plan.is_nine for plan in plans(A))
    M, x, y = A.tosparse(), integers(A.shape[1], dtype, 1), integers(A.shape[0], dtype, 2)
    np.testing.assert_array_equal(A @ x, M @ x)
    np.testing.assert_array_equal(A.T @ y, M.T @ y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"dilation": (1, 3)}, {"dilation": 2}])
def test_bits_are_those_of_the_micro_kernel(options, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    kernel, x = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 3), (37, 2 * WIDE + 3)))

    def products():
        A = stc.ConvOperator(kernel, x.shape, padding=1, method="direct", **options)
        y = A.apply(x)
        return y, A.H.apply(y)

    nine = products()
    monkeypatch.setattr(Plan, "is_nine", False)
    for actual, expected in zip(nine, products(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_what_is_not_finite_goes_where_the_matrix_has_entries():
    A = stc.ConvOperator(integers((3, 3), "float64"), (12, WIDE), padding=1, method="direct")
    x = np.ones(A.input_shape)
    x[5, WIDE // 2] = np.nan
    wrong = ~np.isfinite(A.apply(x))
    assert wrong.sum() == 9
    assert wrong[4:7, WIDE // 2 - 1 : WIDE // 2 + 2].all()
