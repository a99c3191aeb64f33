"""Method ``"direct"``: a compiled stencil, with the same loops for both directions.

The direction, padding mode, stride and number of channels affect only the tables of ``stencil.plan``. This
module runs the loops of ``stencil.loops`` on arrays and tables, in several threads. It imports ``stencil``
when the first plan is made.
"""

from __future__ import annotations

import sys
import threading
from math import log2, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays import memory
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.layout import aligned
from sparsetconv._arrays.record import size
from sparsetconv._arrays.results import placed, result_array
from sparsetconv._arrays.threads import thread_count
from sparsetconv._methods.base import PaddedMethod, far_padding
from sparsetconv._methods.cpu.rates import vector_bytes
from sparsetconv._methods.cpu.stencil.records import CHANNEL_VECTORS
from sparsetconv._methods.work import SMALL

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.cpu.stencil.partition import Layout
    from sparsetconv._methods.cpu.stencil.plan import Plan
    from sparsetconv._methods.work import Rates, Work

# lines of results that share the loaded samples of the source; factor of the time per tap for a line alone
SHARING, ALONE = 4, 2.0
# factor of the time to move samples or results that are not consecutive
APART = 2.0
# multiplications above which a second thread pays off
THREAD_WORK = 1 << 20
# the tile buffers that threads keep from call to call, for each dtype
_kept = threading.local()
# the module of the loops, which is imported with the first plan
LOOPS = "sparsetconv._methods.cpu.stencil.loops"


