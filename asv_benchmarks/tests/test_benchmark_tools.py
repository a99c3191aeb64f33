"""The tools around the benchmarks: selection, machines, comparison, pages, results. No time is asserted."""

import itertools
import json
import math
import platform
import re
import subprocess
import sys
import types

import compare
import machines
import offline
import publish
import pytest
import result_files
import run_detached
import selection
from benchmark_suite import ON_CPU, QUESTIONS, ROOT, SUITE, measurements
from benchmarks import _backend

# selection


def discovered():
    for name, cls in QUESTIONS.items():
        for measurement in measurements(cls):
            params = [[repr(value) for value in values] for values in cls.params]
            yield {"name": f"{name}.{measurement}", "params": params, "param_names": list(cls.param_names)}


@pytest.mark.parametrize("grid", selection.GRIDS)
def test_grids_name_what_exists(grid):
    for name, rules in selection.GRIDS[grid].items():
        if name != "*":
            cls = QUESTIONS[name]
            for parameter, values in rules.items():
                assert values <= set(cls.params[cls.param_names.index(parameter)]), (name, parameter)


def test_selection():
    everything = selection.patterns(discovered(), "full", _backend.BACKENDS)
    on_cpu = selection.patterns(discovered(), "full", ["numpy"])
    small = selection.patterns(discovered(), "small", ["numpy"])
    assert set(small) < set(on_cpu) < set(everything)
    assert not any("cupy" in pattern for pattern in on_cpu)
    # every question has something in the small grid
    assert {pattern.split("\\.")[1] for pattern in small} == {name.split(".")[1] for name in ON_CPU}
    one = selection.patterns(discovered(), "small", ["numpy"], r"Deblur.time_lsmr")
    assert len(one) == 1
    assert re.search(one[0], "solvers.Deblur.time_lsmr(128, 'auto', 'numpy')")


def test_grid_of_a_gpu_fits_into_nine_minutes():
    chosen = selection.patterns(discovered(), "gpu", ["cupy"])
    everything = selection.patterns(discovered(), "full", ["cupy"])
    assert set(chosen) < set(everything)
    assert selection.estimated_seconds(chosen) < 500 < selection.estimated_seconds(everything)
    # the card's memory is measured, the host's is not
    assert not any("peakmem" in pattern for pattern in chosen)
    questions = {name.split(".")[1] for name, cls in QUESTIONS.items() if "cupy" in cls.params[-1]}
    assert {pattern.split("\\.")[1] for pattern in chosen} == questions - {"ProductMemory"}


def test_estimate():
    patterns = [r"^a\.A\.time_a\(1,\ 'numpy'\)$", r"^a\.A\.time_a\(1,\ 'cupy'\)$"]
    assert selection.estimated_seconds(patterns) == sum(selection.SECONDS.values())


# machines


def fake_gpu(name):
    runtime = types.SimpleNamespace(
        getDeviceProperties=lambda _: {"name": name}, runtimeGetVersion=lambda: 12090
    )
    device = types.SimpleNamespace(id=0)
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime, Device=lambda: device))


def test_machine_names(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "cpus", lambda: 2)
    monkeypatch.setattr(machines, "cpu_model", lambda: "Intel(R) Xeon(R) 8481C CPU")
    plain = machines.describe(None, tmp_path, None)
    assert plain["machine"] == "cpu-2core"
    assert not {"gpu", "cuda"} & set(plain)
    gpu = machines.describe(None, tmp_path, fake_gpu(b"NVIDIA H200"))
    assert (gpu["machine"], gpu["gpu"], gpu["cuda"]) == ("gpu-h200", "NVIDIA H200", "12.9")
    assert platform.node() not in gpu.values()
    # the same hardware keeps its name, another one does not take it
    folder = tmp_path / "cpu-2core"
    folder.mkdir()
    (folder / "machine.json").write_text(json.dumps(plain))
    assert machines.describe(None, tmp_path, None)["machine"] == "cpu-2core"
    (folder / "machine.json").write_text(json.dumps(plain | {"cpu": "another"}))
    assert machines.describe(None, tmp_path, None)["machine"] == "cpu-2core-xeon-8481c"
    assert machines.describe("mine", tmp_path, None)["machine"] == "mine"


# comparison


def test_chosen_benchmarks_exist():
    for name, parameters in compare.CHOSEN:
        cls = QUESTIONS[name]
        assert parameters in set(itertools.product(*cls.params)), name


def test_order_alternates():
    assert compare.order(3) == [(0, 1), (1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([1, 1, 1], [2, 2, 2], 2),
        ([1, 1, 1], [1, 9, 1], 1),
        # slow minutes of the machine, which affect both
        ([1, 5, 1], [1.5, 7.5, 1.5], 1.5),
        # the best times agree: noise
        ([1, 1, 1], [1, 2, 2], 1),
    ],
    ids=["slower", "one outlier", "drift", "noise"],
)
def test_ratio(before, after, expected):
    assert compare.ratio(before, after) == expected


