"""Compiled loops that write rows of a matrix: tables of each axis' rows, and products of several axes.

Rows at the border differ from one another, and NumPy needs some microseconds for each. If a matrix has many
such rows, these loops write them: the runs of an axis are merged into stretches, along which columns and taps
have constant steps, and stretches are written as strided copies.
"""

from __future__ import annotations

from typing import Any

from numba import uint64

from sparsetconv._arrays.compiler import compiled

# larger than every column
NONE = (1 << 63) - 1
# the most entries of interleaved stretches: written one stretch after the other, they should stay in cache
TURNS = 1 << 11
# stretches of a smaller mean length are written entry by entry, each entry for all columns so far at once
SHORT = 16


@compiled
def _take_turns(head: Any, left: Any, low: int, step: int, order: Any) -> tuple[int, int]:
    """Sort the runs that have a column in ``low`` ... ``low + step - 1``, and write their order.

    Return the number of these runs, and the number of columns of each before one of them ends or another run
    begins.
    """
    behind = count = NONE
    chosen = 0
    for run in range(head.size):
        if left[run] <= 0:
            continue
        if head[run] >= low + step:
            behind = min(behind, head[run])
            continue
        to = chosen
        while to > 0 and head[order[to - 1]] > head[run]:
            order[to] = order[to - 1]
            to -= 1
        order[to] = run
        chosen += 1
        count = min(count, left[run])
    if behind < NONE:
        count = min(count, (behind - low) // step)
    if chosen > 1:
        count = min(count, max(1, TURNS // chosen))
    return chosen, count


@compiled
def _add_term(taps: Any, rises: Any, begin: int, end: int, tap: int, rise: int) -> None:
    """Insert a term into terms ``begin`` to ``end``, which are sorted by taps."""
    while end > begin and taps[end - 1] > tap:
        taps[end], rises[end] = taps[end - 1], rises[end - 1]
        end -= 1
    taps[end], rises[end] = tap, rise


@compiled
def _until_crossing(taps: Any, rises: Any, begin: int, end: int, count: int) -> int:
    """Return the number of columns, at most ``count``, over which terms keep their order."""
    for term in range(begin + 1, end):
        closing = rises[term - 1] - rises[term]
        if closing > 0:
            count = min(count, (taps[term] - taps[term - 1] + closing - 1) // closing)
    return count


@compiled
def merge_runs(runs: Any, table: Any, heads: Any) -> tuple[int, int]:
    """Merge the `Runs` of each row into stretches of a `Table`; return the numbers of stretches and terms.

    Columns of a run are ``step`` apart. All runs that have a column among the next ``step`` columns are
    interleaved, until one of them ends, another one begins, or two runs in the same columns change the order
    of their taps. If the table is too small, both numbers are -1. ``heads`` are scratch.
    """
    column, tap, length = runs.column, runs.tap, runs.length
    tap_step, step = runs.tap_step, runs.column_step
    ends, columns, steps, counts = table.ends, table.columns, table.steps, table.counts
    places, apart, terms, taps, rises = table.places, table.apart, table.terms, table.taps, table.rises
    head, met, left, order = heads.column, heads.tap, heads.left, heads.order
    at = term = 0
    ends[0] = terms[0] = 0
    for row in range(column.shape[0]):
        low, width = NONE, 0
        for run in range(head.size):
            head[run], met[run], left[run] = column[row, run], tap[row, run], length[row, run]
            if left[run] > 0:
                low = min(low, head[run])
        while low < NONE:
            chosen, count = _take_turns(head, left, low, step, order)
            if at + chosen > columns.size or term + chosen > taps.size:
                return -1, -1
            first = at
            for place in range(chosen):
                run = order[place]
                if place == 0 or head[run] > columns[at - 1]:
                    columns[at] = head[run]
                    at += 1
                _add_term(taps, rises, terms[at - 1], term, met[run], tap_step[row, run])
                term += 1
                terms[at] = term
            for s in range(first, at):
                count = _until_crossing(taps, rises, terms[s], terms[s + 1], count)
            for s in range(first, at):
                steps[s], counts[s], places[s], apart[s] = step, count, width + s - first, at - first
            width += count * (at - first)
            low = NONE
            for run in range(head.size):
                if left[run] > 0 and head[run] < columns[first] + step:
                    head[run] += count * step
                    met[run] += count * tap_step[row, run]
                    left[run] -= count
                if left[run] > 0:
                    low = min(low, head[run])
        ends[row + 1] = at
    return at, term


@compiled
def _put(source: Any, first: int, rise: int, out: Any, to: int, apart: int, count: int, more: bool) -> None:
    """Copy or add ``count`` numbers, ``rise`` apart in ``source``, to places ``apart`` from each other."""
    # unsigned indices: signed ones are tested at every access, since negative ones count from the end
    begin, place, many = uint64(first), uint64(to), uint64(count)
    step, stride = uint64(rise), uint64(apart)
    if apart == 1 and rise == 1:
        if more:
            for i in range(many):
                out[place + i] += source[begin + i]
        else:
            for i in range(many):
                out[place + i] = source[begin + i]
    elif apart == 1 and rise == -1:
        if more:
            for i in range(many):
                out[place + i] += source[begin - i]
        else:
            for i in range(many):
                out[place + i] = source[begin - i]
    elif more:
        for i in range(many):
            out[place + i * stride] += source[begin + i * step]
    else:
        for i in range(many):
            out[place + i * stride] = source[begin + i * step]


@compiled
def _count_up(column: int, step: int, out: Any, to: int, apart: int, count: int) -> None:
    """Write ``column``, ``column + step``, ... to ``count`` places, ``apart`` from each other."""
    place, stride = uint64(to), uint64(apart)
    if step == 1 and apart == 1:
        for i in range(count):
            out[place + uint64(i)] = column + i
    else:
        for i in range(count):
            out[place + uint64(i) * stride] = column + i * step


@compiled
def _put_columns(source: Any, first: int, column: int, out: Any, to: int, apart: int, count: int) -> None:
    """Write ``count`` numbers, ``column`` added, to places ``apart`` from each other."""
    begin, place, stride = uint64(first), uint64(to), uint64(apart)
    for i in range(uint64(count)):
        out[place + i * stride] = source[begin + i] + column


@compiled
def write_rows(products: Any, room: Any, data: Any, indices: Any, out: int) -> None:
    """Write the products of the rows of some axes, the last axis fastest, from entry ``out`` on.

    ``products`` are `Products` whose sizes and places are for all columns before the first axis; `Room` holds
    these columns and their weights. A sum is its first term plus the sum of the others, as NumPy adds. If
    ``indices`` is empty, only values are written.
    """
    levels, widths, strides, inner = products.begins, products.widths, products.strides, products.inner
    many, column_at, weight_at, table = products.many, products.column_at, products.weight_at, products.table
    ends, columns, steps, counts = table.ends, table.columns, table.steps, table.counts
    places, apart, terms, taps, rises = table.places, table.apart, table.terms, table.taps, table.rises
    row, given, contracted, so_far = room.rows, room.given, room.contracted, room.columns
    last = many.size - 1
    row[0] = levels[0]
    level = 0
    while level >= 0:
        if row[level] == levels[level + 1]:
            level -= 1
            if level >= 0:
                row[level] += 1
            continue
        begin, end = ends[row[level]], ends[row[level] + 1]
        width, below = widths[row[level]], inner[level + 1]
        weights = given if level == 0 else contracted
        # short stretches are written entry by entry, each entry for all columns so far at once
        together = level == last and many[level] > 1 and width < SHORT * (end - begin)
        for a in range(1 if together else many[level]):
            source, column_so_far = weight_at[level] + a * inner[level], so_far[column_at[level] + a]
            for s in range(begin, end):
                first, several = terms[s], terms[s + 1] - terms[s]
                for i in range(counts[s] if together or level < last else 1):
                    place, column = a * width + places[s] + i * apart[s], columns[s] + i * steps[s]
                    if level < last:
                        so_far[column_at[level + 1] + place] = column_so_far + column * strides[level]
                    elif indices.size > 0 and together:
                        _put_columns(
                            so_far, column_at[level], column, indices, out + place, width, many[level]
                        )
                    elif indices.size > 0:
                        _count_up(column_so_far + column, steps[s], indices, out + place, apart[s], counts[s])
                    for t in range(1, several + 1):
                        term = first + t if t < several else first
                        near = source + (taps[term] + i * rises[term]) * below
                        if level < last:
                            to = weight_at[level + 1] + place * below
                            _put(weights, near, 1, contracted, to, 1, below, t > 1)
                        elif together:
                            _put(weights, near, inner[level], data, out + place, width, many[level], t > 1)
                        else:
                            _put(weights, near, rises[term], data, out + place, apart[s], counts[s], t > 1)
        if level < last:
            many[level + 1] = many[level] * width
            level += 1
            row[level] = levels[level]
        else:
            out += many[level] * width
            row[level] += 1
