"""Operators that all laws are tried on: a commented table, asymmetric and even-sized throughout."""

import numpy as np

import sparsetconv as stc
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._methods.registry import METHODS as REGISTERED

FLOATS = ("float32", "float64", "complex64", "complex128")
METHODS = tuple(REGISTERED)

# name: (kernel shape, input shape, options)
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


MODES = PADDING_MODES
