"""Part ``tuning``: the fastest launch of the stencil for each class of problem, the cost model's constants.

The result is a `sparsetconv._methods.cuda.tuning.Tuning`, which `table` makes from the steps' rows. Each
launch is compared with the CPU before it is timed; a wrong one is recorded, but never in the table.
"""

from __future__ import annotations

import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._methods.cuda import tiles, tuning

from . import costs, measure
from .problems import Problem
from .steps import Row, Rows, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .lab import Lab

# seconds of one measurement; short, since many shapes are tried and most are not close
EACH = 0.05
COSTS = "constants of the cost model"
# no shape is compiled and tried with less time left
LEAST_SECONDS = 5.0
# the planner's shape is kept unless another one is faster by more than this
MARGIN = 0.02
# inputs and kernels without channels, by number of axes; all inputs have about sixteen million samples
SIZES = {1: (1 << 24,), 2: (4096, 4096), 3: (256, 256, 256)}
TOY_SIZES = {1: (80,), 2: (20, 18), 3: (6, 7, 8)}
TAPS = {1: (3, 7, 15, 63), 2: (3, 7, 15, 31), 3: (3, 7)}
LAYERS = {2: (8, 64), 3: (8, 64)}
RARITY = {"float32": 0, "float64": 2, "complex64": 4, "complex128": 5}


def steps(toy: bool) -> list[Step]:
    """Return the part's steps: the constants, then classes of problems, the most frequent first."""
    sweeps = [
        Step(f"{problem.name}, {direction}", sweep, 45, {"problem": problem, "direction": direction})
        for problem in classes(toy)
        for direction in measure.DIRECTIONS
    ]
    return [Step(COSTS, costs.measured, 60), *sweeps]


def classes(toy: bool) -> list[Problem]:
    """Return a problem for each class, the most frequent first."""
    sizes = TOY_SIZES if toy else SIZES
    taps = {ndim: lengths[:1] for ndim, lengths in TAPS.items()} if toy else TAPS
    found = []
    for dtype in ("float32",) if toy else tuple(RARITY):
        for ndim in sizes:
            lengths = taps[ndim] if dtype[0] == "f" else taps[ndim][:2]
            found += [plain(sizes[ndim], k, dtype) for k in lengths]
            if dtype[0] == "f" and not (toy and ndim != 2):
                found += [plain(sizes[ndim], k, dtype, stride=2) for k in lengths[:2]]
                found += [
                    layer(sizes[ndim], count, dtype) for count in LAYERS.get(ndim, ())[: 1 if toy else 2]
                ]
    return sorted(found, key=rarity)


def rarity(problem: Problem) -> int:
    """Return a number by which problems are sorted: 0 for the most frequent."""
    stride = 1 if problem.geometry.axes[0].stride == 1 else 2
    return RARITY[problem.dtype] + {2: 0, 3: 1, 1: 2}[problem.geometry.ndim] + stride


def plain(sizes: tuple[int, ...], k: int, dtype: str, stride: int = 1) -> Problem:
    """Return a picture with a kernel of ``taps`` taps per axis."""
    options = {"padding": "same", "stride": stride}
    return Problem(
        f"{len(sizes)}-D, {k} taps, stride {stride}, {dtype}", sizes, (k,) * len(sizes), dtype, options
    )


def layer(sizes: tuple[int, ...], count: int, dtype: str) -> Problem:
    """Return maps of many channels, with about as many samples in total as one picture."""
    ndim = len(sizes)
    smaller = tuple(max(4, n // 2 ** round(np.log2(count) / ndim)) for n in sizes)
    shape = (count, *smaller), (count, count, *(3,) * ndim)
    return Problem(f"{ndim}-D, {count} channels, {dtype}", *shape, dtype)


def sweep(lab: Lab, problem: Problem, direction: str) -> Rows:
    """Yield a row for each shape of a launch that is tried: its time, or what is wrong with it.

    There are hundreds of shapes. The planner's own is tried first, then all that differ from it in one
    number, then those that differ in one number from the fastest, until none is faster.
    """
    transposed, dtype = direction != "forward", np.dtype(problem.dtype)
    # the method as it plans: with merged axes
    method = problem.operator(lab, "direct")._method
    name = tuning.problem_class(method.geometry, dtype, transposed)
    inputs = problem.vectors(lab, direction)
    left = tiles.candidates(method.problem(1, transposed, dtype))
    rows: list[Row] = []
    while wanted := neighbours(rows, left):
        # each is compiled: a toy run tries only one in addition to the planner's
        for shape in wanted[:1] if lab.toy else wanted:
            if lab.seconds_left() < LEAST_SECONDS:
                yield {"class": name, "untried": len(left)}
                return
            left.remove(shape)
            first: Row = {"class": name, "shape": asdict(shape), "planned": not rows}
            rows.append(first | tried(lab, problem, direction, shape, inputs))
            yield rows[-1]
            # a persistent CUDA error is raised here, and the next class gets another process
            lab.clear()
            lab.synchronize()
        if lab.toy and len(rows) > 1:
            return


def neighbours(rows: list[Row], left: list[tuning.LaunchShape]) -> list[tuning.LaunchShape]:
    """Return what to try next: the first shape, then those that differ in one number from the fastest so far.
    The number of blocks per multiprocessor may differ in addition.
    """
    if not rows:
        return left[:1]
    best = min((row for row in rows if "ms" in row), key=lambda row: row["ms"], default=rows[0])["shape"]

    def differences(shape: tuning.LaunchShape) -> int:
        return sum(best[key] != value for key, value in asdict(shape).items() if key != "blocks")

    return [shape for shape in left if differences(shape) <= 1]


def tried(lab: Lab, problem: Problem, direction: str, shape: tuning.LaunchShape, inputs: list[Any]) -> Row:
    """Return the time of a product with a shape, or what is wrong with it."""
    with tuning.forced(shape):
        # plans are cached: each shape needs its own operator
        A = problem.operator(lab, "direct")
        call = A.matvec if direction == "forward" else A.rmatvec
        try:
            error = problem.checked(lab, inputs[0], call(inputs[0]), direction)
            return {"error": error, **lab.timed(call, inputs, EACH).row()}
        except Exception as wrong:
            traceback.print_exc()
            return {"wrong": f"{type(wrong).__name__}: {wrong}"[:500]}


def fastest(rows: list[Row]) -> Row | None:
    """Return the row of the fastest correct shape: the planner's own, unless another is clearly faster."""
    right = [row for row in rows if "ms" in row]
    best = min(right, key=lambda row: row["ms"], default=None)
    planned = next((row for row in right if row["planned"]), best)
    return planned if best is not None and planned["ms"] <= (1 + MARGIN) * best["ms"] else best


def table(identity: Mapping[str, Any], outcomes: Mapping[str, Mapping[str, Any]]) -> tuning.Tuning:
    """Return what the package reads: the measured shapes, and the measured or else the shipped constants."""
    known = dict(tuning.shipped().costs)
    stencil = {}
    for name, outcome in outcomes.items():
        if name == COSTS:
            # all of them or none: each depends on those before it
            found = costs.from_rows(outcome["rows"])
            known |= found if set(found) == set(costs.BOUNDS) else {}
            continue
        best = fastest(outcome["rows"])
        if best is not None:
            stencil[best["class"]] = tuning.LaunchShape(**best["shape"])
    return tuning.Tuning(identity["card"], known, stencil)
