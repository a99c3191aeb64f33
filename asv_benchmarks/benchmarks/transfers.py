"""How long does it take to bring data to the GPU and back?

Measured apart: all other benchmarks start with their data where they compute.
"""

from __future__ import annotations

import sparsetconv as stc

from ._backend import Work, size
from ._problems import Question, matrix, random


class Transfer(Question):
    """On the GPU alone: a picture of ``n`` x ``n``, the matrix of a 7x7 kernel on it, or the operator."""

    params = (
        [256, 1024],
        ["picture to device", "picture to host", "matrix to device", "matrix to host", "operator to device"],
        ["cupy"],
    )
    param_names = ("n", "what", "backend")

    def build(self, n, what):
        xp, host = self.backend.xp, random(n, n)
        thing, _, way = what.partition(" ")
        if thing == "picture":
            device = xp.asarray(host)
            self.nbytes = host.nbytes
            return (lambda: xp.asarray(host)) if way == "to device" else device.get
        if thing == "operator":
            A = stc.ConvOperator(random(7, 7), (n, n), padding="same")
            self.nbytes = A.kernel.nbytes
            return lambda: stc.to_device(A, "cupy")
        on_device = matrix(n, 7, self.backend.name)
        self.nbytes = size(on_device)
        if way == "to host":
            return on_device.get
        on_host = on_device.get()
        return lambda: type(on_device)(on_host)

    def time_transfer(self, *_):
        self.run()

    def track_byte(self, *_):
        return Work(self.nbytes, 0).ns_a_byte(self.seconds())

    track_byte.unit = "ns a byte"
