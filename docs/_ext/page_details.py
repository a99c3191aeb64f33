"""Details of the pages.

* Names in single backticks: what is public is a link, a parameter's name is set as code. numpydoc's style has
  both in single backticks; everything else stays unresolved, and is a warning.
* Blocks end with their last line: in Markdown a doctest needs an empty line before the fence.
* Tables of numbers are set narrowly, and so are names of tests; what shows borders keeps together.
* Operators have the signature of their own ``__init__``, not that of SciPy's ``LinearOperator.__new__``.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from scipy.sparse.linalg import LinearOperator
from sphinx.util import inspect as sphinx_inspect

import sparsetconv

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def parameters() -> set[str]:
    """Return the names of the parameters and attributes of everything that is public."""
    names: set[str] = set()
    for module in (sparsetconv, sparsetconv.plot, sparsetconv.testing, sparsetconv.pictures):
        for name in module.__all__:
            thing = getattr(module, name)
            members = vars(thing).values() if inspect.isclass(thing) else ()
            for function in (thing, *members):
                if callable(function):
                    names.update(inspect.signature(function).parameters)
            if inspect.isclass(thing):
                names.update(n for c in thing.__mro__ for n in getattr(c, "__annotations__", ()))
                names.update(n for n in vars(thing) if not n.startswith("_"))
    return names


def resolve(app: Sphinx, env: BuildEnvironment, node: Element, content: Element) -> Element | None:
    """Resolve what Sphinx did not find."""
    if node.get("refdomain") != "py" or node.get("reftype") != "obj":
        return None
    target = node["reftarget"]
    if target in sparsetconv.__all__:
        found: Element | None = env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"sparsetconv.{target}", node, content
        )
        return found
    return content if target in parameters() else None


def strip(app: Sphinx, document: nodes.document) -> None:  # noqa: ARG001
    """Remove the empty lines at the end of every block."""
    for block in document.findall(nodes.literal_block):
        text = block.astext().rstrip()
        if block.rawsource == block.astext():
            block.rawsource = text
            block[:] = [nodes.Text(text)]


NUMBER = re.compile(r"([\d.,]+(e[-+]\d+)?( / [\d.]+)?|never|n/a|)$")


def mark_tables(app: Sphinx, document: nodes.document) -> None:  # noqa: ARG001
    """Give classes to tables most of whose cells are numbers, and to those that name tests."""
    for table in document.findall(nodes.table):
        cells = [entry.astext() for body in table.findall(nodes.tbody) for entry in body.findall(nodes.entry)]
        if sum(bool(NUMBER.match(cell)) for cell in cells) * 2 > len(cells):
            table["classes"].append("numbers")
        header = [
            entry.astext() for head in table.findall(nodes.thead) for entry in head.findall(nodes.entry)
        ]
        if header and header[-1] == "held by":
            table["classes"].append("held")
        for literal in table.findall(nodes.literal):
            if " | " in literal.astext():
                literal["classes"].append("together")


def own_signature(
    app: Sphinx,  # noqa: ARG001
    what: str,
    name: str,  # noqa: ARG001
    thing: Any,
    options: Any,  # noqa: ARG001
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Return what ``__init__`` takes."""
    if what == "class" and issubclass(thing, LinearOperator):
        taken = sphinx_inspect.signature(thing.__init__, bound_method=True)
        return sphinx_inspect.stringify_signature(taken, show_annotation=False), None
    return signature, returns


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen for references that were not found, and for pages that were read."""
    app.connect("doctree-read", strip)
    app.connect("doctree-read", mark_tables)
    app.connect("autodoc-process-signature", own_signature)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
