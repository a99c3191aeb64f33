"""Check a user's sizes, strides and padding, and convert them to tuples.

Each error names the parameter, the rule and the value given.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal, SupportsIndex, TypeVar, cast, get_args

from sparsetconv._arrays.display import shown, type_name
from sparsetconv._geometry.padding import ALIASES, FOREIGN, PADDING_MODES, ModeAlias, OwnMode

PaddingWord = Literal["valid", "same", "same_lower", "full"]
PADDING_WORDS: tuple[PaddingWord, ...] = get_args(PaddingWord)
# other packages' words for our padding, used only for hints in error messages
PADDING_HINTS = {"same_upper": "same", "half": "same", "none": "valid"}

# all integers are smaller: compiled loops hold them, and sums of two of them, in 64 bits
LARGEST = 1 << 62
# NumPy's limit on the axes of an array
MOST_AXES = 64

Word = TypeVar("Word", bound=str)
# NumPy's integers too
IntOrInts = SupportsIndex | Sequence[SupportsIndex]
Padding = SupportsIndex | PaddingWord | Sequence[SupportsIndex | tuple[SupportsIndex, SupportsIndex]]
PaddingMode = OwnMode | ModeAlias | Sequence[OwnMode | ModeAlias]


def integer(name: str, value: Any, minimum: int | None = None, hint: str = "") -> int:
    """Return ``value`` as an int, or raise."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        msg = f"{name} must be an integer{hint}, got {shown(value)} of type {type_name(value)}"
        raise TypeError(msg) from None
    if minimum is not None and number < minimum:
        msg = f"{name} must be at least {minimum}, got {shown(number)}"
        raise ValueError(msg)
    if not -LARGEST < number < LARGEST:
        msg = f"{name} must be smaller than 2**62, got {shown(number)}"
        raise ValueError(msg)
    return number


def is_sequence(value: Any) -> bool:
    """Return whether a value is a sequence of entries; strings, 0-D arrays, sets and dicts are not."""
    return (
        isinstance(value, Iterable)
        and not isinstance(value, (str, bytes, set, frozenset, dict))
        and getattr(value, "ndim", 1) > 0
    )


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Return a tuple of sizes, each at least 1; an int stands for one axis."""
    if hasattr(value, "input_shape"):
        msg = f"{name} must be a shape, got a {type_name(value)}; pass one of its shapes"
        raise TypeError(msg)
    if getattr(value, "ndim", 0) > 1:
        msg = f"{name} must be a shape, got an array of the shape {shown(value.shape)}: pass its .shape"
        raise TypeError(msg)
    sizes = tuple(value) if is_sequence(value) else (value,)
    if not sizes:
        msg = f"{name} must have at least one axis, got {shown(value)}"
        raise ValueError(msg)
    if len(sizes) > MOST_AXES:
        msg = f"{name} must have at most {MOST_AXES} axes, as arrays have, got {shown(value)}"
        raise ValueError(msg)
    return tuple(integer(f"{name}[{i}]", size, 1) for i, size in enumerate(sizes))


def per_axis(name: str, value: Any, ndim: int, minimum: int) -> tuple[int, ...]:
    """Return one integer for each of ``ndim`` axes from an int or a sequence of them."""
    if not is_sequence(value):
        return (integer(name, value, minimum),) * ndim
    values = tuple(value)
    if len(values) != ndim:
        msg = f"{name} must be one integer or one for each of the {ndim} spatial axes, got {shown(value)}"
        raise ValueError(msg)
    return tuple(integer(f"{name}[{i}]", v, minimum) for i, v in enumerate(values))


def padding(value: Any, ndim: int) -> str | tuple[tuple[int, int], ...]:
    """Return one of ``PADDING_WORDS`` or a (before, after) pair for each axis."""
    if isinstance(value, str):
        return word("padding", value, PADDING_WORDS, _padding_hint(value))
    if not is_sequence(value):
        words = " or one of " + ", ".join(PADDING_WORDS)
        return ((integer("padding", value, hint=words),) * 2,) * ndim
    entries = tuple(value)
    if len(entries) != ndim:
        hint = "; for one axis padded differently on its two sides write ((before, after),)"
        msg = (
            f"padding must be one integer, one entry (an integer or a (before, after) pair) for each "
            f"of the {ndim} spatial axes, or one of {', '.join(PADDING_WORDS)}; got {shown(value)}"
        )
        raise ValueError(msg + hint if ndim == 1 and len(entries) == 2 else msg)
    return tuple(_pair(f"padding[{i}]", entry) for i, entry in enumerate(entries))


def _pair(name: str, value: Any) -> tuple[int, int]:
    if not is_sequence(value):
        return (integer(name, value),) * 2
    sides = tuple(value)
    if len(sides) != 2:
        msg = f"{name} must be an integer or a (before, after) pair, got {shown(value)}"
        raise ValueError(msg)
    return integer(f"{name}[0]", sides[0]), integer(f"{name}[1]", sides[1])


def word(name: str, value: Any, known: Sequence[Word], hint: str = "") -> Word:
    """Return ``value`` if it is one of the known words, or raise and list them, with a hint."""
    if not isinstance(value, str):
        msg = f"{name} must be a string, got {shown(value)} of type {type_name(value)}"
        raise TypeError(msg)
    if value not in known:
        msg = f"{name} must be one of {', '.join(known)}; got {shown(value)}{hint}"
        raise ValueError(msg)
    return cast("Word", value)


def _padding_hint(value: str) -> str:
    """Return a hint for another package's word for a padding, or for a mode given as a padding."""
    lower = value.lower()
    if meant := _known_mode(lower):
        return f"; the mode is given by padding_mode={meant!r}, in addition to padding"
    meant = lower if lower in PADDING_WORDS else PADDING_HINTS.get(lower, "")
    return f"; here it is padding={meant!r}" if meant else ""


def _mode_hint(name: str, value: Any) -> str:
    """Return a hint for another package's word for a mode, or for a padding given as a mode."""
    lower = value.lower() if isinstance(value, str) else ""
    if lower in PADDING_WORDS:
        return f"; the amount of padding is given by padding={lower!r}"
    meant = _known_mode(lower)
    return f"; here it is {name}={meant!r}" if meant else ""


def _known_mode(word: str) -> str:
    meant = FOREIGN.get(word, word)
    return meant if meant in PADDING_MODES or meant in ALIASES else ""


def padding_mode(value: Any, ndim: int, name: str = "padding_mode") -> tuple[str, ...]:
    """Return a padding mode for each axis, NumPy's names translated."""
    modes = tuple(value) if is_sequence(value) else (value,) * ndim
    if len(modes) != ndim:
        msg = f"{name} must be one word or one for each of the {ndim} spatial axes, got {shown(value)}"
        raise ValueError(msg)
    known = (*PADDING_MODES, *ALIASES)
    return tuple(ALIASES.get(m, m) for m in (word(name, m, known, _mode_hint(name, m)) for m in modes))


def flag(name: str, value: Any) -> bool:
    """Return a bool from True, False or an equal number, or raise."""
    if is_sequence(value) or value not in (True, False):
        msg = f"{name} must be True or False, got {shown(value)}"
        raise TypeError(msg)
    return bool(value)
