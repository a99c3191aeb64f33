"""The matrix of a convolution as a function of its kernel: rows are results, columns are weights.

Floor 2. A row of one axis lists pairs of a tap and the sample that meets the result through it; rows of an
array are the products of those of its axes. They are written block by block, each in cache, to arrays whose
sizes are known before.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv import _memory
from sparsetconv._threads import for_each, thread_count
from sparsetconv.assembly import boxes
from sparsetconv.boundary import source_indices
from sparsetconv.geometry import smallest_index_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparsetconv._axis import Axis
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry

# entries of a block, and what each takes while the block is written
BLOCK, ENTRY_BYTES = 1 << 16, 160


class Pairs(NamedTuple):
    """Rows and their pairs, row after row, by tap in each.

    Attributes
    ----------
    counts : (rows,) int64 array
    taps, sources : (pairs,) int64 arrays
        A tap comes several times in a row where padding folds samples onto each other.
    """

    counts: Array
    taps: Array
    sources: Array

    def times(self, other: Pairs, taps: int, size: int) -> Pairs:
        """Return the rows of two axes together; ``taps`` and ``size`` are those of the other axis."""
        first, second = _product(self.counts, other.counts)
        return Pairs(
            np.multiply.outer(self.counts, other.counts).reshape(-1),
            self.taps[first] * taps + other.taps[second],
            self.sources[first] * size + other.sources[second],
        )


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return which entries of two lists of rows meet, for each row of one with each row of the other."""
    counts = np.multiply.outer(a, b).reshape(-1)
    begins = np.cumsum(counts) - counts
    first, second = np.cumsum(a) - a, np.cumsum(b) - b
    place = np.arange(counts.sum()) - np.repeat(begins, counts)
    per_row = [np.repeat(np.tile(numbers, a.size), counts) for numbers in (b, second)]
    i, j = np.divmod(place, per_row[0])
    i += np.repeat(np.repeat(first, b.size), counts)
    j += per_row[1]
    return i, j


