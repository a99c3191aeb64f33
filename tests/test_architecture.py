"""The floors of CONTRIBUTING: a module imports only from floors below. And what the package shows to the world."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import sparsetconv as stc

PACKAGE = Path(stc.__file__).parent

CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"


def floors():
    """Return the number of each folder's line in the table of CONTRIBUTING."""
    _, table = CONTRIBUTING.read_text().split("| folder | what lives there |")
    lines = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    return {name: number for number, line in enumerate(lines) for name in re.findall(r"`(\w+)`", line)}


FLOORS = floors()
STANDARD_LIBRARY_ONLY = {
    "_arrays.display",
    "_geometry.counting",
    "_geometry.segments",
    "_arrays.output",
    "_geometry.axis",
    "_geometry.padding",
    "_resize.conventions",
    "_resize.geometry",
    "_geometry.validation",
    "_arrays.memory",
    "_arrays.threads",
    "_arrays.pool",
    "_arrays.switches",
}
# heavy packages, and the only modules that may import them
ONE_PLACE = {
    "numba": {
        "_arrays.compiler",
        "_assembly.loops",
        "_methods.cpu.emit",
        "_methods.cpu.team",
        "_methods.cpu.csr.loops",
        "_methods.cpu.stencil.loops",
        "_methods.cpu.overlap_save.loops",
        "_methods.cpu.stencil.gradient_loops",
    },
    "matplotlib": {"_cli.demo_figure", "_cli.demo", "plot._draw"},
    "skimage": {"_cli.demo"},
    "tqdm": {"_cli.demo", "_cli.main"},
    "pyvips": {"pictures._files"},
    "cupy": {"_arrays.backend"},
    "cupyx": {"_arrays.backend"},
    # read by their attributes, never imported
    "torch": set(),
    "onnx": set(),
    "keras": set(),
    "tensorflow": set(),
}


@cache
def modules():
    return tuple(found())


def found():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


NAMES = frozenset(name for name, _ in modules())


@cache
def imports(path):
    """Return the dotted names that a file imports, wherever the statement stands."""
    return tuple(imported(path))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            # "from sparsetconv import x" means the module sparsetconv.x where there is one
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                yield longer if longer.removeprefix("sparsetconv.") in NAMES else node.module


def own_imports(path):
    """Yield the modules of the package that a file imports."""
    for target in imports(path):
        if target == "sparsetconv" or target.startswith("sparsetconv."):
            yield target.removeprefix("sparsetconv.")


def test_every_folder_has_a_floor():
    assert {name.split(".")[0] for name in NAMES} == set(FLOORS) | {"__init__", "__main__"}
    assert len(set(FLOORS.values())) == 10


def test_tables_name_modules_that_exist():
    assert STANDARD_LIBRARY_ONLY.union(*ONE_PLACE.values()) <= NAMES


def test_files_of_the_guide_exist():
    """Each place that CONTRIBUTING sends to, but for the names that a recipe asks for, is there."""
    places = set(re.findall(r"`([\w./]+/[\w.]*)`", CONTRIBUTING.read_text()))
    places = {place for place in places if "NAME" not in place}
    assert len(places) > 20
    for place in places:
        assert any((root / place).exists() for root in (PACKAGE, PACKAGE.parent)), place


def test_imports_go_down():
    """A module imports from its own folder and from those of lower floors; of one floor, none of another."""
    for name, path in modules():
        folder = name.split(".")[0]
        for target in own_imports(path) if folder in FLOORS else ():
            if target == "sparsetconv":
                assert name == "_cli.main", f"{name} imports the package itself"
                continue
            other = target.split(".")[0]
            assert other == folder or FLOORS[other] < FLOORS[folder], f"{name} imports {target}"


def test_no_import_goes_around():
    """Not even for the type checker alone."""
    graph = {name: {target for target in own_imports(path) if target != name} for name, path in modules()}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_what_is_private():
    """A folder says it, of all that is in it; so no file in a private folder does, and every one in a public."""
    for name in NAMES - {"__init__", "__main__"}:
        folder, *rest = name.split(".")
        assert all(part.startswith("_") != folder.startswith("_") for part in rest), name


def test_integers_need_the_standard_library_alone():
    for name, path in modules():
        if name in STANDARD_LIBRARY_ONLY:
            roots = {target.split(".")[0] for target in imports(path)}
            assert roots <= set(sys.stdlib_module_names) | {"sparsetconv"}, name


def test_heavy_packages_have_one_place():
    for name, path in modules():
        for target in imports(path):
            places = ONE_PLACE.get(target.split(".")[0])
            assert places is None or name in places, f"{name} imports {target}"


def test_nothing_private_of_other_packages_is_imported():
    """It may change with any of their versions."""
    for name, path in modules():
        for target in imports(path):
            root, *inner = target.split(".")
            own = root == "sparsetconv" or root in sys.stdlib_module_names
            assert own or not any(part.startswith("_") for part in inner), f"{name} imports {target}"


def test_import_is_light():
    """Importing and small problems cost what NumPy and SciPy cost: nothing is compiled, nothing else comes along."""
    code = """
import sys
import numpy as np
import sparsetconv as stc
print(*sorted(name.split(".")[0] for name in sys.modules))
A = stc.ConvOperator(np.ones((3, 3)), (64, 64), padding="same")
A.H @ (A @ np.ones(4096))
K = stc.KernelOperator(np.ones((64, 64)), (3, 3))
K.H @ (K @ np.ones(9))
stc.from_onnx({}, np.ones((1, 1, 2)), (1, 5))
print(*sorted(name.split(".")[0] for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for loaded in done.stdout.splitlines():
        assert {"numpy", "scipy", "sparsetconv"} <= set(loaded.split())
        assert not set(loaded.split()) & {*ONE_PLACE, "mpi4py", "petsc4py"}
    assert done.stdout.count("\n") == 2


def test_all_is_what_exists():
    for module in (stc, *(value for value in vars(stc).values() if isinstance(value, ModuleType))):
        if any(part.startswith("_") for part in module.__name__.split(".")):
            continue
        public = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and (module is stc or not isinstance(value, ModuleType))
        }
        assert public | {"__version__"} & set(module.__all__) == set(module.__all__)
        assert sorted(module.__all__) == module.__all__


def test_public_names_have_documentation():
    for name in set(stc.__all__) - {"__version__"}:
        assert getattr(stc, name).__doc__, name


def test_public_names_have_sources():
    """What a user names can be read, by ``??`` in IPython: a class says the module that has its text."""
    for module in (stc, stc.operators, stc.pictures, stc.plot, stc.testing):
        for name in module.__all__:
            public = getattr(module, name)
            if callable(public):
                assert f" {public.__name__}" in inspect.getsource(public), name


def test_functions_stay_small():
    """40 lines are where to ask what it is really two of; docstrings do not count."""
    for name, path in modules():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                length = node.end_lineno - first.lineno + 1
                assert length <= 50, f"{name}.{node.name} has {length} lines"


def test_version_is_in_one_place():
    """The wheel's is read from the package, and the changelog begins with it or with what is not released."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    line = f'__version__ = "{stc.__version__}"'
    assert line in (PACKAGE.parent / project["tool"]["hatch"]["version"]["path"]).read_text().splitlines()
    sections = re.findall(r"^## \[(.*?)\]", (PACKAGE.parent / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] in ("Unreleased", stc.__version__)
