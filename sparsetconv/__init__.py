"""Convolutions as sparse matrices and linear operators, transposed convolution as their exact adjoint."""

from sparsetconv import pictures, plot, testing
from sparsetconv._arrays.capture import capture
from sparsetconv._assembly.matrices import conv_matrix, conv_transpose_matrix
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv._geometry.transposed import conv_transpose_geometry
from sparsetconv._learning.fit import fit_kernel
from sparsetconv._resize.interpolation import interpolation_kernel
from sparsetconv._resize.matrices import resize_matrix, zero_insertion_matrix
from sparsetconv.array_operator import to_device
from sparsetconv.frameworks import from_keras, from_onnx, from_torch
from sparsetconv.kernel_operator import KernelOperator
from sparsetconv.operators import ConvOperator, ConvTransposeOperator
from sparsetconv.resize_operator import ResizeOperator

__version__ = "0.1.0"

__all__ = [
    "ConvGeometry",
    "ConvOperator",
    "ConvTransposeOperator",
    "KernelOperator",
    "ResizeOperator",
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
    "pictures",
    "plot",
    "resize_matrix",
    "testing",
    "to_device",
    "zero_insertion_matrix",
]
