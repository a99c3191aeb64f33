"""The scripts of ``.ci``: which versions the checks run on. And that everything that names a command names the same."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".ci"
if not FOLDER.exists():
    pytest.skip("a source distribution has no .ci", allow_module_level=True)


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lowest, newest = script("lowest"), script("newest")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("numpy>=2.0", "numpy==2.0"),
        ("asv>=0.6.5,<0.7", "asv<0.7,==0.6.5"),
        ("cupy-cuda13x[ctk]>=14.0", "cupy-cuda13x[ctk]==14.0"),
        ("torch==2.13.0", "torch==2.13.0"),
        ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc"),
    ],
)
def test_lower_bounds_become_versions(requirement, expected):
    assert lowest.lowest(requirement) == expected


def test_every_requirement_has_a_lowest_version(capsys):
    """Of what users install: no extra leaves a version open."""
    lowest.main(list(PYPROJECT["project"]["optional-dependencies"]))
    lines = capsys.readouterr().out.split()
    assert {"numpy", "scipy", "numba", "pytest"} <= {line.partition("==")[0] for line in lines}
    assert [line for line in lines if "==" not in line] == []
    assert len(lines) == len(set(lines))


def interpreter(folder, version):
    """Make a program that says what a Python of that version would."""
    path = folder / version / "bin" / "python3"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's script stands for an interpreter")
def test_newest_interpreter_is_a_supported_one(tmp_path, monkeypatch):
    monkeypatch.setattr(newest.sys, "version_info", (3, 11, 7, "final", 0))
    interpreter(tmp_path, "3.10.13")
    interpreter(tmp_path, "3.11.7")
    broken = tmp_path / "3.13.9" / "bin"
    broken.mkdir(parents=True)
    (broken / "python3").write_text("no program")
    assert newest.newest(tmp_path) is None
    interpreter(tmp_path, "3.11.9")
    expected = interpreter(tmp_path, "3.12.10")
    interpreter(tmp_path, "3.12.9")
    interpreter(tmp_path, "3.99.0")
    assert newest.newest(tmp_path) == expected


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_supported_pythons_are_one_list():
    """Classifiers, the lowest version and the hosted matrix."""
    versions = sorted(newest.supported())
    minors = [minor for _, minor in versions]
    assert minors == list(range(minors[0], minors[-1] + 1))
    names = [f"{major}.{minor}" for major, minor in versions]
    assert PYPROJECT["project"]["requires-python"] == f">={names[0]}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{names[0].replace('.', '')}"
    workflow = text(".github/workflows/tests.yml")
    (matrix,) = re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE)
    assert matrix == ", ".join(f'"{name}"' for name in names)
    assert set(re.findall(r'python-version: "(.*)"', workflow)) == {names[0]}


def test_commands_are_the_same_everywhere():
    readme = 'python -m pip install ".[test]" && python -m pytest'
    workflow, ours, contributing = map(text, (".github/workflows/tests.yml", ".ci/run", "CONTRIBUTING.md"))
    assert re.search(rf"^{re.escape(readme)}$", text("README.md"), re.MULTILINE)
    assert f"- run: {readme}\n" in workflow
    assert f"grep -Fx '{readme}' README.md" in ours
    assert "- run: .ci/run\n" in workflow
    # what the checks need, for a contributor editable
    (needs,) = re.findall(r"^ *python -m pip install --quiet (\S+ --group .*)$", ours, re.MULTILINE)
    assert f"python -m pip install -e {needs}\n" in contributing
    # the pages, which are quiet in a log
    (pages,) = re.findall(r"^python -m sphinx .*$", contributing, re.MULTILINE)
    assert pages in ours.replace(" -n -q ", " -n ")


def test_every_group_and_extra_that_is_named_exists():
    known = {**PYPROJECT["dependency-groups"], **PYPROJECT["project"]["optional-dependencies"]}
    pages = "\n".join(map(text, ("README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/tests.yml")))
    groups = re.findall(r"--group (\w+)", pages)
    extras = [
        name for names in re.findall(r"pip install[^\n]*\.\[([\w,]+)\]", pages) for name in names.split(",")
    ]
    assert {"parity", "lint"} <= set(groups) <= set(PYPROJECT["dependency-groups"])
    assert {"demo", "docs", "test"} <= set(extras) <= set(known)


def test_hooks_have_versions_that_the_checks_take():
    """pre-commit makes environments of its own; the same tools are in the group ``lint``."""
    revisions = dict(re.findall(r"repo: https://\S+/(\S+)\n +rev: v?(\S+)", text(".pre-commit-config.yaml")))
    for repository, tool in (("ruff-pre-commit", "ruff"), ("codespell", "codespell")):
        (bound,) = (r for r in map(Requirement, PYPROJECT["dependency-groups"]["lint"]) if r.name == tool)
        assert bound.specifier.contains(revisions[repository])


@pytest.mark.parametrize("name", [".github/workflows/tests.yml", ".pre-commit-config.yaml", "CITATION.cff"])
def test_files_for_hosts_are_yaml(name):
    yaml = pytest.importorskip("yaml")
    keys = {"tests.yml": "jobs", ".pre-commit-config.yaml": "repos", "CITATION.cff": "authors"}
    assert yaml.safe_load(text(name))[keys[Path(name).name]]


def test_citation_names_what_the_project_says():
    citation = text("CITATION.cff")
    for value in (PYPROJECT["project"]["license"], PYPROJECT["project"]["urls"]["Source"]):
        assert f": {value}\n" in citation
    # a second copy of the version would be wrong after the next release
    assert not re.search("^version:", citation, re.MULTILINE)


TABLE = """
import pytest
from hypothesis import given
from hypothesis.strategies import integers

