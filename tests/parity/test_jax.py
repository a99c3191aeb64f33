"""JAX's convolutions: its documented meaning, written out in NumPy, against the matrices; and JAX against both.

``lax.conv_general_dilated`` correlates an input between whose samples ``lhs_dilation - 1`` zeros stand, padded (or
cropped) by ``padding``. ``lax.conv_transpose`` is that with ``lhs_dilation=strides``: its number pads belong to the
dilated input, its words to the forward convolution. Nothing here is taken from the package but what is tested.
"""

import itertools
import math
import pickle
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest

import sparsetconv as stc


class Case(NamedTuple):
    taps: tuple
    sizes: tuple
    strides: tuple
    # "SAME", "VALID", or (low, high) for each axis of the dilated input
    padding: object
    dilation: tuple


CASES = {
    # the usual doubling, an even kernel
    "same": Case((4, 3), (5, 6), (2, 2), "SAME", (1, 1)),
    # an odd total of padding
    "same-odd": Case((5, 4), (4, 3), (2, 3), "SAME", (1, 1)),
    # a kernel shorter than the stride: samples that no tap reaches
    "same-short": Case((2, 3), (4, 3), (3, 4), "SAME", (1, 1)),
    "valid": Case((4, 3), (5, 6), (2, 3), "VALID", (1, 1)),
    "valid-short": Case((2, 1), (3, 4), (3, 3), "VALID", (1, 1)),
    # dilation stretches the kernel
    "same-dilation": Case((3, 4), (5, 4), (2, 2), "SAME", (2, 1)),
    "valid-dilation": Case((3, 2), (4, 4), (2, 3), "VALID", (2, 3)),
    # pads of the dilated input: less, as much as, and more than the kernel's extent
    "pads": Case((4, 3), (5, 6), (2, 3), ((1, 2), (0, 1)), (1, 1)),
    "pads-wide": Case((2, 3), (4, 5), (3, 2), ((4, 1), (2, 5)), (1, 1)),
    "pads-dilation": Case((3, 2), (4, 5), (2, 2), ((3, 5), (1, 2)), (2, 2)),
    # one axis
    "1d": Case((4,), (6,), (3,), "SAME", (1,)),
}
C_IN, C_OUT = 2, 3


def draw(shape, seed):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


def operands(case):
    """Return the input ``(n..., c_in)`` and the kernel ``(k..., c_in, c_out)``, JAX's default layouts."""
    return draw((*case.sizes, C_IN), 1), draw((*case.taps, C_IN, C_OUT), 2)


def word_pads(word, taps, stride):
    """The pads that a word means, as JAX's documentation of ``conv_transpose`` has them from TensorFlow's sizes.

    ``SAME`` gives ``n * stride`` outputs, ``VALID`` ``n * stride + max(k - stride, 0)``.
    """
    if word == "SAME":
        total = taps + stride - 2
        before = taps - 1 if stride > taps - 1 else math.ceil(total / 2)
    else:
        total = taps + stride - 2 + max(taps - stride, 0)
        before = taps - 1
    return before, total - before


def emulated(case, flip=False):
    """Insert zeros, pad or crop, correlate with the dilated kernel: loops over what is documented."""
    x, w = operands(case)
    d = len(case.sizes)
    if flip:
        w = w[(slice(None, None, -1),) * d]
    extents = [dil * (k - 1) + 1 for dil, k in zip(case.dilation, case.taps, strict=True)]
    pads = case.padding
    if isinstance(pads, str):
        pads = [word_pads(pads, e, s) for e, s in zip(extents, case.strides, strict=True)]
    dilated = np.zeros((*((n - 1) * s + 1 for n, s in zip(case.sizes, case.strides, strict=True)), C_IN))
    dilated[tuple(slice(None, None, s) for s in case.strides)] = x
    dilated = np.pad(dilated, [*pads, (0, 0)])
    outputs = [n - e + 1 for n, e in zip(dilated.shape, extents, strict=False)]
    y = np.zeros((*outputs, C_OUT))
    for o in itertools.product(*map(range, outputs)):
        for t in itertools.product(*map(range, case.taps)):
            place = tuple(a + b * dil for a, b, dil in zip(o, t, case.dilation, strict=True))
            y[o] += dilated[place] @ w[t]
    return y


def ours(case, flip=True):
    """What the documentation says to write here."""
    x, w = operands(case)
    d = len(case.sizes)
    kernel = w.transpose(d, d + 1, *range(d))
    extents = [dil * (k - 1) + 1 for dil, k in zip(case.dilation, case.taps, strict=True)]
    options = {"stride": case.strides, "dilation": case.dilation, "flip": flip}
    if case.padding == "SAME":
        options |= {"padding": "same"}
    elif case.padding == "VALID":
        rows = zip(case.sizes, case.strides, extents, strict=True)
        options |= {"padding": "valid", "output_shape": [n * s + max(e - s, 0) for n, s, e in rows]}
    else:
        rows = zip(extents, case.padding, strict=True)
        options |= {"padding": [(e - 1 - low, e - 1 - high) for e, (low, high) in rows]}
    small = np.moveaxis(x, -1, 0)
    T = stc.ConvTransposeOperator(kernel, small.shape, **options)
    y = (stc.conv_transpose_matrix(kernel, small.shape, **options) @ small.ravel()).reshape(T.output_shape)
    np.testing.assert_array_equal(T.apply(small), y)
    return np.moveaxis(y, 0, -1)


