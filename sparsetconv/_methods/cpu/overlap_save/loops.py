"""The compiled loops of overlap-save: gather tiles, transform, multiply, transform back, scatter the results.

The module is imported when first needed, by ``fft`` only, and written with the operators of ``emit``. Each
lane of a vector holds a different tile, so that transforms along any axis read and write whole vectors. Two
real tiles are transformed as the real and imaginary parts of one complex tile, which a real kernel does not
mix.

Transforms are in place, with stages of radix 4, and one of radix 2 if the logarithm of the length is odd. The
forward transform (decimation in frequency) proceeds from long to short stages and leaves the frequencies in
digit-reversed order; the inverse (decimation in time) proceeds from short to long stages. The kernel's
spectrum is stored in the same order, so that no reordering pass is needed (Cooley and Tukey 1965).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from sparsetconv._arrays import record as record_module
from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._arrays.record import Record, Records, size
from sparsetconv._methods.cpu import emit, team
from sparsetconv._methods.cpu.emit import Memory, Value, splat, vector_of
from sparsetconv._methods.cpu.overlap_save import records
from sparsetconv._methods.cpu.overlap_save.records import AXIS, HEADER
from sparsetconv._methods.cpu.team import loops_of

# bytes of a vector: half of one of AVX-512, with which the tiles would take more of the caches, and more time
LANES_BYTES = min(emit.VECTOR_BYTES, 32)


class _Arrays(NamedTuple):
    """The arrays of the loops; each thread has its own ``buffer``."""

    x: Memory
    out: Memory
    spectra: Memory
    twiddles: Memory
    t: Memory
    buffer: Memory


class _Complex(NamedTuple):
    """A vector of complex numbers, as a vector of real parts and one of imaginary parts."""

    re: Any
    im: Any


class _Vectors:
    """Emit arithmetic on vectors, whose lanes are tiles.

    Attributes
    ----------
    header : Record
        The numbers at the front of all tables.
    width : int
        Elements of a vector.
    apart : Value
        Distance in the buffer, in elements, from the real to the imaginary parts of a channel's tiles.
    """

    def __init__(self, m: _Arrays) -> None:
        self.m, self.code, self.builder = m, m.t.code, m.t.code.builder
        self.header = Record(m.t, 0, HEADER)
        self._vector = vector_of(m.buffer.element, LANES_BYTES)
        self.width: int = self._vector.count
        self.apart: Value = self.header.size * self.width

    def load(self, place: Value) -> _Complex:
        """Load a vector of the buffer: its real parts, and its imaginary parts."""
        parts = place, place + self.apart
        return _Complex(*(self.m.buffer.vector(part, self._vector) for part in parts))

    def store(self, place: Value, value: _Complex) -> None:
        """Store a vector in the buffer."""
        for part, own in zip((place, place + self.apart), value, strict=True):
            self.m.buffer.store_vector(part, own)

    def splat(self, memory: Memory, place: Value) -> _Complex:
        """Broadcast one complex number to all lanes."""
        numbers = memory[place], memory[place + 1]
        return _Complex(*(splat(self.builder, number.value, self._vector) for number in numbers))

    def add(self, a: _Complex, b: _Complex) -> _Complex:
        return _Complex(self.builder.fadd(a.re, b.re), self.builder.fadd(a.im, b.im))

    def sub(self, a: _Complex, b: _Complex) -> _Complex:
        return _Complex(self.builder.fsub(a.re, b.re), self.builder.fsub(a.im, b.im))

    def product(self, a: _Complex, b: _Complex, conjugate: bool = False) -> _Complex:
        """Return ``a * b``, or ``a`` times the conjugate of ``b``."""
        fuse = ("contract",)
        multiply, add, sub = self.builder.fmul, self.builder.fadd, self.builder.fsub
        straight = multiply(a.re, b.re, flags=fuse), multiply(a.im, b.im, flags=fuse)
        across = multiply(a.im, b.re, flags=fuse), multiply(a.re, b.im, flags=fuse)
        if conjugate:
            return _Complex(add(*straight, flags=fuse), sub(*across, flags=fuse))
        return _Complex(sub(*straight, flags=fuse), add(*across, flags=fuse))


def _times_i(v: _Vectors, a: _Complex, inverse: bool) -> _Complex:
    """Return ``-i * a``, or ``i * a`` for the inverse transform."""
    negative = v.builder.fneg(a.re if not inverse else a.im)
    return _Complex(negative, a.re) if inverse else _Complex(a.im, negative)


def _radix_4(v: _Vectors, place: Value, quarter: Value, twiddle: Value, inverse: bool) -> None:
    """Emit one radix-4 butterfly, in place, on four vectors that are ``quarter`` elements apart."""
    places = [place + quarter * n for n in range(4)]
    a = [v.load(p) for p in places]
    w = [v.splat(v.m.twiddles, twiddle + 2 * n) for n in range(3)]
    if inverse:
        a[1:] = [v.product(number, factor, True) for number, factor in zip(a[1:], w, strict=True)]
    even, odd = (v.add(a[0], a[2]), v.add(a[1], a[3])), (v.sub(a[0], a[2]), v.sub(a[1], a[3]))
    rotated = _times_i(v, odd[1], inverse)
    results = [v.add(*even), v.add(odd[0], rotated), v.sub(*even), v.sub(odd[0], rotated)]
    if not inverse:
        results[1:] = [v.product(number, factor) for number, factor in zip(results[1:], w, strict=True)]
    for p, result in zip(places, results, strict=True):
        v.store(p, result)


class _Line(NamedTuple):
    """A line of ``length = 2**bits`` vectors of the buffer, ``step`` elements apart."""

    start: Value
    step: Value
    length: Value
    bits: Value


def _emit_line(v: _Vectors, line: _Line, inverse: bool) -> None:
    """Transform a line."""
    code, (start, step, length, bits) = v.code, line
    odd = bits % 2

    def pairs() -> None:
        with code.when(odd.equals(1)), code.loop(0, length, 2) as number:
            place = start + number * step
            a, b = v.load(place), v.load(place + step)
            v.store(place, v.add(a, b))
            v.store(place + step, v.sub(a, b))

    def stage(quarter: Value) -> None:
        twiddles = quarter * 6
        with code.loop(0, length, quarter * 4) as block, code.loop(0, quarter) as k:
            place = start + (block + k) * step
            _radix_4(v, place, quarter * step, twiddles + k * 6, inverse)

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


def _emit_multiply(v: _Vectors, start: Value, to: Value, spectrum: Value, more: Value) -> None:
    """Multiply the tiles at ``start`` by a spectrum; store the product at ``to``, or add it if ``more``."""
    with v.code.loop(0, v.header.size) as number:
        factor = v.splat(v.m.spectra, spectrum + number * 2)
        product = v.product(v.load(start + number * v.width), factor)
        place = to + number * v.width
        with v.code.either(more.differs(0)) as (further, first):
            with further:
                v.store(place, v.add(v.load(place), product))
            with first:
                v.store(place, product)


def _emit_transform(v: _Vectors, origin: Value, axis: Record, inverse: bool) -> None:
    """Transform all lines of a pack's tiles along an axis."""
    step, starts = axis.stride * v.width, axis.line_starts
    with v.code.loop(0, axis.lines) as line:
        start = origin + v.m.t[starts + line] * v.width
        _emit_line(v, _Line(start, step, axis.length, axis.bits), inverse)


