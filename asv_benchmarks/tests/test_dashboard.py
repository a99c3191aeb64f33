"""asv's pages in a real browser: the grid is shown, a graph is drawn, CPU and GPU have their own lines.

The CPU's results are the committed ones. Those of a GPU are made up here, for this test alone, from the CPU's, in
a temporary folder.
"""

import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import browser
import pytest
import result_files

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "asv_benchmarks"

# looks at the page again and again, and leaves what it last saw in the page
PROBE = """<script>
var drawn = false;
setInterval(function () {
    var plot = $('#main-graph').data('plot'), seen = {lines: []};
    if (plot) {
        seen.lines = plot.getData().map(function (series) {
            return [series.label, series.data.filter(function (p) { return p[1] !== null; }).length];
        });
        var canvas = $('#main-graph canvas.flot-base')[0];
        // read once: the browser complains of more
        drawn = drawn || canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
    }
    seen.drawn = drawn;
    seen.grid = $('#summarygrid-display .benchmark-container, #summarygrid-display a').length;
    seen.sparklines = $('#summarygrid-display canvas').length;
    $('#probe').remove();
    $('<pre id="probe">').text(JSON.stringify(seen)).appendTo('body');
}, 200);
</script></body>"""


def missing():
    """Return what the test lacks, or nothing."""
    if importlib.util.find_spec("asv") is None:
        return "asv is not installed"
    for name, found in (
        ("npm", shutil.which("npm")),
        ("git", shutil.which("git")),
        ("chromium", browser.find()),
    ):
        if found is None:
            return f"{name} is not installed"
    for run in result_files.runs(SUITE / "results"):
        command = ["git", "merge-base", "--is-ancestor", run.commit, "HEAD"]
        if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
            return f"the clone's history has no {run.commit[:8]}"
    return ""


REASON = missing()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


def make_up_a_gpu(results):
    """Make a result of a GPU that does not exist: the CPU's newest one, ten times as fast."""
    run = result_files.latest(results, gpu=False)
    source = next((results / run.machine["machine"]).glob(f"{run.commit[:8]}-*.json"))
    content = json.loads(source.read_text())
    machine = run.machine | {"machine": "gpu-madeup", "gpu": "made up", "cuda": "0.0"}
    content["params"] |= machine
    for row in content["results"].values():
        if row[0] and row[1][-1] == ["'numpy'", "'cupy'"]:
            on_cpu = row[0][::2]
            row[0] = [x for pair in zip([None] * len(on_cpu), on_cpu, strict=True) for x in pair]
            row[0] = [None if x is None else x / 10 for x in row[0]]
            # statistics of other numbers
            del row[6:]
    folder = results / "gpu-madeup"
    folder.mkdir()
    (folder / "machine.json").write_text(json.dumps(machine))
    (folder / source.name).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Publish committed and made-up results, offline, with the probe in the page; serve them."""
    folder = tmp_path_factory.mktemp("dashboard")
    results, pages = folder / "results", folder / "html"
    shutil.copytree(SUITE / "results", results)
    make_up_a_gpu(results)
    command = [sys.executable, SUITE / "publish.py", "--offline", "--results", results, "--html", pages]
    subprocess.run(command, check=True, capture_output=True)
    index = pages / "index.html"
    page = index.read_text()
    assert not re.findall(r'<(?:script|link)[^>]+"https?:', page)
    index.write_text(page.replace("</body>", PROBE))
    with browser.served(pages) as url:
        yield url


def look(url):
    """Return what the probe saw, if the browser's console is empty."""
    page, console = browser.dom(url)
    assert console == []
    return json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', page)[1]))


def test_grid_shows(address):
    seen = look(address)
    assert seen["grid"] >= 20
    assert seen["sparklines"] >= 20


def test_graph_draws(address):
    seen = look(f"{address}#{browser.GRAPH}")
    assert seen["drawn"]
    assert {points for label, points in seen["lines"] if "numpy" in label and "cpu" in label} == {6}


def test_cpu_and_gpu_are_separate_lines(address):
    choice = "p-taps=15&p-method='direct'&p-direction='forward'&p-backend='numpy'&p-backend='cupy'"
    seen = look(f"{address}#operators.KernelSizes.time_product?{choice}")
    lines = {label: points for label, points in seen["lines"] if points}
    assert len(lines) == 2, seen
    cpu, gpu = sorted(lines, key=lambda label: "cupy" in label)
    assert "backend-numpy" in cpu
    assert "machine-cpu" in cpu
    assert "backend-cupy" in gpu
    assert "machine-gpu-madeup" in gpu
