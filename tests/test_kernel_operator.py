"""`KernelOperator`: the convolution as a function of its kernel, and the gradient."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla
from operator_cases import integers
from strategies import stand_for

import sparsetconv as stc
from sparsetconv._methods import work


def test_gradient_by_differences():
    """K.H @ r is the gradient of half the squared residual."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 7, 6)), rng.standard_normal((3, 2, 2, 3))
    K = stc.KernelOperator(x, w.shape, stride=2, padding=1, padding_mode="reflect")
    y = rng.standard_normal(K.shape[0])

    def loss(kernel):
        A = stc.conv_matrix(kernel, x.shape, stride=2, padding=1, padding_mode="reflect")
        return 0.5 * np.linalg.norm(A @ x.ravel() - y) ** 2

    gradient = K.H @ (K @ w.ravel() - y)
    for number in range(0, w.size, 5):
        step = np.zeros(w.size)
        step[number] = 1e-6
        slope = (loss(w + step.reshape(w.shape)) - loss(w - step.reshape(w.shape))) / 2e-6
        assert slope == pytest.approx(gradient[number], rel=1e-6)


def test_recovers_a_kernel():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((20, 21)), rng.standard_normal((4, 3))
    K = stc.KernelOperator(x, w.shape, padding="same", padding_mode="circular", flip=True)
    y = stc.conv_matrix(w, x.shape, padding="same", padding_mode="circular", flip=True) @ x.ravel()
    np.testing.assert_allclose(spla.lsqr(K, y, atol=1e-14, btol=1e-14)[0], w.ravel(), atol=1e-10)
    np.testing.assert_allclose(np.linalg.solve(K.gram().tosparse().toarray(), K.H @ y), w.ravel())


def test_input_is_a_read_only_copy():
    x = np.ones((5, 6))
    K = stc.KernelOperator(x, (2, 3))
    x[:] = 7
    assert (K.x == 1).all()
    assert not K.x.flags.writeable


def test_kernel_that_no_machine_holds():
    with pytest.raises(MemoryError, match="a kernel needs 8000000000000 bytes"):
        stc.KernelOperator(np.ones((5, 5)), (10**6, 10**6), padding=10**6)
    with pytest.raises(MemoryError, match="the kernel needs 8000000000000 bytes"):
        stc.fit_kernel([np.ones((5, 5))], [np.ones((5, 5))], (10**6, 10**6))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: stc.KernelOperator(np.ones(5, object), 2), TypeError, "x must be float32, .* got object"),
        (lambda: stc.KernelOperator(np.ones((5, 5)), 2), ValueError, "kernel_shape must have as many axes"),
        (lambda: stc.KernelOperator(np.ones(5), 6), ValueError, "kernel must fit into the padded input"),
        (lambda: stc.KernelOperator(np.ones(5), 2, output_shape=9), ValueError, "output_shape belongs to a transposed convolution, got 9"),
        (lambda: stc.KernelOperator(np.ones(5), 2, output_padding=1), ValueError, "output_padding belongs to a transposed convolution"),
        (lambda: stc.KernelOperator(np.ones(5), 2, transposed="yes"), TypeError, "transposed must be True or False"),
        (lambda: stc.KernelOperator(np.ones(5), 2).apply(np.ones(3)), ValueError, r"ends in input_shape \(2,\)"),
    ],
)  # fmt: skip
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()


# large enough that the loops are compiled; even sizes, everything different along the axes
LARGE = {
    "line": ((9,), (50_001,), {"padding": ((6, 3),), "stride": 2}),
    "picture": ((4, 5), (180, 150), {"padding": "same"}),
    "strides": ((5, 4), (300, 280), {"padding": ((3, 1), (2, 2)), "stride": (2, 3), "dilation": (1, 2)}),
    "channels": ((4, 3, 3, 2), (6, 60, 61), {"padding": 1, "groups": 2, "flip": True}),
    "volume": ((3, 4, 2), (30, 31, 32), {"padding": 1, "stride": (1, 2, 1)}),
    "many taps": ((24, 25), (90, 91), {"padding": ((9, 3), (7, 12))}),
    "many taps, strided": ((4, 2, 24, 20), (2, 90, 91), {"padding": 7, "stride": 2}),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("dtype", stand_for(["float32", "complex128", "int64"], ["float64"]))
@pytest.mark.parametrize("name", LARGE)
def test_compiled_directions(name, dtype, mode, transposed):
    """Against the operator in the input, which is proven elsewhere, and against the product's own adjoint."""
    kernel_shape, input_shape, options = LARGE[name]
    forward = stc.ConvOperator(
        integers(kernel_shape, dtype), input_shape, padding_mode=mode, method="direct", **options
    )
    assert forward.nnz > work.SMALL
    x = integers(forward.output_shape if transposed else input_shape, dtype, 1)
    extra = {"output_shape": input_shape[-len(forward.geometry.axes) :]} if transposed else {}
    K = stc.KernelOperator(x, kernel_shape, padding_mode=mode, transposed=transposed, **options, **extra)
    w = integers(kernel_shape, dtype, 2)
    A = stc.ConvOperator(w, input_shape, padding_mode=mode, method="direct", **options)
    expected = (A.T if transposed else A) @ x.ravel()
    y = integers(K.shape[0], dtype, 3)
    gradient = K.H @ y
    if np.dtype(dtype).kind == "i":
        np.testing.assert_array_equal(K @ w.ravel(), expected)
        assert np.vdot(y, K @ w.ravel()) == np.vdot(gradient, w.ravel())
        return
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(K @ w.ravel(), expected, rtol=0, atol=40 * eps * np.abs(expected).max())
    scale = np.linalg.norm(y) * np.linalg.norm(expected)
    assert abs(np.vdot(y, K @ w.ravel()) - np.vdot(gradient, w.ravel())) <= 40 * eps * scale
    # one weight at a time: the gradient is exact for these integers
    for place in (0, w.size // 2, w.size - 1):
        unit = np.zeros(w.size, dtype)
        unit[place] = 1
        exact = np.vdot(K @ unit, y)
        assert abs(gradient[place] - exact) <= 200 * eps * max(1.0, abs(gradient).max())


def test_several_kernels_at_once():
    rng = np.random.default_rng(0)
    K = stc.KernelOperator(rng.standard_normal((2, 100, 90)), (3, 2, 4, 3), padding=2)
    W, Y = rng.standard_normal((K.shape[1], 3)), rng.standard_normal((K.shape[0], 3))
    np.testing.assert_array_equal(K @ W, np.stack([K @ w for w in W.T], 1))
    np.testing.assert_array_equal(K.rmatmat(Y), np.stack([K.H @ y for y in Y.T], 1))
