"""The CUDA sources of the package, compiled for a geometry and launched on the current stream.

A source is a text in which some names are undefined (types, numbers of axes and taps); each compilation
defines them as constants, so that loops over them unroll. CuPy compiles with NVRTC at the first launch and
caches the result on disk. In addition to arrays, a kernel takes records of 64-bit integers, passed by value;
their structs are defined by the compilation too, from the NumPy dtypes of the records.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.record import c_struct, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.record import Kind
    from sparsetconv._arrays.types import Array

# folders of sources, each beside the module that launches them; no two sources have the same name
FOLDERS = ("_arrays/source", "_assembly/source", "_methods/cuda/source", "_resize/source")
OPTIONS = ("--std=c++17",)
# CUDA's limit on the blocks of a launch along its first axis
MOST_BLOCKS = 2**31 - 1

REAL_TYPES = {
    "b": "signed char", "h": "short", "i": "int", "l": "long long", "q": "long long",
    "B": "unsigned char", "H": "unsigned short", "I": "unsigned int", "L": "unsigned long long",
    "Q": "unsigned long long", "f": "float", "d": "double",
}  # fmt: skip
COMPLEX_TYPES = {"F": "complex<float>", "D": "complex<double>"}
# half-precision dtypes, with the same names in NumPy or ml_dtypes and in ``half.cuh``: used for storage only,
# sums are computed in float32
HALF_TYPES = ("float16", "bfloat16")
TYPES = REAL_TYPES | COMPLEX_TYPES

# constants of a compilation: types, values of macros, and records, each after those nested in it
Constants = tuple[tuple[str, "str | Kind"], ...]


def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype in CUDA C++."""
    return dtype.name if dtype.name in HALF_TYPES else TYPES[dtype.char]


def sum_name(dtype: np.dtype[Any]) -> str:
    """Return the name in CUDA C++ of the type in which numbers of a dtype are summed."""
    return type_name(sum_dtype(dtype))


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which numbers of a dtype are summed.

    Integers are summed as unsigned ones, since sums may wrap around, which C++ defines only for these.
    """
    if dtype.name in HALF_TYPES:
        return np.dtype(np.float32)
    return np.dtype(np.uint64) if dtype.kind in "iu" else dtype


def braced(numbers: Iterable[int]) -> str:
    """Return an initializer of a C array."""
    return "{" + ", ".join(map(str, numbers)) + "}"


@cache
def source_text(name: str) -> str:
    """Return the text of a source file in one of ``FOLDERS``."""
    package = resources.files("sparsetconv")
    paths = (package.joinpath(*folder.split("/"), name) for folder in FOLDERS)
    return next(path for path in paths if path.is_file()).read_text(encoding="utf-8")


def assembled_source(names: Sequence[str], constants: Constants) -> str:
    """Return one text: the constants as aliases, macros and structs, then the sources one after the other."""
    types = {*TYPES.values(), *HALF_TYPES}
    words = [(name, value) for name, value in constants if isinstance(value, str)]
    structs = {name: value for name, value in constants if not isinstance(value, str)}
    lines = [
        f"using {name} = {value};" if value in types else f"#define {name} {value}" for name, value in words
    ]
    if any(value in COMPLEX_TYPES.values() for _, value in words):
        lines.insert(0, "#include <cupy/complex.cuh>")
    if any(value in HALF_TYPES for _, value in words):
        lines.insert(0, source_text("half.cuh"))
    lines += [c_struct(name, kind, structs) for name, kind in structs.items()]
    return "\n".join([*lines, *map(source_text, names)])


@lru_cache(maxsize=256)
def kernel(backend: Backend, names: tuple[str, ...], constants: Constants, name: str) -> Any:
    """Return the kernel ``name`` of sources and their constants; CuPy compiles it once for each device."""
    module = backend.xp.RawModule(code=assembled_source(names, constants), options=OPTIONS)
    return module.get_function(name)


def aligned(xp: Any, x: Array) -> Array:
    """Return an array whose address is a multiple of its itemsize; a misaligned view is copied.

    Kernels load whole elements, and a view of complex numbers may begin in the middle of one.
    """
    if not x.data.ptr % x.itemsize:  # type: ignore[attr-defined]
        return x
    # copied byte by byte, since a copy of elements would load whole elements, too
    loose = xp.ndarray((*x.shape, x.itemsize), np.uint8, x.data, strides=(*x.strides, 1))
    copied: Array = loose.copy().view(x.dtype).reshape(x.shape)
    return copied


def contiguous(xp: Any, x: Array, dtype: np.dtype[Any]) -> Array:
    """Return an aligned array of a dtype in C order, as kernels take it; ``x`` itself if it is one."""
    array: Array = xp.ascontiguousarray(aligned(xp, x), dtype)
    return array


def by_value(record: Array) -> Array:
    """Return a record as one structure that a kernel takes by value."""
    flat = numbers(record)
    return flat.view(np.dtype((np.void, flat.nbytes)))


def launch(function: Any, blocks: int, threads: Sequence[int], arguments: Sequence[Any]) -> None:
    """Launch a kernel on the current stream."""
    if blocks > MOST_BLOCKS:
        msg = f"a CUDA launch has at most {MOST_BLOCKS} blocks, got {blocks}; split the problem into parts"
        raise ValueError(msg)
    function((blocks,), tuple(threads), tuple(arguments))
