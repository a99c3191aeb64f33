"""How long does an inverse problem take to be solved?"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from ._backend import BACKENDS
from ._problems import Question, operator, random

TOLERANCE = 1e-6
# some fifty iterations
DAMPING = 0.1


class Deblur(Question):
    """LSMR to a tolerance of 1e-6, a kernel of 9x9: the whole solution, and the iterations it took."""

    params = ([128, 512], ["auto", "sparse"], BACKENDS)
    param_names = ("n", "method", "backend")

    def build(self, n, method):
        lsmr = self.backend.module("sparse.linalg").lsmr
        A = operator((n, n), (9, 9), method, self.backend.name)
        picture = gaussian_filter(random(n, n), 2)
        b = A @ self.backend.array(np.ascontiguousarray(picture).ravel())
        # relative to the operator's norm, which is near that of the kernel's spectrum
        damping = DAMPING * float(abs(np.fft.fft2(random(9, 9), (64, 64))).max())
        return lambda: lsmr(A, b, damp=damping, atol=TOLERANCE, btol=TOLERANCE, maxiter=500)

    def time_lsmr(self, *_):
        self.run()

    def track_iterations(self, *_):
        return self.call()[2]

    track_iterations.unit = "iterations"
