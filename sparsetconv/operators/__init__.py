"""Linear operators between arrays.

``_base`` (`ArrayCore`: adjoint, transpose, Gram operator) and ``_products`` (every product from two
methods; ``_device_products`` on a GPU) are the base of ``_convolution``, ``_kernel`` (a convolution as a
function of its kernel), ``_resize``, ``_sparse`` (a matrix that is given) and ``_channels_last``.
"""

from sparsetconv.operators._base import (
    AdjointOperator,
    ArrayCore,
    GramOperator,
    TransposedOperator,
    to_device,
)
from sparsetconv.operators._channels_last import ChannelsLastOperator
from sparsetconv.operators._convolution import ConvOperator, ConvTransposeOperator
from sparsetconv.operators._kernel import KernelOperator
from sparsetconv.operators._resize import ResizeOperator
from sparsetconv.operators._sparse import SparseOperator

__all__ = [
    "AdjointOperator",
    "ArrayCore",
    "ChannelsLastOperator",
    "ConvOperator",
    "ConvTransposeOperator",
    "GramOperator",
    "KernelOperator",
    "ResizeOperator",
    "SparseOperator",
    "TransposedOperator",
    "to_device",
]
