"""The source of a tile: read in place where no padding is read, else copied to the tile buffer, padded.

The functions emit code inline, as those of ``loops`` do.
"""

from __future__ import annotations

from typing import NamedTuple

from sparsetconv._arrays.record import Record, Records
from sparsetconv._methods.cpu.emit import VECTORS, Value, Variable, bytes_of, shuffled
from sparsetconv._methods.cpu.stencil.micro_kernel import Arrays
from sparsetconv._methods.cpu.stencil.records import MAIN


class Span(NamedTuple):
    """The places of a line from ``low`` to ``high``, excluding ``high``."""

    low: Value
    high: Value


class Columns(NamedTuple):
    """Results of a run, from place ``low`` to ``high``, and whether they can be read in place."""

    low: Value
    high: Value
    in_place: Value


class Spans(NamedTuple):
    """Places of a line: all that a tile needs, and those of them that it reads in place in all lines.

    Of lines that are read in place, the others are copied to the tile buffer.
    """

    all: Span
    in_place: Span


class Source(NamedTuple):
    """The padded input of a tile in the tile buffer, and the source in place.

    Attributes
    ----------
    begin, end : Value
        The tile's bases along the last axis.
    origin : Value
        The place of base 0 of the first line in the tile buffer.
    plane : Value
        The offset in ``x`` of the item's first plane; place 0 of a line is there if the line has no padding.
    """

    begin: Value
    end: Value
    origin: Value
    plane: Value


def emit_span(run: Record, begin: Value, end: Value) -> Span:
    """Return the results of a run in a tile from base ``begin`` to ``end``."""
    return Span((begin - run.base).maximum(0), (end - run.base).minimum(run.count))


def emit_whole(m: Arrays, run: Record, span: Span) -> Columns:
    """Return the results of a run that are computed in whole register blocks, a row block at a time.

    These are the results that read no padding along the last axis, if the source may be read in place and if
    there are enough of them. The results in front of them are whole vectors.
    """
    header, width = m.header, m.width
    wide, main = width * VECTORS, Records(m.t, header.mains, MAIN)[0]
    low, high = span
    first = main.begin - header.lowest - run.base
    last = (main.end - header.lowest - header.spread - run.base).minimum(high)
    inner = low + (first - low + width - 1).maximum(0) // width * width
    blocks = (last - inner).maximum(0) // wide
    in_place = header.in_place.differs(0) & (m.code.integer(0) < blocks)
    begin = in_place.choose(inner, low)
    # tall blocks are all computed with those of other row blocks
    from_buffer = (high - low) // wide * (m.code.integer(1) - header.tall)
    end = begin + in_place.choose(blocks, from_buffer) * wide
    return Columns(begin, end, in_place)


def emit_in_place(m: Arrays, tile: Record, every: Span) -> Span:
    """Return the places that all runs of a tile read in place; empty, after all places, if there are none."""
    code, header = m.code, m.header
    low, high = code.variable(every.low), code.variable(every.high)
    with code.loop(tile.first_run, tile.end_run) as number:
        run = m.runs[number]
        span = emit_span(run, tile.begin, tile.end)
        columns, shift = emit_whole(m, run, span), run.base + header.lowest
        with code.when(span.low < span.high):
            # the last vector of a line may overlap the columns
            rest = columns.high.minimum(span.high - m.width)
            low.set(low.now.maximum(columns.in_place.choose(columns.low + shift + header.spread, every.high)))
            high.set(high.now.minimum(columns.in_place.choose(rest + shift, every.low)))
    empty = high.now < low.now
    return Span(empty.choose(every.high, low.now), empty.choose(every.high, high.now))


def emit_source(m: Arrays, item: Value, tile: Record, whole: bool = False) -> Source:
    """Copy the padded input of a tile, with its halo, into the tile buffer: all planes of an item.

    What is read in place is left out, unless ``whole`` is set.
    """
    code, header = m.code, m.header
    plane_parts, parts = header.plane_parts, header.plane_parts * header.item_parts
    whole_item, part = item // header.item_parts, item % header.item_parts
    begin, end = tile.begin, tile.end
    near = (begin + header.lowest).maximum(0)
    far = (end + header.lowest + header.spread).minimum(header.places)
    every = Span(near, far)
    spans = Spans(every, Span(far, far) if whole else emit_in_place(m, tile, every))
    at = header.buffer - begin - header.lowest
    with code.loop(0, header.planes) as plane:
        start = (whole_item * header.planes + plane) // plane_parts * header.in_size * parts
        to = code.variable(at + plane * header.plane_size)
        emit_fill(m, (start + part + plane % plane_parts, parts), to, tile, spans)
    # place 0 of a line that is read in place
    main = Records(m.t, header.mains, MAIN)[0]
    in_place = whole_item * header.planes * header.in_size + main.sample - main.begin
    return Source(begin, end, at - tile.first_row * header.row_size, in_place)


