"""Part ``tests``: the suite on the card, the laws in all combinations, compute-sanitizer on each kernel."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import programs
from .smallest import FINISHED
from .steps import Rows, Step, Unavailable

if TYPE_CHECKING:
    from .lab import Lab

SMALLEST = Path(__file__).resolve().with_name("smallest.py")
FOLDER = "tests/gpu"
BENCHMARKS = "asv_benchmarks/tests/test_gpu_benchmarks.py"
LAWS = f"{FOLDER}/test_gpu_laws.py"
# that pytest has for the running test and for its report
REPORT_SECONDS = 15.0
# the summaries at the end of a run: the first of memcheck and synccheck, the second of racecheck
SUMMARIES = (r"ERROR SUMMARY: (\d+) errors?", r"RACECHECK SUMMARY: (\d+) hazards?")


def steps(toy: bool) -> list[Step]:
    """Return the part's steps, by importance."""
    # a toy run cannot expect a card: it runs a few emulated tests, with a card too
    toys = ["-q", "-k", "emulated", f"{FOLDER}/test_gpu_matrices.py::test_formats"]
    suite = toys if toy else ["-q", "-m", "gpu", "--durations=10", FOLDER, BENCHMARKS]
    laws = (
        ["-q", "-k", "emulated", f"{LAWS}::test_torchs_layout_serves_both_directions"]
        if toy
        else ["-q", "-m", "gpu", "--all", LAWS]
    )
    return [
        Step("suite", tested, 200, {"arguments": suite}),
        # compiles the kernels, which the sanitizers then find in CuPy's cache
        Step("smallest kernels", smallest, 80),
        Step("memcheck", sanitized, 80, {"tool": "memcheck"}),
        Step("racecheck", sanitized, 80, {"tool": "racecheck"}),
        Step("laws, all combinations", tested, 240, {"arguments": laws}),
        Step("synccheck", sanitized, 60, {"tool": "synccheck"}),
    ]


def tested(lab: Lab, arguments: list[str]) -> Rows:
    """Run tests; a row of counts, then one for each failure."""
    with tempfile.TemporaryDirectory() as folder:
        rows = programs.pytest_rows(
            arguments, Path(folder) / "report.xml", lab.seconds_left() - REPORT_SECONDS
        )
    yield from rows
    if rows[0]["stopped"] and not rows[0]["failed"]:
        msg = f"{rows[0]['passed']} tests passed and none failed, then the time was over"
        raise TimeoutError(msg)
    if rows[0]["failed"] or rows[0]["status"] != 0:
        msg = f"{rows[0]['failed']} tests failed, pytest ended with {rows[0]['status']}"
        raise AssertionError(msg)


def smallest(lab: Lab) -> Rows:
    """Launch each kernel at its smallest size, and compare the results with the CPU's."""
    status, text = programs.output_of([sys.executable, str(SMALLEST)] + ["--toy"] * lab.toy)
    lines = text.strip().splitlines()
    yield {"status": status, "kernels": len(lines) - 1, "finished": FINISHED in text}
    if status != 0 or FINISHED not in text:
        msg = f"exit status {status}: {lines[-1] if lines else 'it printed nothing'}"
        raise AssertionError(msg)


def sanitized(lab: Lab, tool: str) -> Rows:
    """Launch each kernel at its smallest size under a tool of compute-sanitizer."""
    if lab.emulated:
        msg = "compute-sanitizer watches a card, and there is none"
        raise Unavailable(msg)
    program = programs.path_of("compute-sanitizer")
    # a failed call raises in CuPy; some calls that fail are only queries of the driver
    options = ["--report-api-errors", "no"] if tool == "memcheck" else []
    command = [program, "--tool", tool, *options, "--error-exitcode", "9", sys.executable, str(SMALLEST)]
    status, text = programs.output_of(command + ["--toy"] * lab.toy)
    row = {"tool": tool, "status": status, "errors": errors_in(text), "finished": FINISHED in text}
    yield row
    if status != 0 or row["errors"] != 0 or not row["finished"]:
        msg = f"{tool}: {row['errors']} errors, exit status {status}, finished: {row['finished']}"
        raise AssertionError(msg)


def errors_in(text: str) -> int | None:
    """Return the errors that compute-sanitizer counts, or None where it says nothing."""
    found = [match for pattern in SUMMARIES for match in re.findall(pattern, text)]
    return int(found[-1]) if found else None
