"""What geometries and operators say of themselves: one text, and a table for notebooks.

Floor 0, standard library only: what is read are public attributes, of whatever has them.
"""

from __future__ import annotations

from decimal import Decimal
from html import escape
from math import prod
from typing import Any, NamedTuple

Rows = list[tuple[str, str]]
INT32_MAX = 2**31 - 1
# numbers from here on are written with a power of ten
POWERS_FROM = 10**6
MADE_OF = {
    "AdjointOperator": "adjoint of",
    "TransposedOperator": "transpose of",
    "GramOperator": "Gram operator of",
}
# of a value in an error message: characters in all, levels of what holds others, bits of a number, and
# entries or bytes of other things
LONGEST, LEVELS, BITS, ENTRIES, BYTES = 120, 4, 256, 16, 1000
CONTAINERS: dict[Any, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}


def shown(value: Any) -> str:
    """Return a value as error messages quote it: its ``repr``, or what it is where that would be long.

    The cost is that of what is shown: of texts, containers and numbers no more is read than fits, and arrays,
    messages of protobuf and other things with many entries are named with their size.

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
    """Return a text without its middle where it is too long for an error message."""
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def type_name(value: Any) -> str:
    """Return the name of a value's type as error messages have it."""
    return clipped(type(value).__name__)


def _guarded(value: Any, levels: int) -> str:
    try:
        return clipped(_written(value, levels))
    except Exception:
        # whatever is given, the message is about the parameter, and not about how its value is printed
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
    """Return the first entries of a container, as many as there is room for."""
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
    """Return what a value is and how large, if it has many entries; its ``repr`` may take a while."""
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
    """What is said of an object.

    Attributes
    ----------
    title : str
        Its class, or what it is.
    head, rows, matrix : list of (str, str)
        Names and values: of the object, of what it computes, of its matrix.
    """

    title: str
    head: Rows
    rows: Rows
    matrix: Rows


def geometry_repr(geometry: Any) -> str:
    """Return the call that makes a geometry, defaults left out."""
    arguments = [str(geometry.input_shape), str(geometry.kernel_shape)]
    settings = {
        "stride": compact(geometry.stride),
        "padding": compact_padding(geometry.padding),
        "dilation": compact(geometry.dilation),
        "groups": geometry.groups,
        "padding_mode": compact(geometry.padding_mode),
        "flip": geometry.flip,
    }
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros", "flip": False}
    arguments += [f"{name}={value!r}" for name, value in settings.items() if value != defaults[name]]
    return f"{type(geometry).__name__}({', '.join(arguments)})"


def geometry_facts(geometry: Any) -> Facts:
    """Return what there is to say of a `ConvGeometry`."""
    rows, columns = geometry.matrix_shape
    sizes = ", ".join(f"{size_of(geometry.nbytes(dtype))} in {dtype}" for dtype in ("float32", "float64"))
    return Facts(
        type(geometry).__name__,
        [],
        [
            ("input", str(geometry.input_shape)),
            ("output", str(geometry.output_shape)),
            *_convolution_rows(geometry),
        ],
        [("matrix", f"{rows:,} x {columns:,}"), ("entries", f"{geometry.nnz:,}"), ("as CSR", sizes)],
    )


def operator_facts(operator: Any) -> Facts:
    """Return what there is to say of an `ArrayOperator`, by the attributes that it has."""
    head = [("dtype", str(operator.dtype))]
    if hasattr(operator, "method"):
        head.append(("method", repr(operator.method)))
    rows = [("input", str(operator.input_shape)), ("output", str(operator.output_shape))]
    if hasattr(operator, "factors"):
        rows += _resize_rows(operator)
    elif hasattr(operator, "x"):
        # linear in the kernel: what a convolution reads is fixed
        head.append(("transposed", str(operator.transposed)))
        rows[0] = ("kernels", rows[0][1])
        rows += [("x", str(operator.x.shape)), *_convolution_rows(operator.geometry)[1:]]
    elif hasattr(operator, "geometry"):
        rows += _convolution_rows(operator.geometry)
    matrix: Rows = []
    if hasattr(operator, "nnz"):
        height, width = operator.shape
        nbytes = csr_bytes(height, width, operator.nnz, operator.dtype.itemsize)
        matrix = [("entries", f"{operator.nnz:,}"), ("as CSR", size_of(nbytes))]
    return Facts(type(operator).__name__, head, rows, matrix)


