"""Estimated seconds of each method: the model behind ``method="auto"``, ``explain`` and ``plan``.

Each method computes its own ``seconds`` from `Work` and `Rates`. The rates of the CPU and the constants in
the methods' files were measured with two threads on cores at about 3 GHz with AVX-512
(``asv_benchmarks/method_costs.py`` measures them again, ``asv_benchmarks/auto_sweep.py`` checks the choice).
The choice depends only on ratios, which vary little between machines. The rates of a GPU are in
``cuda/tuning.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsetconv._methods.cpu.rates import CPU
from sparsetconv._methods.cuda import tuning
from sparsetconv._methods.merge import merged
from sparsetconv._methods.registry import methods_of
from sparsetconv._methods.work import Work

if TYPE_CHECKING:
    import numpy as np

    from sparsetconv._geometry.convolution import ConvGeometry

# number of matrix entries up to which methods that need no compiler are fast enough
SMALL = 50_000
ASSEMBLY_BYTE = 0.2e-9


def estimate(geometry: ConvGeometry, dtype: np.dtype[np.generic], on_gpu: bool = False) -> dict[str, float]:
    """Return the estimated seconds of one product by each method.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        Of the kernel.
    on_gpu : bool

    Returns
    -------
    dict
        Estimated seconds by method name, the mean of both directions.
    """
    geometry, rates = merged(geometry), tuning.rates() if on_gpu else CPU
    works = [Work.of(geometry, transposed, dtype) for transposed in (False, True)]
    return {
        name: sum(method.seconds(work, rates) for work in works) / 2
        for name, method in methods_of(on_gpu).items()
    }


def assembly_seconds(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> float:
    """Return the estimated seconds to assemble the CSR matrix."""
    return CPU.call + ASSEMBLY_BYTE * geometry.nbytes(dtype)
