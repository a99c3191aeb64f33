"""Estimated seconds of each method: the model behind ``method="auto"`` and ``plan``.

Floor 3. The constants were measured on two cores at about 2 GHz with AVX-512
(``asv_benchmarks/method_costs.py`` measures them anew); the choice depends on their ratios, which move
little between machines.
"""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sparsetconv.geometry import ConvGeometry

# below this many entries the matrix is as fast as any method, and nothing has to be compiled
SMALL = 200_000
# seconds for each entry or multiplication of a float32; other dtypes in proportion to their size
SPARSE_ENTRY = 0.45e-9
SPARSE_VALUE_BYTE = 0.06e-9
DIRECT_MULTIPLY = 0.05e-9
GEMM_MULTIPLY = 0.015e-9
PASS_BYTE = 0.25e-9
FFT_POINT = 0.35e-9
CALL = 1e-4
ASSEMBLY_BYTE = 0.2e-9


def estimate(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> dict[str, float]:
    """Return the estimated seconds of one product by each method.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        Of the kernel.

    Returns
    -------
    dict
        From the method's name to seconds.
    """
    size = dtype.itemsize / 4
    extended = [axis.high - axis.low + 1 for axis in geometry.axes]
    c_in, c_out = geometry.channels
    taps = prod(axis.taps for axis in geometry.axes)
    outputs = prod(geometry.output_shape)
    multiplies = outputs * c_in * taps
    padded = geometry.groups * c_in * prod(extended) * dtype.itemsize
    results = outputs * dtype.itemsize
    complexity = (2 if dtype.kind == "c" else 1) * size
    transforms = geometry.groups * (c_in + c_out) + geometry.groups * c_in * c_out
    points = prod(extended)
    copies = (
        PASS_BYTE
        * taps
        * (
            geometry.groups * c_in * prod(axis.outputs for axis in geometry.axes) * dtype.itemsize
            + 2 * results
        )
    )
    return {
        "sparse": geometry.nnz * (SPARSE_ENTRY + SPARSE_VALUE_BYTE * dtype.itemsize),
        "direct": CALL + multiplies * DIRECT_MULTIPLY * complexity + PASS_BYTE * (padded + results),
        "gemm": CALL + multiplies * GEMM_MULTIPLY * complexity + copies,
        "fft": CALL + FFT_POINT * size * points * transforms * max(1.0, log2(points)),
    }


def assembly_seconds(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> float:
    """Return the estimated seconds that assembling the CSR takes."""
    return CALL + ASSEMBLY_BYTE * geometry.nbytes(dtype)
