"""Files of results: one for each part, rewritten after each step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trees import ROOT

# not to be repeated; "n/a" where the machine lacks something, which another run would not change
FINISHED = ("done", "n/a")


@dataclass
class Outcome:
    """The outcome of a step.

    Attributes
    ----------
    status : str
        ``"done"``, ``"n/a"``, ``"failed"``, ``"timeout"`` or ``"no time"``.
    seconds : float
    note : str
        The reason, or the traceback.
    rows : list of dict
        What was measured, even if the step failed later.
    """

    status: str
    seconds: float = 0.0
    note: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)


def package_digest(package: Path = ROOT / "sparsetconv") -> str:
    """Return a short digest of the package's sources and tables, which identifies a tree."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".cu", ".cuh", ".json"):
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Results:
    """The file of a part, with all of its runs, one of which is the present run.

    Parameters
    ----------
    folder : Path
    part : str
    identity : mapping
        What identifies a run: commit, sources, card. A run with the same identity continues where it ended.
    """

    def __init__(self, folder: Path, part: str, identity: Mapping[str, Any]) -> None:
        self.path = folder / f"{part}.json"
        self.log = folder / f"{part}.log"
        self._runs = read_runs(self.path)
        same = [run for run in self._runs if run["identity"] == identity]
        if not same:
            same = [{"identity": dict(identity), "steps": {}}]
            self._runs += same
        self._run = same[0]

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """The outcomes so far, by step."""
        return self._run["steps"]

    def forget(self) -> None:
        """Make all steps run again."""
        self._run["steps"] = {}

    def finished(self, name: str) -> bool:
        """Return whether a step needs no repetition."""
        return self.steps.get(name, {}).get("status") in FINISHED

    def save(self, name: str, outcome: Outcome) -> None:
        """Keep an outcome. One for which there was no time does not replace an earlier one."""
        if outcome.status != "no time" or name not in self.steps:
            self.steps[name] = asdict(outcome)
        self._write()

    def add(self, name: str, value: Any) -> None:
        """Keep a value that follows from all steps."""
        self._run[name] = value
        self._write()

    def _write(self) -> None:
        # the present run is the last one, which readers take
        self._runs = [run for run in self._runs if run is not self._run] + [self._run]
        text = json.dumps({"runs": self._runs}, indent=1) + "\n"
        # whole or not at all: the program may be stopped at any time
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Return the runs in a file, the latest last."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
