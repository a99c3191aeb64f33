"""Other programs that a step runs; all that they print goes to the part's log, line by line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from trees import ROOT

from .steps import Row, Unavailable

PATHS = [str(ROOT), str(ROOT / "asv_benchmarks")]
# pytest's exit status where it was stopped
INTERRUPTED = 2


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Return the exit status and what a program printed. The step's runner stops it when its time is over."""
    paths = os.pathsep.join([*PATHS, *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"} | dict(environment or {})
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def path_of(program: str) -> str:
    """Return the path of a program, or raise if there is none."""
    found = shutil.which(program)
    if found is None:
        msg = f"{program} is not on the PATH"
        raise Unavailable(msg)
    return found


def pytest_rows(arguments: Sequence[str], report: Path, seconds: float) -> list[Row]:
    """Run tests for some seconds; return one row of counts, and one for each test that failed."""
    plugins = ["-p", "no:cacheprovider", "-p", "hour.deadline"]
    command = [sys.executable, "-m", "pytest", *plugins, *arguments, f"--junitxml={report}"]
    status, text = output_of(command, {"GPU_HOUR_SECONDS": str(seconds)})
    if not report.exists():
        msg = f"pytest ended with {status} and wrote no report:\n{text[-2000:]}"
        raise RuntimeError(msg)
    counts, *failures = junit_rows(report.read_text(encoding="utf-8"))
    return [counts | {"status": status, "stopped": status == INTERRUPTED}, *failures]


def junit_rows(text: str) -> list[Row]:
    """Return the counts of a report of pytest, and a row for each test that failed."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failures, reasons = [], set()
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        problem = next((child for child in case if child.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        if problem is not None:
            counts["failed"] += 1
            name = f"{case.get('classname')}.{case.get('name')}"
            failures.append({"test": name, "message": (problem.get("message") or "")[:500]})
        elif skipped is not None:
            counts["skipped"] += 1
            reasons.add((skipped.get("message") or "")[:200])
        else:
            counts["passed"] += 1
    return [counts | {"skip reasons": sorted(reasons)}, *failures]
