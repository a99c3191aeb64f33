"""Time three ways to up-sample by a transposed convolution, and interpolation, compared with torch's.

Run ``python asv_benchmarks/upsampling.py``. A 512 x 512 float32 picture is enlarged, with kernels of six
pixels' width, by zero insertion followed by a convolution, by the CSR, and polyphase (method "direct"), each
with its adjoint. Then follow bilinear and bicubic of `ResizeOperator`, compared with torch where it is
installed, forward and gradient. It prints Markdown: medians in milliseconds of calls in turn.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from scipy.sparse.linalg import aslinearoperator

import sparsetconv as stc

SIZE, ROUNDS = 512, 15


def median_times(calls: dict[str, callable]) -> dict[str, float]:
    """Return milliseconds of each call, taken in turn after one for warming up."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def three_ways(scale: int) -> dict[str, object]:
    """Return the same operator three times."""
    taps = 6 * scale
    kernel = np.random.default_rng(0).standard_normal((taps, taps)).astype("float32")
    shape = (SIZE, SIZE)
    polyphase = stc.ConvTransposeOperator(kernel, shape, stride=scale, padding="same", method="direct")
    stuffed = tuple((n - 1) * scale + 1 for n in shape)
    # the transposed convolution's padding as that of the array with inserted zeros
    pads = [(axis.taps - 1 - axis.before, axis.taps - 1 - axis.after) for axis in polyphase.geometry.axes]
    dense = stc.ConvOperator(kernel, stuffed, padding=pads, flip=True, method="direct")
    insert = aslinearoperator(stc.zero_insertion_matrix(shape, scale, dtype="float32"))
    return {
        "zero insertion, then convolution": dense @ insert,
        "CSR": stc.ConvTransposeOperator(kernel, shape, stride=scale, padding="same", method="sparse"),
        "polyphase": polyphase,
    }


def compare_ways() -> None:
    print("| scale | kernel | wasted share | way | forward | adjoint |")
    print("|---|---|---|---|---|---|")
    for scale in (2, 3, 4):
        ways = three_ways(scale)
        large, small = next(iter(ways.values())).shape
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal(small).astype("float32"), rng.standard_normal(large).astype("float32")
        forward = median_times({name: lambda A=A, x=x: A.matvec(x) for name, A in ways.items()})
        adjoint = median_times({name: lambda A=A, y=y: A.rmatvec(y) for name, A in ways.items()})
        results = [A.matvec(x) for A in ways.values()]
        for result in results:
            assert abs(result - results[-1]).max() < 1e-3
        for name in ways:
            taps = f"{6 * scale} x {6 * scale}"
            wasted = f"{1 - 1 / scale**2:.3f}" if "zero" in name else "0"
            print(f"| {scale} | {taps} | {wasted} | {name} | {forward[name]:.2f} | {adjoint[name]:.2f} |")


def compare_resize() -> None:
    try:
        import torch
    except ImportError:
        torch = None
    print("\n| 1024 x 1024 to | mode | dtype | ours | adjoint | torch | its gradient | matrix |")
    print("|---|---|---|---|---|---|---|---|")
    for wanted in ((2048, 2048), (1500, 1777), (300, 317)):
        for mode in ("bilinear", "bicubic"):
            for dtype in ("float32", "float64"):
                small = wanted[0] < 1024
                options = {"mode": mode, "antialias": small, "convention": "torch", "dtype": dtype}
                R = stc.ResizeOperator((1024, 1024), wanted, **options)
                A = stc.resize_matrix((1024, 1024), wanted, **options)
                rng = np.random.default_rng(0)
                x = rng.standard_normal(R.shape[1]).astype(dtype)
                y = rng.standard_normal(R.shape[0]).astype(dtype)
                calls = {
                    "ours": lambda R=R, x=x: R.matvec(x),
                    "adjoint": lambda R=R, y=y: R.rmatvec(y),
                    "matrix": lambda A=A, x=x: A @ x,
                }
                if torch is not None:
                    torch.set_num_threads(2)
                    calls |= torch_calls(torch, x, y, wanted, mode, small)
                times = median_times(calls)
                columns = [times.get(n) for n in ("ours", "adjoint", "torch", "gradient", "matrix")]
                cells = " | ".join("" if t is None else f"{t:.2f}" for t in columns)
                print(f"| {wanted[0]} x {wanted[1]} | {mode} | {dtype} | {cells} |")


def torch_calls(torch, x, y, wanted, mode, small):
    picture = torch.tensor(x.reshape(1, 1, 1024, 1024), requires_grad=True)
    above = torch.tensor(y.reshape(1, 1, *wanted))
    enlarged = torch.nn.functional.interpolate(picture, wanted, mode=mode, antialias=small)

    def forward():
        with torch.no_grad():
            torch.nn.functional.interpolate(picture, wanted, mode=mode, antialias=small)

    def gradient():
        torch.autograd.grad(enlarged, picture, above, retain_graph=True)

    return {"torch": forward, "gradient": gradient}


if __name__ == "__main__":
    compare_ways()
    compare_resize()
