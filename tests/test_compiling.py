"""numba's compiler and its cache: where there is no place for it, from an archive, and turned off."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from operator_cases import integers
from strategies import stand_for

import sparsetconv as stc
from sparsetconv._arrays import switches
from sparsetconv._methods import work

PACKAGE = Path(stc.__file__).parent
METHODS = PACKAGE / "_methods"

# everything that is read from the package's folder, everything that is compiled; integers, so that results are exact
USE_ALL = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import sparsetconv as stc
    from importlib import resources
    from sparsetconv._arrays import cuda
    rng = np.random.default_rng(0)
    kernel, x = rng.integers(-3, 4, (5, 4)).astype(float), rng.integers(-3, 4, (90, 80)).astype(float)
    A = stc.ConvOperator(kernel, x.shape, padding="same", method="sparse")
    for method in {methods}:
        B = stc.ConvOperator(kernel, x.shape, padding="same", method=method)
        np.testing.assert_allclose(B @ x.ravel(), A @ x.ravel(), atol=1e-9)
    if "fft" in {methods}:
        K = stc.KernelOperator(x, kernel.shape, padding="same")
        np.testing.assert_array_equal(K.H @ (A @ x.ravel()), K.tosparse().T @ (A @ x.ravel()))
    assert stc.pictures.learned_kernel(2).ndim == 2
    folders = [resources.files("sparsetconv").joinpath(*each.split("/")) for each in cuda.FOLDERS]
    sources = [path.name for folder in folders for path in folder.iterdir() if ".cu" in path.name]
    assert len(sources) > 8 and all(map(cuda.source_text, sources))
print(json.dumps([stc.__file__, [[w.category.__name__, str(w.message)] for w in caught]]))
"""


def use(place, environment, methods=("direct",)):
    """Use the package at ``place`` in a process; return where it was, and the warnings."""
    names = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPATH", "NUMBA_DISABLE_JIT")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    clean |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    code = USE_ALL.format(methods=methods)
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def archive(tmp_path):
    """Return an archive of the package, of the kind that numba knows nothing of."""
    path = tmp_path / "application.pyz"
    with zipfile.ZipFile(path, "w") as file:
        for source in PACKAGE.rglob("*"):
            if source.is_file() and "__pycache__" not in source.parts:
                file.write(source, source.relative_to(PACKAGE.parent))
    return path


@pytest.fixture
def nowhere(tmp_path):
    """Return an environment whose home is no folder: not even root can write below it."""
    (tmp_path / "home").write_text("a file")
    return {"HOME": str(tmp_path / "home")}


@pytest.mark.parametrize("methods", stand_for(["direct"], ["direct fft"]), ids=str)
def test_archive_without_a_place_for_the_cache(methods, archive, nowhere):
    where, warned = use(archive, nowhere, tuple(methods.split()))
    assert where.startswith(str(archive))
    ((category, message),) = warned
    assert category == "RuntimeWarning"
    assert "NUMBA_CACHE_DIR" in message
    assert len(message) < 500


def test_archive_whose_cache_has_a_place(archive, nowhere, tmp_path):
    """The remedy that the warning names is one from an archive too, and the second process compiles nothing."""
    cache = tmp_path / "cache"
    environment = {**nowhere, "NUMBA_CACHE_DIR": str(cache)}
    assert use(archive, environment)[1] == []
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb[ic]")}
    assert len(kept) == 2
    assert use(archive, environment)[1] == []
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb[ic]")} == kept


def test_installation_that_cannot_be_written_to(nowhere, tmp_path):
    """Neither beside the sources, nor in a home, nor where the variable says."""
    place = tmp_path / "site"
    shutil.copytree(PACKAGE, place / "sparsetconv", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {loops.parent for loops in place.rglob("*loops.py")}:
        (folder / "__pycache__").write_text("a file")
    nowhere |= {"NUMBA_CACHE_DIR": str(tmp_path / "home" / "cache")}
    where, warned = use(place, nowhere)
    assert where.startswith(str(place))
    assert [category for category, _ in warned] == ["RuntimeWarning"]


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Return the module of the compiler, its cache in a folder of its own, nothing warned of."""
    from numba.core import config

    from sparsetconv._arrays import compiler as compiler_module

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler_module, "_warned", False)
    return compiler_module


def one_more(compiler):
    """Compile a small function, anew each time; return it, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @compiler.compiled
        def function(x):
            x[0] += 1

        x = np.zeros(1)
        function(x)
        assert x[0] == 1
    return function, [warning.category for warning in caught]


def test_what_is_compiled_is_kept(compiler):
    first, warned = one_more(compiler)
    second, again = one_more(compiler)
    assert warned + again == []
    assert [sum(f.stats.cache_hits.values()) for f in (first, second)] == [0, 1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_takes_nothing_more(number, compiler, monkeypatch):
    """It may have taken the empty file by which numba tries a place."""
    from numba.core.caching import IndexDataCacheFile

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    assert one_more(compiler)[1] == [RuntimeWarning]
    # once in a process
    assert one_more(compiler)[1] == []


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, pickle.dumps("another version")])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_files_are_written_anew(kind, damage, compiler, tmp_path):
    one_more(compiler)
    (path,) = (tmp_path / "cache").rglob(f"*.{kind}")
    path.write_bytes(damage)
    assert one_more(compiler)[1] == []
    healed, warned = one_more(compiler)
    assert warned == []
    assert sum(healed.stats.cache_hits.values()) == 1


