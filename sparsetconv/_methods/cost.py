"""Estimated seconds of each method: the model behind ``method="auto"``, ``explain`` and ``plan``.

Each method computes its own ``seconds`` from `Work` and `Rates`. The rates of each class of processors are in
``cpu/rates.json``, those of a GPU in ``cuda/tuning.json``; `sparsetconv.tune` measures the processor at hand
and keeps its rates for the user. The choice depends only on ratios. ``asv_benchmarks/auto_sweep.py`` checks
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsetconv._methods.cpu.rates import current
from sparsetconv._methods.cuda import tuning
from sparsetconv._methods.merge import merged
from sparsetconv._methods.registry import methods_of
from sparsetconv._methods.work import Work

if TYPE_CHECKING:
    import numpy as np

    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates


def rates_of(on_gpu: bool) -> Rates:
    """Return the rates of the processor: of this machine's CPU, or of a GPU."""
    return tuning.rates() if on_gpu else current().rates


def estimate(
    geometry: ConvGeometry, dtype: np.dtype[np.generic], on_gpu: bool = False, rates: Rates | None = None
) -> dict[str, float]:
    """Return the estimated seconds of one product by each method.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        Of the kernel.
    on_gpu : bool
    rates : Rates, optional
        Those of the processor if not given.

    Returns
    -------
    dict
        Estimated seconds by method name, the mean of both directions.
    """
    geometry, rates = merged(geometry), rates_of(on_gpu) if rates is None else rates
    works = [Work.of(geometry, transposed, dtype) for transposed in (False, True)]
    return {
        name: sum(method.seconds(work, rates) for work in works) / 2
        for name, method in methods_of(on_gpu).items()
    }


def assembly_seconds(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> float:
    """Return the estimated seconds to assemble the CSR matrix."""
    rates = current().rates
    return rates.call + rates.assembly_byte * geometry.nbytes(dtype)
