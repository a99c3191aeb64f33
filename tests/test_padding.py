"""The table of padding modes: its numbers say what is written out elsewhere, and nothing else knows a mode."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from reference import CONSTANTS, PERIODS, extension_index
from test_axis import replay

import sparsetconv as stc
from sparsetconv._assembly.runs import forward_runs, transposed_runs
from sparsetconv._geometry import padding
from sparsetconv._geometry.axis import Axis
from sparsetconv._geometry.extension import samples_at
from sparsetconv._geometry.segments import forward_segments, transposed_segments

PACKAGE = Path(stc.__file__).parent
PAGE = PACKAGE.parent / "docs" / "conventions.md"
each_mode = pytest.mark.parametrize("mode", padding.PADDING.values(), ids=lambda mode: mode.name)
SIZES = range(1, 7)


def test_the_naive_rule_knows_the_same_modes():
    assert {*CONSTANTS, *PERIODS} == set(padding.PADDING)


@each_mode
def test_a_mode_is_shown_by_its_place_in_the_table(mode):
    assert eval(repr(mode), vars(padding)) is mode


@each_mode
@pytest.mark.parametrize("size", SIZES)
def test_period(mode, size):
    if mode.name in CONSTANTS:
        assert mode.constant
        assert mode.period(size) == 1
    else:
        pieces = PERIODS[mode.name](size)
        assert mode.mirrored == (len(pieces) == 2)
        assert mode.period(size) == max(sum(map(len, pieces)), 1)


@each_mode
@pytest.mark.parametrize("size", SIZES)
def test_the_scalar_rule_and_that_for_arrays(mode, size):
    positions = range(-4 * size - 3, 5 * size + 3)
    expected = [extension_index(mode.name, size, p) for p in positions]
    assert [mode.sample(size, p) for p in positions] == expected
    numbers = [-1 if sample is None else sample for sample in expected]
    assert samples_at(mode, size, np.array(positions)).tolist() == numbers


@each_mode
@pytest.mark.parametrize("size", SIZES[1:])
def test_copies(mode, size):
    """Copies follow each other without gaps; every second one of a mirrored signal runs backwards."""
    if mode.constant:
        return
    for copy in range(-5, 6):
        begin, end = mode.copy_begin(size, copy), mode.copy_begin(size, copy + 1)
        assert begin < end
        assert [mode.copy_at(size, p) for p in range(begin, end)] == [copy] * (end - begin)
        backwards = mode.mirrored and copy % 2
        samples = range(size - 1, -1, -1) if backwards else range(size)
        shown = [extension_index(mode.name, size, p) for p in range(begin, end)]
        assert shown == list(samples[: end - begin])
    positions = np.arange(-50, 50)
    copies = mode.copy_at(size, positions)
    assert copies.tolist() == [mode.copy_at(size, p) for p in positions.tolist()]
    assert mode.copy_begin(size, copies).tolist() == [mode.copy_begin(size, c) for c in copies.tolist()]


UNEVEN = {
    # a mirror on the first sample and one behind the last, and the other way round
    "first": (padding.PaddingMode("first", 2, on_first=1), lambda n: [range(n), range(n - 1, 0, -1)]),
    "last": (padding.PaddingMode("last", 2, on_last=1), lambda n: [range(n), range(n - 2, -1, -1)]),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_a_mode_in_the_table_is_known_to_every_rule(name, monkeypatch):
    """Copies of unlike lengths, which no mode of the table has: entries, segments and runs, output by output."""
    mode, pieces = UNEVEN[name]
    monkeypatch.setitem(padding.PADDING, name, mode)
    monkeypatch.setitem(PERIODS, name, pieces)
    rng = np.random.default_rng(0)
    for _ in range(150):
        size, taps, stride, dilation = (int(rng.integers(1, top)) for top in (9, 8, 5, 4))
        before = int(rng.integers(-4, 20))
        axis = Axis(size, taps, stride, before, dilation * taps + 20 - before, dilation, name)
        read = [
            sorted((extension_index(name, size, axis.first(o) + t * dilation), t) for t in range(taps))
            for o in range(axis.outputs)
        ]
        assert axis.nnz == sum(len({sample for sample, _ in row}) for row in read)
        assert replay(forward_segments(axis), read) == read
        columns = [
            sorted((o, t) for o, row in enumerate(read) for sample, t in row if sample == column)
            for column in range(size)
        ]
        assert replay(transposed_segments(axis), columns) == columns
        if size > 1:
            assert listed(forward_runs(axis, 0, axis.outputs)) == read
            assert listed(transposed_runs(axis, 0, size)) == columns


def listed(runs):
    """Return the pairs of each row, in order."""
    columns, taps = runs.pairs()
    ends = np.cumsum(runs.length.sum(1))[:-1]
    rows = zip(np.split(columns, ends), np.split(taps, ends), strict=True)
    return [sorted(zip(row.tolist(), tap.tolist(), strict=True)) for row, tap in rows]


@each_mode
def test_pages_show_the_mode(mode):
    """``a a | a b c d | d d`` in the docstring and on the page are what the table says."""
    before, after = (
        ["0" if s is None else "abcd"[s] for s in (extension_index(mode.name, 4, p) for p in places)]
        for places in (range(-3, 0), range(4, 7))
    )
    (row,) = re.findall(rf"^\| `{mode.name}` \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row.strip(" `").split(" │ ") == [" ".join(before), "a b c d", " ".join(after)]
    text = " ".join(stc.ConvGeometry.__doc__.split())
    assert f'``"{mode.name}"``' in text
    if not mode.zero:
        pattern = rf'``"{mode.name}"`` \(``([^`]*)``\)'
        left, inside, right = re.findall(pattern, text)[0].split(" | ")
        assert inside == "a b c d"
        assert " ".join(before).endswith(left)
        assert " ".join(after).startswith(right)


@each_mode
def test_users_may_write_the_mode(mode):
    for word in filter(None, (mode.name, mode.alias)):
        assert stc.ConvGeometry(4, 3, padding=1, padding_mode=word).padding_mode == (mode.name,)
    for word in mode.foreign:
        with pytest.raises(ValueError, match=f"here it is padding_mode='{mode.name}'"):
            stc.ConvGeometry(4, 3, padding=1, padding_mode=word)


def names_compared(tree, names):
    """Yield the lines on which something is compared with a name, or looked up by one."""
    for node in ast.walk(tree):
        asked = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) != "Literal":
            asked = [node.slice]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        for constant in (each for part in asked for each in ast.walk(part)):
            if isinstance(constant, ast.Constant) and constant.value in names:
                yield node.lineno


def test_no_other_module_asks_for_a_mode_by_name():
    """What a mode does is read from the table. torch's own word is torch's."""
    asked = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := list(names_compared(ast.parse(path.read_text()), padding.PADDING)))
    }
    assert set(asked) == {"_frameworks/torch.py"}
