"""Rows of one axis' matrix as tables for compiled loops."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.runs import Runs

# rows of more runs than this are sorted before they are merged
MERGED_RUNS = 4


class Table(NamedTuple):
    """Rows for compiled loops, as stretches of evenly spaced columns.

    Attributes
    ----------
    ends : (rows + 1,) int64 array
        The first stretch of each row, and the end of the last row.
    columns, steps, counts : (stretches,) int64 arrays
        The first column, the distance from one column to the next, and the number of columns.
    places, apart : (stretches,) int64 arrays
        The place of the first column in its row, and the distance from one place to the next, which is not 1
        where stretches are interleaved.
    terms : (stretches + 1,) int64 array
        The first term of each stretch, and the end of the last. An entry is the sum of its column's terms.
    taps, rises : (terms,) int64 arrays
        The tap of a term at the first column, and its step from one column to the next.
    """

    ends: Array
    columns: Array
    steps: Array
    counts: Array
    places: Array
    apart: Array
    terms: Array
    taps: Array
    rises: Array

    @classmethod
    def merged(cls, runs: Runs) -> Table:
        """Return the rows that consist of the pairs of ``runs``."""
        from sparsetconv._assembly.loops import merge_runs

        rows, many = runs.column.shape
        if many > MERGED_RUNS:
            runs = runs.ordered()
        runs = _in_full(runs)
        heads = Heads(*(np.empty(many, np.int64) for _ in Heads._fields))
        pairs = int(runs.length.sum())
        # first an estimate (each run begins and ends once, and crosses a few others), then the upper bound:
        # every stretch has at least one pair
        for room in (min(pairs, rows * (4 * many + 4)), pairs):
            lengths = {"ends": rows + 1, "terms": room + 1}
            table = cls(**{name: np.empty(lengths.get(name, room), np.int64) for name in cls._fields})
            stretches, terms = merge_runs(runs, table, heads)
            if stretches >= 0:
                break
        return table._cut(stretches, terms)

    def _cut(self, stretches: int, terms: int) -> Table:
        """Return a table with copies of the first stretches and terms only."""
        lengths = {"ends": None, "terms": stretches + 1, "taps": terms, "rises": terms}
        fields = zip(self._fields, self, strict=True)
        return Table(**{name: part[: lengths.get(name, stretches)].copy() for name, part in fields})

    @classmethod
    def stacked(cls, tables: list[Table]) -> Table:
        """Return the rows of all tables, one after the other."""
        if len(tables) == 1:
            return tables[0]
        fields = zip(cls._fields, zip(*tables, strict=True), strict=True)
        return cls(**{name: _joined(name, parts) for name, parts in fields})


class Heads(NamedTuple):
    """Scratch arrays of `merge_runs`: the next pair of each run of a row, and an order of runs.

    Attributes
    ----------
    column, tap, left : (runs,) int64 arrays
        The next pair, and the number of pairs left.
    order : (runs,) int64 array
    """

    column: Array
    tap: Array
    left: Array
    order: Array


def _in_full(runs: Runs) -> Runs:
    """Return runs as contiguous int64 arrays of one shape, for which the loops are compiled."""

    def full(part: int | Array) -> Array:
        return np.array(np.broadcast_to(part, runs.column.shape), np.int64, order="C")

    return runs._replace(
        column=full(runs.column),
        tap=full(runs.tap),
        length=full(runs.length),
        tap_step=full(runs.tap_step),
    )


def _joined(name: str, parts: tuple[Array, ...]) -> Array:
    """Return one field of all tables as one array; places, which begin at 0 in each table, are shifted."""
    if name not in ("ends", "terms"):
        return np.concatenate(parts)
    at = accumulate((int(part[-1]) for part in parts[:-1]), initial=0)
    return np.concatenate([[0], *(start + part[1:] for start, part in zip(at, parts, strict=True))])
