"""The program that measures a card: all of it at toy sizes on the emulation, and what it does when things fail.

No time is asserted. Without CuPy there is nothing to measure, nor to emulate.
"""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import gpu_hour
import hour_of_accidents
import numpy as np
import pytest
from benchmark_suite import ROOT, SUITE
from hour import checks, costs, measure, peers, problems, products, programs, report, smallest, tuning
from hour.lab import Lab
from hour.record import Outcome, Results, package_digest
from hour.runner import run_part
from hour.steps import Unavailable
from hour.worker import Worker

import sparsetconv as stc
from sparsetconv._arrays import cuda
from sparsetconv._methods import cost
from sparsetconv._methods.cuda import tiles
from sparsetconv._methods.cuda import tuning as tuning_module

cupy = pytest.importorskip("cupy", reason="the emulation uses texts of CuPy")
CARD = {"card": "a card", "commit": "a" * 40, "toy": False, "cuda": 13000, "cupy": "14.2.0"}
CARD |= {"multiprocessors": 2, "memory": 1 << 30}


# all of it


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Return the folder of a run of all parts, and what the program printed."""
    folder = tmp_path_factory.mktemp("hour")
    command = [sys.executable, SUITE / "gpu_hour.py", "--toy", "--commit", "a" * 40, "--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return SimpleNamespace(folder=folder, printed=done.stdout, command=command)


def steps_of(toy, part):
    return report.latest(toy.folder, part)["steps"]


def test_every_step_ends_well(toy):
    for part, module in gpu_hour.PARTS.items():
        found = steps_of(toy, part)
        assert list(found) == [step.name for step in import_module(module).steps(True)]
        for name, outcome in found.items():
            reasons = ("not on the PATH", "watches a card, and there is none")
            absent = any(reason in outcome["note"] for reason in reasons)
            assert not absent or name in ("memcheck", "racecheck", "synccheck")
            assert outcome["status"] == ("n/a" if absent else "done"), (name, outcome["note"])
            assert outcome["rows"] or absent
    assert {path.name for path in toy.folder.iterdir()} == {
        f"{part}.{ending}" for part in gpu_hour.PARTS for ending in ("json", "log")
    }


def test_products_are_checked_timed_and_compared(toy):
    rows = [row for o in steps_of(toy, "products").values() for row in o["rows"] if "direction" in row]
    measured = {row["by"] for row in rows if "share" in row}
    assert measured >= {*measure.METHODS, "cuSPARSE", "cuFFT"}
    for row in rows:
        if "share" in row:
            assert 0 <= row["error"] < 1e-4
            assert row["ms"] > 0
            assert row["share"] > 0
        elif "by" in row and "until there, us" not in row:
            assert row["skipped"]
    ours = [row for row in rows if row.get("by") == "direct" and "share" in row]
    assert ours
    assert all({"cuSPARSE"} <= set(row["their time over ours"]) for row in ours)
    bits = [row for row in steps_of(toy, "products")["same bits"]["rows"] if row["method"] == "direct"]
    assert [row["equal"] for row in bits] == [True, True]


def test_table_is_what_the_package_reads(toy):
    run = report.latest(toy.folder, "tuning")
    found = tuning_module.Tuning.from_text(run["table"])
    assert found.measured_on == run["identity"]["card"]
    assert set(found.costs) == set(costs.BOUNDS) == set(tuning_module.shipped().costs)
    classes = {row["class"] for o in run["steps"].values() for row in o["rows"] if "class" in row}
    assert set(found.stencil) == classes
    assert "2d-4B-k4-c1-s1-forward" in classes


def test_results_are_known_the_second_time(toy):
    before = {path: path.read_text() for path in toy.folder.glob("*.json")}
    done = subprocess.run(
        [*toy.command, "--part", "products", "--part", "tuning"], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if re.match(r"(products|tuning) .+: \w", line)]
    assert len([line for line in lines if line.endswith(": known")]) == sum(
        len(steps_of(toy, part)) for part in ("products", "tuning")
    )
    assert {path: path.read_text() for path in toy.folder.glob("*.json")} == before


def test_report(toy, capsys):
    assert gpu_hour.main(["--out", str(toy.folder), "--report"]) == 0
    text = capsys.readouterr().out
    assert text.count("Toy sizes: these numbers mean nothing") == 4
    for title in (report.PRODUCTS, "Launches of the stencil", "Constants of the cost model", "copies"):
        assert f"**{title}**" in text
    tables = re.findall(r"(?m)^\| .*\n\|(?:---\|)+\n(?:\| .*\n?)+", text)
    assert len(tables) > 12
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
        assert len(widths) == 1, table
    # what a terminal shows at the end is short
    assert toy.printed.count("\n") < 120


def test_products_stand_side_by_side():
    first = {"problem": "p", "direction": "forward"}
    rows = [
        {**first, "by": "cuDNN", "ms": 2.0},
        {**first, "by": "sparse", "skipped": "why"},
        {**first, "by": "auto", "method": "direct", "ms": 1.25, "share": 0.5},
        {**first, "direction": "adjoint", "by": "cuDNN", "ms": 1234.5},
    ]
    table = report.markdown_table(report.beside(rows))
    assert table.splitlines() == [
        "| problem | direction | cuDNN | sparse | auto |",
        "|---|---|---|---|---|",
        "| p | forward | 2 | - | 1.25 (direct, 0.5) |",
        "| p | adjoint | 1,234 |  |  |",
    ]


def test_toys_are_not_installed(toy, tmp_path, capsys):
    with pytest.raises(SystemExit, match="needs the results of --part tuning on a card"):
        gpu_hour.install(toy.folder, tmp_path / "tuning.json")
    with pytest.raises(SystemExit):
        gpu_hour.parse(["--out", "x", "--toy", "--install"])
    assert "those of --toy mean nothing" in capsys.readouterr().err


def test_install(tmp_path):
    shape = tuning_module.LaunchShape(4, 2, 1, 32, 256)
    wanted = tuning_module.Tuning("a card", tuning_module.shipped().costs, {"2d-4B-k4-c1-s1-forward": shape})
    Results(tmp_path, "tuning", CARD).add("table", wanted.text())
    gpu_hour.install(tmp_path, tmp_path / "installed.json")
    assert tuning_module.Tuning.from_text((tmp_path / "installed.json").read_text()) == wanted


def test_without_a_card_it_says_so(tmp_path):
    if cupy.is_available():
        pytest.skip("there is a card")
    command = [sys.executable, SUITE / "gpu_hour.py", "--commit", "a" * 40, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "no card: CuPy finds no GPU; --toy runs without one\n"


# failures


@pytest.fixture
def worker():
    made = Worker({"accidents": "hour_of_accidents"}, toy=True)
    yield made
    made.close()


def accidents():
    return hour_of_accidents.steps(True)


def test_a_step_that_fails_harms_no_other(worker, tmp_path):
    results, lines = Results(tmp_path, "accidents", CARD), []
    run_part("accidents", accidents(), results, worker, 60, lines.append)
    found = json.loads(results.path.read_text())["runs"][0]["steps"]
    assert [o["status"] for o in found.values()] == [
        "done", "failed", "failed", "timeout", "n/a", "timeout", "done",
    ]  # fmt: skip
    # what was measured before is kept, with the reason
    assert [len(o["rows"]) for o in found.values()] == [1, 1, 1, 1, 0, 1, 1]
    bad, gone, slow, missing, over = list(found.values())[1:-1]
    assert bad["note"].strip().endswith("AssertionError: a wrong result, toy is True")
    assert "the process ended with 3" in gone["note"]
    assert slow["note"] == "ended after 2 s"
    assert missing["note"] == "there is no such library"
    assert over["note"] == "half of it"
    assert 0 < over["rows"][0]["left"] <= 2
    first, last = (found[name]["rows"][0]["process"] for name in ("0 good", "6 good"))
    assert first != last
    assert "Traceback" in results.log.read_text()
    assert len(lines) == 7
    assert lines[1].endswith("a wrong result, toy is True")
    # the next time, what ended by itself is known
    run_part("accidents", accidents(), results, worker, 0, lines.append)
    assert [line.endswith("known") for line in lines[7:]] == [True, False, False, False, True, False, True]
    assert [o["status"] for o in results.steps.values()].count("failed") == 2


def test_what_has_no_time_is_recorded(worker, tmp_path):
    results = Results(tmp_path, "accidents", CARD)
    run_part("accidents", accidents()[:1], results, worker, 0, lambda _: None)
    (outcome,) = results.steps.values()
    assert (outcome["status"], outcome["note"]) == ("no time", "0 s of 0 s were left")


def test_results_of_other_cards_and_commits_stay(tmp_path):
    for number, identity in enumerate((CARD, CARD | {"commit": "b" * 40}, CARD)):
        results = Results(tmp_path, "ceilings", identity)
        assert results.finished("copies") is (number == 2)
        results.save("copies", Outcome("done", rows=[{"number": number}]))
    runs = json.loads(results.path.read_text())["runs"]
    assert [run["identity"]["commit"][0] for run in runs] == ["b", "a"]
    assert [run["steps"]["copies"]["rows"][0]["number"] for run in runs] == [1, 2]
    results.forget()
    assert not results.finished("copies")


def test_sources_are_told_apart(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = package_digest(tmp_path)
    (tmp_path / "a.txt").write_text("not a source")
    assert package_digest(tmp_path) == first
    (tmp_path / "a.py").write_text("2")
    assert package_digest(tmp_path) != first


# tests and sanitizers


def test_failures_of_pytest_are_rows(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2\ndef test_c(): pytest.skip('why')\n"
    )
    rows = programs.pytest_rows([str(tmp_path), "-c", os.devnull], tmp_path / "report.xml", 60)
    assert rows[0] == {
        "passed": 1, "failed": 1, "skipped": 1, "skip reasons": ["why"], "status": 1, "stopped": False,
    }  # fmt: skip
    assert (rows[1]["test"], rows[1]["message"]) == ("test_it.test_b", "assert 1 == 2")
    stopped = programs.pytest_rows([str(tmp_path), "-c", os.devnull], tmp_path / "report.xml", -1)
    assert (stopped[0]["stopped"], stopped[0]["passed"]) == (True, 1)
    with pytest.raises(RuntimeError, match="pytest ended with 4 and wrote no report"):
        programs.pytest_rows(["--none-such"], tmp_path / "none.xml", 60)


@pytest.mark.parametrize(
    ("text", "status", "errors", "right"),
    [
        ("all kernels ran\n========= ERROR SUMMARY: 0 errors", 0, 0, True),
        ("all kernels ran\n========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", 0, 0, True),
        ("all kernels ran\n========= ERROR SUMMARY: 1 error", 9, 1, False),
        ("========= RACECHECK SUMMARY: 4 hazards displayed (4 errors, 0 warnings)\nall kernels ran", 0, 4, False),
        # ended in the middle, and a tool that says nothing
        ("========= ERROR SUMMARY: 0 errors", 0, 0, False),
        ("all kernels ran", 0, None, False),
    ],
)  # fmt: skip
def test_sanitizers_last_words(text, status, errors, right, tmp_path, monkeypatch):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(f"#!/bin/sh\ncat << END\n{text}\nEND\necho $2 $5 $6 $7\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    rows = checks.sanitized(SimpleNamespace(toy=True, emulated=False), "memcheck")
    row = next(rows)
    assert (row["errors"], row["status"]) == (errors, status)
    if right:
        assert not list(rows)
    else:
        with pytest.raises(AssertionError, match="memcheck: "):
            next(rows)


def test_without_sanitizers(monkeypatch):
    with pytest.raises(Unavailable, match="watches a card"):
        next(checks.sanitized(SimpleNamespace(toy=True, emulated=True), "memcheck"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="compute-sanitizer is not on the PATH"):
        next(checks.sanitized(SimpleNamespace(toy=True, emulated=False), "memcheck"))


def test_every_kernel_is_launched(cp, monkeypatch):
    del cp
    launched, kernel = set(), cuda.kernel

    def noticed(backend, names, constants, name):
        launched.add(name)
        return kernel(backend, names, constants, name)

    monkeypatch.setattr(cuda, "kernel", noticed)
    lab = Lab(toy=True)
    calls = list(smallest.cases(lab))
    for _, call in calls:
        call()
    package = Path(stc.__file__).parent
    sources = "".join(path.read_text() for path in package.rglob("*.cu"))
    found = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(', sources)
    assert len(found) == sources.count('extern "C" __global__')
    assert launched == set(found)
    names = [name for name, _ in calls]
    assert len(set(names)) == len(names)
    for ndim in (1, 2, 3):
        for mode in smallest.MODES:
            assert f"stencil, {ndim}-D, {mode}" in names


# what is measured


def test_wrong_products_are_not_timed(cp):
    del cp
    lab = Lab(toy=True)
    for problem in (*problems.planes(True), *problems.volumes(True), *problems.layers(True)):
        for direction in measure.DIRECTIONS:
            (x, *_) = problem.vectors(lab, direction)
            A = problem.operator(lab, "direct")
            product = A.matvec(x) if direction == "forward" else A.rmatvec(x)
            assert problem.checked(lab, x, product, direction) < 1e-6
            for place, value in ((0, 1e3), (len(product) // 2, np.nan), (len(product) - 1, 0)):
                wrong = product.copy()
                wrong[place] = value
                with pytest.raises(AssertionError, match="a wrong result, its error is"):
                    problem.checked(lab, x, wrong, direction)


@pytest.mark.parametrize("toys", [True, False])
def test_problems_are_named_once_and_of_every_class(toys):
    for module in gpu_hour.PARTS.values():
        names = [step.name for step in import_module(module).steps(toys)]
        assert len(set(names)) == len(names), module
    asked = (*problems.planes(toys), *problems.volumes(toys), *problems.layers(toys))
    assert all(problem.geometry.output_shape[-1] == problem.input_shape[-1] for problem in asked)
    assert {problem.geometry.ndim for problem in tuning.classes(toys)} == {1, 2, 3}


def test_each_class_is_swept_once():
    """Two problems of one class would write different values to the same line of the table."""
    classes = [
        tuning_module.problem_class(problem.geometry, np.dtype(problem.dtype), transposed)
        for problem in tuning.classes(False)
        for transposed in (False, True)
    ]
    assert len(set(classes)) == len(classes)


def test_a_wrong_method_does_not_keep_others_from_being_measured(cp, monkeypatch):
    del cp
    lab, problem = Lab(toy=True), problems.planes(True)[0]
    monkeypatch.delitem(peers.PEERS, "cuDNN")
    error, looked, rows = problems.Problem.error, [], []

    def first_and_third_are_wrong(self, *arguments):
        looked.append(arguments)
        return 1.0 if len(looked) in (1, 3) else error(self, *arguments)

    def everything():
        for row in products.by_all(lab, problem):
            rows.append(row)

    monkeypatch.setattr(problems.Problem, "error", first_and_third_are_wrong)
    with pytest.raises(
        AssertionError, match=r"^direct: 2-D .*, forward: a wrong result, its error is 1\.0e\+00"
    ):
        everything()
    assert len(looked) == len(rows) == 14
    assert "a wrong result" in rows[0]["skipped"]
    assert [row["by"] for row in rows if "wrong" in row] == ["direct"]
    assert sum("ms" in row for row in rows) == 12


def test_absurd_products_are_skipped(cp, monkeypatch):
    del cp
    lab, problem = Lab(toy=True), problems.planes(True)[0]
    monkeypatch.setattr(cost, "estimate", lambda *_, **__: {"direct": 1.0})
    assert measure.method_row(lab, problem, "direct", "forward")["skipped"] == "the model estimates 1000 ms"
    monkeypatch.setattr(Lab, "free_bytes", lambda _: 100)
    for row in (
        measure.method_row(lab, problem, "sparse", "forward"),
        measure.peer_row(lab, problem, "cuSPARSE", "adjoint"),
    ):
        assert re.fullmatch(r"the matrix needs 0\.0 GiB, 0\.0 GiB are free", row["skipped"])


@pytest.mark.parametrize("direction", measure.DIRECTIONS)
def test_pytorch_is_present_or_absent(cp, direction):
    del cp
    lab, problem = Lab(toy=True), problems.layers(True)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        assert "PyTorch cannot be imported" in measure.peer_row(lab, problem, "cuDNN", direction)["skipped"]
    even = problems.Problem("even", (8, 8), (4, 4))
    if not isinstance(imported(lab), str):
        assert "PyTorch pads both sides alike" in measure.peer_row(lab, even, "cuDNN", direction)["skipped"]


def imported(lab):
    try:
        return peers.imported_torch(lab)
    except Unavailable as reason:
        return str(reason)


def test_roofline_is_the_larger_of_two_times():
    lab = Lab(toy=True)
    lab.copy_rate, lab.fma_rates = 100.0, {4: 10.0, 8: 5.0}
    assert lab.roofline(200, 1, 4) == 2
    assert lab.roofline(200, 100, 4) == 10
    assert lab.roofline(200, 100, 8) == 20
    problem = problems.Problem("p", (6, 10, 11), (4, 3, 3, 5), options={"groups": 2, "padding": "same"})
    assert problem.nbytes == 4 * (6 * 110 + 4 * 110 + 180)
    assert problem.fmas == 4 * 3 * 110 * 15
    zeros = problems.Problem("p", (5, 4), (3, 2), "complex64", {})
    assert zeros.fmas == 4 * zeros.geometry.nnz


# the cost model


def test_constants_come_back():
    """From the model's own times, the constants that it was given are found again."""
    given = {"launch": 7e-6, "byte": 5e-13, "stencil_multiply": 1.1e-13, "gemm_multiply": 3e-14}
    given |= {"integer_gemm": 12.0, "passes_per_log": 0.3}
    assert set(given) == set(costs.BOUNDS)
    known = {name: low for name, (low, _) in costs.BOUNDS.items()}
    for name, (method, problem) in costs.problems(False).items():
        seconds = costs.modelled(problem, method, given)
        known[name] = costs.constant(name, method, problem, seconds, known)
        assert known[name] == pytest.approx(given[name], rel=0.05), name
        # noise makes a constant small, not negative
        assert costs.constant(name, method, problem, 0.0, given) == pytest.approx(costs.BOUNDS[name][0])


