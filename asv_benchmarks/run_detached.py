"""Run the suite with this Python on a source tree, and write asv's result files with the commit given.

In a clone::

    python asv_benchmarks/run_detached.py            # HEAD, whole grid, into asv_benchmarks/results
    python asv_benchmarks/run_detached.py --quick    # small grid, one call each, into asv_benchmarks/quick
    python asv_benchmarks/run_detached.py --grid gpu --backend cupy --budget 500    # a card, in nine minutes

On a machine that has only a source tree, neither git nor network, with what ``git log -1 --format='%H %ct'``
printed where the repository is::

    python asv_benchmarks/run_detached.py --commit HASH --date SECONDS

asv itself needs a repository, and names the environment after the interpreter's path; here it is given a
commit and a fixed name. With a GPU that CuPy can use, the machine file has the fields ``gpu`` and ``cuda``.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machines
import selection
import trees

HERE = Path(__file__).resolve().parent


def fixed_repository(commit: str, date: int) -> Any:
    """Return an object that asv accepts as a repository, with one commit."""
    import asv.repo

    class OneCommit(asv.repo.NoRepository):
        def get_hash_from_name(self, name):  # noqa: ARG002
            return commit

        def get_date(self, hash):  # noqa: ARG002
            return date * 1000

        def get_decorated_hash(self, commit_hash, length=8):
            return commit_hash[:length]

    return OneCommit()


def configuration(results: Path) -> Any:
    """Return asv's configuration, its folders absolute."""
    from asv.config import Config

    conf = Config.load(str(HERE / "asv.conf.json"))
    for name in ("benchmark_dir", "env_dir", "html_dir"):
        setattr(conf, name, str(HERE / getattr(conf, name)))
    conf.results_dir = str(results)
    # discovery asks for the tips of branches, which need a repository
    conf.branches = [None]
    return conf


def name_environment() -> None:
    """Name asv's environment, and Python, after the version and not after the interpreter's path."""
    from asv.environment import ExistingEnvironment

    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    ExistingEnvironment.python = property(lambda self: version)  # noqa: ARG005
    ExistingEnvironment.name = property(lambda self: f"existing-py{version}")  # noqa: ARG005


def stop_after(seconds: float) -> None:
    """Make asv record as n/a, with the reason, whatever it would measure after these seconds.

    asv writes its results at the end: a run that is stopped before has none.
    """
    import asv.runner

    end = time.monotonic() + seconds
    measure = asv.runner._run_benchmark_single_param

    def measure_in_time(benchmark, spawner, param_idx, **options):
        if time.monotonic() < end:
            return measure(benchmark, spawner, param_idx, **options)
        reason = f"n/a: the budget of {seconds:.0f} s is spent"
        return asv.runner.BenchmarkResult([math.nan], [None], [None], 0, reason, None)

    asv.runner._run_benchmark_single_param = measure_in_time


def run(args: argparse.Namespace) -> int:
    """Discover, select and run; return asv's exit status."""
    import asv.commands.run as asv_run
    from asv.benchmarks import Benchmarks
    from asv.console import log
    from asv.environment import get_environments
    from asv.machine import MachineCollection

    cupy, reason = machines.cupy_or_reason()
    if cupy is None:
        print(f"cupy: n/a, {reason}", file=sys.stderr)
    backends = args.backend or (["numpy"] if cupy is None else ["numpy", "cupy"])
    repository = fixed_repository(args.commit, args.date)
    asv_run.get_repo = lambda conf: repository  # noqa: ARG005
    name_environment()
    if not args.quick:
        log.enable()
    # asv replaces PYTHONPATH with this
    os.environ["ASV_PYTHONPATH"] = os.environ["SPARSETCONV_TREE"] = str(args.tree)
    conf = configuration(args.results)
    environments = list(get_environments(conf, ["existing:same"]))
    discovered = Benchmarks.discover(conf, repository, environments, [args.commit])
    grid = "small" if args.quick else args.grid
    chosen = selection.patterns(discovered.values(), grid, backends, args.bench)
    if not chosen:
        print(f"--bench must match a benchmark of the {grid} grid, got {args.bench!r}", file=sys.stderr)
        return 1
    print(f"{len(chosen)} measurements of {args.tree} as {args.commit[:8]}", file=sys.stderr)
    print(f"estimated: {selection.estimated_seconds(chosen) / 60:.0f} minutes", file=sys.stderr)
    if args.budget is not None:
        stop_after(args.budget)
    machine = machines.describe(args.machine, args.results, cupy)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "machine.json")
        MachineCollection.save(machine["machine"], machine, path)
        status = asv_run.Run.run(
            conf=conf,
            bench=chosen,
            env_spec=["existing:same"],
            set_commit_hash=args.commit,
            machine=machine["machine"],
            _machine_file=path,
            quick=args.quick,
            # the reasons for n/a are in the benchmarks' output
            show_stderr=True,
            pull=False,
        )
    return status or 0


def expression(text: str) -> str:
    """Check and return a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        msg = f"must be a regular expression, got {text!r}: {error}"
        raise argparse.ArgumentTypeError(msg) from None
    return text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments, completed with what git knows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", help="full hash of what the tree holds; HEAD's if not given")
    parser.add_argument("--date", type=int, help="the commit's date, in seconds since 1970")
    parser.add_argument("--tree", type=Path, default=trees.ROOT, help="folder that has sparsetconv in it")
    parser.add_argument(
        "--machine", type=machines.machine_name, help="name in the results, such as cpu-2core or gpu-h200"
    )
    parser.add_argument("--grid", choices=["full", *selection.GRIDS], default="full")
    parser.add_argument("--budget", type=float, help="seconds after which no measurement is started")
    parser.add_argument("--quick", action="store_true", help="small grid, one call each: does it all run?")
    parser.add_argument(
        "--bench", type=expression, default="", help="only what this regular expression finds"
    )
    parser.add_argument("--backend", action="append", choices=["numpy", "cupy"], help="may be repeated")
    parser.add_argument("--results", type=Path, help="folder; asv_benchmarks/results if not given")
    args = parser.parse_args(arguments)
    args.tree = args.tree.resolve()
    args.results = (args.results or HERE / ("quick" if args.quick else "results")).resolve()
    if args.commit is None:
        if not args.quick and (changed := trees.changed()):
            parser.error(
                f"results belong to a commit, but the package has changes that are in none:\n{changed}"
            )
        args.commit, args.date = trees.commit_of("HEAD")
    elif args.date is None:
        parser.error("--commit needs --date, as git log -1 --format=%ct gives it")
    return args


if __name__ == "__main__":
    sys.exit(run(parse()))
