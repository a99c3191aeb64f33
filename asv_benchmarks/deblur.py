"""A whole deblurring: 50 iterations of LSMR on a megapixel, 9x9, reflecting borders.

Run ``python asv_benchmarks/deblur.py``. The same solver runs with our operator, with PyLops (whose
convolution has zeros outside, so the picture is padded before, and the adjoint of padding applied after), and
with a prepared CSR and transpose. It prints as Markdown the seconds of each, medians of three whole runs in
turn, and how far each solution is from ours.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator, lsmr

import sparsetconv as stc

SIZE, TAPS, ITERATIONS, DAMP = 1024, 9, 50, 1e-2


class Transposed(LinearOperator):
    """A CSR with its transpose prepared, for a fair comparison."""

    def __init__(self, matrix) -> None:
        super().__init__(matrix.dtype, matrix.shape)
        self.matrix, self.transposed = matrix, matrix.T.tocsr()

    def _matvec(self, x):
        return self.matrix @ x

    def _rmatvec(self, y):
        return self.transposed @ y


def pylops_operator(kernel, shape):
    """Return PyLops' operators for the same matrix: pad by reflection, convolve, crop."""
    # without it PyLops fails where CuPy is installed but has no GPU
    os.environ.setdefault("CUPY_PYLOPS", "0")
    import pylops

    half = TAPS // 2
    padded = tuple(n + 2 * half for n in shape)
    flipped = kernel[::-1, ::-1].copy()
    blur = pylops.signalprocessing.ConvolveND(
        padded, flipped, offset=(half, half), axes=(0, 1), dtype=kernel.dtype
    )
    rows = np.pad(np.arange(shape[0]), half, mode="reflect")
    columns = np.pad(np.arange(shape[1]), half, mode="reflect")
    inside = (slice(half, -half), slice(half, -half))

    def forward(x):
        extended = x.reshape(shape)[np.ix_(rows, columns)]
        return (blur @ extended.ravel()).reshape(padded)[inside].ravel()

    def adjoint(y):
        spread = np.zeros(padded, y.dtype)
        spread[inside] = y.reshape(shape)
        z = (blur.H @ spread.ravel()).reshape(padded)
        for axis in (0, 1):
            z = np.moveaxis(z, axis, 0)
            body = z[half:-half].copy()
            body[1 : half + 1] += z[:half][::-1]
            body[-half - 1 : -1] += z[-half:][::-1]
            z = np.moveaxis(body, 0, axis)
        return z.ravel()

    n = shape[0] * shape[1]
    return LinearOperator((n, n), forward, adjoint, dtype=kernel.dtype)


def main() -> None:
    """Run and print."""
    rng = np.random.default_rng(0)
    shape = (SIZE, SIZE)
    for dtype in ("float32", "float64"):
        kernel = rng.random((TAPS, TAPS)).astype(dtype)
        kernel /= kernel.sum()
        options = {"padding": "same", "padding_mode": "reflect"}
        A = stc.ConvOperator(kernel, shape, **options)
        y = A @ rng.random(SIZE * SIZE).astype(dtype)
        start = time.perf_counter()
        prepared = Transposed(stc.conv_matrix(kernel, shape, **options))
        assembly = time.perf_counter() - start
        contestants = {"sparsetconv": A, "SciPy CSR, transpose prepared": prepared}
        with contextlib.suppress(ImportError):
            contestants["PyLops"] = pylops_operator(kernel, shape)
        times = {name: [] for name in contestants}
        solutions = {}
        for _ in range(3):
            for name, operator in contestants.items():
                start = time.perf_counter()
                solution = lsmr(
                    aslinearoperator(operator), y, damp=DAMP, atol=0, btol=0, conlim=0, maxiter=ITERATIONS
                )
                times[name].append(time.perf_counter() - start)
                solutions[name] = solution[0]
        ours = statistics.median(times["sparsetconv"])
        print(f"\n{dtype}; assembling the CSR and its transpose takes {assembly:.2f} s more\n")
        print("| operator | seconds | over ours | difference of the solution |")
        print("|---|---|---|---|")
        for name, values in times.items():
            seconds = statistics.median(values)
            difference = np.abs(solutions[name] - solutions["sparsetconv"]).max()
            print(f"| {name} | {seconds:.2f} | {seconds / ours:.1f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
