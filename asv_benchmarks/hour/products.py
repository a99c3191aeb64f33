"""Part ``products``: assembly, products by all methods and libraries, solvers, the time of a call."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import lsmr as scipy_lsmr

import sparsetconv as stc

from . import measure, peers, problems
from .steps import Rows, Step

if TYPE_CHECKING:
    from .lab import Lab

ITERATIONS = 50
# memory for assembly, over the bytes of the matrix
ASSEMBLY_SHARE = 1.1


def steps(toy: bool) -> list[Step]:
    """Return the part's steps, by importance."""
    planes, volumes, layers = problems.planes(toy), problems.volumes(toy), problems.layers(toy)

    def products(some: list[problems.Problem]) -> list[Step]:
        return [Step(problem.name, by_all, 60, {"problem": problem}) for problem in some]

    def single(some: list[problems.Problem]) -> list[problems.Problem]:
        return [problem for problem in some if problem.dtype == "float32"]

    double = [problem for problem in [*planes, *volumes, *layers] if problem.dtype == "float64"]
    first = single(planes)[:3]
    return [
        Step("limits", limits, 30),
        *products(first),
        Step("assembly", assembly, 60),
        *products(single(layers)),
        Step("same bits", same_bits, 60),
        Step("calls", calls, 60),
        *products(single(volumes)),
        Step("lsmr on the card", device_lsmr, 60),
        *products(single(planes)[3:]),
        *products(double),
        Step("memory", memory, 60),
        Step("lsmr on the CPU", host_lsmr, 120),
        Step("past 2**31 entries", past_32_bits, 60),
    ]


def limits(lab: Lab) -> Rows:
    """The roofline that shares refer to, as measured in this process."""
    rates = {f"GFMA/s, {8 * size} bits": rate / 1e9 for size, rate in lab.fma_rates.items()}
    yield {"GB/s": lab.copy_rate / 1e9, **rates}


def by_all(lab: Lab, problem: problems.Problem) -> Rows:
    """A problem by the libraries and then by each method, in both directions."""
    wrong = []
    for direction in measure.DIRECTIONS:
        others = []
        for peer in peers.PEERS:
            others.append(measure.peer_row(lab, problem, peer, direction))
            yield others[-1]
            lab.clear()
        for method in measure.METHODS:
            row = measure.method_row(lab, problem, method, direction, others)
            yield row
            wrong += [f"{method}: {row['wrong']}"] if "wrong" in row else []
            lab.clear()
    # when the others have been measured
    if wrong:
        raise AssertionError("; ".join(wrong))


def assembly(lab: Lab) -> Rows:
    """Matrices of several sizes, compared with a copy of as many bytes, of which writing is half."""
    side = 7
    for entries in (1e3, 2e3) if lab.toy else (1e7, 1e8, 1e9, 2e9):
        n = int((entries / side**2) ** 0.5)
        problem = problems.Problem("assembly", (n, n), (side, side))
        geometry = problem.geometry
        nbytes = geometry.nbytes(problem.dtype)
        row: dict[str, Any] = {"entries": geometry.nnz, "bytes": nbytes, "index": str(geometry.index_dtype)}
        if ASSEMBLY_SHARE * nbytes > lab.free_bytes():
            yield row | {"skipped": f"{lab.free_bytes() / 2**30:.0f} GiB are free"}
            continue
        weights = problem.weights(lab)
        make = functools.partial(stc.conv_matrix, input_shape=(n, n), padding="same")
        timing = lab.timed(make, [weights], keep=False)
        written = nbytes / timing.seconds
        yield row | {"GB/s": written / 1e9, "share of a copy": written / lab.copy_rate, **timing.row()}
        lab.clear()


def same_bits(lab: Lab) -> Rows:
    """Compare products of two equal operators bit for bit; not all methods promise equality."""
    shape = (40, 30) if lab.toy else (1024, 1000)
    problem = problems.Problem("bits", shape, (5, 4), options={"padding": "same", "padding_mode": "reflect"})
    x = lab.random((shape[0] * shape[1],), "float32")
    runs = 3 if lab.toy else 20
    for method in ("direct", "sparse", "gemm", "fft"):
        for direction in measure.DIRECTIONS:
            made = [problem.operator(lab, method) for _ in range(2)]
            calls = [A.matvec if direction == "forward" else A.rmatvec for A in made]
            first = calls[0](x)
            equal = all(bool((calls[number % 2](x) == first).all()) for number in range(runs))
            yield {"method": method, "direction": direction, "equal": equal, "runs": runs}
            if method == "direct" and not equal:
                msg = f"direct, {direction}: other bits in another run"
                raise AssertionError(msg)
    resize = stc.ResizeOperator(shape, scale=2, mode="cubic", dtype="float32", device="cupy")
    first = resize @ x
    equal = all(bool((resize @ x == first).all()) for _ in range(runs))
    yield {"method": "resize", "direction": "forward", "equal": equal, "runs": runs}
    if not equal:
        msg = "resize: other bits in another run"
        raise AssertionError(msg)


