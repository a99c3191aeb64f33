"""Draw the figures of docs/benchmarks.md from asv's result files, and write its numbers.

``python docs/scripts/benchmark_figures.py``; it needs matplotlib. What stands between the page's markers
``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

import sparsetconv as stc
from sparsetconv._methods import cost
from sparsetconv._methods.cpu import rates
from sparsetconv._methods.registry import METHODS as REGISTERED

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "asv_benchmarks"))

from collect import HISTORY  # noqa: E402
from result_files import Run, latest, runs  # noqa: E402

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

# Okabe and Ito's palette, which the colour-blind can tell apart; lines differ in marks too
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
STYLES = ((BLUE, "o"), (RED, "s"), (PURPLE, "^"), (GREEN, "D"), (ORANGE, "v"))
METHODS = dict(zip(REGISTERED, STYLES, strict=False))
STYLE = {
    "figure.facecolor": "white",
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "font.size": 10,
    "lines.markersize": 5,
    "savefig.dpi": 110,
}
Backends = list[tuple[str, str, Run]]


def backends(results: Path) -> Backends:
    """Return name of the backend, words for it, and the run: the CPU's, and the GPU's where there is one."""
    found: Backends = []
    for gpu, name, word in ((False, "numpy", "CPU"), (True, "cupy", "GPU")):
        run = latest(results, gpu)
        if run is not None:
            found.append((name, word, run))
    return found


def nnz(n: int, taps: int) -> int:
    """Return the entries of the matrix of a convolution that keeps the size."""
    return stc.ConvGeometry((n, n), (taps, taps), padding="same").nnz


def number(value: float) -> str:
    """Return three digits, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def span(values: list[float]) -> str:
    """Return the range of some numbers in words."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def milliseconds(seconds: float | None) -> str:
    """Return a cell of a table."""
    return "" if seconds is None else number(seconds * 1e3)


# time against nnz


def curves(run: Run, backend: str) -> dict[str, list[tuple[int, float]]]:
    """Return points of entries and seconds, for assembly, the matrix' product, and the operator's."""
    tables = {
        "assembly": ("assembly.Assembly.time_assembly", lambda n, k: (n, k, "conv", backend)),
        "product with the matrix": (
            "sparse_products.SparseProduct.time_product",
            lambda n, k: (n, k, 1, "forward", backend),
        ),
        "product without, by the operator": (
            "operators.PictureSizes.time_product",
            lambda n, k: (n, k, 1, "forward", backend),
        ),
    }
    found = {}
    for label, (benchmark, key) in tables.items():
        table = run.table(benchmark)
        sides = sorted({name[:2] for name in table})
        points = [(nnz(*side), table[key(*side)]) for side in sides if key(*side) in table]
        found[label] = sorted(points)
    return found


def draw_nnz(which: Backends) -> Any:
    """Draw time against entries."""
    figure, axes = plt.subplots(figsize=(7, 4.6))
    for backend, word, run in which:
        line = "-" if word == "CPU" else "--"
        for (label, points), (colour, mark) in zip(
            curves(run, backend).items(), ((ORANGE, "^"), (BLUE, "o"), (RED, "s")), strict=True
        ):
            if points:
                axes.loglog(*zip(*points, strict=True), line + mark, color=colour, label=f"{label}, {word}")
    axes.set(xlabel="entries of the matrix (nnz)", ylabel="seconds")
    axes.legend(framealpha=1)
    return figure


def table(which: Backends, header: list[str], rows: list[list[Any]]) -> str:
    """Write a table; its first column, the machine, only where there are two."""
    keep = slice(None) if len(which) > 1 else slice(1, None)
    cells = [header[keep], ["---"] * len(header[keep]), *(row[keep] for row in rows)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


def tell_nnz(which: Backends) -> str:
    """Write the exponents, and the cost of an entry."""
    rows = []
    sentences = []
    for backend, word, run in which:
        slopes = {}
        for label, points in curves(run, backend).items():
            if len(points) > 1:
                x, y = np.array(points, dtype=float).T
                slopes[label] = float(np.polyfit(np.log(x), np.log(y), 1)[0])
                rows.append([word, label, f"{slopes[label]:.2f}", f"{y[-1] / x[-1] * 1e9:.2f}"])
        points = dict(curves(run, backend)["product with the matrix"])
        without = dict(curves(run, backend)["product without, by the operator"])
        ratios = {size: points[size] / without[size] for size in points if size in without}
        if ratios:
            small, large = min(ratios), max(ratios)
            sentences.append(
                f"On the {word} a product with the matrix takes {number(ratios[small])} times as long as the "
                f"operator's at {small:,} entries, and {number(ratios[large])} times at {large:,}."
            )
        times = run.table("operators.PictureSizes.time_product")
        few, many = (times.get((1024, taps, 1, "forward", backend)) for taps in (3, 7))
        if few and many:
            entries = nnz(1024, 7) / nnz(1024, 3)
            sentences.append(
                f"From 3x3 to 7x7, on 1024x1024, with {number(entries)} times the entries, the operator "
                f"takes {number(many / few)} times as long."
            )
    header = ["on", "what", "exponent of nnz", "ns an entry, largest"]
    return "\n".join([*sentences, "", table(which, header, rows)])


# time over the roofline


def excesses(run: Run, backend: str) -> dict[str, dict[str, float]]:
    """Return the time over the roofline's by problem, for the matrix (1, 8, 64 columns) and the operator."""
    table = run.table("sparse_products.SparseProductCosts.track_over_roofline")
    operators = run.table("operators.OperatorCosts.track_over_roofline")
    found: dict[str, dict[str, float]] = {}
    for (n, taps, columns, direction, own), value in table.items():
        if own == backend and direction == "forward":
            label = f"matrix, {columns} column{'s' * (columns > 1)}"
            found.setdefault(f"{n}², {taps}x{taps}", {})[label] = value
    for (n, taps, _, direction, own), value in operators.items():
        if own == backend and direction == "forward":
            found.setdefault(f"{n}², {taps}x{taps}", {})["operator, 1 column"] = value
    return found


