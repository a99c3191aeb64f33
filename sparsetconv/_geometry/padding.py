"""The padding modes as data: a few numbers define the extension of a signal.

`PADDING` is the table, and the only place that knows modes by name. The rule for scalars is here, that for
arrays in ``extension``, that for GPUs in ``places.cuh`` and ``stencil.cuh``: all of them read these numbers,
and so does every closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast


@dataclass(frozen=True, repr=False)
class PaddingMode:
    """A padding mode: an index function on the infinite extension of a signal.

    Attributes
    ----------
    name : str
    copies : int
        Copies of the signal in one period: 1, or 2 if the second one is reversed. 0 if nothing repeats, and
        the extension is constant outside the signal.
    on_first, on_last : int
        With two copies: 1 if the mirror is on the first (last) sample, which is not repeated (whole-sample
        symmetry); 0 if it is half a sample outside, so that the sample is repeated (half-sample symmetry).
    edge : bool
        Whether a constant extension is the edge sample rather than zero.
    alias : str
        NumPy's name, if it differs.
    foreign : tuple of str
        Names in other packages, which error messages translate.
    """

    name: str
    copies: int = 0
    on_first: int = 0
    on_last: int = 0
    edge: bool = False
    alias: str = ""
    foreign: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PADDING[{self.name!r}]"

    @cached_property
    def zero(self) -> bool:
        """Whether the extension is zero outside the signal."""
        return self.copies == 0 and not self.edge

    @cached_property
    def constant(self) -> bool:
        """Whether the extension is constant outside the signal: zeros, or the edge sample."""
        return self.copies == 0

    @cached_property
    def mirrored(self) -> bool:
        """Whether every second copy is reversed."""
        return self.copies == 2

    @cached_property
    def mirror(self) -> int:
        """With two copies, positions ``p`` and ``-mirror - p`` have the same sample."""
        return 1 - self.on_first

    @cached_property
    def even(self) -> bool:
        """Whether all copies have the same length, so that one division finds the copy of a position."""
        return not self.mirrored or self.on_first == self.on_last

    def period(self, size: int) -> int:
        """Return the period of the extension (1 where it is constant outside the signal)."""
        return max(self.copies * size - self.on_first - self.on_last, 1)

    def sample(self, size: int, position: int) -> int | None:
        """Return the index of the sample at a position of the extension, or None for a padded zero."""
        if 0 <= position < size:
            return position
        if self.constant:
            return None if self.zero else 0 if position < 0 else size - 1
        period = self.period(size)
        offset = position % period
        return offset if offset < size else period - self.mirror - offset

    def copy_at(self, size: int, position: Any) -> Any:
        """Return the number of the copy at a position, or at each of an array of them; 0 is the signal.

        A sample that a mirror is on belongs to the copy after the mirror.
        """
        length = size - self.on_last
        if self.even:
            return position // max(length, 1)
        period = self.period(size)
        whole = position // period
        return 2 * whole + (position - whole * period >= length)

    def copy_begin(self, size: int, copy: Any) -> Any:
        """Return the position at which a copy begins, or each of an array of copies."""
        length = size - self.on_last
        if self.even:
            return copy * max(length, 1)
        return (copy >> 1) * self.period(size) + (copy & 1) * length


ZEROS = PaddingMode(
    "zeros", alias="constant", foreign=("zero", "grid-constant", "fill", "pad", "border_constant")
)
REFLECT = PaddingMode(
    "reflect", copies=2, on_first=1, on_last=1,
    foreign=("mirror", "reflection", "reflect101", "reflect_101", "border_reflect_101"),
)  # fmt: skip
SYMMETRIC = PaddingMode(
    "symmetric", copies=2, foreign=("grid-mirror", "half_sample", "symm", "border_reflect")
)
REPLICATE = PaddingMode(
    "replicate", edge=True, alias="edge",
    foreign=("nearest", "replication", "border", "clamp", "border_replicate"),
)  # fmt: skip
CIRCULAR = PaddingMode(
    "circular", copies=1, alias="wrap", foreign=("periodic", "grid-wrap", "cyclic", "border_wrap")
)

PADDING = {mode.name: mode for mode in (ZEROS, REFLECT, SYMMETRIC, REPLICATE, CIRCULAR)}
# the same names for type checkers
OwnMode = Literal["zeros", "reflect", "symmetric", "replicate", "circular"]
ModeAlias = Literal["constant", "edge", "wrap"]
PADDING_MODES = cast("tuple[OwnMode, ...]", tuple(PADDING))
# aliases that are accepted, and foreign names that only lead to a hint
ALIASES = {mode.alias: mode.name for mode in PADDING.values() if mode.alias}
FOREIGN = {word: mode.name for mode in PADDING.values() for word in mode.foreign}
