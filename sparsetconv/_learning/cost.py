"""Estimated seconds of both ways to fit a kernel: normal equations by Cholesky, and LSMR.

Floor 3, for `fit_kernel`. Cholesky takes what its multiplications take, whatever the arrays hold. LSMR takes
a product in either direction for each iteration, and the more iterations the more unlike the frequencies of
the inputs are in power: the products of what two taps read are the inputs' autocorrelation, whose eigenvalues
lie between the extremes of the spectrum.
"""

from __future__ import annotations

from math import ceil, log, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._methods.cost import estimate
from sparsetconv._methods.cpu.rates import CPU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry

# products that an iteration takes: one forward, the gradient as long as two, and the solver's own vectors
PRODUCTS = 4
# iterations for each unknown, at most: in exact arithmetic one would do
ROUND_OFF = 10


def cholesky_seconds(geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any], pairs: int) -> float:
    """Return the estimate for forming and factoring the normal equations.

    Parameters
    ----------
    geometry : ConvGeometry
        Of the forward convolution.
    transposed : bool
        Whether the fitted one is its transpose, whose outputs fall into phases that share no taps.
    dtype : dtype
        Double, real or complex.
    pairs : int
    """
    c_in, c_out = geometry.channels
    unknowns = prod(axis.taps for axis in geometry.axes) * (c_out if transposed else c_in)
    sizes = [axis.size if transposed else axis.outputs for axis in geometry.axes]
    # a result meets the taps of its phase
    met = unknowns / prod(axis.stride for axis in geometry.axes) if transposed else unknowns
    outputs = pairs * prod(sizes)
    double = dtype.itemsize / 4 * (2 if dtype.kind == "c" else 1)
    # a real array times its own transpose is half the work
    half = 1 if dtype.kind == "c" else 0.5
    formed = CPU.gemm_multiply * double * half * outputs * met**2
    formed += CPU.panel_byte * dtype.itemsize * outputs * met
    factored = CPU.gemm_multiply * double * unknowns**3 / 3
    return float(geometry.groups * (formed + factored))


def iteration_seconds(geometry: ConvGeometry, dtype: np.dtype[Any], pairs: int) -> float:
    """Return the estimate for one iteration of LSMR on all pairs."""
    return PRODUCTS * pairs * (CPU.call + min(estimate(geometry, dtype).values()))


def spread(planes: Array, taps: Sequence[int], ridge: float) -> float:
    """Return the largest over the least power of the frequencies, as far as a kernel tells them apart.

    Parameters
    ----------
    planes : (planes, n1, ..., nd) array
    taps : sequence of int
    ridge : float
        Added to the power.
    """
    axes = tuple(range(1, planes.ndim))
    power = (np.abs(np.fft.fftn(planes, axes=axes)) ** 2).sum(0) / prod(planes.shape[1:])
    for axis, number in enumerate(taps):
        size = power.shape[axis]
        edges = np.arange(min(number, size)) * size // min(number, size)
        counts = np.diff([*edges, size])
        shape = [-1 if place == axis else 1 for place in range(power.ndim)]
        power = np.add.reduceat(power, edges, axis) / counts.reshape(shape)
    # back from the mean over samples to their sum, to which the ridge belongs
    power = power * prod(planes.shape[1:]) + ridge
    least = float(power.min())
    return float(power.max()) / least if least > 0 else float("inf")


def lsmr_iterations(extremes: float, unknowns: int, tolerance: float) -> int:
    """Return the most iterations of conjugate gradients, by the largest over the least eigenvalue."""
    most = ROUND_OFF * unknowns
    bound = sqrt(extremes) * log(2 / tolerance) / 2
    return ceil(min(bound, most))