class AxisPairs:
    """The rows of one axis.

    Parameters
    ----------
    axis : Axis
    transposed : bool
        Whether rows are samples, and sources are outputs.
    flip : bool
        Whether taps are numbered from the end.
    """

    def __init__(self, axis: Axis, transposed: bool, flip: bool) -> None:
        self.axis, self.transposed = axis, transposed
        self.rows, self.size = (axis.size, axis.outputs) if transposed else (axis.outputs, axis.size)
        self.folds = transposed and axis.reach != "zeros"
        self._offsets = np.arange(axis.taps)[:: -1 if flip else 1] * axis.dilation

    @cached_property
    def _copies(self) -> tuple[Array, Array]:
        """Positions of the extension by the samples that stand there, and where each sample's begin."""
        positions = np.arange(self.axis.low, self.axis.high + 1)
        samples = source_indices(self.axis, positions)
        order = np.argsort(samples, kind="stable")
        return positions[order], samples[order].searchsorted(np.arange(self.rows + 1))

    def pairs(self, start: int, stop: int) -> Pairs:
        """Return a range of rows."""
        axis = self.axis
        if not self.transposed:
            positions = axis.first(0) + np.arange(start, stop) * axis.stride
            sources = source_indices(axis, positions[:, None] + self._offsets)
            return self._kept(sources, sources >= 0)
        copies = np.arange(start, stop)
        rows = None
        if self.folds:
            positions, begins = self._copies
            copies = positions[begins[start] : begins[stop]]
            rows = np.repeat(np.arange(stop - start), np.diff(begins[start : stop + 1]))
        outputs, rests = np.divmod(copies[:, None] + axis.before - self._offsets, axis.stride)
        valid = (rests == 0) & (outputs >= 0) & (outputs < axis.outputs)
        found = self._kept(outputs, valid)
        if rows is None:
            return found
        # of several positions that are one sample, the same taps stand side by side
        row = np.repeat(rows, found.counts)
        order = np.argsort(row * axis.taps + found.taps, kind="stable")
        return Pairs(np.bincount(row, minlength=stop - start), found.taps[order], found.sources[order])

    def _kept(self, sources: Array, valid: Array) -> Pairs:
        taps = np.broadcast_to(np.arange(self.axis.taps), sources.shape)
        return Pairs(valid.sum(1), taps[valid], sources[valid])

    def counts(self) -> tuple[Array, Array]:
        """Return how many pairs each row has, and how many different taps."""
        pairs, taps = np.empty(self.rows, np.int64), np.empty(self.rows, np.int64)
        step = max(1, BLOCK // self.axis.taps)
        for start in range(0, self.rows, step):
            stop = min(start + step, self.rows)
            found = self.pairs(start, stop)
            pairs[start:stop] = taps[start:stop] = found.counts
            if self.folds:
                row = np.repeat(np.arange(stop - start), found.counts)
                taps[start:stop] = np.bincount(row[_firsts(row, found.taps)], minlength=stop - start)
        return pairs, taps


def _firsts(rows: Array, taps: Array) -> Array:
    """Return where another tap, or another row, begins."""
    return np.flatnonzero(np.diff(rows, prepend=-1) | np.diff(taps, prepend=-1))


class KernelMatrix:
    """The matrix of one operator.

    Parameters
    ----------
    geometry : ConvGeometry
    x : (groups, channels, ...) array
        What stays: the input, or the small array of a transposed convolution.
    transposed : bool
    nnz : int
        Entries of the matrix.
    """

    def __init__(self, geometry: ConvGeometry, x: Array, transposed: bool, nnz: int) -> None:
        self._geometry, self._transposed, self._nnz = geometry, transposed, nnz
        self._x = x.reshape(*x.shape[:2], -1)
        self._axes = [AxisPairs(axis, transposed, geometry.flip) for axis in geometry.axes]
        self._taps = prod(axis.taps for axis in geometry.axes)

    def arrays(self) -> tuple[Array, Array, Array]:
        """Return ``data, indices, indptr`` of the CSR matrix, in canonical form."""
        geometry, x = self._geometry, self._x
        groups, channels = x.shape[:2]
        own = geometry.channels[0 if self._transposed else 1]
        shape = tuple(axis.rows for axis in self._axes)
        rows, columns = groups * own * prod(shape), prod(geometry.kernel_shape)
        index = smallest_index_dtype(rows, columns, self._nnz)
        workers = thread_count()
        need = self._nnz * (x.itemsize + index.itemsize) + (rows + 1) * index.itemsize
        need += 16 * prod(shape) + workers * BLOCK * ENTRY_BYTES
        _memory.require("the matrix", need, "products with the operator need none")
        pairs, taps = map(_ends, zip(*(axis.counts() for axis in self._axes), strict=True))
        data, indices = np.empty(self._nnz, x.dtype), np.empty(self._nnz, index)
        pointers = np.zeros(rows + 1, index)
        # rows of one channel follow each other, each with the entries of all channels that it reads
        starts = np.arange(groups * own) * (int(taps[-1]) * channels)
        ends = pointers[1:].reshape(groups * own, -1)
        ends[...] = taps[1:] * channels
        ends += starts[:, None].astype(index)

        def write(block: tuple[int, int]) -> None:
            for box in boxes(shape, *block):
                row = _flat(shape, [first for first, _ in box])
                self._write(box, starts + int(taps[row]) * channels, data, indices)

        for_each(write, list(_blocks(pairs)), workers if self._nnz > BLOCK else 1)
        return data, indices, pointers

    def _write(self, box: Any, starts: Array, data: Array, indices: Array) -> None:
        """Write the rows of a box, of all channels: from where each channel's rows start."""
        found, first = self._found(box)
        groups, channels = self._x.shape[:2]
        own = starts.size // groups
        counts = (
            found.counts
            if first is None
            else np.bincount(self._rows(found)[first], minlength=found.counts.size)
        )
        taps = found.taps if first is None else found.taps[first]
        channel, entry = _spread(counts, channels)
        length = entry.size
        c_in, c_out = self._geometry.channels
        # columns of the first channel's rows: weights are (groups * c_out, c_in, taps)
        across, along = (c_in, 1) if self._transposed else (1, c_in)
        columns = channel * (across * self._taps) + taps[entry]
        for number, start in enumerate(starts):
            group, place = divmod(number, own)
            if not place:
                values = self._x[group][:, found.sources]
                if first is not None:
                    values = np.add.reduceat(values, first, 1, values.dtype)
                values = values[channel, entry]
                base = group * c_in * c_out
            data[start : start + length] = values
            indices[start : start + length] = columns + (base + place * along) * self._taps

    @staticmethod
    def _rows(found: Pairs) -> Array:
        return np.repeat(np.arange(found.counts.size), found.counts)

    def _found(self, box: Any) -> tuple[Pairs, Array | None]:
        """Return the pairs of a box of rows and, where several are one entry, where each entry's begin."""
        found = self._axes[0].pairs(*box[0])
        for axis, limits in zip(self._axes[1:], box[1:], strict=True):
            found = found.times(axis.pairs(*limits), axis.axis.taps, axis.size)
        if not any(axis.folds for axis in self._axes):
            return found, None
        rows = self._rows(found)
        order = np.argsort(rows * self._taps + found.taps, kind="stable")
        found = found._replace(taps=found.taps[order], sources=found.sources[order])
        return found, _firsts(rows, found.taps)


def _ends(counts: Sequence[Array]) -> Array:
    """Return where the rows of an array end, and 0 in front, from the lengths of its axes' rows."""
    total = np.ones(1, np.int64)
    for own in counts:
        total = np.multiply.outer(total, own).reshape(-1)
    ends = np.zeros(total.size + 1, np.int64)
    np.cumsum(total, out=ends[1:])
    return ends


def _blocks(ends: Array) -> Iterator[tuple[int, int]]:
    """Divide rows into blocks of about as many pairs."""
    cuts = np.unique(ends.searchsorted(np.arange(0, ends[-1], BLOCK), "right") - 1)
    bounds = [*cuts.tolist(), ends.size - 1]
    yield from ((a, b) for a, b in pairwise(bounds) if a < b)


def _flat(shape: tuple[int, ...], place: list[int]) -> int:
    flat = 0
    for size, number in zip(shape, place, strict=True):
        flat = flat * size + number
    return flat


def _spread(counts: Array, channels: int) -> tuple[Array, Array]:
    """Return, for rows that repeat their entries for each channel, the channel and the entry of each."""
    lengths = np.repeat(counts, channels)
    channel = np.repeat(np.tile(np.arange(channels), counts.size), lengths)
    begins = np.repeat(np.cumsum(counts) - counts, channels)
    entry = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - begins, lengths)
    return channel, entry
