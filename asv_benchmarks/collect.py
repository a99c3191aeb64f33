"""Measure the commits that matter, and HEAD: ``python asv_benchmarks/collect.py``.

Past commits are measured on the small grid, HEAD on the whole one, each from a source tree of its own and
with today's benchmarks. What a commit cannot do is n/a. Run nothing else at the same time.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machines
import trees
from run_detached import HERE

# where the first four issues ended, and what lay between
HISTORY = {
    "e0b764c21aa4b77538827068597760c1af92b428": "the first operators",
    "35cffde3d8159c7d543220ef97950924f72c8375": "matrices and operators",
    "f8e6af359b7b4055ece8aeb34b32d58a96165e7e": "fast operators",
    "6dd4611479a98ff0ec92d6b18e375efd2d546a3e": "resize, `fit_kernel`, pictures",
    "f6e6661812734709dccab2b62f2318db966583be": "up-sampling and learning",
    "ae073b9c667d8f8500c43cbeffbf3be99601d34f": "the GPU",
}


def measure(revision: str, grid: str, results: Path, machine: str, *options: str) -> int:
    """Measure one commit from a tree of its own; return asv's exit status."""
    commit, date = trees.commit_of(revision)
    with tempfile.TemporaryDirectory() as folder:
        trees.extract(commit, Path(folder))
        command = [sys.executable, HERE / "run_detached.py", "--commit", commit, "--date", str(date)]
        command += ["--tree", folder, "--grid", grid, "--results", results, "--machine", machine, *options]
        return subprocess.run(command, check=False).returncode


def main() -> int:
    """Measure all; return 1 if any benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--machine", type=machines.machine_name, help="as for run_detached.py")
    parser.add_argument("--fresh", action="store_true", help="remove this machine's earlier results first")
    parser.add_argument("--no-history", action="store_true", help="HEAD alone")
    args = parser.parse_args()
    results = args.results.resolve()
    cupy, _ = machines.cupy_or_reason()
    machine = args.machine or machines.describe(None, results, cupy)["machine"]
    if args.fresh:
        shutil.rmtree(results / machine, ignore_errors=True)
    start, failed = time.perf_counter(), []
    for revision, grid in [*((r, "small") for r in HISTORY if not args.no_history), ("HEAD", "full")]:
        print(f"\n== {revision[:8]}: {HISTORY.get(revision, 'HEAD')} ({time.perf_counter() - start:.0f} s)")
        sys.stdout.flush()
        if measure(revision, grid, results, machine):
            failed.append(revision[:8])
    print(f"\n{time.perf_counter() - start:.0f} s; results are in {results / machine}")
    if failed:
        print(f"with failures at {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
