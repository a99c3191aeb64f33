"""Files of results: one for each part, written anew after each step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trees import ROOT

# ended by itself: "n/a" where the machine lacks something, which another run would find as it was
FINISHED = ("done", "n/a")


@dataclass
class Outcome:
    """What came of a step.

    Attributes
    ----------
    status : str
        ``"done"``, ``"n/a"``, ``"failed"``, ``"timeout"`` or ``"no time"``.
    seconds : float
    note : str
        The reason, or the traceback.
    rows : list of dict
        What was measured, also before a failure.
    """

    status: str
    seconds: float = 0.0
    note: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)


def package_digest(package: Path = ROOT / "sparsetconv") -> str:
    """Return a short digest of the package's sources and tables, by which a changed tree is told apart."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".cu", ".cuh", ".json"):
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Results:
    """The file of a part: all runs in it, of which one is the present.

    Parameters
    ----------
    folder : Path
    part : str
    identity : mapping
        What a run is told apart by: commit, sources, card. A run of the same goes on where it ended.
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
        """Let all steps be repeated."""
        self._run["steps"] = {}

    def finished(self, name: str) -> bool:
        """Return whether a step needs no repetition."""
        return self.steps.get(name, {}).get("status") in FINISHED

    def save(self, name: str, outcome: Outcome) -> None:
        """Keep an outcome. One that brought nothing, for want of time, does not replace one that did."""
        if outcome.status != "no time" or name not in self.steps:
            self.steps[name] = asdict(outcome)
        self._write()

    def add(self, name: str, value: Any) -> None:
        """Keep what follows from all steps together."""
        self._run[name] = value
        self._write()

    def _write(self) -> None:
        # the present run is the last, which is the one that readers take
        self._runs = [run for run in self._runs if run is not self._run] + [self._run]
        text = json.dumps({"runs": self._runs}, indent=1) + "\n"
        # whole or not at all: the program may be ended at any time
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Return the runs that a file holds, the latest last."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
