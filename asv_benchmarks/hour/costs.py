"""Determine the constants of the GPU's cost model, each from a product that depends mostly on it.

Each constant is measured where its term is nearly all of a product's time, in an order such that the others
that matter there are already known: ``launch`` by the smallest product; ``byte`` by a kernel of one tap on a
large picture, which only moves bytes; ``stencil_multiply`` by 15x15 taps; ``gemm_multiply`` and, as a
multiple of it, ``integer_gemm`` by layers of many channels; ``passes_per_log`` by transforms of a large
picture.

The model itself, ``seconds`` of each method, grows with each of its constants. So the constant is that for
which the model, with the others as known so far, gives the measured time. It is found by bisection, so that
the model's formulas are not repeated here. A least-squares fit to many products at once would balance the
errors of the model; this way each constant is what its name says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from sparsetconv._methods.cuda import tuning
from sparsetconv._methods.merge import merged
from sparsetconv._methods.registry import GPU_METHODS
from sparsetconv._methods.work import Work

from .problems import Problem
from .steps import Row, Rows

if TYPE_CHECKING:
    from .lab import Lab

# the bounds of each constant: where the noise exceeds its term, it is the lower one
BOUNDS = {
    "launch": (1e-7, 1e-2),
    "byte": (1e-14, 1e-8),
    "stencil_multiply": (1e-16, 1e-8),
    "gemm_multiply": (1e-16, 1e-8),
    "integer_gemm": (1.0, 1e4),
    "passes_per_log": (1e-3, 1e2),
}
# halvings of the distance between the bounds' logarithms
HALVINGS = 60


@contextmanager
def assumed(costs: Mapping[str, float]) -> Iterator[None]:
    """Use other constants in the model temporarily."""
    table = replace(tuning.shipped(), costs=dict(costs))
    with mock.patch.object(tuning, "shipped", return_value=table):
        yield


def modelled(problem: Problem, method: str, costs: Mapping[str, float]) -> float:
    """Return the model's seconds of a forward product with these constants."""
    work = Work.of(merged(problem.geometry), False, np.dtype(problem.dtype))
    with assumed(costs):
        return GPU_METHODS[method].seconds(work, tuning.rates())


def problems(toy: bool) -> dict[str, tuple[str, Problem]]:
    """Return, for each constant in the order of the fit, the method and the problem that determine it."""
    large, side = (64, 8) if toy else (4096, 64)
    channels = 3 if toy else 128
    layer = (channels, side, side), (channels, channels, 3, 3)
    return {
        "launch": ("direct", Problem("launch", (16, 16), (3, 3))),
        "byte": ("direct", Problem("byte", (large, large), (1, 1))),
        "stencil_multiply": ("direct", Problem("stencil_multiply", (large, large), (15, 15))),
        "gemm_multiply": ("gemm", Problem("gemm_multiply", *layer)),
        "integer_gemm": ("gemm", Problem("integer_gemm", *layer, "int32")),
        "passes_per_log": ("fft", Problem("passes_per_log", (large, large), (31, 31))),
    }


def constant(name: str, method: str, problem: Problem, seconds: float, known: Mapping[str, float]) -> float:
    """Return the constant for which the model gives the time of a product, with the others as known."""
    low, high = np.log(BOUNDS[name])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = modelled(problem, method, {**known, name: float(np.exp(middle))}) < seconds
        low, high = (middle, high) if below else (low, middle)
    return float(np.exp(low))


def measured(lab: Lab) -> Rows:
    """Yield a row for each constant."""
    # constants that are not known yet add nothing
    known = {name: bounds[0] for name, bounds in BOUNDS.items()}
    for name, (method, problem) in problems(lab.toy).items():
        A = problem.operator(lab, method)
        inputs = problem.vectors(lab, "forward")
        if np.dtype(problem.dtype).kind == "f":
            problem.checked(lab, inputs[0], A.matvec(inputs[0]), "forward")
        timing = lab.timed(A.matvec, inputs)
        known[name] = constant(name, method, problem, timing.seconds, known)
        yield {"constant": name, "value": known[name], "method": method, **timing.row()}
        del A, inputs
        lab.clear()


def from_rows(rows: list[Row]) -> dict[str, float]:
    """Return the constants in rows."""
    return {row["constant"]: row["value"] for row in rows}
