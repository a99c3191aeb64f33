"""Draw the figures of the pages that explain: ``python docs/scripts/concept_figures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

import sparsetconv as stc

IMAGES = Path(__file__).parents[1] / "images"
INK, EDGE, PLAIN, MARK = "#0f172a", "#94a3b8", "#f1f5f9", "#c2410c"
# two phases, or border and interior: blue and orange, which every eye tells apart
BLUE, BLUE_DARK, ORANGE, ORANGE_DARK = "#bfdbfe", "#1d4ed8", "#fed7aa", "#c2410c"
# the samples a, b, c, d: Okabe and Ito's, lightened
SAMPLES = ("#9ad0f0", "#f2cf80", "#8fd3bd", "#e3b0cc")


def cell(axes: plt.Axes, place: tuple[float, float], text: str, colour: str, **patch: object) -> None:
    """Draw one cell with what stands in it, its corner at ``(column, row)``."""
    style = {"facecolor": colour, "edgecolor": EDGE, "lw": 0.7} | patch
    axes.add_patch(Rectangle(place, 1, 1, **style))
    axes.text(place[0] + 0.5, place[1] + 0.54, text, ha="center", va="center", fontsize=8, color=INK)


def matrix(axes: plt.Axes, entries: np.ndarray, at: float, colours: object, title: str) -> None:
    """Draw a small matrix from column ``at`` on; ``colours(row, column)`` are those of its entries."""
    rows, columns = entries.shape
    for row in range(rows):
        for column in range(columns):
            value = entries[row, column]
            colour = colours(row, column) if value else "white"
            cell(axes, (at + column, row), f"{value:g}" if value else "", colour, edgecolor="#cbd5e1")
    axes.add_patch(Rectangle((at, 0), columns, rows, fill=False, edgecolor=INK, lw=1))
    axes.text(at + columns / 2, -0.5, title, ha="center", va="bottom", fontsize=9, color=INK)


def bare(axes: plt.Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Leave the drawing alone, rows downwards."""
    axes.set(xlim=x, ylim=y[::-1], aspect="equal")
    axes.axis("off")


def save(figure: plt.Figure, name: str) -> None:
    """Write a file whose bytes depend on the drawing alone."""
    figure.savefig(IMAGES / name, metadata={"Date": None})
    plt.close(figure)


def padding_modes() -> None:
    """Draw what each mode puts beyond the signal, from the matrix of one tap."""
    pad, letters = 6, "abcd"
    figure, axes = plt.subplots(figsize=(8.4, 3.1), layout="constrained")
    for row, mode in enumerate(("zeros", "reflect", "symmetric", "replicate", "circular")):
        picks = stc.conv_matrix([1], 4, padding=pad, padding_mode=mode).toarray()
        top = row * 1.35
        axes.text(-0.4, top + 0.5, mode, ha="right", va="center", fontsize=10, family="monospace", color=INK)
        for place, line in enumerate(picks):
            inside = pad <= place < pad + 4
            text = letters[line.argmax()] if line.any() else "0"
            colour = SAMPLES[line.argmax()] if line.any() else PLAIN
            cell(axes, (place, top), text, colour, alpha=1 if inside else 0.55)
        axes.add_patch(Rectangle((pad, top), 4, 1, fill=False, edgecolor=INK, lw=1.8, zorder=3))
    axes.text(pad + 2, -0.25, "the signal", ha="center", va="bottom", fontsize=9, color=INK)
    bare(axes, (-4.2, 2 * pad + 4.2), (-1, 6.6))
    save(figure, "padding-modes.svg")