@pytest.mark.parametrize("name", CASES)
def test_conv_transpose_as_documented(name):
    expected = emulated(CASES[name])
    assert expected.any()
    np.testing.assert_array_equal(ours(CASES[name]), expected, strict=True)


@pytest.mark.parametrize("name", CASES)
def test_transpose_kernel_as_documented(name):
    # transpose_kernel=True reverses the spatial axes, so that flip=True is not needed
    np.testing.assert_array_equal(
        ours(CASES[name], flip=False), emulated(CASES[name], flip=True), strict=True
    )


# JAX runs in a process of its own: it minds forks, and tests here fork
CHILD = """
import inspect, pickle, sys
import jax
jax.config.update("jax_enable_x64", True)
from jax import lax

jobs = pickle.load(sys.stdin.buffer)
consistent = "use_consistent_padding" in inspect.signature(lax.conv_transpose).parameters
results = {}
for key, (function, x, w, arguments) in jobs.items():
    if arguments.get("use_consistent_padding") and not consistent:
        continue
    results[key] = jax.numpy.asarray(getattr(lax, function)(x, w, **arguments)).__array__()
pickle.dump(results, sys.stdout.buffer)
"""


def jobs():
    """Return what JAX is asked for: a function, its operands, its arguments."""
    asked = {}
    for name, case in CASES.items():
        x, w = operands(case)
        options = {"strides": case.strides, "padding": case.padding, "rhs_dilation": case.dilation}
        asked["transpose", name] = "conv_transpose", x[None], w, options
        # kernels (k..., c_out, c_in) then
        turned = w.swapaxes(-1, -2)
        asked["kernel", name] = "conv_transpose", x[None], turned, {**options, "transpose_kernel": True}
        if not isinstance(case.padding, str):
            asked["consistent", name] = (
                "conv_transpose",
                x[None],
                w,
                {**options, "use_consistent_padding": True},
            )
    for name, (x, w, options, _) in FORWARD.items():
        asked["forward", name] = "conv_general_dilated", x[None], w, options
    return asked


FORWARD = {
    # window strides, pads on each side, dilation; (c, n...) and (c_out, c_in, k...), JAX's default here
    "pads": (
        draw((2, 9, 8), 3),
        draw((4, 2, 4, 3), 4),
        {"window_strides": (2, 3), "padding": ((1, 2), (0, 3)), "rhs_dilation": (1, 2)},
        {"stride": (2, 3), "padding": ((1, 2), (0, 3)), "dilation": (1, 2)},
    ),
    "same": (
        draw((2, 9, 8), 5),
        draw((4, 2, 4, 3), 6),
        {"window_strides": (2, 3), "padding": "SAME"},
        {"stride": (2, 3), "padding": "same"},
    ),
    "same-lower": (
        draw((2, 9), 7),
        draw((4, 2, 4), 8),
        {"window_strides": (1,), "padding": "SAME_LOWER"},
        {"padding": "same_lower"},
    ),
    "groups": (
        draw((4, 9, 8), 9),
        draw((6, 2, 4, 3), 10),
        {"window_strides": (1, 1), "padding": "VALID", "feature_group_count": 2},
        {"padding": "valid", "groups": 2},
    ),
}


@pytest.fixture(scope="module")
def jax():
    if find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=pickle.dumps(jobs()), stdout=subprocess.PIPE, check=True
    )
    return pickle.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_conv_transpose(jax, name):
    np.testing.assert_array_equal(ours(CASES[name]), jax["transpose", name][0], strict=True)
    np.testing.assert_array_equal(ours(CASES[name], flip=False), jax["kernel", name][0], strict=True)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not isinstance(case.padding, str)])
def test_conv_transpose_with_consistent_padding(jax, name):
    # the pads are then the forward convolution's, as here
    if ("consistent", name) not in jax:
        pytest.skip("this JAX does not know use_consistent_padding")
    case = CASES[name]
    x, w = operands(case)
    d = len(case.sizes)
    T = stc.ConvTransposeOperator(
        w.transpose(d, d + 1, *range(d)), (C_IN, *case.sizes),
        stride=case.strides, padding=case.padding, dilation=case.dilation, flip=True,
    )  # fmt: skip
    expected = np.moveaxis(jax["consistent", name][0], -1, 0)
    np.testing.assert_array_equal(T.apply(np.moveaxis(x, -1, 0)), expected, strict=True)


@pytest.mark.parametrize("name", FORWARD)
def test_conv_general_dilated(jax, name):
    x, w, _, options = FORWARD[name]
    expected = jax["forward", name][0]
    np.testing.assert_array_equal(stc.ConvOperator(w, x.shape, **options).apply(x), expected, strict=True)
