"""Operators that all laws are tried on, each with its matrix: a new operator is a line of `OPERATORS`.

A line says how an operator and its matrix are made, and by which factors: dtype, geometry, padding mode, method
and so on. What is made of an operator (adjoint, transpose, Gram operator) is one factor more. `operator_laws`
tries every law on every line, on NumPy's and on CuPy's arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from reference import naive_matrix, naive_resize

import sparsetconv as stc
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._methods.registry import METHODS as REGISTERED

FLOATS = ("float32", "float64", "complex64", "complex128")
INTEGERS = ("int8", "uint8", "int32", "uint32", "int64")
METHODS = tuple(REGISTERED)
MODES = PADDING_MODES
RESIZE_MODES = ("nearest", "linear", "cubic", "lanczos3", "area")
# those whose arithmetic is exact on integers
EXACT = tuple(method for method in METHODS if method != "fft")
# units of round-off by which products of the others may differ from those of the matrix
ROUNDOFFS = 50

# asymmetric and even-sized throughout; name: (kernel shape, input shape, options)
GEOMETRIES = {
    # 1-D, longer pad than signal
    "line": ((4,), (7,), {"padding": ((9, 5),), "stride": 2}),
    # 2-D, everything different on the two axes
    "picture": ((2, 3), (5, 6), {"stride": (2, 1), "padding": ((1, 2), (0, 3)), "dilation": (2, 1), "flip": True}),
    # cropped on one side, padded on the other
    "cropped": ((3, 2), (6, 5), {"padding": ((-2, 3), (2, -1)), "stride": (1, 2)}),
    # channels in groups
    "groups": ((4, 3, 2, 3), (6, 4, 5), {"groups": 2, "padding": "same", "stride": (2, 3)}),
    # more input than output channels, nothing padded
    "channels": ((2, 5, 3), (5, 8), {}),
    # 3-D with channels
    "volume": ((2, 1, 2, 1, 3), (1, 3, 2, 4), {"padding": "same_lower"}),
    # kernel longer than the signal, stride longer than the kernel elsewhere
    "long": ((7, 1), (4, 7), {"padding": ((5, 4), (0, 0)), "stride": (1, 3)}),
}  # fmt: skip
WITH_CHANNELS = [name for name, (kernel, shape, _) in GEOMETRIES.items() if len(kernel) > len(shape)]
# so large that loops are compiled and threads share the work
LARGE = {
    "image": ((5, 4), (300, 400), {"padding": 3, "stride": (1, 2)}),
    "kernels": ((3, 4), (130, 140), {"padding": "same", "stride": (1, 2), "flip": True}),
}

TRANSPOSED = {"default": {}, "longer": {"output_padding": 1}, "chosen": {"output_shape": (10, 12)}}

# name: (input shape, output shape or scale)
SIZES = {
    "shrunk": ((7,), {"output_shape": 4}),
    "grown": ((7,), {"scale": 3}),
    "last axes": ((2, 5, 4), {"scale": (2, 1.5)}),
    "all axes": ((4, 3, 5), {"output_shape": (3, 8, 2)}),
    "same": ((4, 4), {"output_shape": (4, 4)}),
    "picture": ((12, 10, 3), {"output_shape": (9, 14, 4)}),
}
LARGE_SIZES = {"image": ((300, 260), {"output_shape": (200, 230)})}


class Subject(NamedTuple):
    """What the laws are tried on.

    Attributes
    ----------
    operator : linear operator
    matrix : sparse array
        The operator's, on the host, made by other means.
    roundoffs : int
        Units of round-off by which products may differ, of integers too; 0 if they must be equal.
    pattern : callable, optional
        Returns where the matrix has entries, zeros among them too.
    """

    operator: Any
    matrix: Any
    roundoffs: int = 0
    pattern: Callable[[], Any] | None = None


# what is made of an operator, and what of its matrix
MADE: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "itself": (lambda A: A, lambda M: M),
    "adjoint": (lambda A: A.H, lambda M: M.conj().T),
    "transpose": (lambda A: A.T, lambda M: M.T),
    "gram": (lambda A: A.gram(), lambda M: M.conj().T @ M),
}


@dataclass(frozen=True)
class Case:
    """A line of the registry with one value of each factor."""

    name: str
    build: Callable[..., Subject]
    factors: dict[str, Any]

    def on(self, arrays):
        """Return the subject on arrays of one kind."""
        factors = dict(self.factors)
        of_operator, of_matrix = MADE[factors.pop("made")]
        if self.is_large and arrays.on_device and arrays.emulated:
            pytest.skip("too large for the emulation of a GPU")
        operator, matrix, roundoffs, _ = self.build(arrays, **factors)

        def pattern():
            entries = arrays.sparse(operator)
            entries.data = np.ones(entries.nnz)
            return of_matrix(entries)

        return Subject(of_operator(operator), of_matrix(matrix).tocsr(), roundoffs, pattern)

    @property
    def is_large(self):
        """Whether it is one of the few in which threads share the work."""
        return self.name.startswith("large")

    @property
    def levels(self):
        """Names and values of the factors, as texts."""
        return [(name, str(value)) for name, value in self.factors.items()]

    def __str__(self):
        return "-".join([self.name, *map(str, self.factors.values())])


def combinations(build, made=tuple(MADE), dtype=FLOATS, **factors):
    """Return what a line of the registry stands for: a function, and all combinations of its factors."""
    factors = {"made": made, "dtype": dtype, **factors}
    return build, [dict(zip(factors, row, strict=True)) for row in product(*factors.values())]


def integers(shape, dtype, seed=0):
    """Return small integers in any dtype, so that every method but the FFT is exact."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.integers(-4, 5, shape)
    return values.astype(dtype)


