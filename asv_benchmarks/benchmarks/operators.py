"""How fast does an operator multiply, by each method and in both directions?"""

from __future__ import annotations

from ._backend import BACKENDS
from ._problems import DIRECTIONS, Question, UnitCosts, operator, product, product_work, random

METHODS = ["auto", "sparse", "direct", "gemm", "fft"]
LAYERS = {
    # name: (input shape, kernel shape)
    "3 to 16, 256x256": ((3, 256, 256), (16, 3, 3, 3)),
    "64 to 64, 56x56": ((64, 56, 56), (64, 64, 3, 3)),
}


class KernelSizes(Question):
    """Where do the methods overtake each other? One picture, 512x512, and growing kernels."""

    params = ([3, 5, 7, 11, 15, 25], METHODS, DIRECTIONS, BACKENDS)
    param_names = ("taps", "method", "direction", "backend")

    def build(self, taps, method, direction):
        return product(operator((512, 512), (taps, taps), method, self.backend.name), direction, self.backend)

    def time_product(self, *_):
        self.run()


class Channels(Question):
    """A convolution layer."""

    params = (list(LAYERS), METHODS, DIRECTIONS, BACKENDS)
    param_names = ("layer", "method", "direction", "backend")

    def build(self, layer, method, direction):
        return product(operator(*LAYERS[layer], method, self.backend.name), direction, self.backend)

    def time_product(self, *_):
        self.run()


class PictureSizes(Question):
    """The method that ``auto`` takes, from small pictures to large ones."""

    params = ([64, 256, 1024], [3, 7], [1, 8], DIRECTIONS, BACKENDS)
    param_names = ("n", "taps", "columns", "direction", "backend")

    def build(self, n, taps, columns, direction):
        A = operator((n, n), (taps, taps), "auto", self.backend.name)
        self.work = product_work(A, columns)
        return product(A, direction, self.backend, columns)

    def time_product(self, *_):
        self.run()


class GivenArrays(Question):
    """What does new memory cost? A large picture, with a new array for each result and with one for all."""

    params = ([3, 7], ["new", "given"], DIRECTIONS, BACKENDS)
    param_names = ("taps", "result", "direction", "backend")

    def build(self, taps, result, direction):
        A = operator((4096, 4096), (taps, taps), "direct", self.backend.name)
        B = A if direction == "forward" else A.T
        x = self.backend.array(random(*B.input_shape))
        out = self.backend.array(random(*B.output_shape)) if result == "given" else None
        return lambda: B.apply(x, out=out)

    def time_product(self, *_):
        self.run()


class OperatorCosts(UnitCosts, PictureSizes):
    """The same per byte and operation; the roofline is that of the stencil, which moves only pictures."""

    params = ([256, 1024], [3, 7], [1], DIRECTIONS, BACKENDS)
    time_product = None
