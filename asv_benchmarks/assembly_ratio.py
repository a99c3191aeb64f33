"""Assembly against filling the same three arrays with a constant, in one run: usual matrices, then borders.

Run ``python asv_benchmarks/assembly_ratio.py``; it prints a Markdown table. Both sides allocate fresh memory;
``np.full`` is what NumPy itself offers, on one thread. Medians of alternating repetitions. The last
lines show a small matrix, and that the time is linear in the entries (``--large`` goes up to 5e8 of
them).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import sparsetconv as stc

CASES = [
    # (name, function, kernel shape, input shape, options)
    ("1-D 1e6, k31", stc.conv_matrix, (31,), (1_000_000,), {}),
    ("1024^2, k3", stc.conv_matrix, (3, 3), (1024, 1024), {"padding": "same"}),
    ("1024^2, k7", stc.conv_matrix, (7, 7), (1024, 1024), {"padding": "same"}),
    ("1024^2, k7, stride 2", stc.conv_matrix, (7, 7), (1024, 1024), {"padding": "same", "stride": 2}),
    ("1024^2, k7, reflect", stc.conv_matrix, (7, 7), (1024, 1024), {"padding": 3, "padding_mode": "reflect"}),
    (
        "1024^2, k5, circular, dilation 2",
        stc.conv_matrix,
        (5, 5),
        (1024, 1024),
        {"padding": 4, "padding_mode": "circular", "dilation": 2},
    ),
    ("128^3, k3", stc.conv_matrix, (3, 3, 3), (128, 128, 128), {"padding": "same"}),
    ("16 to 16 channels, 128^2, k3", stc.conv_matrix, (16, 16, 3, 3), (16, 128, 128), {"padding": "same"}),
    (
        "32 groups, 256^2, k3",
        stc.conv_matrix,
        (32, 1, 3, 3),
        (32, 256, 256),
        {"padding": "same", "groups": 32},
    ),
    (
        "transposed 512^2, k4, stride 2",
        stc.conv_transpose_matrix,
        (4, 4),
        (512, 512),
        {"padding": 1, "stride": 2},
    ),
    (
        "transposed, 8 to 8 channels, 128^2, k5, stride 3",
        stc.conv_transpose_matrix,
        (8, 8, 5, 5),
        (8, 128, 128),
        {"padding": 1, "stride": 3},
    ),
]

# borders that hold most rows or most entries
FAR = {"padding": "same", "dilation": 100_000}
BORDERS = [
    ("1-D 1e6, k3, dilation 1e5", stc.conv_matrix, (3,), (1_000_000,), FAR),
    ("the same, reflect", stc.conv_matrix, (3,), (1_000_000,), {**FAR, "padding_mode": "reflect"}),
    (
        "1-D 1e6, k3, reflect by 1e5",
        stc.conv_matrix,
        (3,),
        (1_000_000,),
        {"padding": 100_000, "padding_mode": "reflect"},
    ),
    (
        "circulant of 4000",
        stc.conv_matrix,
        (4000,),
        (4000,),
        {"padding": ((3999, 0),), "padding_mode": "circular"},
    ),
    (
        "1-D 4000, k2001, reflect",
        stc.conv_matrix,
        (2001,),
        (4000,),
        {"padding": 1000, "padding_mode": "reflect"},
    ),
    ("100^2, k65", stc.conv_matrix, (65, 65), (100, 100), {"padding": "same"}),
    (
        "100^2, k65, reflect",
        stc.conv_matrix,
        (65, 65),
        (100, 100),
        {"padding": 32, "padding_mode": "reflect"},
    ),
    (
        "ten rows of 1e8, k1e6",
        stc.conv_matrix,
        (1_000_000,),
        (100_000_000,),
        {"padding": "full", "rows": slice(500_000, 500_010)},
    ),
]


def seconds(function: Callable[[], object]) -> float:
    """Time one call; what it returns is freed outside the timing."""
    start = time.perf_counter()
    result = function()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def compare(build: Callable[[], object], repetitions: int = 9) -> tuple[float, float, int]:
    """Return median seconds of assembly and of the fill, and the number of entries."""
    matrix = build()
    sizes = [(a.size, a.dtype) for a in (matrix.data, matrix.indices, matrix.indptr)]
    del matrix

    def fill() -> list[np.ndarray]:
        return [np.full(size, 3, dtype) for size, dtype in sizes]

    pairs = [(seconds(build), seconds(fill)) for _ in range(repetitions)]
    assembly, filling = (statistics.median(times) for times in zip(*pairs, strict=True))
    return assembly, filling, sizes[0][0]


def table(cases: list[Any], rng: np.random.Generator) -> None:
    """Print one line for each case, and what they come to."""
    print("| matrix | entries | assembly, ms | fill, ms | ratio |")
    print("|---|---|---|---|---|")
    ratios = []
    for name, function, kernel_shape, input_shape, options in cases:
        kernel = rng.standard_normal(kernel_shape)
        assembly, filling, nnz = compare(lambda: function(kernel, input_shape, **options))  # noqa: B023
        ratios.append(assembly / filling)
        print(f"| {name} | {nnz:,} | {assembly * 1e3:.1f} | {filling * 1e3:.1f} | {ratios[-1]:.2f} |")
    print(f"\nmean {statistics.mean(ratios):.2f}, worst {max(ratios):.2f}\n")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also 5e8 entries: about 7 GB")
    large = parser.parse_args().large
    rng = np.random.default_rng(0)
    table(CASES, rng)
    table(BORDERS, rng)
    kernel = rng.standard_normal((3, 3))
    for padding in ("valid", "same"):
        times = [seconds(lambda: stc.conv_matrix(kernel, (16, 16), padding=padding)) for _ in range(500)]  # noqa: B023
        print(f"16x16 input, 3x3 kernel, {padding}: {statistics.median(times) * 1e6:.0f} microseconds")
    print("\n| entries | ns per entry |\n|---|---|")
    kernel = rng.standard_normal((7, 7))
    for side in (144, 452, 1430, *((3195,) if large else ())):
        times = [seconds(lambda: stc.conv_matrix(kernel, (side, side), padding="same")) for _ in range(5)]  # noqa: B023
        nnz = stc.ConvGeometry((side, side), (7, 7), padding="same").nnz
        print(f"| {nnz:,} | {statistics.median(times) / nnz * 1e9:.2f} |")


if __name__ == "__main__":
    main()
