"""Array backends: NumPy and CuPy, as two instances of `Backend`.

The backend is determined once, from the user's arrays, and passed down as an argument. CuPy is imported only
here, when the first CuPy array or ``"cupy"`` is passed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg

from sparsetconv._arrays import memory
from sparsetconv._arrays.display import shown

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array

Device = Literal["numpy", "cupy"]
DEVICES: tuple[Device, ...] = get_args(Device)
# bytes of the second-level cache of each GPU, by device number
_CACHE_BYTES: dict[int | None, int] = {}


@dataclass(frozen=True)
class Backend:
    """An array library and its modules.

    Attributes
    ----------
    name : str
        ``"numpy"`` or ``"cupy"``.
    title : str
        Name in error messages.
    xp : module
        NumPy or CuPy.
    sparse : module
        `scipy.sparse` or CuPy's counterpart.
    linalg : module
        `scipy.sparse.linalg` or CuPy's counterpart.
    """

    name: str
    title: str
    xp: Any
    sparse: Any
    linalg: Any

    @property
    def linear_operator(self) -> Any:
        """The base class of operators on arrays of this backend."""
        return self.linalg.LinearOperator

    @property
    def on_gpu(self) -> bool:
        """Whether arrays are in a GPU's memory."""
        return self.name != "numpy"

    def asarray(self, value: Any) -> Array:
        """Return an array of this backend; arrays of the other backend are copied."""
        if not self.on_gpu:
            return to_numpy(value)
        array: Array = self.xp.asarray(value)
        return array

    def frozen(self, array: Array) -> Array:
        """Return a copy, read-only with NumPy (CuPy has no read-only arrays)."""
        copied = array.copy()
        if not self.on_gpu:
            copied.setflags(write=False)
        return copied

    def available_bytes(self) -> int | None:
        """Return the bytes available for a new array, or None if unknown."""
        if not self.on_gpu:
            return memory.available_bytes()
        pool = self.xp.get_default_memory_pool()
        if self.xp.cuda.get_allocator() != pool.malloc:
            # another allocator may hold free memory that the device counts as used
            return None
        free = int(self.xp.cuda.Device().mem_info[0]) + int(pool.free_bytes())
        limit = int(pool.get_limit())
        # a limit of 0 means no limit; under a limit the pool gives free blocks back to the device as needed
        return min(free, max(0, limit - int(pool.used_bytes()))) if limit else free

    def current_device(self) -> int | None:
        """Return the number of the GPU on which work is launched now; None without one."""
        return int(self.xp.cuda.runtime.getDevice()) if self.on_gpu else None

    def device_of(self, array: Array) -> int | None:
        """Return the number of the GPU in whose memory an array is; None for NumPy's."""
        return int(array.data.device_id) if self.on_gpu else None  # type: ignore[attr-defined]

    def cache_bytes(self) -> int:
        """Return the bytes of the second-level cache of the current GPU, which all its cores share."""
        device = self.current_device()
        known = _CACHE_BYTES.get(device)
        if known is None:
            # CuPy reads all hundred attributes at once: too slow for each product
            known = _CACHE_BYTES[device] = int(self.xp.cuda.Device().attributes["L2CacheSize"])
        return known

    def require(self, what: str, nbytes: int, hint: str) -> None:
        """Raise ``MemoryError`` with the bytes and a hint if fewer than ``nbytes`` are available."""
        memory.require(what, nbytes, hint, self.available_bytes)

    def sparse_type(self, format: str) -> Any:
        """Return the sparse array class of a format, or the matrix class (CuPy before 14.2 has no arrays)."""
        kind = getattr(self.sparse, f"{format}_array", None)
        return kind if kind is not None else getattr(self.sparse, f"{format}_matrix")

    def csr(self, data: Array, indices: Array, indptr: Array, shape: tuple[int, int]) -> Any:
        """Return a CSR matrix from arrays in canonical form, without checking them."""
        if not self.on_gpu:
            matrix = sp.csr_array((data, indices, indptr), shape=shape)
            matrix.has_sorted_indices = True
        else:
            kind = self.sparse_type("csr")
            if hasattr(kind, "_from_parts"):
                # the constructor would copy row pointers to the host, which waits for the device
                return kind._from_parts(data, indices, indptr, shape, has_canonical_format=True)
            matrix = kind((data, indices, indptr), shape=shape)
        # true by construction; SciPy and CuPy would read the whole matrix to find out
        matrix.has_canonical_format = True
        return matrix


