"""After how many products has the matrix paid for its assembly?"""

from __future__ import annotations

import math

import sparsetconv as stc

from ._backend import BACKENDS
from ._problems import Question, kernel, matrix, operator, product, random

# a share of a product's time that is within the spread from one process to the next
TIE = 0.1


def break_even(assembly: float, by_matrix: float, without: float) -> float:
    """Return how many products make the matrix cheaper, or NaN if it saves no more than ``TIE``."""
    saved = without - by_matrix
    return math.ceil(assembly / saved) if saved > TIE * without else math.nan


class AssemblyAndProducts(Question):
    """Assembling the matrix and k products with it, against making the operator and k products."""

    params = ([64, 256], [3, 7, 15], [1, 10, 100], ["matrix", "operator"], BACKENDS)
    param_names = ("n", "taps", "products", "way", "backend")

    def build(self, n, taps, products, way):
        weights = kernel(self.backend, taps, taps)
        x = self.backend.array(random(n**2))
        make = stc.conv_matrix if way == "matrix" else stc.ConvOperator

        def assemble_and_multiply():
            A = make(weights, (n, n), padding="same")
            for _ in range(products):
                y = A @ x
            return y

        return assemble_and_multiply

    def time_all(self, *_):
        self.run()


class BreakEven(Question):
    """The number of products, against ways that need no matrix.

    Where the matrix saves less than a tenth of a product's time there is no such number: n/a.
    """

    params = ([64, 256], [3, 7, 15], ["direct", "fft", "ndimage.correlate", "signal.fftconvolve"], BACKENDS)
    param_names = ("n", "taps", "against", "backend")

    def build(self, n, taps, against):
        weights = kernel(self.backend, taps, taps)
        A = matrix(n, taps, self.backend.name)
        self.by_matrix = product(A, "forward", self.backend)
        self.assemble = lambda: stc.conv_matrix(weights, (n, n), padding="same")
        x = self.backend.array(random(n, n))
        if against == "ndimage.correlate":
            correlate = self.backend.module("ndimage").correlate
            return lambda: correlate(x, weights, mode="constant")
        if against == "signal.fftconvolve":
            fftconvolve = self.backend.module("signal").fftconvolve
            return lambda: fftconvolve(x, weights[::-1, ::-1], mode="same")
        return product(operator((n, n), (taps, taps), against, self.backend.name), "forward", self.backend)

    def times(self):
        """Return the seconds of the assembly, of a product with the matrix, and of one without."""
        return [self.backend.seconds(call) for call in (self.assemble, self.by_matrix, self.call)]

    def track_products(self, *_):
        return break_even(*self.times())

    track_products.unit = "products"

    def track_over_without(self, *_):
        """Time of a product with the matrix over that without it: if at least 1, the matrix never pays."""
        _, by_matrix, without = self.times()
        return by_matrix / without

    track_over_without.unit = "times a product without"
