"""The records of the stencil's tables, which ``plan`` writes and ``loops`` reads.

Names with ``end`` are exclusive: one past the last.
"""

from __future__ import annotations

from sparsetconv._arrays.record import record

# Rows of the register block, which holds the micro-kernel's sums: lines of a channel, channels of a line, or
# both; each row is several vectors. A tall block, of one vector less, has channels of a line in all its rows.
BLOCK_ROWS, TALL_ROWS = 4, 8
# All ranges of rows of a block, and all rows of a tall one; each tap is used by one of them.
RANGES = (
    *((low, high) for low in range(BLOCK_ROWS) for high in range(low + 1, BLOCK_ROWS + 1)),
    (0, TALL_ROWS),
)
# If lanes hold channels, vectors of channels of a register block.
CHANNEL_VECTORS = 2
# An upper bound of `emit.VECTORS`, the vectors per row on the processor at hand, for the fields of SCRATCH.
MOST_VECTORS = 8

# A run of results along the last axis, of one phase:
# - base, count: the base of the first result, and the number of results, whose bases are consecutive;
# - target, step: the sample of the first result, and samples from one result to the next;
# - adds: 1 if results are added to the samples, 0 if they are stored;
# - phase;
# - paired: 1 for the even phase of a pair; the next run is the odd phase, with the samples in between.
RUN = record("base", "count", "target", "step", "adds", "phase", "paired")
# A row block, the lines of results that a register block computes together:
# - lines, count: their numbers (-1 past `count`);
# - base: offset of the first line's base in the tile buffer, in elements;
# - pattern: the tap lists of the block, which all of its lines share;
# - adds: 1 if results are added to the samples;
# - inside: 1 if the block reads no padding except along the last axis, and so can read the source in place;
# - source: offset of the first line's base in a plane of the source, if it is inside.
ROW_BLOCK = record(("lines", BLOCK_ROWS), "count", "base", "pattern", "adds", "inside", "source")
# A tile: its row blocks, rows of the padded input, bases along the last axis (`begin`, `end`), and runs; 1 if
# all lines are copied as a whole, since some of its row blocks are not inside.
TILE = record(
    "first_block", "end_block", "first_row", "rows", "begin", "end", "first_run", "end_run", "whole"
)
# A thread's scratch for one register block. For each row r and vector v:
# - out_rows[r], out_steps[v]: offset of row r in the output, and elements from there to vector v;
# - bases[v]: offset of vector v in the tile buffer, without the run's base;
# - counts[v]: the results of vector v that are stored or added;
# - places[r]: where a loop over columns stores row r, in the output or in the thread's memory; rows of the
#   odd phase come after those of the even phase.
SCRATCH = record(
    ("out_rows", TALL_ROWS), ("out_steps", MOST_VECTORS), ("bases", MOST_VECTORS), ("counts", MOST_VECTORS),
    ("places", 2 * TALL_ROWS),
)  # fmt: skip
# The longest run of equally spaced samples in one phase of a line of the padded input: its first place, the
# place after its last, its first sample, and the offset of the phase's other places in the list of border
# samples.
MAIN = record("begin", "end", "sample", "border")
# The numbers at the front of all tables, line by line of the record:
# - planes to channel_groups: as in `Layout`;
# - samples of a plane of the source, of a plane of the result, and of a line of the result;
# - the offset of the tile buffer in a thread's memory; its elements from one plane to the next, from one row
#   to the next, and from one line or phase to the next (pitch); lines of a row, phases of a line, places of a
#   phase; samples from one place to the next (apart);
# - the first place that is read along the last axis, relative to a base, and places from there to the last;
# - blocks of channels of the result, channels per block, and weights per block;
# - tap lists of a pattern, one for each phase of the last axis, and bounds of a list;
# - tall: 1 if register blocks are tall, else 0;
# - nine: 1 if blocks of four lines have the taps of a 3 x 3 kernel (`Plan.is_nine`), else 0;
# - in_place: 1 if the source is read in place where no padding is read, else 0;
# - the offset of each table of the `Plan`, then of its `TapLists`.
HEADER = record(
    "planes", "results", "plane_parts", "item_parts", "channel_groups",
    "in_size", "out_size", "out_line",
    "buffer", "plane_size", "row_size", "pitch", "line_count", "phases", "places", "apart",
    "lowest", "spread",
    "channel_blocks", "block_channels", "block_weights",
    "lists", "limits", "tall", "nine", "in_place",
    "source_rows", "source_lines", "whole_lines", "borders", "mains", "runs", "row_blocks", "tiles", "starts",
    "offsets", "source_offsets", "bounds", "weight_starts",
)  # fmt: skip
