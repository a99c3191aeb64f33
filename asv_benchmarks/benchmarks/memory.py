"""How much memory does a product need, in each way?"""

from __future__ import annotations

from ._backend import BACKENDS
from ._problems import Question, matrix, operator, product

# "none" is what the imports and the picture take, for comparison
WAYS = ["none", "matrix", "direct", "gemm", "fft"]


class ProductMemory(Question):
    """A picture of ``n`` x ``n``, a kernel of 7x7: the process' peak."""

    params = ([512, 1024], WAYS, BACKENDS)
    param_names = ("n", "way", "backend")
    warm_up = False

    def build(self, n, way):
        name = self.backend.name

        def everything():
            if way == "none":
                return self.backend.xp.ones(n**2)
            A = matrix(n, 7, name) if way == "matrix" else operator((n, n), (7, 7), way, name)
            return product(A, "forward", self.backend)()

        if way == "matrix":
            # skip in setup, where asv allows it
            matrix(n, 7, name)
        return everything

    def peakmem_product(self, *_):
        self.run()


class DeviceMemory(ProductMemory):
    """The same on the GPU: the memory that CuPy's pool takes from the device."""

    params = ([512, 1024], WAYS, ["cupy"])
    peakmem_product = None

    def track_pool(self, *_):
        self.call()
        return self.backend.xp.get_default_memory_pool().total_bytes()

    track_pool.unit = "bytes"
