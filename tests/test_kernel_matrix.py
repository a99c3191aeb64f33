"""The matrix of `KernelOperator`, against naive loops and in the memory that it takes."""

import tracemalloc

import numpy as np
import pytest
from both_ways import WAYS, written_by
from hypothesis import given
from hypothesis import strategies as st
from reference import naive_matrix
from strategies import examples, geometries

import sparsetconv as stc
from sparsetconv._arrays import memory


@examples(300)
@given(
    case=geometries(max_ndim=3),
    transposed=st.booleans(),
    way=st.sampled_from(WAYS),
    dtype=st.sampled_from(["uint8", "float32", "complex128"]),
)
def test_matrix_against_naive_loops(case, transposed, way, dtype):
    kernel_shape, input_shape, options = case
    geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
    shape = geometry.output_shape if transposed else input_shape
    x = (np.arange(1, np.prod(shape) + 1) * 7 % 23 - 9).reshape(shape).astype(dtype)
    extra = {"output_shape": input_shape} if transposed else {}
    K = stc.KernelOperator(x, kernel_shape, transposed=transposed, **options, **extra)
    with pytest.MonkeyPatch.context() as patch:
        written_by(patch, way)
        matrix = K.tosparse()
    columns, entries = [], []
    for unit in np.eye(np.prod(kernel_shape), dtype=int).reshape(-1, *kernel_shape):
        pattern = naive_matrix(unit, input_shape, **options)
        pattern = pattern.T if transposed else pattern
        columns.append(pattern @ x.ravel())
        entries.append((pattern != 0).any(1))
    # folds are summed in the matrix' dtype
    np.testing.assert_array_equal(matrix.toarray(), np.stack(columns, 1).astype(dtype))
    assert matrix.dtype == dtype
    stored = matrix.copy()
    stored.data = np.ones(stored.nnz)
    np.testing.assert_array_equal(stored.toarray(), np.stack(entries, 1))
    assert stored.nnz == K.nnz
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32


LARGE = {
    # (fixed, kernel shape, options)
    "picture": ((400, 300), (5, 4), {"padding": "same"}),
    "line": ((120_000,), 20, {"padding": ((30, 7),), "padding_mode": "circular"}),
    "channels": ((6, 60, 50), (8, 6, 3, 3), {"padding": 1, "padding_mode": "reflect"}),
    "transposed": ((200, 100), (4, 5), {"stride": (2, 3), "padding": 1, "transposed": True}),
    "folded": ((300, 200), (5, 5), {"padding": 2, "padding_mode": "symmetric", "transposed": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_memory_of_the_matrix_alone(name):
    shape, kernel_shape, options = LARGE[name]
    K = stc.KernelOperator(np.ones(shape), kernel_shape, **options)
    tracemalloc.start()
    try:
        matrix = K.tosparse()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    nbytes = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    assert peak < 1.3 * nbytes + 8 * K.x.nbytes
    w = np.arange(float(K.shape[1])) % 5
    np.testing.assert_array_equal(matrix @ w, K @ w)


@pytest.mark.parametrize("transposed", [False, True])
def test_memory_is_asked_for_first(transposed, monkeypatch):
    """Before anything large is taken, with the bytes that the matrix has."""
    K = stc.KernelOperator(np.ones((2000, 2000)), (11, 11), transposed=transposed)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 28)
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match=r"^the matrix needs \d+ bytes .* products with the operator"):
            K.tosparse()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 24


def test_one_sample_with_a_long_pad():
    """All of a replicated edge is one row, of few entries."""
    K = stc.KernelOperator(
        np.ones(30_003), 3, padding=((30_000, 0),), padding_mode="replicate", transposed=True
    )
    matrix = K.tosparse()
    w = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(matrix @ w, K @ w)
    assert matrix.nnz == K.nnz
