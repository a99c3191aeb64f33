"""The command line, as a user calls it."""

import importlib
import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from scipy_files import read

import sparsetconv as stc
from sparsetconv._cli.main import main
from sparsetconv._methods.registry import METHODS


def run(capsys, *args):
    code = main(args)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_plan_states_what_the_geometry_knows(capsys):
    code, out, _ = run(
        capsys,
        "plan",
        "--kernel-shape",
        "7x7",
        "--shape",
        "4096x4096",
        "--padding",
        "same",
        "--padding-mode",
        "reflect",
    )
    assert code == 0
    g = stc.ConvGeometry((4096, 4096), (7, 7), padding="same", padding_mode="reflect")
    for text in (f"{g.nnz:,}", "16,777,216 x 16,777,216", "int32", "(4096, 4096)"):
        assert text in out
    for dtype in ("float32", "float64", "complex64", "complex128"):
        assert f"{g.nbytes(dtype):,}" in out
    for method in (*METHODS, "assembly"):
        assert method in out


def test_plan_allocates_nothing(capsys):
    """A matrix of exabytes."""
    code, out, _ = run(
        capsys, "plan", "--kernel-shape", "9x9x9", "--shape", "1000000x1000000x1000000", "--stride", "2"
    )
    assert code == 0
    assert "int64" in out
    # each time in a column of its own, also one of thousands of years
    (row,) = (line for line in out.splitlines() if line.startswith("float64"))
    assert len(re.findall(r" [\d.e+]+ (?:us|ms|s)\b", row)) == 1 + len(METHODS)


def test_plan_transposed(capsys):
    code, out, _ = run(
        capsys, "plan", "--kernel-shape", "8x3x4x4", "--shape", "8,10,12", "--transposed", "--stride", "2x2",
        "--padding", "1:1x0:1", "--output-padding", "1x0", "--dilation", "1",
    )  # fmt: skip
    assert code == 0
    T = stc.conv_transpose_matrix(
        np.ones((8, 3, 4, 4)), (8, 10, 12), stride=2, padding=((1, 1), (0, 1)), output_padding=(1, 0)
    )
    assert f"{T.shape[0]:,} x {T.shape[1]:,}" in out
    assert f"{T.nnz:,}" in out
    assert f"{T.data.nbytes + T.indices.nbytes + T.indptr.nbytes:,}" in out
    code, out, _ = run(
        capsys, "plan", "--kernel-shape", "3", "--shape", "9", "--transposed", "--output-shape", "11"
    )
    assert code == 0
    assert "(11,)" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--kernel-shape", "9x9", "--shape", "4x4"), "error: the kernel must fit into the padded input"),
        (
            ("--kernel-shape", "3x3", "--shape", "4x4", "--padding-mode", "mirror"),
            "error: padding_mode must be one of",
        ),
        (
            ("--kernel-shape", "3x3", "--shape", "4x4", "--output-padding", "1"),
            "error: output_padding belongs to a transposed convolution, got 1",
        ),
        (
            ("--kernel-shape", "3x3", "--shape", "4x4", "--stride", "0"),
            "error: stride must be at least 1, got 0",
        ),
    ],
)
def test_rules_are_those_of_the_library(capsys, args, message):
    code, _, err = run(capsys, "plan", *args)
    assert code == 1
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("plan", "--kernel-shape", "3xa", "--shape", "4x4"),
            "expected integers joined by 'x' or ',', such as 7x7, got '3xa'",
        ),
        (
            ("plan", "--kernel-shape", "3", "--shape", "4", "--padding", "some"),
            "expected one of valid, same, same_lower, full",
        ),
        (("plan", "--kernel-shape", "3"), "required: --shape"),
        ((), "required: command"),
        (("explode",), "invalid choice: 'explode'"),
    ],
)
def test_usage_errors(capsys, args, message):
    with pytest.raises(SystemExit) as error:
        main(args)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def kernel(tmp_path):
    path = tmp_path / "kernel.npy"
    np.save(path, np.arange(1.0, 7.0).reshape(2, 3))
    return path


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "dia"])
def test_build_npz(capsys, kernel, tmp_path, format):
    out = tmp_path / "a.npz"
    args = ("--shape", "5x6", "--padding", "0:1x1", "--padding-mode", "reflect,circular", "--flip")
    code, text, _ = run(capsys, "build", str(kernel), str(out), "--format", format, *args)
    assert code == 0
    expected = stc.conv_matrix(
        np.load(kernel), (5, 6), padding=((0, 1), 1), padding_mode=("reflect", "circular"), flip=True
    )
    loaded = sp.load_npz(out)
    assert loaded.format == format
    np.testing.assert_array_equal(loaded.toarray(), expected.toarray())
    assert "30 x 30" in text