def make(name, dtype, mode, method, transposed=False):
    """Return an operator; the transposed ones are those that lead back from the forward's output."""
    kernel_shape, input_shape, options = GEOMETRIES[name]
    forward = stc.ConvOperator(
        integers(kernel_shape, dtype), input_shape, padding_mode=mode, method=method, **options
    )
    return forward.T if transposed else forward


def dense(operator):
    """Return the matrix through the assembly, which is proven against naive loops elsewhere."""
    return operator.tosparse().toarray()


@cache
def convolution_matrix(geometry, mode, dtype):
    """Return a matrix by naive loops, or, if it is large, by the assembly, which is proven elsewhere."""
    if geometry in LARGE:
        kernel_shape, input_shape, options = LARGE[geometry]
        return stc.conv_matrix(integers(kernel_shape, dtype), input_shape, padding_mode=mode, **options)
    kernel_shape, input_shape, options = GEOMETRIES[geometry]
    g = stc.ConvGeometry(input_shape, kernel_shape, padding_mode=mode, **options)
    names = "stride", "padding", "dilation", "groups", "padding_mode", "flip"
    settled = {name: getattr(g, name) for name in names}
    return sp.csr_array(naive_matrix(integers(kernel_shape, dtype), input_shape, **settled))


def convolution(arrays, dtype, geometry, mode, method):
    if arrays.on_device and method == "sparse" and dtype in INTEGERS:
        pytest.skip("CuPy's matrices hold no integers")
    kernel_shape, input_shape, options = {**GEOMETRIES, **LARGE}[geometry]
    kernel = arrays.put(integers(kernel_shape, dtype))
    A = stc.ConvOperator(kernel, input_shape, padding_mode=mode, method=method, **options)
    assert A.method == method
    return Subject(A, convolution_matrix(geometry, mode, dtype), 0 if method in EXACT else ROUNDOFFS)


def transposed_convolution(arrays, dtype, sizes, method):
    kernel, options = integers((3, 2, 4, 5), dtype), {"stride": 2, "padding": (0, 1), **TRANSPOSED[sizes]}
    T = stc.ConvTransposeOperator(arrays.put(kernel), (3, 4, 5), method=method, **options)
    M = stc.conv_transpose_matrix(kernel, (3, 4, 5), **options)
    return Subject(T, M, 0 if method in EXACT else ROUNDOFFS)


@cache
def matrices_of_taps(geometry, mode):
    """Return the matrices of kernels that have one weight, a one."""
    kernel_shape, input_shape, options = {**GEOMETRIES, **LARGE}[geometry]
    units = np.eye(prod(kernel_shape), dtype=np.int8).reshape(-1, *kernel_shape)
    return [stc.conv_matrix(unit, input_shape, padding_mode=mode, **options) for unit in units]


def kernel_operator(arrays, dtype, geometry, mode, transposed):
    """The convolution as a function of its kernel, with a fixed input."""
    kernel_shape, input_shape, options = {**GEOMETRIES, **LARGE}[geometry]
    options = {**options, "padding_mode": mode}
    forward = stc.ConvGeometry(input_shape, kernel_shape, **options)
    if transposed:
        # with which the transpose gives the forward's sizes again
        options["padding"] = forward.padding
        options["output_shape"] = input_shape[-forward.ndim :]
    x = integers(forward.output_shape if transposed else input_shape, dtype, 1)
    K = stc.KernelOperator(arrays.put(x), kernel_shape, transposed=transposed, **options)
    taps = matrices_of_taps(geometry, mode)
    M = np.stack([(tap.T if transposed else tap).astype(dtype) @ x.ravel() for tap in taps], 1)
    # large products, and those on a card, may be the FFT's
    rounded = dtype in FLOATS and (arrays.on_device or geometry in LARGE)
    return Subject(K, sp.csr_array(M), ROUNDOFFS if rounded else 0)


