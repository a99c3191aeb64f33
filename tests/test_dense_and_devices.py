"""`.toarray()` and `.to()` of every kind of operator."""

import numpy as np
import pytest
from operator_cases import GEOMETRIES, integers
from reference import naive_matrix
from scipy.sparse.linalg import aslinearoperator

import sparsetconv as stc
from sparsetconv.operators import AdjointOperator, ChannelsLastOperator, GramOperator, TransposedOperator

KERNEL_SHAPE, INPUT_SHAPE, OPTIONS = GEOMETRIES["groups"]
NAMES = ("stride", "padding", "dilation", "groups", "padding_mode", "flip")


def conv(dtype="complex128"):
    return stc.ConvOperator(integers(KERNEL_SHAPE, dtype), INPUT_SHAPE, padding_mode="circular", **OPTIONS)


def naive(operator):
    g = operator.geometry
    return naive_matrix(operator.kernel, g.input_shape, **{name: getattr(g, name) for name in NAMES})


def channels_last(matrix, input_shape, output_shape):
    """Reorder rows and columns entry by entry."""

    def order(shape):
        last = (*shape[1:], shape[0])
        return [np.ravel_multi_index((place[-1], *place[:-1]), shape) for place in np.ndindex(*last)]

    return matrix[np.ix_(order(output_shape), order(input_shape))]


# name: (operator, its matrix by loops and dense algebra)
CASES = {
    "forward": lambda A, M: (A, M),
    "transposed": lambda A, M: (stc.ConvTransposeOperator.from_geometry(A.kernel, A.geometry), M.T),
    "adjoint": lambda A, M: (A.H, M.conj().T),
    "plain transpose": lambda A, M: (A.T, M.T),
    "gram": lambda A, M: (A.gram(), M.conj().T @ M),
    "adjoint of gram": lambda A, M: (A.gram().H, M.conj().T @ M),
    "channels last": lambda A, M: (ChannelsLastOperator(A), channels_last(M, A.input_shape, A.output_shape)),
    "kernel": lambda A, _: by_kernel(A),
    "adjoint of kernel": lambda A, _: adjoint(*by_kernel(A)),
    "transpose of kernel": lambda A, _: transpose(*by_kernel(A)),
    "resize": lambda *_: resize(),
    "adjoint of resize": lambda *_: adjoint(*resize()),
}


def adjoint(operator, matrix):
    return operator.H, matrix.conj().T


def transpose(operator, matrix):
    return operator.T, matrix.T


def by_kernel(A):
    """Return the operator by kernels, and the columns that kernels with a single 1 give."""
    x = integers(A.input_shape, "complex128", 1)
    units = np.eye(A.kernel.size).reshape(-1, *A.kernel.shape)
    columns = [naive(stc.ConvOperator.from_geometry(unit, A.geometry)) @ x.ravel() for unit in units]
    return stc.KernelOperator.from_geometry(x, A.geometry), np.transpose(columns)


def resize():
    """Return a resize, and the product of its axes' matrices, each by its columns."""
    R = stc.ResizeOperator((3, 4), (5, 2), mode="area")
    return R, np.kron(*(stc.ResizeOperator(n, m, mode="area") @ np.eye(n) for n, m in ((3, 5), (4, 2))))


@pytest.mark.parametrize("name", CASES)
def test_dense_arrays(name):
    A = conv()
    operator, expected = CASES[name](A, naive(A))
    dense = operator.toarray()
    assert type(dense) is np.ndarray
    assert (dense.shape, dense.dtype) == (operator.shape, operator.dtype)
    np.testing.assert_allclose(dense, expected, atol=1e-14 if "resize" in name else 0)


LARGE = stc.ConvOperator(np.ones((1, 1, 3, 3)), (1, 20_000, 20_000))
TOO_LARGE = {
    "forward": LARGE,
    "transposed": LARGE.T,
    "gram": LARGE.gram(),
    "channels last": ChannelsLastOperator(LARGE),
    "kernel": stc.KernelOperator(np.ones((1100, 1100)), (1050, 1050), padding=500),
    "resize": stc.ResizeOperator((3000, 3000), scale=2),
    "adjoint of resize": stc.ResizeOperator((3000, 3000), scale=2).H,
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_memory_is_asked_for_before_anything_is_made(name, monkeypatch):
    operator = TOO_LARGE[name]

    def assembled(*_, **__):
        pytest.fail("something was assembled")

    monkeypatch.setattr(type(operator), "tosparse", assembled)
    rows, columns = operator.shape
    with pytest.raises(
        MemoryError, match=rf"the dense array needs {rows * columns * 8} bytes .*\.tosparse\(\)"
    ):
        operator.toarray()


@pytest.mark.parametrize("name", CASES)
def test_operators_that_are_there_stay_themselves(name):
    operator, _ = CASES[name](conv(), naive(conv()))
    assert operator.to("numpy") is operator
    assert stc.to_device(operator, "numpy") is operator


@pytest.mark.parametrize(("device", "error"), [("cuda", ValueError), (3, TypeError)])
def test_devices_that_are_none(device, error):
    for call in (conv().to, lambda device: stc.to_device(conv(), device)):
        with pytest.raises(error, match="device must be one of 'numpy', 'cupy'; got"):
            call(device)


@pytest.mark.parametrize("name", CASES)
def test_formats_that_are_none(name):
    operator, _ = CASES[name](conv(), naive(conv()))
    for format, error in (("nope", ValueError), ("lil", ValueError), (None, TypeError)):
        with pytest.raises(error, match="format must be "):
            operator.tosparse(format)


@pytest.mark.parametrize("derived", [AdjointOperator, GramOperator, TransposedOperator])
def test_nothing_is_derived_of_what_is_no_operator(derived):
    for value in (np.ones((2, 2)), aslinearoperator(np.ones((2, 2))), 3):
        name = type(value).__name__
        with pytest.raises(TypeError, match=f"operator must be an operator of sparsetconv, got {name}"):
            derived(value)
