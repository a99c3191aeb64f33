"""CuPy without a GPU: arrays that behave as CuPy's do and lie in the host's memory.

They refuse to become NumPy arrays by accident, do not mix with them, and meet kernels through `cuda_on_cpu`.
What our code asks of CuPy is here, and a name that is not here is an error.
`LinearOperator` and the solvers are the texts of the installed CuPy itself.
"""

import contextlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.signal
import scipy.sparse as sp

from . import cuda_on_cpu, cuda_order


class Pointer(NamedTuple):
    """What `cupy.cuda.MemoryPointer` says of an array."""

    ptr: int
    device_id: int
    memory: cuda_order.Memory


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    __module__ = "cupy"

    def __init__(self, host, dtype=None, memptr=None, strides=None, memory=None):
        if memptr is not None:
            # a shape, and where it lies
            assert dtype == np.uint8
            host, memory = cuda_order.bytes_at(memptr.ptr, host, strides), memptr.memory
        self._host = host
        self._memory = memory or cuda_order.Memory()

    def __array__(self, *_, **__):
        msg = "Implicit conversion to a NumPy array is not allowed. Please use `.get()`"
        raise TypeError(msg)

    # whether the host may read what is on the device, for which it would have to wait
    may_synchronize = True

    def _read(self):
        assert self.may_synchronize, "the host reads from the device"
        return self._host

    def get(self):
        # on the current stream of the array's device
        self._memory.check_order(cuda_order.state.current[self._memory.device])
        return self._read().copy()

    def copy(self):
        """Copy to the current device, from whichever the array is on, as CuPy does."""
        stream = cuda_order.get_current_stream()
        if self._memory.device == cuda_order.state.device:
            cuda_order.launched("copy", _memories([self]))
        elif stream.ptr:
            # in the default stream a copy between devices waits for both
            self._memory.check_order(stream)
        return ndarray(self._host.copy())

    @property
    def data(self):
        return Pointer(self._host.ctypes.data, self._memory.device, self._memory)

    @property
    def device(self):
        return cuda_order.Device(self._memory.device)

    @property
    def __cuda_array_interface__(self):
        return {**self._host.__array_interface__, "version": 3}

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if out is not None:
            kwargs["out"] = tuple(_host(o) for o in out)
        result = getattr(ufunc, method)(*map(_operand, inputs), **kwargs)
        written = [o._memory for o in out or ()]
        cuda_order.launched(ufunc.__name__, _memories(inputs), written)
        return out[0] if out is not None else _device(result)

    def __array_function__(self, function, types_, args, kwargs):
        return getattr(cupy, function.__name__)(*args, **kwargs)

    def __getattr__(self, name):
        if name.startswith("__") or name == "setflags":
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return lambda *args, **kwargs: _computed(
                name, value(*map(_operand, args), **kwargs), (self, *args)
            )
        return _computed(name, value, (self,))

    def __getitem__(self, index):
        return _computed("take", self._host[_index(index)], (self, index))

    def __setitem__(self, index, value):
        self._host[_index(index)] = _operand(value)
        cuda_order.launched("copy", _memories((index, value)), [self._memory])

    def fill(self, value):
        self[...] = value

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[n] for n in range(len(self)))

    def __bool__(self):
        return bool(self._read())

    def __int__(self):
        return int(self._read())

    def __float__(self):
        return float(self._read())

    def __complex__(self):
        return complex(self._read())

    def __index__(self):
        return self._read().__index__()

    def __repr__(self):
        return f"cupy.{self._host!r}"


def _memories(values):
    """Return the memories of all arrays in some values, which a launch reads or writes number by number."""
    found = []
    for value in values:
        if isinstance(value, ndarray):
            assert value.data.ptr % value.itemsize == 0, "a kernel would load across words"
            found.append(value._memory)
        elif isinstance(value, (tuple, list)):
            found += _memories(value)
    return found


def _computed(name, value, operands):
    """Wrap what was made of operands: views stay in their memory, everything else is a launch."""
    if isinstance(value, (np.ndarray, np.generic)):
        for operand in operands:
            if isinstance(operand, ndarray) and np.may_share_memory(value, operand._host):
                return ndarray(value, memory=operand._memory)
    result = _device(value)
    if isinstance(value, (np.ndarray, np.generic, tuple, list)) and _memories([result]):
        # what has to be made contiguous is copied
        copies = ("ascontiguousarray", "reshape", "astype", "ravel", "asfortranarray")
        cuda_order.launched("copy" if name in copies else name, _memories(operands))
    return result


