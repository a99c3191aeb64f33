"""Check built pages: ``python docs/scripts/check_html.py docs/_build/html``.

Every link and image inside leads to a file, and to an anchor where it names one; no page loads a script, a
style, a font or an image from elsewhere, so that the pages work without a network.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# what a page loads by itself, in contrast to what a reader may click
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
# links that name something without loading it
NAMED = {"canonical", "next", "prev", "search", "index", "author", "license"}


class Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Gather what one tag has."""
        found = {name: value or "" for name, value in attrs}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        for name in ("href", "src"):
            if name not in found:
                continue
            named = tag == "link" and set(found.get("rel", "").split()) & NAMED
            if (tag, name) in LOADED and not named:
                self.loaded.append(found[name])
            self.links.append(found[name])


@cache
def read(path: Path) -> Page:
    """Return a page, read once."""
    return Page(path)


def problems(path: Path) -> list[str]:
    """Return what is wrong with one page."""
    page = read(path)
    found = [f"loads {target}" for target in page.loaded if urlsplit(target).netloc]
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            found.append(f"{link} does not exist")
        elif (
            parts.fragment
            and target.suffix == ".html"
            and unquote(parts.fragment) not in read(target).anchors
        ):
            found.append(f"{link} has no such anchor")
    return found


def style_problems(path: Path) -> list[str]:
    """Return what a style sheet loads from elsewhere."""
    targets = re.findall(r"""(?:url\(|@import\s)\s*["']?((?:https?:)?//[^"')\s]+)""", path.read_text())
    return [f"loads {target}" for target in targets]


def main(folder: Path) -> int:
    """Print what is wrong, and return 1 if anything is."""
    folder = folder.resolve()
    # the theme leaves templates beside its styles
    pages = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]
    wrong = [(path, problem) for path in pages for problem in problems(path)]
    wrong += [(path, problem) for path in sorted(folder.rglob("*.css")) for problem in style_problems(path)]
    for path, problem in wrong:
        print(f"{path.relative_to(folder)}: {problem}")
    print(f"{len(pages)} pages, {len(wrong)} problems")
    return int(bool(wrong) or not pages)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