def test_assumed_constants_end():
    problem = problems.Problem("p", (50, 60), (3, 5))
    before = cost.estimate(problem.geometry, np.dtype("float32"), on_gpu=True)
    other = dict.fromkeys(costs.BOUNDS, 1.0)
    assert costs.modelled(problem, "direct", other) > 1e3 * before["direct"]
    assert cost.estimate(problem.geometry, np.dtype("float32"), on_gpu=True) == before


def outcome(*rows):
    return {"rows": [{"class": "c", "shape": shape(results), **row} for results, row in enumerate(rows)]}


def shape(results):
    return {"results": results, "columns": 1, "channels": 1, "lanes": 32, "threads": 128, "unrolled": 8}


@pytest.mark.parametrize(
    ("rows", "results"),
    [
        # as planned, within the margin of the fastest
        ([{"planned": True, "ms": 1.01}, {"planned": False, "ms": 1.0}], 0),
        ([{"planned": True, "ms": 1.1}, {"planned": False, "ms": 1.0}, {"planned": False, "ms": 0.9}], 2),
        ([{"planned": True, "wrong": "x"}, {"planned": False, "ms": 1.0}], 1),
    ],
)
def test_fastest_right_shape_is_in_the_table(rows, results):
    made = tuning.table(CARD, {"some": outcome(*rows)})
    assert made.measured_on == "a card"
    assert made.stencil["c"].results == results


