"""Plots of matrices, kernels, padding and costs.

matplotlib is imported when the first plot is drawn. Every function draws on the given Axes, or on new ones,
and returns them. No information is in hue alone, and no background is painted, so that plots are legible with
light and dark themes.
"""

from __future__ import annotations

from itertools import cycle
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.backend import to_numpy
from sparsetconv._arrays.display import shown
from sparsetconv._arrays.validation import checked_dtype
from sparsetconv._geometry import validation
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._geometry.padding import PADDING, PADDING_MODES
from sparsetconv._methods import cost
from sparsetconv._methods.registry import METHODS
from sparsetconv.plot import _draw, _entries
from sparsetconv.plot._draw import BLUE, CELL, GREEN, GREY, LABELS, ORANGE, PINK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.validation import IntOrInts, PaddingMode
    from sparsetconv.plot._draw import Axes


# the most rows or columns of a matrix that is drawn with its numbers
LARGEST_SIDE = 40
# the most samples of a padded row, and the most padding modes or kernel sizes in a plot
LARGEST_ROW = 100
# the most weights of a kernel that are drawn in each direction
MOST_CELLS = 1024
# line styles of the methods, in their order
STYLES = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "--"),
    (GREEN, "^", "-."),
    (PINK, "D", ":"),
    (GREY, "v", (0, (5, 1, 1, 1, 1, 1))),
)
KERNEL_SIZES = (1, 3, 5, 7, 9, 11, 15, 21, 31, 45, 63)


def matrix(A: Any, *, ax: Axes | None = None) -> Axes:
    """Draw a matrix: its entries with their indices if it is small, its pattern if it is large.

    Parameters
    ----------
    A : operator, ConvGeometry, or (m, n) sparse or dense matrix
        If it is small, any `scipy.sparse.linalg.LinearOperator`. Rows and columns of our operators, and of
        geometries, are labelled with the array indices of their samples. A geometry has no weights and is
        drawn with ones.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; new ones if not given.

    Returns
    -------
    matplotlib.axes.Axes
        Columns (samples of the input) run to the right, rows (samples of the output) down. Cells without an
        entry are empty; a zero is written only for a zero of the kernel. A pattern of more than a million
        entries is drawn from a sample of three rows for each row of pixels and three columns for each column
        of pixels, in a time that does not depend on the size; its title says so.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If ``A`` is not an operator, a geometry or a matrix.
    ValueError
        If ``A`` is empty, is a ``LinearOperator`` other than ours with more than 64 rows or columns, or has
        more than a million entries and is neither a matrix, a convolution nor a resize.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> A = stc.ConvOperator(np.arange(1, 10).reshape(3, 3), (4, 4))
    >>> ax = stc.plot.matrix(A)
    >>> len(ax.texts), ax.get_yticklabels()[1].get_text()
    (36, '(0, 1)')
    """
    A, outputs, inputs = _entries.drawable(A)
    rows, columns = prod(outputs), prod(inputs)
    if not rows * columns:
        msg = f"A must have rows and columns to be drawn, got {rows} x {columns}"
        raise ValueError(msg)
    if max(rows, columns) > LARGEST_SIDE:
        drawn, complete = _entries.pattern_of(A, rows, columns, _draw.PIXELS)
        return _draw.pattern(drawn, rows, columns, ax, complete)
    entries = _entries.entries_of(A)
    ax = _draw.axes(ax, (columns * CELL + LABELS, rows * CELL + LABELS))
    values = np.zeros(entries.shape, entries.dtype)
    stored = np.zeros(entries.shape, bool)
    values[entries.row, entries.col], stored[entries.row, entries.col] = entries.data, True
    _draw.cells(ax, values, stored, (rows, columns))
    ax.set_xticks(np.arange(columns) + 0.5, _entries.places_of(inputs), rotation=90 if len(inputs) > 1 else 0)
    ax.set_yticks(np.arange(rows) + 0.5, _entries.places_of(outputs))
    ax.set(xlabel="input", ylabel="output")
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    return ax