def test_build_matrix_market(capsys, kernel, tmp_path):
    out = tmp_path / "a.mtx"
    code, _, _ = run(
        capsys, "build", str(kernel), str(out), "--shape", "4x5", "--transposed", "--stride", "2"
    )
    assert code == 0
    expected = stc.conv_transpose_matrix(np.load(kernel), (4, 5), stride=2)
    np.testing.assert_array_equal(read(scipy.io.mmread, out).toarray(), expected.toarray())


class Terminal(io.StringIO):
    """Standard input with somebody at it."""

    def isatty(self):
        return True


def test_build_asks_before_overwriting(kernel, tmp_path, monkeypatch, capsys):
    out = tmp_path / "a.npz"
    args = ("build", str(kernel), str(out), "--shape", "5x6")
    out.write_text("precious")
    for stdin in (io.StringIO("y\n"), Terminal("\n"), Terminal("n\n")):
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(args) == 1
        assert out.read_text() == "precious"
    assert "exists; --force overwrites it" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert main(args) == 0
    assert sp.load_npz(out).shape == (16, 30)
    out.write_text("precious")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main((*args, "--force")) == 0
    assert sp.load_npz(out).shape == (16, 30)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("k.npy", None, "No such file"),
        ("k.npy", np.ones((2, 2), np.float16), "kernel must be float32"),
        ("k.npy", np.array([{}]), "k.npy must hold one array, as numpy.save writes it, of numbers"),
    ],
)
def test_build_bad_kernels(capsys, tmp_path, name, content, message):
    if content is not None:
        np.save(tmp_path / name, content, allow_pickle=True)
    code, _, err = run(capsys, "build", str(tmp_path / name), str(tmp_path / "a.npz"), "--shape", "4x4")
    assert code == 1
    assert message in err
    assert not (tmp_path / "a.npz").exists()


def test_build_bad_output(capsys, kernel, tmp_path):
    code, _, err = run(capsys, "build", str(kernel), str(tmp_path / "a.txt"), "--shape", "4x4")
    assert code == 1
    assert "output must end in one of .npz, .mtx, got" in err


def test_options_have_one_name_each(capsys):
    """A kernel is a file for all commands, and its shape another word: nothing is abbreviated."""
    for words in (
        ("plan", "--kernel", "3x3", "--shape", "4x4"),
        ("plan", "--kernel-s", "3x3", "--shape", "4x4"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert "required: --kernel-shape" in capsys.readouterr().err


def test_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "sparsetconv", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: python -m sparsetconv [-h]")


def test_script_is_declared(capsys, monkeypatch):
    """The wheel's ``sparsetconv`` calls what ``pyproject.toml`` names, without arguments."""
    project = Path(__file__).parents[1] / "pyproject.toml"
    module, _, name = tomllib.loads(project.read_text())["project"]["scripts"]["sparsetconv"].partition(":")
    script = getattr(importlib.import_module(module), name)
    monkeypatch.setattr("sys.argv", ["/some/where/sparsetconv.exe", "plan", "--help"])
    with pytest.raises(SystemExit) as ended:
        script()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: sparsetconv plan [-h]")
    monkeypatch.setattr("sys.argv", ["sparsetconv", "plan", "--kernel-shape", "9x9", "--shape", "4x4"])
    assert script() == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == f"sparsetconv {stc.__version__}"


def test_demo(capsys, tmp_path):
    """The whole main job; only where the demo's extra is installed."""
    pytest.importorskip("skimage")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    out = tmp_path / "demo.png"
    code, text, _ = run(capsys, "demo", "-o", str(out))
    assert code == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    for word in ("bicubic", "bilinear", "nearest", "PSNR", "16"):
        assert word in text


def test_demo_without_its_extra(capsys, tmp_path, monkeypatch):
    for name in ("matplotlib", "skimage", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = run(capsys, "demo", "-o", str(tmp_path / "demo.png"))
    assert code == 1
    assert "demo]" in err