def _device(value):
    """Wrap arrays; CuPy has no scalars, only arrays without axes."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(map(_device, value))
    return value


def _host(value):
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, (tuple, list)):
        return type(value)(map(_host, value))
    return value


def _operand(value):
    if isinstance(value, np.ndarray):
        msg = f"Unsupported type {type(value)}"
        raise TypeError(msg)
    return _host(value)


def _index(index):
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        assert not isinstance(part, (np.ndarray, list)), "an index on the host would be copied to the device"
    return tuple(_operand(part) for part in parts) if isinstance(index, tuple) else _operand(index)


class RawModule(cuda_on_cpu.RawModule):
    """Its kernels take aligned arrays of the current device, in the current stream's order."""

    def get_function(self, name):
        run = super().get_function(name)
        writes = cuda_order.written_parameters(self.code, name)

        def launch(grid, block, arguments):
            arrays = [(a, w) for a, w in zip(arguments, writes, strict=True) if isinstance(a, ndarray)]
            assert all(array.flags.c_contiguous for array, _ in arrays)
            read, written = (_memories([a for a, w in arrays if w is side]) for side in (False, True))

            def done():
                cuda_order.launched(name, read, written)
                run(grid, block, arguments)

            captured = cuda_order.get_current_stream().captured
            if captured is None:
                done()
            else:
                captured.append(done)

        launch.name = name
        return launch


# functions of NumPy's that our code calls under CuPy's name, or the texts of CuPy's solvers do
NAMES = """
    abs add all any arange argsort ascontiguousarray asfortranarray atleast_2d broadcast_to ceil concatenate conj
    conjugate cos cumsum diff empty empty_like exp expand_dims eye flatnonzero hstack isfinite isinf isnan logical_and
    matmul maximum minimum moveaxis multiply nonzero ones ones_like outer pad prod ravel repeat searchsorted sqrt
    stack sum swapaxes take tensordot tile unique where zeros zeros_like vdot dot absolute full
""".split()  # noqa: SIM905
CONSTANTS = """
    dtype result_type can_cast newaxis int8 int32 int64 uint8 uint64 float32 float64 complex64 complex128 bool_ pi
    isscalar issubdtype inexact finfo float16
""".split()  # noqa: SIM905

cupy = types.ModuleType("cupy")
cupy.__version__ = "14.2.0 (emulated)"
cupy.ndarray = ndarray
cupy.RawModule = RawModule
cupy.is_available = lambda: True


def _wrapped(function):
    def call(*args, out=None, **kwargs):
        written = {} if out is None else {"out": _operand(out)}
        result = function(*map(_operand, args), **{k: _operand(v) for k, v in kwargs.items()}, **written)
        if out is not None:
            cuda_order.launched(function.__name__, _memories(args), [out._memory])
            return out
        return _computed(function.__name__, result, (*args, *kwargs.values()))

    return call


for _name in NAMES:
    setattr(cupy, _name, _wrapped(getattr(np, _name)))
for _name in CONSTANTS:
    setattr(cupy, _name, getattr(np, _name))


def _copyto(target, value):
    target[...] = value


cupy.copyto = _copyto
cupy.may_share_memory = lambda *arrays: np.may_share_memory(*map(_host, arrays))
cupy.result_type = lambda *values: np.result_type(*(_host(v) for v in values))


def _asarray(value, dtype=None, **kwargs):
    if isinstance(value, ndarray):
        here = value if value._memory.device == cuda_order.state.device else value.copy()
        return here if dtype is None or here.dtype == dtype else here.astype(dtype)
    # what comes from the host is a copy
    return ndarray(np.array(_host(value), dtype, **kwargs))


cupy.asarray = _asarray
cupy.array = lambda value, dtype=None: ndarray(np.array(_host(value), dtype))
cupy.asnumpy = lambda value: value.get() if isinstance(value, ndarray) else np.asarray(value)


class _Pool:
    """Of a device with 8 GiB, a few of which are in use."""

    used, free, limit = 0, 0, 0

    def free_bytes(self):
        return self.free

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return 1 << 20

    def get_limit(self):
        return self.limit

    def set_limit(self, size):
        self.limit = size

    def free_all_blocks(self):
        pass

    def malloc(self, size):
        raise NotImplementedError


