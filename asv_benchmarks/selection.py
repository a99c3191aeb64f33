"""Which combinations of parameters a run measures: the whole grid, or the small one; with a GPU or without.

The ids are the same in all of them; what is not selected asv records as not measured.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# benchmark class, or "*": parameter: values that the small grid has; others keep all of theirs
SMALL: dict[str, dict[str, set[Any]]] = {
    "*": {"n": {256}, "taps": {7}},
    "assembly.Assembly": {"n": {256, 1024}, "taps": {7}},
    "assembly.AssemblyCosts": {"n": {1024}, "taps": {7}, "matrix": {"conv"}},
    "sparse_products.SparseProduct": {"n": {256}, "taps": {3, 7}, "columns": {1, 8}},
    "sparse_products.SparseProductCosts": {"n": {256}, "taps": {7}, "columns": {1}, "direction": {"forward"}},
    "operators.KernelSizes": {"taps": {3, 15}, "method": {"auto", "direct", "fft"}},
    "operators.Channels": {"layer": {"3 to 16, 256x256"}, "method": {"auto"}},
    "operators.PictureSizes": {"n": {64, 1024}, "taps": {7}, "columns": {1}},
    "operators.OperatorCosts": {"n": {1024}, "taps": {7}, "direction": {"forward"}},
    "break_even.AssemblyAndProducts": {"n": {256}, "taps": {7}, "products": {10}},
    # where the matrix pays
    "break_even.BreakEven": {"n": {64}, "taps": {3}, "against": {"fft", "ndimage.correlate"}},
    "resizing.Resize": {"m": {1024}, "mode": {"cubic"}},
    "resizing.ResizeAssembly": {"m": {1024}, "mode": {"cubic"}},
    "learning.FitKernel": {"taps": {8}, "method": {"cholesky"}},
    "solvers.Deblur": {"n": {128}, "method": {"auto"}},
    "memory.ProductMemory": {"n": {1024}, "way": {"matrix", "direct"}},
}


def combinations(
    benchmark: Mapping[str, Any], grid: str, backends: Iterable[str]
) -> Iterator[tuple[str, ...]]:
    """Yield the parameters, as asv writes them, that a run of a discovered benchmark is to measure."""
    names, values = benchmark["param_names"], benchmark["params"]
    kept = [set(column) for column in values]
    if "backend" in names:
        kept[names.index("backend")] = {repr(name) for name in backends}
    if grid == "small":
        rules = SMALL.get(benchmark["name"].rpartition(".")[0], SMALL["*"])
        for name, few in rules.items():
            if name in names:
                kept[names.index(name)] &= {repr(value) for value in few}
    for combination in itertools.product(*values):
        if all(value in some for value, some in zip(combination, kept, strict=True)):
            yield combination


def patterns(
    benchmarks: Iterable[Mapping[str, Any]], grid: str, backends: Iterable[str], wanted: str = ""
) -> list[str]:
    """Return regular expressions for ``asv run --bench``, one for each combination selected."""
    backends = tuple(backends)
    found = []
    for benchmark in benchmarks:
        for combination in combinations(benchmark, grid, backends):
            name = f"{benchmark['name']}({', '.join(combination)})"
            if re.search(wanted, name):
                found.append(f"^{re.escape(name)}$")
    return found
