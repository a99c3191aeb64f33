"""Draw the figure of ``docs/performance.md`` from its tables, measured, not typed in."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

DOCS = Path(__file__).parents[1]
INK = "#0f172a"
# Okabe and Ito's colours, and a marker each: the lines are told apart without colour, too
STYLES = {
    "sparsetconv": ("#000000", "o", "-"),
    "SciPy CSR": ("#d55e00", "s", "--"),
    "PyLops": ("#0072b2", "^", "--"),
    "torch": ("#cc79a7", "D", "--"),
    "fftconvolve": ("#56b4e9", "v", ":"),
    "oaconvolve": ("#009e73", "<", ":"),
    "ndimage": ("#e69f00", ">", "--"),
}


def tables(page: str) -> list[tuple[list[str], list[list[str]]]]:
    """Return header and rows of every table."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        found.append((lines[0], lines[2:]))
    return found


def side_by_side(axes: plt.Axes, header: list[str], rows: list[list[str]]) -> None:
    """Draw the times of one product over the size of the kernel."""
    chosen = {
        int(row[0].rpartition("k")[2]): row
        for row in rows
        if re.fullmatch(r"2-D 1024\^2 k\d+", row[0]) and row[1:3] == ["float32", "forward"]
    }
    for name, (colour, marker, line) in STYLES.items():
        at = header.index(name)
        points = [(size, float(row[at])) for size, row in sorted(chosen.items()) if row[at]]
        axes.plot(
            *zip(*points, strict=True), line, color=colour, marker=marker, ms=5, label=name,
            lw=2.4 if name == "sparsetconv" else 1.3, zorder=3 if name == "sparsetconv" else 2,
        )  # fmt: skip
    for size, row in sorted(chosen.items()):
        label = row[header.index("method")]
        place = (size, float(row[header.index("sparsetconv")]))
        axes.annotate(label, place, (0, -13), textcoords="offset points", ha="center", fontsize=8, color=INK)
    axes.set(xscale="log", yscale="log", xlabel="taps of each axis", ylabel="milliseconds", ylim=(0.3, 4000))
    axes.set_xticks(sorted(chosen), [f"{size}" for size in sorted(chosen)])
    axes.minorticks_off()
    axes.set_title("one product, 1024 x 1024, float32", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper left")


def roofline(axes: plt.Axes, header: list[str], rows: list[list[str]]) -> None:
    """Draw measured times over the floor, float32."""
    rows = [row for row in rows if row[header.index("picture")] == "1024^2"]
    sizes = [int(row[0].partition("x")[0]) for row in rows]
    ours, floor = ([float(row[header.index(name)]) for row in rows] for name in ("forward, ms", "floor, ms"))
    axes.plot(
        sizes, floor, "--", color="#d55e00", marker="s", ms=5, label="floor: copy, or all multiplications"
    )
    axes.plot(sizes, ours, "-", color="#000000", marker="o", ms=5, lw=2.4, label="sparsetconv")
    for size, time, limit, row in zip(sizes, ours, floor, rows, strict=True):
        axes.annotate(
            row[header.index("method")], (size, time), (0, 7 if time > limit else -14),
            textcoords="offset points", ha="center", fontsize=8, color=INK,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="taps of each axis", ylabel="milliseconds", ylim=(0.15, 60))
    axes.set_xticks(sizes, [f"{size}" for size in sizes])
    axes.minorticks_off()
    axes.set_title("the roofline, 1024 x 1024, float32", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def main() -> None:
    """Draw, and write."""
    mpl.rcParams |= {"svg.hashsalt": "sparsetconv", "figure.facecolor": "white"}
    found = tables((DOCS / "performance.md").read_text())
    peers = next(table for table in found if "best / ours" in table[0])
    floors = next(table for table in found if "floor, ms" in table[0])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4), layout="constrained", width_ratios=(1.15, 1))
    side_by_side(left, *peers)
    roofline(right, *floors)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path = DOCS / "images" / "performance.svg"
    figure.savefig(path, metadata={"Date": None})
    print(path)


if __name__ == "__main__":
    main()