class _Pack(NamedTuple):
    """Tiles that are computed together: the first tile, the total number of tiles, and the channel group."""

    first: Value
    tiles: Value
    group: Value


def _emit_lanes(v: _Vectors, pack: _Pack, origin: Value, body: Callable[..., None]) -> None:
    """Emit ``body(item, tile, place, part, there)`` for each tile of a pack, and each part of a complex tile.

    ``place`` is the first element of the tile's lane in the buffer, ``part`` is 1 for imaginary parts of
    samples, and ``there`` is false past the last tile, since the last pack may not be full.
    """
    code, header, parts = v.code, v.header, v.header.parts
    # both parts of a complex tile are in the same lane; of real tiles, the second half are stored as
    # imaginary parts
    with code.loop(0, header.pack * parts) as number:
        part, lane = number // v.width, number % v.width
        tile = pack.first + parts.equals(2).choose(lane, number)
        place = origin + lane + v.apart * part
        there = tile < pack.tiles
        body(tile // header.tiles, tile % header.tiles, place, parts.equals(2).choose(part, 0), there)


def _emit_gather(v: _Vectors, pack: _Pack, channel: Value, origin: Value) -> None:
    """Copy tiles of the padded input of one channel into lanes."""
    code, m, header = v.code, v.m, v.header

    def gather(item: Value, tile: Value, place: Value, part: Value, there: Value) -> None:
        plane = (item * header.channel_groups + pack.group) * header.c_in + channel
        start = plane * header.in_size * header.parts + part
        columns = header.columns + tile % header.last_tiles * header.last_step
        rows = header.in_rows + tile // header.last_tiles * header.rows
        with code.loop(0, header.rows) as row:
            base = there.choose(m.t[there.choose(rows + row, 0)], -1)
            to = place + m.t[header.row_vectors + row] * v.width
            with code.either(base < 0) as (nothing, something):
                with nothing, code.loop(0, header.last_length) as j:
                    m.buffer[to + j * v.width] = 0
                with something, code.loop(0, header.last_length) as j:
                    sample = m.t[columns + j]
                    known = m.x[start + (base + sample.maximum(0)) * header.parts]
                    zero = Value(code, ir.Constant(m.x.element, 0))
                    m.buffer[to + j * v.width] = (sample < 0).choose(zero, known)

    _emit_lanes(v, pack, origin, gather)


def _emit_scatter(v: _Vectors, pack: _Pack, channel: Value, origin: Value) -> None:
    """Copy the valid results of tiles from their lanes to one channel of the output."""
    code, m, header = v.code, v.m, v.header

    def scatter(item: Value, tile: Value, place: Value, part: Value, there: Value) -> None:
        plane = (item * header.channel_groups + pack.group) * header.c_out + channel
        begin = tile % header.last_tiles * header.last_valid
        start = plane * header.out_size * header.parts + part
        count = header.last_valid.minimum(header.last_outputs - begin)
        step = header.last_substep * v.width
        rows = header.out_rows + tile // header.last_tiles * header.valid_rows
        with code.when(there), code.loop(0, header.valid_rows) as row:
            base, source = m.t[rows + row], place + m.t[header.valid_vectors + row] * v.width
            with code.when(base >= 0), code.loop(0, count) as j:
                m.out[start + (base + begin + j) * header.parts] = m.buffer[source + j * step]

    _emit_lanes(v, pack, origin, scatter)


def emit_tiles(m: _Arrays, counter: Any, tiles: Value, packs: Value, last: Value) -> None:
    """Convolve packs of tiles until the threads' common ``counter`` of packs reaches ``last``."""
    v = _Vectors(m)
    code, header, axes = v.code, v.header, Records(m.t, v.header.axes, AXIS)
    end = axes.at(header.ndim)
    with code.shared(counter, last) as number:
        group, first = number // packs, number % packs * header.pack
        pack = _Pack(first, tiles, group)
        with code.loop(0, header.c_in) as channel:
            origin = channel * v.apart * 2
            _emit_gather(v, pack, channel, origin)
            with code.loop(header.axes, end, size(AXIS)) as axis:
                _emit_transform(v, origin, Record(m.t, axis, AXIS), False)
        # with one channel the product overwrites the tile's spectrum
        alone = header.c_in.equals(1) & header.c_out.equals(1)
        result = alone.choose(0, header.c_in) * v.apart * 2
        with code.loop(0, header.c_out) as channel:
            with code.loop(0, header.c_in) as source:
                kernel = ((group * header.c_out + channel) * header.c_in + source) * header.size * 2
                _emit_multiply(v, source * v.apart * 2, result, kernel, source)
            with code.loop(header.axes, end, size(AXIS)) as axis:
                _emit_transform(v, result, Record(m.t, axis, AXIS), True)
            _emit_scatter(v, pack, channel, result)


_loops = loops_of(lambda _, arrays, *rest: emit_tiles(_Arrays(*arrays), *rest))


def _compiled(version: int) -> Any:
    """Return the compiled function; ``version`` is in its closure, and so in the key of numba's cache."""

    @compiled
    def convolve_tiles(
        x: Any, out: Any, spectra: Any, twiddles: Any, t: Any, buffer: Any, counter: Any, tiles: int,
        packs: int, last: int,
    ) -> None:  # fmt: skip
        """Compute ``packs`` packs of tiles for each channel group; ``last`` is the total number of packs.

        Threads take the next pack from the shared ``counter``. ``tiles`` is the total number of tiles of all
        items of the batch.
        """
        _loops(x, out, spectra, twiddles, t, buffer, counter, tiles, packs, last, version)

    return convolve_tiles


convolve_tiles = _compiled(version_of(emit, team, record_module, records))
