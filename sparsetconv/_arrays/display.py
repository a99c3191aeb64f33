"""Text of error messages, of ``repr``, and of tables for notebooks.

This module uses only the standard library. Operators and geometries describe themselves by `Facts`, which are
formatted here.
"""

from __future__ import annotations

from decimal import Decimal
from math import prod
from typing import Any, NamedTuple

Rows = list[tuple[str, str]]
INT32_MAX = 2**31 - 1
# numbers from here on are written with a power of ten
POWERS_FROM = 10**6
# limits for a value in an error message: total characters, nesting levels of containers, bits of an integer,
# and entries or bytes of other objects
LONGEST, LEVELS, BITS, ENTRIES, BYTES = 120, 4, 256, 16, 1000
CONTAINERS: dict[Any, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}


def shown(value: Any) -> str:
    """Return a value as quoted in error messages: its ``repr``, or a short description if that is too long.

    The cost does not grow with the value: of strings, containers and integers only the part that is shown is
    read, and arrays, protobuf messages and other objects with many entries are described by their size.

    Examples
    --------
    >>> shown((3, "same"))
    "(3, 'same')"
    >>> shown(["same"] * 100_000)[-40:]
    "', 'same', 'same', ... (100,000 in all)]"
    >>> shown(10**100_000)
    'an integer of about 100,001 digits'
    """
    return _guarded(value, LEVELS)


def clipped(text: str) -> str:
    """Return a text, without its middle if it is too long for an error message."""
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def type_name(value: Any) -> str:
    """Return the name of a value's type as quoted in error messages."""
    return clipped(type(value).__name__)


def _guarded(value: Any, levels: int) -> str:
    try:
        return clipped(_written(value, levels))
    except Exception:
        # a ``repr`` that raises must not replace the message about the parameter
        return f"a value of type {type_name(value)}"


def _written(value: Any, levels: int) -> str:
    if isinstance(value, (str, bytes, bytearray)) and len(value) > LONGEST:
        half = LONGEST // 2 - 2
        return clipped(f"{value[:half]!r}...{value[-half:]!r}")
    if isinstance(value, int) and value.bit_length() > BITS:
        return f"an integer of about {int(value.bit_length() * 0.30103) + 1:,} digits"
    if type(value) in CONTAINERS:
        return _container(value, levels - 1)
    if isinstance(value, slice):
        parts = (_guarded(part, 1) for part in (value.start, value.stop, value.step))
        return f"slice({', '.join(parts)})"
    text = _measured(value) or repr(value)
    return " ".join(text.split()) if "\n" in text else text


def _container(values: Any, levels: int) -> str:
    """Return the first entries of a container, as many as fit."""
    opening, closing = CONTAINERS[type(values)]
    if not values:
        return repr(values)
    rest = f", ... ({len(values):,} in all){closing}"
    parts: list[str] = []
    used = len(opening) + len(rest)
    for entry in values:
        part = _guarded(entry, levels) if levels else "..."
        if type(values) is dict:
            part = clipped(f"{part}: {_guarded(values[entry], levels) if levels else '...'}")
        used += len(part) + 2
        if used > LONGEST and parts and len(values) > ENTRIES:
            return opening + ", ".join(parts) + rest
        parts.append(part)
    comma = "," if type(values) is tuple and len(values) == 1 else ""
    return clipped(opening + ", ".join(parts) + comma + closing)


def _measured(value: Any) -> str:
    """Return a value's type and size if it has many entries, whose ``repr`` may be slow; else ``""``."""
    if isinstance(value, (type, range)):
        return ""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        sizes = _container(tuple(shape), 1)
        what = f"{type_name(value)} of shape {sizes} and dtype {clipped(str(value.dtype))}"
        return what if prod(shape) > ENTRIES or len(shape) > ENTRIES else ""
    if hasattr(type(value), "ByteSize") and (nbytes := value.ByteSize()) > BYTES:
        return f"{type_name(value)} of {nbytes:,} bytes"
    if hasattr(type(value), "__len__") and not isinstance(value, (str, bytes, bytearray)):
        return f"{type_name(value)} of {len(value):,} entries" if len(value) > ENTRIES else ""
    return ""