def test_table_without_measurements():
    wrong = outcome({"planned": True, "wrong": "a wrong result"})
    part = {"rows": [{"constant": "launch", "value": 1.0}]}
    made = tuning.table(CARD, {"some": wrong, tuning.COSTS: part})
    assert not made.stencil
    assert made.costs == tuning_module.shipped().costs
    whole = {"rows": [{"constant": name, "value": 2.0} for name in costs.BOUNDS]}
    assert set(tuning.table(CARD, {tuning.COSTS: whole}).costs.values()) == {2.0}


def test_wrong_shapes_are_recorded(cp, monkeypatch):
    del cp
    lab, problem = Lab(toy=True), tuning.classes(True)[0]
    seen = []

    def checked(self, lab, x, product, direction):
        del self, lab, x, product, direction
        seen.append(tuning_module._forced.get())
        if len(seen) == 2:
            msg = "a wrong result"
            raise AssertionError(msg)
        return 0.0

    monkeypatch.setattr(problems.Problem, "checked", checked)
    rows = list(tuning.sweep(lab, problem, "adjoint"))
    assert len(rows) == len(seen) > 1
    assert [row.get("wrong") for row in rows][:2] == [None, "AssertionError: a wrong result"]
    assert [tuning_module.LaunchShape(**row["shape"]) for row in rows] == seen
    assert [row["planned"] for row in rows] == [True] + [False] * (len(rows) - 1)
    assert tuning_module._forced.get() is None


