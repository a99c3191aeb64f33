"""The gallery's scripts: each runs by itself, warns of nothing, asserts what it claims, and draws."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "docs" / "gallery").glob("plot_*.py"))
# seconds after which a script hangs; no statement about its speed
HANGS = 300
# a window that cannot be opened is all that may be warned of
WARNINGS = ["-W", "error", "-W", "ignore:FigureCanvasAgg is non-interactive"]
RUN_AND_COUNT_FIGURES = """
import runpy, sys
import matplotlib.pyplot as plt
runpy.run_path(sys.argv[1], run_name="__main__")
sys.exit(0 if plt.get_fignums() else "it drew no figure")
"""


def imported(tree):
    """Return the names of the packages that a script imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return sorted(names)


def test_there_are_scripts():
    assert SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_claims_something(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(script, tmp_path):
    for name in imported(ast.parse(script.read_text(encoding="utf-8"))):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, *WARNINGS, "-c", RUN_AND_COUNT_FIGURES, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "it left files behind"
