"""How much runs: by default what a user waits for, with ``--all`` everything, with ``--rest`` what that is more.

A test of three factors or more (dtype, method, padding mode, ...) is tried on a choice of their combinations in
which every two values that may meet do meet. Most faults need no more than two to show. On the emulation of a GPU,
which compiles for most of them, pairs are all that ever runs; a card runs the product.

Of drawn examples a fifth runs by default (`strategies.examples`). A case marked ``full`` is one of a kind that others
of its test stand for: another dtype to compile for, another size.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from pairs import choice, pairs

# laws are tests that other modules take from there
pytest.register_assert_rewrite("operator_laws")

# choices must not depend on what the user has measured; processes that tests start inherit this
os.environ["SPARSETCONV_RATES"] = "off"

# doctests are looked for in modules, and docs/ has one of this name
collect_ignore = ["conftest.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--all", action="store_true", help="run all combinations of factors, not all pairs alone"
    )
    parser.addoption("--rest", action="store_true", help="run what --all adds, and tests that draw examples")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: runs with --all alone, since other cases stand for it")
    config.addinivalue_line("markers", "draws: asks for a number of examples inside")
    # in per cent of what a test asks for
    share = 100 if config.getoption("--all") or config.getoption("--rest") else 20
    settings.register_profile("share", settings(), max_examples=share, deadline=None)
    settings.load_profile("share")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    groups = {}
    for item in items:
        if not item.get_closest_marker("full"):
            groups.setdefault((item.nodeid.partition("[")[0], line(item)), []).append(item)
    short = {
        group[number]
        for group in groups.values()
        for number in choice([pairs(factors(item)) for item in group])
    }
    more = {item for item in items if not is_emulated(item)} - short
    kept = short
    if config.getoption("--rest"):
        kept = more | {item for item in short if draws(item) and not is_emulated(item)}
    elif config.getoption("--all"):
        kept = more | short
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def is_emulated(item):
    """Return whether a test runs on the emulation of a GPU."""
    return hasattr(item, "callspec") and item.callspec.params.get("cp") == "emulated"


def draws(item):
    """Return whether a test draws examples, of which there are more with ``--all``."""
    by_hypothesis = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return by_hypothesis or item.get_closest_marker("draws") is not None


def line(item):
    """Return the line of `operator_cases` that an item's operator is from, if it is from one."""
    case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    return getattr(case, "name", None)


def factors(item):
    """Return the factors of an item: their names, and which objects they are here."""
    left = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    found = []
    for mark in item.iter_markers("parametrize"):
        # names that are given together are one factor, a row of a table
        names = mark.args[0].replace(",", " ").split() if isinstance(mark.args[0], str) else mark.args[0]
        values = {name: left.pop(name) for name in names}
        # a case of operators is made of factors itself
        cases = [name for name in names if hasattr(values[name], "levels")]
        found += [((name,), (level,)) for case in cases for name, level in values.pop(case).levels]
        if values:
            found.append((tuple(values), tuple(map(id, values.values()))))
    return [*found, *(((name,), (id(value),)) for name, value in left.items())]
