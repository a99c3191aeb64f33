"""Compare products of `SparseOperator` with SciPy's, and with the machine's limits.

Run ``python asv_benchmarks/sparse_products.py``. Of each matrix both directions, one vector and 64; SciPy's
transpose is made explicit before. The limit is the larger of two times, measured in the same run: all bytes
of the matrix and of the vectors, read or written once, at the bandwidth of a copy that exceeds the caches,
and all multiplications at the speed of a matrix product, both in as many threads as we use.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import scipy.sparse as sp

import sparsetconv as stc
from sparsetconv._arrays.threads import for_each, thread_count

# bytes of the copy, and rows of the matrix product, by which the limits are measured
COPY, ROWS = 1 << 27, 1536


def medians(calls, repetitions: int) -> dict[str, float]:
    """Return the median seconds of each call; they alternate."""
    times = {name: [] for name in calls}
    for number in range(repetitions + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(own) for name, own in times.items()}


def bandwidth() -> float:
    """Return the bytes per second of a copy, read and written."""
    source, target = np.ones(COPY, np.uint8), np.empty(COPY, np.uint8)
    parts = np.array_split(np.arange(0, COPY, 1 << 20), thread_count())

    def copy(part):
        target[part[0] : part[-1] + (1 << 20)] = source[part[0] : part[-1] + (1 << 20)]

    return 2 * COPY / medians({"": lambda: for_each(copy, parts, len(parts))}, 5)[""]


def matrices():
    """Return names and matrices."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, 100_000, (100_000, 20)), 1)
    entries = np.ones(columns.size), columns.reshape(-1), np.arange(0, columns.size + 1, 20)
    return {
        "3x3 on 512^2": stc.conv_matrix(np.ones((3, 3)), (512, 512), padding=1),
        "7x7 on 256^2": stc.conv_matrix(np.ones((7, 7)), (256, 256), padding=3),
        "16 to 16 channels, 3x3 on 64^2": stc.conv_matrix(np.ones((16, 16, 3, 3)), (16, 64, 64), padding=1),
        "random, 20 of 100,000": sp.csr_array(entries, (100_000, 100_000)),
    }


def main() -> None:
    """Measure and print."""
    rng, rate = np.random.default_rng(0), bandwidth()
    print(f"\na copy moves {rate / 1e9:.0f} GB a second\n")
    print(
        "| matrix | dtype | vectors | SciPy, ms | ours, ms | SciPy, transpose | ours | SciPy / ours | share |"
    )
    print("|---" * 9 + "|")
    for name, matrix in matrices().items():
        for dtype in ("float32", "float64"):
            a = rng.random((ROWS, ROWS)).astype(dtype)
            multiplied = ROWS**3 / medians({"": lambda: a @ a}, 5)[""]  # noqa: B023
            M = matrix.astype(dtype).tocsr()
            S, T = stc.SparseOperator(M), M.T.tocsr()
            for count in (1, 64):
                x, y = (rng.random((size, count)).astype(dtype) for size in M.shape[::-1])
                if count == 1:
                    x, y = x[:, 0], y[:, 0]
                calls = {
                    "scipy": lambda: M @ x,  # noqa: B023
                    "ours": lambda: S @ x,  # noqa: B023
                    "scipy.T": lambda: T @ y,  # noqa: B023
                    "ours.T": lambda: S.T @ y,  # noqa: B023
                }
                times = medians(calls, 7 if count > 1 else 15)
                nbytes = sum(array.nbytes for array in (M.data, M.indices, M.indptr, x, y))
                floor = max(nbytes / rate, M.nnz * count / multiplied)
                gains = times["scipy"] / times["ours"], times["scipy.T"] / times["ours.T"]
                cells = [name, dtype, f"{count}", *(f"{each * 1e3:.2f}" for each in times.values())]
                cells += [f"{gains[0]:.1f}, {gains[1]:.1f}", f"{floor / times['ours']:.2f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
