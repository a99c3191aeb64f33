"""The padding modes, as data: what stands outside a signal, in a few numbers.

`PADDING` is the table, and the only place that knows a mode by its name. The scalar
rule is here, the rule for arrays in ``extension``, the GPU's in ``places.cuh`` and ``stencil.cuh``: all of
them read these numbers, and so does every closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast


@dataclass(frozen=True, repr=False)
class PaddingMode:
    """What stands outside a signal of ``n`` samples: an index function on its infinite extension.

    Attributes
    ----------
    name : str
    copies : int
        Copies of the signal in one period: 1, or 2 of which the second runs backwards. With 0 nothing
        repeats, and what stands outside is constant.
    on_first, on_last : int
        Of two copies: 1 where the mirror stands on the first (last) sample, which is there once, 0 where it
        stands outside of it, so that the sample is there twice. Whole-sample and half-sample symmetry.
    edge : bool
        Of a constant: whether it is the sample at the edge, and not zero.
    alias : str
        NumPy's name, where it is another one.
    foreign : tuple of str
        Other packages' names, which an error message translates.
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
        """Whether nothing stands outside."""
        return self.copies == 0 and not self.edge

    @cached_property
    def constant(self) -> bool:
        """Whether what stands outside does not repeat: zeros, or the sample at the edge."""
        return self.copies == 0

    @cached_property
    def mirrored(self) -> bool:
        """Whether every second copy runs backwards."""
        return self.copies == 2

    @cached_property
    def mirror(self) -> int:
        """Of two copies: positions ``p`` and ``-mirror - p`` show the same sample."""
        return 1 - self.on_first

    @cached_property
    def even(self) -> bool:
        """Whether all copies are equally long: one division finds a position's, two where they are not."""
        return not self.mirrored or self.on_first == self.on_last

    def period(self, size: int) -> int:
        """Return after how many positions the extension repeats (1 where it is constant)."""
        return max(self.copies * size - self.on_first - self.on_last, 1)

    def sample(self, size: int, position: int) -> int | None:
        """Return the sample that stands at a position of the extension, or None for a padded zero."""
        if 0 <= position < size:
            return position
        if self.constant:
            return None if self.zero else 0 if position < 0 else size - 1
        period = self.period(size)
        offset = position % period
        return offset if offset < size else period - self.mirror - offset

    def copy_at(self, size: int, position: Any) -> Any:
        """Return the number of the copy that stands at a position, or at each of an array; 0 is the signal.

        A sample that a mirror stands on belongs to the copy behind the mirror.
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
# the same names for type checkers, which read no tables
OwnMode = Literal["zeros", "reflect", "symmetric", "replicate", "circular"]
ModeAlias = Literal["constant", "edge", "wrap"]
PADDING_MODES = cast("tuple[OwnMode, ...]", tuple(PADDING))
# what is understood beside the names, and what is not and only explained
ALIASES = {mode.alias: mode.name for mode in PADDING.values() if mode.alias}
FOREIGN = {word: mode.name for mode in PADDING.values() for word in mode.foreign}
