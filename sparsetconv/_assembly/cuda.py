"""The arrays of a CSR matrix, written on the device: one launch for each array.

Entries and their order are the same as in ``csr``, from the same rows of axes. Only tables of each axis'
distinct rows are copied to the device, never the entries of the matrix. The kernels are in ``source/``;
``source/matrix.cuh`` explains the tables.
"""

from __future__ import annotations

from math import gcd, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._arrays import cuda
from sparsetconv._arrays.record import filled, numbers, record, size
from sparsetconv._assembly.csr import ChannelSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.record import Kind
    from sparsetconv._arrays.types import Array
    from sparsetconv._assembly.axis_rows import Rows, RunRows
    from sparsetconv._assembly.csr import MatrixLayout
    from sparsetconv._geometry.segments import Segment

# bounds on the entries of a chunk of a line; within these, a matrix is divided into about CHUNKS chunks
CHUNK_ENTRIES, CHUNKS = (1 << 12, 1 << 15), 1 << 13
# the most entries of a segment of rows that do not repeat
MERGED_ENTRIES = 1 << 12
# lines of fewer entries share a block of threads
SHORT_LINE = 1 << 11
THREADS = 128
# one block of threads writes the pointers of about this many rows of a line
POINTER_ROWS = 1 << 12
# the most rows of a factor that are compared at once on the host, so that the arrays stay in cache
COMPARED_ROWS = 1 << 14


# the structs that ``source/matrix.cuh`` and ``source/product_values.cu`` explain
SEGMENT = record("start", "period", "shift", "row", "before", "entries", "repeat", "slide")
CHUNK = record("first_segment", "end_segment", "first_time", "end_time")
AXIS_LAYOUT = record(
    "rows", "columns", "entries", "segments", "segment_table", "begin_table", "column_table", "fold_table",
    "tap_table", "taps",
)  # fmt: skip
CHANNEL_STEPS = record(*ChannelSteps._fields)


def layout_record(ndim: int) -> Kind:
    """Return the record of a layout that the kernels take: ``Layout`` in ``source/matrix.cuh``."""
    return record(
        "row_channels", "column_channels", "start", "stop", "before", "entries", "chunks", "chunk_table",
        ("columns", CHANNEL_STEPS), ("weights", CHANNEL_STEPS), ("axes", AXIS_LAYOUT, ndim),
    )  # fmt: skip


def shared_constants(ndim: int) -> dict[str, str | Kind]:
    """Return the constants of a compilation that depend only on the number of axes."""
    structs = {"Segment": SEGMENT, "Chunk": CHUNK, "AxisLayout": AXIS_LAYOUT, "ChannelSteps": CHANNEL_STEPS}
    structs |= {"Layout": layout_record(ndim), "Firsts": record(("of", ndim))}
    return {"NDIM": str(ndim), **structs}


class Group(NamedTuple):
    """Rows that repeat, as in `Segment`; from one group to the next, taps grow by ``slide``."""

    start: int
    period: int
    repeat: int
    shift: int = 0
    slide: int = 0


class AxisTable(NamedTuple):
    """One axis' matrix as tables of its template rows, the rows that are distinct.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    taps : int
        Taps of the kernel along the axis; 1 for a factor without a kernel.
    segments : array of `SEGMENT`
    begins, columns : int64 arrays
        The offset of each template row's columns, and the columns.
    folds, tap_list : int64 arrays
        The offset of each column's taps, and the taps.
    values : float64 array
        Values of the columns of a factor without a kernel.
    """

    shape: tuple[int, int]
    taps: int
    segments: Array
    begins: Array
    columns: Array
    folds: Array
    tap_list: Array
    values: Array

    @property
    def entries(self) -> int:
        """Entries of the axis' matrix."""
        last = self.segments[-1]
        return int(last["before"] + last["repeat"] * last["entries"])

    @property
    def slides(self) -> bool:
        """Whether the taps of any segment slide."""
        return bool(self.segments["slide"].any())