class Facts(NamedTuple):
    """Description of an object.

    Attributes
    ----------
    title : str
        Class name or short description.
    head, rows, matrix : list of (str, str)
        Names and values that describe the object, what it computes, and its matrix.
    shape : tuple of int, optional
        Shape of the matrix.
    """

    title: str
    head: Rows
    rows: Rows
    matrix: Rows
    shape: tuple[int, int] | None = None

    def adding(self, head: Rows | None = None, rows: Rows | None = None) -> Facts:
        """Return the same facts with others appended."""
        return self._replace(head=self.head + (head or []), rows=self.rows + (rows or []))

    @property
    def table(self) -> Rows:
        """All names and values, in order."""
        size = [("matrix", f"{self.shape[0]:,} x {self.shape[1]:,}")] if self.shape else []
        return self.head + self.rows + size + self.matrix


def operator_text(facts: Facts) -> str:
    """Return an operator's ``repr``, three lines at most. The rows begin with its input and its output."""
    (word, source), (_, target), *rest = facts.rows
    shapes = f"{source} to {target}" if word == "input" else f"{word} {source} to {target}"
    lines = [
        ", ".join([sized(facts.title, facts), *(f"{name}={value}" for name, value in facts.head)]),
        ", ".join([shapes, *(f"{name} {value}" for name, value in rest)]),
        ", ".join(f"{value} {name}" for name, value in facts.matrix),
    ]
    return "<" + "\n ".join(lines if facts.matrix else lines[:2]) + ">"


def sized(what: str, facts: Facts) -> str:
    """Return a short description, with the shape of the matrix in front."""
    return f"{'x'.join(map(str, facts.shape or ()))} {what}"


def made_of(what: str, facts: Facts, of: Facts) -> Facts:
    """Return the facts of an operator derived from another one: its own shapes, the other's settings."""
    title = f"{what[0].upper()}{what[1:]} {of.title}"
    return Facts(title, of.head, facts.rows + of.rows[2:], [], facts.shape)


def entries(shape: tuple[int, int], nnz: int, itemsize: int) -> Rows:
    """Return the rows about the entries of a matrix: their number, and the size as CSR."""
    return [("entries", f"{nnz:,}"), ("as CSR", size_of(csr_bytes(*shape, nnz, itemsize)))]


def text(facts: Facts) -> str:
    """Return a table as text, a line for each fact."""
    width = max(len(name) for name, _ in facts.table)
    return "\n".join([facts.title, *(f"  {name:<{width}}  {value}" for name, value in facts.table)])


def html(facts: Facts) -> str:
    """Return a table as HTML, without colours, so that it is legible on any background."""
    from html import escape

    left = ' style="text-align: left"'
    rows = "".join(
        f"<tr><th{left}>{escape(name)}</th><td{left}>{escape(value)}</td></tr>" for name, value in facts.table
    )
    return f"<div><strong>{escape(facts.title)}</strong><table><tbody>{rows}</tbody></table></div>"


def compact(values: tuple[Any, ...]) -> Any:
    """Return a single value if all are equal, else the tuple."""
    return values[0] if len(set(values)) == 1 else values


def compact_padding(padding: tuple[tuple[int, int], ...]) -> Any:
    """Return padding in its shortest form: one number, one for each axis, or (before, after) pairs."""
    if all(before == after for before, after in padding):
        return compact(tuple(before for before, _ in padding))
    return padding


def csr_bytes(rows: int, columns: int, nnz: int, itemsize: int) -> int:
    """Return the bytes of a CSR matrix: values, column indices and row pointers."""
    index = 4 if max(rows, columns, nnz) <= INT32_MAX else 8
    return nnz * (itemsize + index) + (rows + 1) * index


def size_of(nbytes: int) -> str:
    """Return a number of bytes as text, in a readable unit."""
    # not a float, which would overflow for twelve huge axes
    value, units = Decimal(nbytes), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    for larger in units:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{nbytes} B" if unit == "B" else f"{value:{'.1f' if value < POWERS_FROM else '.1e'}} {unit}"
