"""The built pages in a real browser: nothing is wider than the window, narrow or wide; all figures are there.

The pages are those in ``docs/_build/html``, which Sphinx has made before.
"""

import html
import json
import re
import shutil
from pathlib import Path

import browser
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "_build" / "html"

pytestmark = [
    pytest.mark.skipif(browser.find() is None, reason="chromium is not installed"),
    pytest.mark.skipif(not (PAGES / "index.html").exists(), reason="the pages are not built"),
]
# a telephone, a desktop
WIDTHS = (390, 1400)
# loads every page into a frame of each width; what scrolls by itself may be wider than the page
PROBE = """<!doctype html><body><script>
const seen = [];
const scrolls = element => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);
function inside(element, width) {
    if (element.getBoundingClientRect().right <= width + 1) { return true; }
    for (let above = element; above; above = above.parentElement) { if (scrolls(above)) { return true; } }
    return false;
}
async function look(theme, width) {
    const frame = document.createElement('iframe');
    frame.style = `width: ${width}px; height: 900px; border: 0`;
    document.body.append(frame);
    for (const page of PAGES) {
        localStorage.setItem('mode', theme);
        await new Promise(done => { frame.onload = done; frame.src = page; });
        const inner = frame.contentDocument, root = inner.documentElement, article = inner.querySelector('article');
        const parts = article ? [...article.querySelectorAll('p, li, pre, table, img, svg, math, h1, h2, h3, dt')] : [];
        seen.push({
            page, theme, width,
            shown: root.dataset.theme,
            needed: Math.max(root.scrollWidth, inner.body.scrollWidth),
            outside: parts.filter(part => !inside(part, width)).map(part => part.outerHTML.slice(0, 100)),
            missing: [...inner.images].filter(image => !image.naturalWidth).map(image => image.src),
        });
    }
    frame.remove();
}
(async () => {
    for (const width of WIDTHS) { await look('light', width); }
    await look('dark', WIDTHS[0]);
    const probe = document.createElement('pre');
    probe.id = 'probe';
    probe.textContent = JSON.stringify(seen);
    document.body.append(probe);
})();
</script></body>"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return what the browser saw of each page at each width, and the console's messages."""
    folder = tmp_path_factory.mktemp("pages") / "html"
    shutil.copytree(PAGES, folder)
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*.html") if "_static" not in path.parts
    )
    probe = PROBE.replace("PAGES", json.dumps(names)).replace("WIDTHS", json.dumps(WIDTHS))
    (folder / "probe.html").write_text(probe)
    with browser.served(folder) as address:
        page, console = browser.dom(f"{address}probe.html")
    found = json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', page, re.DOTALL)[1]))
    assert len(found) == 3 * len(names)
    return found, console


def test_console_is_heard(tmp_path):
    (tmp_path / "index.html").write_text("<script>console.error('is this heard?')</script>")
    with browser.served(tmp_path) as address:
        _, console = browser.dom(address)
    assert any("is this heard?" in message for message in console)


def test_console_is_silent(seen):
    # the theme tells what it does
    assert [message for message in seen[1] if '"[PST]: ' not in message] == []


def test_no_page_is_wider_than_its_window(seen):
    assert [look for look in seen[0] if look["needed"] > look["width"] or look["outside"]] == []


def test_figures_are_there(seen):
    assert [look for look in seen[0] if look["missing"]] == []


def test_theme_is_the_one_that_was_chosen(seen):
    assert {(look["theme"], look["shown"]) for look in seen[0]} == {("light", "light"), ("dark", "dark")}
