"""Interpolation along one axis: the samples that an output reads, and their weights.

A `ResizeAxis` becomes a small sparse matrix, outputs by samples. This module computes the weights of its
rows; ``rows`` computes exact positions, and assembles the matrix.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays import memory
from sparsetconv._arrays.display import shown
from sparsetconv._geometry import validation
from sparsetconv._geometry.padding import REFLECT, REPLICATE
from sparsetconv._resize.conventions import OWN
from sparsetconv._resize.geometry import ResizeAxis, canonical_mode, resize_geometry
from sparsetconv._resize.rows import Line, Rows, assembled, canonical, totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.validation import IntOrInts
    from sparsetconv._resize.geometry import KernelMode

# half-widths of the kernels in samples; the spline's tails decay by a factor of 0.27 per sample, and are cut
# off below 1e-17
RADIUS = {"linear": 1, "cubic": 2, "lanczos3": 3, "spline": 30}
AXES_OF = {"bilinear": 2, "bicubic": 2, "trilinear": 3, "tricubic": 3}


def axis_matrix(axis: ResizeAxis, start: int = 0, stop: int | None = None) -> Any:
    """Return the matrix of one axis, or rows of it.

    Parameters
    ----------
    axis : ResizeAxis
    start, stop : int, optional
        Range of rows, all if not given.

    Returns
    -------
    (stop - start, size) scipy.sparse.csr_array
        Of float64, canonical, without stored zeros; each row sums to 1.
    """
    kind = axis.rule.kind
    if kind in RADIUS:
        rows = _interpolated(axis)
    elif kind in ("area", "adaptive_average"):
        rows = _averaged(axis)
    else:
        rows = _nearest(axis)
    matrix = assembled(rows, (axis.outputs if stop is None else stop) - start, axis.size, start)
    if axis.rule.smoothing == "gaussian" and axis.shrinking > 1:
        # only the smoothed samples that are read
        first, end = int(matrix.indices.min()), int(matrix.indices.max()) + 1
        smoothing = assembled(_gaussian(float(axis.shrinking - 1) / 2), end - first, axis.size, first)
        arrays = matrix.data, matrix.indices - first, matrix.indptr
        matrix = canonical(sp.csr_array(arrays, shape=(matrix.shape[0], end - first)) @ smoothing)
    return matrix


def interpolation_kernel(mode: KernelMode, factor: IntOrInts, *, cubic_coeff: float = -0.75) -> Array:
    """Return the kernel with which a transposed convolution of this stride is an interpolation.

    Parameters
    ----------
    mode : str
        ``"nearest"``, ``"linear"``, ``"cubic"``, ``"lanczos3"``, or their names in two and three dimensions.
    factor : int or sequence of int
        The stride: outputs per sample. An int applies to one axis, or to all axes that a name such as
        ``"bilinear"`` implies.
    cubic_coeff : float
        The coefficient of the cubic kernel: -0.75 in torch, ONNX and OpenCV, -0.5 in Pillow and TensorFlow.

    Returns
    -------
    (k1, ..., kd) array
        Of float64, symmetric, with ``k = 2 * r * factor`` taps along an axis for an even factor, and one
        less for an odd one, ``r`` being 1 (linear), 2 (cubic) or 3 (lanczos3); nearest has ``factor`` taps.

    Raises
    ------
    TypeError
        If ``mode`` is not a string, a factor not an integer, or ``cubic_coeff`` not a number.
    ValueError
        If the mode is unknown, a factor less than 1, ``cubic_coeff`` not finite, or the number of factors is
        not the one that the mode's name implies.
    MemoryError
        If the kernel does not fit into memory.

    See Also
    --------
    resize_matrix : The interpolation itself, for any sizes.

    Notes
    -----
    With ``h`` the interpolation's continuous kernel, ``w[t] = h((t - (k - 1) / 2) / factor)`` along each
    axis; for lanczos3, ``w[t]`` is divided by the sum of the weights that contribute to the same output. Then
    ``conv_transpose_matrix(w, shape, stride=factor, padding="same")`` has the same rows as
    ``resize_matrix(shape, scale=factor, mode=mode)``, except where these read beyond the border: all rows
    agree for nearest, all but the outermost ``r * factor - factor // 2`` on each side for the other modes.
    In the outermost rows the interpolation repeats the edge sample, and the transposed convolution reads
    nothing. If the edge is repeated ``r`` times before the convolution and the result is cropped, all rows
    agree. The cubic kernel is that of Keys [1]_.

    References
    ----------
    .. [1] R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
       Acoustics, Speech, and Signal Processing 29 (6), 1981.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> stc.interpolation_kernel("linear", 2)
    array([0.25, 0.75, 0.75, 0.25])
    >>> stc.interpolation_kernel("bicubic", 3).shape
    (11, 11)
    """
    name = canonical_mode(mode, ("nearest", "linear", "cubic", "lanczos3"))
    axes = AXES_OF.get(mode, 1)
    factors = validation.shape("factor", factor if validation.is_sequence(factor) else (factor,) * axes)
    if mode in AXES_OF and len(factors) != axes:
        msg = f"factor must be one integer or {axes} with mode={shown(mode)}, got {shown(factor)}"
        raise ValueError(msg)
    columns = [_column(name, stride, cubic_coeff) for stride in factors]
    memory.require("the kernel", 8 * prod(column.size for column in columns), "factor sets its size")
    return reduce(np.multiply.outer, columns)


def _column(mode: str, stride: int, cubic_coeff: float) -> Array:
    """Return the weights of one sample, far from the border, in the outputs around it."""
    radius = RADIUS.get(mode, 1)
    size = 4 * radius + 1
    geometry = resize_geometry(
        size,
        None,
        scale=stride,
        mode=mode,
        coordinate_mode=None,
        nearest_mode=None,
        cubic_coeff=cubic_coeff if mode in OWN.modes else None,
        exclude_outside=None,
        antialias=None,
        convention=None,
    )
    spread = axis_matrix(geometry.axes[0])[:, [2 * radius]].toarray()[:, 0]
    # an even factor has no middle tap; an odd one has zeros at both ends, which are cut off
    taps = stride if mode == "nearest" else 2 * radius * stride - stride % 2
    first = (spread.size - taps) // 2
    column: Array = spread[first : first + taps]
    return column


def _nearest(axis: ResizeAxis) -> Rows:
    """Return the rows that hold one entry, at the nearest sample."""
    rule, outputs = axis.rule, axis.outputs
    if rule.kind == "nearest_opencv":
        # in floating point as in OpenCV, where positions that should be integers may be rounded down
        step = 1 / float(axis.scale)
        return _at(lambda start, stop: np.floor(np.arange(start, stop) * step).astype(np.int64))
    if rule.kind == "nearest_pillow":
        # Pillow accumulates the steps, with their rounding errors
        memory.require("an axis of the matrix", 16 * outputs, "the output's size sets it")
        steps = np.full(outputs, axis.size / outputs)
        steps[0] /= 2
        places = np.cumsum(steps, out=steps)
        return _at(lambda start, stop: np.floor(places[start:stop]).astype(np.int64))
    line = Line(*axis.line)
    chosen: Callable[[Array], Array | int] = {
        "floor": lambda rests: 0,  # noqa: ARG005
        "ceil": lambda rests: rests > 0,
        "round_prefer_floor": lambda rests: rests > line.denominator - rests,
        "round_prefer_ceil": lambda rests: rests >= line.denominator - rests,
    }[rule.nearest_mode]

    def reads(start: int, stop: int) -> Array:
        floors, rests = line.positions(start, stop)
        above: Array = floors + chosen(rests)
        return above

    return _at(reads)._replace(period=line.period, shift=line.shift)


def _at(reads: Callable[[int, int], Array]) -> Rows:
    """Return rows of one entry, which is 1, at the samples that ``reads`` returns."""

    def compute(start: int, stop: int) -> tuple[Array, Array]:
        places = reads(start, stop)[None]
        return places, np.ones(places.shape)

    return Rows(compute, 1, REPLICATE)


def _interpolated(axis: ResizeAxis) -> Rows:
    """Return the rows whose weights are values of a continuous kernel at the distances to the samples."""
    rule = axis.rule
    stretch = axis.shrinking if rule.smoothing == "stretch" else Fraction(1)
    reach = ceil(RADIUS[rule.kind] * stretch)
    line, kernel = Line(*axis.line), _kernel_of(rule.kind, rule.cubic_coeff)
    offsets = np.arange(1 - reach, reach + 1)[:, None]

    def compute(start: int, stop: int) -> tuple[Array, Array]:
        floors, rests = line.positions(start, stop)
        weights = kernel(np.abs(offsets - (rests / line.denominator).astype(np.float64)) / float(stretch))
        reads = floors + offsets
        if rule.drops:
            outside = (reads < 0) | (reads >= axis.size)
            # weights outside are dropped, unless all of a row's samples are outside
            weights[outside & (np.where(outside, 0, weights) != 0).any(0)] = 0
        weights /= totals(weights)
        return reads, weights

    return Rows(compute, 2 * reach, rule.border, line.period, line.shift)


def _kernel_of(kind: str, cubic_coeff: float) -> Callable[[Array], Array]:
    """Return a kernel as a function of non-negative distances; its zeros are exact."""
    if kind == "linear":
        return lambda x: np.maximum(1 - x, 0)
    if kind == "cubic":
        return lambda x: _keys(x, cubic_coeff)
    if kind == "lanczos3":
        return lambda x: np.where((x < 3) & ((x != np.rint(x)) | (x == 0)), np.sinc(x) * np.sinc(x / 3), 0)
    return _cardinal_spline


def _keys(x: Array, a: float) -> Array:
    # Keys' polynomials, factored so that the zeros at 1 and 2 are exact
    near = (1 - x) * (1 + x - (a + 2) * x * x)
    far = a * (x - 1) * (x - 2) ** 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _cardinal_spline(x: Array) -> Array:
    """Return the cubic spline that is 1 at 0 and 0 at the other integers."""
    pole = np.sqrt(3) - 2
    total = np.zeros_like(x)
    floors = np.floor(x)
    # the inverse filter of the B-spline's samples 1/6, 4/6, 1/6 is sqrt(3) * pole**abs(k); four B-splines are
    # nonzero at x
    for step in (-1, 0, 1, 2):
        center = floors + step
        y = np.abs(x - center)
        spline = np.where(y < 1, (4 - 6 * y**2 + 3 * y**3) / 6, np.where(y < 2, (2 - y) ** 3 / 6, 0))
        total += np.sqrt(3) * pole ** np.abs(center) * spline
    return np.where((x == floors) & (x > 0), 0, total)


def _averaged(axis: ResizeAxis) -> Rows:
    """Return the rows that average the samples in an output's cell, by area or (adaptive) by count."""
    counted = axis.rule.kind == "adaptive_average"
    step = Fraction(axis.size, axis.outputs) if counted else 1 / axis.scale
    line = Line(step, Fraction(0))
    p, q = step.numerator, step.denominator
    # in units of 1 / q: output o covers o * p to (o + 1) * p, sample j covers j * q to (j + 1) * q
    width = p // q + 2
    begins = np.arange(width, dtype=np.int64 if p + 3 * q < 2**62 else object)[:, None] * q

    def compute(start: int, stop: int) -> tuple[Array, Array]:
        floors, rests = line.positions(start, stop)
        low, high = np.maximum(begins, rests), np.minimum(begins + q, rests + p)
        covered = np.maximum(high - low, 0).astype(np.float64)
        reads = floors + np.arange(width)[:, None]
        covered[reads >= axis.size] = 0
        if counted:
            covered = (covered > 0).astype(np.float64)
        return reads, covered / totals(covered)

    return Rows(compute, width, REPLICATE, line.period, line.shift)


def _gaussian(sigma: float) -> Rows:
    """Return the rows of scipy.ndimage's Gaussian filter, with the border mirrored at the edge sample."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)[:, None]
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()

    def compute(start: int, stop: int) -> tuple[Array, Array]:
        reads = np.arange(start, stop) + offsets
        return reads, np.broadcast_to(weights, reads.shape)

    return Rows(compute, 2 * reach + 1, REFLECT, 1, 1)
