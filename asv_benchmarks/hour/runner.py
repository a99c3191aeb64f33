"""Run a part within its time: important steps first, and those without time are recorded as such."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .record import Outcome, Results
from .steps import Step
from .worker import Worker

# no step is started with less time left
LEAST_SECONDS = 5.0


def run_part(
    part: str,
    steps: Sequence[Step],
    results: Results,
    worker: Worker,
    budget: float,
    say: Callable[[str], object],
) -> None:
    """Run the steps of a part that are not finished, one after the other.

    Parameters
    ----------
    part : str
    steps : sequence of Step
        By importance.
    results : Results
        Written after each step.
    worker : Worker
    budget : float
        Seconds for all of them.
    say : callable
        Called with each line of progress.
    """
    end = time.monotonic() + budget
    for step in steps:
        if results.finished(step.name):
            say(f"{part} {step.name}: known")
            continue
        left = end - time.monotonic()
        if left < min(LEAST_SECONDS, step.seconds):
            outcome = Outcome("no time", note=f"{max(left, 0):.0f} s of {budget:.0f} s were left")
        else:
            outcome = worker.run(part, step.name, results.log, min(step.seconds, left))
        results.save(step.name, outcome)
        note = outcome.note.strip().splitlines()
        say(
            f"{part} {step.name}: {outcome.status}, {len(outcome.rows)} rows, {outcome.seconds:.1f} s"
            + (f"; {note[-1]}" if note else "")
        )
