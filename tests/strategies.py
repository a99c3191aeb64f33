"""Geometries for hypothesis: every parameter of the contract, small enough for naive loops."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from sparsetconv._geometry.padding import PADDING, PADDING_MODES

MODES = PADDING_MODES
# those that show samples of the signal outside of it
SHOWING = tuple(mode for mode in MODES if not PADDING[mode].zero)
LARGEST = {1: (12, 7), 2: (6, 4), 3: (4, 3), 4: (3, 2)}


def stand_for(chosen, others):
    """Return values of a factor, or rows of a table; the others run with ``--all`` alone, as what is compiled takes seconds."""
    rows = (value if isinstance(value, tuple) else (value,) for value in others)
    return [*chosen, *(pytest.param(*row, marks=pytest.mark.full) for row in rows)]


def examples(number):
    """Return settings for so many examples with ``--all``, and for a share of them without (`conftest`)."""
    return settings(max_examples=number * settings().max_examples // 100)


@st.composite
def geometries(draw, max_ndim=4):
    """Draw ``(kernel_shape, options)``; the options are those of the naive reference."""
    ndim = draw(st.integers(1, max_ndim))
    most_samples, most_taps = LARGEST[ndim]

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(ndim))

    sizes, taps = each(1, most_samples), each(1, most_taps)
    stride, dilation = each(1, 3), each(1, 3)
    padding = []
    for n, k, d in zip(sizes, taps, dilation, strict=True):
        extent = d * (k - 1) + 1
        before = draw(st.integers(-n + 1, extent + 2))
        # at least one output: the window fits into the padded signal
        lowest = extent - n - before
        after = draw(st.integers(max(lowest, -n + 1), max(lowest, extent + 2)))
        padding.append((before, after))
    options = {
        "stride": stride,
        "padding": tuple(padding),
        "dilation": dilation,
        "padding_mode": tuple(draw(st.sampled_from(MODES)) for _ in range(ndim)),
        "flip": draw(st.booleans()),
        "groups": 1,
    }
    if not draw(st.booleans()):
        return taps, sizes, options
    groups, c_in, c_out = (draw(st.integers(1, 2)) for _ in range(3))
    options["groups"] = groups
    return (groups * c_out, c_in, *taps), (groups * c_in, *sizes), options


def distinct_kernel(shape, dtype="int64"):
    """Return a kernel of different integers, so that no two taps can be confused."""
    import numpy as np

    values = np.arange(1, math.prod(shape) + 1) * 7 % 101 - 30
    return values.reshape(shape).astype(dtype)
