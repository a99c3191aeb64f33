"""The stencil's loops, compiled by numba. Imported when first needed, by ``direct`` alone.

No loop here is parallel by itself: they release the interpreter's lock and are called on ranges of units
from several threads, which is safe for concurrent callers and after a fork, as numba's own thread pools
are not. Products may be fused with sums; nothing else is reordered, so that NaN and infinity behave.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@compiled  # type: ignore[untyped-decorator]
def weighted_sum(out: Any, src: Any, offsets: Any, w: Any, at: int) -> None:
    """Set ``out[j]`` to the sum over taps of ``w[t] * src[at + offsets[t] + j]``, eight taps at a time.

    Slices tell the compiler that no index is negative: the loops become vector instructions.
    """
    n, taps = out.size, offsets.size
    out[:] = 0
    t = 0
    while t + 8 <= taps:
        a, b, c, d = at + offsets[t], at + offsets[t + 1], at + offsets[t + 2], at + offsets[t + 3]
        e, f, g, h = at + offsets[t + 4], at + offsets[t + 5], at + offsets[t + 6], at + offsets[t + 7]
        x0, x1, x2, x3 = src[a : a + n], src[b : b + n], src[c : c + n], src[d : d + n]
        x4, x5, x6, x7 = src[e : e + n], src[f : f + n], src[g : g + n], src[h : h + n]
        w0, w1, w2, w3, w4, w5, w6, w7 = (
            w[t], w[t + 1], w[t + 2], w[t + 3], w[t + 4], w[t + 5], w[t + 6], w[t + 7]
        )  # fmt: skip
        for j in range(n):
            out[j] += ((w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])) + (
                (w4 * x4[j] + w5 * x5[j]) + (w6 * x6[j] + w7 * x7[j])
            )
        t += 8
    while t + 3 <= taps:
        a, b, c = at + offsets[t], at + offsets[t + 1], at + offsets[t + 2]
        x0, x1, x2 = src[a : a + n], src[b : b + n], src[c : c + n]
        w0, w1, w2 = w[t], w[t + 1], w[t + 2]
        for j in range(n):
            out[j] += (w0 * x0[j] + w1 * x1[j]) + w2 * x2[j]
        t += 3
    while t < taps:
        a = at + offsets[t]
        x0, w0 = src[a : a + n], w[t]
        for j in range(n):
            out[j] += w0 * x0[j]
        t += 1


@compiled  # type: ignore[untyped-decorator]
def weighted_sums(y0: Any, y1: Any, y2: Any, y3: Any, src: Any, offsets: Any, w: Any, at: int) -> None:
    """Do `weighted_sum` for four outputs and four rows of ``w`` at once, which read ``src`` once."""
    n, taps = y0.size, offsets.size
    y0[:] = 0
    y1[:] = 0
    y2[:] = 0
    y3[:] = 0
    t = 0
    while t + 3 <= taps:
        a, b, c = at + offsets[t], at + offsets[t + 1], at + offsets[t + 2]
        x0, x1, x2 = src[a : a + n], src[b : b + n], src[c : c + n]
        p0, p1, p2 = w[0, t], w[0, t + 1], w[0, t + 2]
        q0, q1, q2 = w[1, t], w[1, t + 1], w[1, t + 2]
        r0, r1, r2 = w[2, t], w[2, t + 1], w[2, t + 2]
        s0, s1, s2 = w[3, t], w[3, t + 1], w[3, t + 2]
        for j in range(n):
            u0, u1, u2 = x0[j], x1[j], x2[j]
            y0[j] += (p0 * u0 + p1 * u1) + p2 * u2
            y1[j] += (q0 * u0 + q1 * u1) + q2 * u2
            y2[j] += (r0 * u0 + r1 * u1) + r2 * u2
            y3[j] += (s0 * u0 + s1 * u1) + s2 * u2
        t += 3
    while t < taps:
        a = at + offsets[t]
        x0 = src[a : a + n]
        p0, q0, r0, s0 = w[0, t], w[1, t], w[2, t], w[3, t]
        for j in range(n):
            u0 = x0[j]
            y0[j] += p0 * u0
            y1[j] += q0 * u0
            y2[j] += r0 * u0
            y3[j] += s0 * u0
        t += 1


@compiled  # type: ignore[untyped-decorator]
def correlate(
    src: Any, w: Any, out: Any, pieces: Any, bounds: Any, offsets: Any, step: int, tile: int,
    first: int, last: int,
) -> None:  # fmt: skip
    """Compute units ``first`` to ``last``; a unit is a tile of one piece of one batch item and group.

    src : (batch * groups, positions), w : (groups, results, taps), offsets : (taps,), out : (batch * groups,
    results, lines, length). A row of ``pieces`` is one run of outputs: its line, the first of its places on
    the line (the next is ``step`` further on), their number, where in ``src`` the first one reads through
    a tap of offset 0, and its list of taps, which is ``bounds[list]`` to ``bounds[list + 1]``.
    """
    groups, results = w.shape[0], w.shape[1]
    longest = 0
    for number in range(pieces.shape[0]):
        longest = max(longest, pieces[number, 2])
    tiles = (longest + tile - 1) // tile
    rows = (
        np.empty(tile, out.dtype),
        np.empty(tile, out.dtype),
        np.empty(tile, out.dtype),
        np.empty(tile, out.dtype),
    )
    for unit in range(first, last):
        item = unit // (pieces.shape[0] * tiles)
        line, place, count, base, taps = pieces[unit // tiles % pieces.shape[0]]
        begin = unit % tiles * tile
        n = min(tile, count - begin)
        if n <= 0:
            continue
        low, high = bounds[taps], bounds[taps + 1]
        wanted = offsets[low:high]
        source = src[item]
        weights = w[item % groups, :, low:high]
        start = place + begin * step
        result = 0
        while result < results:
            many = 4 if result + 4 <= results else 1
            if many == 4:
                weighted_sums(
                    rows[0][:n], rows[1][:n], rows[2][:n], rows[3][:n],
                    source, wanted, weights[result : result + 4], base + begin,
                )  # fmt: skip
            else:
                weighted_sum(rows[0][:n], source, wanted, weights[result], base + begin)
            for row in range(many):
                target, values = out[item, result + row, line], rows[row]
                if step == 1:
                    target[start : start + n] = values[:n]
                else:
                    for j in range(n):
                        target[start + j * step] = values[j]
            result += many


@compiled  # type: ignore[untyped-decorator]
def split_phases(x: Any, out: Any, first: int, last: int) -> None:
    """Divide lines of ``x``, (lines, length), into phases: ``out`` is (lines, phases, places)."""
    phases, most = out.shape[1], out.shape[2]
    for line in range(first, last):
        for phase in range(phases):
            count = (x.shape[1] - phase + phases - 1) // phases
            target, source = out[line, phase], x[line]
            for q in range(count):
                target[q] = source[q * phases + phase]
            for q in range(count, most):
                target[q] = 0
