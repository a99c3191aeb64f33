"""What is measured: kernels, pictures and ways to multiply, each made once in a process."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

import sparsetconv as stc

from . import _roofline
from ._backend import Backend, Skip, Work, get, size

DTYPE = "float64"
DIRECTIONS = ("forward", "adjoint")


def random(*shape: int) -> np.ndarray:
    """Return values that are the same in each run."""
    return np.random.default_rng(0).standard_normal(shape)


def kernel(backend: Backend, *shape: int) -> Any:
    """Return weights: not symmetric, since symmetric ones could be multiplied faster."""
    return backend.array(random(*shape))


def csr_bytes(nnz: int, rows: int) -> int:
    """Return roughly how much memory a CSR takes, with int32 columns where they fit."""
    return nnz * (8 + (4 if nnz < 2**31 else 8)) + 8 * rows


@functools.cache
def matrix(n: int, taps: int, name: str) -> Any:
    """Return the matrix of a ``taps`` x ``taps`` kernel on an ``n`` x ``n`` picture, same size."""
    backend = get(name)
    backend.require(1.2 * csr_bytes(n**2 * taps**2, n**2))
    with backend.guarded():
        return stc.conv_matrix(kernel(backend, taps, taps), (n, n), padding="same")


@functools.cache
def operator(shape: tuple[int, ...], weights: tuple[int, ...], method: str, name: str) -> Any:
    """Return the operator of a kernel of shape ``weights`` by a method, or skip if there is none."""
    backend = get(name)
    groups = shape[0] // weights[1] if len(weights) > len(shape) else 1
    options: dict[str, Any] = {"padding": "same", "groups": groups}
    geometry = stc.ConvGeometry(shape, weights, **options)
    if method == "sparse":
        # the matrix and that of the other direction
        backend.require(2.2 * csr_bytes(geometry.nnz, geometry.matrix_shape[0]))
    with backend.guarded():
        try:
            return stc.ConvOperator(kernel(backend, *weights), shape, method=method, **options)
        except ValueError as error:
            # a method that this backend, or this version, does not have
            if "method" in str(error):
                raise Skip(str(error)) from error
            raise


def product(A: Any, direction: str, backend: Backend, columns: int = 1) -> Callable[[], Any]:
    """Return a call of a product with one or many columns: of a matrix or an operator.

    Columns have the memory order that is read fastest: row by row for SciPy's matrices, contiguous for
    others.
    """
    rows = A.shape[1 if direction == "forward" else 0]
    order = "C" if backend.name == "numpy" and hasattr(A, "indptr") else "F"
    x = backend.array(random(rows) if columns == 1 else np.asarray(random(rows, columns), order=order))
    B = A if direction == "forward" else A.T
    return lambda: B @ x


def nnz_of(A: Any) -> int:
    """Return the entries of the matrix, assembled or not."""
    return A.nnz if hasattr(A, "nnz") else A.geometry.nnz


def product_work(A: Any, columns: int = 1) -> Work:
    """Return what a product must do: read the operand, and the matrix if there is one; write the result."""
    stored = size(A) if hasattr(A, "indptr") else 0
    return Work(stored + 8 * columns * sum(A.shape), 2 * nnz_of(A) * columns)


class Question(ABC):
    """What all benchmarks share: the last parameter is the backend; ``build`` makes what is measured.

    What it makes is called once for warming up, in the first setup of a process, so that whatever numba or
    the GPU compiles lazily is ready. ``run`` is what is timed: it keeps the result, so that its memory is
    freed in the next ``setup`` and not while time is taken.
    """

    # increase it if old and new results are no longer comparable; asv's own hash does not cover ``build``
    version = "1"
    warm_up = True
    # many samples of short calls, two of long ones; one process each
    repeat = (2, 30, 0.4)
    rounds = 1
    warmup_time = 0
    number = 1

    def setup(self, *parameters: Any) -> None:
        """Build the call and set the backend's clock, the first time."""
        self.result = None
        if hasattr(self, "call"):
            return
        *others, name = parameters
        self.backend = get(name)
        self.timer = self.backend.clock
        with self.backend.guarded():
            call = self.build(*others)
            if self.warm_up:
                call()
        self.call = call

    @abstractmethod
    def build(self, *parameters: Any) -> Callable[[], Any]:
        """Return the call for these parameters, the backend left out."""

    def run(self) -> None:
        """Make the call, and keep what it returns."""
        self.result = self.call()

    def seconds(self) -> float:
        """Return the median time of the call."""
        return self.backend.seconds(self.call, warm=self.warm_up)


# units of ``track_`` benchmarks, which all return costs, since asv reports whatever grows as a regression
COSTS = frozenset(
    {
        "ns a byte",
        "ns an operation",
        "ns an entry",
        "times the roofline",
        "times the fill",
        "times a product without",
        "products",
        "iterations",
        "bytes",
    }
)


class UnitCosts(Question):
    """A product's time per unit of its ``work``, which ``build`` sets, and over the process' roofline."""

    work: Work

    def track_byte(self, *_: Any) -> float:
        """Return the time per byte that must move."""
        return self.work.ns_a_byte(self.seconds())

    def track_operation(self, *_: Any) -> float:
        """Return the time per operation."""
        return self.work.ns_an_operation(self.seconds())

    def track_over_roofline(self, *_: Any) -> float:
        """Return our time over the roofline's."""
        return _roofline.excess(self.backend, self.work, self.seconds(), DTYPE)

    track_byte.unit = "ns a byte"  # type: ignore[attr-defined]
    track_operation.unit = "ns an operation"  # type: ignore[attr-defined]
    track_over_roofline.unit = "times the roofline"  # type: ignore[attr-defined]
