"""Estimated seconds of each method: the model behind ``method="auto"``, ``explain`` and ``plan``.

Floor 3. The constants were measured with two threads on cores at about 3 GHz with AVX-512
(``asv_benchmarks/method_costs.py`` measures them anew, ``asv_benchmarks/auto_sweep.py`` the choice); the
choice depends on their ratios, which move little between machines. What depends on the length of a vector is
counted in the processor's own.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from math import log2, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._methods.cpu.overlap_save.plan import best_tiles, forward_span, transposed_span
from sparsetconv._methods.merge import merged
from sparsetconv._methods.transforms import fast_lengths
from sparsetconv._methods.whole import circle

if TYPE_CHECKING:
    from sparsetconv._geometry.convolution import ConvGeometry

# up to so many entries the methods for which nothing is compiled are fast enough
SMALL = 50_000
# seconds; those for a multiplication are a float32's, other dtypes are in proportion
SPARSE_ENTRY = 0.4e-9
SPARSE_VALUE_BYTE = 0.06e-9
SPARSE_COMPLEX = 1.6
DIRECT_MULTIPLY = 0.0125e-9
GEMM_MULTIPLY = 0.009e-9
# no BLAS knows integers
INTEGER_GEMM = 30
PASS_BYTE = 0.09e-9
WEIGHT_BYTE = 0.1e-9
PANEL_BYTE = 0.25e-9
# a line of a stencil's results begins, and is filled up as if it were longer by so many vectors
LINE, NARROW = 1e-8, 3.0
# lines of results that share what is loaded of the source; one line alone takes so much longer for a tap
SHARING, ALONE = 4, 2.0
# a window copied into a panel, and what its lines are longer by
COPY, PANEL_LINE = 2e-6, 16
# copying every other sample into a panel, or out of a result, takes so much longer
APART = 3
# a byte of a vector of tiles in one step of their transforms, and what goes with it
FFT_STEP_BYTE = 2.8e-9 / 64
# a byte of a whole transform, for each doubling of its length; a single line is not divided among threads
WHOLE_STEP_BYTE, ONE_LINE = 0.025e-9, 2
# a byte of the products of whole transforms, and of what is copied around them, on one thread
WHOLE_BYTE = 0.2e-9
# past a core's cache a whole transform takes so much longer
CACHE_BYTES, WHOLE_FAR = 1 << 21, 1.5
CALL, MATRIX_CALL, WHOLE_CALL = 1e-5, 3e-6, 8e-5
ASSEMBLY_BYTE = 0.2e-9
# units of a stencil are about so many; bytes of a panel
UNITS, PANEL = 16, 1 << 21


class FFTStrategy(NamedTuple):
    """How one direction is transformed.

    Attributes
    ----------
    whole : bool
        Whether as a whole, or in tiles.
    lengths : tuple of int
        Of a tile or of the whole signal's circle.
    seconds : float
    """

    whole: bool
    lengths: tuple[int, ...]
    seconds: float


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
        From the method's name to seconds, the mean of both directions.
    """
    geometry = merged(geometry)
    entry = SPARSE_ENTRY * (SPARSE_COMPLEX if dtype.kind == "c" else 1)
    works = [_work(geometry, transposed, dtype) for transposed in (False, True)]
    strategies = [fft_strategy(geometry, transposed, dtype) for transposed in (False, True)]
    return {
        "sparse": MATRIX_CALL + geometry.nnz * (entry + SPARSE_VALUE_BYTE * dtype.itemsize),
        "direct": sum(map(_direct_seconds, works)) / 2,
        "gemm": sum(map(_gemm_seconds, works)) / 2,
        "fft": sum(strategy.seconds for strategy in strategies) / 2,
    }


class _Work(NamedTuple):
    """What one direction does.

    Attributes
    ----------
    taps : float
        That a result meets, on the average over the phases of the strides.
    sources, results : int
        Channels of a group.
    lines, line : int
        Lines of results along the last axis, of all channels, and results of a line.
    together : int
        Lines of results that read the same lines of the source: channels, and neighbouring lines.
    moved : int
        Bytes of the extended source and of the results.
    units : int
        Parts that the stencil is divided into, about.
    weights : int
        Of a group.
    phases : int
        Of the strides, in the transposed direction.
    apart : bool
        Whether neighbouring results read samples that are not neighbours.
    dtype : dtype
    """

    taps: float
    sources: int
    results: int
    lines: int
    line: int
    together: int
    moved: int
    units: int
    weights: int
    phases: int
    apart: bool
    dtype: np.dtype[np.generic]

    @property
    def multiplies(self) -> float:
        """Multiplications, in those of a float32."""
        parts = 2 if self.dtype.kind == "c" else 1
        return self.lines * self.line * self.sources * self.taps * parts * self.dtype.itemsize / 4


