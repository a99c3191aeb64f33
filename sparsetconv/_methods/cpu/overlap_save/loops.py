"""Convolution of tiles by Fourier transforms, compiled. Imported when first needed, by ``fft`` alone.

Written with the operators of ``emit``, as the stencil is. A vector's lanes are tiles: each instruction does
the same to as many tiles as a vector has elements, so that transforms along any axis read and write whole
vectors. A real tile is half a complex one: two of them travel as real and imaginary part, which a real kernel
does not mix.

Transforms go in place through steps of radix 4 (a last one of 2): forward from long to short, which leaves
the frequencies with their digits reversed, and back from short to long. The kernel's transform is kept in the
same order, so nothing is ever sorted (decimation in frequency forward, in time backward; Cooley and Tukey
1965).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._methods.cpu import emit
from sparsetconv._methods.cpu.emit import (
    INTEGER,
    SHORT,
    VECTOR_BYTES,
    Code,
    Memory,
    Value,
    bytes_of,
    loops_of,
)
from sparsetconv._methods.cpu.overlap_save import plan
from sparsetconv._methods.cpu.overlap_save import plan as tb


class _Arrays(NamedTuple):
    """What the loops work on; ``buffer`` is a thread's own."""

    x: Memory
    out: Memory
    spectra: Memory
    twiddles: Memory
    t: Memory
    buffer: Memory


class _Complex(NamedTuple):
    """A vector of complex numbers, or one number for all its lanes."""

    re: Any
    im: Any