def draw_roofline(which: Backends) -> Any:
    """Draw times over the roofline's as bars."""
    figure, panels = plt.subplots(1, len(which), figsize=(7 * len(which), 4), squeeze=False)
    for axes, (backend, word, run) in zip(panels[0], which, strict=True):
        found = excesses(run, backend)
        labels = list(dict.fromkeys(label for some in found.values() for label in some))
        for number, (label, colour) in enumerate(zip(labels, (BLUE, GREEN, PURPLE, RED), strict=False)):
            places = np.arange(len(found)) + (number - (len(labels) - 1) / 2) * 0.2
            values = [some.get(label, np.nan) for some in found.values()]
            axes.bar(places, values, 0.18, color=colour, label=label)
        axes.axhline(1, color="black", linewidth=1)
        axes.set_yscale("log")
        axes.set_xticks(range(len(found)), list(found))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(ylabel="time over the roofline's", title=word)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=4, frameon=False, fontsize=8)
    return figure


def tell_roofline(which: Backends) -> str:
    """Write the costs of bytes and operations, and times over the roofline's."""
    rows, sentences = [], []
    name = "sparse_products.SparseProductCosts.track_"
    for backend, word, run in which:
        costs = [run.table(name + end) for end in ("byte", "operation", "over_roofline")]
        for key in costs[0]:
            n, taps, columns, direction, own = key
            if own == backend:
                cells = [word, f"{n}², {taps}x{taps}", direction, columns]
                rows.append(cells + [f"{some[key]:.3g}" if key in some else "" for some in costs])
        one = [v for (_, _, c, _, own), v in costs[2].items() if own == backend and c == 1]
        many = [v for (_, _, c, _, own), v in costs[2].items() if own == backend and c == 64]
        if one and many:
            sentences.append(
                f"On the {word} one vector takes {span(one)} times as long as the roofline with the matrix, "
                f"64 at once {span(many)} times."
            )
    header = ["on", "picture, kernel", "direction", "right-hand sides"]
    header += ["ns a byte", "ns an operation", "over the roofline"]
    return "\n".join([*sentences, "", table(which, header, rows)])


# break-even


def draw_break_even(which: Backends) -> Any:
    """Draw the counts; "never" is a word in the place of a bar."""
    figure, panels = plt.subplots(1, len(which), figsize=(7 * len(which), 4), squeeze=False)
    for axes, (backend, word, run) in zip(panels[0], which, strict=True):
        rows = break_even_rows(run, backend)
        for count, (name, colour) in enumerate(zip(AGAINST, (RED, GREEN, ORANGE, PURPLE), strict=True)):
            for place, cells in enumerate(rows.values()):
                at = place + (count - 1.5) * 0.2
                if cells[name] is None:
                    axes.text(at, 1.05, "not measured", **SIDEWAYS)
                elif cells[name] == np.inf:
                    axes.text(at, 1.05, "never", **SIDEWAYS)
                else:
                    axes.bar(at, cells[name], 0.18, color=colour)
            axes.bar(0, 0, color=colour, label=f"against {name}")
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.9)
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_xticks(range(len(rows)), list(rows))
        axes.set(ylabel="products until the matrix pays", title=word)
        axes.legend(framealpha=1, fontsize=8)
    return figure