cupy.cuda = types.ModuleType("cupy.cuda")
cupy.cuda.Device, cupy.cuda.Event = cuda_order.Device, cuda_order.Event
cupy.cuda.Stream, cupy.cuda.get_current_stream = cuda_order.Stream, cuda_order.get_current_stream
cupy.cuda.MemoryPool = _Pool
cupy.cuda.using_allocator = lambda malloc: contextlib.nullcontext(malloc)
cupy.cuda.runtime = types.ModuleType("cupy.cuda.runtime")
cupy.cuda.runtime.getDevice = lambda: cuda_order.state.device
cupy.cuda.runtime.getDeviceCount = lambda: cuda_order.DEVICES
cupy.cuda.get_elapsed_time = lambda first, second: 1e3 * (second.time - first.time)
_pool = _Pool()
cupy.get_default_memory_pool = lambda: _pool
cupy.cuda.get_allocator = lambda: _pool.malloc
cupy.fft = types.ModuleType("cupy.fft")
for _name in ("fftn", "ifftn", "rfftn", "irfftn"):
    setattr(cupy.fft, _name, _wrapped(getattr(np.fft, _name)))
cupy.lib = types.ModuleType("cupy.lib")
cupy.lib.stride_tricks = types.ModuleType("cupy.lib.stride_tricks")
cupy.lib.stride_tricks.as_strided = _wrapped(np.lib.stride_tricks.as_strided)
cupy.linalg = types.ModuleType("cupy.linalg")
cupy.linalg.norm = _wrapped(np.linalg.norm)


class sparray:  # noqa: N801
    """A SciPy matrix behind CuPy's surface."""

    def __init__(self, arrays, shape=None):
        if isinstance(arrays, tuple):
            self._matrix = self._kind(tuple(_host(a) for a in arrays), shape=shape)
        else:
            assert sp.issparse(arrays)
            self._matrix = arrays
        assert self._matrix.dtype.char in "?fdFD", "Only bool, float32, float64, complex64 and complex128"
        self._memory = cuda_order.Memory()

    shape = property(lambda self: self._matrix.shape)
    dtype = property(lambda self: self._matrix.dtype)
    nnz = property(lambda self: self._matrix.nnz)
    format = property(lambda self: self._matrix.format)
    data = property(lambda self: ndarray(self._matrix.data, memory=self._memory))
    indices = property(lambda self: ndarray(self._matrix.indices, memory=self._memory))
    indptr = property(lambda self: ndarray(self._matrix.indptr, memory=self._memory))
    row = property(lambda self: ndarray(self._matrix.row, memory=self._memory))
    col = property(lambda self: ndarray(self._matrix.col, memory=self._memory))
    ndim = 2
    T = property(lambda self: _sparse(self._matrix.T))

    @property
    def has_canonical_format(self):
        return self._matrix.has_canonical_format

    @has_canonical_format.setter
    def has_canonical_format(self, value):
        self._matrix.has_canonical_format = value

    @property
    def has_sorted_indices(self):
        return self._matrix.has_sorted_indices

    @has_sorted_indices.setter
    def has_sorted_indices(self, value):
        self._matrix.has_sorted_indices = value

    def get(self):
        assert ndarray.may_synchronize, "the host reads from the device"
        return self._matrix.copy()

    def conj(self):
        return _sparse(self._matrix.conj())

    def asformat(self, format):
        return self if format == self.format else _sparse(self._matrix.asformat(format))

    def tocoo(self):
        return self.asformat("coo")

    def tocsr(self):
        return self.asformat("csr")

    def toarray(self):
        return ndarray(self._matrix.toarray(), memory=self._memory)

    def astype(self, dtype):
        return _sparse(self._matrix.astype(dtype))

    def __getitem__(self, index):
        return _sparse(self._matrix[_index(index)])

    def sort_indices(self):
        self._matrix.sort_indices()

    def sum_duplicates(self):
        self._matrix.sum_duplicates()

    def diagonal(self):
        return ndarray(self._matrix.diagonal())

    def __matmul__(self, other):
        cuda_order.launched("spmm", [self._memory, other._memory])
        if isinstance(other, sparray):
            return _sparse(self._matrix @ other._matrix)
        return _device(self._matrix @ _operand(other))

    dot = __matmul__


class csr_array(sparray):  # noqa: N801
    _kind = sp.csr_array

    @classmethod
    def _from_parts(cls, data, indices, indptr, shape, has_canonical_format=None):
        assert indices.dtype == indptr.dtype
        assert indptr.size == shape[0] + 1
        made = cls((data, indices, indptr), shape)
        made._matrix.has_canonical_format = has_canonical_format
        return made


