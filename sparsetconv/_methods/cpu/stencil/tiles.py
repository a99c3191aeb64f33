"""The loops of the stencil over tiles, runs and row blocks, whatever the lanes of a vector hold.

``loops`` and ``channel_loops`` compute the results of a series; what is here calls them. Functions emit their
code inline, as those of ``loops`` do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from sparsetconv._arrays.record import Record, Records, size
from sparsetconv._methods.cpu.emit import Value
from sparsetconv._methods.cpu.stencil.micro_kernel import Arrays, TapList
from sparsetconv._methods.cpu.stencil.records import ROW_BLOCK, RUN
from sparsetconv._methods.cpu.stencil.source import Source, Span, emit_source, emit_span


class Item(NamedTuple):
    """The offsets of an item's result in ``out`` and of its channel group's weights in ``weights``."""

    result: Value
    weights: Value


class Target(NamedTuple):
    """The distances in ``out`` between lines and between results, and whether results are added."""

    line: Value
    step: Value
    adds: Value


class Series(NamedTuple):
    """The row blocks of one pattern, and a run, or pair of runs, of their results.

    Attributes
    ----------
    runs : Records
        The run; the second one is the odd phase of a pair.
    rows : Value
        Lines of a row block.
    pattern : Value
        The first tap list of the pattern.
    place : Value
        The place in ``out`` of the run's first result in line 0 of the first channel.
    target : Target
    paired : Value
        1 for a pair of runs, else 0.
    pairing : Value
        As for `emit_rows`.
    plain : Value
        Whether results are consecutive and stored, so that whole vectors need not go through the rows in
        front of the tile buffer.
    """

    runs: Records
    rows: Value
    pattern: Value
    place: Value
    target: Target
    paired: Value
    pairing: Value
    plain: Value


def emit_series(m: Arrays, lead: Record, run: Value, item: Item) -> Series:
    """Read the series of a run and of the row blocks that begin with ``lead``."""
    header, own = m.header, Record(m.t, run, RUN)
    parts = header.plane_parts * header.item_parts
    step, adds, paired = own.step * parts, lead.adds | own.adds, own.paired
    complex_pairs = header.plane_parts.equals(2) & step.equals(2) & adds.equals(0)
    return Series(
        runs=Records(m.t, run, RUN),
        rows=lead.count,
        pattern=lead.pattern * header.lists,
        place=item.result + own.target * parts,
        target=Target(header.out_line * parts, step, adds),
        paired=paired,
        pairing=paired.differs(0).choose(2, complex_pairs.choose(1, 0)),
        plain=step.equals(1) & (adds | paired).equals(0),
    )


def block_channels(m: Arrays, channels: Value) -> tuple[Value, Value]:
    """Return where the tables hold the first offset of a block of channels, and how many channels it has."""
    header = m.header
    first = channels * header.block_channels
    return header.starts + first, header.block_channels.minimum(header.results - first)


def tap_list(m: Arrays, series: Series, run: Record, channels: Value, item: Item, offsets: Value) -> TapList:
    """Return the taps of a run with the weights of a block of channels, given the offsets of all taps."""
    header, number = m.header, series.pattern + run.phase
    weights = item.weights + channels * header.block_weights + m.t[header.weight_starts + number]
    return TapList(offsets, header.bounds + number * header.limits, weights)


# computes the results of a run, for row blocks of one pattern: `emit_results` of the loops at hand
Results: TypeAlias = Callable[[Arrays, Series, tuple[Value, Value], Record, Span, Source, Item], None]


def emit_tile(m: Arrays, number: Value, tile: Record, results: Results) -> None:
    """Compute one tile of one item: fill the tile buffer, then compute each run of its row blocks."""
    code, header = m.code, m.header
    plane_parts, parts = header.plane_parts, header.plane_parts * header.item_parts
    whole_item, part = number // header.item_parts, number % header.item_parts
    result = whole_item * (header.results // plane_parts) * header.out_size * parts + part
    weights = whole_item % header.channel_groups * header.channel_blocks * header.block_weights
    item, source = Item(result, weights), emit_source(m, number, tile)
    block, last = code.variable(m.row_blocks.at(tile.first_block)), m.row_blocks.at(tile.end_block)
    with code.repeat(lambda: block.now < last):
        # consecutive row blocks of one pattern are computed together if their results are stored, not added
        first, stop = block.now, code.variable(block.now + size(ROW_BLOCK))

        def goes_along() -> Any:
            places = first, (stop.now < last).choose(stop.now, first)
            own, there = (Record(m.t, place, ROW_BLOCK) for place in places)
            alike = there.pattern.equals(own.pattern) & (there.adds | own.adds).equals(0)
            return (stop.now < last) & alike

        with code.repeat(goes_along):
            stop.add(size(ROW_BLOCK))
        run = code.variable(m.runs.at(tile.first_run))
        with code.repeat(lambda: run.now < m.runs.at(tile.end_run)):
            own = Record(m.t, run.now, RUN)
            span = emit_span(own, source.begin, source.end)
            with code.when(span.low < span.high):
                series = emit_series(m, Record(m.t, first, ROW_BLOCK), run.now, item)
                results(m, series, (first, stop.now), own, span, source, item)
            run.add((Record(m.t, run, RUN).paired + 1) * size(RUN))
        block.set(stop.now)


def emit_stencil(m: Arrays, results: Results, counter: Any, first: Value, tiles: Value, last: Value) -> None:
    """Compute tiles until the threads' common ``counter`` of tiles reaches ``last``."""
    with m.code.shared(counter, last) as number:
        emit_tile(m, number // tiles, m.tiles[first + number % tiles], results)
