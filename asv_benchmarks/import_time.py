"""What ``import sparsetconv`` costs over ``import scipy.sparse.linalg``.

Run ``python asv_benchmarks/import_time.py`` with the package installed: medians over fresh
interpreters, alternating. Without compiled bytecode (``PYTHONDONTWRITEBYTECODE`` in a source tree) it
measures Python's compiler instead.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    """Import in a fresh interpreter."""
    code = TIMED.format(module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print both medians and their difference."""
    pairs = [(seconds("scipy.sparse.linalg"), seconds("sparsetconv")) for _ in range(15)]
    scipy, ours = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    print(f"scipy.sparse.linalg {scipy:.0f} ms, sparsetconv {ours:.0f} ms, difference {ours - scipy:.0f} ms")


if __name__ == "__main__":
    main()
