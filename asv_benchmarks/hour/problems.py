"""The problems: pictures, volumes and layers, at full size and at toy size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

import sparsetconv as stc

if TYPE_CHECKING:
    from .lab import Lab

SAME = MappingProxyType({"padding": "same"})
# the number of rows that are compared, at each of the beginning, the middle and the end
CHECKED_ROWS = 40
# the largest relative error, many times the round-off of a naive sum
TOLERANCES = {4: 1e-4, 8: 1e-11}


@dataclass(frozen=True)
class Problem:
    """A convolution with random weights.

    Attributes
    ----------
    name : str
    input_shape, kernel_shape : tuple of int
    dtype : str
    options : mapping
        As for `sparsetconv.ConvGeometry`.
    """

    name: str
    input_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=lambda: SAME)

    @cached_property
    def geometry(self) -> stc.ConvGeometry:
        """The sizes, settled."""
        return stc.ConvGeometry(self.input_shape, self.kernel_shape, **self.options)

    @property
    def itemsize(self) -> int:
        """Bytes of a number, or of its real part if it is complex."""
        return np.zeros(0, self.dtype).real.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The least bytes that a product reads and writes: picture in, picture out, weights."""
        return np.dtype(self.dtype).itemsize * (sum(self.geometry.matrix_shape) + prod(self.kernel_shape))

    @property
    def fmas(self) -> int:
        """The multiply-adds of a product, one for each tap of each output."""
        geometry = self.geometry
        c_in, c_out = geometry.channels
        outputs = prod(axis.outputs for axis in geometry.axes)
        taps = prod(axis.taps for axis in geometry.axes)
        return (
            geometry.groups * c_in * c_out * outputs * taps * (4 if np.dtype(self.dtype).kind == "c" else 1)
        )

    def weights(self, lab: Lab) -> Any:
        """Return the kernel, on the card."""
        return lab.random(self.kernel_shape, self.dtype, 99)

    def operator(self, lab: Lab, method: str) -> Any:
        """Return the operator on the card."""
        return stc.ConvOperator.from_geometry(self.weights(lab), self.geometry, method=method)

    def vectors(self, lab: Lab, direction: str) -> list[Any]:
        """Return inputs of a direction, more than the cache holds."""
        size = self.geometry.matrix_shape[direction == "forward"]
        return [lab.random((size,), self.dtype, seed) for seed in range(lab.sets(self.nbytes))]

    def error(self, lab: Lab, x: Any, product: Any, direction: str) -> float:
        """Return the relative error of some results, compared with double precision on the host."""
        transposed = direction != "forward"
        make = stc.conv_transpose_matrix if transposed else stc.conv_matrix
        rows = self.geometry.matrix_shape[transposed]
        double = np.result_type(self.dtype, np.float64)
        kernel = self.weights(lab).get().astype(double)
        found, expected = [], []
        for start in sorted({0, max(0, (rows - CHECKED_ROWS) // 2), max(0, rows - CHECKED_ROWS)}):
            some = slice(start, min(start + CHECKED_ROWS, rows))
            matrix = make(kernel, self.geometry, rows=some, format="coo")
            # the plain transpose; the adjoint differs where numbers are complex
            values = matrix.data.conj() if transposed else matrix.data
            columns, where = np.unique(matrix.col, return_inverse=True)
            read = x[lab.cp.asarray(columns)].get().astype(double)
            sums = np.zeros(some.stop - some.start, double)
            np.add.at(sums, matrix.row, values * read[where])
            expected.append(sums)
            found.append(product[some].get())
        wanted = np.concatenate(expected)
        return float(np.linalg.norm(np.concatenate(found) - wanted) / np.linalg.norm(wanted))

    def checked(self, lab: Lab, x: Any, product: Any, direction: str) -> float:
        """Return the error, or raise if it is more than round-off."""
        error = self.error(lab, x, product.reshape(-1), direction)
        # NaN is not below anything
        if not error < TOLERANCES[self.itemsize]:
            msg = f"{self.name}, {direction}: a wrong result, its error is {error:.1e} of its size"
            raise AssertionError(msg)
        return error


def planes(toy: bool) -> list[Problem]:
    """Return pictures of 4096x4096, the kernels of most interest first."""
    sizes, taps = ((24, 20), (3,)) if toy else ((4096, 4096), (3, 9, 5, 15, 7, 31))
    return [
        Problem(f"2-D {sizes[0]}x{sizes[1]}, {k}x{k}, {dtype}", sizes, (k, k), dtype)
        for dtype in ("float32", "float64")
        for k in taps
    ]


def volumes(toy: bool) -> list[Problem]:
    """Return volumes of 256x256x256."""
    side, taps = (8, (3,)) if toy else (256, (3, 5))
    return [
        Problem(f"3-D {side}^3, {k}^3, {dtype}", (side,) * 3, (k,) * 3, dtype)
        for dtype in ("float32", "float64")[: 1 if toy else 2]
        for k in taps
    ]


def layers(toy: bool) -> list[Problem]:
    """Return maps of many channels, of about the same size each."""
    shapes = [(2, 6)] if toy else [(16, 512), (64, 256), (256, 64)]
    return [
        Problem(f"{c} channels {n}x{n}, 3x3, {dtype}", (c, n, n), (c, c, 3, 3), dtype)
        for dtype in ("float32", "float64")[: 1 if toy else 2]
        for c, n in shapes
    ]
