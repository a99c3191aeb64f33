"""The README's promises: its two commands."""

from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_commands_stand_alone_on_their_lines():
    lines = README.splitlines()
    assert lines.count('python -m pip install ".[demo]" && python -m sparsetconv demo') == 1
    assert lines.count('python -m pip install ".[test]" && python -m pytest') == 1
