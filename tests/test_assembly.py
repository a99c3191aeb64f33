import sys; sys.path.insert(0,"tests")
import numpy as np
from hypothesis import given, settings, HealthCheck
from reference import naive_matrix, naive_pattern
from strategies import geometries, distinct_kernel
from sparsetconv.matrices import *
from sparsetconv.geometry import ConvGeometry
@settings(max_examples=2500, deadline=None)
@given(geometries())
def test_exact(c):
    ks, ins, o = c
    k = distinct_kernel(ks)
    ref = naive_matrix(k, ins, **o); pat = naive_pattern(ks, ins, **o)
    g = ConvGeometry(ins, ks, **o)
    A = conv_matrix(k, ins, **o)
    assert A.shape==ref.shape==g.matrix_shape
    assert A.nnz==pat.sum()==g.nnz
    np.testing.assert_array_equal(A.toarray(), ref)
    assert (np.diff(A.indptr)==pat.sum(1)).all()
    assert g.nbytes(k.dtype)==A.data.nbytes+A.indices.nbytes+A.indptr.nbytes
    T = geometry_matrix(g, k, True)
    np.testing.assert_array_equal(T.toarray(), ref.T)
    for M in (A,T):
        for i in range(M.shape[0]):
            r=M.indices[M.indptr[i]:M.indptr[i+1]]
            assert (np.diff(r)>0).all()
