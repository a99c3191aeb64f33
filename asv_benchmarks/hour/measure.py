"""Rows of products: by a method of ours or by a library, checked before they are timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._methods import cost
from sparsetconv._methods.registry import METHODS as REGISTERED

from . import peers
from .steps import Row, Unavailable

if TYPE_CHECKING:
    from .lab import Lab, Timing
    from .problems import Problem

# the stencil first, which the others are compared with
METHODS = (*sorted(REGISTERED, key="direct".__ne__), "auto")
DIRECTIONS = ("forward", "adjoint")
# products with a larger estimate are not measured
LONGEST = 0.25


def peer_row(lab: Lab, problem: Problem, peer: str, direction: str) -> Row:
    """Return the row of a library, or the reason that there is none."""
    row = {"problem": problem.name, "by": peer, "direction": direction}
    inputs = problem.vectors(lab, direction)
    try:
        call = peers.PEERS[peer](lab, problem, direction)
        theirs = [peers.to_torch(lab, x) for x in inputs] if peer == "cuDNN" else inputs
        product = call(theirs[0])
        if peer == "cuDNN":
            product = peers.from_torch(lab, product)
        error = problem.checked(lab, inputs[0], product, direction)
        del product
        return row | {"error": error} | _timed(lab, problem, lab.timed(call, theirs))
    # it is not our failure if a library lacks something, has too little memory, or is less precise
    except (Unavailable, MemoryError, RuntimeError, AssertionError) as reason:
        return row | {"skipped": f"{reason}"[:500]}


def method_row(lab: Lab, problem: Problem, method: str, direction: str, others: Sequence[Row] = ()) -> Row:
    """Return the row of one of our methods, with ratios to libraries, or the reason that there is none."""
    row = {"problem": problem.name, "by": method, "direction": direction}
    try:
        estimate = cost.estimate(problem.geometry, np.dtype(problem.dtype), on_gpu=True).get(method, 0.0)
        if estimate > LONGEST:
            return row | {"skipped": f"the model estimates {estimate * 1e3:.0f} ms"}
        if method == "sparse":
            peers.require_matrix(lab, problem)
        A = problem.operator(lab, method)
        call = A.matvec if direction == "forward" else A.rmatvec
        inputs = problem.vectors(lab, direction)
        error = problem.checked(lab, inputs[0], call(inputs[0]), direction)
        chosen = {"method": A.method} if method == "auto" else {}
        timing = lab.timed(call, inputs)
        return row | chosen | {"error": error} | _timed(lab, problem, timing) | _beside(timing, others)
    except (Unavailable, MemoryError) as reason:
        return row | {"skipped": str(reason)}
    except AssertionError as error:
        return row | {"wrong": str(error)}


def _timed(lab: Lab, problem: Problem, timing: Timing) -> Row:
    floor = lab.roofline(problem.nbytes, problem.fmas, problem.itemsize)
    return {**timing.row(), "roofline, ms": floor * 1e3, "share": floor / max(timing.seconds, 1e-12)}


def _beside(timing: Timing, others: Sequence[Row]) -> Row:
    """Return how many times as long each measured library takes."""
    ratios = {row["by"]: row["ms"] / max(timing.seconds * 1e3, 1e-9) for row in others if "ms" in row}
    return {"their time over ours": ratios}