def connectivity(A: Any, *, output: Any = None, input: Any = None, ax: Axes | None = None) -> Axes:
    """Draw which input samples reach which output samples.

    Parameters
    ----------
    A : operator, ConvGeometry, or (m, n) sparse or dense matrix
        With at most 64 inputs and 64 outputs.
    output, input : int or tuple of int, optional
        Index of one output (many-to-one) or one input (one-to-many), whose connections are highlighted. If
        neither is given, the output in the middle, or the input in the middle if there are fewer inputs.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; new ones if not given.

    Returns
    -------
    matplotlib.axes.Axes
        Inputs above, outputs below, a line for each entry of the matrix.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If ``A`` is not an operator, a geometry or a matrix, or an index is not of integers.
    ValueError
        If ``A`` is too large, an index is out of range, or both ``output`` and ``input`` are given.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> ax = stc.plot.connectivity(stc.ConvGeometry(7, 3, stride=2))
    >>> ax.get_title()
    'many-to-one: 3 inputs make output 1'
    """
    A, outputs, inputs = _entries.drawable(A)
    rows, columns = prod(outputs), prod(inputs)
    if max(rows, columns) > _entries.LARGEST_DIAGRAM:
        most = _entries.LARGEST_DIAGRAM
        msg = f"A must have at most {most} inputs and outputs to be drawn, got {rows} x {columns}"
        raise ValueError(msg)
    entries = _entries.entries_of(A)
    if output is not None and input is not None:
        msg = f"output and input must not both be given, got {shown(output)} and {shown(input)}"
        raise ValueError(msg)
    if output is None and input is None:
        output, input = (
            (_entries.middle_of(outputs), None) if rows <= columns else (None, _entries.middle_of(inputs))
        )
    one_to_many = output is None
    name, shape, ends = ("input", inputs, entries.col) if one_to_many else ("output", outputs, entries.row)
    chosen = _entries.place_in(name, input if one_to_many else output, shape)
    ax = _draw.axes(ax, (max(4.0, 0.45 * max(rows, columns)), 2.6))
    above, below = _draw.spread(columns, rows), _draw.spread(rows, columns)
    strong = ends == chosen
    for row, column, stands_out in zip(entries.row, entries.col, strong, strict=True):
        colour, width, order = (ORANGE, 2.2, 2) if stands_out else (GREY, 0.8, 1)
        ax.plot([above[column], below[row]], [1, 0], color=colour, lw=width, zorder=order)
    touched = set(entries.col[strong]), set(entries.row[strong])
    for places, reached, height, labels, side in (
        (above, touched[0], 1, _entries.places_of(inputs), "bottom"),
        (below, touched[1], 0, _entries.places_of(outputs), "top"),
    ):
        _draw.samples(ax, places, reached, height, labels, side)
    place, count = _entries.places_of(shape)[chosen], int(strong.sum())
    title = (
        f"one-to-many: input {place} reaches {count} output" if one_to_many else f"many-to-one: {count} input"
    )
    title += "" if count == 1 else "s"
    ax.set_title(title if one_to_many else f"{title} make{'s' * (count == 1)} output {place}")
    ax.set_yticks([0, 1], ["output", "input"])
    ax.set(xticks=[], ylim=(-0.45, 1.45))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def padding(
    size: int = 4, pad: int | Sequence[int] = 3, *, modes: PaddingMode = PADDING_MODES, ax: Axes | None = None
) -> Axes:
    """Draw what each padding mode puts outside a row of samples.

    Parameters
    ----------
    size : int
        Samples of the row, at most 26, which are named by letters.
    pad : int or pair of int
        Samples outside, on both sides or before and after.
    modes : str or sequence of str
        Modes to draw, one row for each; all modes of `ConvGeometry` if not given.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; new ones if not given.

    Returns
    -------
    matplotlib.axes.Axes
        Samples are named and shaded; samples outside are drawn smaller.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If ``size`` or ``pad`` is not of integers, or a mode is not a string.
    ValueError
        If there are more than 26 samples, more than 100 with padding, or no modes; or a mode is unknown.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> ax = stc.plot.padding(4, 2, modes="reflect")
    >>> "".join(text.get_text() for text in ax.texts)
    'cbabcdcb'
    """
    size = validation.integer("size", size, 1)
    if size > 26:
        msg = f"size must be at most 26, the number of letters, got {size}"
        raise ValueError(msg)
    before, after = validation.per_axis("pad", pad, 2, 0)
    length = before + size + after
    if length > LARGEST_ROW:
        msg = f"size and pad must make at most {LARGEST_ROW} samples, got {length}"
        raise ValueError(msg)
    words = [modes] if isinstance(modes, str) else list(modes)
    if not words:
        msg = "modes must name at least one mode, got none"
        raise ValueError(msg)
    if len(words) > LARGEST_ROW:
        msg = f"modes must name at most {LARGEST_ROW} modes, got {len(words)}"
        raise ValueError(msg)
    known = validation.padding_mode(words, len(words), "modes")
    ax = _draw.axes(ax, (length * CELL + LABELS, len(words) * (CELL + 0.06) + 0.4))
    colours = _draw.colours("cividis")(np.linspace(0.15, 1, size))
    for row, mode in enumerate(known):
        for position in range(-before, size + after):
            sample = PADDING[mode].sample(size, position)
            face = "none" if sample is None else colours[sample]
            _draw.cell(ax, position, row, face, 0 if 0 <= position < size else 0.13)
            letter = "0" if sample is None else chr(ord("a") + sample)
            _draw.write(ax, position + 0.5, row + 0.5, letter, None if sample is None else face, 10)
    for edge in (0, size):
        ax.plot([edge, edge], [-0.12, len(words) + 0.12], color=ORANGE, lw=2.5, zorder=4)
    ax.set_yticks(np.arange(len(words)) + 0.5, words)
    ax.set(xticks=[], xlim=(-before - 0.1, size + after + 0.1), ylim=(len(words) + 0.2, -0.2), aspect="equal")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def kernel(weights: Any, *, ax: Axes | None = None) -> Axes:
    """Draw a kernel's weights.

    Parameters
    ----------
    weights : (k,), (k1, k2), (a, k1, k2) or (a, b, k1, k2) array_like, or an operator
        Drawn as one row, one image, a row of images, or a grid of images with ``a`` down and ``b`` to the
        right: output and input channels of a 2-D convolution. For an operator, its ``kernel`` is drawn.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; new ones if not given.

    Returns
    -------
    matplotlib.axes.Axes
        All weights share one colour scale, symmetric about zero. The numbers are written if there is room. Of
        more than 1,024 weights in one direction, 1,024 evenly spaced ones are drawn.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If the weights are not numbers.
    ValueError
        If there are more than four axes, or no weights.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> ax = stc.plot.kernel([[1, 2], [0, -1]])
    >>> [text.get_text() for text in ax.texts]
    ['1', '2', '0', '-1']
    """
    array = to_numpy(getattr(weights, "kernel", weights))
    if array.dtype.kind not in "biufc":
        checked_dtype("weights", array.dtype)
    if not 1 <= array.ndim <= 4 or not array.size:
        msg = (
            f"weights must have between one and four axes and not be empty, "
            f"got the shape {shown(array.shape)}"
        )
        raise ValueError(msg)
    tiles = array.reshape((1,) * (4 - array.ndim) + array.shape)
    down, right, height, width = tiles.shape
    # a gap of one cell between images
    rows, columns = down * (height + 1) - 1, right * (width + 1) - 1
    (i, y, inside_rows), (j, x, inside_columns) = _tiled(rows, height), _tiled(columns, width)
    values, drawn = tiles[i[:, None], j, y[:, None], x], inside_rows[:, None] & inside_columns
    ax = _draw.axes(ax, (min(12.0, columns * CELL + LABELS), min(12.0, rows * CELL + LABELS)))
    _draw.cells(ax, values, drawn, (rows, columns), numbers=max(rows, columns) <= LARGEST_SIDE)
    ax.set_xticks(
        np.arange(right) * (width + 1) + width / 2, [str(n) for n in range(right)] if right > 1 else [""]
    )
    ax.set_yticks(
        np.arange(down) * (height + 1) + height / 2, [str(n) for n in range(down)] if down > 1 else [""]
    )
    if right > 1:
        ax.set_xlabel("input channel" if array.ndim == 4 else "slice")
    if down > 1:
        ax.set_ylabel("output channel")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def _tiled(cells: int, size: int) -> tuple[Array, Array, Array]:
    """Return, for cells in a line, the image, the index in it, and whether the cell is not a gap.

    Of more than ``MOST_CELLS`` cells, ``MOST_CELLS`` evenly spaced ones are chosen.
    """
    chosen = np.arange(cells)
    if cells > MOST_CELLS:
        chosen = np.linspace(0, cells - 1, MOST_CELLS).astype(np.int64)
    tile, place = np.divmod(chosen, size + 1)
    return tile, place.clip(0, size - 1), place < size