AGAINST = ("direct", "fft", "ndimage.correlate", "signal.fftconvolve")
SIDEWAYS = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 8, "color": "#333333"}


def break_even_rows(run: Run, backend: str) -> dict[str, dict[str, float | None]]:
    """Return counts by problem and by what they are against; infinity: never; None: not measured."""
    counts = run.table("break_even.BreakEven.track_products")
    ratios = run.table("break_even.BreakEven.track_over_without")

    def count(*key: Any) -> float | None:
        # near a tie one of the two measurements may gain enough, and the other not
        return counts.get(key, np.inf if key in ratios else None)

    return {
        f"{n}², {taps}x{taps}": {name: count(n, taps, name, backend) for name in AGAINST}
        for n in (64, 256)
        for taps in (3, 7, 15)
    }


def tell_break_even(which: Backends) -> str:
    """Write the counts."""
    words = {None: "", np.inf: "never"}
    lines, sentences = [], []
    for backend, word, run in which:
        rows = break_even_rows(run, backend)
        lines += ["", f"| {word} | {' | '.join(AGAINST)} |", "|---" * (len(AGAINST) + 1) + "|"]
        for problem, cells in rows.items():
            numbers = [words[c] if c in words else number(c) for c in cells.values()]
            lines.append(f"| {problem} | {' | '.join(numbers)} |")
        never = [name for name in AGAINST if all(cells[name] == np.inf for cells in rows.values())]
        paid = [c for cells in rows.values() for c in cells.values() if c not in words]
        text = f"On the {word} the matrix never pays against {' or '.join(never)}. " if never else ""
        sentences.append(f"{text}Where it pays, it does so after {span(paid)} products." if paid else text)
    return "\n".join([*sentences, *lines])


# crossover of methods


def by_taps(run: Run, backend: str, method: str, direction: str) -> list[tuple[int, float]]:
    """Return points of taps and seconds."""
    table = run.table("operators.KernelSizes.time_product")
    return sorted(
        (name[0], value) for name, value in table.items() if name[1:] == (method, direction, backend)
    )


