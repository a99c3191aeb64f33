"""Predict the time of the CUDA stencil from what is known without a card; print Markdown for docs/gpu.md.

    python asv_benchmarks/gpu_predictions.py                  # the table
    python asv_benchmarks/gpu_predictions.py --architecture 80   # registers and spills of another card's

NVRTC compiles what the planner launches and reports the registers it takes and the bytes it spills. The
predicted time of a product is the longest of three: bytes through the device's memory, each array once;
instructions, of which a multiprocessor issues four per cycle; and accesses to shared memory, one per cycle,
of 32 lanes and four bytes. Multiplications and accesses to shared memory are counted from the tile, the
instructions around them are estimated. The floor is the time that no program can beat: the bytes, or
multiplications at the data sheet's rate. Nothing here is measured. It needs ``cupy-cuda13x`` and
``nvidia-cuda-nvrtc``, and no GPU.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

import sparsetconv as stc
from sparsetconv._arrays import cuda
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._methods.cuda.direct import CudaDirectMethod
from sparsetconv._methods.cuda.tiles import Tile, default_tile


@dataclass(frozen=True)
class Card:
    """Rates of a card's data sheet: bytes a second, multiprocessors, hertz."""

    name: str
    bandwidth: float
    processors: int
    clock: float

    @property
    def multiplications(self) -> float:
        """Multiply-adds in float32 per second."""
        return self.processors * 128 * self.clock


H100 = Card("H100 SXM, data sheet", 3.35e12, 132, 1.98e9)
# instructions of a thread for a sample that it loads into the tile, and for a result that it stores
LOAD, STORE = 7, 2


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel takes: registers per thread, bytes that it spills, bytes of shared memory."""

    registers: int
    spilled: int
    shared: int


def nvrtc_options(architecture: int) -> tuple[str, ...]:
    """Return the options with which CuPy compiles for a card, and one that makes the compiler report."""
    import cupy

    include = Path(cupy.__file__).parent / "_core" / "include"
    folders = [include / "cupy" / "_cccl" / name for name in ("libcudacxx", "thrust", "cub")] + [include]
    return (
        f"-arch=sm_{architecture}",
        "--ptxas-options=-v",
        *cuda.OPTIONS,
        *(f"-I{folder}" for folder in folders),
    )


def compiled(source: str, architecture: int) -> tuple[bytes, Resources]:
    """Return machine code, for which no card is needed, and what it takes; any warning is an error."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source, "source.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, nvrtc_options(architecture))
        except nvrtc.NVRTCError as error:
            msg = f"{error}\n{nvrtc.getProgramLog(program)}"
            raise RuntimeError(msg) from None
        log = nvrtc.getProgramLog(program)
        code: bytes = nvrtc.getCUBIN(program)
    finally:
        nvrtc.destroyProgram(program)
    strange = [line for line in log.strip("\0\n ").splitlines() if not line.startswith("ptxas ")]
    if any(line.strip("\0 ") for line in strange):
        raise RuntimeError(log)
    numbers = {
        name: max(map(int, re.findall(pattern, log)), default=0)
        for name, pattern in (
            ("registers", r"Used (\d+) registers"),
            ("spilled", r"(\d+) bytes spill stores"),
            ("shared", r"(\d+) bytes smem"),
        )
    }
    return code, Resources(**numbers)


@dataclass(frozen=True)
class Prediction:
    """Seconds of a product: its floor, and a prediction for each limit."""

    floor: float
    memory: float
    issue: float
    shared: float

    @property
    def seconds(self) -> float:
        """The longest of the three."""
        return max(self.memory, self.issue, self.shared)

    @property
    def bound(self) -> str:
        """The limit that takes the longest."""
        names = {"memory": self.memory, "instructions": self.issue, "shared memory": self.shared}
        return max(names, key=lambda name: names[name])


