"""Time assembly against filling the same three arrays with a constant: usual matrices, then borders.

Run ``python asv_benchmarks/assembly_ratio.py``; it prints a Markdown table. Both sides allocate fresh memory
and use the same number of threads, each of which fills its share of all three arrays. Times are medians of
alternating repetitions, in one run. The last lines show small matrices, and that the time is linear in the
entries (``--large`` goes up to 5e8 of them).
``--draw 100`` draws matrices instead, most of which are mostly border, and prints the distribution of their
ratios and the worst ones; there each time is the least of five, since a shared machine has outliers.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import sparsetconv as stc
from sparsetconv._arrays.threads import for_each, thread_count
from sparsetconv._geometry.padding import PADDING_MODES

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

# matrices with most rows or most entries at a border
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


def fill(sizes: list[tuple[int, np.dtype[Any]]]) -> list[np.ndarray]:
    """Fill new arrays with a constant, on all threads."""
    workers = thread_count()
    arrays = [np.empty(size, dtype) for size, dtype in sizes]

    def share(worker: int) -> None:
        for array in arrays:
            array[array.size * worker // workers : array.size * (worker + 1) // workers] = 3

    for_each(share, range(workers), workers)
    return arrays


def compare(
    build: Callable[[], object], repetitions: int = 9, middle: Callable[[Any], float] = statistics.median
) -> tuple[float, float, int]:
    """Return median seconds of assembly and of the fill, and the number of entries."""
    matrix = build()
    sizes = [(a.size, a.dtype) for a in (matrix.data, matrix.indices, matrix.indptr)]
    del matrix
    pairs = [(seconds(build), seconds(lambda: fill(sizes))) for _ in range(repetitions)]
    assembly, filling = (middle(times) for times in zip(*pairs, strict=True))
    return assembly, filling, sizes[0][0]


def table(cases: list[Any], rng: np.random.Generator) -> None:
    """Print one line for each case, then the mean and the worst ratio."""
    print("| matrix | entries | assembly, ms | fill, ms | ratio |")
    print("|---|---|---|---|---|")
    ratios = []
    for name, function, kernel_shape, input_shape, options in cases:
        kernel = rng.standard_normal(kernel_shape)
        assembly, filling, nnz = compare(lambda: function(kernel, input_shape, **options))  # noqa: B023
        ratios.append(assembly / filling)
        print(f"| {name} | {nnz:,} | {assembly * 1e3:.1f} | {filling * 1e3:.1f} | {ratios[-1]:.2f} |")
    print(f"\nmean {statistics.mean(ratios):.2f}, worst {max(ratios):.2f}\n")


def small(rng: np.random.Generator) -> None:
    """Print the times of matrices of which nothing but the fixed costs is seen."""
    print("| small matrix | microseconds |\n|---|---|")
    kernel, line = rng.standard_normal((3, 3)), rng.standard_normal(5)
    operator = stc.ConvOperator(kernel, (16, 16), padding="same", method="direct")
    builds: dict[str, Callable[[], object]] = {
        "16x16, k3, valid": lambda: stc.conv_matrix(kernel, (16, 16)),
        "16x16, k3, same": lambda: stc.conv_matrix(kernel, (16, 16), padding="same"),
        "20x20, k3, same": lambda: stc.conv_matrix(kernel, (20, 20), padding="same"),
        "16x16, k3, reflect": lambda: stc.conv_matrix(kernel, (16, 16), padding=1, padding_mode="reflect"),
        "1-D 100, k5, same": lambda: stc.conv_matrix(line, 100, padding="same"),
        "transposed 8x8, k3, stride 2": lambda: stc.conv_transpose_matrix(kernel, (8, 8), stride=2),
        "transposed 1-D 100, k5": lambda: stc.conv_transpose_matrix(line, 100),
        "ConvOperator of 16x16, tosparse()": operator.tosparse,
    }
    for name, build in builds.items():
        times = [seconds(build) for _ in range(500)]
        print(f"| {name} | {statistics.median(times) * 1e6:.0f} |")
    print()


# entries of a drawn matrix, so many that memory that an allocator has kept is not in cache
FEWEST, MOST = 4_000_000, 40_000_000
# the most samples and taps of an axis, by the number of axes
LARGEST = {1: (300_000, 8000), 2: (1000, 100), 3: (100, 20)}


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw an integer whose logarithm is uniformly distributed."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def drawn(rng: np.random.Generator) -> stc.ConvGeometry:
    """Draw a geometry with a long border or a long kernel."""
    ndim = int(rng.choice([1, 1, 1, 2, 2, 3]))
    samples, taps = LARGEST[ndim]
    while True:
        sizes = [between(rng, 100 if ndim == 1 else 4, samples) for _ in range(ndim)]
        kernel = [between(rng, 1, min(taps, 4 * size)) for size in sizes]
        dilation = int(rng.choice([1, 1, 1, 1, 2, 3, between(rng, 1, 1000) if ndim == 1 else 2]))
        pads: dict[str, Any] = {
            "valid": 0,
            "same": [((dilation * (k - 1)) // 2, (dilation * (k - 1) + 1) // 2) for k in kernel],
            "full": [dilation * (k - 1) for k in kernel],
            "far": [between(rng, 1, 6 * size) for size in sizes],
        }
        pad, mode = pads[str(rng.choice(list(pads)))], str(rng.choice(PADDING_MODES))
        stride = int(rng.choice([1, 1, 1, 1, 2, 3]))
        try:
            geometry = stc.ConvGeometry(sizes, kernel, stride, pad, dilation, padding_mode=mode)
        except ValueError:
            # the kernel is longer than the padded signal
            continue
        if FEWEST <= geometry.nnz <= MOST and math.prod(geometry.output_shape) < FEWEST:
            return geometry


def draw(count: int, seed: int) -> None:
    """Print the distribution of the ratios of drawn matrices, and the worst."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        geometry, transposed = drawn(rng), bool(rng.random() < 0.4)
        kernel = rng.standard_normal(geometry.kernel_shape)
        make = stc.conv_transpose_matrix if transposed else stc.conv_matrix
        assembly, filling, nnz = compare(lambda: make(kernel, geometry), 5, min)  # noqa: B023
        name = f"{'transpose of ' if transposed else ''}{geometry!r}"
        found.append((assembly / filling, nnz, assembly / nnz * 1e9, name))
    ratios = [ratio for ratio, *_ in found]
    shares = {share: np.quantile(ratios, share) for share in (0.5, 0.9, 0.95, 0.99, 1)}
    print(f"{count} matrices; at most 3 for {np.mean(np.array(ratios) <= 3):.1%}")
    print(", ".join(f"{share:.0%} at most {ratio:.2f}" for share, ratio in shares.items()))
    for ratio, nnz, nanoseconds, name in sorted(found, reverse=True)[:10]:
        print(f"* {ratio:.2f}, {nnz:,} entries, {nanoseconds:.1f} ns each: {name}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also 5e8 entries: about 7 GB")
    parser.add_argument("--draw", type=int, metavar="N", help="draw so many matrices instead")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.draw:
        draw(arguments.draw, arguments.seed)
        return
    large = arguments.large
    rng = np.random.default_rng(0)
    table(CASES, rng)
    table(BORDERS, rng)
    small(rng)
    print("\n| entries | ns per entry |\n|---|---|")
    kernel = rng.standard_normal((7, 7))
    for side in (144, 452, 1430, *((3195,) if large else ())):
        times = [seconds(lambda: stc.conv_matrix(kernel, (side, side), padding="same")) for _ in range(5)]  # noqa: B023
        nnz = stc.ConvGeometry((side, side), (7, 7), padding="same").nnz
        print(f"| {nnz:,} | {statistics.median(times) / nnz * 1e9:.2f} |")


if __name__ == "__main__":
    main()
