"""The measured rates of a CPU, and the length of its vectors.

Rates of multiplications are for float32; those of other dtypes are proportional to the item size. Costs that
depend on the vector length use that of the processor at hand.
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np

from sparsetconv._methods.work import Rates

CPU = Rates(
    call=1e-5,
    byte=0.09e-9,
    multiply=0.0125e-9,
    word=1,
    gemm_calls=1,
    gemm_multiply=0.009e-9,
    integer_gemm=30,
    panel_byte=0.25e-9,
    panel_copy=2e-6,
    panel_line=16,
    panel_apart=3,
    transform_byte=0.025e-9,
)


@cache
def vector_bytes() -> int:
    """Return the bytes of a vector of the compiled loops, as in ``emit``, but without importing numba."""
    asked = os.environ.get("NUMBA_CPU_FEATURES")
    if asked is not None:
        known = {name[1:] for name in asked.split(",") if name.startswith("+")}
    else:
        features: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
        known = {name.lower() for name, there in features.items() if there}
    if "avx512f" in known:
        return 64
    return 32 if "avx2" in known else 16
