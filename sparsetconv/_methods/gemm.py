"""Method ``"gemm"``: implicit im2col, one matrix product over channels and taps for each tile of results.

For each tile of results, the samples that all taps read in all channels are copied to a panel that stays in
cache, and BLAS multiplies the kernel, as a matrix, by it; the input is never unfolded as a whole. The
transposed direction does the same for each phase of the strides, on the small array with a halo of zeros. On
a GPU there is one launch to fill a panel for all taps, one for the product, and one to scatter the results;
small items of a batch share a panel, to reduce the number of launches.
"""

from __future__ import annotations

from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.layout import last_axes
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.streams import Kept
from sparsetconv._arrays.validation import is_half
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.extension import Extension
from sparsetconv._methods.base import PaddedMethod, joined_parts, padding_of, quiet, real_parts
from sparsetconv._methods.phases import polyphase, read_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.work import Rates, Work

# bytes of a panel on the CPU, to fit in a core's cache; on a GPU, half of the second-level cache
PANEL_BYTES = 1 << 21


class _AxisPhases(NamedTuple):
    """Phases of an axis that read the same places, each with its own taps.

    Attributes
    ----------
    taps : (phases, t) array
    reads : range
        The places of the padded source that the taps of a phase read for its first result.
    step : int
        Distance of the places that a tap reads for consecutive results.
    number : int
        Number of results of a phase.
    start, apart, stride : int
        The first result of the first phase, the distance between the first results of consecutive phases, and
        the distance between consecutive results of one phase.
    """

    taps: Array
    reads: range
    step: int
    number: int
    start: int
    apart: int
    stride: int

    @property
    def phases(self) -> int:
        return len(self.taps)


def _polyphases(axis: Axis) -> tuple[list[_AxisPhases], Axis]:
    """Return the phases of the transposed direction that have taps, and the small axis padded with zeros."""
    start, stop = read_range(axis)
    by_stride = polyphase(axis.taps, axis.dilation, axis.stride)
    first = start + (by_stride.residues - start) % axis.stride
    number = (stop - first + axis.stride - 1) // axis.stride
    origin = (first - by_stride.residues) // axis.stride - by_stride.first * axis.dilation // axis.stride
    kept = np.flatnonzero(number > 0)
    if not kept.size:
        return [], Axis.plain(axis.outputs)
    first, alike = first[kept], np.stack([number, origin, by_stride.counts], 1)[kept]
    taps = by_stride.first[kept]
    low = int((origin - (by_stride.counts - 1) * by_stride.fall)[kept].min())
    high = int((origin + number)[kept].max())
    before = max(-low, 1 - axis.outputs)
    # consecutive phases that read the same places are grouped, unless a phase between them was left out
    apart = axis.stride // by_stride.cycle
    edges = (np.diff(alike, axis=0) != 0).any(1) | (np.diff(first) != apart)
    found = []
    for begin, end in pairwise([0, *(np.flatnonzero(edges) + 1).tolist(), kept.size]):
        count, place, each = alike[begin].tolist()
        own = taps[begin:end, None] + np.arange(each) * by_stride.cycle
        read = place + before
        reads = range(read, read - each * by_stride.fall, -by_stride.fall)
        found.append(_AxisPhases(own, reads, 1, count, int(first[begin]) - start, apart, axis.stride))
    return found, Axis.plain(axis.outputs, before, max(0, high - axis.outputs))


