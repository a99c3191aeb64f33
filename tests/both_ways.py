"""Matrices written by NumPy, and by compiled loops, whatever their sizes."""

from sparsetconv._assembly import axis_rows, csr, writer

WAYS = ["NumPy", "compiled"]


def written_by(patch, way):
    """Let one of the two ways write all matrices, with pytest's monkeypatch."""
    patch.setattr(csr, "COMPILED_ENTRIES", 0 if way == "compiled" else 1 << 62)
    for cost in ("FILLS", "START", "ROW"):
        patch.setattr(writer, cost, 0)
    patch.setattr(axis_rows, "FEW_PAIRS", 0)
