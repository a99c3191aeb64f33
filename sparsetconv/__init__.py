"""Convolutions as sparse matrices and linear operators, transposed convolution as their exact adjoint."""

from sparsetconv import operators, pictures, plot, testing
from sparsetconv._arrays.capture import capture
from sparsetconv._assembly.matrices import conv_matrix, conv_transpose_matrix
from sparsetconv._frameworks.keras import from_keras
from sparsetconv._frameworks.onnx import from_onnx
from sparsetconv._frameworks.torch import from_torch
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._geometry.transposed import conv_transpose_geometry
from sparsetconv._learning.fit import fit_kernel
from sparsetconv._methods.tune import tune
from sparsetconv._resize.interpolation import interpolation_kernel
from sparsetconv._resize.matrices import resize_matrix, zero_insertion_matrix
from sparsetconv.operators import (
    ConvOperator,
    ConvTransposeOperator,
    KernelOperator,
    ResizeOperator,
    SparseOperator,
    to_device,
)

__version__ = "0.1.0"

__all__ = [
    "ConvGeometry",
    "ConvOperator",
    "ConvTransposeOperator",
    "KernelOperator",
    "ResizeOperator",
    "SparseOperator",
    "__version__",
    "capture",
    "conv_matrix",
    "conv_transpose_geometry",
    "conv_transpose_matrix",
    "fit_kernel",
    "from_keras",
    "from_onnx",
    "from_torch",
    "interpolation_kernel",
    "operators",
    "pictures",
    "plot",
    "resize_matrix",
    "testing",
    "to_device",
    "tune",
    "zero_insertion_matrix",
]
