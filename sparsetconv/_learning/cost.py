"""Estimated time of both methods of `fit_kernel`: normal equations by Cholesky, and LSMR.

The time of Cholesky is that of its multiplications, whatever the data. An iteration of LSMR takes a product
and an adjoint product, and the number of iterations grows with the condition number of the normal equations.
Their matrix is the autocorrelation of the inputs, whose eigenvalues lie between the smallest and the largest
power of the inputs' spectrum.
"""

from __future__ import annotations

from math import ceil, log, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._methods.cost import estimate
from sparsetconv._methods.cpu.rates import current

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry

# time of an iteration, in forward products: one product, a gradient as long as two, the solver's own vectors
PRODUCTS = 4
# the most iterations per unknown; in exact arithmetic one is enough
ROUND_OFF = 10


def cholesky_seconds(geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any], pairs: int) -> float:
    """Return the estimate for forming and factoring the normal equations.

    Parameters
    ----------
    geometry : ConvGeometry
        Of the forward convolution.
    transposed : bool
        Whether the fitted convolution is its transpose, whose outputs fall into phases that share no taps.
    dtype : dtype
        Float64 or complex128.
    pairs : int
        Number of pairs of arrays.
    """
    c_in, c_out = geometry.channels
    unknowns = prod(axis.taps for axis in geometry.axes) * (c_out if transposed else c_in)
    sizes = [axis.size if transposed else axis.outputs for axis in geometry.axes]
    # an output of a transposed convolution reads through the taps of its phase only
    met = unknowns / prod(axis.stride for axis in geometry.axes) if transposed else unknowns
    outputs = pairs * prod(sizes)
    double = dtype.itemsize / 4 * (2 if dtype.kind == "c" else 1)
    # a real array times its own transpose is half the work
    half = 1 if dtype.kind == "c" else 0.5
    rates = current().rates
    formed = rates.gemm_multiply * double * half * outputs * met**2
    formed += rates.panel_byte * dtype.itemsize * outputs * met
    factored = rates.gemm_multiply * double * unknowns**3 / 3
    return float(geometry.groups * (formed + factored))


def iteration_seconds(geometry: ConvGeometry, dtype: np.dtype[Any], pairs: int) -> float:
    """Return the estimate for one iteration of LSMR on all pairs."""
    return PRODUCTS * pairs * (current().rates.call + min(estimate(geometry, dtype).values()))


def condition_estimate(planes: Array, taps: Sequence[int], ridge: float) -> float:
    """Return the ratio of largest to smallest power in the spectrum, averaged to a kernel's resolution.

    Parameters
    ----------
    planes : (planes, n1, ..., nd) array
    taps : sequence of int
    ridge : float
        Added to the power of each frequency.
    """
    axes = tuple(range(1, planes.ndim))
    power = (np.abs(np.fft.fftn(planes, axes=axes)) ** 2).sum(0) / prod(planes.shape[1:])
    for axis, number in enumerate(taps):
        size = power.shape[axis]
        edges = np.arange(min(number, size)) * size // min(number, size)
        counts = np.diff([*edges, size])
        shape = [-1 if place == axis else 1 for place in range(power.ndim)]
        power = np.add.reduceat(power, edges, axis) / counts.reshape(shape)
    # from the mean over samples back to the sum, to which the ridge is added
    power = power * prod(planes.shape[1:]) + ridge
    least = float(power.min())
    return float(power.max()) / least if least > 0 else float("inf")


def lsmr_iterations(extremes: float, unknowns: int, tolerance: float) -> int:
    """Return a bound on the iterations of conjugate gradients; ``extremes`` is the condition number."""
    most = ROUND_OFF * unknowns
    bound = sqrt(extremes) * log(2 / tolerance) / 2
    return ceil(min(bound, most))