def test_versions_come_from_where_a_module_was_loaded(compiler):
    expected = zlib.crc32(
        (METHODS / "cpu" / "stencil" / "plan.py").read_bytes() + (METHODS / "phases.py").read_bytes()
    )
    from sparsetconv._methods import phases
    from sparsetconv._methods.cpu.stencil import plan

    assert compiler.version_of(plan, phases) == expected
    assert compiler.version_of(phases, plan) != expected

    class Frozen:
        def get_data(self, path):
            raise FileNotFoundError(path)

    module = ModuleType("frozen")
    module.__file__, module.__loader__ = "nowhere.py", Frozen()
    assert compiler.version_of(module) == zlib.crc32(b"")


# numba's own reading of the variable
@pytest.mark.parametrize(
    ("value", "switch"),
    [
        ("1", "NUMBA_DISABLE_JIT=1"),
        (" 2 ", "NUMBA_DISABLE_JIT=2"),
        ("0", None),
        ("", None),
        ("yes", None),
    ],
)
def test_the_variable_that_turns_the_compiler_off(value, switch, monkeypatch):
    for module in [name for name in sys.modules if name == "numba.core.config"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    assert switches.compiler_switch() == switch


@pytest.fixture
def turned_off(monkeypatch):
    from numba.core import config

    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setattr(config, "DISABLE_JIT", 1)


@pytest.mark.usefixtures("turned_off")
@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("make", [stc.ConvOperator, stc.ConvTransposeOperator])
def test_compiled_methods_say_what_turns_them_off(method, make):
    expected = (
        f"^method='{method}' needs numba's compiler, which NUMBA_DISABLE_JIT=1 turns off; use method='sparse'"
    )
    with pytest.raises(ValueError, match=expected):
        make(np.ones((3, 3)), (9, 9), method=method)


def test_settings_in_a_program_are_named(monkeypatch, compiler):
    from numba.core import config

    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(config, "DISABLE_JIT", True)
    with pytest.raises(ValueError, match=r"which numba\.config\.DISABLE_JIT turns off"):
        stc.ConvOperator(np.ones(3), 9, method="direct")
    with pytest.raises(RuntimeError, match="need numba's compiler"):
        one_more(compiler)


# name: (kernel shape, input shape, options, dtypes)
LARGE = {
    "picture": ((7, 6), (82, 75), {"padding": "same", "padding_mode": "reflect"}, "fBD"),
    # gradients by transforms, those of integers window by window
    "many taps": ((21, 22), (30, 28), {"padding": "full"}, "dFi"),
    "channels": ((20, 16, 3, 2), (16, 21, 20), {"padding": 1, "stride": (2, 1)}, "fl"),
}


@pytest.mark.usefixtures("turned_off")
@pytest.mark.parametrize(("name", "code"), [(name, code) for name in LARGE for code in LARGE[name][3]])
def test_auto_and_all_operators_do_without_the_compiler(name, code, monkeypatch):
    """Problems large enough that loops would be compiled; none is asked for."""
    from sparsetconv._methods.cpu import direct, fft
    from sparsetconv._methods.kernel import gradient

    for module, loops in ((direct, "_Loops"), (gradient, "KernelGradient")):
        monkeypatch.setattr(module, loops, None)
    monkeypatch.setattr(fft, "TileTransforms", None)
    (kernel_shape, input_shape, options, _), dtype = LARGE[name], np.dtype(code)
    kernel, x = integers(kernel_shape, dtype), integers(input_shape, dtype, 1)
    A = stc.ConvOperator(kernel, input_shape, **options)
    assert A.nnz > work.SMALL
    assert A.method in ("sparse", "gemm")
    assert A.explain().count("needs numba's compiler, which NUMBA_DISABLE_JIT=1 turns off") == 2
    M = A.tosparse()
    y = integers(A.shape[0], dtype, 2)
    np.testing.assert_array_equal(A @ x.ravel(), M @ x.ravel())
    np.testing.assert_array_equal(A.T @ y, M.T @ y)
    K = stc.KernelOperator(x, kernel_shape, **options)
    np.testing.assert_array_equal(K @ kernel.ravel(), M @ x.ravel())
    back = K.H @ y
    expected = K.tosparse().conj().T @ y
    assert back.dtype == expected.dtype
    # sums of integers: only transforms round
    atol = (
        1000 * np.finfo(dtype).eps * np.abs(expected).max()
        if name == "many taps" and dtype.kind in "fc"
        else 0
    )
    np.testing.assert_allclose(back, expected, rtol=0, atol=atol)


@pytest.mark.usefixtures("turned_off")
def test_fits_and_resizing_do_without_the_compiler():
    rng = np.random.default_rng(0)
    kernel, x = rng.standard_normal((5, 4)), rng.standard_normal((120, 110))
    y = stc.ConvOperator(kernel, x.shape).apply(x)
    found = stc.fit_kernel([x], [y], kernel.shape)
    np.testing.assert_allclose(found, kernel, atol=1e-9)
    R = stc.ResizeOperator((300, 301), (600, 599))
    v = rng.standard_normal(R.shape[1])
    np.testing.assert_allclose(R @ v, R.tosparse() @ v, atol=1e-12)


def test_a_process_without_the_compiler():
    """As a user would, from the beginning."""
    code = """
import numpy as np, sparsetconv as stc
A = stc.ConvOperator(np.ones((7, 7), np.float32), (300, 300))
assert (A @ np.ones(A.shape[1], np.float32) == 49).all()
try:
    stc.ConvOperator([1.0], 3, method="direct")
except ValueError as error:
    print(error)
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(
        "method='direct' needs numba's compiler, which NUMBA_DISABLE_JIT=1 turns off"
    )
