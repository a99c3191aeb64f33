"""The scripts of ``.ci``: which versions the checks run on."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / ".ci"
if not FOLDER.exists():
    pytest.skip("a source distribution has no .ci", allow_module_level=True)


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lowest, newest = script("lowest"), script("newest")


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
    table = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest.main(list(table["optional-dependencies"]))
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
