"""Divide a convolution into tiles for Fourier transforms (overlap-save), and make the tables of ``loops``.

A tile of the padded input is circularly correlated with the kernel (a product of DFTs), which gives valid
results wherever the kernel does not wrap around. Both directions are correlations with stride 1 of a padded
input. In the forward direction, every ``stride``-th result is kept. In the transposed direction, the padded
input is the small array with zeros inserted between its samples, and the kernel is reversed; the zeros are
only in the tables, not in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.layout import last_axes
from sparsetconv._arrays.record import filled, numbers, size
from sparsetconv._methods.base import quiet
from sparsetconv._methods.cpu.overlap_save.records import AXIS, HEADER
from sparsetconv._methods.phases import check, forward_axis, read_range, sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis

# the most bytes of a pack's tiles; above NEAR_BYTES, a second-level cache, a step takes FAR times as long
MOST_BYTES, NEAR_BYTES, FAR = 1 << 23, 1 << 21, 1.7
# cost of gathering, multiplying and scattering a sample of a tile, in steps of a vector's transform
OVERHEAD = 0.4


class Span(NamedTuple):
    """The sizes of one axis of a correlation, for `best_tiles`.

    Attributes
    ----------
    source : int
        Places of the padded input.
    extent : int
        Places from the first to the last that a result reads, both included.
    results : int
        Number of results.
    step : int
        Places of the padded input from one result to the next.
    """

    source: int
    extent: int
    results: int
    step: int

    def valid(self, length: int) -> int:
        """Return the number of valid results of a tile."""
        return (length - self.extent) // self.step + 1


class Correlated(NamedTuple):
    """One axis as a correlation.

    Attributes
    ----------
    samples : (source,) array
        The samples of the padded input; -1 stands for zero.
    reads : (taps,) array
        The place that each tap reads, relative to the first place that the result reads.
    results : int
        Number of results.
    step : int
        Places of the padded input from one result to the next.
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
    own = forward_axis(axis)
    return Correlated(own.source.rows, own.reads, axis.outputs, own.source.columns.size)


def transposed(axis: Axis) -> Correlated:
    """Return the transposed direction of an axis, whose results are the positions of `read_range`."""
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
    """The cheapest tile lengths and their cost.

    Attributes
    ----------
    lengths : tuple of int
        The length of a tile along each axis.
    steps : float
        The estimated cost of all tiles, in steps of a vector's transform, with ``OVERHEAD`` and ``FAR``.
    """

    lengths: tuple[int, ...]
    steps: float


