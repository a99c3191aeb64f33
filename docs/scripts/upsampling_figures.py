"""Draw the figures of ``docs/upsampling.md``: ``python docs/scripts/upsampling_figures.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from learned_kernels import picture
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from skimage.metrics import peak_signal_noise_ratio

import sparsetconv as stc
from sparsetconv import pictures

IMAGES = Path(__file__).parents[1] / "images"
# one hue from light to dark for weights, its opposite for what they meet; both read in grey
WEIGHTS, MARK, PLAIN = mpl.colormaps["Blues"], "#c2410c", "#f1f5f9"
TITLE = {"fontsize": 10, "loc": "left"}


def shade(weight: float) -> tuple[float, ...]:
    """Return the colour of one of the weights 1 to 9."""
    return WEIGHTS(0.15 + 0.075 * weight)


def grid(axes: plt.Axes, colours: dict[tuple[int, int], object], shape: tuple[int, int]) -> None:
    """Draw cells, those that are named in colour."""
    rows, columns = shape
    for row in range(rows):
        for column in range(columns):
            colour = colours.get((row, column), PLAIN)
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="#94a3b8", lw=0.8))
    axes.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal")
    axes.axis("off")


def layout(axes: plt.Axes, matrix: np.ndarray, title: str) -> None:
    """Draw a small matrix with its entries written in."""
    entries = {(r, c): shade(matrix[r, c]) for r, c in np.argwhere(matrix)}
    grid(axes, entries, matrix.shape)
    for row, column in entries:
        value = matrix[row, column]
        axes.text(
            column + 0.5, row + 0.54, str(value), ha="center", va="center", fontsize=7,
            color="white" if value > 5 else "#0f172a",
        )  # fmt: skip
    axes.set_title(title, **TITLE)


def layouts() -> None:
    """Draw the 4 x 16 matrix of a convolution, its transpose, and what a row and a column do."""
    kernel = np.arange(1, 10).reshape(3, 3)
    matrix = stc.conv_matrix(kernel, (4, 4)).toarray()
    figure = plt.figure(figsize=(9.6, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2.6, 1))
    above, middle, below = left.subplots(3, 1, height_ratios=(1.15, 1, 1))
    layout(above, matrix, "Convolution: 4 x 16, a row for each output")
    layout(right.subplots(), matrix.T, "Transposed: 16 x 4")
    connections(middle, kernel, False)
    connections(below, kernel, True)
    figure.savefig(IMAGES / "layouts.png", dpi=150)


def connections(axes: plt.Axes, kernel: np.ndarray, transposed: bool) -> None:
    """Draw what one output reads, or what one sample gives."""
    cells = {(r, c): shade(kernel[r, c]) for r in range(3) for c in range(3)}
    large, small = (0, 0), (6.5, 1.7)
    for (row, column), colour in {
        (r, c): cells.get((r, c), PLAIN) for r in range(4) for c in range(4)
    }.items():
        place = (large[0] + column, large[1] + row)
        axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, edgecolor="#94a3b8", lw=0.8))
    for row in range(2):
        for column in range(2):
            place = (small[0] + column, small[1] + row)
            colour = MARK if (row, column) == (0, 0) else PLAIN
            axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, edgecolor="#94a3b8", lw=0.8))
    ends = [(small[0] + 0.1, small[1] + 0.5), None]
    for row, column in cells:
        ends[1] = (large[0] + column + 0.5, large[1] + row + 0.5)
        start, stop = ends if transposed else ends[::-1]
        arrow = {"arrowstyle": "-|>", "color": "#334155", "lw": 0.8, "shrinkA": 0, "shrinkB": 1}
        axes.annotate("", xy=stop, xytext=start, arrowprops=arrow)
    axes.set(xlim=(-0.2, 16), ylim=(4.2, -0.4), aspect="equal")
    axes.axis("off")
    if transposed:
        title = (
            "One-to-many: a sample is spread\nover nine outputs, weighted.\nThe columns of the 16 x 4 matrix."
        )
    else:
        title = "Many-to-one: nine samples,\nweighted, make one output.\nThe rows of the 4 x 16 matrix."
    axes.text(9.6, 1.9, title, fontsize=9, va="center")


def crops() -> None:
    """Draw a crop of a picture that the kernel was not fitted to, enlarged in five ways."""
    scale = 4
    small, large = pictures.shrink(picture("astronaut"), scale)
    rows, columns = slice(40, 140), slice(170, 280)
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.1), layout="constrained")
    axes = axes.ravel()
    axes[0].imshow(large[rows, columns])
    axes[0].set_title("the picture", **TITLE)
    for place, mode in zip(axes[1:], pictures.MODES, strict=True):
        larger = pictures.upsample(small, scale, mode).clip(0, 1)
        inside = (slice(16, -16),) * 2
        score = peak_signal_noise_ratio(large[inside], larger[inside], data_range=1.0)
        place.imshow(larger[rows, columns])
        place.set_title(f"{mode}, {score:.2f} dB", **TITLE)
    for place in axes:
        place.axis("off")
    figure.savefig(IMAGES / "upsampled.png", dpi=150)


def kernels() -> None:
    """Draw the learned kernels beside those of bilinear and bicubic, and their middle rows."""
    names = ("bilinear", "bicubic", "lanczos3", "learned")
    figure, axes = plt.subplots(
        2, 5, figsize=(9.6, 4.1), layout="constrained", width_ratios=(1, 1, 1, 1, 1.6)
    )
    for row, scale in enumerate((2, 4)):
        taps = 6 * scale
        shown = {}
        for name in names[:-1]:
            kernel = stc.interpolation_kernel("bi" + name[2:] if name[:2] == "bi" else name, (scale, scale))
            around = (taps - len(kernel)) // 2
            shown[name] = np.pad(kernel, around)
        shown["learned"] = pictures.learned_kernel(scale)
        for place, (name, kernel) in zip(axes[row], shown.items(), strict=False):
            place.imshow(kernel, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            place.set_title(f"{name}, {taps} x {taps}" if name == "learned" else name, **TITLE)
            place.set(xticks=[], yticks=[])
        positions = (np.arange(taps) - (taps - 1) / 2) / scale
        styles = (("#94a3b8", ":"), ("#0369a1", "--"), ("#64748b", "-."), (MARK, "-"))
        for (name, kernel), (colour, style) in zip(shown.items(), styles, strict=True):
            # the weights of a row of phases, summed over the rows of one phase: what a vertical line meets
            profile = kernel[scale // 2 :: scale].sum(0)
            axes[row, 4].plot(positions, profile, style, color=colour, label=name, lw=1.5)
        axes[row, 4].set_title(f"profile, scale {scale}", **TITLE)
        axes[row, 4].grid(alpha=0.3)
        axes[row, 4].tick_params(labelsize=8)
    axes[0, 4].legend(fontsize=7, frameon=False)
    axes[1, 4].set_xlabel("distance in pixels of the small picture", fontsize=8)
    figure.savefig(IMAGES / "kernels.png", dpi=150)


if __name__ == "__main__":
    plt.rcParams["figure.facecolor"] = "white"
    layouts()
    crops()
    kernels()
    print(*(f"{path}" for path in sorted(IMAGES.glob("*.png"))), sep="\n")
