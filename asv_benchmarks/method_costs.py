"""Compare the time of each method with the estimates of ``sparsetconv._methods.cost``.

Run ``python asv_benchmarks/method_costs.py``. For each case it prints the milliseconds of one product,
forward and transposed, by each method that accepts it, the estimate for the forward one, and which method
``auto`` takes. The last line is what ``auto`` loses to the best method, forward plus transposed, in the
geometric mean and at worst.

``--fit`` measures the rates of this processor's class instead, as `sparsetconv.tune` does, and writes them to
the package's ``rates.json``: the median of several measurements. Do this with two threads, on a machine that
does nothing else, whenever a method's loops or its ``seconds`` have changed; and for the other classes with
``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` for the compiled loops, ``OPENBLAS_CORETYPE`` for BLAS, and
``NPY_DISABLE_CPU_FEATURES`` for NumPy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

import sparsetconv as stc
from sparsetconv._methods import cost
from sparsetconv._methods.cpu import rates
from sparsetconv._methods.registry import METHODS

# where the package has its rates
RATES = Path(rates.__file__).with_name("rates.json")

# (kernel shape, input shape, options)
CASES = [
    ((3, 3), (64, 64), {"padding": "same"}),
    ((3, 3), (256, 256), {"padding": "same"}),
    ((3, 3), (1024, 1024), {"padding": "same"}),
    ((7, 7), (1024, 1024), {"padding": "same", "padding_mode": "reflect"}),
    ((15, 15), (1024, 1024), {"padding": "same"}),
    ((31, 31), (1024, 1024), {"padding": "same"}),
    ((7, 7), (1024, 1024), {"padding": "same", "stride": 2}),
    ((31,), (1_000_000,), {"padding": "same"}),
    ((501,), (1_000_000,), {"padding": "same"}),
    ((3, 3, 3), (96, 96, 96), {"padding": "same"}),
    ((7, 7, 7), (96, 96, 96), {"padding": "same"}),
    ((16, 3, 3, 3), (3, 256, 256), {"padding": "same"}),
    ((16, 16, 3, 3), (16, 256, 256), {"padding": "same"}),
    ((64, 64, 3, 3), (64, 56, 56), {"padding": "same"}),
]
DTYPES = ("float32", "float64", "complex128")
# a method that would take longer than this is not run
LIMIT = 0.6


def milliseconds(function, repetitions=7) -> float:
    """Return the median time of a call, after one that prepares."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def fitted(repetitions: int, measure=stc.tune) -> dict[str, float]:
    """Return the median of the rates of several measurements, with three digits."""
    found = [measure(store=False).rates for _ in range(repetitions)]
    return {name: float(f"{statistics.median(one[name] for one in found):.3g}") for name in found[0]}


def write_fitted(path: Path, name: str, times: dict[str, float]) -> None:
    """Write the rates of a class; the model's version becomes one more, so that older measurements end."""
    table = json.loads(path.read_text())
    table["model"] += 1
    table["rates"][name] = times
    path.write_text(json.dumps(table, indent=2) + "\n")


def main() -> None:
    """Print the table, or write the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="write the rates of this processor's class")
    parser.add_argument("--repetitions", type=int, default=3, help="measurements of --fit")
    given = parser.parse_args()
    if not given.fit:
        print_table()
        return
    name, times = rates.CLASSES[rates.vector_bytes()], fitted(given.repetitions)
    write_fitted(RATES, name, times)
    print(f"{RATES}: rates of {name}")
    for key, value in times.items():
        print(f"  {key:<15} {value:.3g}")


def print_table() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    print(
        "| case | dtype | "
        + " | ".join(f"{m}: forward (estimate), transposed" for m in METHODS)
        + " | auto |"
    )
    print("|---" * (len(METHODS) + 3) + "|")
    losses = []
    for kernel_shape, input_shape, options in CASES:
        for dtype in DTYPES:
            kernel = rng.standard_normal(kernel_shape).astype(dtype)
            geometry = stc.ConvGeometry(input_shape, kernel_shape, **options)
            estimates = cost.estimate(geometry, kernel.dtype)
            x = rng.standard_normal(geometry.matrix_shape[1]).astype(dtype)
            y = rng.standard_normal(geometry.matrix_shape[0]).astype(dtype)
            cells, totals = [], {}
            for method in METHODS:
                if estimates[method] > LIMIT or (method == "sparse" and geometry.nbytes(dtype) > 2e9):
                    cells.append("-")
                    continue
                A = stc.ConvOperator(kernel, input_shape, method=method, **options)
                forward = milliseconds(lambda: A.matvec(x))  # noqa: B023
                transposed = milliseconds(lambda: A.T.matvec(y))  # noqa: B023
                totals[method] = forward + transposed
                cells.append(f"{forward:.2f} ({estimates[method] * 1e3:.2f}), {transposed:.2f}")
            chosen = stc.ConvOperator(kernel, input_shape, **options).method
            losses.append(totals.get(chosen, np.inf) / min(totals.values()))
            name = f"{'x'.join(map(str, kernel_shape))} on {'x'.join(map(str, input_shape))}"
            name += "".join(f", {key} {value}" for key, value in options.items() if value != "same")
            print(
                f"| {name} | {dtype} | " + " | ".join(cells) + f" | {chosen} x{losses[-1]:.2f} |", flush=True
            )
    mean = statistics.geometric_mean(losses)
    print(f"\nauto over the best: geometric mean {mean:.2f}, worst {max(losses):.2f}")


if __name__ == "__main__":
    main()