@lru_cache(maxsize=1024)
def best_tiles(
    spans: tuple[Span, ...], items: int, pack: int, vector_bytes: int,
    channels: tuple[int, int, int] = (1, 1, 1),
) -> TileCost:  # fmt: skip
    """Choose the tile lengths, powers of two, with the lowest cost.

    Parameters
    ----------
    spans : tuple of Span
    items : int
        Independent convolutions that share a kernel.
    pack : int
        Tiles that are computed together.
    vector_bytes : int
        Bytes of a vector of complex numbers.
    channels : (int, int, int)
        Channels of the source, channels of the result, and groups. A tile takes one transform for each
        channel and one product for each pair of channels.
    """
    c_in, c_out, groups = channels
    transforms, products = (c_in + c_out) / 2, 2 * (c_in * c_out - 1)

    def cost(total: int, tiles: int) -> float:
        far = FAR if vector_bytes << total > NEAR_BYTES else 1
        steps = transforms * (total + OVERHEAD * pack) + products
        # each pack runs on one thread; with an odd number of packs, a second thread waits during the last one
        packs = -(-tiles * items // pack) * groups
        return float((packs + packs % 2) * (1 << total) * steps * far)

    fewest = _fewest_tiles(spans)
    fitting = {total: c for total, c in fewest.items() if vector_bytes << total <= MOST_BYTES}
    candidates = fitting or {min(fewest): fewest[min(fewest)]}
    total = min(candidates, key=lambda total: cost(total, candidates[total][0]))
    tiles, bits = candidates[total]
    return TileCost(tuple(1 << b for b in bits), cost(total, tiles))


def _fewest_tiles(spans: Sequence[Span]) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Return the fewest tiles for each size of a tile, by the base-2 logarithm of the size.

    The values are the number of tiles and the logarithms of their lengths. Among tiles of the same size,
    fewer are cheaper. So axes are added one by one, and one choice is kept for each size: the work grows with
    the number of axes, not with the number of combinations of lengths.
    """
    fewest: dict[int, tuple[int, tuple[int, ...]]] = {0: (1, ())}
    for span in spans:
        least = (span.extent - 1).bit_length()
        # with several axes, lengths beyond 32 times the kernel gain nothing; with one, MOST_BYTES limits them
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
    """Return the order of frequencies after the forward transform: base-4 digit reversal."""
    if length < 4:
        return np.arange(length)
    return sums([np.arange(4), 4 * frequencies(length // 4)])


def twiddles(length: int) -> Array:
    """Return the twiddle factors of all stages; those for quarter length ``q`` begin at ``6 * q``.

    For each ``k`` below ``q`` they are the powers 1 to 3 of ``exp(-2j * pi * k / (4 * q))``, as real and
    imaginary parts.
    """
    table = np.zeros((max(length // 2, 2), 3, 2))
    quarter = 1
    while 4 * quarter <= length:
        root = np.exp(-2j * np.pi * np.outer(np.arange(quarter), [1, 2, 3]) / (4 * quarter))
        table[quarter : 2 * quarter] = np.stack([root.real, root.imag], 2)
        quarter *= 2
    return table.reshape(-1)


@dataclass(frozen=True, eq=False)
class Tiling:
    """The tiles of one direction of one geometry; see `tiling_of`.

    Attributes
    ----------
    axes : tuple of Correlated
    lengths : tuple of int
        The length of a tile along each axis.
    strides : tuple of int
        Vectors from one place of an axis to the next.
    valid : tuple of int
        Valid results of a tile along each axis.
    counts : tuple of int
        Tiles along each axis.
    sizes : tuple of int
        Samples of a plane of the source along each axis.
    """

    axes: tuple[Correlated, ...]
    lengths: tuple[int, ...]
    strides: tuple[int, ...]
    valid: tuple[int, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Vectors of a tile of one channel, including gaps."""
        return self.strides[0] * self.lengths[0]

    @property
    def tiles(self) -> int:
        """Tiles of an item."""
        return prod(self.counts)


def tiling_of(axes: Sequence[Correlated], lengths: tuple[int, ...], sizes: Sequence[int]) -> Tiling:
    """Return the tiling with the given tile lengths; ``sizes`` are those of a plane of the source."""
    # a gap of one vector makes strides odd, so that the vectors of a line do not map to the same cache sets
    strides = [1]
    for length in lengths[:0:-1]:
        strides.insert(0, strides[0] * length + 1)
    valid = [axis.span.valid(length) for axis, length in zip(axes, lengths, strict=True)]
    counts = [-(-axis.results // v) for axis, v in zip(axes, valid, strict=True)]
    windows = [count * length for count, length in zip(counts, lengths, strict=True)]
    check(prod(windows[:-1]) + windows[-1])
    return Tiling(tuple(axes), lengths, tuple(strides), tuple(valid), tuple(counts), tuple(sizes))


def _samples(tiling: Tiling, axis: int) -> Array:
    """Return the samples along an axis, extended with zeros (-1) until the last tile is full."""
    samples, step = tiling.axes[axis].samples, tiling.valid[axis] * tiling.axes[axis].step
    padded = np.full((tiling.counts[axis] - 1) * step + tiling.lengths[axis], -1)
    padded[: samples.size] = samples[: padded.size]
    return padded


def _windows(tiling: Tiling, axis: int) -> Array:
    """Return the samples of each tile along an axis, ``(tiles, length)``."""
    begins = np.arange(tiling.counts[axis]) * tiling.valid[axis] * tiling.axes[axis].step
    windows: Array = _samples(tiling, axis)[begins[:, None] + np.arange(tiling.lengths[axis])]
    return windows


def _results(tiling: Tiling, axis: int) -> Array:
    """Return the results of each tile along an axis, ``(tiles, valid)``, -1 past the end."""
    results = np.arange(tiling.counts[axis] * tiling.valid[axis]).reshape(-1, tiling.valid[axis])
    return np.where(results < tiling.axes[axis].results, results, -1)


def _line_starts(tiling: Tiling, axis: int) -> Array:
    """Return the first vector of each line along an axis."""
    pairs = enumerate(zip(tiling.lengths, tiling.strides, strict=True))
    return sums([np.arange(length) * stride for n, (length, stride) in pairs if n != axis])


def _row_tables(tiling: Tiling) -> dict[str, Array]:
    """Return the tables other than those of the axes, by the `HEADER` fields that hold their offsets."""
    front, axes = range(len(tiling.axes) - 1), tiling.axes
    steps = [np.arange(tiling.valid[n]) * axes[n].step * tiling.strides[n] for n in front]
    out_sizes = [axis.results for axis in axes]
    return {
        "in_rows": _rows([_windows(tiling, n) for n in front], tiling.sizes).reshape(-1),
        "row_vectors": sums([np.arange(tiling.lengths[n]) * tiling.strides[n] for n in front]),
        "columns": _samples(tiling, len(front)),
        "out_rows": _rows([_results(tiling, n) for n in front], out_sizes).reshape(-1),
        "valid_vectors": sums(steps),
    }


def loop_table(tiling: Tiling, parts: int, channels: tuple[int, int, int], pack: int) -> Array:
    """Return the header and all tables as one array, which is independent of the batch.

    Parameters
    ----------
    tiling : Tiling
    parts : int
        2 if samples are complex, else 1.
    channels : (int, int, int)
        Channels of the source, channels of the result, and groups.
    pack : int
        Tiles that are computed together.
    """
    starts = [_line_starts(tiling, n) for n in range(len(tiling.axes))]
    first = size(HEADER) + size(AXIS) * len(starts)
    *begins, end = accumulate((own.size for own in starts), initial=first)
    axes = filled(
        AXIS,
        length=tiling.lengths,
        bits=[length.bit_length() - 1 for length in tiling.lengths],
        stride=tiling.strides,
        lines=[own.size for own in starts],
        line_starts=begins,
    )
    tables, last = _row_tables(tiling), tiling.axes[-1]
    places = accumulate((table.size for table in tables.values()), initial=end)
    c_in, c_out, groups = channels
    header = filled(
        HEADER,
        **dict(zip(tables, places, strict=False)),
        c_in=c_in,
        c_out=c_out,
        channel_groups=groups,
        parts=parts,
        in_size=prod(tiling.sizes),
        out_size=prod(axis.results for axis in tiling.axes),
        tiles=tiling.tiles,
        last_tiles=tiling.counts[-1],
        pack=pack,
        size=tiling.size,
        ndim=len(tiling.axes),
        rows=prod(tiling.lengths[:-1]),
        valid_rows=prod(tiling.valid[:-1]),
        last_length=tiling.lengths[-1],
        last_step=tiling.valid[-1] * last.step,
        last_valid=tiling.valid[-1],
        last_substep=last.step,
        last_outputs=last.results,
        axes=size(HEADER),
    )
    return np.concatenate([numbers(header), numbers(axes), *starts, *tables.values()])


@quiet
def spectrum_of(tiling: Tiling, weights: Array) -> Array:
    """Return the kernel's DFT in the layout of a transformed tile, divided by the DFT's length.

    Parameters
    ----------
    tiling : Tiling
    weights : (groups, c_out, c_in, k1, ..., kd) array

    Returns
    -------
    (groups, c_out, c_in, size) complex array
    """
    import scipy.fft

    lead, lengths = weights.shape[:3], tiling.lengths
    circle = np.zeros((*lead, *lengths), np.complex128)
    places = [-axis.reads % length for axis, length in zip(tiling.axes, lengths, strict=True)]
    circle[last_axes(np.ix_(*places))] = weights
    transform = scipy.fft.fftn(circle, axes=tuple(range(3, circle.ndim)), overwrite_x=True)
    ordered = transform[last_axes(np.ix_(*map(frequencies, lengths)))]
    spectrum = np.zeros((*lead, tiling.size), np.complex128)
    where = sums([np.arange(m) * s for m, s in zip(lengths, tiling.strides, strict=True)])
    spectrum[..., where] = ordered.reshape(*lead, -1) / prod(lengths)
    return spectrum


def _rows(windows: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the first element of each row of each tile, over all axes but the last; -1 stands for zero."""
    total = np.zeros((1, 1), np.int64)
    for number, window in enumerate(windows):
        left, right = total[:, None, :, None], window[None, :, None, :]
        both = np.where((left >= 0) & (right >= 0), left + right * prod(sizes[number + 1 :]), -1)
        total = both.reshape(total.shape[0] * window.shape[0], -1)
    return total
