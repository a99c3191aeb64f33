"""How long does it take to learn a kernel?"""

from __future__ import annotations

import sparsetconv as stc

from ._backend import BACKENDS, needs
from ._problems import Question, random


class FitKernel(Question):
    """The kernel that enlarges four pictures of 128x128 by two, in least squares."""

    params = ([4, 8], ["cholesky", "lsmr"], BACKENDS)
    param_names = ("taps", "method", "backend")

    def build(self, taps, method):
        needs("fit_kernel")
        small = list(self.backend.array(random(4, 128, 128)))
        large = list(self.backend.array(random(4, 256, 256)))

        options = {"transposed": True, "stride": 2, "padding": "same", "method": method}
        return lambda: stc.fit_kernel(small, large, (taps, taps), **options)

    def time_fit(self, *_):
        self.run()

    def peakmem_fit(self, *_):
        self.run()
