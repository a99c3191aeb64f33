"""The records in which the stencil's plan is handed to its loops.

``plan`` writes them, ``loops`` reads them. A name with ``end`` is one past the last.
"""

from __future__ import annotations

from sparsetconv._arrays.record import record

# The micro-kernel keeps a register block of sums: this many rows, lines of a channel or channels of a line,
# of some vectors each. A tap may serve any range of the rows.
BLOCK_ROWS = 4
RANGES = tuple((low, high) for low in range(BLOCK_ROWS) for high in range(low + 1, BLOCK_ROWS + 1))
# room in a thread's scratch for the vectors of a row: how many there are is known when the loops are compiled
MOST_VECTORS = 8

# results along the last axis: `count` of them from `base` on, the first belongs to `target`, each further one
# to the sample `step` further; whether they are added to what stands there; their phase; whether they are the
# even phase of a pair, whose odd phase, the next run, has the samples between
RUN = record("base", "count", "target", "step", "adds", "phase", "paired")
# lines computed together: their numbers (-1: none), how many, their base in the tile buffer, their pattern of
# taps, whether they are added
ROW_BLOCK = record(("lines", BLOCK_ROWS), "count", "base", "pattern", "adds")
# row blocks, rows of the padded input, bases along the last axis, and runs; `end` is one past the last
TILE = record("first_block", "end_block", "first_row", "rows", "begin", "end", "first_run", "end_run")
# A thread's own: where the results of the register block's rows begin, how far from there its vectors stand,
# where their bases stand in the tile buffer, the same for one phase of a pair, and how many of their places
# are wanted; where its rows stand when results go by way of the buffer, those of the odd phase after those of
# the even one, and the vectors of a row there; how many vectors there are.
SCRATCH = record(
    ("out_rows", BLOCK_ROWS), ("out_steps", MOST_VECTORS), ("bases", MOST_VECTORS), ("reads", MOST_VECTORS),
    ("counts", MOST_VECTORS), ("buffer_rows", 2 * BLOCK_ROWS), ("buffer_steps", MOST_VECTORS), "vectors",
)  # fmt: skip
# of a phase of the last axis, the longest run of places whose samples are equally far apart: where it begins
# and ends, its first sample, and where in the list of border samples those of the phase's other places begin
MAIN = record("begin", "end", "sample", "border")
# The array of all tables begins with these numbers:
# - those of the `Layout`;
# - samples of a plane of the source, of a plane of the result, and of a line of the result;
# - where in a thread's memory the tile buffer begins; its elements from one plane to the next, from one row,
#   and from one line or phase; the lines of a row, the phases of a line, the places of a phase, and the
#   samples from one place to the next;
# - the first place read along the last axis, counted from a base, and how many further on the last;
# - channels of the result are computed in blocks; the weights of a block;
# - lists of taps of a pattern, one for each phase of the last axis, and bounds of a list;
# - where the tables of the `Plan` and those of its `TapLists` begin.
HEADER = record(
    "planes", "results", "plane_parts", "item_parts", "channel_groups",
    "in_size", "out_size", "out_line",
    "buffer", "plane_size", "row_size", "pitch", "line_count", "phases", "places", "apart",
    "lowest", "spread",
    "channel_blocks", "block_channels", "block_weights",
    "lists", "limits",
    "source_rows", "source_lines", "borders", "mains", "runs", "row_blocks", "tiles", "starts",
    "offsets", "bounds", "weight_starts",
)  # fmt: skip
