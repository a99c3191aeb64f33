"""Draw problems, time ``auto`` and every method, and print the distribution of what ``auto`` loses.

Run ``python asv_benchmarks/auto_sweep.py --count 1000``. Signals of one to three axes and of 100 to 4 million
samples, kernels from one tap to as long as the signal, powers of two and their neighbours among both,
strides, dilations, channels, padding modes and dtypes are drawn from a seed. Each problem is timed forward
and transposed by every method that accepts it; one whose estimate is far over the best one's, or that runs
too long, is left out. What ``auto`` loses is its time over that of the fastest method, both directions
together.

Times of a shared machine have outliers: all methods of a problem are timed in the same number of rounds, one
method after the other, and the least time of each counts. (Timing again only what seems to lose would remove
losses that are noise, but keep such gains.) On a busy machine ``--processor`` counts processor time, best
with one thread (``NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1``). ``--json`` writes all times, a line for each
problem.

``--rates shipped tuned`` prints the distribution for the choices by the package's rates and by those that
``sparsetconv tune`` has stored for this machine, from one run: the rates change the choice, and only for
transforms what is computed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import sparsetconv as stc
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._methods import cost
from sparsetconv._methods.choice import choose
from sparsetconv._methods.cpu import rates
from sparsetconv._methods.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# the largest matrix that is tried, in bytes
MOST_MATRIX = 1e9
# methods are not tried beyond this ratio of their estimate to the best one, or beyond these seconds per
# product
FAR, LONG = 30, 2.0
# rounds in which the methods of a problem are timed
ROUNDS = 2


# what the environment says for each kind of rates
SWITCHES = {"shipped": "off", "tuned": "on"}


@contextmanager
def using(kind: str) -> Iterator[None]:
    """Use the package's rates, or those that were measured, for all that is made in the block."""
    before = os.environ.get(rates.SWITCH)
    os.environ[rates.SWITCH] = SWITCHES[kind]
    try:
        yield
    finally:
        os.environ.pop(rates.SWITCH)
        if before is not None:
            os.environ[rates.SWITCH] = before


class Problem(NamedTuple):
    """A drawn problem."""

    kernel_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    options: dict[str, Any]
    dtype: str

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.kernel_shape)), "x".join(map(str, self.input_shape))
        options = ", ".join(f"{key} {value}" for key, value in self.options.items())
        return f"{sizes[0]} on {sizes[1]}, {options}, {self.dtype}"


def near_power(rng: np.random.Generator, number: float, least: int = 1) -> int:
    """Return a number, or a power of two near it, or a neighbour of one."""
    if rng.random() < 0.5:
        return max(least, round(number))
    return max(least, 2 ** round(math.log2(max(number, 1))) + int(rng.integers(-1, 2)))


