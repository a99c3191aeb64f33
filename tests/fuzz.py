"""Drawn problems against naive rules, for as long as one likes: ``python tests/fuzz.py --minutes 10``.

Each kind of check draws one problem from a generator, computes it by the package and by rules of its own
(those of ``reference.py``, Python's integers, dense algebra) and compares. What fails is printed with its kind
and seed, and ``--kind K --seed S --count 1`` runs it again. ``.ci/run`` lets it run for a minute, on new seeds
each time; ``test_fuzz.py`` runs a few fixed ones, and shows that a planted fault is found.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from reference import PERIODS, extension_index, naive_matrix, naive_pattern, naive_resize

import sparsetconv as stc
from sparsetconv._assembly import axis_rows, csr, writer
from sparsetconv._geometry.padding import PADDING_MODES as MODES
from sparsetconv._methods.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float32", "float64", "complex64", "complex128")
# of a naive matrix
MOST_ENTRIES = 40_000
HUGE = 2**62


@dataclass(frozen=True)
class Problem:
    """A convolution: shapes, and options as tuples with one entry for each axis."""

    kernel_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    options: dict[str, Any]

    def matrix(self, kernel: np.ndarray) -> np.ndarray:
        """Return the dense matrix by naive loops, in Python's integers where the kernel has integers."""
        exact = kernel.astype(object) if kernel.dtype.kind in "biu" else kernel
        return naive_matrix(exact, self.input_shape, **self.options)


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw an integer: small ones, both ends, powers of two and their neighbours are likely."""
    span = high - low
    if span <= 0:
        return low
    kind = rng.integers(4)
    if kind == 0:
        return int(rng.choice([low, high]))
    size = int(rng.integers(0, span.bit_length() + 1))
    if kind == 1:
        return min(high, low + max(0, (1 << size) + int(rng.integers(-1, 2))))
    return low + min(span, int(rng.random() * (1 << size)))


def draw_axis(rng: np.random.Generator, samples: int, taps: int) -> dict[str, Any]:
    """Draw an axis with at least one output; pads may be longer than the signal, or crop."""
    size, count = between(rng, 1, samples), between(rng, 1, taps)
    dilation, stride = between(rng, 1, 1 + 2 * samples // 3), between(rng, 1, 1 + samples)
    if rng.integers(2):
        dilation, stride = min(dilation, 3), min(stride, 3)
    extent = dilation * (count - 1) + 1
    before = between(rng, 0, 2 * extent) if rng.integers(3) else -between(rng, 0, size - 1)
    lowest = max(extent - size - before, 1 - size)
    after = max(lowest, -size + 1, between(rng, 0, extent + size) - int(rng.integers(2)) * size)
    return {
        "size": size,
        "taps": count,
        "stride": stride,
        "padding": (before, after),
        "dilation": dilation,
        "padding_mode": str(rng.choice(MODES)),
    }


def draw(rng: np.random.Generator, samples: int = 24, taps: int = 9, channels: bool = True) -> Problem:
    """Draw a problem whose naive matrix is small."""
    while True:
        ndim = int(rng.choice([1, 1, 2, 2, 3, 4]))
        scale = 1 / ndim
        axes = [
            draw_axis(rng, math.ceil(samples**scale) + 1, math.ceil(taps**scale) + 1) for _ in range(ndim)
        ]
        options = {
            name: tuple(axis[name] for axis in axes)
            for name in ("stride", "padding", "dilation", "padding_mode")
        }
        options |= {"flip": bool(rng.integers(2)), "groups": 1}
        kernel, shape = tuple(a["taps"] for a in axes), tuple(a["size"] for a in axes)
        if channels and rng.integers(2):
            options["groups"], c_in, c_out = (int(n) for n in rng.integers(1, 4, 3))
            kernel = (options["groups"] * c_out, c_in, *kernel)
            shape = (options["groups"] * c_in, *shape)
        rows, columns = stc.ConvGeometry(shape, kernel, **options).matrix_shape
        if rows * columns <= MOST_ENTRIES and rows * math.prod(kernel) <= MOST_ENTRIES:
            return Problem(kernel, shape, options)


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, largest: int = 9) -> np.ndarray:
    """Draw integers, in any dtype, so that sums are exact; wherever a dtype has none, no negative ones."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    drawn = rng.integers(0 if kind == "u" else -largest, largest + 1, shape)
    return (drawn + 1j * rng.integers(-largest, largest + 1, shape) if kind == "c" else drawn).astype(dtype)


