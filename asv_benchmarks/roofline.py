"""Compare products with the machine's limits: pictures of one channel, each kernel size.

Run ``python asv_benchmarks/roofline.py``. The limits are measured in the same run: a copy of the image, and
the multiplications per second of a matrix product, both in as many threads as we use. The stencil's floor is
the larger of that copy and of all multiplications at that speed. Transforms multiply less: where ``auto``
takes them the share of the stencil's floor can exceed 1. A result in new memory costs page faults, a result
in ``out`` does not.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import sparsetconv as stc
from sparsetconv._arrays.threads import for_each, thread_count

# sizes of the picture, and of the kernel
CASES = {1024: (1, 3, 5, 7, 9, 15, 31, 65), 2048: (3,), 4096: (3,)}


def median_seconds(function, repetitions=15) -> float:
    """Return the median time of a call, after one that prepares."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def limits(x, out) -> tuple[float, float]:
    """Return the seconds of a copy of an array by one thread, and by all."""
    workers = thread_count()
    rows = np.array_split(np.arange(len(x)), workers)

    def copy(part):
        out[part[0] : part[-1] + 1] = x[part[0] : part[-1] + 1]

    return median_seconds(lambda: np.copyto(out, x)), median_seconds(lambda: for_each(copy, rows, workers))


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        a = rng.random((1536, 1536)).astype(dtype)
        product = 1536**3 / median_seconds(lambda: a @ a, 7)  # noqa: B023
        print(f"\n{dtype}: a matrix product does {product / 1e9:.0f}e9 multiplications a second\n")
        print(
            "| kernel | picture | method | copy, ms | forward, ms | adjoint, ms "
            "| forward in out | adjoint in out | times the copy, in out | floor, ms | share |"
        )
        print("|---" * 11 + "|")
        for size, all_taps in CASES.items():
            x = rng.random((size, size)).astype(dtype)
            out = np.empty_like(x)
            copied = min(limits(x, out))
            for taps in all_taps:
                A = stc.ConvOperator(rng.standard_normal((taps, taps)).astype(dtype), x.shape, padding="same")
                times = [
                    median_seconds(call)
                    for call in (
                        lambda: A.apply(x),  # noqa: B023
                        lambda: A.H.apply(x),  # noqa: B023
                        lambda: A.apply(x, out=out),  # noqa: B023
                        lambda: A.H.apply(x, out=out),  # noqa: B023
                    )
                ]
                floor = max(copied, x.size * taps**2 / product)
                cells = [f"{taps}x{taps}", f"{size}^2", A.method, f"{copied * 1e3:.2f}"]
                cells += [f"{time * 1e3:.2f}" for time in times]
                cells += [f"{times[2] / copied:.1f}", f"{floor * 1e3:.2f}", f"{floor / times[2]:.2f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