NUMPY = Backend("numpy", "NumPy", np, sp, scipy.sparse.linalg)


def cupy_backend() -> Backend:
    """Return the backend of CuPy's arrays, or raise an error that says what is missing."""
    try:
        return _imported_cupy()
    except ImportError as error:
        msg = (
            "CuPy arrays need CuPy and the CUDA libraries, with pip install 'sparsetconv[cuda13]' (or "
            f"[cuda12]); importing them failed: {error}"
        )
        raise ImportError(msg) from error


@lru_cache(maxsize=1)
def _imported_cupy() -> Backend:
    import cupy
    import cupyx.scipy.sparse
    import cupyx.scipy.sparse.linalg

    sparse = cupyx.scipy.sparse
    return Backend("cupy", "CuPy", cupy, sparse, sparse.linalg)


def device_backend(device: Any) -> Backend:
    """Return the backend that a user names, or raise an error that says what is missing."""
    if not isinstance(device, str) or device not in DEVICES:
        msg = f"device must be one of 'numpy', 'cupy'; got {shown(device)}"
        raise ValueError(msg) if isinstance(device, str) else TypeError(msg)
    if device == "numpy":
        return NUMPY
    backend = cupy_backend()
    if not backend.xp.is_available():
        msg = "device='cupy' needs a GPU with CUDA and its driver, and CuPy finds none (cupy.is_available())"
        raise RuntimeError(msg)
    return backend


def is_cupy(value: Any) -> bool:
    """Return whether a value is a CuPy array, without importing CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def backend_of(name: str, value: Any) -> Backend:
    """Return the backend of an array or array-like; refuse GPU arrays that are not CuPy's."""
    if isinstance(value, np.ndarray):
        return NUMPY
    if is_cupy(value):
        return cupy_backend()
    if hasattr(value, "__cuda_array_interface__"):
        kind = type(value).__name__
        msg = f"{name} must be a NumPy or CuPy array, got {kind}, on a GPU; cupy.asarray({name}) makes it one"
        raise TypeError(msg)
    return NUMPY


def operator_backend(op: Any) -> Backend:
    """Return the backend of a matrix or linear operator, without importing CuPy."""
    if "cupy" not in sys.modules or "cupyx.scipy.sparse.linalg" not in sys.modules:
        return backend_of("op", op)
    backend = cupy_backend()
    on_gpu = is_cupy(op) or isinstance(op, backend.linear_operator) or backend.sparse.issparse(op)
    return backend if on_gpu else NUMPY


def check_backend(name: str, value: Any, backend: Backend, beside: str) -> None:
    """Raise unless an array is of a backend; lists and numbers count as NumPy's."""
    own = backend_of(name, value)
    if own.name == backend.name:
        return
    convert = f"{name}.get()" if own.on_gpu else f"cupy.asarray({name})"
    msg = (
        f"{name} must be a {backend.title} array as {beside} is, got {type(value).__module__}."
        f"{type(value).__qualname__}; convert it with {convert}, or an operator with sparsetconv.to_device"
    )
    raise TypeError(msg)


def check_device(name: str, value: Any, backend: Backend, device: int | None, beside: str) -> None:
    """Raise unless an array of a backend is in the memory of GPU ``device``."""
    own = backend.device_of(value)
    if own != device:
        msg = (
            f"{name} must be on GPU {device} as {beside} is, got an array on GPU {own}; "
            f"within cupy.cuda.Device({device}), cupy.asarray({name}) copies it there"
        )
        if beside == "the operator":
            msg += f"; within cupy.cuda.Device({own}), sparsetconv.to_device copies the operator"
        raise ValueError(msg)


def to_numpy(value: Any) -> Array:
    """Return a NumPy array; a CuPy array is copied from the GPU."""
    array: Array = value.get() if is_cupy(value) else np.asarray(value)
    return array
