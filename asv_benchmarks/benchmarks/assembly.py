"""How long does the matrix take to make?"""

from __future__ import annotations

import sparsetconv as stc

from ._backend import BACKENDS, Work, size
from ._problems import Question, csr_bytes, kernel
from ._roofline import fill_seconds


class Assembly(Question):
    """The CSR of a convolution that keeps the size, and of a transposed one that doubles it to ``n``."""

    params = ([64, 256, 1024, 2048], [3, 7], ["conv", "conv_transpose"], BACKENDS)
    param_names = ("n", "taps", "matrix", "backend")

    def build(self, n, taps, matrix):
        weights = kernel(self.backend, taps, taps)
        if matrix == "conv":
            self.backend.require(1.2 * csr_bytes(n**2 * taps**2, n**2))
            return lambda: stc.conv_matrix(weights, (n, n), padding="same")
        self.backend.require(1.2 * csr_bytes(n**2 * taps**2 // 4, n**2))
        small = (n // 2, n // 2)
        return lambda: stc.conv_transpose_matrix(weights, small, stride=2, padding="same")

    def time_assembly(self, *_):
        self.run()


class SmallAssembly(Question):
    """Matrices so small that arguments, NumPy's calls and SciPy's constructor are what takes time."""

    params = (["16x16, 3x3", "20x20, 3x3", "100, 5"], ["conv", "conv_transpose"], BACKENDS)
    param_names = ("problem", "matrix", "backend")

    def build(self, problem, matrix):
        shape, taps = (tuple(map(int, numbers.split("x"))) for numbers in problem.split(", "))
        weights = kernel(self.backend, *taps)
        make = stc.conv_matrix if matrix == "conv" else stc.conv_transpose_matrix
        return lambda: make(weights, shape, padding="same")

    def time_assembly(self, *_):
        self.run()


class AssemblyCosts(Assembly):
    """The same per entry and byte, and over filling new arrays of these sizes with a constant."""

    params = ([256, 1024], [3, 7], ["conv", "conv_transpose"], BACKENDS)
    time_assembly = None

    def track_entry(self, *_):
        return self.seconds() * 1e9 / self.call().nnz

    track_entry.unit = "ns an entry"

    def track_byte(self, *_):
        return Work(size(self.call()), 0).ns_a_byte(self.seconds())

    track_byte.unit = "ns a byte"

    def track_over_fill(self, *_):
        matrix = self.call()
        arrays = [matrix.data, matrix.indices, matrix.indptr]
        return self.seconds() / fill_seconds(self.backend, arrays)

    track_over_fill.unit = "times the fill"
