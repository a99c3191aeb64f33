"""CUDA sources on the CPU: the same text, compiled by g++ behind a short shim, thread after thread.

Threads of a block that meet at barriers take turns. There are no warp operations. Undefined behaviour ends the
process; with ``SPARSETCONV_ASAN=1`` so does an access outside an array (the process then needs libasan preloaded).
"""

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

# Compiled once, which takes longer than most kernels.
HEADERS = r"""
#include <complex>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <csetjmp>
#include <utility>
#include <vector>
#include <ucontext.h>
"""
SHIM = r"""
using std::complex;
#define __global__ static
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
struct Three { unsigned x, y, z; };
static Three threadIdx, blockIdx, blockDim, gridDim;
template <class... Types, std::size_t... Numbers>
static void call(void (*kernel)(Types...), void** arguments, std::index_sequence<Numbers...>) {
    kernel(*(Types*)arguments[Numbers]...);
}
static void each_thread(const unsigned* block, unsigned number) {
    threadIdx = {number % block[0], number / block[0] % block[1], number / block[0] / block[1]};
}
"""

# Kernels without barriers: one thread after the other.
SIMPLE = r"""
template <class... Types>
static void launch(void (*kernel)(Types...), const unsigned* grid, const unsigned* block, void** arguments) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (unsigned b = 0; b < grid[0]; ++b)
        for (unsigned n = 0; n < block[0] * block[1] * block[2]; ++n) {
            blockIdx = {b, 0, 0};
            each_thread(block, n);
            call(kernel, arguments, std::index_sequence_for<Types...>{});
        }
}
"""