def wrapped(exact: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert sums of Python's integers, modulo 2**64 where the dtype has no more bits."""
    if dtype.kind == "b":
        return exact.astype(bool)
    if dtype.kind not in "iu":
        return exact.astype(dtype)
    return (exact % (1 << 64)).astype(np.uint64).astype(dtype)


def check_matrix(rng: np.random.Generator) -> None:
    """Every format, any range of rows, in both directions, canonical."""
    problem = draw(rng)
    # NumPy writes the matrix, or compiled loops do
    csr.COMPILED_ENTRIES = 0 if rng.random() < 0.5 else 1 << 62
    writer.FILLS = writer.START = writer.ROW = axis_rows.FEW_PAIRS = 0
    kernel = values(rng, problem.kernel_shape, str(rng.choice(("int64", *FLOATS))))
    expected = problem.matrix(kernel).astype(kernel.dtype)
    pattern = naive_pattern(problem.kernel_shape, problem.input_shape, **problem.options)
    forward = {**problem.options, "input_shape": problem.input_shape}
    geometry = stc.ConvGeometry(problem.input_shape, problem.kernel_shape, **problem.options)
    backward = {
        **problem.options,
        "input_shape": geometry.output_shape,
        "output_shape": problem.input_shape,
    }
    cases = [(stc.conv_matrix, forward, expected, pattern)]
    if can_transpose(geometry):
        cases.append((stc.conv_transpose_matrix, backward, expected.T, pattern.T))
    for make, options, dense, entries in cases:
        first, last = sorted(int(n) for n in rng.integers(0, len(dense) + 1, 2))
        for rows in (None, slice(first, last)):
            matrix = make(kernel, rows=rows, **options)
            cut = slice(None) if rows is None else rows
            np.testing.assert_array_equal(matrix.toarray(), dense[cut])
            assert matrix.nnz == entries[cut].sum()
            assert matrix.has_canonical_format
        assert geometry.nnz == entries.sum()
        other = make(kernel, format=str(rng.choice(("csc", "coo"))), **options)
        np.testing.assert_array_equal(other.toarray(), dense)


def can_transpose(geometry: stc.ConvGeometry) -> bool:
    """Return whether a transposed convolution may be asked for these very pads: output_padding has limits."""
    spare = (
        (axis.size + axis.before + axis.after - axis.extent) % axis.stride < max(axis.stride, axis.dilation)
        for axis in geometry.axes
    )
    return all(spare)


def check_operator(rng: np.random.Generator) -> None:
    """Every method, dtypes of kernel and vector by themselves, exact, in both directions, several vectors."""
    problem = draw(rng)
    kernel_dtype, x_dtype = str(rng.choice(INTEGERS + FLOATS)), str(rng.choice(("bool", *INTEGERS, *FLOATS)))
    largest = int(rng.choice([9, 100]))
    kernel = values(rng, problem.kernel_shape, kernel_dtype, largest)
    dense = problem.matrix(kernel)
    method = str(rng.choice([*METHODS, "auto"]))
    if method == "fft" and np.dtype(kernel_dtype).kind in "biu":
        # the one refusal that such kernels meet
        method = "auto"
    A = stc.ConvOperator(kernel, problem.input_shape, method=method, **problem.options)
    dtype = np.result_type(kernel_dtype, x_dtype)
    tolerance = 0.0 if A.method != "fft" else 1e-3 if dtype.char in "fF" else 1e-9
    for operator, matrix in (
        (A, dense),
        (A.T, dense.T),
        (A.H, dense.T.conj() if kernel.dtype.kind == "c" else dense.T),
    ):
        x = values(rng, (operator.shape[1], int(rng.integers(1, 4))), x_dtype)
        exact = x.astype(object) if x.dtype.kind in "biu" and matrix.dtype == object else x
        desired = wrapped(matrix @ exact, dtype)
        for product in (operator @ x, np.stack([operator @ column for column in x.T], 1)):
            assert product.dtype == dtype
            np.testing.assert_allclose(product, desired, rtol=0, atol=tolerance * max(1, largest) ** 2)
        applied = operator.apply(x.T.reshape(-1, *operator.input_shape))
        np.testing.assert_allclose(
            applied.reshape(x.shape[1], -1).T, desired, rtol=0, atol=tolerance * largest**2
        )


def check_kernel_operator(rng: np.random.Generator) -> None:
    """Linear in the kernel: the same results, and the adjoint by the dense matrix."""
    problem = draw(rng)
    dtype = str(rng.choice(("int64", "float64", "complex128")))
    x, kernel = values(rng, problem.input_shape, dtype), values(rng, problem.kernel_shape, dtype)
    K = stc.KernelOperator(x, problem.kernel_shape, **problem.options)
    desired = problem.matrix(kernel) @ (x.reshape(-1).astype(object) if dtype == "int64" else x.reshape(-1))
    np.testing.assert_array_equal(K @ kernel.reshape(-1), desired.astype(dtype))
    M = K.tosparse()
    np.testing.assert_array_equal(M @ kernel.reshape(-1), desired.astype(dtype))
    y = values(rng, (K.shape[0],), dtype)
    np.testing.assert_array_equal(K.H @ y, M.conj().T @ y)


def check_not_finite(rng: np.random.Generator) -> None:
    """A result is not finite exactly where its row has an entry in the column of such a sample."""
    problem = draw(rng)
    kernel = values(rng, problem.kernel_shape, str(rng.choice(FLOATS)))
    pattern = naive_pattern(problem.kernel_shape, problem.input_shape, **problem.options)
    A = stc.ConvOperator(
        kernel, problem.input_shape, method=str(rng.choice(["auto", *METHODS])), **problem.options
    )
    bad = rng.choice([np.nan, np.inf, -np.inf])
    with np.errstate(invalid="ignore"):
        for operator, entries in ((A, pattern), (A.T, pattern.T), (A.H, pattern.T)):
            x = values(rng, (operator.shape[1],), "float64").astype(operator.dtype)
            place = int(rng.integers(x.size))
            x[place] = bad
            reached = ~np.isfinite(operator @ x)
            np.testing.assert_array_equal(reached, entries[:, place])


def naive_nnz(size: int, taps: int, stride: int, before: int, outputs: int, dilation: int, mode: str) -> int:
    """Count the different samples of each output, one by one."""
    positions = (
        range(o * stride - before, o * stride - before + dilation * taps, dilation) for o in range(outputs)
    )
    return sum(len({extension_index(mode, size, p) for p in row} - {None}) for row in positions)


def check_counts(rng: np.random.Generator) -> None:
    """Entries of one long axis, counted one by one."""
    axis = draw_axis(rng, int(rng.choice([40, 300])), int(rng.choice([10, 200])))
    names = ("stride", "padding", "dilation", "padding_mode")
    geometry = stc.ConvGeometry(axis["size"], axis["taps"], **{n: (axis[n],) for n in names})
    (outputs,) = geometry.output_shape
    if outputs * axis["taps"] < 10 * MOST_ENTRIES:
        counted = naive_nnz(
            axis["size"],
            axis["taps"],
            axis["stride"],
            axis["padding"][0],
            outputs,
            axis["dilation"],
            axis["padding_mode"],
        )
        assert geometry.nnz == counted


def check_large_counts(rng: np.random.Generator) -> None:
    """Numbers up to 2**62, where entries are known by thought alone."""
    size, taps = between(rng, 1, HUGE - 1), between(rng, 1, HUGE - 1)
    if size + taps < HUGE:
        # every pair of a sample and a tap meets in one output
        assert stc.ConvGeometry(size, taps, padding="full").nnz == size * taps
    stride, dilation = between(rng, 1, 1 << 40), between(rng, 1, 1 << 10)
    taps = between(rng, 1, (HUGE - 1) // dilation)
    extent = dilation * (taps - 1) + 1
    if extent <= size:
        inside = stc.ConvGeometry(size, taps, stride=stride, dilation=dilation)
        assert inside.nnz == inside.output_shape[0] * taps
    # on a circle all outputs read alike
    wraps = stc.ConvGeometry(size, taps, padding="same", dilation=dilation, padding_mode="circular")
    assert wraps.nnz == size * min(taps, size // math.gcd(size, dilation))
    # a whole number of periods
    period = between(rng, 1, 60)
    mode = str(rng.choice(list(PERIODS)))
    length = sum(map(len, PERIODS[mode](period)))
    count, taps, dilation = between(rng, 1, 1 << 40), between(rng, 1, 90), between(rng, 1, 60)
    extent = dilation * (taps - 1) + 1
    # far before the signal, so that no window lies within it
    before = extent + length * (count + 1)
    after = length * count + extent - 1 - before - period
    one = naive_nnz(period, taps, 1, before, length, dilation, mode)
    geometry = stc.ConvGeometry(
        period, taps, padding=((before, after),), dilation=dilation, padding_mode=mode
    )
    assert geometry.output_shape == (length * count,)
    assert geometry.nnz == one * count


def check_large_rows(rng: np.random.Generator) -> None:
    """A few rows of a matrix too large to write, sample by sample."""
    size, taps = between(rng, 1, 10**9), between(rng, 1, 300)
    dilation, stride = between(rng, 1, 10**6), between(rng, 1, 1000)
    extent = dilation * (taps - 1) + 1
    before, mode = between(rng, 0, 2 * extent), str(rng.choice(MODES))
    after = max(between(rng, 0, extent), extent - size - before)
    kernel = values(rng, (taps,), "int64", 1000)
    options = {"stride": stride, "padding": ((before, after),), "dilation": dilation, "padding_mode": mode}
    geometry = stc.ConvGeometry(size, taps, **options)
    first = between(rng, 0, geometry.output_shape[0] - 1)
    rows = slice(first, min(geometry.output_shape[0], first + 5))
    matrix = stc.conv_matrix(kernel, size, rows=rows, **options)
    assert matrix.has_canonical_format
    for number, output in enumerate(range(rows.start, rows.stop)):
        expected: Counter[int] = Counter()
        touched = set()
        for tap in range(taps):
            sample = extension_index(mode, size, output * stride - before + tap * dilation)
            if sample is not None:
                expected[sample] += int(kernel[tap])
                touched.add(sample)
        row = matrix[[number]].tocoo()
        assert row.nnz == len(touched)
        assert dict(zip(row.col.tolist(), row.data.tolist(), strict=True)) == {
            s: expected[s] for s in touched
        }


def check_medium(rng: np.random.Generator) -> None:
    """Compiled loops and transforms at sizes where they are what is chosen, against SciPy's product."""
    while True:
        ndim = int(rng.integers(1, 4))
        most = {1: 60_000, 2: 300, 3: 40}[ndim]
        sizes = tuple(between(rng, 1, most) for _ in range(ndim))
        taps = tuple(between(rng, 1, {1: 400, 2: 20, 3: 6}[ndim]) for _ in range(ndim))
        options = {
            "padding": str(rng.choice(["same", "full"])),
            "stride": int(rng.integers(1, 4)),
            "padding_mode": str(rng.choice(MODES)),
        }
        if stc.ConvGeometry(sizes, taps, **options).nnz < 2e6:
            break
    dtype = str(rng.choice(FLOATS))
    kernel = values(rng, taps, dtype)
    M = stc.conv_matrix(kernel, sizes, **options)
    for method in ("auto", *METHODS):
        A = stc.ConvOperator(kernel, sizes, method=method, **options)
        for operator, matrix in ((A, M), (A.T, M.T)):
            x = values(rng, (matrix.shape[1],), dtype)
            desired = matrix @ x
            # round-off of a transform is relative to the largest
            scale = float(abs(desired).max(initial=1)) * (1e-4 if np.dtype(dtype).char in "fF" else 1e-11)
            atol = scale * 10 if A.method == "fft" else 0
            np.testing.assert_allclose(operator @ x, desired, rtol=0, atol=atol, err_msg=method)


def check_adjoint(rng: np.random.Generator) -> None:
    """The library's own adjoint tests pass right operators, of any dtype."""
    problem = draw(rng)
    dtype = str(rng.choice(INTEGERS + FLOATS))
    # sums of integers wrap, those of single precision must stay small to be exact
    kernel = values(rng, problem.kernel_shape, dtype, 100 if dtype in INTEGERS else 9)
    A = stc.ConvOperator(kernel, problem.input_shape, **problem.options)
    for operator in (A, A.T, A.gram()):
        assert stc.testing.dot_test(operator, rng=rng)
        stc.testing.assert_adjoint(operator, exact=True)


def check_resize(rng: np.random.Generator) -> None:
    """One axis of a resize, entry by entry."""
    from fractions import Fraction

    size, outputs = between(rng, 1, 40), between(rng, 1, 60)
    mode = str(rng.choice(["nearest", "linear", "cubic", "lanczos3", "area"]))
    modes = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"]
    options = {
        "mode": mode,
        "coordinate_mode": "half_pixel" if mode == "area" else str(rng.choice(modes)),
        "nearest_mode": str(rng.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])),
        "cubic_coeff": float(rng.choice([-0.75, -0.5])),
        "exclude_outside": bool(rng.integers(2)),
        "antialias": mode in ("linear", "cubic", "lanczos3") and bool(rng.integers(2)),
    }
    expected = naive_resize(size, outputs, Fraction(outputs, size), **options)
    np.testing.assert_allclose(stc.resize_matrix(size, outputs, **options).toarray(), expected, atol=1e-13)
    R = stc.ResizeOperator(size, outputs, **options)
    x, y = rng.standard_normal(size), rng.standard_normal(outputs)
    np.testing.assert_allclose(R @ x, expected @ x, atol=1e-11)
    np.testing.assert_allclose(R.H @ y, expected.T @ y, atol=1e-11)


def check_fit(rng: np.random.Generator) -> None:
    """A kernel that made the targets is found again."""
    stride, taps = int(rng.integers(1, 4)), tuple(int(n) for n in rng.integers(1, 6, 2))
    kernel = values(rng, taps, "float64")
    inputs = [rng.standard_normal((12, 13)) for _ in range(3)]
    mode = str(rng.choice(MODES))
    options = {"stride": stride, "padding": int(rng.integers(0, 3)), "padding_mode": mode}
    A = stc.ConvOperator(kernel, (12, 13), **options)
    found = stc.fit_kernel(inputs, [A.apply(x) for x in inputs], taps, **options)
    np.testing.assert_allclose(found, kernel, atol=1e-6)


KINDS: dict[str, Callable[[np.random.Generator], None]] = {
    name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")
}


def run_one(kind: str, seed: int) -> str | None:
    """Run one check; return what went wrong, if anything did."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            KINDS[kind](np.random.default_rng([seed, *kind.encode()]))
    except Exception:
        return traceback.format_exc()
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run until the time or the count is up, and return the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="how long; endless if not given")
    parser.add_argument("--count", type=int, help="how many of each kind, instead")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 10**9, help="the first; new if not given"
    )
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these")
    options = parser.parse_args(arguments)
    kinds, start, seed = options.kind or list(KINDS), time.monotonic(), options.seed
    last = math.inf if options.count is None else seed + options.count
    done: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    print(f"seeds from {seed} on", flush=True)
    while seed < last and time.monotonic() - start < options.minutes * 60:
        for kind in kinds:
            error = run_one(kind, seed)
            done[kind] += 1
            if error is not None:
                failures[kind] += 1
                print(f"FAILED  --kind {kind} --seed {seed} --count 1\n{error}", flush=True)
        seed += 1
    for kind in kinds:
        print(f"{kind:<16}{done[kind]:>9} drawn  {failures[kind]:>6} failed")
    return failures.total()


if __name__ == "__main__":
    sys.exit(min(main(), 1))
