"""The floors: a module imports only from floors below. And what the package shows to the world."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np

import sparsetconv as stc

PACKAGE = Path(stc.__file__).parent

# a module may import from lower floors; on some floors also from those before it in the line
FLOORS = [
    ["_types", "_record", "_display", "_counting", "_output", "_axis", "_segments", "_normalize", "_memory", "_threads", "_switches", "_compiler", "_backend", "_streams", "_capture", "_cuda", "_kernel", "geometry", "_transposed", "_conventions", "_resize"],
    ["boundary", "_runs", "_compiled_rows", "_row_tables", "axis_rows", "resampled_rows", "interpolation"],
    ["_products", "_writer", "assembly", "device_assembly", "matrices", "kronecker", "resampling", "kernel_matrix"],
    ["methods._merge", "methods._base", "methods._finite", "methods._store", "methods._sides", "methods._stencil_records", "methods._partition", "methods._lists", "methods._tables", "methods._emit", "methods._compiled_micro_kernel", "methods._compiled", "methods._tile_records", "methods._tiles", "methods._compiled_fft", "methods._transforms", "methods._whole", "methods.cost", "methods.sparse", "methods.direct", "methods.gemm", "methods.fft", "methods.cuda_tuning", "methods.cuda_stencil", "methods.cuda_tiles", "methods.cuda_sparse", "methods.cuda_direct", "methods.cuda_fft", "methods.gpu_cost", "methods", "methods.windows", "methods._compiled_gradient", "methods.gradient", "methods.separable", "methods.cuda_separable", "methods.normal", "methods.fit_cost"],
    ["array_products", "device_products", "array_operator", "operators", "kernel_operator", "resize_operator", "channels_last"],
    ["plan", "_differences", "testing", "learning", "frameworks._shared", "frameworks._torch_weights", "frameworks._torch", "frameworks._onnx", "frameworks._keras", "frameworks", "_draw", "_sampled", "_entries", "plot"],
    ["_demo_figure", "demo", "_picture_arrays", "_picture_learning", "pictures", "_picture_files", "cli"],
    ["__init__", "__main__"],
]  # fmt: skip
ORDER = {name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)}
STANDARD_LIBRARY_ONLY = {
    "_display",
    "_counting",
    "_segments",
    "_output",
    "_axis",
    "_conventions",
    "_resize",
    "_normalize",
    "_memory",
    "_threads",
    "_switches",
}
# heavy packages, and the only modules that may import them
ONE_PLACE = {
    "numba": {
        "_compiler",
        "_compiled_rows",
        "methods._emit",
        "methods._compiled",
        "methods._compiled_fft",
        "methods._compiled_gradient",
    },
    "matplotlib": {"_demo_figure", "demo", "_draw"},
    "skimage": {"demo"},
    "tqdm": {"demo", "cli"},
    "pyvips": {"_picture_files"},
    "cupy": {"_backend"},
    "cupyx": {"_backend"},
    # read by their attributes, never imported
    "torch": set(),
    "onnx": set(),
    "keras": set(),
    "tensorflow": set(),
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def imports(path):
    """Yield the dotted names that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            # "from sparsetconv import x" means the module sparsetconv.x where there is one
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                yield longer if longer.removeprefix("sparsetconv.") in ORDER else node.module


def test_every_module_has_a_floor():
    assert {name for name, _ in modules()} <= set(ORDER)


def test_imports_go_down():
    for name, path in modules():
        if name in ("__init__", "__main__"):
            continue
        for target in imports(path):
            if target == "sparsetconv":
                assert name == "cli", f"{name} imports the package itself"
                continue
            if target.startswith("sparsetconv."):
                target = target.removeprefix("sparsetconv.")
                assert ORDER[target] < ORDER[name], f"{name} imports {target}, which is not below"


def test_leaves_do_not_import_each_other():
    leaves = {"plan", "testing", "learning", "frameworks", "plot"}
    for name, path in modules():
        leaf = name.split(".")[0]
        if leaf in leaves:
            targets = {target.removeprefix("sparsetconv.").split(".")[0] for target in imports(path)}
            assert not targets & (leaves - {leaf}), name


def test_floor_zero_is_the_standard_library():
    for name, path in modules():
        if name in STANDARD_LIBRARY_ONLY:
            roots = {target.split(".")[0] for target in imports(path)}
            assert roots <= set(sys.stdlib_module_names) | {"sparsetconv"}, name


def test_heavy_packages_have_one_place():
    for name, path in modules():
        for target in imports(path):
            places = ONE_PLACE.get(target.split(".")[0])
            assert places is None or name in places, f"{name} imports {target}"


def test_import_is_light():
    """Importing costs what NumPy and SciPy cost: nothing else comes along."""
    code = "import sys, sparsetconv; print(*sorted(m.split('.')[0] for m in sys.modules))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not loaded & {
        "numba",
        "matplotlib",
        "skimage",
        "tqdm",
        "cupy",
        "torch",
        "onnx",
        "tensorflow",
        "keras",
        "pyvips",
        "mpi4py",
        "petsc4py",
    }


def test_all_is_what_exists():
    public = {name for name in vars(stc) if not name.startswith("_")} - {n for n, _ in modules()}
    assert public | {"__version__", "pictures", "plot", "testing"} == set(stc.__all__)
    assert sorted(stc.__all__) == stc.__all__
    for module in (stc.testing, stc.pictures, stc.plot):
        for name in module.__all__:
            assert hasattr(module, name)


def test_public_names_have_documentation():
    for name in set(stc.__all__) - {"__version__"}:
        assert getattr(stc, name).__doc__, name


def test_files_and_functions_stay_small():
    """400 lines and 40 are where to ask what it is really two of; docstrings do not count."""
    for name, path in modules():
        tree = ast.parse(path.read_text())
        assert len(path.read_text().splitlines()) <= 500, name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                length = node.end_lineno - first.lineno + 1
                assert length <= 50, f"{name}.{node.name} has {length} lines"


def test_version_is_in_one_place():
    assert stc.__version__ == "0.1.0"
    changelog = PACKAGE.parent / "CHANGELOG.md"
    if changelog.exists():
        assert f"[{stc.__version__}]" in changelog.read_text() or "[Unreleased]" in changelog.read_text()
    assert isinstance(np.__version__, str)
