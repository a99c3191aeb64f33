"""The CUDA sources as texts: NVRTC compiles them without a GPU, sanitizers watch them on the CPU."""

import itertools
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gpu_predictions
import numpy as np
import pytest
from hour import limits
from operator_cases import FLOATS

import sparsetconv as stc
from sparsetconv._arrays import cuda
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._arrays.layout import oriented_weights
from sparsetconv._assembly.cuda import shared_constants
from sparsetconv._methods.cuda.direct import CudaDirectMethod
from sparsetconv._resize.cuda import SIZES

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
try:
    import ml_dtypes

    HALF = ("float16", np.dtype(ml_dtypes.bfloat16))
except ImportError:
    HALF = ("float16",)
ARCHITECTURES = (75, 80, 90, 100)


# bytes that a kernel may spill: a register or two
MOST_SPILLED = 16


@pytest.fixture
def compiled():
    """Return what compiles a text for a card that is not there."""
    pytest.importorskip("cupy", reason="NVRTC is called through CuPy")
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"NVRTC is not installed (pip install nvidia-cuda-nvrtc): {error}")
    return gpu_predictions.compiled


def matrix_sources():
    """Yield (name, sources, constants) of what writes matrices."""
    for ndim in (1, 3):
        for index in ("int32", "int64"):
            constants = {**shared_constants(ndim), "INDEX": cuda.type_name(np.dtype(index))}
            yield f"pattern-{ndim}-{index}", ("matrix.cuh", "pattern.cu"), constants
        for name in FLOATS:
            dtype = np.dtype(name)
            value = {**shared_constants(ndim), "VALUE": cuda.type_name(dtype)}
            yield f"product-{ndim}-{name}", ("matrix.cuh", "product_values.cu"), value
            for sliding in "01":
                constants = {**value, "SUM": cuda.sum_name(dtype), "SLIDING": sliding}
                sources = "matrix.cuh", "convolution_values.cu"
                yield f"convolution-{ndim}-{name}-{sliding}", sources, constants
    for name in FLOATS:
        dtype = np.dtype(name)
        factor = np.zeros(0, dtype).real.dtype
        constants = {"VALUE": cuda.type_name(dtype), "FACTOR": cuda.type_name(factor), "ID": "unsigned int"}
        constants["Sizes"] = SIZES
        yield f"along_axis-{name}", ("along_axis.cu",), constants


SHAPES = {
    "plane": ((3, 3), {"padding": 1}), "strided": ((4, 21), {"stride": (2, 3), "dilation": (3, 2)}),
    "line": ((9,), {"stride": 2}), "volume": ((3, 5, 2), {}), "far": ((3, 3), {"dilation": 90}),
    "coarse": ((8, 8), {"stride": 4}),
}  # fmt: skip


def stencil_sources():
    """Yield the stencil for all dtypes, and for shapes that take each of its branches."""
    for dtype in (*FLOATS, *INTEGERS, *HALF):
        for shape, (taps, options) in SHAPES.items():
            if shape != "plane" and dtype not in ("float32", "complex128"):
                continue
            # the longest programs, in the largest type, take half a minute
            if shape in ("volume", "coarse") and dtype != "float32":
                continue
            geometry = stc.ConvGeometry((200,) * len(taps), taps, padding_mode="reflect", **options)
            weights = oriented_weights(np.ones(taps, dtype), 1, False, False)
            method = CudaDirectMethod(geometry, weights, NUMPY)
            for transposed in (False, True):
                problem = method.problem(1, transposed, np.dtype(dtype))
                # the others beside the first two differ in one number
                for launch in method.launches(problem, np.dtype(dtype))[:2]:
                    way = "transposed" if transposed else "forward"
                    yield f"{launch.name}-{dtype}-{shape}-{way}", launch.sources, launch.constants


SOURCES = {name: case for name, *case in (*matrix_sources(), *stencil_sources())}


@pytest.mark.parametrize("name", SOURCES)
def test_nvrtc(compiled, name):
    sources, constants = SOURCES[name]
    text = cuda.assembled_source(sources, tuple(constants.items()))
    with ThreadPoolExecutor(2) as pool:
        for code, taken in pool.map(compiled, itertools.repeat(text), ARCHITECTURES):
            assert code
            assert taken.spilled <= MOST_SPILLED
            assert taken.registers * int(np.prod(threads_of(constants))) <= 1 << 16


def threads_of(constants):
    """Return the threads of a block along each axis."""
    return [int(n) for n in re.findall(r"\d+", constants.get("THREADS", "{128}"))]


def test_nvrtc_finds_errors(compiled):
    with pytest.raises(RuntimeError, match="undefined"):
        compiled('extern "C" __global__ void f(float* x) { x[0] = y; }', 90)
    with pytest.raises(RuntimeError, match="warning"):
        compiled('extern "C" __global__ void f(float* x) { int unused; x[0] = 1; }', 90)


