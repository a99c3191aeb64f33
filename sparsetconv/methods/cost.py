"""Estimated seconds of each method: the model behind ``method="auto"``, ``explain`` and ``plan``.

Floor 3. The constants were measured with two threads on cores at about 3 GHz with AVX-512
(``asv_benchmarks/method_costs.py`` measures them anew); the choice depends on their ratios, which move
little between machines.
"""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv.methods._tiles import OVERHEAD, Span, tile_lengths

if TYPE_CHECKING:
    from sparsetconv.geometry import ConvGeometry

# below this many entries the matrix is as fast as any method, and nothing has to be compiled
SMALL = 200_000
# seconds; those for a multiplication are a float32's, other dtypes are in proportion
SPARSE_ENTRY = 0.4e-9
SPARSE_VALUE_BYTE = 0.06e-9
DIRECT_MULTIPLY = 0.0115e-9
GEMM_MULTIPLY = 0.009e-9
PASS_BYTE = 0.09e-9
WEIGHT_BYTE = 0.1e-9
PANEL_BYTE = 0.25e-9
# copying every other sample into a panel, or out of a result, takes so much longer
APART = 3
# one step of the transforms of a vector of tiles, and what goes with it
FFT_STEP = 2.8e-9
CALL = 1e-5
ASSEMBLY_BYTE = 0.2e-9
# bytes of a vector; results of a stencil come in whole ones, and its units are about so many
VECTOR, UNITS = 64, 16


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
    # short lines fill vectors in part; every unit reads all weights
    real = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    narrow = max(1.0, VECTOR / real / axes[-1].outputs)
    weights = groups * c_in * c_out * taps * dtype.itemsize * min(UNITS, axes[0].outputs)
    passes = PASS_BYTE * (padded + results)
    panels = PANEL_BYTE * taps * read * (APART if axes[-1].stride > 1 else 1)
    return {
        "sparse": geometry.nnz * (SPARSE_ENTRY + SPARSE_VALUE_BYTE * dtype.itemsize),
        "direct": CALL + multiplies * DIRECT_MULTIPLY * narrow + passes + WEIGHT_BYTE * weights,
        "gemm": CALL + multiplies * GEMM_MULTIPLY + panels + PASS_BYTE * results,
        "fft": CALL + passes + _transform_seconds(geometry, real, dtype.kind == "c"),
    }


def _transform_seconds(geometry: ConvGeometry, itemsize: int, is_complex: bool) -> float:
    """Return the estimate for the tiles that ``fft`` would cut."""
    spans = [Span(a.high - a.low + 1, a.extent, a.outputs, a.stride) for a in geometry.axes]
    slots = VECTOR // itemsize * (1 if is_complex else 2)
    lengths = tile_lengths(spans, 1, slots, 2 * VECTOR)
    tiles = prod(-(-span.results // span.valid(m)) for span, m in zip(spans, lengths, strict=True))
    c_in, c_out = geometry.channels
    steps = (c_in + c_out) / 2 * (log2(prod(lengths)) + OVERHEAD * slots) + 2 * (c_in * c_out - 1)
    # one unit keeps one thread busy
    units = -(-tiles // slots) * geometry.groups
    return FFT_STEP * max(units, 2) * prod(lengths) * steps


def assembly_seconds(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> float:
    """Return the estimated seconds that assembling the CSR takes."""
    return CALL + ASSEMBLY_BYTE * geometry.nbytes(dtype)