def calls(lab: Lab) -> Rows:
    """Microseconds of a call with little work: until it is submitted, and until its result is ready."""
    small = [((2, 6, 6), (2, 2, 3, 3))] if lab.toy else [((256, 14, 14), (256, 256, 3, 3))]
    small += [((16, 16), (3, 3))] if lab.toy else [((64, 64), (3, 3)), ((64, 64), (9, 9))]
    for input_shape, kernel_shape in small:
        problem = problems.Problem("x".join(map(str, input_shape)), input_shape, kernel_shape)
        for method in measure.METHODS:
            A = problem.operator(lab, method)
            for direction in measure.DIRECTIONS:
                x = problem.vectors(lab, direction)[0]
                product = A.matvec if direction == "forward" else A.rmatvec
                problem.checked(lab, x, product(x), direction)
                submit, there = (
                    lab.host_seconds(lambda x=x, product=product: product(x), synchronize)
                    for synchronize in (False, True)
                )
                yield {
                    "problem": f"{problem.name}, kernel {kernel_shape}",
                    "by": method if method == A.method else f"{method} ({A.method})",
                    "direction": direction,
                    "until submitted, us": submit * 1e6,
                    "until there, us": there * 1e6,
                }


def blurred(n: int, xp: Any, asarray: Any) -> tuple[Any, Any]:
    """Return the operator of a blur, and a blurred picture."""
    rng = np.random.default_rng(0)
    kernel = rng.random((9, 9), np.float32)
    A = stc.ConvOperator(asarray(kernel / kernel.sum()), (n, n), padding="same", padding_mode="reflect")
    picture = asarray(rng.standard_normal(n * n, np.float32))
    return A, xp.asarray(A @ picture)


# no tolerance stops it early
LSMR: dict[str, Any] = {"atol": 0, "btol": 0, "conlim": 0, "maxiter": ITERATIONS}


def lsmr_size(lab: Lab) -> int:
    """Return the side of the picture that LSMR sharpens."""
    return 24 if lab.toy else 4096


def device_lsmr(lab: Lab) -> Rows:
    """LSMR on the card: a picture of 4096x4096, 9x9, fifty iterations."""
    n = lsmr_size(lab)
    A, b = blurred(n, lab.cp, lab.cp.asarray)
    from cupyx.scipy.sparse.linalg import lsmr

    results = [lsmr(A, b, **LSMR)]
    lab.synchronize()
    start = time.perf_counter()
    results.append(lsmr(A, b, **LSMR))
    lab.synchronize()
    seconds = time.perf_counter() - start
    yield {"side": n, "iterations": int(results[1][2]), "seconds": seconds, "residual": float(results[1][3])}


def host_lsmr(lab: Lab) -> Rows:
    """The same by SciPy, with this package's operator on the CPU."""
    n = lsmr_size(lab)
    A, b = blurred(n, np, np.asarray)
    A.rmatvec(A @ b)
    start = time.perf_counter()
    result = scipy_lsmr(A, b, **LSMR)
    seconds = time.perf_counter() - start
    yield {"side": n, "iterations": int(result[2]), "seconds": seconds, "residual": float(result[3])}


def memory(lab: Lab) -> Rows:
    """The pool's memory before and after a thousand operators."""
    cp, count = lab.cp, 3 if lab.toy else 1000
    pool = cp.get_default_memory_pool()

    def one() -> None:
        A = stc.ConvOperator(cp.ones((5, 5), "float32"), (64, 64), padding=2)
        A.rmatvec(A @ cp.ones(4096, "float32"))
        stc.conv_matrix(cp.ones((3, 3), "float32"), (64, 64))

    one()
    before = pool.used_bytes()
    for _ in range(count):
        one()
    yield {"operators": count, "before, bytes": before, "after, bytes": pool.used_bytes()}
    if pool.used_bytes() != before:
        msg = f"{pool.used_bytes() - before} bytes are held after {count} operators"
        raise AssertionError(msg)


def past_32_bits(lab: Lab) -> Rows:
    """A matrix with 64-bit indices: whether cuSPARSE multiplies it, and how fast."""
    n, side = (20, 3) if lab.toy else (6700, 7)
    problem = problems.Problem(f"{n}x{n}, {side}x{side}", (n, n), (side, side))
    geometry = problem.geometry
    nbytes = geometry.nbytes(problem.dtype, "int64")
    row = {"entries": geometry.nnz, "bytes": nbytes}
    if ASSEMBLY_SHARE * nbytes > lab.free_bytes():
        yield row | {"skipped": f"{lab.free_bytes() / 2**30:.0f} GiB are free"}
        return
    matrix = stc.conv_matrix(problem.weights(lab), (n, n), padding="same", index_dtype="int64")
    x = problem.vectors(lab, "forward")[0]
    error = problem.checked(lab, x, matrix @ x, "forward")
    timing = lab.timed(lambda x: matrix @ x, [x])
    yield row | {"error": error, "GB/s": nbytes / timing.seconds / 1e9, **timing.row()}