def _balanced(segments: Sequence[Group], begins: Array) -> Iterator[Group]:
    """Join neighbouring rows that do not repeat, and divide them into segments of bounded entries.

    ``begins`` is where in the tables each template row begins.
    """
    joined: list[Group] = []
    for segment in segments:
        if joined and joined[-1].repeat == segment.repeat == 1:
            joined[-1] = Group(joined[-1].start, joined[-1].period + segment.period, 1)
        else:
            joined.append(segment)
    row = 0
    for segment in joined:
        first, last = row, row + segment.period
        row = last
        if segment.repeat > 1:
            yield segment
            continue
        at = first
        while at < last:
            stop = int(begins.searchsorted(begins[at] + MERGED_ENTRIES, "right")) - 1
            stop = min(max(stop, at + 1), last)
            yield Group(segment.start + at - first, stop - at, 1)
            at = stop


def axis_table(rows: RunRows) -> AxisTable:
    """Return the tables of a convolution's axis."""
    columns, folds, taps, sizes, at = [], [], [], [np.zeros(1, np.int64)], 0
    segments = list(_groups(rows))
    for segment in segments:
        for part in rows.parts(segment.start, segment.start + segment.period):
            met = part.listed_taps
            folds.append(at + _fold_starts(part))
            taps.append(met)
            columns.append(part.columns)
            sizes.append(part.sizes)
            at += met.size
    begins = np.concatenate(sizes).cumsum()
    return AxisTable(
        rows.shape,
        rows.taps,
        _segment_table(list(_balanced(segments, begins)), begins),
        begins,
        _joined(columns),
        _joined([*folds, np.array([at])]),
        _joined(taps),
        np.zeros(0),
    )


def _fold_starts(part: Rows) -> Array:
    """Return where each column's taps begin."""
    return np.arange(part.columns.size) if part.starts is None else part.starts


def _groups(rows: RunRows) -> Iterator[Group]:
    """Yield the rows of an axis as groups that repeat."""
    sliding = rows.sliding()
    if sliding is not None and _slides(rows, *sliding):
        segment, slide = sliding
        yield from _if_any(Group(0, segment.start, 1))
        yield Group(segment.start, segment.period, segment.repeat, 0, slide)
        yield from _if_any(Group(segment.stop, rows.shape[0] - segment.stop, 1))
        return
    for start, period, repeat, shift in rows.segments:
        # the tables hold one shift per row: rows whose columns shift by different steps are listed in full
        yield Group(start, period * repeat, 1) if shift is None else Group(start, period, repeat, shift)


def _if_any(group: Group) -> Iterator[Group]:
    if group.period:
        yield group


def _slides(rows: RunRows, segment: Segment, slide: int) -> bool:
    """Return whether the last group of a segment equals the first one with all taps ``slide`` further on.

    This fails where a long kernel has been wrapped to one period.
    """
    if segment.repeat < 2:
        return False
    further = slide * (segment.repeat - 1)
    starts = segment.start, segment.stop - segment.period
    (first, last) = (list(rows.parts(start, start + segment.period)) for start in starts)
    return len(first) == len(last) and all(
        np.array_equal(a.columns, b.columns)
        and np.array_equal(a.sizes, b.sizes)
        and np.array_equal(_fold_starts(a), _fold_starts(b))
        and np.array_equal(a.listed_taps + further, b.listed_taps)
        for a, b in zip(first, last, strict=True)
    )


def factor_table(factor: Any) -> AxisTable:
    """Return the tables of an axis given by its CSR matrix."""
    segments, templates = _repeating(factor)
    begins, empty = templates.indptr.astype(np.int64), np.zeros(0, np.int64)
    table = _segment_table(list(_balanced(segments, begins)), begins)
    columns = templates.indices.astype(np.int64)
    return AxisTable(factor.shape, 1, table, begins, columns, empty, empty, templates.data)


