"""Draw the figure of *Get started* by running the page: ``python docs/scripts/get_started_figure.py``."""

from __future__ import annotations

import doctest
import os
import shutil
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run every block in a folder of its own, and keep the file that the last one writes."""
    os.environ["MPLBACKEND"] = "agg"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        page, flags = str(DOCS / "get_started.md"), doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        failures, _ = doctest.testfile(page, module_relative=False, optionflags=flags)
        if failures:
            sys.exit(1)
        shutil.copy("deblurred.png", DOCS / "images" / "get-started.png")
        os.chdir(DOCS)


if __name__ == "__main__":
    main()
