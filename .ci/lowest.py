"""Print the lowest versions that ``pyproject.toml`` allows, for pip: ``python .ci/lowest.py test plot``.

Arguments are names of extras and of dependency groups; what the package itself depends on comes first. An
upper bound is kept; a requirement without a lower bound is printed as it is. So a bound must be the name of a
version that exists.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet


def lowest(text: str) -> str:
    """Return a requirement with its lower bounds as versions that it must have."""
    requirement = Requirement(text)
    bounds = (Specifier(str(each).replace(">=", "==")) for each in requirement.specifier)
    requirement.specifier = SpecifierSet(",".join(map(str, bounds)))
    return str(requirement).replace(" ", "")


def main(names: list[str]) -> None:
    """Print one requirement a line; those of several extras once each."""
    table = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    known = {**table["dependency-groups"], **table["project"]["optional-dependencies"]}
    texts = [*table["project"]["dependencies"], *(text for name in names for text in known[name])]
    print("\n".join(dict.fromkeys(map(lowest, texts))))


if __name__ == "__main__":
    main(sys.argv[1:])
