"""Mathematics as MathML, which browsers draw by themselves: no script, no font, no LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils.nodes import SkipNode
from docutils.utils.math import latex2mathml

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx


def inline(translator: Any, node: Element) -> None:
    """Write a formula inside a line."""
    translator.body.append(str(latex2mathml.tex2mathml(node.astext(), as_block=False)))
    raise SkipNode


def block(translator: Any, node: Element) -> None:
    """Write a formula on lines of its own."""
    formula = latex2mathml.tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math-block">{formula}</div>\n')
    raise SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
