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
# seconds; those for a multiplication and a point are a float32's, other dtypes are in proportion
SPARSE_ENTRY = 0.6e-9
SPARSE_VALUE_BYTE = 0.15e-9
DIRECT_MULTIPLY = 0.05e-9
GEMM_MULTIPLY = 0.01e-9
PASS_BYTE = 0.2e-9
PANEL_BYTE = 0.3e-9
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
    axes, groups, (c_in, c_out) = geometry.axes, geometry.groups, geometry.channels
    taps, outputs = prod(axis.taps for axis in axes), prod(axis.outputs for axis in axes)
    points = prod(axis.high - axis.low + 1 for axis in axes)
    # bytes of the padded input, of what one tap reads of it, and of the result
    padded, read, results = (
        groups * channels * size * dtype.itemsize
        for channels, size in ((c_in, points), (c_in, outputs), (c_out, outputs))
    )
    width = dtype.itemsize / 4
    multiplies = groups * c_in * c_out * outputs * taps * width * (2 if dtype.kind == "c" else 1)
    # SciPy divides a transform among threads by its lines; a single line is not divided
    serial = 2 if len(axes) == 1 else 1
    transforms = groups * (c_in + c_out + c_in * c_out) * width * serial
    return {
        "sparse": geometry.nnz * (SPARSE_ENTRY + SPARSE_VALUE_BYTE * dtype.itemsize),
        "direct": CALL + multiplies * DIRECT_MULTIPLY + PASS_BYTE * (padded + results),
        "gemm": CALL + multiplies * GEMM_MULTIPLY + PANEL_BYTE * taps * read + PASS_BYTE * results,
        "fft": CALL + FFT_POINT * transforms * points * max(1.0, log2(points)),
    }


def assembly_seconds(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> float:
    """Return the estimated seconds that assembling the CSR takes."""
    return CALL + ASSEMBLY_BYTE * geometry.nbytes(dtype)