@pytest.mark.parametrize("mode", "abcd")
@pytest.mark.parametrize("dtype", [1, 2, 3])
@pytest.mark.parametrize("method", [True, False, None])
def test_three(mode, dtype, method):
    pass

@pytest.mark.parametrize("mode", "abcd")
@pytest.mark.parametrize(("x", "y", "z"), [(1, 2, 3), (1, 2, 4), (1, 5, 3), (6, 2, 3)])
def test_rows_of_a_table(mode, x, y, z):
    pass

@pytest.mark.parametrize("x", [1, 2, pytest.param(3, marks=pytest.mark.full)])
def test_one(x):
    pass

class Case:
    def __init__(self, name, *values):
        self.name, self.levels = name, list(zip("abc", values))

    def __str__(self):
        return self.name

CASES = [Case("line", x, y, z) for x in "12" for y in "12" for z in "12"]

@pytest.mark.parametrize("case", [*CASES, Case("other", "1", "1", "1")], ids=str)
def test_case(case):
    pass

@given(integers())
def test_drawn(x):
    pass
"""


def collected(folder, *options):
    """Return the names of the tests that pytest would run, by this suite's configuration."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "--rootdir",
        folder,
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run([*command, *options, folder], capture_output=True, text=True, check=True)
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_pairs_of_factors(tmp_path):
    """All pairs run by default, rows of a table never fall out but those that say so; ``--all`` runs the product."""
    for name in ("conftest.py", "pairs.py"):
        (tmp_path / name).write_text((Path(__file__).parent / name).read_text(encoding="utf-8"))
    (tmp_path / "test_table.py").write_text(TABLE)
    short, everything, rest = (collected(tmp_path, *options) for options in ([], ["--all"], ["--rest"]))
    assert len(set(everything)) == len(everything) == 36 + 16 + 3 + 1 + 9
    # of the rest, examples are drawn again
    assert sorted([*short, *rest]) == sorted([*everything, "test_drawn"])
    assert "test_drawn" in rest
    assert [sum(name.startswith(f"test_{test}") for name in short) for test in ("rows", "one")] == [16, 2]
    # factors of a case, too, meet by pairs, and each line of operators by itself
    assert 4 <= sum(name.startswith("test_case[line") for name in short) <= 6
    assert sum(name.startswith("test_case[other") for name in short) == 1
    three = [
        name.removeprefix("test_three[").removesuffix("]").split("-") for name in short if "three" in name
    ]
    assert 12 <= len(three) < 20
    sizes = [len({(values[a], values[b]) for values in three}) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert sorted(sizes) == [9, 12, 12]