def _repeating(factor: Any) -> tuple[list[Group], Any]:
    """Return the segments of a CSR matrix, and a matrix of their template rows.

    If the numbers of rows and columns have a common divisor, the rows of a resize repeat with shifted
    columns.
    """
    rows, columns = factor.shape
    period = rows // gcd(rows, columns)
    shift = columns * period // rows
    again = _same_rows(factor, period, shift)
    # the longest stretch of rows that all repeat
    edges = np.flatnonzero(np.diff(np.concatenate([[False], again, [False]])))
    start, repeat = 0, 1
    if edges.size:
        longest = int((edges[1::2] - edges[::2]).argmax())
        start = int(edges[2 * longest])
        repeat = 1 + (int(edges[2 * longest + 1]) - start) // period
    if repeat == 1:
        return [Group(0, rows, 1)], factor
    stop = start + period * repeat
    middle = Group(start, period, repeat, shift)
    templates = np.concatenate([np.arange(start + period), np.arange(stop, rows)])
    return [*_if_any(Group(0, start, 1)), middle, *_if_any(Group(stop, rows - stop, 1))], factor[templates]


def _same_rows(factor: Any, period: int, shift: int) -> Array:
    """Return, for each row but the last ``period``, whether the row ``period`` later equals it, shifted."""
    pointers, indices, values = factor.indptr, factor.indices, factor.data
    counts = np.diff(pointers)
    again: Array = counts[period:] == counts[: counts.size - period]
    for first in range(0, again.size, COMPARED_ROWS):
        # rows that are not empty, and whose counterpart has as many entries
        block = again[first : first + COMPARED_ROWS]
        rows = first + np.flatnonzero(block & (counts[first : first + block.size] > 0))
        if not rows.size:
            continue
        sizes = counts[rows]
        begins = np.concatenate([[0], sizes[:-1].cumsum()])
        entries = np.arange(int(sizes.sum())) + np.repeat(pointers[rows] - begins, sizes)
        moved = entries + np.repeat(pointers[rows + period] - pointers[rows], sizes)
        same = (indices[moved] - shift == indices[entries]) & (values[moved] == values[entries])
        again[rows] = np.logical_and.reduceat(same, begins)
    return again


