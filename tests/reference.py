"""Naive loops that say what every number means. They import nothing of the package, and stay."""

import fractions
import itertools
import math

import numpy as np

# what stands before and behind the signal where it does not repeat; one period of the extension where it does, from sample 0 on
CONSTANTS = {
    "zeros": lambda _: (None, None),
    "replicate": lambda n: (0, n - 1),
}
PERIODS = {
    "circular": lambda n: [range(n)],
    "symmetric": lambda n: [range(n), range(n - 1, -1, -1)],
    "reflect": lambda n: [range(n), range(n - 2, 0, -1)],
}


def extension_index(mode, size, position):
    """Walk through one period of the extension, written out in ranges."""
    if 0 <= position < size:
        return position
    if mode in CONSTANTS:
        return CONSTANTS[mode](size)[position > 0]
    pieces = PERIODS[mode](size)
    position %= sum(map(len, pieces))
    for piece in pieces:
        if position < len(piece):
            return piece[position]
        position -= len(piece)
    raise AssertionError


def naive_matrix(kernel, input_shape, *, stride, padding, dilation, groups, padding_mode, flip):
    """Return the dense matrix, entry by entry. All arguments are tuples, one entry for each axis."""
    channels = kernel.ndim - len(input_shape) == 1
    if not channels:
        kernel, input_shape = kernel[None, None], (1, *input_shape)
    c_out, per_group, *taps = kernel.shape
    c_in, *sizes = input_shape
    axes = range(len(sizes))
    outputs = [
        math.floor((sizes[a] + sum(padding[a]) - (dilation[a] * (taps[a] - 1) + 1)) / stride[a]) + 1
        for a in axes
    ]
    matrix = np.zeros((c_out, *outputs, c_in, *sizes), kernel.dtype)
    for co in range(c_out):
        group = co // (c_out // groups)
        for o in itertools.product(*map(range, outputs)):
            for t in itertools.product(*map(range, taps)):
                sources = [
                    extension_index(
                        padding_mode[a], sizes[a], o[a] * stride[a] + t[a] * dilation[a] - padding[a][0]
                    )
                    for a in axes
                ]
                if None in sources:
                    continue
                tap = tuple(taps[a] - 1 - t[a] for a in axes) if flip else t
                for ci in range(per_group):
                    matrix[(co, *o, group * per_group + ci, *sources)] += kernel[(co, ci, *tap)]
    return matrix.reshape(c_out * math.prod(outputs), c_in * math.prod(sizes))


def naive_pattern(kernel_shape, input_shape, **options):
    """Return where the matrix has entries: a kernel of ones leaves none of them out."""
    return naive_matrix(np.ones(kernel_shape, np.int64), input_shape, **options) != 0


def naive_position(output, size, outputs, scale, coordinate_mode):
    """Return where an output looks, as ONNX writes it down; ``scale`` is a fraction."""
    half = fractions.Fraction(1, 2)
    length = size * scale
    if coordinate_mode == "asymmetric":
        return output / scale
    if coordinate_mode == "align_corners":
        return fractions.Fraction(0) if length == 1 else output * fractions.Fraction(size - 1) / (length - 1)
    if coordinate_mode == "pytorch_half_pixel" and outputs == 1:
        return fractions.Fraction(0)
    position = (output + half) / scale - half
    if coordinate_mode == "half_pixel_symmetric":
        position += fractions.Fraction(size) / 2 * (1 - outputs / length)
    return position


def interpolation_weight(mode, x, a):
    """Return a kernel's value at a distance."""
    x = abs(float(x))
    if mode == "linear":
        return max(1 - x, 0)
    if mode == "cubic":
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0
    if x == 0:
        return 1
    # lanczos3
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2 if x < 3 else 0


def naive_nearest(position, nearest_mode):
    below = math.floor(position)
    rest = position - below
    up = {
        "floor": False,
        "ceil": rest > 0,
        "round_prefer_floor": rest > fractions.Fraction(1, 2),
        "round_prefer_ceil": rest >= fractions.Fraction(1, 2),
    }[nearest_mode]
    return below + up


def naive_resize(
    size, outputs, scale, mode, *, coordinate_mode, nearest_mode, cubic_coeff, exclude_outside, antialias
):
    """Return the dense matrix of one axis, entry by entry."""
    matrix = np.zeros((outputs, size))
    stretch = max(1 / scale, 1) if antialias else fractions.Fraction(1)
    for o in range(outputs):
        if mode == "area":
            for j in range(size):
                matrix[o, j] = max(min(j + 1, (o + 1) / scale) - max(j, o / scale), 0) * scale
            matrix[o] /= matrix[o].sum()
            continue
        x = naive_position(o, size, outputs, scale, coordinate_mode)
        if mode == "nearest":
            matrix[o, min(max(naive_nearest(x, nearest_mode), 0), size - 1)] = 1
            continue
        beyond = 3 * math.ceil(stretch) + 3
        taps = range(math.floor(x) - beyond, math.floor(x) + beyond + 1)
        weights = {j: interpolation_weight(mode, (x - j) / stretch, cubic_coeff) for j in taps}
        if exclude_outside:
            weights = {j: w for j, w in weights.items() if 0 <= j < size}
        for j, weight in weights.items():
            matrix[o, min(max(j, 0), size - 1)] += weight / sum(weights.values())
    return matrix
