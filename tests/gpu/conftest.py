"""Two devices on which the same tests run: CuPy emulated on the CPU, and a GPU where there is one."""

import sys

import pytest

from sparsetconv._arrays import backend


def gpu_reason():
    """Say why nothing can run on a GPU here, or return None."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    return None if cupy.is_available() else "CuPy finds no GPU"


@pytest.fixture(params=[pytest.param("emulated"), pytest.param("gpu", marks=pytest.mark.gpu)])
def cp(request, monkeypatch):
    """Return CuPy: the real one on a GPU, or the emulation in its place."""
    backend._imported_cupy.cache_clear()
    if request.param == "gpu":
        reason = gpu_reason()
        if reason is not None:
            pytest.skip(reason)
        import cupy

        yield cupy
    else:
        pytest.importorskip("cupy", reason="the emulation uses texts of CuPy; pip install cupy-cuda13x")
        from gpu import cuda_order, cupy_on_cpu

        cuda_order.reset()
        for name, module in cupy_on_cpu.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
        yield cupy_on_cpu.cupy
    backend._imported_cupy.cache_clear()
