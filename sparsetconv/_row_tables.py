"""Rows of one axis' matrix as tables for compiled loops.

Floor 1, below ``axis_rows``.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sparsetconv._runs import Runs
    from sparsetconv._types import Array

# more runs of a row than this are put in order before they are merged
MERGED_RUNS = 4


class Table(NamedTuple):
    """Rows for compiled loops, by stretches in which columns step evenly, and the taps that land on them.

    Attributes
    ----------
    ends : (rows + 1,) int64 array
        Where the stretches of each row begin, and the last end.
    columns, steps, counts : (stretches,) int64 arrays
        The first column, from each to the next, and how many.
    places, apart : (stretches,) int64 arrays
        Where in its row the first column stands, and from each to the next: stretches may take turns.
    terms : (stretches + 1,) int64 array
        Where the terms of each stretch begin, and the last end.
    taps, rises : (terms,) int64 arrays
        A tap of the first column, and from each column to the next.
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
        """Return rows with the pairs of some runs."""
        from sparsetconv._compiled_rows import merge_runs

        rows, many = runs.column.shape
        if many > MERGED_RUNS:
            runs = runs.ordered()
        runs = _in_full(runs)
        heads = Heads(*(np.empty(many, np.int64) for _ in Heads._fields))
        pairs = int(runs.length.sum())
        # each run begins and ends once, and passes a few others; no stretch is without a pair
        for room in (min(pairs, rows * (4 * many + 4)), pairs):
            lengths = {"ends": rows + 1, "terms": room + 1}
            table = cls(**{name: np.empty(lengths.get(name, room), np.int64) for name in cls._fields})
            stretches, terms = merge_runs(runs, table, heads)
            if stretches >= 0:
                break
        return table._cut(stretches, terms)

    def _cut(self, stretches: int, terms: int) -> Table:
        """Return copies of the first stretches and terms alone."""
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
    """Of each run of a row what is merged next, and the order of some of them: room for compiled loops.

    Attributes
    ----------
    column, tap, left : (runs,) int64 arrays
        The next pair, and how many there are from it on.
    order : (runs,) int64 array
    """

    column: Array
    tap: Array
    left: Array
    order: Array


def _in_full(runs: Runs) -> Runs:
    """Return runs whose arrays are of one kind, for which loops are compiled."""

    def full(part: int | Array) -> Array:
        return np.array(np.broadcast_to(part, runs.column.shape), np.int64, order="C")

    return runs._replace(
        column=full(runs.column),
        tap=full(runs.tap),
        length=full(runs.length),
        tap_step=full(runs.tap_step),
    )


def _joined(name: str, parts: tuple[Array, ...]) -> Array:
    """Return the arrays of all tables as one; where they begin, each from 0, they go on."""
    if name not in ("ends", "terms"):
        return np.concatenate(parts)
    at = accumulate((int(part[-1]) for part in parts[:-1]), initial=0)
    return np.concatenate([[0], *(start + part[1:] for start, part in zip(at, parts, strict=True))])
