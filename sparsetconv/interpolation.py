"""Interpolation along one axis: which samples an output reads, and how much of each.

Floor 1. A `ResizeAxis` becomes a small sparse matrix, outputs by samples. Positions are computed in integers,
so that ties are ties and exact zeros are not stored.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from math import ceil, lcm, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sparsetconv import _memory, _normalize
from sparsetconv._conventions import OWN
from sparsetconv._display import shown
from sparsetconv._resize import ResizeAxis, canonical_mode, resize_geometry
from sparsetconv.geometry import smallest_index_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._normalize import IntOrInts
    from sparsetconv._types import Array

# half-widths of the kernels, in samples; the spline's, whose tails fall by 0.27 a sample, ends below 1e-17
RADIUS = {"linear": 1, "cubic": 2, "lanczos3": 3, "spline": 30}
AXES_OF = {"bilinear": 2, "bicubic": 2, "trilinear": 3, "tricubic": 3}


def axis_matrix(axis: ResizeAxis) -> Any:
    """Return the matrix of one axis.

    Parameters
    ----------
    axis : ResizeAxis

    Returns
    -------
    (outputs, size) scipy.sparse.csr_array
        Of float64, canonical, no zeros stored; each row sums to 1.
    """
    kind = axis.rule.kind
    _memory.require("an axis of the matrix", 96 * axis.outputs, "the output's size sets it")
    if kind in RADIUS:
        matrix = _interpolated(axis)
    elif kind in ("area", "adaptive_average"):
        matrix = _averaged(axis)
    else:
        reads = _nearest(axis).clip(0, axis.size - 1)[:, None]
        matrix = _folded(reads, np.ones(reads.shape), axis.size, "clamp")
    if axis.rule.smoothing == "gaussian" and axis.shrinking > 1:
        matrix = _canonical(matrix @ _gaussian(axis.size, float(axis.shrinking - 1) / 2))
    return matrix


def interpolation_kernel(mode: str, factor: IntOrInts, *, cubic_coeff: float = -0.75) -> Array:
    """Return the kernel with which a transposed convolution of this stride is an interpolation.

    Parameters
    ----------
    mode : str
        ``"nearest"``, ``"linear"``, ``"cubic"``, ``"lanczos3"``, or their names in two and three dimensions.
    factor : int or sequence of int
        The stride: how many outputs for each sample. An int stands for one axis, with a name such as
        ``"bilinear"`` for as many as the name says.
    cubic_coeff : float
        The coefficient of the cubic kernel: -0.75 in torch, ONNX and OpenCV, -0.5 in Pillow and TensorFlow.

    Returns
    -------
    (k1, ..., kd) array
        Of float64, symmetric, with ``k = 2 * r * factor`` taps along an axis for an even factor, and one
        less for an odd one, ``r`` being 1 (linear), 2 (cubic) or 3 (lanczos3); nearest has ``factor`` taps.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

    See Also
    --------
    resize_matrix : The interpolation itself, for any sizes.

    Notes
    -----
    With ``h`` the interpolation's continuous kernel, ``w[t] = h((t - (k - 1) / 2) / factor)``, along each
    axis; lanczos3 is divided by the sum over the taps that meet in one output. Then
    ``conv_transpose_matrix(w, shape, stride=factor, padding="same")`` has the rows of
    ``resize_matrix(shape, scale=factor, mode=mode)`` wherever these read no sample beyond the border: all
    of them for nearest, all but the outermost ``r * factor - factor // 2`` on each side for the others.
    There the interpolation repeats the edge sample and the transposed convolution reads nothing. With the
    edge repeated ``r`` times before, and cut off after, the identity holds everywhere. The cubic kernel is
    Keys' [1]_.

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
    factors = _normalize.shape("factor", factor if _normalize.is_sequence(factor) else (factor,) * axes)
    if mode in AXES_OF and len(factors) != axes:
        msg = f"factor must be one integer or {axes} with mode={shown(mode)}, got {shown(factor)}"
        raise ValueError(msg)
    columns = [_column(name, stride, cubic_coeff) for stride in factors]
    _memory.require("the kernel", 8 * prod(column.size for column in columns), "factor sets its size")
    return reduce(np.multiply.outer, columns)


def _column(mode: str, stride: int, cubic_coeff: float) -> Array:
    """Return what one sample, far from the border, gives to the outputs around it."""
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
    # an even factor has no tap in the middle, and an odd one zeros at both ends
    taps = stride if mode == "nearest" else 2 * radius * stride - stride % 2
    first = (spread.size - taps) // 2
    column: Array = spread[first : first + taps]
    return column


def _positions(axis: ResizeAxis) -> tuple[Array, Array, int]:
    """Return floors of the positions, and what is left of them as numerators over a common denominator."""
    slope, start = axis.line
    denominator = lcm(slope.denominator, start.denominator)
    step, first = int(slope * denominator), int(start * denominator)
    # Python's integers where 64 bits do not hold the products
    largest = abs(step) * axis.outputs + abs(first) + 4 * denominator
    numbers = np.arange(axis.outputs, dtype=np.int64)
    if largest > 2**62:
        numbers = numbers.astype(object)
    floors, rests = np.divmod(numbers * step + first, denominator)
    return floors.astype(np.int64), rests, denominator


