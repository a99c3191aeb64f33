"""Mathematics as MathML, which browsers draw by themselves: no script, no font, no LaTeX."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils.nodes import SkipNode
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx

LOGGER = logging.getLogger(__name__)


def formula(node: Element, as_block: bool) -> str:
    """Return a formula's MathML; one that docutils does not understand is a warning."""
    # docutils asks for the braces that LaTeX lets one leave out
    text = re.sub(r"(\\[dt]?frac)\s*(\w)\s*(\w)", r"\1{\2}{\3}", node.astext())
    try:
        return str(latex2mathml.tex2mathml(text, as_block=as_block))
    except MathError as error:
        LOGGER.warning("formula %r: %s", text, error, location=node)
        return f"<code>{text}</code>"


def inline(translator: Any, node: Element) -> None:
    """Write a formula inside a line."""
    translator.body.append(formula(node, as_block=False))
    raise SkipNode


def block(translator: Any, node: Element) -> None:
    """Write a formula on lines of its own."""
    translator.body.append(f'<div class="math-block">{formula(node, as_block=True)}</div>\n')
    raise SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
