"""How fast is the assembled matrix multiplied, by one vector (SpMV) and by several (SpMM)?"""

from __future__ import annotations

import functools

import numpy as np
import scipy.sparse as sp

import sparsetconv as stc

from ._backend import BACKENDS, Skip
from ._problems import Question, UnitCosts, csr_bytes, kernel, matrix, product, product_work, random

COLUMNS = [1, 8, 64]


@functools.cache
def given_matrix(name, dtype):
    """Return the CSR of a kernel on a picture, or one with entries in a million random places."""
    if name == "random":
        places = np.random.default_rng(0).integers(0, 100_000, (2, 1_000_000))
        return sp.coo_array((random(1_000_000), places), shape=(100_000, 100_000)).tocsr().astype(dtype)
    n, taps = map(int, name.split(" k"))
    return matrix(n, taps, "numpy").astype(dtype)


class SparseProduct(Question):
    """``A @ X`` and ``A.T @ Y`` with the CSR of a convolution."""

    params = ([64, 256, 1024], [3, 7], COLUMNS, ["forward", "transposed"], BACKENDS)
    param_names = ("n", "taps", "columns", "direction", "backend")

    def build(self, n, taps, columns, direction):
        # operand, result, and a copy of one of them
        self.backend.require(3 * 8 * n**2 * columns)
        A = matrix(n, taps, self.backend.name)
        self.work = product_work(A, columns)
        return product(A, direction, self.backend, columns)

    def time_product(self, *_):
        self.run()


class SparseProductCosts(UnitCosts, SparseProduct):
    """The same by bytes and operations, and beside the roofline measured in the same process."""

    params = ([256, 1024], [3, 7], COLUMNS, ["forward", "transposed"], BACKENDS)
    time_product = None


class TransposedProduct(Question):
    """``A.T @ y``: the transpose that SciPy makes of the CSR, and the transpose's own CSR, assembled."""

    params = ([256, 1024], [3, 7], ["A.T", "own CSR"], BACKENDS)
    param_names = ("n", "taps", "way", "backend")

    def build(self, n, taps, way):
        if way == "A.T":
            return product(matrix(n, taps, self.backend.name), "transposed", self.backend)
        self.backend.require(1.2 * csr_bytes(n**2 * taps**2, n**2))
        T = stc.conv_transpose_matrix(kernel(self.backend, taps, taps), (n, n), padding="same")
        return product(T, "forward", self.backend)

    def time_product(self, *_):
        self.run()


class GivenMatrix(Question):
    """A matrix that comes from elsewhere, by SciPy and by `SparseOperator`."""

    params = (["256 k3", "256 k7", "random"], [1, 64], ["float32", "float64"], ["forward", "transposed"],
              ["SciPy", "SparseOperator"], ["numpy"])  # fmt: skip
    param_names = ("matrix", "columns", "dtype", "direction", "by", "backend")

    def build(self, name, columns, dtype, direction, by):
        self.backend.require(1 << 30)
        if not hasattr(stc, by) and by != "SciPy":
            msg = f"this version has no {by}"
            raise Skip(msg)
        M = given_matrix(name, dtype)
        rows = M.shape[1 if direction == "forward" else 0]
        X = random(rows, columns).astype(dtype)
        A = M if by == "SciPy" else stc.SparseOperator(M)
        B = A if direction == "forward" else A.T
        x = X[:, 0].copy() if columns == 1 else X
        return lambda: B @ x

    def time_product(self, *_):
        self.run()
