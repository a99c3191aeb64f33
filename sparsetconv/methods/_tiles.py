"""How a convolution is divided into tiles for Fourier transforms: the tables of ``_compiled_fft``.

Floor 3. Overlap-save: a tile of the extended source, convolved on a circle of its own length, gives results
that are right wherever the kernel did not reach around the circle. Both directions are correlations without
stride of an extended source: forward of the input, of whose results every ``stride``-th is kept; transposed,
with the kernel reversed, of the small array with zeros between its samples, which stand in tables only.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._kernel import last_axes
from sparsetconv.methods._base import quiet
from sparsetconv.methods._sides import check, forward_axis, read_range, sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._axis import Axis
    from sparsetconv._types import Array

# The array of all tables begins with these numbers, at these places:
# - channels and groups, parts of a sample (2 if complex), samples and results of a plane;
# - tiles of an item, and along the last axis; tiles in a unit; vectors of a channel's tiles; axes;
# - rows of a tile, and of its valid results; along the last axis the length of a tile, what separates it from
#   the next, its valid results, what separates them, and all results;
# - where the tables begin: axes, samples of rows, vectors of rows, samples along the last axis, results of
#   valid rows, and their vectors.
(
    C_IN, C_OUT, CHANNEL_GROUPS, PARTS, IN_SIZE, OUT_SIZE,
    TILES, LAST_TILES, SLOTS, SIZE, DIMENSIONS,
    ROWS, VALID_ROWS, LAST_LENGTH, LAST_STEP, LAST_VALID, LAST_SUBSTEP, LAST_OUTPUTS,
    AXES, IN_ROWS, ROW_VECTORS, COLUMNS, OUT_ROWS, VALID_VECTORS,
    HEADER,
) = range(25)  # fmt: skip
# of each axis: its length and the logarithm, vectors from one place to the next, lines, and where they start
LENGTH, BITS, STRIDE, LINES, LINE_STARTS, AXIS = range(6)

# bytes that the tiles of a unit may take; past the second-level cache they are slower by this much
MOST_BYTES, NEAR_BYTES, FAR = 1 << 23, 1 << 21, 1.3
# what gathering, multiplying and scattering a tile's sample costs beside one step of a vector's transforms
OVERHEAD = 0.4


class Span(NamedTuple):
    """The sizes of one axis of a correlation: what `tile_lengths` has to know.

    Attributes
    ----------
    source : int
        Places of the extended source.
    extent : int
        Places from the first that a result reads to the last.
    results : int
    step : int
        Places of the source from one result to the next.
    """

    source: int
    extent: int
    results: int
    step: int

    def valid(self, length: int) -> int:
        """Return how many results of a tile are right."""
        return (length - self.extent) // self.step + 1


class Correlated(NamedTuple):
    """One axis as a correlation.

    Attributes
    ----------
    samples : (source,) array
        Of the extended source, -1 for zeros.
    reads : (taps,) array
        What each tap of the kernel reads, counted from a result's first place.
    results : int
    step : int
        Places of the source from one result to the next.
    """

    samples: Array
    reads: Array
    results: int
    step: int

    @property
    def span(self) -> Span:
        return Span(self.samples.size, int(self.reads.max()) + 1, self.results, self.step)


def forward(axis: Axis) -> Correlated:
    """Return the forward direction of an axis."""
    side = forward_axis(axis)
    return Correlated(side.source.rows, side.reads, axis.outputs, side.source.columns.size)


def transposed(axis: Axis) -> Correlated:
    """Return the transposed direction: results are the positions that the forward direction reads.

    Where zeros stand outside, the results are the signal's samples.
    """
    start, stop = read_range(axis)
    check(stop - start + axis.extent)
    output, rest = np.divmod(np.arange(start - axis.extent + 1, stop), axis.stride)
    samples = np.where((rest == 0) & (output >= 0) & (output < axis.outputs), output, -1)
    reads = axis.extent - 1 - np.arange(axis.taps) * axis.dilation
    return Correlated(samples, reads, stop - start, 1)


def forward_span(axis: Axis) -> Span:
    """Return the sizes of `forward`, without its arrays."""
    return Span(axis.high - axis.low + 1, axis.extent, axis.outputs, axis.stride)


def transposed_span(axis: Axis) -> Span:
    """Return the sizes of `transposed`, without its arrays."""
    start, stop = read_range(axis)
    return Span(stop - start + axis.extent - 1, axis.extent, stop - start, 1)


class TileCost(NamedTuple):
    """The tiles that cost least.

    Attributes
    ----------
    lengths : tuple of int
    steps : float
        What all their transforms take, in steps of one vector, with ``OVERHEAD`` and ``FAR``.
    """

    lengths: tuple[int, ...]
    steps: float


@lru_cache(maxsize=1024)
def best_tiles(
    spans: tuple[Span, ...], items: int, slots: int, vector_bytes: int,
    channels: tuple[int, int, int] = (1, 1, 1),
) -> TileCost:  # fmt: skip
    """Choose the powers of two that cost least.

    Parameters
    ----------
    spans : tuple of Span
    items : int
        Independent convolutions that share a kernel.
    slots : int
        Tiles that are computed at once.
    vector_bytes : int
        Bytes of a vector of complex numbers.
    channels : (int, int, int)
        Of the source and of the result, a transform for each and a product for each pair; and groups.
    """
    c_in, c_out, groups = channels
    transforms, products = (c_in + c_out) / 2, 2 * (c_in * c_out - 1)

    def cost(total: int, tiles: int) -> float:
        far = FAR if vector_bytes << total > NEAR_BYTES else 1
        steps = transforms * (total + OVERHEAD * slots) + products
        # a unit keeps one thread busy; another thread has nothing to do beside the last of an odd number
        units = -(-tiles * items // slots) * groups
        return float((units + units % 2) * (1 << total) * steps * far)

    fewest = _fewest_tiles(spans)
    fitting = {total: c for total, c in fewest.items() if vector_bytes << total <= MOST_BYTES}
    candidates = fitting or {min(fewest): fewest[min(fewest)]}
    total = min(candidates, key=lambda total: cost(total, candidates[total][0]))
    tiles, bits = candidates[total]
    return TileCost(tuple(1 << b for b in bits), cost(total, tiles))


def _fewest_tiles(spans: Sequence[Span]) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Return for each size of a tile, as its logarithm, the fewest tiles and the logarithms of their lengths.

    Tiles of one size cost the less the fewer they are, so that one choice is kept for each size while axes
    are added: the work grows with the number of axes, not with that of all combinations.
    """
    fewest: dict[int, tuple[int, tuple[int, ...]]] = {0: (1, ())}
    for span in spans:
        least = (span.extent - 1).bit_length()
        # past a few times the kernel nothing is gained; with one axis up to what fits
        most = min((span.source - 1).bit_length(), least + (5 if len(spans) > 1 else 16))
        longer: dict[int, tuple[int, tuple[int, ...]]] = {}
        for own in range(least, max(least, most) + 1):
            count = -(-span.results // span.valid(1 << own))
            for total, (tiles, bits) in fewest.items():
                known = longer.get(total + own)
                if known is None or tiles * count < known[0]:
                    longer[total + own] = tiles * count, (*bits, own)
        fewest = longer
    return fewest


def frequencies(length: int) -> Array:
    """Return the order in which the forward transform leaves the frequencies: digits of base 4 reversed."""
    if length < 4:
        return np.arange(length)
    return sums([np.arange(4), 4 * frequencies(length // 4)])


def twiddles(length: int) -> Array:
    """Return the factors of all steps: of a quarter ``q``, powers 1 to 3 of the roots, from ``6 * q`` on."""
    table = np.zeros((max(length // 2, 2), 3, 2))
    quarter = 1
    while 4 * quarter <= length:
        root = np.exp(-2j * np.pi * np.outer(np.arange(quarter), [1, 2, 3]) / (4 * quarter))
        table[quarter : 2 * quarter] = np.stack([root.real, root.imag], 2)
        quarter *= 2
    return table.reshape(-1)


class Tiling:
    """The tiles of one direction of one geometry.

    Parameters
    ----------
    axes : sequence of Correlated
    lengths : tuple of int
        Of a tile.
    sizes : sequence of int
        Of a plane of the source.
    """

    def __init__(self, axes: Sequence[Correlated], lengths: tuple[int, ...], sizes: Sequence[int]) -> None:
        self.axes, self.lengths, self.sizes = axes, lengths, sizes
        # an odd number of vectors from one place of an axis to the next: a line's vectors do not meet in the
        # same sets of a cache
        strides = [1]
        for length in lengths[:0:-1]:
            strides.insert(0, strides[0] * length + 1)
        self._strides = strides
        self.size = strides[0] * lengths[0]
        self._valid = [axis.span.valid(length) for axis, length in zip(axes, lengths, strict=True)]
        self._tiles = [-(-axis.results // v) for axis, v in zip(axes, self._valid, strict=True)]
        self.tiles = prod(self._tiles)
        windows = [count * length for count, length in zip(self._tiles, lengths, strict=True)]
        check(prod(windows[:-1]) + windows[-1])

    def _samples(self, axis: int) -> Array:
        """Return the samples along an axis, zeros added until all tiles are full."""
        samples, step = self.axes[axis].samples, self._valid[axis] * self.axes[axis].step
        padded = np.full((self._tiles[axis] - 1) * step + self.lengths[axis], -1)
        padded[: samples.size] = samples[: padded.size]
        return padded

    def _windows(self, axis: int) -> Array:
        """Return the samples of each tile along an axis, ``(tiles, length)``."""
        begins = np.arange(self._tiles[axis]) * self._valid[axis] * self.axes[axis].step
        windows: Array = self._samples(axis)[begins[:, None] + np.arange(self.lengths[axis])]
        return windows

    def _results(self, axis: int) -> Array:
        """Return the results of each tile along an axis, ``(tiles, valid)``, -1 past the end."""
        results = np.arange(self._tiles[axis] * self._valid[axis]).reshape(-1, self._valid[axis])
        return np.where(results < self.axes[axis].results, results, -1)

    def _line_starts(self, axis: int) -> Array:
        pairs = enumerate(zip(self.lengths, self._strides, strict=True))
        return sums([np.arange(length) * stride for n, (length, stride) in pairs if n != axis])

    def table(self, parts: int, channels: tuple[int, int, int], slots: int) -> Array:
        """Return all numbers and tables, which are the same for all sizes of a batch.

        Parameters
        ----------
        parts : int
        channels : tuple of int
            Channels of the source and of the result, and groups.
        slots : int
            Tiles of a unit.
        """
        front, last = range(len(self.axes) - 1), self.axes[-1]
        out_sizes = [axis.results for axis in self.axes]
        rows = sums([np.arange(self.lengths[n]) * self._strides[n] for n in front])
        steps = [np.arange(self._valid[n]) * self.axes[n].step * self._strides[n] for n in front]
        tables = [
            _rows([self._windows(n) for n in front], self.sizes).reshape(-1),
            rows,
            self._samples(len(front)),
            _rows([self._results(n) for n in front], out_sizes).reshape(-1),
            sums(steps),
        ]
        c_in, c_out, groups = channels
        numbers = [
            *(c_in, c_out, groups, parts, prod(self.sizes), prod(out_sizes)),
            *(self.tiles, self._tiles[-1], slots, self.size, len(self.axes)),
            *(rows.size, prod(self._valid[:-1]), self.lengths[-1], self._valid[-1] * last.step),
            *(self._valid[-1], last.step, last.results, HEADER),
        ]
        at = HEADER + AXIS * len(self.axes)
        starts = [self._line_starts(n) for n in range(len(self.axes))]
        about_axes = []
        for length, stride, own in zip(self.lengths, self._strides, starts, strict=True):
            about_axes += [length, length.bit_length() - 1, stride, own.size, at]
            at += own.size
        begins = np.cumsum([at, *(table.size for table in tables)])[:-1]
        return np.concatenate([numbers, begins, about_axes, *starts, *tables])

    @quiet
    def spectrum(self, weights: Array) -> Array:
        """Return the kernel's transform in the order and with the gaps of a tile, divided by its size.

        Parameters
        ----------
        weights : (groups, c_out, c_in, k1, ..., kd) array

        Returns
        -------
        (groups, c_out, c_in, size) complex array
        """
        import scipy.fft

        lead = weights.shape[:3]
        circle = np.zeros((*lead, *self.lengths), np.complex128)
        places = [-axis.reads % length for axis, length in zip(self.axes, self.lengths, strict=True)]
        circle[last_axes(np.ix_(*places))] = weights
        transform = scipy.fft.fftn(circle, axes=tuple(range(3, circle.ndim)), overwrite_x=True)
        ordered = transform[last_axes(np.ix_(*map(frequencies, self.lengths)))]
        spectrum = np.zeros((*lead, self.size), np.complex128)
        where = sums([np.arange(m) * s for m, s in zip(self.lengths, self._strides, strict=True)])
        spectrum[..., where] = ordered.reshape(*lead, -1) / prod(self.lengths)
        return spectrum


def _rows(windows: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the first element of each row of each combination of tiles; -1 if it is outside."""
    total = np.zeros((1, 1), np.int64)
    for number, window in enumerate(windows):
        left, right = total[:, None, :, None], window[None, :, None, :]
        both = np.where((left >= 0) & (right >= 0), left + right * prod(sizes[number + 1 :]), -1)
        total = both.reshape(total.shape[0] * window.shape[0], -1)
    return total
