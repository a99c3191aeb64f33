"""Drawing primitives of `plot`: axes, shaded cells with numbers, patterns, rows of samples.

This is the only module of `plot` that imports matplotlib and chooses colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.display import type_name

if TYPE_CHECKING:
    # under its own name, so that type checkers let other modules import it from here
    from matplotlib.axes import Axes as Axes

    from sparsetconv._arrays.types import Array

# the most pixels, in each direction, of the pattern of a large matrix
PIXELS = 512
# Okabe and Ito's palette: visible on black and on white, and to the colour-blind
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#888888"
# inches: the side of a cell, and the room for labels
CELL, LABELS = 0.38, 1.1


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        msg = 'plots need matplotlib, which is not installed: python -m pip install "sparsetconv[plot]"'
        raise ImportError(msg) from None
    return pyplot


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the given axes, or new ones on a new figure of a size in inches."""
    pyplot = _pyplot()
    if ax is not None and not isinstance(ax, pyplot.Axes):
        msg = f"ax must be an Axes of matplotlib, got {type_name(ax)}"
        raise TypeError(msg)
    own: Axes = pyplot.subplots(figsize=size, layout="constrained")[1] if ax is None else ax
    return own


def colours(name: str) -> Any:
    _pyplot()
    from matplotlib import colormaps

    return colormaps[name]


def pattern(shown: Array, rows: int, columns: int, ax: Axes | None, complete: bool = True) -> Axes:
    """Draw the pattern of entries; in a large matrix several rows and columns share a pixel."""
    scale = 5.0 / max(rows, columns)
    ax = axes(ax, (max(2.0, columns * scale) + LABELS, max(2.0, rows * scale) + LABELS))
    from matplotlib.colors import ListedColormap

    ax.imshow(
        np.ma.masked_array(np.ones(shown.shape), ~shown),
        cmap=ListedColormap([BLUE]),
        extent=(0, columns, rows, 0),
        interpolation="nearest",
        aspect="equal" if max(rows, columns) <= 8 * min(rows, columns) else "auto",
    )
    ax.set(xlabel=f"input, {columns:,} samples", ylabel=f"output, {rows:,} samples")
    if not complete:
        ax.set_title("from a sample of the rows and columns", fontsize=9)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    return ax


def cells(ax: Axes, values: Array, shown: Array, size: tuple[int, int], numbers: bool = True) -> None:
    """Draw a table of numbers as shaded cells; cells that are not ``shown`` stay empty.

    ``size`` is the number of rows and columns on the axes, which may be more than ``values`` has.
    """
    rows, columns = size
    strength = np.abs(values) if values.dtype.kind == "c" else values.astype(float)
    finite = np.isfinite(strength)
    largest = float(np.abs(strength[shown & finite]).max(initial=0)) or 1.0
    signed = bool((strength[shown] < 0).any())
    shades = colours("PuOr" if signed else "cividis")
    # infinities get the strongest shade, NaN a grey
    share = np.clip(strength / largest, -1, 1)
    faces = shades((share + 1) / 2 if signed else 0.15 + 0.85 * share)
    faces[np.isnan(strength)] = 0.5, 0.5, 0.5, 0.3
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
    ax.spines[:].set(color=GREY, lw=0.8)
    if not numbers:
        faces[~shown] = 0
        ax.imshow(faces, extent=(0, columns, rows, 0), interpolation="nearest")
        return
    largest_font = _font_size(ax, columns, rows)
    for row, column in np.argwhere(shown):
        cell(ax, column, row, faces[row, column])
        text = _number(values[row, column])
        fitting = min(largest_font, largest_font * 4 / max(map(len, text.split("\n"))))
        write(ax, column + 0.5, row + 0.5, text, faces[row, column], fitting)


def _font_size(ax: Axes, columns: int, rows: int) -> float:
    """Return the font size in points at which about four letters fit into a cell."""
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    return float(min(10.0, 72 * 0.33 * min(box.width / columns, box.height / rows)))


def _number(value: Any) -> str:
    if np.iscomplexobj(value):
        return f"{value.real + 0.0:.2g}\n{value.imag:+.2g}j"  # + 0.0 turns -0.0 into 0.0
    value = value.item()
    text = f"{value:.3g}"
    return text if len(text) <= 5 else f"{value:.2g}"


def cell(ax: Axes, left: float, top: float, face: Any, margin: float = 0.0) -> None:
    from matplotlib.patches import Rectangle

    side = 1 - 2 * margin
    ax.add_patch(Rectangle((left + margin, top + margin), side, side, facecolor=face, edgecolor=GREY, lw=0.8))


def write(ax: Axes, x: float, y: float, text: str, face: Any, size: float) -> None:
    """Write in a cell, in black or white for contrast, or in the theme's colour if ``face`` is None."""
    style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size, "zorder": 3}
    if face is not None:
        style["color"] = "black" if np.dot(face[:3], (0.299, 0.587, 0.114)) > 0.5 else "white"
    ax.text(x, y, text, **style)


def spread(count: int, other: int) -> Array:
    """Return positions of ``count`` samples, centred on 0 and spread over the width of ``other`` samples."""
    step = max(1.0, other / count)
    return (np.arange(count) - (count - 1) / 2) * step


def samples(ax: Axes, places: Array, reached: set[int], height: int, labels: list[str], side: str) -> None:
    """Draw samples as dots with their indices; those in ``reached`` are larger and coloured."""
    for number, (x, label) in enumerate(zip(places, labels, strict=True)):
        strong = number in reached
        ax.plot(
            [x], [height], "o", color=ORANGE if strong else GREY, ms=9 if strong else 6, mfc=None, zorder=3
        )
        offset = 0.13 if side == "bottom" else -0.13
        long = len(label) > 2 and len(labels) > 9
        ax.text(
            x, height + offset, label, ha="center", va=side, fontsize=8, rotation=90 if long else 0,
            weight="bold" if strong else "normal",
        )  # fmt: skip
