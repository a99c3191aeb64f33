"""Faults planted one by one, each of which the README's test command has to find: ``python tests/mutants.py``.

Each is one line of `MUTANTS`, mostly an error by one, in a copy of the tree with a cache of compiled loops of its
own. The tests that are near are run first, so that most end in seconds; what they do not find is left to all others,
of pairs of factors, as users run them. At the end stands a table of which test found what; a fault that none finds is
an error. It takes some minutes. ``test_mutants.py`` holds that each text stands in the package once.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    "venv",
    ".venv",
    "__pycache__",
    ".hypothesis",
    "_build",
    "auto_gallery",
    "generated",
    "results",
    "html",
)


class Mutant(NamedTuple):
    """A planted fault.

    Attributes
    ----------
    name : str
        What it is in, and what goes wrong.
    where : str
        The module, or the package below which one file has the text.
    old, new : str
    near : tuple of str
        Files of tests, in ``tests``, that are run before the others.
    """

    name: str
    where: str
    old: str
    new: str
    near: tuple[str, ...]


MUTANTS = [
    Mutant(
        "axis: the interior begins an output early where the stride does not divide the pad",
        "sparsetconv._geometry",
        "start = min(max(0, -(-self.before // self.stride)), self.outputs)",
        "start = min(max(0, self.before // self.stride), self.outputs)",
        ("test_axis.py", "test_axis_rows.py", "test_assembly.py"),
    ),
    Mutant(
        "axis: the count of entries misses the last output that reads an edge",
        "sparsetconv._geometry",
        "stop = min(stop, reach // self.stride + 1)",
        "stop = min(stop, reach // self.stride)",
        ("test_axis.py", "test_geometry.py"),
    ),
    Mutant(
        "CSR writer: what is left behind whole blocks is shifted once too little",
        "sparsetconv._assembly",
        "_shifted(block[..., :rest], step * count)",
        "_shifted(block[..., :rest], step * (count - 1))",
        ("test_assembly.py",),
    ),
    Mutant(
        "stencil plan: the last row that a tile reads is not copied",
        "sparsetconv._methods.cpu.stencil",
        "starts) + high + 1).clip(max=",
        "starts) + high).clip(max=",
        ("test_plans.py", "test_laws.py"),
    ),
    Mutant(
        "unpad: the first sample of an edge's pad is not added",
        "sparsetconv._geometry",
        "else source.sum(0, z.dtype, keepdims=True)",
        "else source[1:].sum(0, z.dtype, keepdims=True)",
        ("test_extension.py", "test_laws.py"),
    ),
    Mutant(
        "unpad: of an odd number of periods one is lost",
        "sparsetconv._geometry",
        "count -= half",
        "count = half",
        ("test_extension.py", "test_plans.py"),
    ),
    Mutant(
        "FFT tiling: a tile keeps a result that has gone around the circle",
        "sparsetconv._methods.cpu.overlap_save",
        "return (length - self.extent) // self.step + 1",
        "return (length - self.extent + 1) // self.step + 1",
        ("test_laws.py", "test_choice.py"),
    ),
    Mutant(
        "gemm panel: panels behind the first begin a row early",
        "sparsetconv._methods",
        "begins[0] += start * phases[0].step",
        "begins[0] += max(0, start - 1) * phases[0].step",
        ("test_methods.py",),
    ),
    Mutant(
        "resize positions: one that falls on a sample is taken for the sample before",
        "sparsetconv._resize",
        "carry = (rests >= self.denominator)",
        "carry = (rests > self.denominator)",
        ("test_resampled_rows.py", "test_resize.py"),
    ),
    Mutant(
        "normal equations: the first sample is not read",
        "sparsetconv._learning",
        "(samples >= 0) & (samples < axis.outputs)",
        "(samples > 0) & (samples < axis.outputs)",
        ("test_learning.py",),
    ),
    Mutant(
        "normal equations: nothing is conjugated",
        "sparsetconv._learning",
        'read.conj() if read.dtype.kind == "c" else read',
        "read",
        ("test_learning.py",),
    ),
    Mutant(
        "adjoint: the kernel is not conjugated",
        "sparsetconv.operators",
        "self._weights().conj()",
        "self._weights()",
        ("test_laws.py",),
    ),
    Mutant(
        "threads' partition of a product with the matrix: the last row of a part but the last is left out",
        "sparsetconv._methods.cpu.csr.product",
        "cuts[n + 1], width, columns)",
        "cuts[n + 1] - (n + 1 < workers), width, columns)",
        ("test_sparse_operator.py", "test_methods.py"),
    ),
    Mutant(
        "threads' partition of a transposed matrix: the last row of each part is left out",
        "sparsetconv._arrays.layout",
        "block = slice(start, min(start + COPY_BLOCK, last))",
        "block = slice(start, min(start + COPY_BLOCK, last - 1))",
        ("test_methods.py", "test_operators.py"),
    ),
]


def sources(where: str) -> list[Path]:
    """Return the files of a module or of all below a package, relative to the tree."""
    spec = importlib.util.find_spec(where)
    assert spec is not None, where
    assert spec.origin is not None, where
    path = Path(spec.origin)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    package = Path(importlib.util.find_spec("sparsetconv").origin).parent.parent
    return [file.relative_to(package) for file in files]


def place(mutant: Mutant, root: Path) -> Path:
    """Return the file below a tree that has the text of a mutant, which has to be there once."""
    found = [(root / file, (root / file).read_text().count(mutant.old)) for file in sources(mutant.where)]
    number = sum(count for _, count in found)
    assert number == 1, f"{mutant.name}: its text stands {number} times in {mutant.where}"
    return next(file for file, count in found if count)


def plant(mutant: Mutant, root: Path) -> None:
    """Change the file of a tree."""
    file = place(mutant, root)
    file.write_text(file.read_text().replace(mutant.old, mutant.new))


def found_by(mutant: Mutant) -> str:
    """Return the test that finds a fault, or nothing if none does."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        shutil.copytree(ROOT, root, ignore=LEFT_OUT)
        plant(mutant, root)
        near = [f"tests/{name}" for name in mutant.near]
        others = [f"--ignore={name}" for name in (*near, "tests/test_mutants.py")]
        for some in (near, ["tests", *others]):
            test = failing_test(some, root, Path(folder) / "compiled")
            if test:
                return test
    return ""


def failing_test(arguments: list[str], root: Path, compiled: Path) -> str:
    """Run tests in a tree until one fails, and return it."""
    environment = os.environ | {"PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(compiled)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    return finding(done.returncode, done.stdout + done.stderr)


def finding(status: int, text: str) -> str:
    """Return the test that failed by what pytest has printed; one that could not be run is no finding."""
    failed = re.search(r"^FAILED (\S+?::.*?)( - .*)?$", text, re.MULTILINE)
    assert status == (1 if failed else 0), text[-3000:]
    return failed[1] if failed else ""


def main(arguments: list[str] | None = None) -> int:
    """Plant faults one after the other, print what found each, and return how many were not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="those whose name has this text")
    options = parser.parse_args(arguments)
    missed = 0
    print("| fault | found by | seconds |\n|---|---|---|")
    for mutant in MUTANTS:
        if options.only in mutant.name:
            start = time.monotonic()
            test = found_by(mutant)
            missed += not test
            print(f"| {mutant.name} | {test or 'NOTHING'} | {time.monotonic() - start:.0f} |", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
