"""How fast does an operator multiply, by each method and in both directions?"""

from __future__ import annotations

import inspect

from ._backend import BACKENDS, Skip
from ._problems import DIRECTIONS, Question, UnitCosts, operator, product, product_work, random

METHODS = ["auto", "sparse", "direct", "gemm", "fft"]
LAYERS = {
    # name: (input shape, kernel shape, items of a batch)
    "3 to 16, 256x256": ((3, 256, 256), (16, 3, 3, 3), 1),
    "64 to 64, 56x56": ((64, 56, 56), (64, 64, 3, 3), 1),
    "256 to 64, 1x1, 28x28": ((256, 28, 28), (64, 256, 1, 1), 1),
    "32 depthwise, 112x112": ((32, 112, 112), (32, 1, 3, 3), 1),
    "16 to 32, 32x32, batch of 16": ((16, 32, 32), (32, 16, 3, 3), 16),
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
        *shapes, items = LAYERS[layer]
        return product(operator(*shapes, method, self.backend.name), direction, self.backend, items)

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


class LargePictures(Question):
    """Pictures that no cache holds, by the method that ``auto`` takes."""

    params = ([2048, 4096], [3], DIRECTIONS, BACKENDS)
    param_names = ("n", "taps", "direction", "backend")

    def build(self, n, taps, direction):
        return product(operator((n, n), (taps, taps), "auto", self.backend.name), direction, self.backend)

    def time_product(self, *_):
        self.run()


class Calls(Question):
    """What does a call cost? A product that is so small that it takes no time itself."""

    params = (["A @ x", "A.H @ x", "apply"], ["sparse", "direct"], BACKENDS)
    param_names = ("call", "method", "backend")
    number = 100

    def build(self, call, method):
        A = operator((8, 8), (3, 3), method, self.backend.name)
        if call == "apply":
            x = self.backend.array(random(8, 8))
            return lambda: A.apply(x)
        x = self.backend.array(random(64))
        return (lambda: A.H @ x) if call == "A.H @ x" else (lambda: A @ x)

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
        if result == "given" and "out" not in inspect.signature(B.apply).parameters:
            msg = "this version has no apply(x, out=)"
            raise Skip(msg)
        out = self.backend.array(random(*B.output_shape)) if result == "given" else None
        return lambda: B.apply(x, out=out)

    def time_product(self, *_):
        self.run()


class OperatorCosts(UnitCosts, PictureSizes):
    """The same per byte and operation; the roofline is that of the stencil, which moves only pictures."""

    params = ([256, 1024], [3, 7], [1], DIRECTIONS, BACKENDS)
    time_product = None
