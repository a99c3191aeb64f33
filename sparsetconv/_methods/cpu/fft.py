"""Method ``"fft"``: products of Fourier transforms, of tiles or of the whole signal; for large kernels.

``overlap_save`` transforms tiles in compiled loops, ``whole`` the whole signal at once. `fft_strategy`
chooses between them for each direction, and chooses the tile lengths.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import log2, prod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.layout import aligned
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.threads import thread_count
from sparsetconv._methods.base import padding_of
from sparsetconv._methods.cpu.overlap_save import plan
from sparsetconv._methods.cpu.rates import current, vector_bytes
from sparsetconv._methods.finite import TransformMethod
from sparsetconv._methods.store import Store
from sparsetconv._methods.transforms import fast_lengths
from sparsetconv._methods.whole import WholeTransform, circle
from sparsetconv._methods.work import Work

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates

# limits of the cache of prepared transforms, for each direction: their number and their total bytes
MOST_KEPT, MOST_BYTES = 4, 1 << 26
# factor of the time for complex tiles, whose samples are taken apart into real and imaginary parts, and for
# tiles of a single sample
COMPLEX, SINGLE = 1.5, 10.0
# factor of the time for a single line, which runs on one thread; bytes of a core's cache, and the factor for
# whole transforms that exceed it
ONE_LINE, CACHE_BYTES, FAR = 1.5, 1 << 21, 1.5


class FFTStrategy(NamedTuple):
    """The transforms of one direction.

    Attributes
    ----------
    whole : bool
        Whether the signal is transformed as a whole, or in tiles.
    lengths : tuple of int
        Lengths of a tile, or of the whole signal's circle.
    seconds : float
        The estimated time.
    """

    whole: bool
    lengths: tuple[int, ...]
    seconds: float


@lru_cache(maxsize=1024)
def fft_strategy(
    geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any], rates: Rates, items: int = 1
) -> FFTStrategy:
    """Return the faster strategy for one direction: tiles or the whole signal.

    Parameters
    ----------
    geometry : ConvGeometry
        With merged axes.
    transposed : bool
    dtype : dtype
        The dtype of the results.
    rates : Rates
    items : int
        Number of items of the batch.
    """
    work = Work.of(geometry, transposed, dtype)
    return min(in_tiles(work, rates, items), as_a_whole(work, rates, items), key=lambda way: way.seconds)


def in_tiles(work: Work, rates: Rates, items: int = 1) -> FFTStrategy:
    """Return the fastest strategy with tiles."""
    vector = vector_bytes()
    # two real tiles are transformed as one complex tile
    slots = vector * 2 // work.dtype.itemsize
    span = plan.transposed_span if work.transposed else plan.forward_span
    spans = tuple(span(axis) for axis in work.geometry.axes)
    tiles = plan.best_tiles(spans, items, slots, 2 * vector, (*work.channels, work.geometry.groups))
    c_in, c_out = work.channels
    sources = prod(span.source for span in spans)
    moved = items * work.geometry.groups * work.dtype.itemsize * (c_in * sources + c_out * work.made)
    factor = (COMPLEX if work.dtype.kind == "c" else 1) * (SINGLE if prod(tiles.lengths) == 1 else 1)
    seconds = rates.tiles_call + rates.byte * moved + rates.step_byte * factor * vector * tiles.steps
    return FFTStrategy(False, tiles.lengths, seconds)


def as_a_whole(work: Work, rates: Rates, items: int = 1) -> FFTStrategy:
    """Return the strategy with transforms of the whole signal."""
    real = work.dtype.kind == "f"
    lengths = fast_lengths([circle(axis, real).least for axis in work.geometry.axes], real)
    c_in, c_out = work.channels
    planes, nbytes = items * work.geometry.groups, prod(lengths) * work.dtype.itemsize
    far = FAR if nbytes > CACHE_BYTES else 1
    one_line = ONE_LINE if max(lengths) == prod(lengths) and planes * c_in == 1 else 1
    steps = (c_in + c_out) * log2(prod(lengths)) * rates.transform_byte * far * one_line
    around = (c_in + c_out + c_in * c_out) * rates.whole_byte
    return FFTStrategy(True, lengths, rates.whole_call + planes * nbytes * (steps + around))


class FFTMethod(TransformMethod):
    """Products of Fourier transforms of signal and kernel: of tiles (overlap-save), or of the whole signal.

    Each result is a sum over all samples of its tile, or of the whole signal, in all channels of its group;
    its round-off is relative to the largest of these samples. NaN and infinity in the input reach only the
    outputs that read them; see `TransformMethod`.
    """

    name = "fft"
    compiled = True

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        return fft_strategy(work.geometry, work.transposed, work.dtype, rates).seconds

    def __init__(
        self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY, rates: Rates | None = None
    ) -> None:
        super().__init__(geometry, weights, backend)
        self._rates = current().rates if rates is None else rates
        self._prepared: tuple[Store[TileTransforms | WholeTransform], ...] = (
            Store(MOST_KEPT, MOST_BYTES),
            Store(MOST_KEPT, MOST_BYTES),
        )

    @classmethod
    def chosen_by(cls, rates: Rates, geometry: ConvGeometry, weights: Array, backend: Backend) -> Self:
        """See `Method.chosen_by`."""
        return cls(geometry, weights, backend, rates)

    def like(self, geometry: ConvGeometry, weights: Array) -> Self:
        """See `Method.like`."""
        return type(self)(geometry, weights, self.backend, self._rates)

    def strategy(self, transposed: bool, dtype: np.dtype[Any], items: int = 1) -> FFTStrategy:
        """Return the strategy for a direction, a dtype of results and a batch size."""
        return fft_strategy(self.geometry, transposed, dtype, self._rates, items)

    def _convolved(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """See `TransformMethod`."""
        dtype = np.result_type(x, self.weights)
        strategy = self.strategy(transposed, dtype, len(x))
        key = dtype.char, strategy.whole, strategy.lengths
        prepared = self._prepared[transposed]
        compute = prepared.get(key, partial(self._prepare, transposed, dtype, strategy))
        return compute(np.ascontiguousarray(x, dtype), out)

    def _prepare(
        self, transposed: bool, dtype: np.dtype[Any], strategy: FFTStrategy
    ) -> TileTransforms | WholeTransform:
        if strategy.whole:
            return WholeTransform(self.geometry.axes, self.weights, dtype, transposed, self.backend)
        return TileTransforms(self.geometry, self.weights, dtype, transposed, strategy.lengths)


class TileTransforms:
    """Overlap-save in compiled loops: one direction, for one dtype and one choice of tile lengths.

    Parameters
    ----------
    geometry : ConvGeometry
    weights : (groups, c_out, c_in, k1, ..., kd) array
        The kernel of the forward direction.
    dtype : dtype
        The dtype of the results.
    transposed : bool
    lengths : tuple of int
        Tile lengths, powers of two.

    Attributes
    ----------
    nbytes : int
        Bytes of the tables, spectra and twiddle factors.
    """

    def __init__(
        self,
        geometry: ConvGeometry,
        weights: Array,
        dtype: np.dtype[Any],
        transposed: bool,
        lengths: tuple[int, ...],
    ) -> None:
        from sparsetconv._methods.cpu.overlap_save.loops import LANES_BYTES, convolve_tiles

        self._convolve = convolve_tiles
        if transposed:
            weights = weights.swapaxes(1, 2)
        self._padding = padding_of(geometry.axes if transposed else ())
        axes = [(plan.transposed if transposed else plan.forward)(axis) for axis in geometry.axes]
        real = np.zeros(0, dtype).real.dtype
        width = LANES_BYTES // real.itemsize
        parts = dtype.itemsize // real.itemsize
        groups, c_out, c_in = weights.shape[:3]
        # two real tiles are transformed as one complex tile
        self._pack = width * 2 // parts
        sizes = [axis.outputs if transposed else axis.size for axis in geometry.axes]
        tiling = plan.tiling_of(axes, lengths, sizes)
        self._shape = (groups, c_out, *(axis.results for axis in axes))
        self._dtype, self._real, self._groups, self._tiles = dtype, real, groups, tiling.tiles
        self._table = plan.loop_table(tiling, parts, (c_in, c_out, groups), self._pack)
        spectrum = plan.spectrum_of(tiling, weights)
        self._spectra = np.stack([spectrum.real, spectrum.imag], -1).astype(real).reshape(-1)
        self._twiddles = plan.twiddles(max(lengths)).astype(real)
        regions = 1 if c_in == c_out == 1 else c_in + 1
        self._elements = regions * tiling.size * width * 2
        self.nbytes = self._table.nbytes + self._spectra.nbytes + self._twiddles.nbytes

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Return the results for ``(batch, groups, sources, ...)``, contiguous and of the dtype."""
        from sparsetconv._methods.cpu.team import Call, together

        padded = result_array(self._padding.target(out), (len(x), *self._shape), self._dtype)
        source, result = x.view(self._real).reshape(-1), padded.view(self._real).reshape(-1)
        tiles = self._tiles * len(x)
        packs = -(-tiles // self._pack)
        last = packs * self._groups
        buffer = aligned(self._elements, self._real, zeros=True)
        arrays = source, result, self._spectra, self._twiddles, self._table, buffer
        # the buffer is each thread's own
        together(Call(self._convolve, arrays, (tiles, packs, last), (5,)), min(thread_count(), last))
        return placed(self._padding.unpad(padded), out)
