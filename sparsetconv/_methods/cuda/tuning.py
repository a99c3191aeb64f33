"""What has been measured on a card, and what stands in its place until then.

``tuning.json`` holds, for each class of problem, the launch of the stencil that was the
fastest, and the constants of the GPU's cost model, with the name of the card; ``asv_benchmarks/gpu_hour.py``
writes it. ``"measured_on": null`` says that nothing has been measured: launches are then those of
``tiles``, by what registers and shared memory hold, and the constants are estimates.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from sparsetconv._methods.work import Rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from sparsetconv._geometry.convolution import ConvGeometry


@dataclass(frozen=True)
class LaunchShape:
    """What a thread and a block of threads of the stencil make.

    Attributes
    ----------
    results : int
        Results of a thread along the blocked axis, in registers.
    columns : int
        Results of a thread along the last axis, as far apart as there are lanes.
    channels : int
        Channels of results that a thread makes.
    lanes : int
        Threads along the last axis.
    threads : int
        Of a block.
    unrolled : int
        Taps along the blocked axis that are unrolled together.
    loads : int
        Loads of a thread that are under way at once.
    blocks : int
        Blocks of 256 threads that a multiprocessor shall hold at the least, which bounds the registers of a
        thread; blocks of more threads are as many fewer.
    """

    results: int
    columns: int
    channels: int
    lanes: int
    threads: int
    unrolled: int = 8
    loads: int = 10
    blocks: int = 1


@dataclass(frozen=True)
class Tuning:
    """The table: what was measured, and on which card.

    Attributes
    ----------
    measured_on : str or None
        The card's name.
    costs : mapping
        Constants of the cost model, in seconds where they are times.
    stencil : mapping
        From `problem_class` to a `LaunchShape`.
    """

    measured_on: str | None
    costs: Mapping[str, float]
    stencil: Mapping[str, LaunchShape] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> Tuning:
        """Return the table that a file holds."""
        found = json.loads(text)
        shapes = {name: LaunchShape(**shape) for name, shape in found["stencil"].items()}
        return cls(found["measured_on"], found["costs"], shapes)

    def text(self) -> str:
        """Return what `from_text` reads."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


@lru_cache(maxsize=1)
def shipped() -> Tuning:
    """Return the package's own table."""
    path = resources.files(__package__).joinpath("tuning.json")
    return Tuning.from_text(path.read_text(encoding="utf-8"))


def rates() -> Rates:
    """Return the table's constants as the rates of a GPU: estimates, until a card has been measured.

    ``launch`` is what a launch takes with what Python does around it; ``passes_per_log`` how often a
    transform reads and writes its array, for each doubling of its length. Panels are written and read in the
    second-level cache, which is about twice as fast as the memory.
    """
    costs = shipped().costs
    return Rates(
        call=costs["launch"],
        byte=costs["byte"],
        multiply=costs["stencil_multiply"],
        # halves are multiplied as float32 are
        word=4,
        # zeros around, the panel, its product, and the results to their places
        gemm_calls=4,
        gemm_multiply=costs["gemm_multiply"],
        integer_gemm=costs["integer_gemm"],
        panel_byte=costs["byte"],
        panel_copy=0.0,
        panel_line=0,
        panel_apart=1.0,
        transform_byte=2 * costs["byte"] * costs["passes_per_log"],
    )


def measured_on() -> str | None:
    """Return the name of the card on which the constants were measured, or None if they were not."""
    return shipped().measured_on


_forced: ContextVar[LaunchShape | None] = ContextVar("forced", default=None)


@contextmanager
def forced(shape: LaunchShape) -> Iterator[None]:
    """Launch every stencil that is planned meanwhile in one shape: for measurements."""
    token = _forced.set(shape)
    try:
        yield
    finally:
        _forced.reset(token)


def known_shape(name: str) -> LaunchShape | None:
    """Return the shape that is forced, or else the one measured for a class of problem, or None."""
    return _forced.get() or shipped().stencil.get(name)


def problem_class(geometry: ConvGeometry, dtype: np.dtype[Any], transposed: bool) -> str:
    """Return the class of a problem: axes, bytes of a number, taps, channels, stride, direction."""
    axes = geometry.axes
    taps = max(axis.taps for axis in axes)
    results = geometry.channels[0 if transposed else 1]
    stride = max(axis.stride for axis in axes)
    return "-".join(
        [
            f"{len(axes)}d",
            f"{dtype.itemsize}B" + ("c" if dtype.kind == "c" else ""),
            f"k{next(n for n in (4, 8, 16) if taps <= n)}" if taps <= 16 else "k17+",
            "c1" if results == 1 else "c2-15" if results < 16 else "c16+",
            "s1" if stride == 1 else "s2+",
            "transposed" if transposed else "forward",
        ]
    )