class _Direction:
    """Products in one direction.

    Parameters
    ----------
    extension : Extension
    axes : sequence of list of _AxisPhases
    sizes : tuple of int
        Results along each axis.
    weights : (groups, results, channels, k1, ..., kd) array
        The result's channels come before those of the source.
    backend : Backend
    """

    def __init__(
        self,
        extension: Extension,
        axes: Sequence[list[_AxisPhases]],
        sizes: tuple[int, ...],
        weights: Array,
        backend: Backend,
    ) -> None:
        self._extension, self._sizes, self._results = extension, sizes, weights.shape[1]
        self._backend, self._xp = backend, backend.xp
        self._panel_bytes = backend.cache_bytes() // 2 if backend.on_gpu else PANEL_BYTES
        # if every result belongs to a phase, the output need not be set to zero first
        self._covers_results = all(
            sum(p.phases * p.number for p in own) == n for own, n in zip(axes, sizes, strict=True)
        )
        self._phases = list(product(*axes))
        # with a single phase, the product over all rows has the layout of the result
        single = len(self._phases) == 1 and all(p.phases == p.stride == 1 for p in self._phases[0])
        self._is_result = single and self._covers_results
        self._is_complex = weights.dtype.kind == "c"
        own = []
        for phases in self._phases:
            chosen = weights
            for n, phase in enumerate(phases):
                chosen = self._xp.take(chosen, self._xp.asarray(phase.taps.reshape(-1)), axis=3 + n)
            # from (groups, results, channels, phases, taps, phases, taps, ...), move phases before results
            chosen = chosen.reshape(*weights.shape[:3], *(n for p in phases for n in p.taps.shape))
            behind = range(3, chosen.ndim)
            chosen = chosen.transpose(0, *behind[::2], 1, 2, *behind[1::2])
            # (groups, phases * results, channels * taps)
            many, width = prod(p.phases for p in phases), prod(p.taps.shape[1] for p in phases)
            shape = weights.shape[0], many * weights.shape[1], weights.shape[2] * width
            own.append(self._xp.ascontiguousarray(chosen.reshape(shape)))
        self._own_dtype, self._own = weights.dtype, own
        self._converted: Kept[list[Array]] = Kept(backend)

    def _of_dtype(self, dtype: np.dtype[Any]) -> list[Array]:
        """Return the kernel as matrices ``(groups, phases * results, channels * taps)``."""
        if dtype == self._own_dtype:
            return self._own
        return self._converted.get(dtype, lambda: [matrix.astype(dtype) for matrix in self._own])

    @quiet
    def product(self, x: Array, dtype: np.dtype[np.generic], given: Array | None = None) -> Array:
        """Return the results for ``(batch, groups, channels, ...)``, in ``given`` if that is an array."""
        if dtype.kind == "c" and not self._is_complex:
            # a real kernel multiplies real and imaginary parts separately
            parts = real_parts(x.astype(dtype, copy=False), self._xp)
            return joined_parts(self.product(parts, parts.dtype), dtype, self._xp, given)
        shape = (*x.shape[:2], self._results, *self._sizes)
        if given is None:
            self._backend.require(
                "the product", prod(shape) * dtype.itemsize, "padding and the batch set its size"
            )
        padded = self._extension.pad(x.astype(dtype, copy=False))
        if self._is_result:
            # if one panel holds all results of an item, its product is the result, and nothing is scattered
            (phases,), (weights,) = self._phases, self._of_dtype(dtype)
            items, rows = self._tile(len(x), phases, weights, dtype)
            if rows >= phases[0].number and (len(x) == 1 or items == 1):
                return self._in_one_panel(padded, weights, phases, given, shape)
        out = result_array(given, shape, dtype, self._xp, zeros=not self._covers_results)
        for phases, weights in zip(self._phases, self._of_dtype(dtype), strict=True):
            items, rows = self._tile(len(x), phases, weights, dtype)
            first = phases[0].number
            for item, start in product(range(0, len(x), items), range(0, first, rows)):
                part, count = slice(item, item + items), min(rows, first - start)
                values = _multiplied(weights, self._panel(padded[part], phases, start, count), self._xp)
                target = self._target(out[part], phases, start, count)
                # the product has all phases before the channels; the target has each axis' phase before the
                # results of that phase
                groups, results, own, *pairs = target.shape
                apart = values.reshape(groups, *pairs[::2], results, own, *pairs[1::2])
                ndim = len(phases)
                order = (n for a in range(1, ndim + 1) for n in (a, ndim + 2 + a))
                target[...] = apart.transpose(0, ndim + 1, ndim + 2, *order)
        return out

    def _in_one_panel(
        self,
        padded: Array,
        weights: Array,
        phases: tuple[_AxisPhases, ...],
        given: Array | None,
        shape: tuple[int, ...],
    ) -> Array:
        """Return the results of a batch, of which each item is one product of the weights and a panel."""
        number = phases[0].number
        if given is None and len(padded) == 1:
            whole = _multiplied(weights, self._panel(padded, phases, 0, number), self._xp)
            return whole.reshape(shape)
        out = result_array(given, shape, padded.dtype, self._xp)
        for item, result in zip(padded, out, strict=True):
            panel = self._panel(item[None], phases, 0, number)
            _multiplied(weights, panel, self._xp, result.reshape(len(panel), self._results, -1))
        return out

    def _tile(
        self, batch: int, phases: Sequence[_AxisPhases], weights: Array, dtype: np.dtype[Any]
    ) -> tuple[int, int]:
        """Return the size of a tile: items of the batch, and rows of results along the first axis."""
        first, *others = phases
        points, (groups, results, terms) = prod(p.number for p in others), weights.shape
        # with a single tap the source is multiplied in place, without a panel
        in_place = all(len(p.reads) == 1 for p in phases)
        if not self._backend.on_gpu:
            if in_place and all(p.step == 1 for p in phases):
                return 1, first.number
            # elements per result: the larger of those of the panel (terms) and those of the product (phases)
            width = max(1, terms, prod(p.phases for p in phases))
            return 1, max(1, self._panel_bytes // (groups * width * points * dtype.itemsize))
        if in_place and batch == 1:
            return 1, first.number
        rows = max(1, self._panel_bytes // (groups * (terms + results) * points * dtype.itemsize))
        return max(1, min(batch, rows // first.number)), min(rows, first.number)

    def _target(self, out: Array, phases: Sequence[_AxisPhases], start: int, count: int) -> Array:
        """Return the view of ``out`` for rows: ``(groups, results, items, phase, number, ...)``."""
        begins = [phase.start for phase in phases]
        begins[0] += start * phases[0].stride
        numbers = [count, *(phase.number for phase in phases[1:])]
        items, *lead = zip(out.shape[:3], out.strides[:3], strict=True)
        shape, strides = map(list, zip(*lead, items, strict=True))
        for phase, number, step in zip(phases, numbers, out.strides[3:], strict=True):
            shape += [phase.phases, number]
            strides += [phase.apart * step, phase.stride * step]
        here = out[last_axes(slice(begin, None) for begin in begins)]
        view: Array = self._xp.lib.stride_tricks.as_strided(here, shape, strides)
        return view

    def _panel(self, source: Array, phases: Sequence[_AxisPhases], start: int, count: int) -> Array:
        """Return the im2col panel for rows of results: ``(groups, channels * taps, results)``."""
        numbers = [count, *(phase.number for phase in phases[1:])]
        begins = [phase.reads.start for phase in phases]
        begins[0] += start * phases[0].step
        here = source[last_axes(slice(begin, None) for begin in begins)]
        (items, *lead), (between, *apart) = source.shape[:3], source.strides[:3]
        steps = source.strides[3:]
        taps = [len(phase.reads) for phase in phases]
        # (groups, channels, taps, taps, ..., items, results, results, ...): a view
        shape = (*lead, *taps, items, *numbers)
        strides = (
            *apart,
            *(phase.reads.step * step for phase, step in zip(phases, steps, strict=True)),
            between,
            *(phase.step * step for phase, step in zip(phases, steps, strict=True)),
        )
        view = self._xp.lib.stride_tricks.as_strided(here, shape, strides)
        panel: Array = view.reshape(lead[0], lead[1] * prod(taps), items * prod(numbers))
        # with a single tap no copy is needed; with several the windows overlap, which BLAS does not support
        return panel if prod(taps) == 1 else self._xp.ascontiguousarray(panel)


def _multiplied(weights: Array, panel: Array, xp: Any, out: Array | None = None) -> Array:
    """Return ``weights @ panel``; where each group has a single weight, BLAS would be slow."""
    multiply = xp.multiply if weights.shape[1:] == (1, 1) else xp.matmul
    result: Array = multiply(weights, panel, out=out)
    return result


class GemmMethod(PaddedMethod):
    """BLAS products of the kernel with panels of the padded source; best with many channels."""

    name = "gemm"

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        # a single tap without stride reads the source in place
        strides = prod(axis.stride for axis in work.geometry.axes)
        panels = work.unfolded if work.kernel_taps > 1 or strides > 1 else 0
        integers = rates.integer_gemm if work.dtype.kind in "iu" else 1
        products = rates.gemm_multiply * work.multiplies(rates.word) * integers
        if work.kernel_taps * prod(work.channels) == 1:
            # BLAS is not called
            products = 0.0
        elif work.channels[1] == 1:
            # a lone row of weights is multiplied one dot product at a time
            products *= max(1.0, rates.gemm_terms / (work.taps * work.channels[0]))
        apart = rates.panel_apart if work.apart else 1
        copied = rates.panel_byte * panels * apart * (1 + rates.panel_line / work.line)
        copies = work.taps * max(work.phases, panels / PANEL_BYTES) if panels else 0
        moved = rates.panel_copy * copies + rates.byte * work.moved
        return rates.call * rates.gemm_calls + products + copied + moved

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        geometry, weights = self.geometry, self.weights
        xp = backend.xp
        forward, backward, zeros, sizes = [], [], [], []
        for axis in geometry.axes:
            taps = np.arange(axis.taps)
            reads = range(0, axis.extent, axis.dilation)
            forward.append([_AxisPhases(taps[None], reads, axis.stride, axis.outputs, 0, 1, 1)])
            phases, around = _polyphases(axis)
            backward.append(phases)
            zeros.append(around)
            start, stop = read_range(axis)
            sizes.append(stop - start)
        outputs = tuple(axis.outputs for axis in geometry.axes)
        self._padding = padding_of(geometry.axes, xp)
        self._forward = _Direction(Extension(geometry.axes, xp), forward, outputs, weights, backend)
        zeros_outside = Extension(tuple(zeros), xp)
        across = weights.swapaxes(1, 2)
        self._backward = _Direction(zeros_outside, backward, tuple(sizes), across, backend)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """See `Method.forward`."""
        return self._summed(x, out, self._forward.product)

    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """See `Method.transpose`."""
        return self._summed(y, out, self._unpadded)

    def _unpadded(self, y: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
        padded = self._backward.product(y, dtype, self._padding.target(out))
        return placed(self._padding.unpad(padded), out)

    def _summed(
        self, x: Array, out: Array | None, product: Callable[[Array, np.dtype[Any], Array | None], Array]
    ) -> Array:
        """Return a product, computed in float32 if the result is of half precision.

        A product of a kernel of small integers and an array of half precision on a GPU has such a result.
        """
        dtype = np.result_type(x.dtype, self.weights.dtype)
        if not is_half(dtype):
            return product(x, dtype, out)
        full = np.dtype(np.float32)
        return placed(product(x.astype(full), full, None).astype(dtype), out)
