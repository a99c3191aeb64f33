"""The records in which tiles of Fourier transforms are handed to their loops.

``plan`` writes them, ``loops`` reads them.
"""

from __future__ import annotations

from sparsetconv._arrays.record import record

# of each axis of a tile: its length and the logarithm, vectors from one place to the next, lines, and where
# the list of the lines' first vectors begins
AXIS = record("length", "bits", "stride", "lines", "line_starts")
# The array of all tables begins with these numbers:
# - channels and groups, parts of a sample (2 if complex), samples and results of a plane;
# - tiles of an item, and along the last axis; tiles in a pack; vectors of a channel's tiles; axes;
# - rows of a tile, and of its valid results; along the last axis the length of a tile, what separates it from
#   the next, its valid results, what separates them, and all results;
# - where the tables begin: axes, samples of rows, vectors of rows, samples along the last axis, results of
#   valid rows, and their vectors.
HEADER = record(
    "c_in", "c_out", "channel_groups", "parts", "in_size", "out_size",
    "tiles", "last_tiles", "pack", "size", "ndim",
    "rows", "valid_rows", "last_length", "last_step", "last_valid", "last_substep", "last_outputs",
    "axes", "in_rows", "row_vectors", "columns", "out_rows", "valid_vectors",
)  # fmt: skip
