"""The records of overlap-save's tables, which ``plan`` writes and ``loops`` reads."""

from __future__ import annotations

from sparsetconv._arrays.record import record

# An axis of a tile: its length and the base-2 logarithm, vectors from one place to the next, the number of
# lines along it, and the offset of the table of the lines' first vectors.
AXIS = record("length", "bits", "stride", "lines", "line_starts")
# The numbers at the front of all tables, line by line of the record:
# - channels and groups, parts of a sample (2 if complex), samples of a plane of the source and of the result;
# - tiles of an item, tiles along the last axis, tiles of a pack, vectors of a tile of one channel, axes;
# - rows of a tile (lines along the last axis), and rows of its valid results; then, along the last axis: the
#   length of a tile, places from one tile to the next (last_step), valid results of a tile, places from one
#   valid result to the next (last_substep), and the total number of results;
# - the offset of each table: the `AXIS` records; the first sample of each row of each tile (in_rows), and the
#   rows' first vectors in a tile; the samples along the last axis (columns); the first result of each valid
#   row of each tile (out_rows), and these rows' first vectors in a tile.
HEADER = record(
    "c_in", "c_out", "channel_groups", "parts", "in_size", "out_size",
    "tiles", "last_tiles", "pack", "size", "ndim",
    "rows", "valid_rows", "last_length", "last_step", "last_valid", "last_substep", "last_outputs",
    "axes", "in_rows", "row_vectors", "columns", "out_rows", "valid_vectors",
)  # fmt: skip
