"""Read asv's result files: plain JSON, no asv needed."""

from __future__ import annotations

import ast
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Parameters = tuple[Any, ...]


@dataclass(frozen=True)
class Run:
    """What one machine measured for one commit."""

    machine: dict[str, str]
    commit: str
    date: int
    values: dict[str, dict[Parameters, float]]
    # combinations without a value are not in the tables; benchmarks that were not run have none

    def table(self, benchmark: str) -> dict[Parameters, float]:
        """Return a benchmark's values by parameters, without those that are n/a."""
        return self.values.get(benchmark, {})

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(map(len, self.values.values()))

    @property
    def has_gpu(self) -> bool:
        """Whether the machine file has a GPU."""
        return "gpu" in self.machine


def read(path: Path, machine: dict[str, str]) -> Run:
    """Read one result file."""
    content = json.loads(path.read_text())
    column = {name: number for number, name in enumerate(content["result_columns"])}
    values = {}
    for benchmark, row in content["results"].items():
        numbers = row[column["result"]] or []
        lists = row[column["params"]]
        names = itertools.product(*([ast.literal_eval(one) for one in some] for some in lists))
        pairs = zip(names, numbers, strict=False)
        values[benchmark] = {name: x for name, x in pairs if x is not None and not math.isnan(x)}
    return Run(machine, content["commit_hash"], content["date"], values)


def runs(results: Path) -> Iterator[Run]:
    """Yield all runs in a folder of results, machine by machine, the oldest commits first."""
    for folder in sorted(path.parent for path in results.glob("*/machine.json")):
        machine = json.loads((folder / "machine.json").read_text())
        files = [path for path in folder.glob("*.json") if path.name != "machine.json"]
        yield from sorted((read(path, machine) for path in files), key=lambda run: run.date)


def latest(results: Path, gpu: bool) -> Run | None:
    """Return the newest run of the whole grid on a machine with a GPU, or on one without.

    Runs of a part of it, or of the small grid, have far fewer values than the largest run.
    """
    found = [run for run in runs(results) if run.has_gpu == gpu]
    most = max((run.count for run in found), default=0)
    return max((run for run in found if run.count > 0.8 * most), key=lambda run: run.date, default=None)