# Kernels with barriers: every thread of a block has a stack of its own and runs up to the next barrier. From one
# barrier to the next the order is reversed, so that who reads what another has not yet written is found out.
# Shared memory is full of NaN bytes when a block begins.
BARRIERS = r"""
struct Fiber {
    ucontext_t context;
    jmp_buf place;
    std::vector<char> stack;
    bool begun, done;
    unsigned barriers;
};
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static jmp_buf scheduler_place;
static Fiber* running;
#ifdef __SANITIZE_ADDRESS__
// the sanitizer follows contexts, and not jumps from one stack to another
static void leave() { swapcontext(&running->context, &scheduler); }
static void resume() { swapcontext(&scheduler, &running->context); }
#else
// a context asks the system for its signals, which takes longer than most threads' work
static void leave() {
    if (!_setjmp(running->place)) _longjmp(scheduler_place, 1);
}
static void resume() {
    if (_setjmp(scheduler_place)) return;
    if (running->begun) _longjmp(running->place, 1);
    running->begun = true;
    setcontext(&running->context);
}
#endif
static int any_now, any_before;
static void (*body)();
static void enter() {
    body();
    running->done = true;
    leave();
}
static void __syncthreads() {
    ++running->barriers;
    leave();
}
static int __syncthreads_or(int predicate) {
    any_now |= predicate != 0;
    __syncthreads();
    return any_before;
}
// Copies that go past the registers: what has not been waited for has not been copied.
struct Copy {
    void* to;
    const void* from;
    std::size_t size;
};
static std::vector<std::vector<Copy>> under_way;
template <class T>
static void copy_later(T* to, const T* from, bool there) {
    under_way[threadIdx.x].push_back({to, there ? from : nullptr, sizeof(T)});
}
static void wait_for_copies() {
    for (const Copy& copy : under_way[threadIdx.x])
        if (copy.from) std::memcpy(copy.to, copy.from, copy.size);
        else std::memset(copy.to, 0, copy.size);
    under_way[threadIdx.x].clear();
}
static void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}
// a block's own, of exactly the size that is asked for, so that the address sanitizer knows where it ends
static unsigned char* shared_now;
static unsigned char* shared_memory(std::size_t size) {
    if (!shared_now) {
        shared_now = (unsigned char*)std::malloc(size);
        std::memset(shared_now, 0xff, size);
    }
    return shared_now;
}
template <class... Types>
static void launch(void (*kernel)(Types...), const unsigned* grid, const unsigned* block, void** arguments) {
    static void (*own)(Types...);
    static void** given;
    own = kernel, given = arguments;
    body = [] { call(own, given, std::index_sequence_for<Types...>{}); };
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned threads = block[0] * block[1] * block[2];
    fibers.resize(threads);
    under_way.resize(threads);
    for (unsigned b = 0; b < grid[0]; ++b) {
        blockIdx = {b, 0, 0};
        for (Fiber& fiber : fibers) {
            fiber.stack.resize(1 << 16);
            fiber.begun = fiber.done = false;
            fiber.barriers = 0;
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.data();
            fiber.context.uc_stack.ss_size = fiber.stack.size();
            fiber.context.uc_link = &scheduler;
            makecontext(&fiber.context, enter, 0);
        }
        bool backward = false;
        for (unsigned left = threads; left; backward = !backward) {
            any_before = any_now;
            any_now = 0;
            for (unsigned n = 0; n < threads; ++n) {
                const unsigned number = backward ? threads - 1 - n : n;
                Fiber& fiber = fibers[number];
                if (fiber.done) fail("a thread has ended before a barrier that others wait at");
                running = &fiber;
                each_thread(block, number);
                resume();
                if (fiber.done) --left;
            }
            if (left && left < threads) fail("a thread has ended before a barrier that others wait at");
            for (Fiber& fiber : fibers)
                if (fiber.barriers != fibers[0].barriers) fail("threads are at different barriers");
        }
        std::free(shared_now);
        shared_now = nullptr;
    }
}
"""
SHARED = re.compile(r"alignas\(16\) __shared__ unsigned char (\w+)\[(\w+)\];")
FLAGS = [
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-U_FORTIFY_SOURCE",
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
        self.name = name
        body = code.replace('extern "C" __global__', "__global__").replace("#include <cupy/complex.cuh>", "")
        entry = (
            'extern "C" __attribute__((visibility("default"))) void run(const unsigned* grid, const unsigned* block, void** arguments)'
            f" {{ launch({name}, grid, block, arguments); }}"
        )
        body = SHARED.sub(r"unsigned char* const \1 = shared_memory(\2);", body)
        assert "__shared__" not in body, "shared memory is one array of bytes here"
        launcher = BARRIERS if "__syncthreads" in body else SIMPLE
        self._run = ctypes.CDLL(str(compiled("\n".join([SHIM, launcher, body, entry])))).run

    def __call__(self, grid, block, arguments):
        # a card refuses to launch nothing
        assert all(number > 0 for number in (*grid, *block)), (grid, block)
        kept = [_by_value(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(kept))(*(pointer for pointer, _ in kept))
        self._run(_three(grid), _three(block), pointers)


def compiled(source):
    """Return a shared library of a text, compiled unless it has been before."""
    library = CACHE / f"{_name(source)}.so"
    if not library.exists():
        headers = _headers()
        _compile(source, library, "-include", str(headers))
    return library


def _headers():
    """Return the path of the headers, of which the compiled form lies beside it."""
    path = CACHE / f"{_name(HEADERS)}.hpp"
    made = path.with_name(path.name + ".gch")
    if not made.exists():
        _compile(HEADERS, made, "-x", "c++-header")
    return path


def _name(source):
    return hashlib.sha256(" ".join([*FLAGS, source]).encode()).hexdigest()[:32]


def _compile(source, target, *options):
    """Compile a text to a file; several processes may do so at once."""
    CACHE.mkdir(mode=0o700, exist_ok=True)
    text, made = (CACHE / f"{target.name}-{os.getpid()}.{kind}" for kind in ("cpp", "made"))
    text.write_text(source)
    result = subprocess.run(
        ["g++", *FLAGS, *options, str(text), "-o", str(made)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[:4000]
    made.rename(target)
    text.unlink()


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