def test_gate():
    rounds = [({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.1, "b": 2.0})] * 2
    found = compare.ratios(rounds)
    assert found == {"a": 1.1, "b": 2.0}
    table, slower = compare.report(found, [], 1.25)
    assert slower
    assert [line for line in table.splitlines() if "SLOWER" in line] == ["          2.00  b  SLOWER"]
    assert not compare.report({"a": 1.1}, [], 1.25)[1]
    assert compare.lost(rounds) == ["c"]
    assert compare.report({"a": 1.1}, ["c"], 1.25)[1]


# pages


def test_grid_compares_like_with_like(monkeypatch):
    """One commit measured on the whole grid does not bend the small graphs."""
    graph = pytest.importorskip("asv.graph")
    everything = graph._compute_summary_data_series
    # for the test's end
    monkeypatch.setattr(graph, "_compute_summary_data_series", everything)
    small, other, whole = [1.0, 1.0, 1.0], [4.0, 4.0, 4.0], [None, None, 1000.0]
    assert everything(small, other, whole)[2] > 10
    publish.summarise_what_all_commits_have()
    assert graph._compute_summary_data_series(small, other, whole) == pytest.approx([2, 2, 2])


@pytest.mark.parametrize(("factor", "count"), [(0.5, 0), (1.0, 0), (2.0, 1)], ids=["gain", "same", "loss"])
def test_dashboard_lists_losses_and_no_gains(factor, count, tmp_path, monkeypatch):
    """Every committed cost, with asv's own detection and publishing: if halved, it is not a regression."""
    plugin = pytest.importorskip("asv.plugins.regressions")
    # the same list as a feed, which needs asv's whole configuration
    monkeypatch.setattr(plugin.Regressions, "_save_feed", lambda *_: None)
    listed = regressions(tmp_path, factor)
    watched = [name for name in published_costs() if not name.startswith("break_even.BreakEven.")]
    assert len(watched) >= 10
    assert sorted(entry[0] for entry in listed) == count * sorted(watched)


def published_costs():
    """Return, of each benchmark that tracks a cost, the newest committed value."""
    run = result_files.latest(SUITE / "results", gpu=False)
    return {
        name: next(iter(table.values()))
        for name, table in run.values.items()
        if ".track_" in name and table and name.rpartition(".")[0] in QUESTIONS
    }


def regressions(folder, factor):
    """Return the list of regressions that asv writes where all costs change by a factor after ten commits."""
    from asv.graph import GraphSet
    from asv.plugins.regressions import Regressions

    revisions = {f"{number:040x}": number for number in range(20)}
    graphs = GraphSet()
    costs = published_costs()
    for name, value in costs.items():
        graph = graphs.get_graph(name, {"machine": "cpu"})
        for number in revisions.values():
            # a little noise, as a measurement has
            graph.add_data_point(number, value * (factor if number >= 10 else 1) * (1 + 1e-4 * (number % 3)))
    graphs.detect_steps()
    repository = types.SimpleNamespace(
        get_range_spec=lambda a, b: (a, b), get_hashes_from_range=lambda spec: [spec[1]]
    )
    conf = run_detached.configuration(SUITE / "results")
    conf.html_dir = str(folder)
    benchmarks = {name: {"name": name} for name in costs}
    Regressions.publish(conf, repository, benchmarks, graphs, revisions)
    return json.loads((folder / "regressions.json").read_text())["regressions"]


def test_latest_is_a_whole_one(tmp_path):
    folder = tmp_path / "cpu-2core"
    folder.mkdir()
    (folder / "machine.json").write_text(json.dumps({"machine": "cpu-2core"}))
    for commit, date, count in (("a" * 40, 1, 10), ("b" * 40, 2, 9), ("c" * 40, 3, 2)):
        numbers = [[1.0] * count, [[str(n) for n in range(count)]]]
        content = {
            "commit_hash": commit,
            "date": date,
            "result_columns": ["result", "params"],
            "results": {"a": numbers},
        }
        (folder / f"{commit[:8]}.json").write_text(json.dumps(content))
    assert result_files.latest(tmp_path, gpu=False).commit[0] == "b"


