"""Make the dashboard from the result files: ``python asv_benchmarks/publish.py``.

``--offline`` makes it work without a network; ``--open`` serves it on this machine and opens a browser.
"""

from __future__ import annotations

import argparse
import time
import webbrowser
from pathlib import Path

import browser
import offline
from run_detached import HERE, configuration


def publish(results: Path, html: Path) -> None:
    """Have asv write its pages. It asks the repository for the order of commits."""
    from asv.commands.publish import Publish
    from asv.console import log

    summarise_what_all_commits_have()
    conf = configuration(results)
    conf.repo, conf.branches, conf.html_dir = str(HERE.parent), ["HEAD"], str(html)
    log.enable()
    Publish.run(conf, pull=False)


def summarise_what_all_commits_have() -> None:
    """Make the grid's small graphs means of the parameters that were measured most often.

    asv takes the mean of all values of a commit, so that a graph would jump where one commit was measured on
    the whole grid and the next one on the small grid.
    """
    import asv.graph
    from asv.util import is_na

    mean = asv.graph._compute_summary_data_series

    def of_the_longest(*series: list[float | None]) -> list[float | None]:
        lengths = [sum(not is_na(value) for value in values) for values in series]
        kept = [values for values, n in zip(series, lengths, strict=True) if n == max(lengths)]
        found: list[float | None] = mean(*kept)
        return found

    asv.graph._compute_summary_data_series = of_the_longest


def serve(html: Path, port: int) -> None:
    """Serve the pages and open them, until interrupted."""
    with browser.served(html, port) as address:
        print(f"\n{address} (stop with Ctrl-C)")
        webbrowser.open(address)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


def main() -> None:
    """Publish, and serve the pages if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--html", type=Path, default=HERE / "html")
    parser.add_argument("--offline", action="store_true", help="copy the scripts from npm packages")
    parser.add_argument("--open", action="store_true", help="serve the pages and open a browser")
    parser.add_argument("--port", type=int, default=0, help="for --open; any that is free if not given")
    args = parser.parse_args()
    html = args.html.resolve()
    publish(args.results.resolve(), html)
    if args.offline:
        offline.make_local(html)
    print(f"\nthe dashboard is {html / 'index.html'}; it needs a web server, such as --open gives")
    if args.open:
        serve(html, args.port)


if __name__ == "__main__":
    main()
