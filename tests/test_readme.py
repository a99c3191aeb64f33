"""The README's promises: its two commands, and its links."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_commands_stand_alone_on_their_lines():
    lines = README.splitlines()
    assert lines.count('python -m pip install ".[demo]" && python -m sparsetconv demo') == 1
    assert lines.count('python -m pip install ".[test]" && python -m pytest') == 1


def test_links_lead_somewhere():
    root = Path(__file__).parent.parent
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
