"""Measurements on a card, and estimates in their place until there are any.

``tuning.json`` holds the fastest launch shape of the stencil for each class of problems, the constants of the
GPU's cost model, and the name of the card; ``asv_benchmarks/gpu_hour.py`` writes it. ``"measured_on": null``
means that nothing has been measured: ``tiles`` then chooses launches by the sizes of registers and shared
memory, and the constants are estimates.
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
    """The results that a thread and a thread block of the stencil compute.

    Attributes
    ----------
    results : int
        Results of a thread along the blocked axis, in registers.
    columns : int
        Results of a thread along the last axis, ``lanes`` results apart.
    channels : int
        Channels of the result that a thread computes.
    lanes : int
        Threads along the last axis.
    threads : int
        Threads of a block.
    unrolled : int
        Taps along the blocked axis that are unrolled together.
    loads : int
        Loads in flight per thread.
    blocks : int
        Minimum number of resident blocks per multiprocessor, for blocks of 256 threads, which bounds the
        registers per thread; for other block sizes the number is scaled in inverse proportion.
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
    """The contents of ``tuning.json``.

    Attributes
    ----------
    measured_on : str or None
        The card's name.
    costs : mapping
        Constants of the cost model; times are in seconds.
    stencil : mapping
        The `LaunchShape` for each `problem_class`.
    """

    measured_on: str | None
    costs: Mapping[str, float]
    stencil: Mapping[str, LaunchShape] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> Tuning:
        """Return the table from the text of a file."""
        found = json.loads(text)
        shapes = {name: LaunchShape(**shape) for name, shape in found["stencil"].items()}
        return cls(found["measured_on"], found["costs"], shapes)

    def text(self) -> str:
        """Return the table as text, which `from_text` reads."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


@lru_cache(maxsize=1)
def shipped() -> Tuning:
    """Return the package's own table."""
    path = resources.files(__package__).joinpath("tuning.json")
    return Tuning.from_text(path.read_text(encoding="utf-8"))


def rates() -> Rates:
    """Return the rates of a GPU from the table's constants, which are estimates until a card is measured.

    ``launch`` is the time of a launch with its Python overhead; ``passes_per_log`` the number of times that a
    transform reads and writes its array, for each doubling of its length. Panels are written and read in the
    second-level cache, which is about twice as fast as the memory.
    """
    costs = shipped().costs
    return Rates(
        call=costs["launch"],
        byte=costs["byte"],
        multiply=costs["stencil_multiply"],
        # float16 is multiplied as float32
        word=4,
        # launches: pad, fill the panel, multiply, scatter
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
    """Return the name of the card on which the constants were measured, or None if they are estimates."""
    return shipped().measured_on


_forced: ContextVar[LaunchShape | None] = ContextVar("forced", default=None)


@contextmanager
def forced(shape: LaunchShape) -> Iterator[None]:
    """Use one launch shape for all stencils that are planned inside the context; for measurements."""
    token = _forced.set(shape)
    try:
        yield
    finally:
        _forced.reset(token)


def known_shape(name: str) -> LaunchShape | None:
    """Return the shape set by `forced`, else the one measured for a class of problems, else None."""
    return _forced.get() or shipped().stencil.get(name)


def problem_class(geometry: ConvGeometry, dtype: np.dtype[Any], transposed: bool) -> str:
    """Return the name of a problem's class: axes, item size, taps, channels, stride and direction."""
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
