"""The pages: every block runs somewhere, every link leads somewhere, every public name has its entry."""

import ast
import codeop
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import sparsetconv

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BUILT = {"_build", "auto_gallery", "generated"}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for page in sorted(DOCS.rglob("*.md")) if not BUILT & set(page.relative_to(DOCS).parts)),
]
# blocks of Python that are not written as doctests, by a line in them, and the test that runs each
EXECUTED = {
    ("README.md", "A = stc.ConvOperator([[1 / 9] * 9], picture.shape"): (
        "tests/test_examples.py::test_deblurring_is_no_worse_than_doing_nothing"
    ),
    ("docs/gpu.md", "kernel = cupy.asarray("): "tests/gpu/test_gpu_page.py::test_block_runs",
    ("docs/gpu.md", "both = stc.capture("): "tests/gpu/test_gpu_page.py::test_block_runs",
    ("docs/gpu.md", "last = cupy.cuda.runtime"): "tests/gpu/test_gpu_page.py::test_block_runs",
    ("docs/learning.md", "class TransposedConvolution(torch.autograd.Function):"): (
        "tests/parity/test_learning_torch.py::test_two_directions_as_forward_and_backward"
    ),
}
FENCE = re.compile(r"^( *)(`{3,}|~{3,}|:{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(text):
    """Return the language and the text of every fenced block."""
    return [(words[2].strip(), words[3]) for words in FENCE.findall(text)]


def python_blocks(text):
    named = re.compile(
        r"^(python|py|pycon|ipython|\{(code|code-block|code-cell|doctest)\} *\w*)\b", re.IGNORECASE
    )
    return [block for language, block in blocks(text) if named.match(language)]


def functions(path):
    """Return the names of the functions in a file of tests."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@each_page
def test_every_block_of_python_runs(page):
    for block in python_blocks(page.read_text()):
        if block.lstrip().startswith(">>> "):
            assert "+SKIP" not in block, block
            # what .ci/run collects
            assert page == ROOT / "README.md" or DOCS in page.parents, (
                "doctests are run on README.md and in docs"
            )
            continue
        known = [line for name, line in EXECUTED if name == name_of(page) and line in block]
        assert known, f"a block that nothing runs; write it as a doctest:\n{block}"


@each_page
def test_blocks_can_be_pasted_into_the_prompt(page):
    """Python's own, which ends a compound statement at an empty line and not before."""
    for block in python_blocks(page.read_text()):
        statement = []
        for line in block.splitlines():
            if line.startswith((">>> ", "... ")) or line in (">>>", "..."):
                statement.append(line[4:])
                # raises SyntaxError where a statement begins before the last one has ended
                if codeop.compile_command("\n".join(statement), symbol="single") is not None:
                    statement = []
        assert not [line for line in statement if line], block


@each_page
def test_output_is_never_without_its_input(page):
    # a prompt outside of a block of Python would be run by doctest, and not be shown as Python
    text = page.read_text()
    inside = "".join(python_blocks(text))
    assert text.count("\n>>> ") == ("\n" + inside).count("\n>>> ")


@pytest.mark.parametrize(("page", "line"), EXECUTED)
def test_executed_blocks_have_their_test(page, line):
    assert sum(line in block for block in python_blocks((ROOT / page).read_text())) == 1
    path, function = EXECUTED[page, line].split("::")
    assert function in functions(path)


def test_ci_runs_the_doctests():
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("no checkout")
    commands = script.read_text()
    assert re.search(r"pytest .*--doctest-glob='\*\.md' .*README\.md docs", commands)


def anchors(page):
    """Return what GitHub and MyST make of the headings."""
    text = FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text):
    """Return the targets of links and images, outside of code."""
    return LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text)))


@each_page
def test_links_and_anchors_lead_somewhere(page):
    for target in links(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_images_are_used():
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in links(page.read_text())
        if not target.startswith("http")
    }
    for image in (DOCS / "images").iterdir():
        assert image.resolve() in shown, f"{image.name} is on no page"


@each_page
def test_tests_that_are_named_exist(page):
    for path, function in re.findall(r"`((?:tests/)?(?:parity/)?test_\w+\.py)::(\w+)`", page.read_text()):
        candidates = [f for f in (ROOT / "tests").rglob(Path(path).name) if str(f).endswith(path)]
        assert any(function in functions(f.relative_to(ROOT)) for f in candidates), f"{path}::{function}"


def test_conventions_name_a_test_in_every_line():
    page = (DOCS / "conventions.md").read_text()
    tables = re.findall(r"^\|.*\| held by \|\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert len(tables) == page.count("| held by |") > 0
    for table in tables:
        for line in table.splitlines():
            assert re.search(r"`test_\w+\.py::test_\w+` \|$", line), line


def entries():
    """Return what the reference lists, by module."""
    found = {}
    module = None
    for line in (DOCS / "api" / "index.md").read_text().splitlines():
        if match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.match(r"   ([A-Za-z_]\w*)$", line):
            found.setdefault(module, []).append(match[1])
    return found


def public_modules():
    names = (name for name in sparsetconv.__all__ if isinstance(getattr(sparsetconv, name), ModuleType))
    return ["sparsetconv", *(f"sparsetconv.{name}" for name in names)]


@pytest.mark.parametrize("module", public_modules())
def test_every_public_name_has_an_entry(module):
    names = set(import_module(module).__all__)
    if module == "sparsetconv":
        # modules have sections of their own, the version a sentence
        names -= {"__version__", *(name.removeprefix("sparsetconv.") for name in public_modules())}
        assert "`stc.__version__`" in (DOCS / "api" / "index.md").read_text()
    else:
        names -= set(sparsetconv.__all__)
    assert sorted(entries()[module]) == sorted(names)