class _Vectors:
    """Vector arithmetic in a function that is being written."""

    def __init__(self, code: Code, element: Any) -> None:
        self.code, self.builder, self.element = code, code.builder, element
        self.size = bytes_of(element)
        self.vector = ir.VectorType(element, VECTOR_BYTES // self.size)
        self._everywhere = ir.Constant(
            ir.VectorType(SHORT, self.vector.count), [SHORT(0)] * self.vector.count
        )

    def _pointer(self, memory: Memory, place: Value) -> Any:
        return self.builder.bitcast(memory.at(place), self.vector.as_pointer())

    def load(self, memory: Memory, place: Value, apart: Value) -> _Complex:
        """Load a vector of real parts, and that of imaginary parts ``apart`` from it."""
        return _Complex(
            *(self.builder.load(self._pointer(memory, p), align=self.size) for p in (place, place + apart))
        )

    def store(self, memory: Memory, place: Value, apart: Value, value: _Complex) -> None:
        for where, part in ((place, value.re), (place + apart, value.im)):
            self.builder.store(part, self._pointer(memory, where), align=self.size)

    def splat(self, memory: Memory, place: Value) -> _Complex:
        """Load one complex number into all lanes."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        parts = []
        for number in (memory[place], memory[place + 1]):
            first = self.builder.insert_element(nothing, number.value, SHORT(0))
            parts.append(self.builder.shuffle_vector(first, nothing, self._everywhere))
        return _Complex(*parts)

    def add(self, a: _Complex, b: _Complex) -> _Complex:
        return _Complex(self.builder.fadd(a.re, b.re), self.builder.fadd(a.im, b.im))

    def sub(self, a: _Complex, b: _Complex) -> _Complex:
        return _Complex(self.builder.fsub(a.re, b.re), self.builder.fsub(a.im, b.im))

    def product(self, a: _Complex, b: _Complex, conjugate: bool = False) -> _Complex:
        """Multiply, by the conjugate of ``b`` if so wanted."""
        fuse = ("contract",)
        multiply, add, sub = self.builder.fmul, self.builder.fadd, self.builder.fsub
        straight = multiply(a.re, b.re, flags=fuse), multiply(a.im, b.im, flags=fuse)
        across = multiply(a.im, b.re, flags=fuse), multiply(a.re, b.im, flags=fuse)
        if conjugate:
            return _Complex(add(*straight, flags=fuse), sub(*across, flags=fuse))
        return _Complex(sub(*straight, flags=fuse), add(*across, flags=fuse))


def _times_i(v: _Vectors, a: _Complex, inverse: bool) -> _Complex:
    """Return ``-i * a``, or ``i * a``."""
    negative = v.builder.fneg(a.re if not inverse else a.im)
    return _Complex(negative, a.re) if inverse else _Complex(a.im, negative)


def _radix_4(
    v: _Vectors, m: _Arrays, place: Value, apart: Value, quarter: Value, twiddle: Value, inverse: bool
) -> None:
    """Do one butterfly of four numbers, ``quarter`` apart from one another."""
    places = [place + quarter * n for n in range(4)]
    a = [v.load(m.buffer, p, apart) for p in places]
    w = [v.splat(m.twiddles, twiddle + 2 * n) for n in range(3)]
    if inverse:
        a[1:] = [v.product(number, factor, True) for number, factor in zip(a[1:], w, strict=True)]
    even, odd = (v.add(a[0], a[2]), v.add(a[1], a[3])), (v.sub(a[0], a[2]), v.sub(a[1], a[3]))
    turned = _times_i(v, odd[1], inverse)
    results = [v.add(*even), v.add(odd[0], turned), v.sub(*even), v.sub(odd[0], turned)]
    if not inverse:
        results[1:] = [v.product(number, factor) for number, factor in zip(results[1:], w, strict=True)]
    for p, result in zip(places, results, strict=True):
        v.store(m.buffer, p, apart, result)


def _emit_line(code: Code, m: _Arrays, start: Value, step: Value, apart: Value, length: Value, bits: Value,
               inverse: bool) -> None:  # fmt: skip
    """Transform ``length = 2**bits`` vectors, ``step`` elements apart."""
    v = _Vectors(code, m.buffer.element)
    odd = bits % 2

    def pairs() -> None:
        with code.when(odd.equals(1)), code.loop(0, length, 2) as number:
            place = start + number * step
            a, b = v.load(m.buffer, place, apart), v.load(m.buffer, place + step, apart)
            v.store(m.buffer, place, apart, v.add(a, b))
            v.store(m.buffer, place + step, apart, v.sub(a, b))

    def stage(quarter: Value) -> None:
        twiddles = quarter * 6
        with code.loop(0, length, quarter * 4) as block, code.loop(0, quarter) as k:
            place = start + (block + k) * step
            _radix_4(v, m, place, apart, quarter * step, twiddles + k * 6, inverse)

    size = code.variable(length // 4)
    if inverse:
        pairs()
        size.set(odd + 1)
        with code.repeat(lambda: size.now < length):
            stage(size.now)
            size.set(size.now * 4)
    else:
        with code.repeat(lambda: code.integer(0) < size.now):
            stage(size.now)
            size.set(size.now // 4)
        pairs()


def _emit_multiply(code: Code, m: _Arrays, start: Value, to: Value, apart: Value, count: Value,
                   spectrum: Value, more: Value) -> None:  # fmt: skip
    """Set, or with ``more`` add to, ``count`` vectors: those at ``start`` times the kernel's spectrum."""
    v = _Vectors(code, m.buffer.element)
    width = v.vector.count
    with code.loop(0, count) as number:
        factor = v.splat(m.spectra, spectrum + number * 2)
        product = v.product(v.load(m.buffer, start + number * width, apart), factor)
        place = to + number * width
        with code.either(more.differs(0)) as (further, first):
            with further:
                v.store(m.buffer, place, apart, v.add(v.load(m.buffer, place, apart), product))
            with first:
                v.store(m.buffer, place, apart, product)


def _emit_transform(code: Code, m: _Arrays, origin: Value, axis: Value, apart: Value, inverse: bool) -> None:
    """Transform all lines of tiles along the axis whose numbers are at ``axis``."""
    width = VECTOR_BYTES // bytes_of(m.buffer.element)
    step, starts = m.t[axis + tb.STRIDE] * width, m.t[axis + tb.LINE_STARTS]
    with code.loop(0, m.t[axis + tb.LINES]) as line:
        start = origin + m.t[starts + line] * width
        _emit_line(code, m, start, step, apart, m.t[axis + tb.LENGTH], m.t[axis + tb.BITS], inverse)


def _emit_lanes(
    code: Code, m: _Arrays, first: Value, tiles: Value, origin: Value, apart: Value,
    body: Callable[..., None],
) -> None:  # fmt: skip
    """Emit ``body`` for each tile of a unit: its item, its number, where it goes, and which part it is."""
    t = m.t
    width = VECTOR_BYTES // bytes_of(m.buffer.element)
    parts = t[tb.PARTS]
    # a complex tile has both its parts in a lane; of real ones the second half are imaginary parts
    with code.loop(0, t[tb.SLOTS] * parts) as number:
        part, lane = number // width, number % width
        slot = first + parts.equals(2).choose(lane, number)
        place = origin + lane + apart * part
        there = slot < tiles
        body(slot // t[tb.TILES], slot % t[tb.TILES], place, parts.equals(2).choose(part, 0), there)


def _emit_gather(code: Code, m: _Arrays, first: Value, tiles: Value, group: Value, channel: Value,
                 origin: Value, apart: Value) -> None:  # fmt: skip
    """Copy tiles of the extended source of one channel into lanes."""
    t = m.t
    width = VECTOR_BYTES // bytes_of(m.buffer.element)

    def gather(item: Value, tile: Value, place: Value, part: Value, there: Value) -> None:
        plane = (item * t[tb.CHANNEL_GROUPS] + group) * t[tb.C_IN] + channel
        start = plane * t[tb.IN_SIZE] * t[tb.PARTS] + part
        columns = t[tb.COLUMNS] + tile % t[tb.LAST_TILES] * t[tb.LAST_STEP]
        rows = t[tb.IN_ROWS] + tile // t[tb.LAST_TILES] * t[tb.ROWS]
        with code.loop(0, t[tb.ROWS]) as row:
            base = there.choose(t[there.choose(rows + row, 0)], -1)
            to = place + t[t[tb.ROW_VECTORS] + row] * width
            with code.either(base < 0) as (nothing, something):
                with nothing, code.loop(0, t[tb.LAST_LENGTH]) as j:
                    m.buffer[to + j * width] = 0
                with something, code.loop(0, t[tb.LAST_LENGTH]) as j:
                    sample = t[columns + j]
                    known = m.x[start + (base + sample.maximum(0)) * t[tb.PARTS]]
                    zero = Value(code, ir.Constant(m.x.element, 0))
                    m.buffer[to + j * width] = (sample < 0).choose(zero, known)

    _emit_lanes(code, m, first, tiles, origin, apart, gather)


def _emit_scatter(code: Code, m: _Arrays, first: Value, tiles: Value, group: Value, channel: Value,
                  origin: Value, apart: Value) -> None:  # fmt: skip
    """Copy what is valid of the results from lanes to one channel of the output."""
    t = m.t
    width = VECTOR_BYTES // bytes_of(m.buffer.element)

    def scatter(item: Value, tile: Value, place: Value, part: Value, there: Value) -> None:
        plane = (item * t[tb.CHANNEL_GROUPS] + group) * t[tb.C_OUT] + channel
        begin = tile % t[tb.LAST_TILES] * t[tb.LAST_VALID]
        start = plane * t[tb.OUT_SIZE] * t[tb.PARTS] + part
        count = t[tb.LAST_VALID].minimum(t[tb.LAST_OUTPUTS] - begin)
        step = t[tb.LAST_SUBSTEP] * width
        rows = t[tb.OUT_ROWS] + tile // t[tb.LAST_TILES] * t[tb.VALID_ROWS]
        with code.when(there), code.loop(0, t[tb.VALID_ROWS]) as row:
            base, source = t[rows + row], place + t[t[tb.VALID_VECTORS] + row] * width
            with code.when(base >= 0), code.loop(0, count) as j:
                m.out[start + (base + begin + j) * t[tb.PARTS]] = m.buffer[source + j * step]

    _emit_lanes(code, m, first, tiles, origin, apart, scatter)


def emit_tiles(code: Code, m: _Arrays, counter: Any, tiles: Value, units: Value, last: Value) -> None:
    """Convolve units of tiles until ``counter``, which tells all threads the next, has reached ``last``."""
    t = m.t
    apart = t[tb.SIZE] * (VECTOR_BYTES // bytes_of(m.buffer.element))
    end = t[tb.AXES] + t[tb.DIMENSIONS] * tb.AXIS

    def take() -> Any:
        return Value(code, code.builder.atomic_rmw("add", counter, INTEGER(1), "monotonic"))

    number = code.variable(take())
    with code.repeat(lambda: number.now < last):
        group, slot = number.now // units, number.now % units * t[tb.SLOTS]
        with code.loop(0, t[tb.C_IN]) as channel:
            origin = channel * apart * 2
            _emit_gather(code, m, slot, tiles, group, channel, origin, apart)
            with code.loop(t[tb.AXES], end, tb.AXIS) as axis:
                _emit_transform(code, m, origin, axis, apart, False)
        # with one channel the product takes the place of its factor
        alone = t[tb.C_IN].equals(1) & t[tb.C_OUT].equals(1)
        result = alone.choose(0, t[tb.C_IN]) * apart * 2
        with code.loop(0, t[tb.C_OUT]) as channel:
            with code.loop(0, t[tb.C_IN]) as source:
                kernel = ((group * t[tb.C_OUT] + channel) * t[tb.C_IN] + source) * t[tb.SIZE] * 2
                _emit_multiply(code, m, source * apart * 2, result, apart, t[tb.SIZE], kernel, source)
            with code.loop(t[tb.AXES], end, tb.AXIS) as axis:
                _emit_transform(code, m, result, axis, apart, True)
            _emit_scatter(code, m, slot, tiles, group, channel, result, apart)
        number.set(take())


_loops = loops_of(lambda code, arrays, *rest: emit_tiles(code, _Arrays(*arrays), *rest))


def _compiled(version: int) -> Any:
    """Return the compiled function. Its closure, ``version``, is part of what numba's cache compares."""

    @compiled
    def convolve_tiles(
        x: Any, out: Any, spectra: Any, twiddles: Any, t: Any, buffer: Any, counter: Any, tiles: int,
        units: int, last: int,
    ) -> None:  # fmt: skip
        """Compute ``last`` units, ``units`` for each channel group; threads share them by ``counter``.

        ``tiles`` are those of all items of the batch.
        """
        _loops(x, out, spectra, twiddles, t, buffer, counter, tiles, units, last, version)

    return convolve_tiles


convolve_tiles = _compiled(version_of(emit, plan))
