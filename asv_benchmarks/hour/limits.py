"""The card's limits: a copy within its memory, multiply-adds, launches of an empty kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .lab import Lab, Timing

OPTIONS = ("--std=c++17",)
# eight chains that do not wait for each other, in each of as many threads as fill the card several times
CHAINS, STEPS, THREADS, BLOCKS_EACH = 8, 32, 256, 16
FMA = r"""
extern "C" __global__ void chains(const NUMBER* in, NUMBER* out, long long loops) {
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    // the factor keeps all chains finite
    const NUMBER factor = (NUMBER)0.999, addend = in[thread];
    NUMBER sums[CHAINS];
    #pragma unroll
    for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = addend + chain;
    for (long long loop = 0; loop < loops; ++loop) {
        #pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            #pragma unroll
            for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = sums[chain] * factor + addend;
        }
    }
    NUMBER sum = 0;
    #pragma unroll
    for (int chain = 0; chain < CHAINS; ++chain) sum += sums[chain];
    out[thread] = sum;
}
"""
NOTHING = 'extern "C" __global__ void nothing(long long unused) {}'


def copy_seconds(lab: Lab, nbytes: int) -> Timing:
    """Return the time of reading and writing ``nbytes`` in all, in other places each time."""
    cp, numbers = lab.cp, nbytes // 4
    pairs = [
        (lab.random((numbers,), "float32", seed), cp.empty(numbers, "float32"))
        for seed in range(lab.sets(2 * nbytes))
    ]
    return lab.timed(lambda pair: cp.copyto(pair[1], pair[0]), pairs)


def chains_source(number: str) -> str:
    """Return the source of the kernel of multiply-adds, for a type of CUDA."""
    names = {"NUMBER": number, "CHAINS": CHAINS, "STEPS": STEPS}
    return "\n".join([*(f"#define {name} {value}" for name, value in names.items()), FMA])


def fma_seconds(lab: Lab, dtype: str) -> tuple[Timing, int]:
    """Return the time of many multiply-adds, and their number."""
    loops = 2 if lab.toy else 256
    blocks = 2 if lab.toy else lab.properties["multiProcessorCount"] * BLOCKS_EACH
    code = chains_source({"float32": "float", "float64": "double"}[dtype])
    kernel = lab.cp.RawModule(code=code, options=OPTIONS).get_function("chains")
    out = lab.cp.empty(blocks * THREADS, dtype)
    inputs = [lab.random((blocks * THREADS,), dtype, seed) for seed in range(2)]
    timing = lab.timed(lambda x: kernel((blocks,), (THREADS,), (x, out, np.int64(loops))), inputs)
    if not bool(lab.cp.isfinite(out).all()):
        msg = "chains of multiplications overflowed: their time says nothing"
        raise AssertionError(msg)
    return timing, blocks * THREADS * CHAINS * STEPS * loops


def empty_kernel(lab: Lab) -> Any:
    """Return a call that launches an empty kernel."""
    kernel = lab.cp.RawModule(code=NOTHING, options=OPTIONS).get_function("nothing")
    return lambda: kernel((1,), (32,), (np.int64(0),))
