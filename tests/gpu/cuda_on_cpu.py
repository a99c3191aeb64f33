"""CUDA sources on the CPU: the same text, compiled by g++ behind a short shim, thread after thread.

For kernels without barriers and warp operations, which is all of ours. Undefined behaviour ends the process;
with ``SPARSETCONV_ASAN=1`` so does an access outside an array (the process then needs libasan preloaded).
"""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SHIM = r"""
#include <complex>
#include <cstddef>
#include <utility>
using std::complex;
#define __global__ static
#define __device__ static
#define __forceinline__ inline
#define __restrict__
struct Three { unsigned x, y, z; };
static Three threadIdx, blockIdx, blockDim, gridDim;
template <class... Types, std::size_t... Numbers>
static void call(void (*kernel)(Types...), void** arguments, std::index_sequence<Numbers...>) {
    kernel(*(Types*)arguments[Numbers]...);
}
template <class... Types>
static void launch(void (*kernel)(Types...), const unsigned* grid, const unsigned* block, void** arguments) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (unsigned b = 0; b < grid[0]; ++b)
        for (unsigned z = 0; z < block[2]; ++z)
            for (unsigned y = 0; y < block[1]; ++y)
                for (unsigned x = 0; x < block[0]; ++x) {
                    blockIdx = {b, 0, 0};
                    threadIdx = {x, y, z};
                    call(kernel, arguments, std::index_sequence_for<Types...>{});
                }
}
"""
FLAGS = [
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-shared",
    "-Wno-unknown-pragmas",
    "-Wno-attributes",
    "-fsanitize=undefined",
]
FLAGS += ["-fno-sanitize-recover=undefined"]
if os.environ.get("SPARSETCONV_ASAN"):
    FLAGS += ["-fsanitize=address"]
CACHE = Path(tempfile.gettempdir()) / f"sparsetconv-cuda-on-cpu-{os.getuid()}"


class RawModule:
    """What `cupy.RawModule` is, on the CPU."""

    def __init__(self, *, code, options=()):
        assert "--std=c++17" in options
        self.code = code

    def get_function(self, name):
        return Kernel(self.code, name)


class Kernel:
    def __init__(self, code, name):
        body = code.replace('extern "C" __global__', "__global__").replace("#include <cupy/complex.cuh>", "")
        entry = (
            'extern "C" void run(const unsigned* grid, const unsigned* block, void** arguments)'
            f" {{ launch({name}, grid, block, arguments); }}"
        )
        self._run = ctypes.CDLL(str(compiled("\n".join([SHIM, body, entry])))).run

    def __call__(self, grid, block, arguments):
        kept = [_by_value(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(kept))(*(pointer for pointer, _ in kept))
        self._run(_three(grid), _three(block), pointers)


def compiled(source):
    CACHE.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(" ".join([*FLAGS, source]).encode()).hexdigest()[:32]
    library = CACHE / f"{name}.so"
    if not library.exists():
        text = CACHE / f"{name}-{os.getpid()}.cpp"
        text.write_text(source)
        made = text.with_suffix(".so")
        result = subprocess.run(
            ["g++", *FLAGS, str(text), "-o", str(made)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr[:4000]
        made.rename(library)
        text.unlink()
    return library


def _three(numbers):
    return (ctypes.c_uint * 3)(*(*numbers, 1, 1)[:3])


def _by_value(argument):
    """Return a pointer to an argument by CuPy's rules, and what must live as long."""
    if hasattr(argument, "__cuda_array_interface__"):
        value = ctypes.c_void_p(argument.__cuda_array_interface__["data"][0])
        return ctypes.addressof(value), value
    if isinstance(argument, np.ndarray):
        assert argument.size == 1, "only NumPy arrays of size one can be passed by value"
        return argument.ctypes.data, argument
    if isinstance(argument, int):
        argument = np.int64(argument)
    assert isinstance(argument, np.generic), f"unsupported type {type(argument)}"
    value = np.array(argument)
    return value.ctypes.data, value
