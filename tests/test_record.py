"""Records: what NumPy writes is what emitted loops and C read, by the same names."""

import ctypes
import subprocess

import numpy as np
import pytest

from sparsetconv._arrays.record import Record, Records, c_struct, filled, numbers, record, size

POINT = record("x", "y")
BOX = record("first", ("corners", POINT, 2), ("lines", 3), "last")
FLAT = np.arange(1, size(BOX) + 1)


class Memory(list):
    """A list of numbers stands for emitted memory: what is read and written is known at once."""


class Variable:
    def __init__(self, now):
        self.now = now


def test_numbers_stand_in_the_order_of_names():
    corners = filled(POINT, x=[2, 4], y=[3, 5])
    box = filled(BOX, first=1, corners=corners, lines=[6, 7, 8], last=9)
    assert numbers(box).tolist() == FLAT.tolist()
    assert size(BOX) == 9


def test_fields_are_broadcast():
    points = filled(POINT, x=np.arange(3), y=np.arange(2)[:, None])
    assert points.shape == (2, 3)
    assert points[1].tolist() == [(0, 1), (1, 1), (2, 1)]
    lines = filled(record(("lines", 2), "count"), lines=np.arange(6).reshape(3, 2), count=7)
    assert numbers(lines).tolist() == [0, 1, 7, 2, 3, 7, 4, 5, 7]
    assert numbers(filled(POINT, x=np.zeros(0), y=1)).tolist() == []


def test_emitted_loops_read_by_name():
    memory = Memory([0, 0, *range(10, 10 + size(BOX))])
    box = Record(memory, 2, record("first", ("corners", 4), ("lines", 3), "last"))
    assert (box.first, box.last, box.lines[0], box.lines[2]) == (10, 18, 15, 17)
    assert box.lines.at(0, 2) == 2 + 5 + 2
    box.lines[1] = -1
    assert memory[8] == -1


def test_records_follow_one_another_and_move():
    memory = Memory(range(20))
    points = Records(memory, 3, POINT)
    assert points.at(4) == 11
    assert (points[4].x, points[4].y) == (11, 12)
    place = Variable(3)
    moving = Record(memory, place, POINT)
    assert moving.y == 4
    place.now += size(POINT)
    assert moving.y == 6


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="a record of x, y has no z"):
        _ = Record(Memory([1, 2]), 0, POINT).z
    with pytest.raises(TypeError, match=r"exactly its fields x, y; got x$"):
        filled(POINT, x=1)
    with pytest.raises(TypeError, match=r"exactly its fields x, y; got x, y, z$"):
        filled(POINT, x=1, y=2, z=3)


def structs():
    return "\n".join([c_struct("Point", POINT, {}), c_struct("Box", BOX, {"Point": POINT})])


def built(tmp_path, expression):
    code = (
        f'{structs()}\nextern "C" long long f(const long long* t) {{ return ((const Box*)t)->{expression}; }}'
    )
    source, library = tmp_path / "f.cpp", tmp_path / "f.so"
    source.write_text(code)
    command = ["g++", "-shared", "-fPIC", str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    function = ctypes.CDLL(str(library)).f
    function.restype = ctypes.c_longlong
    return function


def test_c_reads_by_name(tmp_path):
    function = built(tmp_path, "corners[1].x * 1000 + ((const Box*)t)->lines[1]")
    flat = np.ascontiguousarray(FLAT, np.int64)
    assert function(flat.ctypes.data_as(ctypes.c_void_p)) == 4007


def test_a_misspelt_name_does_not_compile(tmp_path):
    with pytest.raises(RuntimeError, match="liines"):
        built(tmp_path, "liines[1]")
