"""The process in which steps run.

A CUDA error persists in a process, and a kernel may hang: then the process is ended, and the next step gets
another. As long as nothing fails, one process runs all steps, since it takes seconds to start.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from .record import Outcome
from .steps import Step, Unavailable


class Worker:
    """Runs steps one after the other in a process, which is replaced when one fails.

    Parameters
    ----------
    modules : mapping
        From a part's name to the module that has its ``steps``.
    toy : bool
        Whether sizes are toys'.
    """

    def __init__(self, modules: dict[str, str], toy: bool) -> None:
        self._modules, self._toy = modules, toy
        self._process: Any = None
        self._pipe: Any = None

    def identity(self, log: Path, seconds: float = 120) -> Outcome:
        """Return one row, which identifies the card."""
        return self._ask("identity", "", "", log, seconds)

    def run(self, part: str, name: str, log: Path, seconds: float) -> Outcome:
        """Run a step of a part within a time limit."""
        return self._ask("step", part, name, log, seconds)

    def close(self) -> None:
        """End the process and the programs that it has started."""
        if self._process is None:
            return
        # its group: a step may run programs
        for ended in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, ended)
            except ProcessLookupError:
                break
            self._process.join(5)
        # a process that the driver holds would never join
        self._pipe.close()
        self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._modules, self._toy))
        self._process.start()
        theirs.close()
        # it sends a message once it leads a group of its own
        self._pipe.recv()

    def _ask(self, what: str, part: str, name: str, log: Path, seconds: float) -> Outcome:
        if self._process is None:
            try:
                self._start()
            except EOFError:
                self.close()
                return Outcome("failed", note="the process for steps did not start")
        begin = time.monotonic()
        outcome = Outcome("done")
        self._pipe.send((what, part, name, str(log), seconds))
        while True:
            if not self._pipe.poll(max(0.0, begin + seconds - time.monotonic())):
                outcome.status, outcome.note = "timeout", f"ended after {seconds:.0f} s"
                break
            try:
                kind, value = self._pipe.recv()
            except (EOFError, ConnectionResetError):
                self._process.join()
                outcome.status = "failed"
                outcome.note = f"the process ended with {self._process.exitcode}; the log has its last words"
                break
            if kind != "row":
                outcome.status, outcome.note = kind, value
                break
            outcome.rows.append(value)
        outcome.seconds = round(time.monotonic() - begin, 2)
        if outcome.status not in ("done", "n/a"):
            self.close()
        return outcome


def serve(pipe: Any, modules: dict[str, str], toy: bool) -> None:
    """Answer what a `Worker` asks, in its process."""
    from .lab import Lab

    os.setpgid(0, 0)
    pipe.send("ready")
    lab = Lab(toy)
    while True:
        try:
            what, part, name, log, seconds = pipe.recv()
        except EOFError:
            return
        lab.deadline = time.monotonic() + seconds
        _write_to(log)
        print(f"== {part} {name}", flush=True)
        try:
            for row in [lab.identity()] if what == "identity" else step_of(modules[part], name, toy).run(lab):
                pipe.send(("row", row))
            lab.clear()
            pipe.send(("done", ""))
        except Unavailable as error:
            lab.clear()
            pipe.send(("n/a", str(error)))
        except TimeoutError as error:
            pipe.send(("timeout", str(error)))
        except BaseException:
            traceback.print_exc()
            pipe.send(("failed", traceback.format_exc()))


def step_of(module: str, name: str, toy: bool) -> Step:
    """Return a step of a part by its name."""
    return next(step for step in import_module(module).steps(toy) if step.name == name)


def _write_to(log: str) -> None:
    """Redirect all output of this process and of the programs that it starts to a file."""
    with Path(log).open("a") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
