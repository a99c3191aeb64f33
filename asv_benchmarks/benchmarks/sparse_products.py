"""How fast is the assembled matrix multiplied, by one vector (SpMV) and by several (SpMM)?"""

from __future__ import annotations

import sparsetconv as stc

from ._backend import BACKENDS
from ._problems import Question, UnitCosts, csr_bytes, kernel, matrix, product, product_work

COLUMNS = [1, 8, 64]


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