def _work(geometry: ConvGeometry, transposed: bool, dtype: np.dtype[np.generic]) -> _Work:
    groups, (sources, results) = geometry.groups, geometry.channels[:: -1 if transposed else 1]
    span = transposed_span if transposed else forward_span
    spans = [span(axis) for axis in geometry.axes]
    axes, taps = geometry.axes, prod(axis.taps for axis in geometry.axes)
    phases = prod(axis.stride for axis in axes) if transposed else 1
    read = prod(axis.outputs if transposed else s.source for axis, s in zip(axes, spans, strict=True))
    places = prod(s.results for s in spans)
    return _Work(
        taps / phases,
        sources,
        results,
        groups * results * places // spans[-1].results,
        spans[-1].results,
        results * (min(spans[-2].results, axes[-2].taps) if len(spans) > 1 else 1),
        groups * (sources * read + results * places) * dtype.itemsize,
        min(UNITS, spans[0].results),
        groups * sources * results * taps,
        phases,
        not transposed and axes[-1].stride > 1,
        dtype,
    )


def _direct_seconds(work: _Work) -> float:
    # a line fills vectors in part, and takes a while to begin
    real = work.dtype.itemsize // (2 if work.dtype.kind == "c" else 1)
    narrow = 1 + NARROW * vector_bytes() / real / work.line
    alone: float = ALONE ** (1 - log2(min(work.together, SHARING)) / log2(SHARING))
    seconds = work.multiplies * DIRECT_MULTIPLY * narrow * alone + work.lines * LINE
    # every unit reads all weights
    return CALL + seconds + PASS_BYTE * work.moved + WEIGHT_BYTE * work.weights * work.units * real


def _gemm_seconds(work: _Work) -> float:
    panels = work.taps * work.sources * work.lines * work.line // work.results * work.dtype.itemsize
    copied = PANEL_BYTE * panels * (APART if work.apart else 1) * (1 + PANEL_LINE / work.line)
    copies = work.taps * max(work.phases, panels / PANEL)
    products = GEMM_MULTIPLY * work.multiplies * (INTEGER_GEMM if work.dtype.kind in "iu" else 1)
    return CALL + products + copied + COPY * copies + PASS_BYTE * work.moved


@lru_cache(maxsize=1024)
def fft_strategy(
    geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any], items: int = 1
) -> FFTStrategy:
    """Return the faster way to transform one direction: tiles, or the whole signal.

    Parameters
    ----------
    geometry : ConvGeometry
        With merged axes.
    transposed : bool
    dtype : dtype
        Of the results.
    items : int
        Of a batch.
    """
    ways = _in_tiles(geometry, transposed, dtype, items), _as_a_whole(geometry, transposed, dtype, items)
    return min(ways, key=lambda way: way.seconds)


def _in_tiles(geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any], items: int) -> FFTStrategy:
    span = transposed_span if transposed else forward_span
    spans = tuple(span(axis) for axis in geometry.axes)
    vector = vector_bytes()
    # two real tiles travel as one complex one
    pack = vector * 2 // dtype.itemsize
    c_in, c_out = geometry.channels[:: -1 if transposed else 1]
    tiles = best_tiles(spans, items, pack, 2 * vector, (c_in, c_out, geometry.groups))
    sources, results = prod(s.source for s in spans), prod(s.results for s in spans)
    moved = items * geometry.groups * dtype.itemsize * (c_in * sources + c_out * results)
    return FFTStrategy(False, tiles.lengths, CALL + PASS_BYTE * moved + FFT_STEP_BYTE * vector * tiles.steps)


def _as_a_whole(geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any], items: int) -> FFTStrategy:
    real = dtype.kind == "f"
    lengths = fast_lengths([circle(axis, real).least for axis in geometry.axes], real)
    c_in, c_out = geometry.channels[:: -1 if transposed else 1]
    planes, nbytes = items * geometry.groups, prod(lengths) * dtype.itemsize
    far = WHOLE_FAR if nbytes > CACHE_BYTES else 1
    one_line = ONE_LINE if max(lengths) == prod(lengths) and planes * c_in == 1 else 1
    steps = (c_in + c_out) * log2(prod(lengths)) * WHOLE_STEP_BYTE * far * one_line
    around = (c_in + c_out + c_in * c_out) * WHOLE_BYTE
    return FFTStrategy(True, lengths, WHOLE_CALL + planes * nbytes * (steps + around))


@cache
def vector_bytes() -> int:
    """Return the bytes of a vector of the compiled loops, as ``emit`` finds it, without numba."""
    asked = os.environ.get("NUMBA_CPU_FEATURES")
    if asked is not None:
        known = {name[1:] for name in asked.split(",") if name.startswith("+")}
    else:
        features: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
        known = {name.lower() for name, there in features.items() if there}
    if "avx512f" in known:
        return 64
    return 32 if "avx2" in known else 16


def assembly_seconds(geometry: ConvGeometry, dtype: np.dtype[np.generic]) -> float:
    """Return the estimated seconds that assembling the CSR takes."""
    return CALL + ASSEMBLY_BYTE * geometry.nbytes(dtype)