@pytest.mark.parametrize(
    ("sources", "name", "member"),
    [
        pytest.param(
            ("places.cuh", "stencil.cuh", "gather.cu"), "gather-float32-far-forward", "lead", id="axis"
        ),
        pytest.param(("matrix.cuh", "pattern.cu"), "pattern-1-int32", "period", id="segment"),
        pytest.param(("along_axis.cu",), "along_axis-float32", "trail", id="sizes"),
    ],
)
def test_a_member_that_a_record_lacks_does_not_compile(compiled, sources, name, member):
    """Structs are made of the records: a name that one side lacks is an error, not a number that has moved."""
    constants = {key: without(value, member) for key, value in SOURCES[name][1].items()}
    text = cuda.assembled_source(sources, tuple(constants.items()))
    with pytest.raises(RuntimeError, match=member):
        compiled(text, 80)


def without(value, member):
    """Return a record, and those that it holds, without a member; all else as it is."""
    if isinstance(value, str):
        return value
    kinds = {name: value[name] for name in value.names if name != member}
    return np.dtype(
        [
            (name, without(kind.base, member), kind.shape)
            if kind.base.names
            else (name, kind.base, kind.shape)
            for name, kind in kinds.items()
        ]
    )


@pytest.mark.parametrize("number", ["float", "double"])
def test_kernels_that_measure_a_card(compiled, number):
    code, taken = compiled(limits.chains_source(number), 90)
    assert code
    assert not taken.spilled
    assert compiled(limits.NOTHING, 90)[0]


def test_predictions_are_above_the_floor():
    for _, dtype, own, _ in gpu_predictions.tiles():
        found = gpu_predictions.predict(own, dtype)
        assert found.floor <= found.seconds < 10 * found.floor


def test_every_source_is_compiled():
    package = Path(stc.__file__).parent
    compiled = {source for sources, _ in SOURCES.values() for source in sources}
    # what a type brings along
    compiled |= {"half.cuh" for _, constants in SOURCES.values() if constants.get("VALUE") == "float16"}
    assert sorted(path.name for path in package.rglob("*.cu*")) == sorted(compiled)


def test_launches_that_are_too_large():
    with pytest.raises(ValueError, match=r"a CUDA launch has at most 2147483647 blocks, got 2147483648"):
        cuda.launch(None, 2**31, (128,), ())


WATCHED = """
import sys
import numpy as np
sys.path[:0] = {path!r}
from gpu import cupy_on_cpu
sys.modules.update(cupy_on_cpu.modules())
import cupy as cp
import sparsetconv as stc
from sparsetconv._methods.cuda import direct, tiles
direct.MANY_THREADS = tiles.MANY_THREADS = 1
cases = [((3, 2), (70, 5), dict(padding=3, padding_mode="symmetric", stride=2)), ((9,), (700,), dict(padding=4)),
         ((4, 2, 3, 3), (2, 30, 6), dict(padding=1, padding_mode="circular")),
         ((3, 3), (9, 250), dict(dilation=(1, 120)))]
for shape, size, options in cases:
    kernel = cp.ones(shape, "float32")
    A = stc.ConvOperator(kernel, size, method="direct", **options)
    A.rmatvec(A @ cp.ones(A.shape[1], "float32"))
    A.tosparse(), A.H.tosparse()
    stc.conv_matrix(kernel, size, rows=slice(7, 60), **options)
for transposed in (False, True):
    stc.KernelOperator(cp.ones((9, 7), "float32"), (3, 2), padding=1, transposed=transposed).tosparse()
R = stc.ResizeOperator((9, 8), scale=2, dtype="float32", device="cupy")
R.rmatvec(R @ cp.ones(72, "float32"))
R.tosparse()
if {broken}:
    pointers = cp.ones(10)
    module = cp.RawModule(code='extern "C" __global__ void f(double* x) {{ x[10 + threadIdx.x] = 1; }}', options=("--std=c++17",))
    module.get_function("f")((1,), (1,), (pointers,))
print("clean")
"""


@pytest.mark.parametrize("broken", [False, True], ids=["ours", "planted"])
def test_address_sanitizer(broken):
    """No kernel reads or writes outside its arrays; one that does is found."""
    pytest.importorskip("cupy", reason="the emulation uses texts of CuPy")
    library = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    root = Path(__file__).parents[2]
    code = WATCHED.format(path=[str(root), str(root / "tests")], broken=broken)
    environment = {
        **os.environ, "LD_PRELOAD": library, "SPARSETCONV_ASAN": "1",
        "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc",
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert ("clean" in result.stdout) is not broken, result.stderr[-3000:]
    assert ("heap-buffer-overflow" in result.stderr) is broken
