"""The table of planted faults is not out of date. `mutants.py` itself plants them, which takes minutes."""

import ast
from pathlib import Path

import pytest
from mutants import MUTANTS, ROOT, finding, place, plant, sources

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@each_mutant
def test_text_is_in_the_package_once(mutant):
    file = place(mutant, ROOT)
    text = file.read_text()
    changed = text.replace(mutant.old, mutant.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    assert all((Path(__file__).parent / name).exists() for name in mutant.near)


def test_faults_are_as_many_as_parts():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 10


def test_a_fault_is_planted(tmp_path):
    mutant = MUTANTS[0]
    for source in sources(mutant.where):
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / source).write_text((ROOT / source).read_text())
    plant(mutant, tmp_path)
    changed = [file for file in sources(mutant.where) if mutant.new in (tmp_path / file).read_text()]
    assert [ROOT / file for file in changed] == [place(mutant, ROOT)]
    with pytest.raises(AssertionError, match="its text stands 0 times in"):
        place(mutant, tmp_path)


def test_what_pytest_says_is_understood():
    head = "..F\n=== short test summary info ===\n"
    assert (
        finding(1, head + "FAILED tests/test_a.py::test_b[1-x y] - assert 1 == 2\n")
        == "tests/test_a.py::test_b[1-x y]"
    )
    assert (
        finding(1, head + "FAILED tests/test_a.py::TestA::test_b\n1 failed")
        == "tests/test_a.py::TestA::test_b"
    )
    assert finding(0, "3 passed") == ""
    # a file that cannot be imported, an error in a fixture, a crash
    for status, text in (
        (2, "ERROR tests/test_a.py\n"),
        (1, "ERROR tests/test_a.py::test_b - x"),
        (-11, ".."),
    ):
        with pytest.raises(AssertionError, match=text.strip()):
            finding(status, text)
