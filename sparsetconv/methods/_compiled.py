"""The stencil's loops, compiled by numba. Imported when first needed, by ``direct`` alone.

No loop here is parallel by itself: they release the interpreter's lock and are called on ranges of units
from several threads, which is safe for concurrent callers and after a fork, as numba's own thread pools
are not.

A unit is a tile of one line (the last axis) of one batch item and group; units write to disjoint places.
"""

from __future__ import annotations

from typing import Any

from numba import njit

TILE = 4096


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def add_scaled_lines(
    out: Any, x: Any, w0: Any, w1: Any, w2: Any, w3: Any, b0: int, b1: int, b2: int, b3: int, step: int
) -> None:
    """Add four scaled lines of ``x``, from four places, to ``out``."""
    if step == 1:
        for j in range(out.size):
            out[j] += w0 * x[b0 + j] + w1 * x[b1 + j] + w2 * x[b2 + j] + w3 * x[b3 + j]
    else:
        for j in range(out.size):
            i = j * step
            out[j] += w0 * x[b0 + i] + w1 * x[b1 + i] + w2 * x[b2 + i] + w3 * x[b3 + i]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def correlate(x: Any, w: Any, y: Any, bases: Any, offsets: Any, step: int, first: int, last: int) -> None:
    """Compute units ``first`` to ``last`` of a valid correlation.

    x : (batch * groups, c_in, positions), w : (groups, c_out, c_in, taps),
    y : (batch * groups, c_out, lines, outputs); the line's first position is ``bases[line]``,
    a tap reads ``offsets[tap]`` further on, the next output ``step`` further on.
    """
    groups, c_out, c_in, taps = w.shape
    lines, outputs = y.shape[2], y.shape[3]
    tiles = (outputs + TILE - 1) // TILE
    for unit in range(first, last):
        item = unit // (lines * tiles)
        line = unit // tiles % lines
        start = unit % tiles * TILE
        stop = min(start + TILE, outputs)
        base = bases[line] + start * step
        group = item % groups
        for o in range(c_out):
            out = y[item, o, line, start:stop]
            out[:] = 0
            for i in range(c_in):
                source = x[item, i]
                weights = w[group, o, i]
                t = 0
                while t + 4 <= taps:
                    add_scaled_lines(
                        out, source, weights[t], weights[t + 1], weights[t + 2], weights[t + 3],
                        base + offsets[t], base + offsets[t + 1],
                        base + offsets[t + 2], base + offsets[t + 3], step,
                    )  # fmt: skip
                    t += 4
                while t < taps:
                    weight, place = weights[t], base + offsets[t]
                    if step == 1:
                        for j in range(out.size):
                            out[j] += weight * source[place + j]
                    else:
                        for j in range(out.size):
                            out[j] += weight * source[place + j * step]
                    t += 1


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def scatter(
    y: Any, w: Any, z: Any, lead: Any, small: Any, strides: Any, taps: Any, spacing: int, step: int,
    first: int, last: int,
) -> None:  # fmt: skip
    """Compute units ``first`` to ``last`` of the transpose: a line gathers all that reach it.

    y : (batch * groups, c_out, lines, outputs), w : (groups, c_out, c_in, leading taps, last taps),
    z : (batch * groups, c_in, positions of the leading axes, positions of the last axis).
    For the leading axes: ``lead`` positions, ``small`` outputs and ``strides`` of each, ``taps[tap]`` the
    dilated place of a leading tap on each. On the last axis taps are ``spacing`` apart, outputs ``step``.
    """
    groups, c_out, c_in, leading, last_taps = w.shape
    lines, length, outputs = z.shape[2], z.shape[3], y.shape[3]
    tiles = (length + TILE - 1) // TILE
    axes = lead.size
    for unit in range(first, last):
        item = unit // (lines * tiles)
        line = unit // tiles % lines
        start = unit % tiles * TILE
        stop = min(start + TILE, length)
        group = item % groups
        for i in range(c_in):
            z[item, i, line, start:stop] = 0
        for tap in range(leading):
            source, rest, scale, hit = 0, line, 1, True
            for axis in range(axes - 1, -1, -1):
                place = rest % lead[axis] - taps[tap, axis]
                rest //= lead[axis]
                output = place // strides[axis]
                if place < 0 or place % strides[axis] != 0 or output >= small[axis]:
                    hit = False
                    break
                source += output * scale
                scale *= small[axis]
            if not hit:
                continue
            for i in range(c_in):
                target = z[item, i, line]
                for o in range(c_out):
                    values = y[item, o, source]
                    for t in range(last_taps):
                        weight = w[group, o, i, tap, t]
                        shift = t * spacing
                        low = max(0, (start - shift + step - 1) // step)
                        high = min(outputs, (stop - 1 - shift) // step + 1)
                        if step == 1:
                            for j in range(low, high):
                                target[shift + j] += weight * values[j]
                        else:
                            for j in range(low, high):
                                target[shift + j * step] += weight * values[j]
