"""Compare operators with other packages, in both directions.

Run ``python asv_benchmarks/peers.py [--json FILE] [--only REGEX] [--repetitions N]``. It prints a Markdown
table of medians in milliseconds and saves them as JSON. Packages that are not installed are left out
(``pip install pylops torch==2.13.0``).

Every peer runs in its best configuration: objects and transforms prepared before, the transpose of a sparse
matrix made explicit, as many threads as we use. Every product is compared with ours before it is timed. The
repetitions of all contestants of a line alternate, so that a slow moment of the machine affects all of them.
Before each there is a pause, in which the threads of the previous one stop waiting for more work (OpenMP's
spin for some milliseconds, and would occupy a core), and an untimed call, as in a solver, which repeats the
same product.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
import scipy.signal

import sparsetconv as stc
from sparsetconv._arrays.threads import thread_count

Pair = tuple[Callable[[], Any], Callable[[], Any]]


class Case(NamedTuple):
    """A line of the table; padding is ``k // 2`` with zeros, as every peer can do it.

    ``applied`` lines call ``apply`` with arrays instead of ``@`` with flat vectors, as those with a batch do.
    """

    name: str
    kernel: tuple[int, ...]
    input: tuple[int, ...]
    dtypes: str
    stride: int = 1
    groups: int = 1
    batch: int = 1
    applied: bool = False


def layer(c_in: int, c_out: int, n: int, k: int, dtypes: str = "fd", stride: int = 1, batch: int = 1) -> Case:
    """Return the line of a layer with channels, on pictures of ``n`` by ``n``."""
    name = f"{c_in} to {c_out} channels {n}^2 k{k}" + (f" stride {stride}" if stride > 1 else "")
    name = f"{batch} x {name}" if batch > 1 else name
    return Case(name, (c_out, c_in, k, k), (c_in, n, n), dtypes, stride, batch=batch)


def depthwise(channels: int, n: int, k: int) -> Case:
    """Return the line of a layer with a kernel of its own for each channel."""
    name = f"depthwise {channels} channels {n}^2 k{k}"
    return Case(name, (channels, 1, k, k), (channels, n, n), "fd", groups=channels)


CASES = [
    *(Case(f"2-D 1024^2 k{k}", (k, k), (1024, 1024), "fd") for k in (1, 3, 7, 15, 31, 65)),
    *(Case(f"2-D {n}^2 k3", (3, 3), (n, n), "f") for n in (2048, 4096)),
    *(Case(f"2-D 1024^2 k{k} stride 2", (k, k), (1024, 1024), "fd", 2) for k in (3, 7)),
    Case("2-D 512^2 k9", (9, 9), (512, 512), "D"),
    Case("2-D 128^2 k5", (5, 5), (128, 128), "d"),
    Case("2-D 32^2 k3", (3, 3), (32, 32), "d"),
    *(Case(f"2-D {n}^2 k{k} by apply", (k, k), (n, n), "f", applied=True) for n, k in ((20, 3), (48, 5))),
    *(Case(f"3-D 128^3 k{k}", (k, k, k), (128, 128, 128), "f") for k in (3, 5, 9)),
    *(Case(f"1-D 1e6 k{k}", (k,), (1_000_000,), "d") for k in (31, 2001)),
    layer(3, 16, 256, 3),
    layer(16, 16, 256, 3),
    layer(64, 64, 56, 3),
    layer(64, 128, 56, 3, stride=2),
    layer(128, 128, 28, 3),
    layer(256, 256, 14, 3),
    layer(256, 64, 56, 1),
    layer(3, 64, 224, 7, stride=2),
    layer(16, 32, 32, 3, batch=16),
    depthwise(32, 112, 3),
    depthwise(96, 28, 7),
]
# sparse matrices of more bytes are left out, and contestants that take more seconds
MOST_BYTES, MOST_SECONDS = 3e9, 3.0
# seconds after which other libraries' threads have gone to sleep
PAUSE = 0.03


class Problem:
    """One line in one dtype: the data, and our operator."""

    def __init__(self, case: Case, code: str) -> None:
        rng = np.random.default_rng(0)

        def draw(shape: tuple[int, ...]) -> np.ndarray:
            values = rng.standard_normal(shape)
            return (values + 1j * rng.standard_normal(shape) if code == "D" else values).astype(code)

        self.case, self.dtype, self.stride, self.groups = case, np.dtype(code), case.stride, case.groups
        batch = (case.batch,) if case.batch > 1 else ()
        self.kernel, self.x = draw(case.kernel), draw((*batch, *case.input))
        self.channels = len(case.kernel) > len(case.input)
        self.ndim = len(case.input) - self.channels
        self.plain = not batch and not self.channels
        pads = tuple(k // 2 for k in case.kernel[-self.ndim :])
        self.options = {"stride": case.stride, "padding": pads, "groups": case.groups}
        self.operator = stc.ConvOperator(self.kernel, case.input, **self.options)
        self.y = draw((*batch, *self.operator.output_shape))


def ours(p: Problem) -> Pair:
    A, B = p.operator, p.operator.H
    if p.case.applied or p.case.batch > 1:
        return lambda: A.apply(p.x), lambda: B.apply(p.y)
    x, y = p.x.ravel(), p.y.ravel()
    return lambda: A @ x, lambda: B @ y


def scipy_csr(p: Problem) -> Pair | None:
    if p.case.batch > 1 or p.operator.geometry.nbytes(p.dtype) > MOST_BYTES:
        return None
    A = p.operator.tosparse()
    B = A.conj().T.tocsr()
    x, y = p.x.ravel(), p.y.ravel()
    return lambda: A @ x, lambda: B @ y


def pylops(p: Problem) -> Pair | None:
    if not p.plain or p.stride > 1 or p.dtype.kind == "c":
        return None
    # without it PyLops fails where CuPy is installed but has no GPU
    os.environ.setdefault("CUPY_PYLOPS", "0")
    import pylops

    # PyLops convolves, so the kernel of a correlation is given reversed
    flipped = p.kernel[(slice(None, None, -1),) * p.ndim].copy()
    offset = [k // 2 for k in p.kernel.shape]
    if p.ndim == 1:
        A = pylops.signalprocessing.Convolve1D(p.x.shape, flipped, offset=offset[0], dtype=p.dtype)
    else:
        A = pylops.signalprocessing.ConvolveND(
            p.x.shape, flipped, offset=offset, axes=range(p.ndim), dtype=p.dtype
        )
    x, y = p.x.ravel(), p.y.ravel()
    return lambda: A.matvec(x), lambda: A.rmatvec(y)


def torch(p: Problem) -> Pair:
    import torch

    torch.set_num_threads(thread_count())
    forward = getattr(torch.nn.functional, f"conv{p.ndim}d")
    transposed = getattr(torch.nn.functional, f"conv_transpose{p.ndim}d")
    w, x, y = (torch.from_numpy(np.ascontiguousarray(v)) for v in (p.kernel, p.x, p.y))
    if not p.channels:
        w, x, y = w[None, None], x[None], y[None]
    if p.case.batch == 1:
        x, y = x[None], y[None]
    pads = p.options["padding"]
    # a stride leaves the size ambiguous
    extra = tuple(n - ((m - 1) * p.stride + k - 2 * b) for n, m, k, b in zip(
        p.case.input[-p.ndim :], p.y.shape[-p.ndim :], p.kernel.shape[-p.ndim :], pads, strict=True
    ))  # fmt: skip
    conjugate = w.conj().resolve_conj()

    def adjoint() -> Any:
        with torch.inference_mode():
            return transposed(
                y, conjugate, stride=p.stride, padding=pads, output_padding=extra, groups=p.groups
            )

    def product() -> Any:
        with torch.inference_mode():
            return forward(x, w, stride=p.stride, padding=pads, groups=p.groups)

    return product, adjoint


def signal_method(function: Callable[..., Any]) -> Callable[[Problem], Pair | None]:
    def contestant(p: Problem) -> Pair | None:
        if not p.plain:
            return None
        flipped = p.kernel[(slice(None, None, -1),) * p.ndim]
        conjugate = p.kernel.conj()
        steps = (slice(None, None, p.stride),) * p.ndim

        def adjoint() -> Any:
            y = p.y
            if p.stride > 1:
                y = np.zeros_like(p.x)
                y[steps] = p.y
            return function(y, conjugate, "same")

        return lambda: function(p.x, flipped, "same")[steps], adjoint

    return contestant


def ndimage(p: Problem) -> Pair | None:
    if not p.plain or p.stride > 1:
        return None
    conjugate = p.kernel.conj()
    # ndimage conjugates the weights of a complex correlation
    return (
        lambda: scipy.ndimage.correlate(p.x, conjugate, mode="constant"),
        lambda: scipy.ndimage.convolve(p.y, conjugate, mode="constant"),
    )


CONTESTANTS: dict[str, Callable[[Problem], Pair | None]] = {
    "sparsetconv": ours,
    "SciPy CSR": scipy_csr,
    "PyLops": pylops,
    "torch": torch,
    "fftconvolve": signal_method(scipy.signal.fftconvolve),
    "oaconvolve": signal_method(scipy.signal.oaconvolve),
    "ndimage": ndimage,
}


def contestants(p: Problem) -> Iterator[tuple[str, Pair]]:
    """Check and yield those that are installed, can solve the problem, and are not far too slow."""
    reference = [np.asarray(function()).ravel() for function in ours(p)]
    tolerance = 1e-3 if p.dtype.itemsize == 4 else 1e-9
    for name, prepare in CONTESTANTS.items():
        try:
            pair = prepare(p)
        except ImportError:
            continue
        if pair is None:
            continue
        start = time.perf_counter()
        for function, expected in zip(pair, reference, strict=True):
            try:
                result = np.asarray(function()).ravel()
            except RuntimeError as error:
                # torch's im2col of large kernels takes more memory than there is
                print(f"<!-- {name}: {str(error)[:80]} -->", file=sys.stderr)
                break
            np.testing.assert_allclose(
                result, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=name
            )
        else:
            if name == "sparsetconv" or time.perf_counter() - start < 2 * MOST_SECONDS:
                yield name, pair


def medians(runners: dict[Any, Callable[[], Any]], repetitions: int) -> dict[Any, float]:
    """Time all contestants in turn, again and again; return medians in milliseconds."""
    times: dict[Any, list[float]] = {name: [] for name in runners}
    for number in range(repetitions):
        for name, function in runners.items():
            # long calls are timed only a few times
            if number >= 3 and statistics.median(times[name]) > 0.25:
                continue
            time.sleep(PAUSE)
            function()
            start = time.perf_counter()
            result = function()
            times[name].append(time.perf_counter() - start)
            del result
    return {name: statistics.median(values) * 1e3 for name, values in times.items()}


def main() -> None:
    """Print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("peers.json"))
    parser.add_argument("--only", default="", help="only lines whose name matches this regular expression")
    parser.add_argument("--repetitions", type=int, default=15)
    args = parser.parse_args()
    print(f"| line | dtype | direction | method | {' | '.join(CONTESTANTS)} | best / ours |")
    print("|---" * (len(CONTESTANTS) + 5) + "|")
    rows, ratios, symmetry = [], [], []
    for case in CASES:
        name = case.name
        for code in case.dtypes:
            if not re.search(args.only, name):
                continue
            problem = Problem(case, code)
            found = dict(contestants(problem))
            results = []
            # both directions in turn, so that a slow moment of the machine affects both
            both = {(n, side): pair[side] for n, pair in found.items() for side in (0, 1)}
            times = medians(both, args.repetitions)
            for direction, side in (("forward", 0), ("adjoint", 1)):
                result = {n: value for (n, own), value in times.items() if own == side}
                results.append(result)
                ratio = min(v for n, v in result.items() if n != "sparsetconv") / result["sparsetconv"]
                ratios.append(ratio)
                method = problem.operator.method
                cells = [f"{result[n]:.2f}" if n in result else "" for n in CONTESTANTS]
                line = [name, problem.dtype.name, direction, method, *cells, f"{ratio:.2f}"]
                print(f"| {' | '.join(line)} |", flush=True)
                rows.append(
                    {
                        "line": name,
                        "dtype": problem.dtype.name,
                        "direction": direction,
                        "method": method,
                        "ms": result,
                    }
                )
            symmetry.append(results[1]["sparsetconv"] / results[0]["sparsetconv"])
    for title, values, worst in (
        ("best peer over ours", ratios, min(ratios)),
        ("adjoint over forward", symmetry, max(symmetry)),
    ):
        print(f"\n{title}: geometric mean {statistics.geometric_mean(values):.2f}, worst {worst:.2f}")
    args.json.write_text(json.dumps({"threads": thread_count(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
