"""The compiled loops of the gradient with respect to a kernel, which ``kernel.gradient`` imports when needed.

They are written with the operators of ``emit``, and use the tile buffer of the stencil. The gradient of a
weight is the inner product of the result's gradient (the small array) with the samples that the weight's tap
reads: each loaded vector of a line of the small array is multiplied by the vectors that four taps read. Every
tile has its own partial sums, which are added in a fixed order, so that the bits do not depend on the number
of threads.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from sparsetconv._arrays import record as record_module
from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._arrays.record import Record, record
from sparsetconv._methods.cpu import emit, team
from sparsetconv._methods.cpu.emit import (
    INTEGER,
    SHORT,
    Value,
    shuffled,
    vector_of,
)
from sparsetconv._methods.cpu.stencil import micro_kernel as micro_kernel_module
from sparsetconv._methods.cpu.stencil import records
from sparsetconv._methods.cpu.stencil import source as source_module
from sparsetconv._methods.cpu.stencil.micro_kernel import Arrays, multiply_add
from sparsetconv._methods.cpu.stencil.records import RUN
from sparsetconv._methods.cpu.stencil.source import emit_source
from sparsetconv._methods.cpu.team import loops_of

# taps that share a loaded vector, and vectors of a line per iteration, each with its own sum
TAPS, STEPS = 4, 2
# planes of the small array, and weights of one plane (taps times planes of the source)
SCRATCH = record("small_planes", "entries")


def _emit_inner(m: Arrays, source: Value, count: Value, entry: Value, to: Value) -> None:
    """Add the inner products of a line with the reads of ``TAPS`` taps to ``out``, from ``to`` on."""
    code, own = m.code, Record(m.w, 0, SCRATCH)
    builder, element = code.builder, m.buffer.element
    vector = vector_of(element)
    zero = ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)
    last = own.entries - 1
    reads = [source + m.t[m.header.offsets + (entry + n).minimum(last)] for n in range(TAPS)]

    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("line", "vectors", "summed"))
    builder.branch(head)
    builder.position_at_end(head)
    place = builder.phi(INTEGER)
    place.add_incoming(INTEGER(0), before)
    sums = [[builder.phi(vector) for _ in range(STEPS)] for _ in range(TAPS)]
    for phi in (phi for row in sums for phi in row):
        phi.add_incoming(zero, before)
    builder.cbranch(builder.icmp_signed("<", place, count.value), body, after)
    builder.position_at_end(body)
    for step in range(STEPS):
        j = Value(code, place) + step * vector.count
        line = m.buffer.vector(j)
        for read, row in zip(reads, sums, strict=True):
            samples = m.buffer.vector(read + j)
            row[step].add_incoming(multiply_add(code, element, line, samples, row[step]), body)
    place.add_incoming(builder.add(place, INTEGER(STEPS * vector.count)), body)
    builder.branch(head)
    builder.position_at_end(after)
    add = builder.add if isinstance(element, ir.IntType) else builder.fadd
    for n, (first, second) in enumerate(sums):
        total, width = add(first, second), vector.count
        while width > 1:
            width //= 2
            halves = range(width), range(width, 2 * width)
            total = add(*(shuffled(builder, (total, total), half) for half in halves))
        with code.when((entry + n) < own.entries):
            number = Value(code, builder.extract_element(total, SHORT(0)))
            m.out[to + n] = m.out.sum(m.out[to + n], number)


def emit_gradient(m: Arrays, counter: Any, first: Value, tiles: Value, last: Value) -> None:
    """Compute partial sums of tiles until the threads' common ``counter`` of tiles reaches ``last``."""
    code, header, small, own = m.code, m.header, m.weights, Record(m.w, 0, SCRATCH)
    parts = header.plane_parts
    ahead = STEPS * vector_of(m.buffer.element).count
    with code.shared(counter, last) as number:
        item, tile = number // tiles, m.tiles[first + number % tiles]
        source = emit_source(m, item, tile, whole=True)
        base = Record(m.t, header.runs, RUN).base
        low = (source.begin - base).maximum(0)
        count = (source.end - base).minimum(Record(m.t, header.runs, RUN).count) - low
        with code.loop(tile.first_block, tile.end_block) as line, code.loop(0, own.small_planes) as plane:
            block = m.row_blocks[line]
            place = (item * own.small_planes + plane) // parts * header.out_size
            start = (place + block.lines[0] * header.out_line + low) * parts + plane % parts
            with code.loop(0, count) as j:
                m.buffer[j] = small[start + j * parts]
            with code.loop(count, count + ahead) as j:
                m.buffer[j] = 0
            to = (number * own.small_planes + plane) * own.entries
            with code.loop(0, own.entries, TAPS) as entry:
                _emit_inner(m, source.origin + block.base + base + low, count, entry, to + entry)


_loops = loops_of(lambda _, arrays, *rest: emit_gradient(Arrays(*arrays), *rest))


def _compiled(version: int) -> Any:
    """Return the compiled function; ``version`` is in its closure, and so in the key of numba's cache."""

    @compiled
    def kernel_gradient(
        x: Any, out: Any, buffer: Any, small: Any, t: Any, w: Any, counter: Any, first: int, tiles: int,
        last: int,
    ) -> None:  # fmt: skip
        """Compute the partial sums of ``tiles`` tiles of each item; ``last`` is their total."""
        _loops(x, out, buffer, small, t, w, counter, first, tiles, last, version)

    return kernel_gradient


kernel_gradient = _compiled(
    version_of(emit, team, record_module, records, micro_kernel_module, source_module)
)
