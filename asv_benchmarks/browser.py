"""asv's pages in a real browser: served on this machine, drawn by headless Chromium.

``python asv_benchmarks/browser.py`` makes the screenshots of the docs from what ``publish.py`` has written.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# by the browser's own clock, which runs ahead when nothing is being loaded
PATIENCE_MS = 20_000


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing about requests."""


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder to this machine only; yield its address."""
    handler = functools.partial(_Silent, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def find() -> str | None:
    """Return the browser's path, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def run(url: str, *options: str) -> tuple[str, list[str]]:
    """Load a page; return what is written to stdout, and the console's messages."""
    path = find()
    if path is None:
        msg = f"a browser must be installed, one of {', '.join(NAMES)}"
        raise FileNotFoundError(msg)
    with tempfile.TemporaryDirectory() as profile:
        command = [
            path,
            "--headless=new",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            # containers have no user namespaces, and /dev/shm of a few MB
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={PATIENCE_MS}",
            *options,
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def dom(url: str) -> tuple[str, list[str]]:
    """Return the page's elements after its scripts have run, and the console's messages."""
    return run(url, "--dump-dom", "--window-size=1400,1000")


def screenshot(url: str, path: Path, size: tuple[int, int]) -> None:
    """Write a picture of the page, with two pixels for each one of the window."""
    run(url, f"--screenshot={path}", "--window-size={},{}".format(*size), "--force-device-scale-factor=2")


GRAPH = (
    "operators.KernelSizes.time_product?x-axis=taps&y-axis-scale=log"
    "&p-direction='forward'&p-backend='numpy'&p-method='direct'&p-method='fft'&p-method='sparse'"
)


def crop(path: Path, height: int) -> None:
    """Cut off the rest of the window, which has to be larger: asv only draws a graph well inside of it."""
    from PIL import Image

    with Image.open(path) as image:
        image.crop((0, 0, image.width, height)).save(path)


def main() -> None:
    """Write the docs' screenshots; Pillow comes with matplotlib."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--html", type=Path, default=HERE / "html", help="what publish.py --offline has written"
    )
    parser.add_argument("--to", type=Path, default=HERE.parent / "docs" / "images")
    args = parser.parse_args()
    with served(args.html) as address:
        screenshot(address, args.to / "dashboard-grid.png", (1240, 900))
        crop(args.to / "dashboard-grid.png", 1240)
        screenshot(f"{address}#{GRAPH}", args.to / "dashboard-graph.png", (960, 640))


if __name__ == "__main__":
    main()