class DirectMethod(PaddedMethod):
    """A stencil whose micro-kernel sums over all taps in a register block of vectors.

    The first call for a dtype compiles (a second or less; numba caches the result on disk). Integers are
    summed in 64 bits and wrap around as in NumPy.
    """

    name = "direct"
    compiled = True

    @staticmethod
    def seconds(work: Work, rates: Rates) -> float:
        """See `Method.seconds`."""
        # lanes hold places of a line, or channels: what leaves fewer of them empty
        lanes = vector_bytes() // work.real_bytes
        held = (work.line, lanes), (work.channels[1], CHANNEL_VECTORS * lanes)
        excess = min(-(-number // block) * block / number for number, block in held)
        parts = 2 if work.dtype.kind == "c" else 1
        alone: float = ALONE ** (1 - log2(min(work.together * parts, SHARING)) / log2(SHARING))
        multiplied = work.multiplies(rates.word) * rates.multiply * excess * alone
        lines = work.lines + work.source_lines
        apart = parts > 1 or work.geometry.axes[-1].stride > 1
        moved = rates.byte * work.moved * (APART if apart else 1)
        return rates.call + multiplied + rates.line * lines + moved

    @classmethod
    def is_ready(cls, dtype: np.dtype[Any]) -> bool:
        """See `Method.is_ready`."""
        loops = sys.modules.get(LOOPS)
        return loops is not None and loops.is_loaded(_real(dtype))

    def __init__(self, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> None:
        super().__init__(geometry, weights, backend)
        self._given = geometry
        self._padding, self._axes = far_padding(self.geometry.axes)
        self._plans: dict[tuple[bool, Layout], Plan] = {}
        self._prepared: dict[tuple[bool, np.dtype[Any]], _Direction] = {}

    def with_weights(self, weights: Array) -> DirectMethod:
        """Return the method for other weights of the same shape, with the same plans."""
        other = DirectMethod(self._given, weights)
        other._plans = self._plans
        return other

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """See `Method.forward`."""
        return self._computed(self._padding.pad(x), False, out)

    def transpose(self, y: Array, out: Array | None = None) -> Array:
        """See `Method.transpose`."""
        padded = self._computed(y, True, self._padding.target(out))
        return placed(self._padding.unpad(padded), out)

    def vector(self, x: Array, transposed: bool, out: Array | None = None) -> Array:
        """See `Method.vector`."""
        if not self._padding.is_whole:
            return super().vector(x, transposed, out)
        own = self._prepared.get((transposed, x.dtype)) or self._prepare(transposed, x.dtype)
        return own.product(np.ascontiguousarray(x), 1, out)

    def _computed(self, x: Array, transposed: bool, out: Array | None) -> Array:
        own = self._prepared.get((transposed, x.dtype)) or self._prepare(transposed, x.dtype)
        flat = None if out is None else out.reshape(-1)
        result = own.product(np.ascontiguousarray(x).reshape(-1), len(x), flat)
        return result.reshape(len(x), *own.shape) if out is None else out

    def _prepare(self, transposed: bool, given: np.dtype[Any]) -> _Direction:
        """Return one direction, for arrays of a dtype."""
        from sparsetconv._methods.cpu.stencil.partition import Layout
        from sparsetconv._methods.cpu.stencil.plan import plan_of

        dtype = np.result_type(given, self.weights.dtype)
        real = _real(dtype)
        weights = self.weights.swapaxes(1, 2) if transposed else self.weights
        plane_parts = item_parts = 1
        if dtype.kind in "iu":
            weights = _wrapped(weights)
        elif weights.dtype.kind == "c":
            weights, plane_parts = _in_parts(weights), 2
        elif dtype.kind == "c":
            # a real kernel multiplies real and imaginary parts separately, as two items of the batch
            item_parts = 2
        groups, results, planes = weights.shape[:3]
        layout = Layout(groups, planes, results, plane_parts, item_parts, real.itemsize)
        plan = self._plans.get((transposed, layout))
        if plan is None:
            made = plan_of(self._axes, transposed, layout, choose_lanes=self.geometry.nnz > SMALL)
            plan = self._plans.setdefault((transposed, layout), made)
        loops = _Loops(plan, weights.astype(real, copy=False))
        shape = groups, (self.large_shape if transposed else self.small_shape)[1], *plan.sizes
        direction = _Direction(plan, loops, shape, dtype, real, self.geometry.nnz)
        return self._prepared.setdefault((transposed, given), direction)


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the loops, for which real and imaginary parts are planes."""
    return np.dtype(np.int64) if dtype.kind in "iu" else np.zeros(0, dtype).real.dtype


class _Direction:
    """One direction, for arrays of one dtype.

    Parameters
    ----------
    plan, loops : Plan, _Loops
    shape : tuple of int
        ``(groups, channels, ...)`` of the results.
    dtype, real : dtype
        Those of the results and of the loops.
    nnz : int
        Entries of the matrix.

    Attributes
    ----------
    shape : tuple of int
    """

    def __init__(
        self,
        plan: Plan,
        loops: _Loops,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        real: np.dtype[Any],
        nnz: int,
    ) -> None:
        self.shape, self._size = shape, prod(shape)
        self._plan, self._loops, self._dtype, self._real, self._nnz = plan, loops, dtype, real, nnz
        # narrower integers are summed in 64 bits and converted at the end
        self._summed = real if dtype.kind in "iu" and dtype.itemsize < real.itemsize else dtype
        self._storing, self._zeros = plan.storing, not plan.stores_all
        self._items = shape[0] * plan.layout.item_parts

    def product(self, x: Array, batch: int, out: Array | None) -> Array:
        """Return the results for a batch of arrays, all flat and contiguous, in ``out`` if that is given."""
        size, real = batch * self._size, self._real
        own = self._summed == self._dtype
        if max(size, x.size) > memory.LARGE_RESULT:
            self._require(x, size, out)
        sums = out if own else None
        if sums is None or self._zeros:
            sums = result_array(sums, (size,), self._summed, zeros=self._zeros)
        values = x if x.dtype == real == self._dtype else self._values(x)
        self._run(values, sums if self._summed == real else sums.view(real), batch)
        return sums if own else placed(sums, result_array(out, (size,), self._dtype))

    def _require(self, x: Array, size: int, out: Array | None) -> None:
        """Check the memory of all new arrays: sums, results if these are others, and operands as read."""
        own, summed = self._summed == self._dtype, self._summed.itemsize
        nbytes = size * summed if out is None or not own else 0
        if out is None and not own:
            nbytes += size * self._dtype.itemsize
        # integers of 64 bits are read where they are, with a sign or without
        whole = self._dtype.kind in "iu"
        if x.dtype.itemsize < summed if whole else x.dtype != self._dtype:
            nbytes += x.size * summed
        memory.require("the product", nbytes, "padding, the batch and conversion to wider numbers add to it")

    def _values(self, x: Array) -> Array:
        """Return an array as the loops read it."""
        return _wrapped(x) if self._dtype.kind in "iu" else x.astype(self._dtype, copy=False).view(self._real)

    def _run(self, x: Array, out: Array, batch: int) -> None:
        items, storing = batch * self._items, self._storing
        workers = 1
        if batch * self._nnz >= THREAD_WORK:
            workers = min(thread_count(), items * storing)
        self._loops.run(x, out, items, 0, storing, workers)
        if self._plan.accumulating:
            # one thread, so that terms are always added to a result in the same order
            self._loops.run(x, out, items, storing, self._plan.accumulating, 1)


class _Loops:
    """The compiled loops of a plan, with packed weights, tables and scratch.

    Parameters
    ----------
    plan : Plan
    weights : (groups, results, planes, k1, ..., kd) array
    """

    def __init__(self, plan: Plan, weights: Array) -> None:
        from sparsetconv._methods.cpu import team
        from sparsetconv._methods.cpu.emit import VECTOR_BYTES, VECTORS
        from sparsetconv._methods.cpu.stencil.plan import loop_tables
        from sparsetconv._methods.cpu.stencil.records import SCRATCH, TALL_ROWS

        if plan.layout.channel_lanes:
            from sparsetconv._methods.cpu.stencil.channel_loops import channel_stencil as stencil
        else:
            from sparsetconv._methods.cpu.stencil.loops import stencil
        self._stencil, self._team = stencil, team
        width = VECTOR_BYTES // weights.itemsize
        # a thread's memory: the rows of an even and an odd phase's register blocks, the tile buffer, and room
        # for vectors that extend past its end
        buffer = 2 * TALL_ROWS * VECTORS * width
        self._kernel = loop_tables(plan, weights, buffer)
        self._elements = buffer + plan.elements + 2 * VECTORS * width
        self._scratch = size(SCRATCH)

    def run(self, x: Array, out: Array, items: int, first: int, count: int, workers: int) -> None:
        """Compute ``count`` tiles of each item, from tile ``first`` on, in ``workers`` threads."""
        buffer, scratch = _buffer(self._elements, x.dtype), np.empty(self._scratch, np.int64)
        arrays, counts = (x, out, buffer, *self._kernel, scratch), (first, count, items * count)
        if workers == 1:
            self._stencil(*arrays, self._team.alone(), *counts)
        else:
            # the tile buffer and the scratch are each thread's own
            self._team.together(self._team.Call(self._stencil, arrays, counts, (2, 5)), workers)


def _buffer(elements: int, dtype: np.dtype[Any]) -> Array:
    """Return a thread's memory for a tile buffer; the thread keeps it, since allocating new memory is slow.

    Vectors read past their last result, and the products of those elements are discarded. New memory is set
    to zero, since multiplying subnormal numbers is slow; memory that is used again has numbers of earlier
    products.
    """
    known: Array | None = getattr(_kept, dtype.char, None)
    if known is not None and known.size >= elements:
        return known
    memory.require("the padded input", elements * dtype.itemsize, "method='fft' needs less")
    buffer = aligned(elements, dtype, zeros=True)
    if buffer.nbytes <= memory.KEPT_BYTES:
        setattr(_kept, dtype.char, buffer)
    return buffer


def _wrapped(x: Array) -> Array:
    """Return integers as int64, modulo 2**64."""
    return x.view(np.int64) if x.dtype == np.uint64 else x.astype(np.int64, copy=False)


def _in_parts(weights: Array) -> Array:
    """Return complex weights as real weights for planes of real and of imaginary parts."""
    re, im = weights.real, weights.imag
    # (groups, results, part, sources, part, ...)
    parts = np.stack([np.stack([re, -im], 3), np.stack([im, re], 3)], 2)
    groups, results, _, sources = parts.shape[:4]
    return parts.reshape(groups, 2 * results, 2 * sources, *parts.shape[5:])
