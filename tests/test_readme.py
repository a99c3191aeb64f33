"""The README's promises: its two commands, and its five lines."""

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_commands_stand_alone_on_their_lines():
    lines = README.splitlines()
    assert lines.count('python -m pip install ".[demo]" && python -m sparsetconv demo') == 1
    assert lines.count('python -m pip install ".[test]" && python -m pytest') == 1


def test_five_lines_deblur_a_picture():
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "lsmr" in b)
    assert len([line for line in block.splitlines() if line.strip()]) == 5
    # a picture with edges: bars of random widths, both ways
    rng = np.random.default_rng(0)
    rows, columns = (np.repeat(rng.random(16), rng.integers(2, 12, 16)) for _ in range(2))
    names = {"picture": (rows[:80, None] + columns[None, :90]) / 2}
    exec(block, names)
    before, after = (np.abs(names[name] - names["picture"]).mean() for name in ("blurred", "sharp"))
    assert after < 0.2 * before


def test_links_lead_somewhere():
    root = Path(__file__).parent.parent
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
