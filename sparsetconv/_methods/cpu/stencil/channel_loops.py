"""The compiled loops of the stencil if the lanes of a vector hold channels of the result; see ``lanes``.

A register block has a few consecutive places of a line and `CHANNEL_VECTORS` vectors of channels. Each sample
is multiplied by vectors of weights. The results are transposed when they are stored.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from sparsetconv._arrays import record as record_module
from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._arrays.record import Record, size
from sparsetconv._methods.cpu import emit, team
from sparsetconv._methods.cpu.emit import INTEGER, Value, splat, vector_at, vector_of
from sparsetconv._methods.cpu.stencil import lanes, records
from sparsetconv._methods.cpu.stencil import micro_kernel as micro_kernel_module
from sparsetconv._methods.cpu.stencil import source as source_module
from sparsetconv._methods.cpu.stencil import tiles as tiles_module
from sparsetconv._methods.cpu.stencil.lanes import PLACE_COUNTS, PLACES
from sparsetconv._methods.cpu.stencil.micro_kernel import Arrays, TapList, TapLoop, multiply_add
from sparsetconv._methods.cpu.stencil.records import CHANNEL_VECTORS, ROW_BLOCK
from sparsetconv._methods.cpu.stencil.source import Source, Span
from sparsetconv._methods.cpu.stencil.tiles import Item, Series, block_channels, emit_stencil, tap_list
from sparsetconv._methods.cpu.team import loops_of


def channel_kernel(m: Arrays, source: Any, taps: TapList, places: int) -> list[list[Any]]:
    """Return the sums over taps of vectors of weights times ``source[offset + place]``, for each place."""
    code, builder, element = m.code, m.code.builder, m.x.element
    vector = vector_of(element)
    zero = ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)

    def add(read: Any, place: Any, sums: list[list[Any]]) -> list[list[Any]]:
        weights = [
            vector_at(builder, builder.gep(place, [INTEGER(number * vector.count)]), vector)
            for number in range(CHANNEL_VECTORS)
        ]
        first = builder.gep(source, [read])
        added = []
        for number, row in enumerate(sums):
            sample = splat(builder, builder.load(builder.gep(first, [INTEGER(number)])), vector)
            added.append(
                [multiply_add(code, element, w, sample, now) for w, now in zip(weights, row, strict=True)]
            )
        return added

    sums = [[zero] * CHANNEL_VECTORS for _ in range(places)]
    return TapLoop(m, taps).next_range(sums, CHANNEL_VECTORS * vector.count, add)


def emit_transposed(m: Arrays, series: Series, to: Value, channels: Value, count: Value, most: int) -> None:
    """Store, or add, ``count`` results of each channel of a block, from place ``to`` of the channel on.

    They are in rows of channels in front of the tile buffer; ``most`` is the number of rows.
    """
    code, out, buffer, target = m.code, m.out, m.buffer, series.target
    row, (starts, abreast) = CHANNEL_VECTORS * m.width, block_channels(m, channels)
    straight = target.step.equals(1) & target.adds.equals(0) & count.equals(most)
    with code.loop(0, abreast) as channel:
        begin = to + m.t[starts + channel]
        with code.either(straight) as (all_of_them, some):
            with all_of_them:
                for number in range(most):
                    out[begin + number] = buffer[channel + number * row]
            with some, code.loop(0, count) as j:
                place, result = begin + j * target.step, buffer[channel + j * row]
                with code.either(target.adds.differs(0)) as (adding, setting):
                    with adding:
                        out[place] = out.sum(out[place], result)
                    with setting:
                        out[place] = result


def emit_places(m: Arrays, series: Series, block: Record, channels: Value, places: tuple[Value, Value],
                source: Source, item: Item) -> None:  # fmt: skip
    """Compute a register block: the first of ``places`` of a line, and their number; a block of channels."""
    code, buffer, target, (begin, count) = m.code, m.buffer, series.target, places
    to = series.place + block.lines[0] * target.line + begin * target.step
    with code.loop(0, series.paired + 1) as odd:
        run = series.runs[odd]
        taps = tap_list(m, series, run, channels, item, m.header.offsets)
        base = block.base + source.origin + run.base + begin
        for most in PLACE_COUNTS:
            # the smallest register block that is large enough
            fits = count.equals(most) if most > PLACE_COUNTS[0] else count < most + 1
            with code.when(fits):
                for place, row in enumerate(channel_kernel(m, buffer.at(base), taps, most)):
                    for v, value in enumerate(row):
                        buffer.store_vector((place * CHANNEL_VECTORS + v) * m.width, value)
                emit_transposed(m, series, to + odd, channels, count, most)


def emit_results(m: Arrays, series: Series, blocks: tuple[Value, Value], run: Record, span: Span,
                 source: Source, item: Item) -> None:  # fmt: skip
    """Compute the results of a run in ``span``, for row blocks of one pattern.

    Blocks of channels are outermost, so that their weights stay in cache for all lines of a tile.
    """
    code = m.code
    del run
    count = span.high - span.low
    number = (count + PLACES - 1) // PLACES
    each, more = count // number, count % number
    with code.loop(0, m.header.channel_blocks) as channels, code.loop(*blocks, size(ROW_BLOCK)) as block:
        begin = code.variable(span.low)
        with code.loop(0, number) as n:
            own = each + (n < more).choose(1, 0)
            emit_places(m, series, Record(m.t, block, ROW_BLOCK), channels, (begin.now, own), source, item)
            begin.add(own)


_loops = loops_of(
    lambda _, arrays, *rest: emit_stencil(Arrays(*arrays), emit_results, *rest), rolled=True, noalias=True
)


def _compiled(version: int) -> Any:
    """Return the compiled function; ``version`` is in its closure, and so in the key of numba's cache."""

    @compiled
    def channel_stencil(
        x: Any, out: Any, buffer: Any, weights: Any, t: Any, w: Any, counter: Any, first: int, tiles: int,
        last: int,
    ) -> None:  # fmt: skip
        """Compute tiles as `loops.stencil` does, for plans whose lanes hold channels."""
        _loops(x, out, buffer, weights, t, w, counter, first, tiles, last, version)

    return channel_stencil


channel_stencil = _compiled(
    version_of(emit, team, record_module, records, micro_kernel_module, source_module, tiles_module, lanes)
)