class coo_array(sparray):  # noqa: N801
    """Made from values, and rows and columns."""

    def __init__(self, arrays, shape=None):
        if isinstance(arrays, tuple):
            data, places = arrays
            assert all(isinstance(place, ndarray) for place in places)
            arrays = sp.coo_array((_host(data), _host(places)), shape=shape)
        super().__init__(arrays)


class dia_array(sparray):  # noqa: N801
    _kind = sp.dia_array


class csr_matrix(sparray):  # noqa: N801
    _kind = sp.csr_matrix


KINDS = {"csr": csr_array, "dia": dia_array, "coo": coo_array}


def _sparse(matrix):
    return KINDS.get(matrix.format, sparray)(matrix)


def _stubs():
    """Return modules that the texts of CuPy's solvers import and that need a GPU."""
    names = ("cublas", "cuda.device", "_core", "_core._dtype", "linalg._util")
    made = {f"cupy.{name}": types.ModuleType(f"cupy.{name}") for name in names}
    made["cupy.cublas"].nrm2, made["cupy.cublas"].dotc = cupy.linalg.norm, cupy.vdot
    cupyx = types.ModuleType("cupyx")
    cusparse = types.ModuleType("cupyx.cusparse")
    cusparse.check_availability = lambda _: False
    backends = {
        name: types.ModuleType(name)
        for name in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.libs")
    }
    libs = backends["cupy_backends.cuda.libs"]
    libs.cublas, libs.cusparse = types.ModuleType("cublas"), types.ModuleType("cusparse")
    return {**made, **backends, "cupyx": cupyx, "cupyx.cusparse": cusparse}


# of a card, as CUDA's runtime says them
PROPERTIES = {
    "name": b"emulated",
    "totalGlobalMem": 8 << 30,
    "multiProcessorCount": 2,
    "l2CacheSize": 1 << 16,
}


def modules():
    """Return what `sys.modules` shall hold for the time of a test."""
    import cupyx as installed

    folder = Path(installed.__file__).parent / "scipy" / "sparse" / "linalg"
    made = {
        "cupy": cupy,
        "cupy.cuda": cupy.cuda,
        "cupy.cuda.runtime": cupy.cuda.runtime,
        "cupy.linalg": cupy.linalg,
        **_stubs(),
    }
    for name in ("scipy", "scipy.sparse", "scipy.sparse._util", "scipy.sparse._csr", "scipy.sparse.linalg"):
        made[f"cupyx.{name}"] = types.ModuleType(f"cupyx.{name}")
    sparse, linalg = made["cupyx.scipy.sparse"], made["cupyx.scipy.sparse.linalg"]
    made["cupyx.scipy.sparse._util"].isshape = lambda shape: len(shape) == 2
    made["cupyx.scipy.sparse._util"].isintlike = lambda x: isinstance(x, int)
    made["cupyx.scipy.sparse._csr"]._is_csr = lambda x: isinstance(x, csr_array)
    sparse.csr_array, sparse.csr_matrix, sparse.dia_array = csr_array, csr_matrix, dia_array
    sparse.coo_array = coo_array
    sparse.issparse = lambda value: isinstance(value, sparray)
    with _in_place(made):
        for name in ("_interface", "_iterative", "_solve"):
            full = f"cupyx.scipy.sparse.linalg.{name}"
            spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
            module = made[full] = sys.modules[full] = importlib.util.module_from_spec(spec)
            setattr(linalg, name, module)
            spec.loader.exec_module(module)
    for name in ("LinearOperator", "aslinearoperator"):
        setattr(linalg, name, getattr(linalg._interface, name))
    linalg.cg, linalg.lsmr = linalg._iterative.cg, linalg._solve.lsmr
    for name, function in (("ndimage", scipy.ndimage.correlate), ("signal", scipy.signal.fftconvolve)):
        made[f"cupyx.scipy.{name}"] = types.ModuleType(f"cupyx.scipy.{name}")
        setattr(made[f"cupyx.scipy.{name}"], function.__name__, _wrapped(function))
    runtime = cupy.cuda.runtime
    runtime.getDeviceProperties = lambda _: PROPERTIES
    runtime.runtimeGetVersion = runtime.driverGetVersion = lambda: 13000
    return made


@contextlib.contextmanager
def _in_place(made):
    """Put modules into `sys.modules`, each also as a name in the package that it belongs to."""
    before = dict(sys.modules)
    sys.modules.update(made)
    for name, module in made.items():
        package, _, own = name.rpartition(".")
        if package in made:
            setattr(made[package], own, module)
    try:
        yield
    finally:
        sys.modules.clear()
        sys.modules.update(before)
