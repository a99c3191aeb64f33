"""`ChannelsLastOperator`: the laws of an operator, and the permutation that it is."""

import pickle

import numpy as np
import pytest
from operator_cases import FLOATS, GEOMETRIES, dense, integers, make

import sparsetconv as stc
from sparsetconv.channels_last import ChannelsLastOperator

CHANNELS = [name for name, (kernel, shape, _) in GEOMETRIES.items() if len(kernel) > len(shape)]

each_operator = pytest.mark.parametrize("name", CHANNELS)


@each_operator
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_laws(name, dtype, transposed):
    first = make(name, dtype, "reflect", "sparse", transposed)
    A = ChannelsLastOperator(first)
    stc.testing.assert_adjoint(A, exact=True)
    matrix = dense(A)
    # what is moved is the arrays' axis, checked without the permutations
    x = integers((3, *A.input_shape), dtype)
    expected = np.moveaxis(first.apply(np.moveaxis(x, -1, 1)), 1, -1)
    np.testing.assert_array_equal(A.apply(x), expected)
    np.testing.assert_array_equal(matrix @ x.reshape(3, -1).T, expected.reshape(3, -1).T)
    np.testing.assert_array_equal(A @ x.reshape(3, -1).T, expected.reshape(3, -1).T)
    np.testing.assert_array_equal(dense(A.H), matrix.conj().T)
    np.testing.assert_array_equal(dense(A.T), matrix.T)
    np.testing.assert_array_equal(dense(A.gram()), matrix.conj().T @ matrix)
    assert isinstance(A.H, ChannelsLastOperator)
    assert isinstance(A.T, ChannelsLastOperator)
    assert A.T.input_shape == A.output_shape


def test_matrix_is_canonical():
    A = ChannelsLastOperator(make("groups", "float32", "zeros", "sparse"))
    matrix = A.tosparse()
    assert matrix.has_canonical_format
    assert matrix.nnz == A.nnz
    assert A.tosparse("csc").format == "csc"


def test_what_is_passed_on():
    first = make("groups", "float32", "circular", "gemm")
    A = ChannelsLastOperator(first)
    assert A.geometry is first.geometry
    assert A.kernel is first.kernel
    assert A.method == "gemm"
    assert A.explain() == first.explain()


def test_pickle():
    A = ChannelsLastOperator(make("channels", "float64", "zeros", "direct"))
    again = pickle.loads(pickle.dumps(A))
    assert again.method == "direct"
    np.testing.assert_array_equal(dense(again), dense(A))


def test_without_channels():
    with pytest.raises(ValueError, match=r"operator must be a convolution with channels, got one on \(7,\)"):
        ChannelsLastOperator(make("line", "float64", "zeros", "sparse"))


def test_what_is_no_convolution():
    with pytest.raises(
        TypeError, match="operator must be a ConvOperator or ConvTransposeOperator, got NoneType"
    ):
        ChannelsLastOperator(None)