def _joined(arrays: list[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _segment_table(segments: Sequence[Group], begins: Array) -> Array:
    columns = dict(zip(Group._fields, np.array(segments, np.int64).T, strict=True))
    ends = columns["period"].cumsum()
    rows = ends - columns["period"]
    entries = begins[ends] - begins[rows]
    total = columns["repeat"] * entries
    return filled(SEGMENT, **columns, row=rows, before=total.cumsum() - total, entries=entries)


class Channels(NamedTuple):
    """Row and column channels of one group of a matrix, and the channel steps of its `MatrixLayout`."""

    rows: int
    columns: int
    column_steps: ChannelSteps
    weight_steps: ChannelSteps

    @classmethod
    def of(cls, layout: MatrixLayout) -> Channels:
        """Return the channels of a layout."""
        return cls(layout.row_channels, layout.column_channels, layout.column_steps, layout.weight_steps)


class Wanted(NamedTuple):
    """A range of rows of a matrix, the number of entries before it, and the number of entries in it."""

    start: int
    stop: int
    before: int
    entries: int


class Chunk(NamedTuple):
    """A range of whole segments, or of the repetitions of one segment."""

    first_segment: int
    end_segment: int
    first_time: int
    end_time: int


class DeviceLayout:
    """A layout with its tables on the device.

    Parameters
    ----------
    backend : Backend
    axes : sequence of AxisTable
    channels : Channels
    wanted : Wanted
    """

    def __init__(
        self, backend: Backend, axes: Sequence[AxisTable], channels: Channels, wanted: Wanted
    ) -> None:
        self.backend, self.axes = backend, axes
        start, length = wanted.start, axes[-1].shape[0]
        # lines are rows that differ in the last axis only; the range may lie within a single line
        self._lines = -(-wanted.stop // length) - start // length
        span = (start % length, start % length + wanted.stop - start) if self._lines == 1 else (0, length)
        upper = channels.columns * prod(
            max(1, int(np.diff(axis.begins).max(initial=0))) for axis in axes[:-1]
        )
        short = upper * axes[-1].entries < SHORT_LINE
        self._threads = (32, THREADS // 32) if short else (THREADS, 1)
        low, high = CHUNK_ENTRIES
        target = min(max(wanted.entries // CHUNKS, low), high)
        chunks = np.array(list(_chunks(axes[-1], span, upper, target)), CHUNK)
        row_chunks = np.array(list(_row_chunks(axes[-1], span)), CHUNK)
        self._chunk_count, self._row_chunk_count = len(chunks), len(row_chunks)
        self._row_chunk_table = len(chunks) * size(CHUNK)
        tables = [numbers(chunks), numbers(row_chunks)]
        layouts, at = [], sum(table.size for table in tables)
        for axis in axes:
            own, parts = _axis_layout(axis, at)
            layouts.append(own)
            tables += parts
            at += sum(part.size for part in parts)
        self._tables = backend.xp.asarray(np.concatenate(tables))
        self._layout = cuda.by_value(
            filled(
                layout_record(len(axes)),
                row_channels=channels.rows,
                column_channels=channels.columns,
                **wanted._asdict(),
                chunks=len(chunks),
                chunk_table=0,
                columns=filled(CHANNEL_STEPS, **channels.column_steps._asdict()),
                weights=filled(CHANNEL_STEPS, **channels.weight_steps._asdict()),
                axes=np.array(layouts),
            )
        )

    def __call__(
        self,
        source: str,
        name: str,
        constants: dict[str, str],
        arguments: Sequence[Any],
        chunks: int = 0,
    ) -> None:
        """Launch a kernel: each block of threads works on one of ``chunks`` chunks of one or a few lines."""
        known = shared_constants(len(self.axes)) | constants
        function = cuda.kernel(self.backend, ("matrix.cuh", source), tuple(known.items()), name)
        blocks = -(-self._lines // self._threads[1]) * (chunks or self._chunk_count)
        if blocks:
            cuda.launch(function, blocks, self._threads, (self._layout, self._tables, *arguments))

    def pointers(self, out: Array) -> None:
        """Write the row pointers."""
        constants = {"INDEX": cuda.type_name(out.dtype)}
        count = self._row_chunk_count
        arguments = out, np.int64(count), np.int64(self._row_chunk_table)
        self("pattern.cu", "row_pointers", constants, arguments, count)

    def columns(self, out: Array) -> None:
        """Write the columns."""
        self("pattern.cu", "columns", {"INDEX": cuda.type_name(out.dtype)}, (out,))


def _axis_layout(axis: AxisTable, at: int) -> tuple[Array, list[Array]]:
    """Return the record of an axis, and its tables, which begin at offset ``at``."""
    rows, columns = axis.shape
    tables = {
        "segment_table": numbers(axis.segments),
        "begin_table": axis.begins,
        "column_table": axis.columns,
        "fold_table": axis.folds,
        "tap_table": axis.tap_list,
    }
    places = at + np.cumsum([0, *(table.size for table in tables.values())])
    own = filled(
        AXIS_LAYOUT,
        rows=rows,
        columns=columns,
        entries=axis.entries,
        segments=len(axis.segments),
        **dict(zip(tables, places.tolist(), strict=False)),
        taps=axis.taps,
    )
    return own, list(tables.values())


def _in_span(axis: AxisTable, span: tuple[int, int]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield the segments with rows in a range: number, period, entries of a group, and these rows' range.

    Rows are counted from the segment's first one.
    """
    columns = (axis.segments[name].tolist() for name in ("start", "period", "entries", "repeat"))
    for number, (start, period, entries, repeat) in enumerate(zip(*columns, strict=True)):
        low, high = max(start, span[0]), min(start + period * repeat, span[1])
        if low < high:
            yield number, period, entries, low - start, high - start


def _chunks(axis: AxisTable, span: tuple[int, int], upper: int, target: int) -> Iterator[Chunk]:
    """Divide a range of an axis' rows into chunks of about ``target`` entries."""
    joined: tuple[int, int, int] | None = None
    for number, period, entries, low, high in _in_span(axis, span):
        if not entries:
            continue
        first, last = low // period, -(-high // period)
        size = entries * upper
        if last == 1:
            if joined and joined[1] == number and joined[2] + size <= target:
                joined = joined[0], number + 1, joined[2] + size
                continue
            if joined:
                yield Chunk(*joined[:2], 0, 1)
            joined = number, number + 1, size
            continue
        if joined:
            yield Chunk(*joined[:2], 0, 1)
            joined = None
        step = max(1, target // size)
        for time in range(first, last, step):
            yield Chunk(number, number + 1, time, min(time + step, last))
    if joined:
        yield Chunk(*joined[:2], 0, 1)


def _row_chunks(axis: AxisTable, span: tuple[int, int]) -> Iterator[Chunk]:
    """Divide a range of an axis' rows into chunks of about ``POINTER_ROWS`` rows."""
    first, last, joined = 0, 0, 0
    repeats = axis.segments["repeat"].tolist()
    for number, period, _, low, high in _in_span(axis, span):
        rows = high - low
        if joined and joined + rows > POINTER_ROWS:
            yield Chunk(first, last, 0, repeats[first])
            joined = 0
        if rows <= POINTER_ROWS:
            first, last, joined = first if joined else number, number + 1, joined + rows
            continue
        begin, end = low // period, -(-high // period)
        step = max(1, POINTER_ROWS // period)
        for time in range(begin, end, step):
            yield Chunk(number, number + 1, time, min(time + step, end))
    if joined:
        yield Chunk(first, last, 0, repeats[first])


def csr_arrays(
    backend: Backend,
    axes: Sequence[AxisTable],
    channels: Channels,
    wanted: Wanted,
    dtypes: tuple[np.dtype[Any], np.dtype[Any]],
    write: Callable[[DeviceLayout, Array], None],
) -> tuple[Array, Array, Array]:
    """Return ``data, indices, indptr`` on the device.

    Parameters
    ----------
    backend, axes, channels, wanted : Backend, sequence, Channels, Wanted
        As for `DeviceLayout`.
    dtypes : tuple of dtype
        Of the values and of the indices.
    write : callable
        Writes the values.
    """
    xp, (values, index) = backend.xp, dtypes
    data, indices = xp.empty(wanted.entries, values), xp.empty(wanted.entries, index)
    if wanted.start == wanted.stop:
        return data, indices, xp.zeros(1, index)
    pointers = xp.empty(wanted.stop - wanted.start + 1, index)
    launch = DeviceLayout(backend, axes, channels, wanted)
    launch.pointers(pointers)
    if wanted.entries:
        launch.columns(indices)
        write(launch, data)
    return data, indices, pointers


def convolution_arrays(
    backend: Backend,
    layout: MatrixLayout,
    weights: Array,
    rows: tuple[int, int],
    entries: int,
    index: np.dtype[Any],
) -> tuple[Array, Array, Array]:
    """Return the arrays of rows of a convolution's matrix; ``weights`` as for `csr.csr_arrays`."""
    axes = [axis_table(axis) for axis in layout.axes]
    flat = cuda.contiguous(backend.xp, layout.extended(weights), weights.dtype)
    constants = {
        "VALUE": cuda.type_name(flat.dtype),
        "SUM": cuda.sum_name(flat.dtype),
        "SLIDING": str(int(any(axis.slides for axis in axes))),
    }

    def write(launch: DeviceLayout, values: Array) -> None:
        launch("convolution_values.cu", "convolution_values", constants, (flat, values))

    wanted = Wanted(*rows, layout.entries_before(rows[0]), entries)
    return csr_arrays(backend, axes, Channels.of(layout), wanted, (flat.dtype, index), write)


def product_arrays(
    backend: Backend, factors: Sequence[Any], dtype: np.dtype[Any], index: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """Return the arrays of the Kronecker product of CSR matrices with sorted rows."""
    axes = [factor_table(factor) for factor in factors]
    values = backend.xp.asarray(np.concatenate([axis.values for axis in axes], dtype=np.float64))
    # the kernel gets places in the tables of columns; values are one array, axis after axis
    firsts = filled(record(("of", len(axes))), of=np.cumsum([0, *(axis.values.size for axis in axes[:-1])]))

    def write(launch: DeviceLayout, out: Array) -> None:
        constants = {"VALUE": cuda.type_name(out.dtype)}
        arguments = values, cuda.by_value(firsts), out
        launch("product_values.cu", "product_values", constants, arguments)

    rows, entries = prod(axis.shape[0] for axis in axes), prod(axis.entries for axis in axes)
    channels = Channels(1, 1, ChannelSteps(1, 0, 1), ChannelSteps(1, 0, 1))
    return csr_arrays(backend, axes, channels, Wanted(0, rows, 0, entries), (dtype, index), write)
