"""Measure how long a first product takes on a machine whose numba cache is empty.

Run ``python asv_benchmarks/first_call.py``. Every line is measured in a process with its own cache directory;
the first time includes numba's import and compilation, the second is that of a new process with the cache
filled.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

CODE = """
import sys, time
import numpy as np
import sparsetconv as stc
what, dtype = sys.argv[1:]
x = np.ones((400, 400), dtype)
w = np.ones((5, 5), dtype)
if what == "gradient":
    K = stc.KernelOperator(x, w.shape)
    y = np.ones(K.shape[0], dtype)
    start = time.perf_counter()
    K.H @ y
else:
    A = stc.ConvOperator(w, x.shape, method=what)
    start = time.perf_counter()
    A @ x.ravel()
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print seconds as Markdown."""
    print("| first call of | dtype | empty cache, s | filled cache, s |\n|---|---|---|---|")
    for what in ("direct", "fft", "gemm", "sparse", "gradient"):
        for dtype in ("float32", "float64"):
            with tempfile.TemporaryDirectory() as cache:
                env = {**os.environ, "NUMBA_CACHE_DIR": cache}
                command = [sys.executable, "-c", CODE, what, dtype]
                seconds = [
                    float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
                    for _ in range(2)
                ]
            print(f"| {what} | {dtype} | {seconds[0]:.2f} | {seconds[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
