"""Print results as Markdown: the tables of the page on GPUs, and a short one for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import PARTS
from .record import read_runs

PRODUCTS = "Products, in ms; for auto also as a share of the roofline"
# names that the rows of a table have, and its title; the first match counts
TABLES = (
    ({"class", "shape"}, "Launches of the stencil"),
    ({"constant", "value"}, "Constants of the cost model"),
    ({"by", "until there, us"}, "What a call takes"),
    ({"problem", "by", "direction"}, PRODUCTS),
)


def latest(folder: Path, part: str) -> dict[str, Any] | None:
    """Return the last run of a part in a folder."""
    runs = read_runs(folder / f"{part}.json")
    return runs[-1] if runs else None


def summary(folder: Path, parts: Iterable[str] = PARTS) -> str:
    """Return a line for each part, and one for each step that did not end well."""
    lines = []
    for part in parts:
        run = latest(folder, part)
        if run is None:
            continue
        statuses = [outcome["status"] for outcome in run["steps"].values()]
        counts = ", ".join(f"{statuses.count(word)} {word}" for word in sorted(set(statuses)))
        lines.append(f"{part:<9} {run['identity']['card']}: {counts}")
        for name, outcome in run["steps"].items():
            if outcome["status"] != "done":
                note = (outcome["note"].strip().splitlines() or [""])[-1][:110]
                lines.append(f"  {outcome['status']}: {name}: {note}")
    return "\n".join(lines)


def markdown(folder: Path) -> str:
    """Return all tables of the runs in a folder."""
    blocks = []
    for part in PARTS:
        run = latest(folder, part)
        if run is None:
            continue
        blocks.append(f"### {part.capitalize()}\n\n{origin(run['identity'])}")
        if not run["steps"]:
            continue
        for title, rows in grouped(run).items():
            shown_rows = beside(rows) if title == PRODUCTS else rows
            blocks.append(f"**{title}**\n\n{markdown_table(shown_rows)}")
        missing = [
            f"- {name}: {o['status']}, {last_line(o)}"
            for name, o in run["steps"].items()
            if o["status"] != "done"
        ]
        if missing:
            blocks.append("Not measured:\n\n" + "\n".join(missing))
    return "\n\n".join(blocks) + "\n"


def last_line(outcome: dict[str, Any]) -> str:
    """Return the last line of a note: of a traceback, the error."""
    return (outcome["note"].strip().splitlines() or ["no reason given"])[-1]


def origin(identity: dict[str, Any]) -> str:
    """Return what was measured, and on which machine."""
    cuda = f"CUDA {identity['cuda'] // 1000}.{identity['cuda'] % 1000 // 10}"
    card = f"{identity['card']}, {identity['multiprocessors']} multiprocessors"
    memory = f"{identity['memory'] / 2**30:.0f} GiB"
    toy = " **Toy sizes: these numbers mean nothing.**" if identity["toy"] else ""
    return f"{card}, {memory}, {cuda}, CuPy {identity['cupy']}; commit {identity['commit'][:8]}.{toy}"


def grouped(run: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return a run's rows by title: the step's name, or that of a table for rows of many steps."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, outcome in run["steps"].items():
        for row in outcome["rows"]:
            title = next((title for names, title in TABLES if names <= set(row)), name)
            tables.setdefault(title, []).append(row)
    return tables


def beside(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each problem and direction, with the times of all methods and libraries."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        first = {name: row[name] for name in ("problem", "direction")}
        line = lines.setdefault((row["problem"], row["direction"]), first)
        if "method" in row:
            line[row["by"]] = f"{shown(row['ms'])} ({row['method']}, {shown(row['share'])})"
        else:
            line[row["by"]] = row.get("ms", "-")
    return list(lines.values())


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Return rows as one table, with all columns of any of them."""
    flat = [flattened(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(shown(row.get(name, '')) for name in columns)} |" for row in flat]
    return "\n".join(lines)


def flattened(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in which mappings are replaced by their entries."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name} {key}" if not isinstance(value[key], str) else key: value[key] for key in value}
        else:
            flat[name] = value
    return flat


def shown(value: Any) -> str:
    """Return a cell, with three digits of a measurement."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value).replace("|", "\\|").replace("\n", " ")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
