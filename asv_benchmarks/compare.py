"""Is a commit slower than another? ``python asv_benchmarks/compare.py HEAD~1 HEAD``.

A selection of benchmarks is measured by turns, each time in new processes, in the order before, after, after,
before, and so on, so that a slow minute of the machine affects both. A benchmark is slower if two estimates
agree: the median of the rounds' ratios, and the ratio of the best times. The exit status is 1 if any
benchmark takes more than the threshold times as long, or cannot be measured any more.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trees

HERE = Path(__file__).resolve().parent
# module.Class, parameters
CHOSEN: list[tuple[str, tuple[Any, ...]]] = [
    ("assembly.Assembly", (1024, 7, "conv", "numpy")),
    ("assembly.Assembly", (1024, 7, "conv_transpose", "numpy")),
    ("sparse_products.SparseProduct", (256, 7, 1, "forward", "numpy")),
    ("sparse_products.GivenMatrix", ("256 k7", 64, "float64", "transposed", "SparseOperator", "numpy")),
    ("operators.Calls", ("A @ x", "direct", "numpy")),
    ("operators.KernelSizes", (3, "direct", "forward", "numpy")),
    ("operators.KernelSizes", (15, "direct", "adjoint", "numpy")),
    ("operators.KernelSizes", (25, "fft", "forward", "numpy")),
    ("operators.Channels", ("64 to 64, 56x56", "direct", "forward", "numpy")),
    ("operators.Channels", ("64 to 64, 56x56", "gemm", "adjoint", "numpy")),
    ("operators.Channels", ("32 depthwise, 112x112", "direct", "forward", "numpy")),
    ("operators.LargePictures", (2048, 3, "forward", "numpy")),
    ("operators.GivenArrays", (3, "given", "forward", "numpy")),
    ("operators.PictureSizes", (64, 3, 1, "forward", "numpy")),
    ("operators.PictureSizes", (64, 7, 1, "adjoint", "numpy")),
    ("resizing.Resize", (1024, "cubic", "operator", "forward", "numpy")),
    ("learning.FitKernel", (8, "cholesky", "numpy")),
    ("solvers.Deblur", (128, "auto", "numpy")),
]


def name_of(question: str, parameters: Sequence[Any]) -> str:
    """Return a benchmark's name with its parameters."""
    return f"{question}({', '.join(map(str, parameters))})"


def measure() -> dict[str, float]:
    """Return the seconds of what can be measured in this process, with the package that is on the path."""
    found = {}
    for question, parameters in CHOSEN:
        module, cls = question.split(".")
        benchmark = getattr(importlib.import_module(f"benchmarks.{module}"), cls)()
        try:
            benchmark.setup(*parameters)
        except NotImplementedError:
            continue
        found[name_of(question, parameters)] = benchmark.seconds()
    return found


def measure_tree(tree: Path) -> dict[str, float]:
    """Return the seconds of a source tree, measured in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(tree), "SPARSETCONV_TREE": str(tree)}
    command = [sys.executable, __file__, "--measure"]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def order(rounds: int) -> list[tuple[int, int]]:
    """Return the order of the sides, 0 and 1, in each round: they take turns in being first."""
    return [(0, 1) if number % 2 == 0 else (1, 0) for number in range(rounds)]


def ratio(before: Sequence[float], after: Sequence[float]) -> float:
    """Return how many times as long it takes now: the lower of two estimates, since noise raises either."""
    paired = statistics.median(b / a for a, b in zip(before, after, strict=True))
    return min(paired, min(after) / min(before))


def ratios(rounds: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, float]:
    """Return the ratios of what both sides have measured in all rounds."""
    common = set.intersection(*(set(side) for pair in rounds for side in pair))
    names = [name for name in rounds[0][1] if name in common]
    return {n: ratio([before[n] for before, _ in rounds], [after[n] for _, after in rounds]) for n in names}


def lost(rounds: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> list[str]:
    """Return what could be measured before, and cannot any more."""
    return [name for name in rounds[0][0] if not all(name in after for _, after in rounds)]


def report(found: Mapping[str, float], gone: Sequence[str], threshold: float) -> tuple[str, bool]:
    """Return a table, and whether anything is slower than allowed, or gone."""
    lines = ["after / before  benchmark"]
    lines += [
        f"{value:14.2f}  {name}{'  SLOWER' if value > threshold else ''}" for name, value in found.items()
    ]
    absent = [name for name in (name_of(*one) for one in CHOSEN) if name not in found]
    lines += [f"           n/a  {name}{'  GONE' if name in gone else ': not before'}" for name in absent]
    return "\n".join(lines), bool(gone) or any(value > threshold for value in found.values())


def compare(before: str, after: str, rounds: int) -> tuple[dict[str, float], list[str]]:
    """Measure two revisions by turns; return the ratios, and what is gone."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        sides = [trees.extract(before, Path(one)), trees.extract(after, Path(other))]
        taken = []
        for number, (first, second) in enumerate(order(rounds)):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            found = {side: measure_tree(sides[side]) for side in (first, second)}
            taken.append((found[0], found[1]))
    return ratios(taken), lost(taken)


def main() -> int:
    """Compare and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?", default="HEAD~1")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threshold", type=float, default=1.25)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure()))
        return 0
    for name, value, least in (("rounds", args.rounds, 1), ("threshold", args.threshold, 1)):
        if value < least:
            parser.error(f"--{name} must be at least {least}, got {value}")
    table, slower = report(*compare(args.before, args.after, args.rounds), args.threshold)
    print(table)
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
