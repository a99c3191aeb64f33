"""The methods: one line for each, with what computes it on the CPU and on a GPU.

What a method is stands in its own file: its name, what it refuses, and its estimated ``seconds``. Everything
that lists methods, or asks them, reads `METHODS` and `GPU_METHODS`.
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

# on the CPU, on a GPU: of the same name
REGISTRY: tuple[tuple[type[Method], type[Method]], ...] = (
    (SparseMethod, CudaSparseMethod),
    (DirectMethod, CudaDirectMethod),
    (GemmMethod, GemmMethod),
    (FFTMethod, CudaFFTMethod),
)
# what ``method=`` takes, for type checkers, which read no registry
MethodName = Literal["auto", "sparse", "direct", "gemm", "fft"]
METHODS = {cpu.name: cpu for cpu, _ in REGISTRY}
GPU_METHODS = {gpu.name: gpu for _, gpu in REGISTRY}


def methods_of(on_gpu: bool) -> dict[str, type[Method]]:
    """Return the methods for arrays on the CPU or on a GPU, by name."""
    return GPU_METHODS if on_gpu else METHODS