def test_offline_page_loads_nothing_from_elsewhere():
    page = """<script src="https://code.jquery.com/jquery-3.3.1.min.js" integrity="sha256-x" crossorigin="anonymous">
        <link rel="stylesheet" href="https://cdn.example/npm/bootstrap@3.1.1/dist/css/bootstrap.min.css" crossorigin="a">
        <a href="https://example.org/">stays</a>"""
    local = offline.local_page(page)
    assert 'src="vendor/jquery-3.3.1.min.js">' in local
    assert 'href="vendor/bootstrap.min.css">' in local
    assert 'href="https://example.org/"' in local
    with pytest.raises(SystemExit, match=r"in a way that is not known here: <script defer"):
        offline.local_page('<script defer src="https://code.jquery.com/jquery-3.3.1.min.js"></script>')
    with pytest.raises(SystemExit, match=r"no package here has: https://cdn\.example/new\.js"):
        offline.local_page('<script src="https://cdn.example/new.js"></script>')


# results


def test_result_files(tmp_path):
    folder = tmp_path / "cpu-2core"
    folder.mkdir()
    (folder / "machine.json").write_text(json.dumps({"machine": "cpu-2core"}))
    for commit, date, numbers in (("b" * 40, 2, [1.0, math.nan]), ("a" * 40, 1, None)):
        content = {
            "commit_hash": commit,
            "date": date,
            "result_columns": ["result", "params"],
            "results": {"a.A.time_a": [numbers, [["1"], ["'numpy'", "'cupy'"]]]},
        }
        (folder / f"{commit[:8]}.json").write_text(json.dumps(content))
    first, second = result_files.runs(tmp_path)
    assert (first.commit[0], second.commit[0]) == ("a", "b")
    assert first.table("a.A.time_a") == first.table("unknown") == {}
    assert second.table("a.A.time_a") == {(1, "numpy"): 1.0}
    assert result_files.latest(tmp_path, gpu=False) == second
    assert result_files.latest(tmp_path, gpu=True) is None


def test_committed_results_are_of_this_suite_and_name_no_place():
    found = list(result_files.runs(SUITE / "results"))
    assert found
    for run in found:
        known = [name for name in run.values if name.rpartition(".")[0] in QUESTIONS]
        assert known
        assert "machine" in run.machine
    for path in (SUITE / "results").rglob("*.json"):
        text = path.read_text()
        assert not re.search(r'"(/|[A-Z]:)|/(home|root|tmp|usr|work|venv)\b', text), path


def test_page_is_what_the_results_say(tmp_path):
    pytest.importorskip("matplotlib")
    page = ROOT / "docs" / "benchmarks.md"
    copy = tmp_path / "page.md"
    # without numbers, so that they have to be written again
    copy.write_text(re.sub(r"(?s)(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", r"\1\3", page.read_text()))
    script = ROOT / "docs" / "scripts" / "benchmark_figures.py"
    subprocess.run([sys.executable, script, "--page", copy, "--images", tmp_path], check=True)
    assert copy.read_text() == page.read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == {
        name
        for name in re.findall(r"images/([\w-]+\.png)", page.read_text())
        if name.startswith("benchmarks-")
    }


def test_arguments(capsys):
    with pytest.raises(SystemExit):
        run_detached.parse(["--commit", "a" * 40])
    assert "--commit needs --date" in capsys.readouterr().err
    for wrong, words in ((["--machine", ".."], "small letters"), (["--bench", "("], "regular expression")):
        with pytest.raises(SystemExit):
            run_detached.parse(wrong)
        assert words in capsys.readouterr().err
    args = run_detached.parse(["--commit", "a" * 40, "--date", "5", "--quick"])
    assert (args.date, args.results.name, args.tree) == (5, "quick", ROOT)


def test_detached_run_writes_what_asv_reads(tmp_path):
    pytest.importorskip("asv")
    command = [
        sys.executable,
        SUITE / "run_detached.py",
        "--quick",
        "--commit",
        "a" * 40,
        "--date",
        "1700000000",
    ]
    command += ["--results", tmp_path, "--machine", "cpu-test", "--bench", "Deblur.track|own CSR"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert re.search(r"^2 measurements of .* as aaaaaaaa$", done.stderr, re.MULTILINE)
    path = tmp_path / "cpu-test" / f"aaaaaaaa-existing-py{sys.version_info[0]}.{sys.version_info[1]}.json"
    text = path.read_text()
    for place in (sys.prefix, str(tmp_path), str(ROOT), platform.node()):
        assert place not in text
    (run,) = result_files.runs(tmp_path)
    assert (run.commit, run.date) == ("a" * 40, 1700000000000)
    assert run.table("solvers.Deblur.track_iterations")[128, "auto", "numpy"] > 1
    # what exceeds the budget is n/a
    late = subprocess.run(
        [*command, "--budget", "0"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert late.stderr.count("n/a: the budget of 0 s is spent") == 2
    (run,) = result_files.runs(tmp_path)
    assert not run.table("solvers.Deblur.track_iterations")
    nothing = subprocess.run([*command, "--bench", "none such"], capture_output=True, text=True, check=False)
    assert nothing.returncode == 1
    assert "--bench must match a benchmark of the small grid, got 'none such'" in nothing.stderr