def emit_fill(m: Arrays, plane: tuple[Value, Value], to: Variable, tile: Record, spans: Spans) -> None:
    """Copy a tile's rows of a plane of ``x``, padded, to the tile buffer.

    ``plane`` is the offset of the plane in ``x``, and the elements from one sample to the next.
    """
    code, t, header = m.code, m.t, m.header
    start, step = plane
    phases, lines = header.phases, header.line_count
    first = tile.first_row * lines
    with code.loop(first, first + tile.rows * lines) as number:
        row, line = t[header.source_rows + number // lines], number % lines
        inside = t[header.source_lines + line]
        # lines of padding, which row blocks read that are not inside, are whole
        begin = ((row < 0) | (inside < 0)).choose(-1, start + (row + inside) * step)
        whole = (tile.whole | t[header.whole_lines + line]).differs(0)
        left = whole.choose(spans.all.high, spans.in_place.low)
        with code.loop(0, phases) as phase:
            main = Records(t, header.mains, MAIN)[phase]
            with code.loop(0, whole.choose(1, 2)) as side:
                low = side.equals(0).choose(spans.all.low, spans.in_place.high)
                high = side.equals(0).choose(left, spans.all.high)
                with code.when(low < high):
                    emit_fill_line(m, (begin, step), to, main, Span(low, high))
            to.add(header.pitch)


def emit_fill_line(m: Arrays, line: tuple[Value, Value], to: Variable, main: Record, span: Span) -> None:
    """Copy the places ``span`` of one phase of a line.

    ``line`` is the offset of the line in ``x``, -1 for a line of zeros, and the elements from one sample to
    the next.
    """
    code = m.code
    with code.either(line[0] < 0) as (zeros, samples):
        with zeros, code.loop(span.low, span.high) as place:
            m.buffer[to.now + place] = 0
        with samples:
            emit_copy_line(m, line, to, main, span)


def emit_copy_line(m: Arrays, line: tuple[Value, Value], to: Variable, main: Record, span: Span) -> None:
    """Copy the places ``span`` of one phase of a line that is not all zeros."""
    code, x, buffer = m.code, m.x, m.buffer
    start, step = line
    jump = m.header.apart * step
    # samples from main.begin to main.end are equally spaced; the border list holds those of all other places
    first, apart, border = main.begin, main.end - main.begin, m.header.borders + main.border
    begin = first.maximum(span.low).minimum(span.high)
    end = main.end.minimum(span.high).maximum(begin)
    place = code.variable(span.low)
    with code.repeat(lambda: place.now < span.high):
        # skip the main run, which is copied below
        place.set((place.now.equals(begin) & (begin < end)).choose(end, place.now))
        with code.when(place.now < span.high):
            sample = m.t[border + (place.now < first).choose(place.now, place.now - apart)]
            with code.either(sample < 0) as (zero, known):
                with zero:
                    buffer[to.now + place.now] = 0
                with known:
                    buffer[to.now + place.now] = x[start + sample * step]
            place.add(1)
    count = end - begin
    with code.when(code.integer(0) < count):
        source = start + (main.sample + (begin - first) * m.header.apart) * step
        with code.either(jump.equals(1)) as (near, far):
            with near:
                buffer.copy(to.now + begin, x, source, count, bytes_of(x.element))
            with far:
                emit_apart(m, to.now + begin, source, jump, count)


def emit_apart(m: Arrays, to: Value, start: Value, jump: Value, count: Value) -> None:
    """Copy ``count`` elements of ``x``, ``jump`` apart, to the tile buffer."""
    code, x, buffer, width = m.code, m.x, m.buffer, m.width
    done = code.variable(0)
    with code.when(jump.equals(2)), code.loop(0, (count - 1) // width * width, width) as number:
        # one element after each pair of vectors is left, so that both can be loaded
        pair = x.vector(start + number * 2), x.vector(start + number * 2 + width)
        buffer.store_vector(to + number, shuffled(code.builder, pair, range(0, 2 * width, 2)))
        done.add(width)
    with code.loop(done.now, count) as number:
        buffer[to + number] = x[start + number * jump]
