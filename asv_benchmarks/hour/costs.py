"""The constants of the GPU's cost model, from a few products that each show one of them.

The model of `sparsetconv.methods.gpu_cost` is a sum of terms, each a constant times what `terms` counts. A
constant is measured where its term is nearly all of a product's time, the others taken off by the constants
known before it: ``launch`` by the smallest product; ``byte`` by a kernel of one tap on a large picture, which
moves bytes alone; ``stencil_multiply`` by 15x15 taps; ``gemm_multiply`` and, as a multiple of it,
``integer_gemm`` by layers of many channels; ``passes_per_log`` by transforms of a large picture. A
least-squares fit to many products at once would weigh the errors of the model against each other; this keeps
each constant what its name says.
"""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

import numpy as np

from .problems import Problem
from .steps import Row, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .lab import Lab

NAMES = ("launch", "byte", "stencil_multiply", "gemm_multiply", "integer_gemm", "passes_per_log")
# where noise is more than what is left, a constant is this: small, and not less than nothing
LEAST = {
    "launch": 1e-7,
    "byte": 1e-14,
    "stencil_multiply": 1e-16,
    "gemm_multiply": 1e-16,
    "integer_gemm": 1.0,
    "passes_per_log": 1e-3,
}


def terms(problem: Problem) -> dict[str, float]:
    """Return what the model counts of a problem.

    Returns
    -------
    dict
        ``multiplies`` in units of a float32 multiplication; ``ends``, ``panels``, ``spectra`` in bytes, the
        last for one pass over the arrays; ``taps``; ``log`` of the points that transforms have.
    """
    geometry, dtype = problem.geometry, np.dtype(problem.dtype)
    axes, groups, (c_in, c_out) = geometry.axes, geometry.groups, geometry.channels
    taps, outputs = prod(axis.taps for axis in axes), prod(axis.outputs for axis in axes)
    points = prod(axis.high - axis.low + 1 for axis in axes)
    size = dtype.itemsize
    weight = (4 if dtype.kind == "c" else 1) * (2 if dtype.char in "dD" else 1)
    return {
        "multiplies": groups * c_in * c_out * outputs * taps * weight,
        "ends": size * groups * (c_in * points + c_out * outputs),
        "panels": size * groups * c_in * outputs * taps * 3,
        "spectra": 2 * size * points * groups * (c_in + c_out + c_in * c_out),
        "taps": taps,
        "log": log2(max(2, points)),
    }


def modelled(problem: Problem, costs: Mapping[str, float]) -> dict[str, float]:
    """Return the model's seconds, by these constants: as `gpu_cost.estimate` has them by its own."""
    counted, integer = terms(problem), np.dtype(problem.dtype).kind in "iu"
    ends = costs["byte"] * counted["ends"]
    products = costs["gemm_multiply"] * counted["multiplies"] * (costs["integer_gemm"] if integer else 1)
    passes = costs["byte"] * counted["spectra"] * max(1.0, costs["passes_per_log"] * counted["log"])
    return {
        "direct": costs["launch"] + max(ends, costs["stencil_multiply"] * counted["multiplies"]),
        "gemm": costs["launch"] * (2 + counted["taps"]) + costs["byte"] * counted["panels"] + products + ends,
        "fft": costs["launch"] * 6 + 2 * ends + passes,
    }


def problems(toy: bool) -> dict[str, tuple[str, Problem]]:
    """Return, by constant and in the order of the fit, the method and the problem that show it."""
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


def constant(name: str, problem: Problem, seconds: float, known: Mapping[str, float]) -> float:
    """Return a constant from the time of the product that shows it, and the constants before it."""
    counted = terms(problem)
    if name == "launch":
        found = seconds
    elif name == "byte":
        found = (seconds - known["launch"]) / counted["ends"]
    elif name == "stencil_multiply":
        found = (seconds - known["launch"]) / counted["multiplies"]
    elif name in ("gemm_multiply", "integer_gemm"):
        around = known["launch"] * (2 + counted["taps"]) + known["byte"] * (
            counted["panels"] + counted["ends"]
        )
        found = (seconds - around) / counted["multiplies"]
        found = found / known["gemm_multiply"] if name == "integer_gemm" else found
    else:
        around = known["launch"] * 6 + 2 * known["byte"] * counted["ends"]
        found = (seconds - around) / (known["byte"] * counted["spectra"] * counted["log"])
    return max(found, LEAST[name])


def measured(lab: Lab) -> Rows:
    """Yield a row for each constant."""
    known: dict[str, float] = {}
    for name, (method, problem) in problems(lab.toy).items():
        A = problem.operator(lab, method)
        inputs = problem.vectors(lab, "forward")
        if np.dtype(problem.dtype).kind == "f":
            problem.checked(lab, inputs[0], A.matvec(inputs[0]), "forward")
        timing = lab.timed(A.matvec, inputs)
        known[name] = constant(name, problem, timing.seconds, known)
        yield {"constant": name, "value": known[name], "method": method, **timing.row()}
        del A, inputs
        lab.clear()


def from_rows(rows: list[Row]) -> dict[str, float]:
    """Return the constants that rows hold."""
    return {row["constant"]: row["value"] for row in rows}
