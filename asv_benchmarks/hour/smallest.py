"""Launch every CUDA kernel of the package at its smallest size, for compute-sanitizer.

Run ``python asv_benchmarks/hour/smallest.py [--toy]``. Each array is an allocation of its own, as a memory
pool would hide reads beyond an array's end; each product is compared with the CPU's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import sparsetconv as stc
from hour.lab import Lab

# what it prints at its end
FINISHED = "all kernels ran"
MODES = ("zeros", "reflect", "symmetric", "replicate", "circular")
# name: (kernel shape, input shape, options, dtype)
STENCILS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    **{
        f"{ndim}-D, {mode}": (
            (3, 2, 2)[:ndim],
            (5, 6, 4)[:ndim],
            {"padding": 2, "padding_mode": mode},
            "float32",
        )
        for ndim in (1, 2, 3)
        for mode in MODES
    },
    "stride": ((3, 2), (7, 6), {"stride": (2, 3), "padding": 1}, "float32"),
    "dilation": ((2, 3), (7, 8), {"dilation": (3, 2), "padding": 3, "padding_mode": "reflect"}, "float64"),
    "both": ((4,), (19,), {"stride": 4, "dilation": 2, "padding": 5, "padding_mode": "symmetric"}, "float32"),
    "channels": ((5, 3, 2, 2), (3, 5, 4), {"padding": 1}, "float32"),
    "groups": ((4, 2, 3), (4, 9), {"groups": 2, "padding": 1, "padding_mode": "circular"}, "float64"),
    "complex": ((2, 2), (5, 4), {"padding": 1, "padding_mode": "replicate"}, "complex64"),
    "integers": ((2, 3), (6, 5), {"padding": 1}, "int8"),
    "half precision": ((2, 3), (6, 5), {"padding": 1, "padding_mode": "reflect"}, "float16"),
    # taps too far apart for a tile
    "far": ((3, 3), (450, 450), {"dilation": 200, "padding": 1}, "float32"),
    # enough samples for threads that compute several results
    "tall": ((3, 3), (150, 70), {"padding": "same"}, "float32"),
    "long": ((7,), (3000,), {"padding": "same", "padding_mode": "circular"}, "float32"),
}
RESIZES = {"linear": ((5, 6), (9, 4)), "cubic": ((2, 7), (3, 11))}


def cases(lab: Lab) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield names and calls that launch kernels and compare the results."""
    for name, case in STENCILS.items():
        yield f"stencil, {name}", lambda case=case: stencil(lab, *case)
    for name in ("2-D, zeros", "3-D, reflect", "stride", "channels", "complex"):
        for index in ("int32", "int64"):
            yield (
                f"matrix, {name}, {index}",
                lambda name=name, index=index: matrix(lab, *STENCILS[name], index),
            )
    for transposed in (False, True):
        yield (
            f"matrix by the kernel, {transposed}",
            lambda transposed=transposed: matrix_by_kernel(lab, transposed),
        )
    for mode, shapes in RESIZES.items():
        yield f"resize, {mode}", lambda mode=mode, shapes=shapes: resize(lab, mode, *shapes)


def stencil(lab: Lab, kernel_shape: Any, input_shape: Any, options: dict[str, Any], dtype: str) -> None:
    """Multiply in both directions without a matrix."""
    kernel = lab.host_random(kernel_shape, dtype)
    # the host has no half precision
    wide = "float32" if dtype == "float16" else dtype
    host = stc.ConvOperator(kernel.astype(wide), input_shape, method="sparse", **options)
    device = stc.ConvOperator(lab.cp.asarray(kernel), input_shape, method="direct", **options)
    for ours, theirs in ((device, host), (device.H, host.H)):
        x = lab.host_random(theirs.input_shape, dtype, 1)
        compare(ours.apply(lab.cp.asarray(x)), theirs.apply(x.astype(wide)))


def matrix(
    lab: Lab, kernel_shape: Any, input_shape: Any, options: dict[str, Any], dtype: str, index: str
) -> None:
    """Write the matrix, and some of its rows."""
    kernel = lab.host_random(kernel_shape, dtype)
    for rows in (None, slice(2, 5)):
        device, host = (
            stc.conv_matrix(k, input_shape, rows=rows, index_dtype=index, **options)
            for k in (lab.cp.asarray(kernel), kernel)
        )
        for name in ("indptr", "indices", "data"):
            compare(getattr(device, name), getattr(host, name))


def matrix_by_kernel(lab: Lab, transposed: bool) -> None:
    """Write the matrix of an operator on kernels, in which taps continue from row to row."""
    x = lab.host_random((9, 7), "float32")
    device, host = (
        stc.KernelOperator(array, (3, 2), padding=1, transposed=transposed).tosparse()
        for array in (lab.cp.asarray(x), x)
    )
    for name in ("indptr", "indices", "data"):
        compare(getattr(device, name), getattr(host, name))


def resize(lab: Lab, mode: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    """Interpolate, apply the adjoint, and write the matrix."""
    arguments = {"mode": mode, "dtype": "float32"}
    host = stc.ResizeOperator(before, after, **arguments)
    device = stc.ResizeOperator(before, after, device="cupy", **arguments)
    for ours, theirs in ((device, host), (device.H, host.H)):
        x = lab.host_random(theirs.input_shape, "float32", 1)
        compare(ours.apply(lab.cp.asarray(x)), theirs.apply(x))
    compare(device.tosparse().data, host.tosparse().data)


def compare(device: Any, host: np.ndarray) -> None:
    """Raise if they differ by more than round-off."""
    scale = max(1.0, float(np.abs(host).max()))
    tolerance = 2e-3 if device.dtype == np.float16 else 2e-6
    np.testing.assert_allclose(device.get(), host, rtol=0, atol=tolerance * scale)


def main(arguments: list[str]) -> int:
    """Launch them all."""
    lab = Lab(toy="--toy" in arguments)
    if not lab.emulated:
        lab.cp.cuda.set_allocator(None)
    # a toy run takes only a few, since each is compiled for the emulation
    for name, call in list(cases(lab))[:: 12 if lab.toy else 1]:
        call()
        lab.synchronize()
        print(name, flush=True)
    print(FINISHED)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