def _nearest(axis: ResizeAxis) -> Array:
    """Return the sample that each output reads, before it is clipped to the signal."""
    rule, outputs = axis.rule, axis.outputs
    if rule.kind == "nearest_opencv":
        # the way OpenCV computes in floating point: positions that should be whole may end up below
        return _whole(np.arange(outputs) * (1 / float(axis.scale)))
    if rule.kind == "nearest_pillow":
        # Pillow adds up its steps
        steps = np.full(outputs, axis.size / outputs)
        steps[0] /= 2
        return _whole(np.cumsum(steps))
    floors, rests, denominator = _positions(axis)
    above: Array = {
        "floor": np.zeros(outputs, bool),
        "ceil": rests > 0,
        "round_prefer_floor": 2 * rests > denominator,
        "round_prefer_ceil": 2 * rests >= denominator,
    }[rule.nearest_mode]
    return _whole(floors + above)


def _whole(positions: Array) -> Array:
    samples: Array = np.floor(positions).astype(np.int64)
    return samples


def _interpolated(axis: ResizeAxis) -> Any:
    """Return the matrix whose rows sample a kernel at their distances to the samples."""
    rule = axis.rule
    stretch = axis.shrinking if rule.smoothing == "stretch" else Fraction(1)
    reach = ceil(RADIUS[rule.kind] * stretch)
    _memory.require("an axis of the matrix", 84 * axis.outputs * 2 * reach, "its sizes set that")
    floors, rests, denominator = _positions(axis)
    offsets = np.arange(1 - reach, reach + 1)
    distances = offsets - (rests / denominator).astype(np.float64)[:, None]
    weights = _kernel_of(rule.kind, rule.cubic_coeff)(np.abs(distances) / float(stretch))
    reads = floors[:, None] + offsets
    if rule.border == "drop":
        outside = (reads < 0) | (reads >= axis.size)
        # where that would leave nothing, the edge sample stands in
        weights[outside & (np.where(outside, 0, weights) != 0).any(1, keepdims=True)] = 0
    weights /= weights.sum(1, keepdims=True)
    return _folded(reads, weights, axis.size, "clamp" if rule.border == "drop" else rule.border)


def _kernel_of(kind: str, cubic_coeff: float) -> Callable[[Array], Array]:
    """Return a kernel as a function of distances, not negative, with exact zeros where it has zeros."""
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
    # the inverse of the B-spline's samples 1/6, 4/6, 1/6 is sqrt(3) * pole**abs(k); four B-splines reach x
    for step in (-1, 0, 1, 2):
        center = floors + step
        y = np.abs(x - center)
        spline = np.where(y < 1, (4 - 6 * y**2 + 3 * y**3) / 6, np.where(y < 2, (2 - y) ** 3 / 6, 0))
        total += np.sqrt(3) * pole ** np.abs(center) * spline
    return np.where((x == floors) & (x > 0), 0, total)


def _averaged(axis: ResizeAxis) -> Any:
    """Return the matrix whose rows average the samples in an output's cell."""
    counted = axis.rule.kind == "adaptive_average"
    step = Fraction(axis.size, axis.outputs) if counted else 1 / axis.scale
    p, q = step.numerator, step.denominator
    # in units of 1 / q: output o covers o * p to (o + 1) * p, sample j covers j * q to (j + 1) * q
    width = p // q + 2
    _memory.require("an axis of the matrix", 96 * axis.outputs * width, "its sizes set that")
    starts = np.arange(axis.outputs, dtype=object if p * (axis.outputs + 1) > 2**62 else np.int64) * p
    ends = starts + p
    reads = (starts // q)[:, None] + np.arange(width)
    low, high = np.maximum(reads * q, starts[:, None]), np.minimum((reads + 1) * q, ends[:, None])
    covered = np.maximum(high - low, 0).astype(np.float64)
    reads = reads.astype(np.int64)
    covered[reads >= axis.size] = 0
    if counted:
        covered = (covered > 0).astype(np.float64)
    return _folded(reads, covered / covered.sum(1, keepdims=True), axis.size, "clamp")


def _gaussian(size: int, sigma: float) -> Any:
    """Return the matrix of scipy.ndimage's Gaussian filter, its border mirrored at the edge sample."""
    reach = int(4 * sigma + 0.5)
    _memory.require("the Gaussian filter", 64 * size * (2 * reach + 1), "its sizes set that")
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    reads = np.arange(size)[:, None] + offsets
    return _folded(reads, np.broadcast_to(weights, reads.shape), size, "mirror")


def _folded(reads: Array, weights: Array, size: int, border: str) -> Any:
    """Return the matrix from samples, some beyond the signal, and their weights, a row for each output."""
    if border == "mirror" and size > 1:
        period = 2 * size - 2
        reads = reads % period
        reads = np.where(reads < size, reads, period - reads)
    reads = reads.clip(0, size - 1)
    rows = np.broadcast_to(np.arange(len(reads))[:, None], reads.shape)
    stored = weights != 0
    entries = weights[stored], (rows[stored], reads[stored])
    return _canonical(sp.coo_array(entries, shape=(len(reads), size)).tocsr())


def _canonical(matrix: Any) -> Any:
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    index = smallest_index_dtype(*matrix.shape, matrix.nnz)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    return matrix
