"""How long does interpolation take, as an operator and as a matrix?"""

from __future__ import annotations

import sparsetconv as stc

from ._backend import BACKENDS, needs
from ._problems import DIRECTIONS, Question, product

MODES = ["nearest", "linear", "cubic"]
# twice as large; smaller by 2.5, where each output averages about seven samples per axis
OUTPUTS = [1024, 205]


def arguments(m, mode):
    return ((512, 512), (m, m)), {"mode": mode, "antialias": m < 512 and mode != "nearest"}


class Resize(Question):
    """A picture of 512x512 to ``m`` x ``m``, and back by the adjoint."""

    params = (OUTPUTS, MODES, ["operator", "matrix"], DIRECTIONS, BACKENDS)
    param_names = ("m", "mode", "way", "direction", "backend")

    def build(self, m, mode, way, direction):
        needs("ResizeOperator", "resize_matrix")
        make = stc.ResizeOperator if way == "operator" else stc.resize_matrix
        shapes, options = arguments(m, mode)
        return product(make(*shapes, **options, **self.backend.options), direction, self.backend)

    def time_product(self, *_):
        self.run()


class ResizeAssembly(Question):
    """The matrix of a resize."""

    params = (OUTPUTS, MODES, BACKENDS)
    param_names = ("m", "mode", "backend")

    def build(self, m, mode):
        needs("resize_matrix")
        shapes, options = arguments(m, mode)
        return lambda: stc.resize_matrix(*shapes, **options, **self.backend.options)

    def time_assembly(self, *_):
        self.run()
