"""The benchmark suite runs, skips what it cannot do with a reason, and its tools are right. No time is asserted."""

import itertools
import json
import math
import platform
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from benchmark_suite import QUESTIONS, ROOT, SUITE, forget, measurements, smallest

import sparsetconv as stc

# isort: split
import compare
import machines
import offline
import publish
import result_files
import run_detached
import selection
from benchmarks import _backend, _problems, _roofline
from benchmarks.break_even import break_even

ON_CPU = {name: cls for name, cls in QUESTIONS.items() if "numpy" in cls.params[-1]}


@pytest.fixture(autouse=True)
def _forget():
    yield
    forget()


@pytest.mark.parametrize("name", QUESTIONS)
def test_grid(name):
    cls = QUESTIONS[name]
    assert len(cls.params) == len(cls.param_names) == len(set(cls.param_names))
    assert cls.param_names[-1] == "backend"
    assert set(cls.params[-1]) <= set(_backend.BACKENDS)
    assert cls.__doc__
    assert cls.version
    for measurement in measurements(cls):
        if measurement.startswith("track_"):
            assert getattr(cls, measurement).unit


@pytest.mark.parametrize(
    ("name", "measurement"), [(n, m) for n, cls in ON_CPU.items() for m in measurements(cls)]
)
def test_measurement_runs(name, measurement):
    cls = ON_CPU[name]
    benchmark = cls()
    parameters = (*smallest(cls), "numpy")
    benchmark.setup(*parameters)
    call = benchmark.call
    # asv sets up again before each sample
    benchmark.setup(*parameters)
    assert benchmark.call is call
    value = getattr(benchmark, measurement)(*parameters)
    if measurement.startswith("track_"):
        # where the matrix saves nothing there is no break-even
        assert value > 0 or name == "break_even.BreakEven"
    else:
        assert value is None


def fake_cupy(available):
    return types.SimpleNamespace(is_available=lambda: available)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(None, "CuPy cannot be imported"), (fake_cupy(False), "CuPy finds no GPU")],
    ids=["no CuPy", "no GPU"],
)
@pytest.mark.parametrize("name", QUESTIONS)
def test_no_gpu_is_skipped_with_a_reason(name, module, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", module)
    cls = QUESTIONS[name]
    with pytest.raises(NotImplementedError, match=reason):
        cls().setup(*smallest(cls), "cupy")
    assert machines.cupy_or_reason()[0] is None


def test_version_without_gpu_functions_is_skipped(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(True))
    monkeypatch.delattr(stc, "to_device", raising=False)
    with pytest.raises(NotImplementedError, match=r"no sparsetconv\.to_device"):
        _backend.get("cupy")


@pytest.mark.parametrize(
    ("name", "lacks"), [("resizing.Resize", "ResizeOperator"), ("learning.FitKernel", "fit_kernel")]
)
def test_version_without_a_function_is_skipped(name, lacks, monkeypatch):
    monkeypatch.delattr(stc, lacks)
    cls = QUESTIONS[name]
    with pytest.raises(NotImplementedError, match=f"no sparsetconv.{lacks}"):
        cls().setup(*smallest(cls), "numpy")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("assembly.Assembly", (2048, 7, "conv")),
        ("sparse_products.SparseProduct", (1024, 7, 64, "forward")),
        ("operators.KernelSizes", (25, "sparse", "adjoint")),
        ("memory.ProductMemory", (1024, "matrix")),
    ],
)
def test_too_little_memory_is_skipped_with_a_reason(name, parameters, monkeypatch):
    monkeypatch.setattr(_backend, "_free_on_host", lambda: 1 << 27)
    with pytest.raises(NotImplementedError, match=r"needs \d+\.\d GiB of memory, 0\.1 GiB are free"):
        QUESTIONS[name]().setup(*parameters, "numpy")


def test_containers_limit_counts(tmp_path):
    assert _backend._free_in_container(tmp_path) is None
    for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 1\ninactive_file 50\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert _backend._free_in_container(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert _backend._free_in_container(tmp_path) is None


def test_memory_that_ends_is_skipped_with_a_reason():
    def end():
        msg = "no more"
        raise MemoryError(msg)

    with pytest.raises(_backend.Skip, match="out of memory: no more"):
        _backend.get("numpy").seconds(end)
    mark = pytest.importorskip("asv_runner.benchmarks.mark")
    # what asv catches while it measures
    assert _backend.Skip is mark.SkipNotImplemented


class FakeCuda:
    """A device whose own clock shows milliseconds in single precision, and says what was done."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def Event(self):  # noqa: N802
        event = types.SimpleNamespace(time=None)

        def record():
            event.time = self.now
            self.done.append("record")

        event.record, event.synchronize = record, lambda: self.done.append("event")
        return event

    @staticmethod
    def get_elapsed_time(first, second):
        return float(np.float32((second.time - first.time) * 1e3))


def test_event_clock_waits_and_stays_precise():
    cuda = FakeCuda()
    clock = _backend.EventClock(cuda)
    assert cuda.done == ["record", "event"]
    # hours later, single precision would not see microseconds
    cuda.now += 1e4
    start = clock()
    cuda.now += 3e-6
    assert clock() - start == pytest.approx(3e-6, rel=1e-3)


def test_rates():
    work = _backend.Work(nbytes=4e9, flops=6e9)
    assert work.gigabytes_per_second(2) == 2
    assert work.gigaflops(2) == 3
    matrix = stc.conv_matrix(np.ones((3, 3)), (8, 8))
    assert _backend.size(matrix) == 12 * matrix.nnz + 4 * 37
    work = _problems.product_work(matrix, columns=8)
    assert (work.nbytes, work.flops) == (12 * matrix.nnz + 4 * 37 + 8 * 8 * 100, 16 * matrix.nnz)
    operator = stc.ConvOperator(np.ones((3, 3)), (8, 8))
    assert _problems.product_work(operator).nbytes == 800


def test_share_of_the_roofline_is_that_of_the_larger_time(monkeypatch):
    monkeypatch.setattr(_roofline, "copy_rate", lambda *_: 100.0)
    monkeypatch.setattr(_roofline, "product_rate", lambda *_: 10.0)
    backend = _backend.get("numpy")
    # 2 s of moving, 1 s of arithmetic, took 4 s
    assert _roofline.share(backend, _backend.Work(200, 10), 4, "float64") == 0.5
    assert _roofline.share(backend, _backend.Work(200, 40), 4, "float64") == 1


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ((10, 1, 3), 5),
        ((10, 1, 4), 4),
        ((10, 3, 3), math.nan),
        ((10, 1, 1.05), math.nan),
        ((10, 3, 1), math.nan),
    ],
    ids=["pays", "rounded up", "a tie never pays", "nor what cannot be told from one", "never"],
)
def test_break_even(times, count):
    assert break_even(*times) == pytest.approx(count, nan_ok=True)


# selection


def discovered():
    for name, cls in QUESTIONS.items():
        for measurement in measurements(cls):
            params = [[repr(value) for value in values] for values in cls.params]
            yield {"name": f"{name}.{measurement}", "params": params, "param_names": list(cls.param_names)}


def test_small_grid_names_what_exists():
    for name, rules in selection.SMALL.items():
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
        # slow minutes of the machine, which hit both
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
    # numbers gone, so that they have to be written again
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
    nothing = subprocess.run([*command, "--bench", "none such"], capture_output=True, text=True, check=False)
    assert nothing.returncode == 1
    assert "--bench must match a benchmark of the small grid, got 'none such'" in nothing.stderr
