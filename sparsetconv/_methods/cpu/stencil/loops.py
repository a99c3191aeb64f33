"""The stencil's loops, compiled. Imported when first needed, by ``direct`` alone.

No loop here is parallel by itself: they release the interpreter's lock and are called by several threads,
which is safe for concurrent callers and after a fork, as numba's own thread pools are not. Products may be
fused with sums; nothing else is reordered, so that NaN and infinity behave.

The loops are written with the operators of ``emit``; numba compiles them for the processor at hand, keeps
the result on disk, and calls them. Every function below emits a piece of code where it is called. The tables
of a plan stand in one array of integers, ``t``; ``tb.NAME`` is the place of its number, or of where a table
begins (see ``plan``). ``w`` is a thread's own scratch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._methods.cpu import emit
from sparsetconv._methods.cpu.emit import (
    INTEGER,
    SHORT,
    TRUTH,
    VECTOR_BYTES,
    VECTORS,
    Code,
    Memory,
    Value,
    Variable,
    bytes_of,
    loops_of,
)
from sparsetconv._methods.cpu.stencil import plan
from sparsetconv._methods.cpu.stencil import plan as tb


class Arrays(NamedTuple):
    """What the loops work on."""

    x: Memory
    out: Memory
    slab: Memory
    weights: Memory
    t: Memory
    w: Memory


def emit_sums(code: Code, m: Arrays, out: Memory, starts: Value, steps: Value, slots: Value,
              weight: Value, bounds: Value) -> None:  # fmt: skip
    """Set ``out[w[starts + s] + w[steps + v] + j]`` to sums of ``weight * slab[w[FROM + v] + offset + j]``.

    ``s`` runs over ``slots`` results, ``v`` over `VECTORS` vectors, ``j`` over the places of a vector:
    callers see to it that so many can be read and written. In ``t`` stand the offsets of all taps, and from
    ``bounds`` on what divides them into the lists of ``RANGES``. A tap has a weight for each slot of its
    range, in ``weights`` from ``weight`` on.

    Left to itself a compiler keeps one sum in memory and adds one tap after another to it: two loads and a
    store for each multiplication. Here each vector of input that is loaded serves up to four results, which
    may be four output channels, or four lines of one picture: a line of input meets one row of the kernel in
    one output line, and the next row in the next. At a kernel's first and last rows only some of the lines
    take part, so the taps come in ten lists, one for each range of slots.
    """
    builder, element = code.builder, out.element
    size = bytes_of(element)
    vector = ir.VectorType(element, VECTOR_BYTES // size)
    zero = ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)
    everywhere = ir.Constant(ir.VectorType(SHORT, vector.count), [SHORT(0)] * vector.count)

    def vector_at(pointer: Any) -> Any:
        return builder.bitcast(pointer, vector.as_pointer())

    def splat(scalar: Any) -> Any:
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, SHORT(0))
        return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), everywhere)

    sums = [[zero] * VECTORS for _ in range(tb.SLOTS)]
    sources = [m.slab.at(m.w[tb.FROM + v]) for v in range(VECTORS)]
    reads = m.t.at(m.t[tb.OFFSETS])
    tap, place = m.t[bounds].value, m.weights.at(weight)
    for number, (low, high) in enumerate(tb.RANGES):
        stop = m.t[bounds + (number + 1)].value
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("taps", "tap", "summed"))
        builder.branch(head)
        builder.position_at_end(head)

        def running(value: Any, before: Any = before) -> Any:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            return phi

        tap, place = running(tap), running(place)
        sums[low:high] = [[running(value) for value in row] for row in sums[low:high]]
        builder.cbranch(builder.icmp_signed("<", tap, stop), body, after)
        builder.position_at_end(body)
        read = builder.load(builder.gep(reads, [tap]))
        samples = [builder.load(vector_at(builder.gep(s, [read])), align=size) for s in sources]
        for slot, row in enumerate(sums[low:high]):
            w = splat(builder.load(builder.gep(place, [INTEGER(slot)])))
            for phi, sample in zip(row, samples, strict=True):
                phi.add_incoming(multiply_add(code, element, w, sample, phi), body)
        tap.add_incoming(builder.add(tap, INTEGER(1)), body)
        place.add_incoming(builder.gep(place, [INTEGER(high - low)]), body)
        builder.branch(head)
        builder.position_at_end(after)
    for slot, row in enumerate(sums):
        with code.when(code.integer(slot) < slots):
            begin = m.w[starts + slot]
            for v, value in enumerate(row):
                builder.store(value, vector_at(out.at(begin + m.w[steps + v])), align=size)


def multiply_add(code: Code, element: Any, a: Any, b: Any, c: Any) -> Any:
    builder = code.builder
    if isinstance(element, ir.IntType):
        return builder.add(builder.mul(a, b), c)
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


def emit_fill(code: Code, m: Arrays, start: Value, step: Value, to: Variable, unit: Value, low: Value,
              high: Value) -> None:  # fmt: skip
    """Copy a unit's rows of a plane of ``x``, extended, into ``slab``: places ``low`` to ``high`` of a line.

    The plane begins at ``x[start]``, its samples are ``step`` apart.
    """
    t, slab = m.t, m.slab
    phases, lines = t[tb.PHASES], t[tb.LINE_COUNT]
    first = t[unit + 2] * lines
    with code.loop(first, first + t[unit + 3] * lines) as line:
        row, inside = t[t[tb.SOURCE_ROWS] + line // lines], t[t[tb.SOURCE_LINES] + line % lines]
        outside = (row < 0) | (inside < 0)
        begin_line = start + (row + inside) * step
        with code.loop(0, phases) as phase:
            with code.either(outside) as (nothing, something):
                with nothing, code.loop(low, high) as place:
                    slab[to.now + place] = 0
                with something:
                    emit_fill_line(code, m, begin_line, step, to, t[tb.MAINS] + phase * tb.MAIN, low, high)
            to.add(t[tb.PITCH])


def emit_fill_line(code: Code, m: Arrays, line: Value, step: Value, to: Variable, main: Value, low: Value,
                   high: Value) -> None:  # fmt: skip
    """Copy places ``low`` to ``high`` of a phase of a line, which begins at ``x[line]``."""
    t, x, slab = m.t, m.x, m.slab
    jump = t[tb.APART] * step
    # between these, samples follow one another at a fixed distance; the others are listed
    first, apart, border = t[main], t[main + 1] - t[main], t[tb.BORDERS] + t[main + 3]
    begin = first.maximum(low).minimum(high)
    end = t[main + 1].minimum(high).maximum(begin)
    place = code.variable(low)
    with code.repeat(lambda: place.now < high):
        # over what follows
        place.set((place.now.equals(begin) & (begin < end)).choose(end, place.now))
        with code.when(place.now < high):
            sample = t[border + (place.now < first).choose(place.now, place.now - apart)]
            with code.either(sample < 0) as (zero, known):
                with zero:
                    slab[to.now + place.now] = 0
                with known:
                    slab[to.now + place.now] = x[line + sample * step]
            place.add(1)
    count = end - begin
    with code.when(code.integer(0) < count):
        source = line + (t[main + 2] + (begin - first) * t[tb.APART]) * step
        with code.either(jump.equals(1)) as (near, far):
            with near:
                slab.copy(to.now + begin, x, source, count, bytes_of(x.element))
            with far, code.loop(0, count) as number:
                slab[to.now + begin + number] = x[source + number * jump]


def emit_write(code: Code, m: Arrays, here: Value, mate: Value, to: Value, step: Value, count: Value,
               pairing: Value, add: Value) -> None:  # fmt: skip
    """Set, or add to, every ``step``-th result; with ``pairing`` the next ones too, from a second row."""
    out, buffer = m.out, m.slab
    with code.either(add.differs(0)) as (adding, setting):
        with adding, code.loop(0, pairing.equals(0).choose(1, 2)) as second:
            row = second.equals(0).choose(here, mate)
            with code.loop(0, count) as i:
                place = to + i * step + second
                out[place] = out.sum(out[place], buffer[row + i])
        with setting, code.either(pairing.differs(0)) as (pairs, single):
            with pairs, code.loop(0, count) as i:
                out[to + i * 2] = buffer[here + i]
                out[to + i * 2 + 1] = buffer[mate + i]
            with single, code.loop(0, count) as i:
                out[to + i * step] = buffer[here + i]


def emit_write_slots(code: Code, m: Arrays, slots: Value, step: Value, pairing: Value, add: Value) -> None:
    """Bring results from the rows of the buffer, which stands in front of the slab, to where they belong.

    ``pairing`` is 1 if slots are pairs of neighbours, 2 if every slot has a mate in a row of its own.
    """
    w = m.w
    width = w[tb.BESIDE + 1]
    with code.loop(0, slots, pairing.equals(1).choose(2, 1)) as slot:
        here = w[slot + tb.ROWS]
        mate = w[pairing.equals(2).choose(slot + tb.MATES, slot + pairing + tb.ROWS)]
        v = code.variable(0)
        vectors = w[tb.NUMBER]
        with code.repeat(lambda: v.now < vectors):
            # whole vectors that follow one another
            first, place = v.now, w[v.now + tb.STEPS]
            count = code.variable(w[v.now + tb.COUNTS])
            v.add(1)

            def follows() -> Value:
                last = v.now.minimum(vectors - 1)
                whole = w[v.now + (tb.COUNTS - 1)].equals(width)
                return (v.now < vectors) & whole & w[last + tb.STEPS].equals(place + count.now * step)

            with code.repeat(follows):
                count.add(w[v.now + tb.COUNTS])
                v.add(1)
            shift = first * width
            emit_write(code, m, here + shift, mate + shift, w[slot] + place, step, count.now, pairing, add)


def emit_vectors(code: Code, m: Arrays, group: Variable, last: Value, j: Variable, low: Value, high: Value,
                 source: Value, line: Value, step: Value, add: Value) -> Value:  # fmt: skip
    """Take the next vectors of groups up to ``last``, which may belong to several of them.

    ``group`` and ``j`` become the group and the place that come next. Returns whether all vectors are whole.
    """
    t, w = m.t, m.w
    width, lead, origin, whole = w[tb.BESIDE + 1], t[group.now], j.now, code.variable(1)
    with code.loop(0, w[tb.NUMBER]) as v, code.either(group.now.equals(last)) as (none, some):
        with none:
            # repeat the first
            w[v + tb.AT], w[v + tb.STEPS], w[v + tb.COUNTS] = w[tb.AT], w[tb.STEPS], 0
        with some:
            # the last vector of a line lies over the one before, where that does no harm
            place = add.differs(0).choose(j.now, j.now.minimum(high - width).maximum(low))
            count = width.minimum(high - place)
            whole.set(count.equals(width).choose(whole.now, 0))
            w[v + tb.COUNTS] = count
            w[v + tb.AT] = t[group.now + 5] + place + source
            w[v + tb.STEPS] = (t[group.now] - lead) * line + (place - origin) * step
            j.add(width)
            with code.when(j.now >= high):
                group.add(tb.GROUP)
                j.set(low)
    return whole.now


def emit_run(code: Code, m: Arrays, first: Value, last: Value, run: Value, low: Value, high: Value,
             source: Value, target: Value, weight: Value) -> None:  # fmt: skip
    """Compute places ``low`` to ``high`` of one run of groups ``first`` to ``last``, of one pattern."""
    t, w = m.t, m.w
    parts, side = t[tb.PLANE_PARTS] * t[tb.ITEM_PARTS], t[tb.SIDE]
    line, step = t[tb.OUT_LINE] * parts, t[run + 3] * parts
    together, add, paired = t[first + 4], t[first + 7] | t[run + 4], t[run + 6]
    pattern = t[first + 6] * t[tb.LISTS]
    complex_pairs = t[tb.PLANE_PARTS].equals(2) & step.equals(2) & add.equals(0)
    pairing = paired.differs(0).choose(2, complex_pairs.choose(1, 0))
    group, j = code.variable(first), code.variable(low)
    with code.repeat(lambda: group.now < last):
        lead, place = group.now, target + t[run + 2] * parts + j.now * step
        whole = emit_vectors(code, m, group, last, j, low, high, source, line, step, add)
        # or else through the buffer
        straight = whole.differs(0) & step.equals(1) & (add | paired).equals(0)
        with code.loop(0, t[tb.BLOCKS]) as block:
            starts, abreast = t[tb.STARTS] + block * side, side.minimum(t[tb.RESULTS] - block * side)
            slots = together * abreast
            with code.loop(0, slots) as slot:
                w[slot] = place + t[lead + slot // abreast] * line + t[starts + slot % abreast]
            with code.loop(0, paired + 1) as mate:
                other = run + mate * tb.RUN
                number, shift = pattern + t[other + 5], t[other]
                with code.loop(0, VECTORS) as v:
                    w[v + tb.FROM] = w[v + tb.AT] + shift
                start = weight + block * t[tb.BLOCK_WEIGHTS] + t[t[tb.WSTARTS] + number]
                where = Memory(
                    code, code.builder.select(straight.value, m.out.pointer, m.slab.pointer), m.out.element
                )
                rows = straight.choose(0, mate * (tb.MATES - tb.ROWS) + tb.ROWS)
                steps = straight.choose(tb.STEPS, tb.BESIDE)
                bounds = t[tb.BOUNDS] + number * t[tb.LIMITS]
                emit_sums(code, m, where, rows, steps, slots, start, bounds)
            with code.when(straight.equals(Value(code, TRUTH(0)))):
                emit_write_slots(code, m, slots, step, pairing, add)


class UnitSource(NamedTuple):
    """Where the extended source of a unit is: its bases along the last axis, and base 0 of its first line."""

    begin: Value
    end: Value
    origin: Value


def emit_source(code: Code, m: Arrays, item: Value, unit: Value) -> UnitSource:
    """Extend what a unit of an item reads, all planes of it."""
    t = m.t
    plane_parts, parts = t[tb.PLANE_PARTS], t[tb.PLANE_PARTS] * t[tb.ITEM_PARTS]
    whole_item, part = item // t[tb.ITEM_PARTS], item % t[tb.ITEM_PARTS]
    begin, end = t[unit + 4], t[unit + 5]
    near = (begin + t[tb.LOWEST]).maximum(0)
    far = (end + t[tb.LOWEST] + t[tb.SPREAD]).minimum(t[tb.PLACES])
    at = t[tb.SLAB] - begin - t[tb.LOWEST]
    with code.loop(0, t[tb.PLANES]) as plane:
        start = (whole_item * t[tb.PLANES] + plane) // plane_parts * t[tb.IN_SIZE] * parts
        to = code.variable(at + plane * t[tb.PLANE_SIZE])
        emit_fill(code, m, start + part + plane % plane_parts, parts, to, unit, near, far)
    return UnitSource(begin, end, at - t[unit + 2] * t[tb.ROW_SIZE])


def emit_unit(code: Code, m: Arrays, item: Value, unit: Value) -> None:
    """Compute one unit of one item: extend its source, then run after run of its groups."""
    t = m.t
    plane_parts, parts = t[tb.PLANE_PARTS], t[tb.PLANE_PARTS] * t[tb.ITEM_PARTS]
    whole_item, part = item // t[tb.ITEM_PARTS], item % t[tb.ITEM_PARTS]
    target = whole_item * (t[tb.RESULTS] // plane_parts) * t[tb.OUT_SIZE] * parts + part
    weight = whole_item % t[tb.CHANNEL_GROUPS] * t[tb.BLOCKS] * t[tb.BLOCK_WEIGHTS]
    source = emit_source(code, m, item, unit)
    group, last = code.variable(t[tb.GROUPS] + t[unit] * tb.GROUP), t[tb.GROUPS] + t[unit + 1] * tb.GROUP
    with code.repeat(lambda: group.now < last):
        # groups of one pattern that set results go together
        first, stop = group.now, code.variable(group.now + tb.GROUP)

        def goes_along() -> Value:
            there = (stop.now < last).choose(stop.now, first)
            alike = t[there + 6].equals(t[first + 6]) & (t[there + 7] | t[first + 7]).equals(0)
            return (stop.now < last) & alike

        with code.repeat(goes_along):
            stop.add(tb.GROUP)
        run = code.variable(t[tb.RUNS] + t[unit + 6] * tb.RUN)
        with code.repeat(lambda: run.now < t[tb.RUNS] + t[unit + 7] * tb.RUN):
            base, count = t[run.now], t[run.now + 1]
            low, high = (source.begin - base).maximum(0), (source.end - base).minimum(count)
            with code.when(low < high):
                emit_run(code, m, first, stop.now, run.now, low, high, source.origin, target, weight)
            run.add((t[run.now + 6] + 1) * tb.RUN)
        group.set(stop.now)


def emit_stencil(code: Code, m: Arrays, counter: Any, first: Value, units: Value, last: Value) -> None:
    """Compute units until ``counter``, which tells all threads the next one, has reached ``last``."""

    def take() -> Any:
        return Value(code, code.builder.atomic_rmw("add", counter, INTEGER(1), "monotonic"))

    number = code.variable(take())
    with code.repeat(lambda: number.now < last):
        unit = m.t[tb.UNITS] + (first + number.now % units) * tb.UNIT
        emit_unit(code, m, number.now // units, unit)
        number.set(take())


_loops = loops_of(lambda code, arrays, *rest: emit_stencil(code, Arrays(*arrays), *rest))


def _compiled(version: int) -> Any:
    """Return the compiled function. Its closure, ``version``, is part of what numba's cache compares."""

    @compiled
    def stencil(
        x: Any, out: Any, slab: Any, weights: Any, t: Any, w: Any, counter: Any, first: int, units: int,
        last: int,
    ) -> None:  # fmt: skip
        """Compute units, ``units`` for each item, from unit number ``first`` on, of ``last`` in all.

        ``counter`` says which is next; threads that share it divide the work as it goes. Which thread
        computes a unit makes no difference to its bits.
        """
        _loops(x, out, slab, weights, t, w, counter, first, units, last, version)

    return stencil


stencil = _compiled(version_of(emit, plan))