def method_costs(
    input_shape: IntOrInts,
    kernel_sizes: Sequence[int] | None = None,
    *,
    channels: tuple[int, int] | None = None,
    stride: IntOrInts = 1,
    dtype: DTypeLike = np.float32,
    ax: Axes | None = None,
) -> Axes:
    """Draw the estimated time of a product by each method against the size of the kernel.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``, without channels.
    kernel_sizes : sequence of int, optional
        Taps along each axis; odd numbers up to 63 that are no longer than the input if not given.
    channels : (c_out, c_in), optional
        Numbers of channels; without channels if not given.
    stride : int or sequence of int
        As for `ConvGeometry`.
    dtype : dtype
        The dtype of the kernel.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; new ones if not given.

    Returns
    -------
    matplotlib.axes.Axes
        A line for each method, with the estimates that ``method="auto"`` compares, for padding ``"same"``.
        Only their ratios are meaningful.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If a size is not an integer, or the dtype is not supported.
    ValueError
        If a size is less than 1, or there are more than 100 kernel sizes, or not two numbers of channels.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> ax = stc.plot.method_costs((512, 512), [3, 9, 27])
    >>> [line.get_label() for line in ax.lines]
    ['sparse', 'direct', 'gemm', 'fft']
    """
    sizes = validation.shape("input_shape", input_shape)
    taps: Sequence[int] = [k for k in KERNEL_SIZES if k <= min(sizes)]
    if kernel_sizes is not None:
        given: tuple[Any, ...] = (kernel_sizes,)
        if validation.is_sequence(kernel_sizes):
            given = tuple(kernel_sizes)
        if not 0 < len(given) <= LARGEST_ROW:
            msg = f"kernel_sizes must be 1 to {LARGEST_ROW} numbers, got {len(given)}"
            raise ValueError(msg)
        taps = [validation.integer(f"kernel_sizes[{i}]", n, 1) for i, n in enumerate(given)]
    outer = () if channels is None else validation.shape("channels", channels)
    if len(outer) not in (0, 2):
        msg = f"channels must be (c_out, c_in), got {shown(channels)}"
        raise ValueError(msg)
    kind = checked_dtype("dtype", dtype)
    estimates = [
        cost.estimate(
            ConvGeometry((*outer[1:], *sizes), (*outer, *(k,) * len(sizes)), stride, "same"),
            kind,
        )
        for k in taps
    ]
    ax = _draw.axes(ax, (6.0, 4.0))
    for method, (colour, marker, dashes) in zip(METHODS, cycle(STYLES), strict=False):
        milliseconds = [1e3 * estimate[method] for estimate in estimates]
        ax.plot(taps, milliseconds, color=colour, marker=marker, ls=dashes, lw=2, ms=5, label=method)
    ax.set(xscale="log", yscale="log", ylabel="estimated time of a product, ms")
    ax.set_xticks(taps, [str(count) for count in taps])
    ax.minorticks_off()
    ax.set_xlabel("taps of the kernel along each axis" if len(sizes) > 1 else "taps of the kernel")
    ax.grid(color=GREY, alpha=0.3)
    title = " x ".join(map(str, sizes)) + f", {np.dtype(dtype)}"
    ax.legend(title=f"{title}, {outer[1]} to {outer[0]} channels" if outer else title)
    return ax
