"""Files are written whole or not at all: by the helper, and by every command that writes."""

import errno
import io
import os
import stat
import sys

import numpy as np
import pytest

from sparsetconv._arrays import output as output_module
from sparsetconv._cli import demo_figure
from sparsetconv._cli.main import main

OLD, NEW = b"what was there", b"what comes"


def write(path, content=NEW):
    with output_module.whole_file(path) as file:
        file.write(content)


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_there_when_the_block_has_ended(tmp_path):
    path = tmp_path / "a"
    with output_module.whole_file(path) as file:
        file.write(NEW)
        assert not path.exists()
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, MemoryError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, OLD])
def test_a_failure_leaves_things_as_they_were(tmp_path, error, old):
    path = tmp_path / "a"
    if old:
        path.write_bytes(old)

    def fail():
        with output_module.whole_file(path) as file:
            file.write(b"half of")
            raise error

    with pytest.raises(error):
        fail()
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([old] if old else [])


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions(tmp_path, mask):
    """A new file's are what the mask leaves, one that is replaced hands on its own."""
    before = os.umask(mask)
    try:
        write(tmp_path / "new")
        (tmp_path / "old").write_bytes(OLD)
        (tmp_path / "old").chmod(0o640)
        write(tmp_path / "old")
    finally:
        os.umask(before)
    assert permissions(tmp_path / "new") == 0o666 & ~mask
    assert permissions(tmp_path / "old") == 0o640


@pytest.mark.parametrize("old", [None, OLD])
def test_links_are_followed(tmp_path, old):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "a", tmp_path / "link"
    if old:
        target.write_bytes(old)
    link.symlink_to(target)
    output_module.check_place(link)
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert list(target.parent.iterdir()) == [target]


def test_places_where_nothing_can_be_written(tmp_path, monkeypatch):
    link = tmp_path / "circle"
    link.symlink_to(link)
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, link, tmp_path / "fifo"):
        with pytest.raises(FileExistsError, match="output must be a file, got"):
            output_module.check_place(path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent" / "a")
    for path in (tmp_path / "absent" / "a", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="output must lie in a folder that exists"):
            output_module.check_place(path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="folder that can be written to"):
        output_module.check_place(tmp_path / "a")


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "absent" / "a"
    with pytest.raises(FileNotFoundError) as error:
        write(path)
    assert error.value.filename == str(path)


def words_of(command, tmp_path):
    """Return a command that writes, and its output."""
    kernel, picture = tmp_path / "kernel.npy", tmp_path / "in.png"
    if command == "build":
        np.save(kernel, np.ones((2, 3)))
        return ["build", str(kernel), str(tmp_path / "out.npz"), "--shape", "5x6"]
    if command == "build, text":
        np.save(kernel, np.ones((2, 3)))
        return ["build", str(kernel), str(tmp_path / "out.mtx"), "--shape", "5x6"]
    if command == "demo":
        for name in ("matplotlib", "skimage", "tqdm"):
            pytest.importorskip(name)
        return ["demo", "-o", str(tmp_path / "out.png")]
    pytest.importorskip("tqdm")
    image = pytest.importorskip("pyvips").Image
    samples = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
    picture.write_bytes(image.new_from_array(samples).copy(interpretation="b-w").write_to_buffer(".png"))
    if command == "learn":
        return ["learn", str(picture), "--scale", "2", "--taps", "4", "-o", str(tmp_path / "out.npy")]
    return ["upsample", str(picture), str(tmp_path / "out.tif"), "--scale", "2"]


def output_of(words):
    return next(word for word in words if "out." in word)


COMMANDS = ("build", "build, text", "demo", "learn", "upsample")


@pytest.fixture
def quick_demo(monkeypatch):
    """The demo's figure without its computation."""
    monkeypatch.setattr(
        "sparsetconv._cli.demo.run", lambda output: demo_figure.draw([], (), None, None, output)
    )
    monkeypatch.setattr(demo_figure, "_draw_panel", lambda *_: None)
    monkeypatch.setattr(demo_figure, "_draw_matrices", lambda *_: None)
    panel = demo_figure.Panel("", "", np.zeros((8, 8)))
    draw = demo_figure.draw
    monkeypatch.setattr(demo_figure, "draw", lambda *arguments: draw([panel], *arguments[1:]))


@pytest.mark.usefixtures("quick_demo")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_write_whole_files_or_none(tmp_path, monkeypatch, capsys, command):
    words = words_of(command, tmp_path)
    output = tmp_path / output_of(words)
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patched:

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output))

        patched.setattr(type(output), "replace", full)
        assert main(words) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1] == f"error: {str(output)!r}: No space left on device"
    assert sorted(tmp_path.iterdir()) == before
    assert main(words) == 0
    assert sorted(tmp_path.iterdir()) == sorted([*before, output])
    assert output.stat().st_size > 0


@pytest.mark.usefixtures("quick_demo")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_commands_ask_before_they_overwrite(tmp_path, monkeypatch, capsys, command, kind):
    words = words_of(command, tmp_path)
    output, target = tmp_path / output_of(words), tmp_path / "target"
    if kind == "file":
        output.write_bytes(OLD)
    else:
        output.symlink_to(target)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(words) == 1
    assert "exists; --force overwrites it" in capsys.readouterr().err
    assert not target.exists()
    assert main([*words, "--force"]) == 0
    assert output.read_bytes() != OLD
    assert output.is_symlink() == (kind != "file")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_check_the_place_before_the_work(tmp_path, monkeypatch, capsys, command):
    words = words_of(command, tmp_path)
    for name in ("_cli.demo.run", "_cli.main.conv_matrix", "pictures.learn", "pictures.upsample"):
        monkeypatch.setattr(f"sparsetconv.{name}", None)
    output = output_of(words)
    absent = [word.replace("out.", "absent/out.") if word == output else word for word in words]
    assert main(absent) == 1
    assert "output must lie in a folder that exists" in capsys.readouterr().err
    (tmp_path / output).mkdir()
    assert main([*words, "--force"]) == 1
    assert "output must be a file, got" in capsys.readouterr().err


def test_interruption(tmp_path, monkeypatch, capsys):
    words = words_of("build", tmp_path)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparsetconv._cli.main.conv_matrix", interrupt)
    assert main(words) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