@cache
def interpolation_matrix(sizes, mode):
    """Return the Kronecker product of the axes' matrices, each by loops that write the formulas down."""
    shape, target = {**SIZES, **LARGE_SIZES}[sizes]
    rule = {
        "coordinate_mode": "half_pixel",
        "nearest_mode": "round_prefer_floor",
        "cubic_coeff": -0.75,
        "exclude_outside": mode == "lanczos3",
        "antialias": False,
    }
    axes = stc.ResizeOperator(shape, mode=mode, **target).geometry.axes
    factors = [naive_resize(axis.size, axis.outputs, axis.scale, mode, **rule) for axis in axes]
    return reduce(lambda left, right: sp.kron(left, right, format="csr"), map(sp.csr_array, factors))


def resize(arrays, dtype, sizes, mode):
    shape, target = {**SIZES, **LARGE_SIZES}[sizes]
    R = stc.ResizeOperator(shape, mode=mode, dtype=dtype, **target, **arrays.options)
    return Subject(R, interpolation_matrix(sizes, mode).astype(dtype), ROUNDOFFS)


def channels_last(arrays, dtype, geometry, mode, method):
    first = convolution(arrays, dtype, geometry, mode, method)
    outputs, inputs = first.operator.output_shape, first.operator.input_shape
    # what is moved is the arrays' axis, said without permutations of vectors
    entries = first.matrix.toarray().reshape(*outputs, *inputs)
    entries = np.moveaxis(entries, [0, len(outputs)], [len(outputs) - 1, -1])
    matrix = sp.csr_array(entries.reshape(first.matrix.shape))
    return Subject(stc.operators.ChannelsLastOperator(first.operator), matrix, first.roundoffs)


def sparse(arrays, dtype, order, index_dtype):
    """Any matrix, with empty rows and columns."""
    if arrays.on_device and dtype in INTEGERS:
        pytest.skip("CuPy's matrices hold no integers")
    M = sp.csr_array(np.random.default_rng(0).random((7, 10)) < 0.4)
    M.data = integers(M.nnz, dtype)
    given = M.copy()
    if order == "reversed":
        # columns of a row from right to left
        given = M[:, ::-1]
        given.indices = (9 - given.indices).astype(given.indices.dtype)
    given.indices, given.indptr = given.indices.astype(index_dtype), given.indptr.astype(index_dtype)
    return Subject(stc.SparseOperator(arrays.matrix(given)), M)


# name: how an operator is made, and its factors
OPERATORS = {
    "convolution": combinations(convolution, made=["itself", "adjoint"], geometry=GEOMETRIES, mode=MODES, method=METHODS),
    "Gram of a convolution": combinations(convolution, made=["gram"], geometry=["picture", "groups"], mode=MODES, method=METHODS),
    "large convolution": combinations(convolution, made=["itself"], dtype=["float64"], geometry=["image"], mode=["symmetric"], method=METHODS),
    "convolution of integers": combinations(convolution, made=["itself", "adjoint"], dtype=INTEGERS, geometry=["picture"], mode=["circular"], method=EXACT),
    "transposed convolution": combinations(transposed_convolution, sizes=TRANSPOSED, method=METHODS),
    "kernel": combinations(kernel_operator, made=["itself", "transpose"], geometry=GEOMETRIES, mode=MODES, transposed=[False, True]),
    "Gram of a kernel operator": combinations(kernel_operator, made=["adjoint", "gram"], geometry=["picture", "groups"], mode=["reflect", "zeros"], transposed=[False, True]),
    "large kernel": combinations(kernel_operator, made=["itself"], dtype=["float32", "complex128"], geometry=["kernels"], mode=["symmetric"], transposed=[False, True]),
    "kernel of integers": combinations(kernel_operator, dtype=["int64"], geometry=["picture"], mode=["replicate"], transposed=[False, True]),
    "resize": combinations(resize, sizes=SIZES, mode=RESIZE_MODES),
    "large resize": combinations(resize, made=["itself"], dtype=["float32", "complex128"], sizes=LARGE_SIZES, mode=["cubic"]),
    "sparse": combinations(sparse, dtype=[*FLOATS, "int32"], order=["sorted", "reversed"], index_dtype=["int32", "int64"]),
    "channels last": combinations(channels_last, geometry=WITH_CHANNELS, mode=["reflect"], method=["direct", "gemm"]),
}  # fmt: skip

CASES = [Case(name, build, row) for name, (build, rows) in OPERATORS.items() for row in rows]
