"""Naive loops that say what every number means. They import nothing of the package, and stay."""

import itertools
import math

import numpy as np


def extension_index(mode, size, position):
    """Walk through one period of the extension, written out."""
    if 0 <= position < size:
        return position
    if mode == "zeros":
        return None
    if mode == "replicate":
        return 0 if position < 0 else size - 1
    signal = list(range(size))
    period = {
        "circular": signal,
        "symmetric": signal + signal[::-1],
        "reflect": signal + signal[-2:0:-1],
    }[mode]
    return period[position % len(period)]


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
