"""The gradient with respect to a kernel, compiled. Imported when first needed, by ``gradient`` alone.

Written with the operators of ``emit``, on the extended source of the stencil. A weight's gradient is the
inner product of the result's gradient with what its tap reads: line by line, a vector of the one meets four
taps' vectors of the other. Every unit has partial sums of its own, which are added up in one order, so that
the bits do not depend on the threads.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._methods.cpu import emit
from sparsetconv._methods.cpu.emit import INTEGER, SHORT, VECTOR_BYTES, Code, Value, bytes_of, loops_of
from sparsetconv._methods.cpu.stencil import loops as stencil_module
from sparsetconv._methods.cpu.stencil import plan
from sparsetconv._methods.cpu.stencil import plan as tb
from sparsetconv._methods.cpu.stencil.loops import Arrays, emit_source, multiply_add

# taps at a time, and vectors of a line at a time
TAPS, STEPS = 4, 2
# in a thread's scratch: planes of the small array, taps of all planes of the source
SMALL_PLANES, ENTRIES = 0, 1


def _emit_inner(code: Code, m: Arrays, source: Value, count: Value, entry: Value, to: Value) -> None:
    """Add to ``TAPS`` sums from ``to`` on the products of a line, in the buffer, with what the taps read."""
    builder, element = code.builder, m.slab.element
    size = bytes_of(element)
    vector = ir.VectorType(element, VECTOR_BYTES // size)
    zero = ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)
    last = m.w[ENTRIES] - 1
    reads = [source + m.t[m.t[tb.OFFSETS] + (entry + n).minimum(last)] for n in range(TAPS)]

    def vector_at(place: Value) -> Any:
        return builder.load(builder.bitcast(m.slab.at(place), vector.as_pointer()), align=size)

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
        line = vector_at(j)
        for read, row in zip(reads, sums, strict=True):
            row[step].add_incoming(multiply_add(code, element, line, vector_at(read + j), row[step]), body)
    place.add_incoming(builder.add(place, INTEGER(STEPS * vector.count)), body)
    builder.branch(head)
    builder.position_at_end(after)
    add = builder.add if isinstance(element, ir.IntType) else builder.fadd
    for n, (first, second) in enumerate(sums):
        total, width = add(first, second), vector.count
        while width > 1:
            width //= 2
            mask = ir.Constant(ir.VectorType(SHORT, width), [SHORT(i + width) for i in range(width)])
            low = ir.Constant(ir.VectorType(SHORT, width), [SHORT(i) for i in range(width)])
            total = add(builder.shuffle_vector(total, total, low), builder.shuffle_vector(total, total, mask))
        with code.when((entry + n) < m.w[ENTRIES]):
            number = Value(code, builder.extract_element(total, SHORT(0)))
            m.out[to + n] = m.out.sum(m.out[to + n], number)


def emit_gradient(code: Code, m: Arrays, counter: Any, first: Value, units: Value, last: Value) -> None:
    """Compute partial sums of units until ``counter``, which tells the next, has reached ``last``."""
    t, small = m.t, m.weights
    parts = t[tb.PLANE_PARTS]
    ahead = STEPS * (VECTOR_BYTES // bytes_of(m.slab.element))

    def take() -> Value:
        return Value(code, code.builder.atomic_rmw("add", counter, INTEGER(1), "monotonic"))

    number = code.variable(take())
    with code.repeat(lambda: number.now < last):
        item, unit = number.now // units, t[tb.UNITS] + (first + number.now % units) * tb.UNIT
        source = emit_source(code, m, item, unit)
        base = t[t[tb.RUNS]]
        low = (source.begin - base).maximum(0)
        count = (source.end - base).minimum(t[t[tb.RUNS] + 1]) - low
        with code.loop(t[unit], t[unit + 1]) as line, code.loop(0, m.w[SMALL_PLANES]) as plane:
            group = t[tb.GROUPS] + line * tb.GROUP
            place = (item * m.w[SMALL_PLANES] + plane) // parts * t[tb.OUT_SIZE]
            start = (place + t[group] * t[tb.OUT_LINE] + low) * parts + plane % parts
            with code.loop(0, count) as j:
                m.slab[j] = small[start + j * parts]
            with code.loop(count, count + ahead) as j:
                m.slab[j] = 0
            to = (number.now * m.w[SMALL_PLANES] + plane) * m.w[ENTRIES]
            with code.loop(0, m.w[ENTRIES], TAPS) as entry:
                _emit_inner(code, m, source.origin + t[group + 5] + base + low, count, entry, to + entry)
        number.set(take())


_loops = loops_of(lambda code, arrays, *rest: emit_gradient(code, Arrays(*arrays), *rest))


def _compiled(version: int) -> Any:
    """Return the compiled function. Its closure, ``version``, is part of what numba's cache compares."""

    @compiled
    def kernel_gradient(
        x: Any, out: Any, slab: Any, small: Any, t: Any, w: Any, counter: Any, first: int, units: int,
        last: int,
    ) -> None:  # fmt: skip
        """Compute partial sums of units, ``units`` for each item, of ``last`` in all."""
        _loops(x, out, slab, small, t, w, counter, first, units, last, version)

    return kernel_gradient


kernel_gradient = _compiled(version_of(emit, plan, stencil_module))