def test_sweeps_end_in_time(cp, monkeypatch):
    del cp
    lab, problem = Lab(toy=True), tuning.classes(True)[0]
    left = iter([100.0, 1.0])
    monkeypatch.setattr(Lab, "seconds_left", lambda _: next(left))
    first, last = tuning.sweep(lab, problem, "forward")
    assert first["ms"] > 0
    assert last["untried"] >= 1
    assert tuning.fastest([first, last]) == first


def test_search_goes_from_neighbour_to_neighbour(cp, monkeypatch):
    """The fastest of a hundred shapes is found without trying all of them."""
    del cp
    lab, problem = Lab(toy=False), tuning.classes(True)[0]

    def tried(lab, problem, direction, shape, inputs):
        del lab, problem, direction, inputs
        if shape.threads == 128:
            return {"wrong": "a wrong result"}
        distance = abs(shape.results - 4) + abs(shape.columns - 3) + abs(shape.threads - 512) / 64
        return {"ms": 1.0 + distance + shape.unrolled / 4 + abs(shape.blocks - 1)}

    monkeypatch.setattr(tuning, "tried", tried)
    rows = list(tuning.sweep(lab, problem, "forward"))
    best = tuning_module.LaunchShape(**tuning.fastest(rows)["shape"])
    assert (best.results, best.columns, best.threads, best.unrolled, best.blocks) == (4, 3, 512, 8, 1)
    assert [row["planned"] for row in rows] == [True] + [False] * (len(rows) - 1)
    method = problem.operator(lab, "direct")._method
    every = tiles.candidates(method.problem(1, False, np.dtype("float32")))
    assert len(rows) < len(every) / 2
    assert len({str(row["shape"]) for row in rows}) == len(rows)


def test_inputs_and_results_take_turns(cp):
    """Neither the input of a call nor the place of its result is that of the call before."""
    del cp
    lab, seen, results = Lab(toy=True), [], []

    def call(x):
        seen.append(x)
        results.append(lab.cp.empty(1000))
        return results[-1]

    timing = lab.timed(call, [0, 1, 2])
    assert seen == [number % 3 for number in range(len(seen))]
    assert timing.calls == 3
    assert len(seen) == timing.calls + 3
    assert lab.sets(1) == 16
    assert lab.sets(1e12) == 2


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int32"])
def test_random_numbers_are_those_of_the_host(cp, dtype, monkeypatch):
    del cp
    monkeypatch.setattr("hour.lab.DRAWN", 7)
    lab = Lab(toy=True)
    for shape in ((2, 3), (5, 4)):
        host = lab.host_random(shape, dtype, 3)
        assert host.dtype == dtype
        assert (host != 0).all()
        np.testing.assert_array_equal(lab.random(shape, dtype, 3).get(), host)
    assert not np.array_equal(lab.host_random((5,), dtype, 3), lab.host_random((5,), dtype, 4))


def test_program_names_the_root():
    assert gpu_hour.trees.ROOT == ROOT
