"""Measure a card that is available for an hour, in four parts of under nine minutes each.

::

    python asv_benchmarks/gpu_hour.py --out gpu --part tests      # the suite, the laws, compute-sanitizer
    python asv_benchmarks/gpu_hour.py --out gpu --part ceilings   # copies, arithmetic, launches, libraries
    python asv_benchmarks/gpu_hour.py --out gpu --part products   # assembly, all methods, solvers, calls
    python asv_benchmarks/gpu_hour.py --out gpu --part tuning     # the stencil's launches, the cost model
    python asv_benchmarks/gpu_hour.py --out gpu --report          # all of it as Markdown

Without ``--part`` all four run. A part writes ``PART.json`` and ``PART.log`` into the folder after each of
its steps; steps that have a result for this commit, these sources and this card are not repeated. Steps run
in a separate process: one that fails or hangs is recorded, and the next one gets a new process. ``--toy``
runs everything in seconds, on an emulation of CuPy where there is no card, as a test of the program.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import trees

sys.path.insert(0, str(trees.ROOT))

from hour import PARTS, report
from hour.record import Results, package_digest
from hour.runner import run_part
from hour.worker import Worker

TABLE = trees.ROOT / "sparsetconv" / "cuda" / "tuning.json"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated; all if not given")
    parser.add_argument("--budget", type=float, default=520, help="seconds for each part")
    parser.add_argument("--again", action="store_true", help="repeat what has a result")
    parser.add_argument("--commit", help="what the tree holds, where there is no repository")
    parser.add_argument("--toy", action="store_true", help="toy sizes, to see that it runs")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, print the folder's results as Markdown"
    )
    parser.add_argument(
        "--install", action="store_true", help="write the table of the tuning over the package's own"
    )
    args = parser.parse_args(arguments)
    if args.install and args.toy:
        parser.error("--install takes measurements of a card; those of --toy mean nothing")
    args.out = args.out.resolve()
    return args


def measure(args: argparse.Namespace) -> int:
    """Run the parts; return 1 where a step failed or timed out."""
    args.out.mkdir(parents=True, exist_ok=True)
    parts = args.part or list(PARTS)
    commit = args.commit or trees.commit_of("HEAD")[0]
    worker = Worker(PARTS, args.toy)
    try:
        found = worker.identity(args.out / f"{parts[0]}.log")
        if found.status != "done":
            print(f"no card: {found.note.strip().splitlines()[-1]}; --toy runs without one", file=sys.stderr)
            return 2
        identity = {"commit": commit, "sources": package_digest()} | found.rows[0]
        for part in parts:
            results = Results(args.out, part, identity)
            if args.again:
                results.forget()
            steps = import_module(PARTS[part]).steps(args.toy)
            run_part(part, steps, results, worker, args.budget, lambda line: print(line, flush=True))
            if part == "tuning":
                results.add("table", tuned(identity, results.steps))
    finally:
        worker.close()
    print(report.summary(args.out, parts))
    statuses = [o["status"] for part in parts for o in report.latest(args.out, part)["steps"].values()]
    return int(any(status in ("failed", "timeout") for status in statuses))


def tuned(identity: dict[str, Any], outcomes: dict[str, Any]) -> str:
    """Return the text of the table that the steps of the tuning give."""
    return import_module(PARTS["tuning"]).table(identity, outcomes).text()


def install(folder: Path, path: Path = TABLE) -> None:
    """Write the table of a folder's tuning over the package's own, unless it is not that of a card."""
    run = report.latest(folder, "tuning")
    if run is None or "table" not in run or run["identity"]["toy"]:
        msg = f"--install needs the results of --part tuning on a card in {folder}"
        raise SystemExit(msg)
    path.write_text(run["table"], encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measure, install or report, as asked for."""
    args = parse(arguments)
    status = 0 if args.report else measure(args)
    if args.install:
        install(args.out)
    if args.report:
        print(report.markdown(args.out), end="")
    return status


if __name__ == "__main__":
    sys.exit(main())
