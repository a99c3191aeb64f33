"""Records of named 64-bit integers: one schema for NumPy, for emitted loops and for C.

Records are written with NumPy (`filled`) and concatenated in one flat array (`numbers`). Emitted loops read
fields of this array by name (`Record`, `Records`); the offset of a field is a constant of the emission. CUDA
sources get the same records as structs (`c_struct`). An unknown field is an error when loops are emitted, and
when C is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparsetconv._arrays.types import Array

NUMBER = np.dtype(np.int64)

Kind = np.dtype[Any]


def record(*fields: str | tuple[str, int] | tuple[str, Kind] | tuple[str, Kind, int]) -> Kind:
    """Return a structured dtype of 64-bit integers.

    Parameters
    ----------
    *fields : str or tuple
        A name for one integer, ``(name, count)`` for several, ``(name, record)`` for a nested record, or
        ``(name, record, count)`` for several of these.

    Examples
    --------
    >>> record("base", ("lines", 2)).names
    ('base', 'lines')
    """
    return np.dtype([_field(*((field,) if isinstance(field, str) else field)) for field in fields])


def _field(name: str, *kind: Any) -> tuple[Any, ...]:
    inner, *shape = kind if kind and not isinstance(kind[0], int) else (NUMBER, *kind)
    return name, inner, tuple(shape)


def size(kind: Kind) -> int:
    """Return the number of integers in a record.

    Examples
    --------
    >>> size(record("base", ("lines", 2)))
    3
    """
    return kind.itemsize // NUMBER.itemsize


def filled(kind: Kind, **fields: Any) -> Array:
    """Return an array of records; all fields must be given, and are broadcast against one another.

    Examples
    --------
    >>> filled(record("base", "step"), base=[3, 4], step=1).tolist()
    [(3, 1), (4, 1)]
    """
    names = kind.names or ()
    if fields.keys() != set(names):
        msg = f"a record must be given exactly its fields {', '.join(names)}; got {', '.join(fields)}"
        raise TypeError(msg)
    shapes = set()
    for name, value in fields.items():
        if not isinstance(value, int):
            array = fields[name] = np.asarray(value)
            shapes.add(array.shape[: array.ndim - kind[name].ndim])
    if not shapes:
        return np.array(tuple([fields[name] for name in names]), kind)
    # called only if needed, since broadcast_shapes takes longer than the rest
    shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
    records = np.empty(shape, kind)
    for name in names:
        records[name] = fields[name]
    return records


def joined(*arrays: Array) -> Array:
    """Return 1-D arrays of the same records as one array.

    `numpy.concatenate` of the records themselves compares their dtypes field by field, which takes longer
    than the copy.

    Examples
    --------
    >>> run = record("base", "step")
    >>> joined(filled(run, base=[3, 4], step=1), filled(run, base=[5], step=2)).tolist()
    [(3, 1), (4, 1), (5, 2)]
    """
    flat: Array = np.concatenate([array.view(NUMBER) for array in arrays]).view(arrays[0].dtype)
    return flat


def numbers(records: Array) -> Array:
    """Return records as one flat array of integers.

    Examples
    --------
    >>> numbers(filled(record("base", "step"), base=[3, 4], step=1)).tolist()
    [3, 1, 4, 1]
    """
    flat: Array = np.ascontiguousarray(records).reshape(-1).view(NUMBER)
    return flat


def c_struct(name: str, kind: Kind, known: Mapping[str, Kind]) -> str:
    """Return a record as a struct in C; ``known`` has the structs that are defined before it.

    Examples
    --------
    >>> print(c_struct("Run", record("base", ("lines", 2)), {}))
    struct Run {
        long long base;
        long long lines[2];
    };
    """
    lines = []
    for field in kind.names or ():
        inner, shape = kind[field].base, kind[field].shape
        own = next((word for word, other in known.items() if other == inner), "long long")
        lines.append(f"    {own} {field}{''.join(f'[{count}]' for count in shape)};")
    return "\n".join([f"struct {name} {{", *lines, "};"])


class Record:
    """A record in memory, for code that is being emitted: reading an attribute emits a load of the field.

    Parameters
    ----------
    memory : Memory
    place : int, Value or Variable
        Offset of the record. A variable is read anew for each field, so that the record moves with it.
    kind : dtype
    """

    def __init__(self, memory: Any, place: Any, kind: Kind) -> None:
        self._memory, self._place, self._kind = memory, place, kind

    def __getattr__(self, name: str) -> Any:
        if name not in (self._kind.names or ()):
            msg = f"a record of {', '.join(self._kind.names or ())} has no {name}"
            raise AttributeError(msg)
        fields: Any = self._kind.fields
        inner, offset = fields[name][:2]
        place = getattr(self._place, "now", self._place)
        if inner.shape:
            return Numbers(self._memory, place, offset // NUMBER.itemsize)
        return self._memory[_further(place, offset // NUMBER.itemsize)]


class Numbers:
    """A field of several numbers, for code that is being emitted."""

    def __init__(self, memory: Any, place: Any, offset: int) -> None:
        self._memory, self._place, self._offset = memory, place, offset

    def at(self, index: Any, more: int = 0) -> Any:
        """Return the offset in memory of number ``index + more``."""
        if isinstance(index, int):
            return _further(self._place, self._offset + index + more)
        if isinstance(self._place, int):
            return _further(index, self._place + self._offset + more)
        return _further(self._place + index, self._offset + more)

    def __getitem__(self, index: Any) -> Any:
        return self._memory[self.at(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._memory[self.at(index)] = value


class Records:
    """An array of records that begins at an offset in memory, for code that is being emitted."""

    def __init__(self, memory: Any, place: Any, kind: Kind) -> None:
        self._memory, self._place, self._kind = memory, place, kind

    def at(self, index: Any) -> Any:
        """Return the offset in memory of a record."""
        return self._place + index * size(self._kind)

    def __getitem__(self, index: Any) -> Record:
        return Record(self._memory, self.at(index), self._kind)


def _further(place: Any, offset: int) -> Any:
    """Return ``place + offset``; nothing is emitted if the offset is 0."""
    return place + offset if offset else place
