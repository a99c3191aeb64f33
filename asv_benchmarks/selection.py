"""Select the combinations of parameters that a run measures: the whole grid, the small one, or a GPU's.

The ids are the same in all of them; asv records what is not selected as not measured.
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
    "sparse_products.GivenMatrix": {"matrix": {"256 k7"}, "dtype": {"float64"}},
    "operators.KernelSizes": {"taps": {3, 15}, "method": {"auto", "direct", "fft"}},
    "operators.Channels": {"layer": {"3 to 16, 256x256"}, "method": {"auto"}},
    "operators.PictureSizes": {"n": {64, 1024}, "taps": {7}, "columns": {1}},
    "operators.LargePictures": {"n": {2048}},
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

# what a card can measure in nine minutes: large problems, which keep it busy, and what only it can answer
GPU: dict[str, dict[str, set[Any]]] = {
    "*": {"n": {1024}, "taps": {7}},
    "assembly.Assembly": {"n": {1024, 2048}},
    "assembly.AssemblyCosts": {"n": {1024}, "taps": {7}},
    "break_even.AssemblyAndProducts": {"n": {256}, "taps": {7}, "products": {10, 100}},
    "break_even.BreakEven": {"n": {256}, "taps": {7}},
    "learning.FitKernel": {"taps": {8}},
    "memory.DeviceMemory": {"n": {1024}},
    "operators.KernelSizes": {"taps": {3, 7, 15}},
    "operators.Channels": {
        "layer": {"3 to 16, 256x256", "64 to 64, 56x56"},
        "method": {"auto", "direct", "gemm"},
    },
    "operators.LargePictures": {"n": {4096}, "direction": {"forward"}},
    "operators.Calls": {"call": {"A @ x"}, "method": {"direct"}},
    "operators.PictureSizes": {"n": {64, 1024}},
    "operators.OperatorCosts": {"n": {1024}},
    "resizing.Resize": {"mode": {"cubic"}},
    "resizing.ResizeAssembly": {"mode": {"cubic"}},
    "solvers.Deblur": {"n": {512}},
    "sparse_products.SparseProduct": {"n": {1024}, "columns": {1, 8}},
    "sparse_products.SparseProductCosts": {"n": {1024}, "taps": {7}, "columns": {1, 8}},
    "sparse_products.TransposedProduct": {"n": {1024}},
    "transfers.Transfer": {"n": {1024}},
}
GRIDS = {"small": SMALL, "gpu": GPU}
# seconds of a measurement, each in a process of its own: on the CPU as the whole grid took; on a GPU
# estimated: 1.4 s as there, 1 s for the device's context, 0.6 s for CuPy and for kernels from its cache
SECONDS = {"numpy": 1.4, "cupy": 3.0}


def estimated_seconds(patterns: Iterable[str]) -> float:
    """Return about how long a run of these measurements will take."""
    return sum(SECONDS["cupy" if "cupy" in pattern else "numpy"] for pattern in patterns)


def combinations(
    benchmark: Mapping[str, Any], grid: str, backends: Iterable[str]
) -> Iterator[tuple[str, ...]]:
    """Yield the parameters, as asv writes them, that a run of a discovered benchmark is to measure."""
    names, values = benchmark["param_names"], benchmark["params"]
    kept = [set(column) for column in values]
    if "backend" in names:
        kept[names.index("backend")] = {repr(name) for name in backends}
    name, _, measurement = benchmark["name"].rpartition(".")
    if grid == "gpu" and measurement.startswith("peakmem_"):
        # the host's memory, which says nothing of a card
        return
    if grid in GRIDS:
        rules = GRIDS[grid].get(name, GRIDS[grid]["*"])
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