def draw_crossover(which: Backends) -> Any:
    """Draw time against the kernel's size."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True)
    for axes, direction in zip(panels, ("forward", "adjoint"), strict=True):
        for backend, word, run in which:
            for method, (colour, mark) in METHODS.items():
                points = by_taps(run, backend, method, direction)
                if points:
                    line = ("-" if word == "CPU" else "--") + mark
                    axes.loglog(*zip(*points, strict=True), line, color=colour, label=f"{method}, {word}")
            points = by_taps(run, backend, "auto", direction)
            if points:
                axes.loglog(*zip(*points, strict=True), "kx", markersize=9, label=f"auto, {word}")
        taps = sorted({t for _, _, run in which for t, *_ in run.table("operators.KernelSizes.time_product")})
        axes.set_xticks(taps, [f"{t}x{t}" for t in taps])
        axes.minorticks_off()
        axes.set(xlabel="kernel", title=direction)
    panels[0].set_ylabel("seconds of a product, 512x512")
    panels[0].legend(framealpha=1, fontsize=8)
    return figure


def tell_crossover(which: Backends) -> str:
    """Write who is fastest where, and what ``auto`` costs where it is another."""
    rows, sentences = [], []
    for backend, word, run in which:
        winners: dict[str, list[int]] = {}
        excess = []
        for direction in ("forward", "adjoint"):
            tables = {m: dict(by_taps(run, backend, m, direction)) for m in (*METHODS, "auto")}
            for taps in sorted({t for table in tables.values() for t in table}):
                times = {m: tables[m][taps] for m in METHODS if taps in tables[m]}
                best = min(times, key=lambda m: times[m])
                if direction == "forward":
                    winners.setdefault(best, []).append(taps)
                chosen = chosen_by_auto(taps, backend)
                excess.append(times.get(chosen, np.nan) / times[best])
                cells = [word, direction, f"{taps}x{taps}", *(milliseconds(times.get(m)) for m in METHODS)]
                rows.append([*cells, best, chosen, f"{excess[-1]:.2f}"])
        parts = [f"{m} for {', '.join(f'{t}x{t}' for t in taps)}" for m, taps in winners.items()]
        slower = [ratio for ratio in excess if ratio > 1]
        sentences.append(
            f"On the {word}, forward, the fastest are: {'; '.join(parts)}. `auto` takes the fastest on "
            f"{len(excess) - len(slower)} of {len(excess)} lines"
            + (f", otherwise one that needs {span(slower)} times as long." if slower else ".")
        )
    header = ["on", "direction", "kernel", *METHODS, "fastest", "`auto` takes", "over fastest"]
    return "\n".join([*sentences, "", "Milliseconds:", "", table(which, header, rows)])


def chosen_by_auto(taps: int, backend: str) -> str:
    """Return the method that ``auto`` takes; that of the package which draws."""
    geometry = stc.ConvGeometry((512, 512), (taps, taps), padding="same")
    # the page is the same wherever it is written: by the rates of the processor that was measured
    measured = rates.shipped().rates["AVX-512"] if backend == "numpy" else None
    estimates = cost.estimate(geometry, np.dtype(np.float64), backend != "numpy", measured)
    return min(estimates, key=lambda method: estimates[method])


# history and machines


WATCHED = {
    "assembly 1024², 7x7": ("assembly.Assembly.time_assembly", (1024, 7, "conv", "numpy")),
    "operator 1024², 7x7": ("operators.PictureSizes.time_product", (1024, 7, 1, "forward", "numpy")),
    "its adjoint": ("operators.PictureSizes.time_product", (1024, 7, 1, "adjoint", "numpy")),
    "fft 512², 15x15": ("operators.KernelSizes.time_product", (15, "fft", "forward", "numpy")),
    "3 to 16 channels": ("operators.Channels.time_product", ("3 to 16, 256x256", "auto", "forward", "numpy")),
    "bicubic to 1024²": ("resizing.Resize.time_product", (1024, "cubic", "operator", "forward", "numpy")),
    "fit_kernel 8x8": ("learning.FitKernel.time_fit", (8, "cholesky", "numpy")),
    "LSMR 128²": ("solvers.Deblur.time_lsmr", (128, "auto", "numpy")),
}


def tell_history(results: Path) -> str:
    """Write a column for each commit, and what it brought."""
    found = [run for run in runs(results) if not run.has_gpu]
    newest = latest(results, gpu=False)
    words = [HISTORY.get(run.commit, "the newest measured" if run == newest else "") for run in found]
    lines = [f"| milliseconds | {' | '.join(f'`{run.commit[:8]}`' for run in found)} |"]
    lines.append("|---" * (len(found) + 1) + "|")
    for label, (name, key) in WATCHED.items():
        cells = [milliseconds(run.table(name).get(key)) or "n/a" for run in found]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += ["", *(f"* `{run.commit[:8]}`: {word}" for run, word in zip(found, words, strict=True) if word)]
    return "\n".join(lines)


def tell_machines(results: Path, which: Backends) -> str:
    """Write a line for each machine."""
    found: dict[str, list[Run]] = {}
    for run in runs(results):
        found.setdefault(run.machine["machine"], []).append(run)
    has_gpu = any(word == "GPU" for _, word, _ in which)
    fields = {"processor": "cpu", "processors": "num_cpu", "memory": "ram"}
    fields |= {"GPU": "gpu", "CUDA": "cuda"} if has_gpu else {}
    lines = [f"| machine | {' | '.join(fields)} | commits |", "|---" * (len(fields) + 2) + "|"]
    for name, own in found.items():
        cells = [own[0].machine.get(key, "") for key in fields.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(own)} |")
    if not has_gpu:
        lines += ["", "**No GPU has been measured yet**: every figure here is of the CPU."]
    return "\n".join(lines)


FIGURES: dict[str, tuple[Callable[[Backends], Any], Callable[[Backends], str]]] = {
    "nnz": (draw_nnz, tell_nnz),
    "roofline": (draw_roofline, tell_roofline),
    "break-even": (draw_break_even, tell_break_even),
    "crossover": (draw_crossover, tell_crossover),
}


def replace(page: str, name: str, text: str) -> str:
    """Return a page with what stands between two markers replaced."""
    pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
    page, count = re.subn(pattern, lambda m: f"{m[1]}\n{text.strip()}\n\n{m[2]}", page, flags=re.DOTALL)
    if count != 1:
        msg = f"the page must have the markers of {name!r} once, got {count}"
        raise ValueError(msg)
    return page


def main() -> None:
    """Draw, and write the numbers into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "asv_benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    which = backends(args.results)
    if not which:
        parser.error(f"--results must have result files, got {args.results}")
    page = args.page.read_text(encoding="utf-8")
    with plt.rc_context(STYLE):
        for name, (draw, tell) in FIGURES.items():
            figure = draw(which)
            figure.tight_layout()
            figure.savefig(args.images / f"benchmarks-{name}.png")
            plt.close(figure)
            page = replace(page, name, tell(which))
    page = replace(page, "history", tell_history(args.results))
    page = replace(page, "machines", tell_machines(args.results, which))
    args.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
