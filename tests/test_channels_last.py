"""`ChannelsLastOperator` beside its laws, which are in `operator_laws`."""

import numpy as np
import pytest
from operator_cases import make

import sparsetconv as stc
from sparsetconv.operators._channels_last import ChannelsLastOperator


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


def test_without_channels():
    with pytest.raises(ValueError, match=r"operator must be a convolution with channels, got one on \(7,\)"):
        ChannelsLastOperator(make("line", "float64", "zeros", "sparse"))


def test_what_is_no_convolution():
    first = make("groups", "float32", "zeros", "sparse")
    kernels = stc.KernelOperator.from_geometry(np.ones(first.input_shape), first.geometry)
    for operator in (None, first.gram(), kernels, ChannelsLastOperator(first)):
        name = type(operator).__name__
        with pytest.raises(
            TypeError, match=f"operator must be a ConvOperator or ConvTransposeOperator, got {name}"
        ):
            ChannelsLastOperator(operator)
