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
    """Rows for compiled loops, as stretches of columns that step evenly.

    Attributes
    ----------
    ends : (rows + 1,) int64 array
        Where the stretches of each row begin, and where the last row ends.
    columns, steps, counts : (stretches,) int64 arrays
        The first column, the distance from one column to the next, and the number of columns.
    places, apart : (stretches,) int64 arrays
        The place of the first column in its row, and the distance from one place to the next, which is not 1
        where stretches are interleaved.
    terms : (stretches + 1,) int64 array
        Where the terms of each stretch begin, and where the last one's end. A column is the sum of its terms.
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
        given = np.empty((4, rows, many), np.int64)
        for own, part in zip(given, (runs.column, runs.tap, runs.length, runs.tap_step), strict=True):
            own[...] = part
        scratch = np.empty((4, many), np.int64)
        pairs = int(runs.length.sum())
        # an estimate first: each run begins and ends once, and crosses a few others. Then the bound, since no
        # stretch is without a pair
        for room in (min(pairs, rows * (4 * many + 4)), pairs):
            ends, terms = np.empty(rows + 1, np.int64), np.empty(room + 1, np.int64)
            columns, steps, counts, places, apart, taps, rises = np.empty((7, room), np.int64)
            sizes = np.empty(2, np.int64)
            table = cls(ends, columns, steps, counts, places, apart, terms, taps, rises)
            merge_runs(*given, runs.column_step, *table, *scratch, sizes)
            if sizes[0] >= 0:
                break
        return table._cut(*sizes.tolist())

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


def _joined(name: str, parts: tuple[Array, ...]) -> Array:
    """Return one field of all tables as one array; places, which begin at 0 in each table, are shifted."""
    if name not in ("ends", "terms"):
        return np.concatenate(parts)
    at = accumulate((int(part[-1]) for part in parts[:-1]), initial=0)
    return np.concatenate([[0], *(start + part[1:] for start, part in zip(at, parts, strict=True))])