def zero_insertion() -> None:
    """Draw ``T = C1 Z``, and the rows of ``T`` sorted by phase."""
    kernel = np.arange(1, 5)
    insert = stc.zero_insertion_matrix(4, 2, dtype=int).toarray()
    convolve = stc.conv_matrix(kernel, 7, padding="full", flip=True).toarray()
    transposed = stc.conv_transpose_matrix(kernel, 4, stride=2).toarray()
    figure, (above, below) = plt.subplots(2, 1, figsize=(8.4, 8.2), layout="constrained")

    def phase(row: int, _: int) -> str:
        return (BLUE, ORANGE)[row % 2]

    matrix(above, transposed, 0, phase, "T, 10 x 4")
    above.text(4.75, 5, "=", ha="center", va="center", fontsize=16, color=INK)
    matrix(above, convolve, 5.5, lambda _, c: PLAIN if c % 2 else BLUE, "C1, stride 1, 10 x 7")
    matrix(above, insert, 13.5, lambda *_: BLUE, "Z inserts zeros, 7 x 4")
    for column in (1, 3, 5):
        above.add_patch(
            Rectangle((5.5 + column, 0), 1, 10, fill=False, hatch="////", edgecolor=MARK, lw=0, alpha=0.45)
        )
        above.add_patch(Rectangle((13.5, column), 4, 1, fill=False, edgecolor=MARK, lw=1.6, zorder=3))
    note = "hatched columns of C1 meet the\nempty rows of Z: work for nothing"
    above.text(13.5, 8.6, note, fontsize=9, color=MARK, va="center")
    bare(above, (-0.3, 20), (-1.6, 10.2))

    matrix(below, transposed, 0, phase, "T")
    below.annotate(
        "", xy=(7.6, 5), xytext=(4.6, 5), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.2}
    )
    below.text(6.1, 4.6, "sort the rows\nby phase", ha="center", va="bottom", fontsize=9, color=INK)
    sorted_rows = np.vstack([transposed[0::2], transposed[1::2]])
    matrix(below, sorted_rows, 8.2, lambda r, _: BLUE if r < 5 else ORANGE, "two phases")
    below.plot([8.2, 12.2], [5, 5], color=INK, lw=1.4)
    below.text(12.6, 2.5, "even outputs: taps 3, 1", fontsize=9, va="center", color=BLUE_DARK)
    below.text(12.6, 7.5, "odd outputs: taps 4, 2", fontsize=9, va="center", color=ORANGE_DARK)
    bare(below, (-0.3, 20), (-1.6, 10.2))
    save(figure, "zero-insertion.svg")


def output_shapes() -> None:
    """Draw three sizes that a stride of 3 makes into the same four outputs."""
    figure, axes = plt.subplots(figsize=(8.4, 3.4), layout="constrained")
    for row, size in enumerate((10, 11, 12)):
        top = row * 2.1
        geometry = stc.ConvGeometry(size, 3, stride=3, padding=1)
        assert geometry.output_shape == (4,)
        read = stc.conv_matrix([1, 1, 1], size, stride=3, padding=1).toarray().any(0)
        axes.text(-1.4, top + 0.5, f"{size} samples", ha="right", va="center", fontsize=9, color=INK)
        for place in (-1, 10) if size == 10 else (-1,):
            cell(axes, (place, top), "pad", "white", linestyle=":")
        for place in range(size):
            cell(axes, (place, top), str(place), BLUE if read[place] else PLAIN)
            if not read[place]:
                axes.text(place + 1.3, top + 0.5, "never read", fontsize=8, va="center", color=MARK)
        for output in range(4):
            start = 3 * output - 1
            axes.plot([start + 0.1, start + 2.9], [top + 1.2] * 2, color=ORANGE_DARK, lw=2.4)
            axes.text(
                start + 1.5, top + 1.33, f"output {output}", ha="center", va="top", fontsize=7.5, color=INK
            )
    bare(axes, (-4.4, 15.4), (-0.3, 6.2))
    save(figure, "output-shapes.svg")


