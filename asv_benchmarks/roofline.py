"""Compare products with the machine's limits: 1024x1024, one channel, each kernel size.

Run ``python asv_benchmarks/roofline.py``. The limits are measured in the same run: a copy of the image, and
the multiplications per second of a matrix product, both in as many threads as we use. The stencil's floor is
the larger of that copy and of all multiplications at that speed. Transforms multiply less: where ``auto``
takes them the share of the stencil's floor can exceed 1.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import sparsetconv as stc
from sparsetconv._arrays.threads import for_each, thread_count

SHAPE = (1024, 1024)


def median_seconds(function, repetitions=15) -> float:
    """Return the median time of a call, after one that prepares."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    workers = thread_count()
    for dtype in ("float32", "float64"):
        x = rng.random(SHAPE).astype(dtype)
        out = np.empty_like(x)
        parts = np.array_split(np.arange(SHAPE[0]), workers)
        rows = [slice(part[0], part[-1] + 1) for part in parts]

        def copy(part, out=out, x=x):
            out[part] = x[part]

        together = median_seconds(lambda: for_each(copy, rows, workers))  # noqa: B023
        alone = median_seconds(lambda: np.copyto(out, x))  # noqa: B023
        a = rng.random((1536, 1536)).astype(dtype)
        product = 1536**3 / median_seconds(lambda: a @ a, 7)  # noqa: B023
        print(
            f"\n{dtype}: a copy of the image takes {alone * 1e3:.2f} ms on one, {together * 1e3:.2f} ms "
            f"on {workers}; a matrix product does {product / 1e9:.0f}e9 multiplications a second\n"
        )
        print("| kernel | method | forward, ms | adjoint, ms | times the copy | floor, ms | share |")
        print("|---|---|---|---|---|---|---|")
        for taps in (3, 5, 7, 9, 15, 31, 65):
            kernel = rng.standard_normal((taps, taps)).astype(dtype)
            A = stc.ConvOperator(kernel, SHAPE, padding="same")
            flat = x.ravel()
            forward = median_seconds(lambda: A.matvec(flat))  # noqa: B023
            adjoint = median_seconds(lambda: A.rmatvec(flat))  # noqa: B023
            floor = max(together, x.size * taps**2 / product)
            cells = [f"{taps}x{taps}", A.method, f"{forward * 1e3:.2f}", f"{adjoint * 1e3:.2f}"]
            cells += [f"{forward / alone:.1f}", f"{floor * 1e3:.2f}", f"{floor / forward:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
