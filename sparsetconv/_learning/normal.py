"""The normal equations of a kernel: for two taps, the products of the samples they read, summed over outputs.

For `fit_kernel`. The least-squares problem has a row for each output, with the samples that its taps read.
Rows are written in blocks of bounded size; one BLAS product multiplies a block by its own adjoint, and the
block is dropped. Outputs that read through the same taps (the phases of a stride) share a block, so that
zeros are multiplied only at the border.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry.extension import source_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.axis import Axis
    from sparsetconv._geometry.convolution import ConvGeometry

# numbers in a block of rows; the most outputs of one axis in a `Reads`
BLOCK, RUN = 1 << 21, 1 << 12


class Reads(NamedTuple):
    """The samples that outputs of one axis read through the same taps.

    ``samples[m, t, o]`` is the m-th sample that output ``outputs[o]`` reads through tap ``taps[t]``, or -1.
    In the transposed direction an output may read several samples through one tap: directly and as padding.
    """

    outputs: Array
    taps: Array
    samples: Array


class NormalEquations:
    """The matrix and the right-hand sides of the normal equations, summed over pairs of arrays.

    Parameters
    ----------
    groups, reads, gives : int
        Groups; input channels and output channels of one group.
    taps : tuple of int
        ``(k1, ..., kd)``.
    backend : Backend
        Of the arrays and the sums.

    Attributes
    ----------
    matrix : (groups, reads * k1 * ... * kd, reads * k1 * ... * kd) array
        Of float64, or complex128 once a pair is complex.
    right : (groups, reads * k1 * ... * kd, gives) array
    equations : int
        Outputs so far, of one channel.
    """

    def __init__(
        self, groups: int, reads: int, gives: int, taps: tuple[int, ...], backend: Backend = NUMPY
    ) -> None:
        unknowns = reads * prod(taps)
        self._taps, self._channels, self._xp = taps, reads, backend.xp
        self.matrix: Array = self._xp.zeros((groups, unknowns, unknowns))
        self.right: Array = self._xp.zeros((groups, unknowns, gives))
        self.equations = 0

    def add(self, geometry: ConvGeometry, transposed: bool, inputs: Array, targets: Array) -> None:
        """Add pairs of one geometry.

        Parameters
        ----------
        geometry : ConvGeometry
            Of the forward convolution.
        transposed : bool
            Whether the inputs are the small arrays.
        inputs : (batch, groups, reads, ...) array
        targets : (batch, groups, gives, ...) array
        """
        dtype = np.result_type(self.matrix.dtype, inputs.dtype, targets.dtype)
        self.matrix, self.right = (a.astype(dtype, copy=False) for a in (self.matrix, self.right))
        self.equations += len(targets) * prod(targets.shape[3:])
        # one zero is appended to every axis: index -1 reads it
        ends = [(0, 0)] * 3 + [(0, 1)] * (inputs.ndim - 3)
        padded = self._xp.pad(inputs.astype(dtype, copy=False), ends)
        axes = [list(axis_reads(axis, transposed)) for axis in geometry.axes]
        for classes in product(*axes):
            for block in _blocks(classes, len(inputs), self._channels):
                self._add_block(block, padded, targets)

    def _add_block(self, block: _Block, padded: Array, targets: Array) -> None:
        items, reads = block
        rows = len(range(*items.indices(len(padded)))) * prod(len(r.outputs) for r in reads)
        weights = _flat_taps(self._channels, self._taps, [r.taps for r in reads])
        placed = self._mesh(weights, weights)
        corner = (slice(None), *self._mesh(*(r.outputs for r in reads)))
        for group, matrix in enumerate(self.matrix):
            read = self._rows(padded[items, group], reads).reshape(len(weights), rows)
            # a real array times its own transpose is half the work
            adjoint = read.conj() if read.dtype.kind == "c" else read
            if len(weights) == len(matrix):
                matrix += adjoint @ read.T
            else:
                matrix[placed] += adjoint @ read.T
            wanted = self._xp.stack([y[corner] for y in targets[items, group]], 1).reshape(-1, rows)
            self.right[group][placed[1][0]] += adjoint @ wanted.astype(read.dtype, copy=False).T

    def _mesh(self, *places: Array) -> tuple[Array, ...]:
        """Return an index of all combinations of places."""
        return tuple(map(self._xp.asarray, np.ix_(*places)))

    def _rows(self, padded: Array, reads: Sequence[Reads]) -> Array:
        """Return the samples that each tap of each channel reads, for all outputs of a block.

        Parameters
        ----------
        padded : (batch, channels, n1 + 1, ..., nd + 1) array
            With a zero at the end of every axis.
        reads : sequence of Reads

        Returns
        -------
        (channels, k1, ..., kd, batch, m1, ..., md) array
        """
        taps, outputs = [len(r.taps) for r in reads], [len(r.outputs) for r in reads]
        rows: Array = self._xp.zeros((padded.shape[1], *taps, padded.shape[0], *outputs), padded.dtype)
        self._write(rows, self._xp.moveaxis(padded, 1, 0), reads)
        return rows

    def _write(self, rows: Array, source: Array, reads: Sequence[Reads]) -> None:
        """Add to ``(channels, k1, ..., batch, m1, ...)`` from ``(channels, batch, ..., n1 + 1, ...)``."""
        if not reads:
            rows += source
            return
        axis = source.ndim - len(reads)
        for samples in map(self._xp.asarray, reads[0].samples):
            for tap in range(len(samples)):
                self._write(rows[:, tap], source.take(samples[tap], axis), reads[1:])


_Block = tuple[slice, "Sequence[Reads]"]


def axis_reads(axis: Axis, transposed: bool) -> Iterator[Reads]:
    """Yield the reads of all outputs of an axis, each output once, at most `RUN` outputs at a time."""
    start, taps = axis.first(0), np.arange(axis.taps)
    if not transposed:
        for outputs in _runs(np.arange(axis.outputs)):
            positions = start + outputs * axis.stride + taps[:, None] * axis.dilation
            yield Reads(outputs, taps, source_indices(axis, positions)[None])
        return
    repeated = _repeated_samples(axis)
    yield from _repeated_reads(axis, repeated)
    plain = np.setdiff1d(np.arange(axis.size), repeated)
    for phase in range(axis.stride):
        hit = taps[taps * axis.dilation % axis.stride == phase]
        if not hit.size:
            continue
        members = plain[(plain - start) % axis.stride == phase]
        for outputs in _runs(members):
            samples = (outputs - start - hit[:, None] * axis.dilation) // axis.stride
            yield Reads(outputs, hit, np.where((samples >= 0) & (samples < axis.outputs), samples, -1)[None])


def _runs(outputs: Array) -> Iterator[Array]:
    for first in range(0, len(outputs), RUN):
        yield outputs[first : first + RUN]


def _repeated_samples(axis: Axis) -> Array:
    """Return the samples of the large array that are also read as padding."""
    pads = np.concatenate([np.arange(axis.low, 0), np.arange(axis.size, axis.high + 1)])
    samples = np.unique(source_indices(axis, pads))
    return samples[samples >= 0]


def _repeated_reads(axis: Axis, repeated: Array) -> Iterator[Reads]:
    """Yield the reads of samples that are also read as padding; some taps read several samples for them."""
    if not repeated.size:
        return
    taps = np.arange(axis.taps)
    near = _reading(axis, repeated)
    positions = axis.first(0) + near[:, None] * axis.stride + taps * axis.dilation
    small, tap = np.repeat(near, axis.taps), np.tile(taps, len(near))
    sample = source_indices(axis, positions).ravel()
    kept = np.isin(sample, repeated)
    place = np.searchsorted(repeated, sample[kept]) * axis.taps + tap[kept]
    order = np.argsort(place, kind="stable")
    place, small = place[order], small[kept][order]
    # the running number of each entry among those of the same place
    firsts = np.concatenate([[True], place[1:] != place[:-1]])
    number = np.arange(place.size) - np.maximum.accumulate(np.where(firsts, np.arange(place.size), 0))
    samples = np.full((number.max() + 1, repeated.size * axis.taps), -1)
    samples[number, place] = small
    samples = samples.reshape(-1, repeated.size, axis.taps).swapaxes(1, 2)
    for first in range(0, repeated.size, RUN):
        run = slice(first, first + RUN)
        yield Reads(repeated[run], taps, samples[:, :, run])


def _reading(axis: Axis, repeated: Array) -> Array:
    """Return the outputs whose windows leave the signal, or contain one of the samples ``repeated``."""
    first = axis.first(0) + np.arange(axis.outputs) * axis.stride
    last = first + (axis.taps - 1) * axis.dilation
    # the number of these samples before each position
    before = np.concatenate([[0], np.cumsum(np.bincount(repeated, minlength=axis.size))])
    held = before[(last + 1).clip(0, axis.size)] - before[first.clip(0, axis.size)]
    return np.flatnonzero((first < 0) | (last >= axis.size) | (held > 0))


def _blocks(classes: Sequence[Reads], batch: int, channels: int) -> Iterator[_Block]:
    """Divide the outputs of a product of classes into blocks of a bounded number of rows."""
    weights = channels * prod(len(r.taps) for r in classes)
    # a block has at least as many rows as columns: so its product takes longer than adding it to the sums
    room = max(1, BLOCK // weights, weights)
    parts: list[list[Reads]] = []
    for reads in reversed(classes):
        step = min(len(reads.outputs), room)
        room = max(1, room // max(step, 1))
        parts.insert(
            0,
            [
                Reads(reads.outputs[a : a + step], reads.taps, reads.samples[:, :, a : a + step])
                for a in range(0, len(reads.outputs), step)
            ],
        )
    for first in range(0, batch, room):
        for block in product(*parts):
            yield slice(first, first + room), block


def _flat_taps(channels: int, shape: tuple[int, ...], taps: Sequence[Array]) -> Array:
    """Return the places of the taps of every channel in the flattened ``(channels, k1, ..., kd)`` array."""
    places: Array = np.ravel_multi_index(np.ix_(np.arange(channels), *taps), (channels, *shape)).ravel()
    return places