def draw(rng: np.random.Generator) -> Problem:
    """Return a problem whose kernel fits the signal."""
    while True:
        ndim = int(rng.integers(1, 4))
        samples = 10 ** rng.uniform(2, 6.6)
        channels = bool(rng.random() < 0.3)
        c_in, c_out, groups = 1, 1, 1
        if channels:
            groups = int(rng.choice([1, 1, 1, 2, 4]))
            c_in, c_out = (groups * int(2 ** rng.integers(0, 6)) for _ in range(2))
            samples /= c_in
        # axes of unlike lengths, some of them short
        shares = rng.dirichlet(np.full(ndim, rng.choice([4.0, 4.0, 4.0, 0.5])))
        sizes = [near_power(rng, max(samples, 1) ** share) for share in shares]
        strides = [int(rng.choice([1, 1, 1, 2, 3])) for _ in sizes] if rng.random() < 0.3 else [1] * ndim
        dilations = [int(rng.choice([1, 2, 5])) for _ in sizes] if rng.random() < 0.15 else [1] * ndim
        # the taps' share of the logarithm of each axis, so that small kernels are as likely as large ones
        reach = rng.random()
        taps = [
            near_power(rng, (size / d) ** (reach if rng.random() < 0.8 else rng.random()))
            for size, d in zip(sizes, dilations, strict=True)
        ]
        options: dict[str, Any] = {"padding": str(rng.choice(["same", "same", "valid", "full"]))}
        for name, values, usual in (("stride", strides, [1] * ndim), ("dilation", dilations, [1] * ndim)):
            if values != usual:
                options[name] = values
        mode = str(rng.choice(PADDING_MODES)) if rng.random() < 0.5 else "zeros"
        if mode != "zeros":
            options["padding_mode"] = mode
        if groups > 1:
            options["groups"] = groups
        kernel_shape = (c_out, c_in // groups, *taps) if channels else tuple(taps)
        input_shape = (c_in, *sizes) if channels else tuple(sizes)
        dtype = str(rng.choice(["float32", "float32", "float64", "float64", "complex64", "complex128"]))
        try:
            geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
        except ValueError:
            continue  # a kernel that does not fit
        if math.prod(kernel_shape) <= 1 << 22 and geometry.matrix_shape[0] <= 1 << 24:
            return Problem(kernel_shape, input_shape, options, dtype)


def seconds(function: Callable[[], object], budget: float, clock: Callable[[], float]) -> float:
    """Return the least time of as many calls as a budget allows, after one that prepares."""
    best, total, calls = math.inf, 0.0, 0
    while calls < 3 or (total < budget and calls < 50):
        begin = clock()
        function()
        last = clock() - begin
        total, calls = total + last * (calls > 0), calls + 1
        # the first call prepares; a long one is not called again
        best = last if calls <= 2 else min(best, last)
        if last > LONG:
            break
    return best


def work(geometry: Any) -> int:
    """Return the multiplications of the convolution itself."""
    axes = geometry.axes
    return (
        math.prod(axis.outputs * axis.taps for axis in axes) * geometry.groups * math.prod(geometry.channels)
    )


class Choice(NamedTuple):
    """What ``auto`` takes with some rates, the estimates, and the operator that each method is timed with."""

    auto: str
    estimates: dict[str, float]
    operators: dict[str, str]


def choices(
    geometry: Any, kernel: Any, kinds: list[str]
) -> tuple[dict[str, Choice], dict[str, stc.ConvOperator]]:
    """Return what is chosen with each kind of rates, and the operators to be timed, by name.

    An operator's transforms depend on the rates with which it was made; all others are shared.
    """
    c_in, c_out = geometry.channels
    weights = kernel.reshape(geometry.groups, c_out, c_in, *(axis.taps for axis in geometry.axes))
    found, operators = {}, {}
    for kind in kinds:
        with using(kind):
            estimates = cost.estimate(geometry, kernel.dtype)
            auto, best, names = choose("auto", geometry, weights).method.name, min(estimates.values()), {}
            for method in METHODS:
                fits = method != "sparse" or geometry.nbytes(kernel.dtype) <= MOST_MATRIX
                if method != auto and not (fits and estimates[method] <= min(FAR * best + 1e-4, LONG)):
                    continue
                made = stc.ConvOperator.from_geometry(kernel, geometry, method=method)
                own = [name for name, other in operators.items() if same(made, other)]
                names[method] = own[0] if own else method if method not in operators else f"{method} {kind}"
                operators.setdefault(names[method], made)
            found[kind] = Choice(auto, estimates, names)
    return found, operators


def same(one: stc.ConvOperator, other: stc.ConvOperator) -> bool:
    """Return whether two operators compute alike: by one method and, where it has several, one strategy."""
    if one.method != other.method:
        return False
    strategies = [getattr(operator._method, "strategy", None) for operator in (one, other)]
    if None in strategies:
        return True
    dtype = one.dtype
    left, right = ([strategy(way, dtype)[:2] for way in (False, True)] for strategy in strategies)
    return left == right


def measure(
    problem: Problem, budget: float, clock: Callable[[], float], kinds: list[str]
) -> list[dict[str, Any]]:
    """Return for each kind of rates what ``auto`` takes, all methods' times, and their estimates."""
    rng = np.random.default_rng(0)
    geometry = stc.ConvGeometry(problem.input_shape, problem.kernel_shape, **problem.options)
    kernel = rng.standard_normal(problem.kernel_shape).astype(problem.dtype)
    found, operators = choices(geometry, kernel, kinds)
    x = rng.standard_normal(geometry.matrix_shape[1]).astype(problem.dtype)
    y = rng.standard_normal(geometry.matrix_shape[0]).astype(problem.dtype)
    times: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, operator in operators.items():
            own = seconds(lambda: operator.matvec(x), budget, clock)  # noqa: B023
            own += seconds(lambda: operator.T.matvec(y), budget, clock)  # noqa: B023
            times[name] = min(own, times.get(name, math.inf))
    # every kind of rates is compared with the fastest of all that was timed
    fastest = min(times, key=times.__getitem__)
    return [
        {
            "problem": str(problem),
            "drawn": problem._asdict(),
            "rates": kind,
            "auto": choice.auto,
            "best": fastest,
            "loss": times[choice.operators[choice.auto]] / times[fastest],
            "seconds": {method: times[name] for method, name in choice.operators.items()},
            "estimates": choice.estimates,
            "entries": geometry.nnz,
        }
        for kind, choice in found.items()
    ]


def report(results: list[dict[str, Any]], worst: int) -> str:
    """Return the distribution, and the problems on which most is lost."""
    losses = np.sort([result["loss"] for result in results])
    quantiles = (0.5, 0.9, 0.95, 0.99, 1.0)
    text = f"{len(losses)} problems; auto over the best: mean {losses.mean():.3f}, geometric mean "
    text += f"{math.exp(np.log(losses).mean()):.3f}; auto is the best on {np.mean(losses == 1):.0%}\n"
    text += "\n| share of the problems | " + " | ".join(f"{q:.0%}" for q in quantiles) + " |\n"
    text += "|---" * (len(quantiles) + 1) + "|\n| auto over the best at most | "
    text += " | ".join(f"{np.quantile(losses, q, method='inverted_cdf'):.2f}" for q in quantiles) + " |\n"
    lines = [text, "Most is lost on"]
    for result in sorted(results, key=lambda each: -each["loss"])[:worst]:
        times = ", ".join(
            f"{method} {seconds * 1e3:.2f} ({result['estimates'][method] * 2e3:.2f})"
            for method, seconds in result["seconds"].items()
        )
        head = f"{result['loss']:.2f}: {result['problem']}, {result['entries']:,} entries"
        lines.append(f"* {head}: {times} ms")
    return "\n".join(lines)


def main() -> None:
    """Draw, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="problems")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--budget", type=float, default=0.02, help="seconds for one product of one method")
    parser.add_argument("--worst", type=int, default=10, help="how many of the worst are printed")
    parser.add_argument("--json", type=Path, help="where all times go")
    parser.add_argument("--processor", action="store_true", help="count processor time")
    parser.add_argument(
        "--rates", nargs="+", choices=SWITCHES, default=["shipped"], help="by which auto chooses"
    )
    given = parser.parse_args()
    for kind in given.rates:
        with using(kind):
            origin = rates.current().origin
        if (kind == "tuned") == (origin == rates.of_class().origin):
            parser.error("there are no rates for this machine and number of threads: run sparsetconv tune")
        print(f"{kind}: {origin}")
    clock = time.process_time if given.processor else time.perf_counter
    rng = np.random.default_rng(given.seed)
    end, results = time.monotonic() + given.seconds, []
    while len(results) < given.count and time.monotonic() < end:
        problem = draw(rng)
        geometry = stc.ConvGeometry(problem.input_shape, problem.kernel_shape, **problem.options)
        if min(work(geometry) * 1e-11, *cost.estimate(geometry, np.dtype(problem.dtype)).values()) > LONG:
            continue
        results.append(measure(problem, given.budget, clock, given.rates))
        if given.json:
            with given.json.open("a") as file:
                for result in results[-1]:
                    print(json.dumps(result), file=file)
    for place, kind in enumerate(given.rates):
        print(f"\nby rates {kind}: " + report([each[place] for each in results], given.worst))


if __name__ == "__main__":
    main()