def predict(tile: Tile, dtype: np.dtype[Any], card: Card = H100) -> Prediction:
    """Return what a product should take."""
    problem, shape = tile.problem, tile.shape
    words = problem.value_bytes / 4
    # a complex product is four real ones; there are half as many units for doubles
    parts = (4 if dtype.kind == "c" else 1) * (2 if dtype.char in "dD" else 1)
    strides = prod(each.axis.stride for each in problem.axes) if problem.transposed else 1
    blocked = problem.axes[problem.blocked].axis
    along = blocked.taps / (blocked.stride if problem.transposed else 1)
    others = problem.kernel_size / strides / along
    advance = 1 if problem.transposed or problem.blocked == len(problem.axes) - 1 else blocked.stride
    samples = min((shape.results - 1) * advance + along * blocked.dilation, shape.results * along)
    warps = ceil(prod(tile.threads) / 32)
    # per warp, for each channel of the source
    multiplications = others * along * shape.results * shape.columns * shape.channels * parts
    weights = others * along * ceil(shape.channels * problem.factor_bytes / 16)
    reads = others * shape.columns * samples * words + weights
    loaded = prod(tile.extents) / prod(tile.threads)
    results = shape.results * shape.columns * shape.channels
    issue = problem.sources * (multiplications + reads + LOAD * loaded) + STORE * results
    shared = problem.sources * (reads + loaded * words)
    cycles = tile.blocks * warps / (card.processors * card.clock)
    arrays = problem.sources * prod(each.source for each in problem.axes)
    arrays += problem.results * prod(each.own for each in problem.axes)
    memory = problem.batch * problem.groups * arrays * problem.value_bytes / card.bandwidth
    total = problem.batch * problem.groups * problem.sources * problem.results * problem.kernel_size
    total *= min(prod(each.own for each in problem.axes), prod(each.source for each in problem.axes))
    floor = max(memory, total * parts / card.multiplications)
    return Prediction(floor, memory, cycles * issue / 4, cycles * shared)


# name, kernel, input, dtype, options
LINES: list[tuple[str, tuple[int, ...], tuple[int, ...], str, dict[str, Any]]] = [
    *((f"4096², k {k}", (k, k), (4096, 4096), "float32", {}) for k in (3, 5, 7, 9, 15, 31)),
    ("4096², k 7", (7, 7), (4096, 4096), "float64", {}),
    ("4096², k 4, stride 2", (4, 4), (4096, 4096), "float32", {"stride": 2, "padding": 1}),
    *((f"256³, k {k}", (k, k, k), (256, 256, 256), "float32", {}) for k in (3, 5)),
    ("2²⁴, k 31", (31,), (1 << 24,), "float32", {}),
    ("64 to 64, 224², k 3", (64, 64, 3, 3), (64, 224, 224), "float32", {}),
    ("256 to 256, 14², k 3", (256, 256, 3, 3), (256, 14, 14), "float32", {}),
]


def tiles() -> Iterator[tuple[str, np.dtype[Any], Tile, str]]:
    """Yield each line's name, dtype, tile and source, in both directions."""
    for name, kernel, shape, dtype, options in LINES:
        taps = kernel[2:] if len(kernel) > len(shape) else kernel
        padding = {"padding": tuple(n // 2 for n in taps), "padding_mode": "reflect"}
        operator = stc.ConvOperator(np.ones(kernel, dtype), shape, method="direct", **{**padding, **options})
        method = CudaDirectMethod(operator.geometry, operator._method.weights, NUMPY)
        for transposed in (False, True):
            problem = method.problem(1, transposed, np.dtype(dtype))
            tile = default_tile(problem)
            assert tile is not None
            launch, *_ = method.launches(problem, np.dtype(dtype))
            source = cuda.assembled_source(launch.sources, tuple(launch.constants.items()))
            yield f"{name}, {'adjoint' if transposed else 'forward'}", np.dtype(dtype), tile, source


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Predicted costs of the CUDA stencil, as Markdown.")
    parser.add_argument("--architecture", type=int, default=90, help="compute capability without the point")
    args = parser.parse_args()
    print(
        f"| product ({H100.name}) | dtype | results of a thread | threads | registers | spilled | shared "
        "| floor | predicted | bound by |"
    )
    print("| --- " * 10 + "|")
    for name, dtype, tile, source in tiles():
        _, taken = compiled(source, args.architecture)
        found, shape = predict(tile, dtype), tile.shape
        each = f"{shape.results} x {shape.columns} x {shape.channels}"
        print(
            f"| {name} | {dtype} | {each} | {prod(tile.threads)} | {taken.registers} | {taken.spilled} B | "
            f"{taken.shared / 1024:.0f} KiB | {found.floor * 1e6:.0f} us | {found.seconds * 1e6:.0f} us | "
            f"{found.bound} |"
        )


if __name__ == "__main__":
    main()