def assembly() -> None:
    """Draw the rows of an axis, the fold of one of them, and the product of two axes."""
    figure = plt.figure(figsize=(8.4, 8.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.08, 1.25))
    left, right = above.subplots(1, 2, width_ratios=(1.15, 1))
    kernel = np.array([1, 2, 3, 4, 5])
    axis = stc.conv_matrix(kernel, 10, padding=2, padding_mode="reflect").toarray()
    matrix(
        left, axis, 0, lambda r, _: BLUE if 2 <= r < 8 else ORANGE, "one axis: 10 samples, 5 taps, reflect"
    )
    left.text(10.3, 1, "border", color=ORANGE_DARK, fontsize=9, va="center")
    left.text(10.3, 5, "interior: one\nrun, shift 1", color=BLUE_DARK, fontsize=9, va="center")
    left.text(10.3, 9, "border", color=ORANGE_DARK, fontsize=9, va="center")
    bare(left, (-0.3, 14.6), (-1.5, 10.2))
    fold = np.array([[0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]])
    matrix(right, fold, 0, lambda *_: ORANGE, "fold F of row 0")
    np.testing.assert_array_equal(fold @ kernel, axis[0, :3])
    for tap in range(5):
        cell(right, (6.6, tap - 1), str(kernel[tap]), "white")
    right.text(7.1, -1.25, "w", ha="center", va="bottom", fontsize=9, color=INK)
    right.text(8.4, 1.5, "=", ha="center", va="center", fontsize=14, color=INK)
    for column, value in enumerate(fold @ kernel):
        cell(right, (9.2, column), str(value), ORANGE)
    for column in range(3):
        right.text(-0.3, column + 0.5, f"column {column}", ha="right", va="center", fontsize=8, color=INK)
    right.text(
        0,
        4.6,
        "taps 1 and 3 read the same\nsample: their weights add up",
        fontsize=9,
        color=ORANGE_DARK,
        va="top",
    )
    bare(right, (-2.9, 10.4), (-2.6, 7))
    blocks(*below.subplots(1, 2, width_ratios=(1.6, 1)))
    save(figure, "assembly.svg")


def blocks(axes: plt.Axes, beside: plt.Axes) -> None:
    """Draw the matrix of a 3 x 3 kernel on a 6 x 7 picture: what is written, and what is copied."""
    rows, columns = 6, 7
    product = stc.conv_matrix(np.ones((3, 3), int), (rows, columns), padding="same").toarray()
    shade = {"written": "#1d4ed8", "line": "#93c5fd", "plane": "#dbeafe", "border": "#fdba74"}
    for row, column in np.argwhere(product):
        line, place = divmod(row, columns)
        if line in (0, rows - 1):
            kind = "border"
        elif line > 1:
            kind = "plane"
        else:
            kind = "line" if 1 < place < columns - 1 else "written"
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=shade[kind], edgecolor="white", lw=0.3))
    for line in range(rows + 1):
        axes.axhline(line * columns, color="#cbd5e1", lw=0.7, zorder=0)
        axes.axvline(line * columns, color="#cbd5e1", lw=0.7, zorder=0)
    size = rows * columns
    axes.add_patch(Rectangle((0, 0), size, size, fill=False, edgecolor=INK, lw=1))
    axes.set_title("two axes: 3 x 3 taps on 6 x 7 samples, zeros, a 42 x 42 matrix", fontsize=9, color=INK)
    labels = {
        "written": "written: rows of a line that differ",
        "line": "copied inside the line, columns + 1",
        "plane": "the whole line copied, columns + 7",
        "border": "first and last line: likewise,\neach on its own",
    }
    handles = [Rectangle((0, 0), 1, 1, facecolor=shade[kind]) for kind in labels]
    beside.legend(handles, labels.values(), loc="center left", frameon=False, fontsize=9, borderpad=0)
    beside.axis("off")
    axes.set(xlim=(-0.3, size + 0.3), ylim=(size + 0.3, -0.3), aspect="equal", xticks=[], yticks=[])
    axes.set_frame_on(False)


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "sparsetconv"
    mpl.rcParams["figure.facecolor"] = "white"
    padding_modes()
    zero_insertion()
    output_shapes()
    assembly()
    print(*(f"{path}" for path in sorted(IMAGES.glob("*.svg"))), sep="\n")
