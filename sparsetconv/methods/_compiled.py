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
    """Set ``out[j]`` to the sum over taps of ``w[t] * src[at + offsets[t] + j]``, four taps at a time.

    Slices tell the compiler that no index is negative: the loops become vector instructions.
    """
    n, taps = out.size, offsets.size
    out[:] = 0
    t = 0
    while t + 4 <= taps:
        a, b, c, d = at + offsets[t], at + offsets[t + 1], at + offsets[t + 2], at + offsets[t + 3]
        x0, x1, x2, x3 = src[a : a + n], src[b : b + n], src[c : c + n], src[d : d + n]
        w0, w1, w2, w3 = w[t], w[t + 1], w[t + 2], w[t + 3]
        for j in range(n):
            out[j] += (w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])
        t += 4
    while t < taps:
        a = at + offsets[t]
        x0, w0 = src[a : a + n], w[t]
        for j in range(n):
            out[j] += w0 * x0[j]
        t += 1


@compiled  # type: ignore[untyped-decorator]
def weighted_sums(
    y0: Any, y1: Any, y2: Any, y3: Any, src: Any, offsets: Any, w0: Any, w1: Any, w2: Any, w3: Any, at: int
) -> None:
    """Do `weighted_sum` for four outputs at once, which read ``src`` once."""
    n, taps = y0.size, offsets.size
    y0[:] = 0
    y1[:] = 0
    y2[:] = 0
    y3[:] = 0
    t = 0
    while t + 2 <= taps:
        a, b = at + offsets[t], at + offsets[t + 1]
        x0, x1 = src[a : a + n], src[b : b + n]
        p0, p1, q0, q1 = w0[t], w0[t + 1], w1[t], w1[t + 1]
        r0, r1, s0, s1 = w2[t], w2[t + 1], w3[t], w3[t + 1]
        for j in range(n):
            u0, u1 = x0[j], x1[j]
            y0[j] += p0 * u0 + p1 * u1
            y1[j] += q0 * u0 + q1 * u1
            y2[j] += r0 * u0 + r1 * u1
            y3[j] += s0 * u0 + s1 * u1
        t += 2
    if t < taps:
        a = at + offsets[t]
        x0 = src[a : a + n]
        p0, q0, r0, s0 = w0[t], w1[t], w2[t], w3[t]
        for j in range(n):
            u0 = x0[j]
            y0[j] += p0 * u0
            y1[j] += q0 * u0
            y2[j] += r0 * u0
            y3[j] += s0 * u0


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
    buffer = np.empty((4, tile), out.dtype)
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
        weights = w[item % groups]
        start = place + begin * step
        result = 0
        while result < results:
            many = 4 if result + 4 <= results else 1
            if many == 4:
                weighted_sums(
                    buffer[0][:n], buffer[1][:n], buffer[2][:n], buffer[3][:n], source, wanted,
                    weights[result][low:high], weights[result + 1][low:high],
                    weights[result + 2][low:high], weights[result + 3][low:high], base + begin,
                )  # fmt: skip
            else:
                weighted_sum(buffer[0][:n], source, wanted, weights[result][low:high], base + begin)
            for row in range(many):
                target, values = out[item, result + row, line], buffer[row]
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
