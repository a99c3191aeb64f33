"""Part ``ceilings``: the limits of the card, and what the libraries achieve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sparsetconv as stc

from . import limits, measure, problems
from .peers import PEERS
from .steps import Rows, Step

if TYPE_CHECKING:
    from .lab import Lab


def steps(toy: bool) -> list[Step]:
    """Return the part's steps, by importance."""
    peers = [
        Step(f"{peer}: {problem.name}", by_peer, 60, {"problem": problem, "peer": peer})
        for problem in [*problems.planes(toy), *problems.volumes(toy), *problems.layers(toy)]
        for peer in PEERS
    ]
    return [
        Step("copies", copies, 60),
        Step("multiplications", multiplications, 60),
        Step("launches", launches, 60),
        Step("matrix products", matrix_products, 60),
        *peers,
    ]


def copies(lab: Lab) -> Rows:
    """Bytes read plus written per second, by size of the copy."""
    for power in (12, 14) if lab.toy else (20, 22, 24, 26, 28, 29, 30, 32):
        nbytes = 1 << power
        timing = limits.copy_seconds(lab, nbytes)
        yield {"bytes": nbytes, "GB/s": 2 * nbytes / timing.seconds / 1e9, **timing.row()}


def multiplications(lab: Lab) -> Rows:
    """Multiply-adds per second, in registers."""
    for dtype in ("float32", "float64"):
        timing, count = limits.fma_seconds(lab, dtype)
        yield {"dtype": dtype, "GFMA/s": count / timing.seconds / 1e9, **timing.row()}


def matrix_products(lab: Lab) -> Rows:
    """The same by cuBLAS, which has units of its own for double precision."""
    side = 32 if lab.toy else 8192
    for dtype in ("float32", "float64"):
        factors = [lab.random((side, side), dtype, seed) for seed in range(2)]
        timing = lab.timed(lambda x: x @ x, factors)
        yield {"dtype": dtype, "side": side, "GFMA/s": side**3 / timing.seconds / 1e9, **timing.row()}


def launches(lab: Lab) -> Rows:
    """Microseconds of an empty kernel, and of the smallest product."""
    kernel = lab.random((3, 3), "float32")
    A = stc.ConvOperator(kernel, (8, 8), padding="same", method="direct")
    x = lab.random((64,), "float32")
    for what, call in (("empty kernel", limits.empty_kernel(lab)), ("3x3 on 8x8", lambda: A.matvec(x))):
        timing = lab.timed(lambda _, call=call: call(), [None])
        yield {
            "what": what,
            "device, us": timing.seconds * 1e6,
            "until submitted, us": lab.host_seconds(call, synchronize=False) * 1e6,
            "until there, us": lab.host_seconds(call, synchronize=True) * 1e6,
        }


def by_peer(lab: Lab, problem: problems.Problem, peer: str) -> Rows:
    """A problem of ``products`` by a library, in both directions."""
    for direction in measure.DIRECTIONS:
        yield measure.peer_row(lab, problem, peer, direction)
