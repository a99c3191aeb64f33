"""The registry of methods: one line for each, with its classes for the CPU and for a GPU.

A method's file defines its name, what it refuses, and its estimated ``seconds``. All code that lists the
methods reads `METHODS` and `GPU_METHODS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sparsetconv._methods.cpu.direct import DirectMethod
from sparsetconv._methods.cpu.fft import FFTMethod
from sparsetconv._methods.cpu.sparse import SparseMethod
from sparsetconv._methods.cuda.direct import CudaDirectMethod
from sparsetconv._methods.cuda.fft import CudaFFTMethod
from sparsetconv._methods.cuda.sparse import CudaSparseMethod
from sparsetconv._methods.gemm import GemmMethod

if TYPE_CHECKING:
    from sparsetconv._methods.base import Method

# pairs of a class for the CPU and one for a GPU, with the same name
REGISTRY: tuple[tuple[type[Method], type[Method]], ...] = (
    (SparseMethod, CudaSparseMethod),
    (DirectMethod, CudaDirectMethod),
    (GemmMethod, GemmMethod),
    (FFTMethod, CudaFFTMethod),
)
# the values of ``method=``, spelled out because type checkers cannot read the registry
MethodName = Literal["auto", "sparse", "direct", "gemm", "fft"]
METHODS = {cpu.name: cpu for cpu, _ in REGISTRY}
GPU_METHODS = {gpu.name: gpu for _, gpu in REGISTRY}


def methods_of(on_gpu: bool) -> dict[str, type[Method]]:
    """Return the methods for arrays on the CPU or on a GPU, by name."""
    return GPU_METHODS if on_gpu else METHODS
