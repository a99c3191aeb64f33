"""Layers and nodes of other packages as operators.

Floor 5. Nothing of those packages is imported: what is read are attributes, of whatever has them.
"""

from sparsetconv.frameworks._keras import from_keras
from sparsetconv.frameworks._onnx import from_onnx
from sparsetconv.frameworks._torch import from_torch

__all__ = ["from_keras", "from_onnx", "from_torch"]
