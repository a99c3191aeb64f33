"""Write the row pointers of a box of rows.

The number of entries of a row is a product of those of the axes' rows. Row pointers repeat as the rows of the
first axis do, with what lies between two of its rows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._assembly.repeats import repeat_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.axis_rows import RunRows

# the most rows whose lengths are multiplied out, and summed up, by one operation each
FEW_ROWS = 1 << 12
# rows of a job, and rows that are written twice while they are in cache
JOB_ROWS, CACHED_ROWS = 1 << 20, 1 << 14


def pointer_jobs(
    axes: Sequence[RunRows],
    ranges: Sequence[tuple[int, int]],
    channels: int,
    columns: int,
    ends: Array,
    entry: int,
) -> Iterator[Callable[[], None]]:
    """Yield jobs that write the end of each row of a box; few rows are written at once, without a job.

    Parameters
    ----------
    axes : sequence of RunRows
    ranges : sequence of (int, int)
        The rows of each axis.
    channels, columns : int
        The number of row channels, and of columns of each before the first axis.
    ends : (rows,) array
    entry : int
        The number of entries before the box.
    """
    if ends.size <= FEW_ROWS:
        counts = [axis.counts(*own) for axis, own in zip(axes, ranges, strict=True)]
        lengths = _products(counts) * columns
        (lengths if channels == 1 else np.tile(lengths, channels)).cumsum(dtype=ends.dtype, out=ends)
        ends += ends.dtype.type(entry)
        return
    parts = _parts(axes, ranges, channels, columns, ends, entry)
    if ends.size <= JOB_ROWS:
        yield partial(_do_all, parts)
    else:
        yield from parts


def _do_all(jobs: Iterator[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _parts(
    axes: Sequence[RunRows],
    ranges: Sequence[tuple[int, int]],
    channels: int,
    columns: int,
    ends: Array,
    entry: int,
) -> Iterator[Callable[[], None]]:
    """Yield jobs for parts of the rows; arguments as for `pointer_jobs`."""
    if channels > 1:
        own = np.empty(ends.size // channels, ends.dtype)
        _do_all(_parts(axes, ranges, 1, columns, own, 0))
        yield from _repetitions(own, int(own[-1]), ends, entry)
        return
    counts = [axis.counts(*own) for axis, own in zip(axes[1:], ranges[1:], strict=True)]
    line = _products([np.array([columns]), *counts]).cumsum(dtype=ends.dtype)
    at = 0
    for first, period, repeat, _ in axes[0].clip(*ranges[0]):
        stop = at + period * repeat * line.size
        upper = axes[0].counts(first, first + period)
        begins = (upper.cumsum() - upper) * int(line[-1])
        if repeat > 1:
            block = np.empty(period * line.size, ends.dtype)
            _write_lines(line, upper, begins, block)
            yield from _repetitions(block, int(block[-1]), ends[at:stop], entry)
            entry += int(block[-1]) * repeat
        else:
            lines = ends[at:stop].reshape(period, -1)
            step = max(1, JOB_ROWS // line.size)
            for low in range(0, period, step):
                part = slice(low, low + step)
                yield partial(_write_lines, line, upper[part], entry + begins[part], lines[part].reshape(-1))
            entry += int(upper.sum()) * int(line[-1])
        at = stop


def _products(counts: list[Array]) -> Array:
    """Return the products of each number of an array with each of the next one, and so on, flattened."""
    products, *others = counts
    for numbers in others:
        products = (products[:, None] * numbers).reshape(-1)
    return products


def _write_lines(line: Array, upper: Array, begins: Array, out: Array) -> None:
    """Write a line several times, each times a number, to which another one is added."""
    lines = out.reshape(-1, line.size)
    upper, begins = (numbers.astype(out.dtype)[:, None] for numbers in (upper, begins))
    step = max(1, CACHED_ROWS // line.size)
    for at in range(0, len(lines), step):
        part = lines[at : at + step]
        np.multiply(upper[at : at + step], line, out=part)
        part += begins[at : at + step]


def _repetitions(block: Array, shift: int, out: Array, entry: int) -> Iterator[Callable[[], None]]:
    """Yield jobs that fill ``out`` with copies of a block, the first of them larger by ``entry``."""
    step = max(1, JOB_ROWS // block.size) * block.size
    for at in range(0, out.size, step):
        before = entry + at // block.size * shift
        yield partial(_repeat, block, before, shift, out[at : at + step])


def _repeat(block: Array, before: int, shift: int, out: Array) -> None:
    repeat_block(block + block.dtype.type(before), shift, out)