def operator_text(operator: Any) -> str:
    """Return an operator's ``repr``: three lines, or that of another operator and what is made of it."""
    title, head, rows, matrix = operator_facts(operator)
    inner, size = _inner(operator), f"{operator.shape[0]}x{operator.shape[1]}"
    if inner:
        return f"<{size} {inner} {operator.operator!r}>"
    (word, source), (_, target), *rest = rows
    shapes = f"{source} to {target}" if word == "input" else f"{word} {source} to {target}"
    lines = [
        ", ".join([f"<{size} {title}", *(f"{name}={value}" for name, value in head)]),
        ", ".join([shapes, *(f"{name} {value}" for name, value in rest)]),
        ", ".join(f"{value} {name}" for name, value in matrix),
    ]
    return "\n ".join(lines if matrix else lines[:2]) + ">"


def operator_html(operator: Any) -> str:
    """Return a table for notebooks."""
    inner = _inner(operator)
    facts = operator_facts(operator)
    size = [("matrix", f"{operator.shape[0]:,} x {operator.shape[1]:,}")]
    if inner:
        of = operator_facts(operator.operator)
        return html(
            Facts(f"{inner[0].upper()}{inner[1:]} {of.title}", of.head, facts.rows + of.rows[2:], size)
        )
    return html(facts._replace(matrix=size + facts.matrix))


def text(facts: Facts) -> str:
    """Return a table as text, a line for each fact."""
    rows = facts.head + facts.rows + facts.matrix
    width = max(len(name) for name, _ in rows)
    return "\n".join([facts.title, *(f"  {name:<{width}}  {value}" for name, value in rows)])


def html(facts: Facts) -> str:
    """Return a table as HTML: no colours of its own, so that it is legible wherever text is."""
    left = ' style="text-align: left"'
    rows = "".join(
        f"<tr><th{left}>{escape(name)}</th><td{left}>{escape(value)}</td></tr>"
        for name, value in facts.head + facts.rows + facts.matrix
    )
    return f"<div><strong>{escape(facts.title)}</strong><table><tbody>{rows}</tbody></table></div>"


def _inner(operator: Any) -> str:
    """Return what an operator is of another one, or nothing if it stands for itself."""
    return MADE_OF.get(type(operator).__name__.removeprefix("CuPy"), "")


def _convolution_rows(geometry: Any) -> Rows:
    padded = any(side > 0 for pair in geometry.padding for side in pair)
    padding = str(compact_padding(geometry.padding))
    modes = compact(geometry.padding_mode)
    longer = " longer than the signal" if kernel_is_longer(geometry) else ""
    rows = [
        ("kernel", f"{geometry.kernel_shape}{longer}"),
        ("stride", str(compact(geometry.stride))),
        ("padding", f"{padding} {modes}" if padded else padding),
    ]
    if any(step > 1 for step in geometry.dilation):
        rows.append(("dilation", str(compact(geometry.dilation))))
    if geometry.groups > 1:
        rows.append(("groups", str(geometry.groups)))
    if geometry.flip:
        rows.append(("flip", "True"))
    return rows


def kernel_is_longer(geometry: Any) -> bool:
    """Return whether the kernel is longer than the signal on every axis, as where the two were swapped."""
    kernel, signal = geometry.kernel_shape, geometry.input_shape
    if geometry.has_channels:
        kernel, signal = kernel[2:], signal[1:]
    return all(k > n for k, n in zip(kernel, signal, strict=True))


def _resize_rows(operator: Any) -> Rows:
    axes = [axis for axis in operator.geometry.axes if not axis.is_identity] or operator.geometry.axes
    rule = axes[0].rule
    words = [rule.kind, *([rule.coordinate_mode] if rule.has_positions else [])]
    if rule.smoothing != "none":
        words.append("antialiased")
    scales = compact(tuple(float(f"{float(axis.scale):.6g}") for axis in operator.geometry.axes))
    return [("mode", ", ".join(words)), ("scale", str(scales))]


def compact(values: tuple[Any, ...]) -> Any:
    """Return one value where all are equal."""
    return values[0] if len(set(values)) == 1 else values


def compact_padding(padding: tuple[tuple[int, int], ...]) -> Any:
    """Return pads as they may be written shortest: one number, one for each axis, or pairs."""
    if all(before == after for before, after in padding):
        return compact(tuple(before for before, _ in padding))
    return padding


def csr_bytes(rows: int, columns: int, nnz: int, itemsize: int) -> int:
    """Return the bytes of a CSR matrix: values, column indices and row pointers."""
    index = 4 if max(rows, columns, nnz) <= INT32_MAX else 8
    return nnz * (itemsize + index) + (rows + 1) * index


def size_of(nbytes: int) -> str:
    """Return a number of bytes in the unit that makes it readable."""
    # not a float: the bytes of twelve huge axes are beyond its range
    value, units = Decimal(nbytes), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    for larger in units:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{nbytes} B" if unit == "B" else f"{value:{'.1f' if value < POWERS_FROM else '.1e'}} {unit}"
