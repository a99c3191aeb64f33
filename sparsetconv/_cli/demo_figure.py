"""The figure of the demo: pictures, each with a zoom, and the two small matrices.

Everything is placed in inches from the top left corner, so that nothing overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sparsetconv._arrays.display import shown
from sparsetconv._arrays.output import whole_file

if TYPE_CHECKING:
    import pathlib

    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

WIDTH, HEIGHT, DPI = 12.0, 7.75, 110
LEFT, SIDE, GAP = 0.35, 2.1, 0.13
# inches from the top: baselines of the headings, tops of the pictures
TITLE, NOTE, PICTURES, ZOOMS = 0.98, 1.2, 1.34, 1.34 + SIDE + GAP
RIGHT = LEFT + 4 * SIDE + 3 * GAP
# the tall matrix is as high as the pictures
CELL = (2 * SIDE + GAP) / 16
STRIP = 6.15
ASIDE = RIGHT + 0.4
CODE = "conv_transpose_matrix(\n    kernel, (2, 2))\n== conv_matrix(\n    kernel, (4, 4)).T"
ACCENT = "#D55E00"
MUTED = "#555555"


@dataclass(frozen=True)
class Panel:
    """A picture, its title, and the line below the title.

    Attributes
    ----------
    title, note : str
    picture : (n1, n2) array
        Grey values in ``[0, 1]``. A picture smaller than that of the first panel is drawn smaller.
    accent : bool
        Whether the title is highlighted.
    """

    title: str
    note: str
    picture: Array
    accent: bool = False


def draw(
    panels: list[Panel], crop: tuple[slice, slice], kernel: Array, matrix: Array, output: pathlib.Path
) -> None:
    """Draw four panels and the matrix of a kernel beside its transpose, and write the file.

    Parameters
    ----------
    panels : list of Panel
        The picture of the first panel has the full size.
    crop : tuple of slice
        Rows and columns of the zooms, in pixels of the first picture.
    kernel : (3, 3) array
    matrix : (4, 16) array
        The kernel's matrix; its transpose is drawn too.
    output : pathlib.Path
        Overwritten. The suffix picks the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    headline = "A convolution is a sparse matrix: build the camera's, then solve it for the photograph"
    _text(figure, LEFT, 0.42, headline, size=15, weight="bold")
    full = panels[0].picture.shape[0]
    for number, panel in enumerate(panels):
        _draw_panel(figure, panel, LEFT + number * (SIDE + GAP), crop, panel.picture.shape[0] / full)
    _draw_matrices(figure, kernel, matrix)
    with whole_file(output) as file:
        figure.savefig(file, format=_format(output))


def check_format(output: pathlib.Path) -> None:
    """Raise if matplotlib cannot write a format.

    Parameters
    ----------
    output : pathlib.Path
        The suffix determines the format.

    Raises
    ------
    ValueError
        If the suffix is not that of a format that matplotlib writes.
    """
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    if _format(output) not in known:
        msg = f"the ending of {shown(str(output))} must be one of {', '.join(known)}"
        raise ValueError(msg)


def _format(output: pathlib.Path) -> str:
    return output.suffix.removeprefix(".").lower()


def _draw_panel(figure: Any, panel: Panel, left: float, crop: tuple[slice, slice], scale: float) -> None:
    from matplotlib.patches import Rectangle

    colour = ACCENT if panel.accent else "black"
    _text(figure, left, TITLE, panel.title, size=12, weight="bold", color=colour)
    _text(figure, left, NOTE, panel.note, size=10, color=MUTED)
    rows, columns = (slice(round(s.start * scale), round(s.stop * scale)) for s in crop)
    middle = (1 - scale) * SIDE / 2
    axes = _axes(figure, left + middle, PICTURES + middle, scale * SIDE, scale * SIDE)
    axes.imshow(panel.picture, cmap="gray", vmin=0, vmax=1)
    corner, size = (columns.start - 0.5, rows.start - 0.5), rows.stop - rows.start
    axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=ACCENT, linewidth=1.4))
    zoom = _axes(figure, left, ZOOMS, SIDE, SIDE)
    zoom.imshow(panel.picture[rows, columns], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    zoom.spines[:].set(visible=True, color=ACCENT, linewidth=1.4)


def _draw_matrices(figure: Any, kernel: Array, matrix: Array) -> None:
    """Draw the kernel and its matrix along the bottom, the transpose on the right."""
    left, top = RIGHT - 16 * CELL, STRIP + 0.36
    _text(figure, LEFT, STRIP, "A 3x3 kernel ...", size=12, weight="bold")
    _draw_matrix(figure, LEFT, top, kernel)
    _text(figure, LEFT + 3 * CELL + 0.25, top + CELL, "laid out in the 4 places where", size=10, color=MUTED)
    _text(figure, LEFT + 3 * CELL + 0.25, top + 1.75 * CELL, "it fits on a 4x4 picture", size=10, color=MUTED)
    _text(figure, left, STRIP, "... is a 4x16 matrix: convolution", size=12, weight="bold")
    _text(figure, left, STRIP + 0.22, "Many-to-one: each row gathers 9 pixels into 1", size=10, color=MUTED)
    _draw_matrix(figure, left, top, matrix)
    _text(figure, ASIDE, TITLE - 0.22, "Its 16x4 transpose:", size=12, weight="bold")
    _text(figure, ASIDE, TITLE, "transposed convolution", size=12, weight="bold")
    _text(figure, ASIDE, NOTE, "One-to-many: 1 pixel to 9", size=10, color=MUTED)
    _draw_matrix(figure, ASIDE, PICTURES, matrix.T)
    _text(figure, ASIDE, top + 4 * CELL - 0.02, CODE, size=9, family="monospace", linespacing=1.5)


def _draw_matrix(figure: Any, left: float, top: float, matrix: Array) -> None:
    """Draw the entries as cells with their numbers; zeros are pale, without a number."""
    from matplotlib import colormaps

    rows, columns = matrix.shape
    axes = _axes(figure, left, top, columns * CELL, rows * CELL)
    colours = colormaps["cividis"].with_extremes(under="#eeeeee")
    axes.pcolormesh(matrix, cmap=colours, vmin=1, vmax=matrix.max(), edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    for row, column in np.argwhere(matrix):
        value = matrix[row, column]
        ink = "white" if value <= matrix.max() / 2 else "black"
        place = {"ha": "center", "va": "center_baseline"}
        axes.text(column + 0.5, row + 0.5, f"{value:g}", color=ink, fontsize=9, **place)


def _axes(figure: Any, left: float, top: float, width: float, height: float) -> Any:
    """Return bare axes, placed in inches from the top left corner."""
    place = (left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT)
    axes = figure.add_axes(place, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _text(figure: Any, left: float, baseline: float, words: str, size: float, **style: Any) -> None:
    figure.text(left / WIDTH, 1 - baseline / HEIGHT, words, fontsize=size, **style)
