"""The compiled loops of the stencil if the lanes of a vector hold places of a line; see ``lanes``.

They run the micro-kernel on a tile's source, and store or add the results.

The module is imported when first needed, by ``direct`` and by the gradient's loops. The loops are not
parallel themselves: they release the GIL and are called from several threads, which is safe for concurrent
callers and after a fork, unlike numba's own thread pools. Multiplications may be fused with additions;
nothing else is reordered, so that NaN and infinity propagate as usual.

The loops are written with the operators of ``emit``; numba compiles them for the processor at hand and caches
the result on disk. Each ``emit_`` function emits its code inline, where it is called. All tables of a plan
are in one array of integers, which begins with a header; ``records`` describes its records.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.np.numpy_support import from_dtype

from sparsetconv._arrays import record as record_module
from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._arrays.record import Record, size
from sparsetconv._methods.cpu import emit, team
from sparsetconv._methods.cpu.emit import (
    VECTORS,
    Memory,
    Value,
    Variable,
    shuffled,
    splat,
    vector_of,
)
from sparsetconv._methods.cpu.stencil import lanes, records
from sparsetconv._methods.cpu.stencil import micro_kernel as micro_kernel_module
from sparsetconv._methods.cpu.stencil import source as source_module
from sparsetconv._methods.cpu.stencil import tiles as tiles_module
from sparsetconv._methods.cpu.stencil.lanes import TALL
from sparsetconv._methods.cpu.stencil.micro_kernel import (
    Arrays,
    TapList,
    micro_kernel,
    multiply_add,
    store_sums,
)
from sparsetconv._methods.cpu.stencil.records import BLOCK_ROWS, ROW_BLOCK, TALL_ROWS
from sparsetconv._methods.cpu.stencil.source import Columns, Source, Span, emit_whole
from sparsetconv._methods.cpu.stencil.tiles import (
    Item,
    Series,
    Target,
    block_channels,
    emit_stencil,
    tap_list,
)
from sparsetconv._methods.cpu.team import loops_of


def emit_interleaved(m: Arrays, phases: tuple[Value, Value], to: Value, count: Value) -> None:
    """Store ``count`` results of the even and of the odd phase in turn, from ``to`` on."""
    code, out, buffer, width = m.code, m.out, m.buffer, m.width
    even, odd = phases
    order = [place + part * width for place in range(width) for part in range(2)]
    whole = count // width * width
    with code.loop(0, whole, width) as i:
        pair = buffer.vector(even + i), buffer.vector(odd + i)
        for part in range(2):
            half = order[part * width : (part + 1) * width]
            out.store_vector(to + i * 2 + part * width, shuffled(code.builder, pair, half))
    with code.loop(whole, count) as i:
        out[to + i * 2] = buffer[even + i]
        out[to + i * 2 + 1] = buffer[odd + i]


def emit_store(m: Arrays, phases: tuple[Value, Value], to: Value, count: Value, target: Target,
               pairing: Value) -> None:  # fmt: skip
    """Store, or add, ``count`` results from a row of the buffer to ``out``, from ``to`` on.

    ``phases`` are the rows of the even and the odd phase. If ``pairing`` is zero, only the even phase is
    stored; otherwise the results of both are interleaved, beginning with the even phase.
    """
    code, out, buffer = m.code, m.out, m.buffer
    even, odd = phases
    with code.either(target.adds.differs(0)) as (adding, setting):
        with adding, code.loop(0, pairing.equals(0).choose(1, 2)) as second:
            row = second.equals(0).choose(even, odd)
            with code.loop(0, count) as i:
                place = to + i * target.step + second
                out[place] = out.sum(out[place], buffer[row + i])
        with setting, code.either(pairing.differs(0)) as (pairs, single):
            with pairs:
                emit_interleaved(m, phases, to, count)
            with single, code.loop(0, count) as i:
                out[to + i * target.step] = buffer[even + i]


def buffer_row(m: Arrays, row: Value) -> Value:
    """Return the place in the buffer of a row of results; rows of the odd phase are after the even ones."""
    return row * (VECTORS * m.width)


def emit_rows(m: Arrays, rows: Value, pairing: Value, store: Callable[[Value, Value, Value], None]) -> None:
    """Call ``store`` for the rows in front of the tile buffer, with their even and odd row and their target.

    ``pairing`` is 0 for single rows, 1 if each row is interleaved with the next one (real and imaginary
    parts), 2 if each row is interleaved with a row of its odd phase.
    """
    code = m.code
    with code.loop(0, rows, pairing.equals(1).choose(2, 1)) as row:
        odd = row + pairing.equals(2).choose(TALL_ROWS, pairing)
        store(buffer_row(m, row), buffer_row(m, odd), m.scratch.out_rows[row])


def emit_packed_rows(m: Arrays, rows: Value, vectors: Value, target: Target, pairing: Value) -> None:
    """Store, or add, the results of `emit_vectors` that are in the rows in front of the tile buffer."""
    code, w, scratch, width = m.code, m.w, m.scratch, m.width

    def store(even: Value, odd: Value, to: Value) -> None:
        v = code.variable(0)
        with code.repeat(lambda: v.now < vectors):
            # join whole vectors with consecutive results
            first, place = v.now, scratch.out_steps[v.now]
            count = code.variable(scratch.counts[v.now])
            v.add(1)

            def follows() -> Any:
                last = v.now.minimum(vectors - 1)
                whole = w[scratch.counts.at(v.now, -1)].equals(width)
                there = (v.now < vectors) & whole
                return there & scratch.out_steps[last].equals(place + count.now * target.step)

            with code.repeat(follows):
                count.add(scratch.counts[v.now])
                v.add(1)
            shift = first * width
            emit_store(m, (even + shift, odd + shift), to + place, count.now, target, pairing)

    emit_rows(m, rows, pairing, store)


class Cursor(NamedTuple):
    """The next results: place ``j`` of ``span`` in row block ``block``; the row blocks end at ``last``.

    In each row block the results begin at place ``begin``.
    """

    block: Variable
    last: Value
    j: Variable
    begin: Value
    span: Span


def emit_vectors(m: Arrays, cursor: Cursor, vectors: Value, source: Value, target: Target) -> Value:
    """Set up the next ``vectors`` vectors, those of a register block; return whether all of them are whole.

    They may belong to several row blocks of one pattern. ``source`` is the place of base 0 in the tile
    buffer.
    """
    code, scratch, (block, last, j, begin, span) = m.code, m.scratch, cursor
    own = Record(m.t, block, ROW_BLOCK)
    width, lead, origin, whole = m.width, own.lines[0], j.now, code.variable(1)
    with code.loop(0, vectors) as v, code.either(block.now.equals(last)) as (none, some):
        with none:
            # no results are left: read the same as the first vector, and store nothing
            scratch.bases[v], scratch.out_steps[v] = scratch.bases[0], scratch.out_steps[0]
            scratch.counts[v] = 0
        with some:
            # the last vector of a line overlaps the one before it, unless results are added
            place = target.adds.differs(0).choose(j.now, j.now.minimum(span.high - width).maximum(span.low))
            count = (span.high - place).minimum(width)
            whole.set(count.equals(width).choose(whole.now, 0))
            scratch.counts[v] = count
            scratch.bases[v] = own.base + place + source
            scratch.out_steps[v] = (own.lines[0] - lead) * target.line + (place - origin) * target.step
            j.add(width)
            with code.when(j.now >= span.high):
                block.add(size(ROW_BLOCK))
                j.set(begin)
    return whole.now


def emit_out_rows(m: Arrays, series: Series, block: Record, channels: Value, place: Value) -> Value:
    """Set the offset in ``out`` of each row of a register block; return the number of rows."""
    code, (starts, abreast) = m.code, block_channels(m, channels)
    row = code.variable(0)
    with code.loop(0, series.rows) as line:
        begin = place + block.lines[line] * series.target.line
        with code.loop(0, abreast) as channel:
            m.scratch.out_rows[row.now] = begin + m.t[starts + channel]
            row.add(1)
    return row.now


class Reading(NamedTuple):
    """Where a register block reads its samples.

    Attributes
    ----------
    memory : Memory
        ``x`` or the tile buffer.
    offsets : Value
        Where the tables hold the offsets of taps in that memory.
    base : callable
        The base of a vector.
    """

    memory: Memory
    offsets: Value
    base: Callable[[int], Value]


def emit_sums(m: Arrays, series: Series, odd: Value, channels: Value, item: Item, read: Reading,
              vectors: int = VECTORS) -> list[list[Any]]:  # fmt: skip
    """Compute a register block of some vectors per row; ``odd`` is 1 for the odd phase of a pair."""
    run = series.runs[odd]
    taps = tap_list(m, series, run, channels, item, read.offsets)
    sources = [read.memory.at(read.base(v) + run.base) for v in range(vectors)]
    # tall blocks are narrow, and narrow blocks that are not tall do without the sums of the other rows
    return micro_kernel(m, sources, taps, TALL_ROWS if TALL and vectors < VECTORS else BLOCK_ROWS)


def emit_reading(m: Arrays, block: Record, source: Source, in_place: Value) -> tuple[Memory, Value, Value]:
    """Return where a row block reads: the memory, its base, and where the tables hold the offsets of taps."""
    code, header = m.code, m.header
    there = in_place & block.inside.differs(0)
    pointer = code.builder.select(there.value, m.x.pointer, m.buffer.pointer)
    base = there.choose(source.plane + block.source, block.base + source.origin)
    return Memory(code, pointer, m.x.element), base, there.choose(header.source_offsets, header.offsets)


def emit_nine(m: Arrays, taps: TapList, memory: Memory, base: Value, columns: Columns) -> None:
    """Compute four lines of results in ``columns`` with a 3 x 3 kernel, whose weights stay in registers.

    Each sum is in the order of the micro-kernel. A vector of each line at a time is enough, since a processor
    begins with the next ones while it waits for these. It takes a load for one that depends on a store before
    it if the addresses differ by a multiple of 4 KiB, as those of lines often do, so the vectors are in the
    direction of the taps, in which loads are not behind stores.
    """
    code, element, vector = m.code, m.x.element, vector_of(m.x.element)
    reads = taps.offsets + m.t[taps.bounds]
    step = m.t[reads + 1] - m.t[reads]
    lines = [base + m.t[reads + 3 * line] for line in range(6)]
    # the lists of the first two lines have nine weights; the third line is met by three rows of the kernel
    third = taps.weights + 9
    weights = [splat(code.builder, m.weights[third + number].value, vector) for number in range(9)]
    places = [m.scratch.out_rows[row] for row in range(BLOCK_ROWS)]
    backwards = step < 0
    begin, way = backwards.choose(columns.low + columns.high - m.width, 0), backwards.choose(-1, 1)
    with code.loop(columns.low, columns.high, m.width) as number:
        j = begin + number * way
        sums = [ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)] * BLOCK_ROWS
        for line, tap in product(range(6), range(3)):
            sample = memory.vector(lines[line] + j + step * tap)
            for row in range(max(0, line - 2), min(BLOCK_ROWS, line + 1)):
                weight = weights[3 * tap + 2 - line + row]
                sums[row] = multiply_add(code, element, weight, sample, sums[row])
        for place, value in zip(places, sums, strict=True):
            m.out.store_vector(place + j, value)


def emit_columns(m: Arrays, series: Series, block: Record, source: Source, columns: Columns,
                 item: Item) -> None:  # fmt: skip
    """Compute the results of a row block in ``columns``, which are whole register blocks."""
    code, header, scratch, target, width = m.code, m.header, m.scratch, series.target, m.width
    out = code.builder.select(series.plain.value, m.out.pointer, m.buffer.pointer)
    memory, base, offsets = emit_reading(m, block, source, columns.in_place)
    with code.loop(0, header.channel_blocks) as channels:
        rows = emit_out_rows(m, series, block, channels, series.place)
        nine = header.nine.differs(0) & series.plain & rows.equals(BLOCK_ROWS)
        with code.when(nine):
            run = series.runs[0]
            taps = tap_list(m, series, run, channels, item, offsets)
            emit_nine(m, taps, memory, base + run.base, columns)
        with code.loop(0, BLOCK_ROWS) as row:
            scratch.places[row] = series.plain.choose(scratch.out_rows[row], buffer_row(m, row))
            # an odd phase is never plain
            scratch.places[row + TALL_ROWS] = buffer_row(m, row + TALL_ROWS)
        wide = code.integer(width * VECTORS)
        with code.loop(nine.choose(columns.high, columns.low), columns.high, wide) as j:
            further, shift = j * target.step, series.plain.choose(j, 0)
            with code.loop(0, series.paired + 1) as odd:
                first: Value = base + j
                read = Reading(memory, offsets, lambda v: first + v * width)
                sums = emit_sums(m, series, odd, channels, item, read)

                def out_place(row: int, v: int) -> Value:
                    return shift + m.w[scratch.places.at(odd * TALL_ROWS, row)] + v * width

                store_sums(code, Memory(code, out, m.out.element), sums, rows, out_place)
            with code.when(~series.plain):
                emit_rows(
                    m,
                    rows,
                    series.pairing,
                    lambda even, odd, to: emit_store(
                        m, (even, odd), to + further, wide, target, series.pairing
                    ),
                )


def emit_packed(m: Arrays, series: Series, cursor: Cursor, source: Source, item: Item) -> None:
    """Compute the remaining results of row blocks: vectors of several row blocks in a register block.

    The first register blocks are one vector narrower, if all vectors then fill as many register blocks; tall
    ones all are.
    """
    code, header, scratch, target, width = m.code, m.header, m.scratch, series.target, m.width
    each = (cursor.span.high - cursor.begin + width - 1) // width
    total = (cursor.last - cursor.block.now) // size(ROW_BLOCK) * each
    missing = code.variable((total + VECTORS - 1) // VECTORS * VECTORS - total)
    with code.when(header.tall.differs(0)):
        missing.set(total)
    with code.repeat(lambda: cursor.block.now < cursor.last):
        narrow = code.integer(0) < missing.now
        first = Record(m.t, cursor.block.now, ROW_BLOCK)
        place = series.place + cursor.j.now * target.step
        vectors = narrow.choose(VECTORS - 1, VECTORS)
        whole = emit_vectors(m, cursor, vectors, source.origin, target)
        # if not straight, results are first stored in the buffer
        straight = whole.differs(0) & series.plain
        out = Memory(
            code, code.builder.select(straight.value, m.out.pointer, m.buffer.pointer), m.out.element
        )
        with code.loop(0, header.channel_blocks) as channels:
            rows = emit_out_rows(m, series, first, channels, place)
            with code.loop(0, series.paired + 1) as odd:
                read = Reading(m.buffer, header.offsets, lambda v: scratch.bases[v])

                def to(row: int, v: int) -> Value:
                    stored = buffer_row(m, odd * TALL_ROWS + row) + v * width
                    begin: Value = straight.choose(scratch.out_rows[row] + scratch.out_steps[v], stored)
                    return begin

                with code.either(narrow) as branches:
                    for branch, count in zip(branches, (VECTORS - 1, VECTORS), strict=True):
                        with branch:
                            sums = emit_sums(m, series, odd, channels, item, read, count)
                            store_sums(code, out, sums, rows, to)
            with code.when(~straight):
                emit_packed_rows(m, rows, vectors, target, series.pairing)
        missing.add(-1)


def emit_results(m: Arrays, series: Series, blocks: tuple[Value, Value], run: Record, span: Span,
                 source: Source, item: Item) -> None:  # fmt: skip
    """Compute the results of a run in ``span``, for row blocks of one pattern."""
    code, (first, last) = m.code, blocks
    columns = emit_whole(m, run, span)
    with code.when(columns.low < columns.high), code.loop(first, last, size(ROW_BLOCK)) as block:
        emit_columns(m, series, Record(m.t, block, ROW_BLOCK), source, columns, item)
    with code.loop(0, 2) as side:
        begin = side.equals(0).choose(span.low, columns.high)
        end = side.equals(0).choose(columns.low, span.high)
        with code.when(begin < end):
            rest = Span(span.low, end)
            cursor = Cursor(code.variable(first), last, code.variable(begin), begin, rest)
            emit_packed(m, series, cursor, source, item)


_loops = loops_of(
    lambda _, arrays, *rest: emit_stencil(Arrays(*arrays), emit_results, *rest), rolled=True, noalias=True
)


def _compiled(version: int) -> Any:
    """Return the compiled function; ``version`` is in its closure, and so in the key of numba's cache."""

    @compiled
    def stencil(
        x: Any, out: Any, buffer: Any, weights: Any, t: Any, w: Any, counter: Any, first: int, tiles: int,
        last: int,
    ) -> None:  # fmt: skip
        """Compute ``tiles`` tiles of each item, from tile ``first`` of the plan on; ``last`` is their total.

        Threads take the next tile from the shared ``counter`` until none is left. The bits of a result do not
        depend on the thread that computes it.
        """
        _loops(x, out, buffer, weights, t, w, counter, first, tiles, last, version)

    return stencil


def is_loaded(dtype: np.dtype[Any]) -> bool:
    """Return whether the loops have been compiled or loaded for a dtype."""
    return any(signature[0].dtype == from_dtype(dtype) for signature in stencil.signatures)


stencil = _compiled(
    version_of(emit, team, record_module, records, micro_kernel_module, source_module, tiles_module, lanes)
)
