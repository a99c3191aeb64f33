"""``"gemm"`` on a GPU: panels that fit the second-level cache, and few launches."""

from collections import Counter

import numpy as np
import pytest
from operator_cases import integers

import sparsetconv as stc
from sparsetconv._arrays import backend as backend_module

# name: kernel, input, options
LAYERS = {
    "layer": ((6, 4, 3, 3), (4, 10, 12), {"padding": 1}),
    "strided": ((6, 4, 3, 2), (4, 11, 12), {"stride": 2, "padding": 1, "padding_mode": "reflect"}),
    "groups": ((6, 2, 3, 3), (4, 9, 8), {"groups": 2, "dilation": 2}),
    "signal": ((5, 3, 4), (3, 50), {"stride": 3}),
    "points": ((6, 4, 1, 1), (4, 7, 5), {}),
}


@pytest.fixture
def cache(cp, monkeypatch):
    """Return what sets the size of the second-level cache of all devices."""
    if not cp.__version__.endswith("(emulated)"):
        pytest.skip("the cache of a card is as large as it is")
    from gpu import cuda_order

    def set_size(size):
        backend_module._CACHE_BYTES.clear()
        monkeypatch.setitem(cuda_order.ATTRIBUTES, "L2CacheSize", size)

    yield set_size
    backend_module._CACHE_BYTES.clear()


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("size", [1 << 9, 1 << 13, 1 << 16, 40 << 20])
@pytest.mark.parametrize("name", LAYERS)
def test_any_cache_gives_the_same_products(cp, cache, name, size, dtype):
    """From panels of one row to such that hold a whole batch, the last one not full."""
    cache(size)
    kernel_shape, input_shape, options = LAYERS[name]
    kernel = integers(kernel_shape, dtype)
    device, host = (
        stc.ConvOperator(k, input_shape, method="gemm", **options) for k in (cp.asarray(kernel), kernel)
    )
    for ours, theirs in ((device, host), (device.H, host.H)):
        for batch in (1, 7):
            x = integers((batch, *theirs.input_shape), dtype, 1)
            np.testing.assert_array_equal(ours.apply(cp.asarray(x)).get(), theirs.apply(x))


def launches(cp, operator, batch):
    """Count what a product launches."""
    from gpu import cuda_order

    x = cp.ones((batch, *operator.input_shape), operator.dtype)
    operator.apply(x)
    with cuda_order.watched() as seen:
        operator.apply(x)
    return Counter(what for what, _ in seen)


def test_launches(cp, cache):
    """All taps are one copy, and small items share a panel."""
    cache(40 << 20)
    layer = stc.ConvOperator(cp.ones((6, 4, 3, 3), "float32"), (4, 10, 12), method="gemm")
    # the panel, its product with the kernel; of several items the results are put in their order
    assert launches(cp, layer, 1) == {"copy": 1, "matmul": 1}
    assert launches(cp, layer, 1000) == {"copy": 2, "matmul": 1}
    # zeros around, then the same
    assert launches(cp, layer.H, 1) == {"zeros": 1, "copy": 2, "matmul": 1}
    points = stc.ConvOperator(cp.ones((6, 4, 1, 1), "float32"), (4, 10, 12), method="gemm")
    assert launches(cp, points, 1) == {"matmul": 1}
    # a phase of a stride reads its own taps; phases with as many taps are one product
    halved = stc.ConvOperator(cp.ones((6, 4, 4, 4), "float32"), (4, 10, 12), stride=2, method="gemm")
    assert launches(cp, halved.H, 50) == {"zeros": 1, "copy": 3, "matmul": 1}


def test_panels_fit_half_of_the_cache(cp, cache, monkeypatch):
    size = 1 << 16
    cache(size)
    layer = stc.ConvOperator(cp.ones((6, 4, 3, 3), "float32"), (4, 10, 12), method="gemm")
    direction, panels = layer._method._forward, []
    panel = direction._panel
    monkeypatch.setattr(direction, "_panel", lambda *args: panels.append(panel(*args)) or panels[-1])
    layer.apply(cp.ones((9, 4, 10, 12), "float32"))
    # of an item 80 results of 36 terms and 6 channels
    item = 80 * (36 + 6) * 4
    sizes = [array.nbytes // 36 * (36 + 6) for array in panels]
    assert max(sizes) <= size // 2 < max(sizes) + item
    assert sizes == [2 * item] * 4 + [item]


def test_the_cache_is_asked_for_once(cp, cache, monkeypatch):
    cache(1 << 20)
    backend = backend_module.cupy_backend()
    assert backend.cache_bytes() == 1 << 20
    monkeypatch.setattr(cp.cuda.Device, "attributes", None)
    assert backend.cache_bytes() == 1 << 20
