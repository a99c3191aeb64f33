"""Where arrays live: conversion, mixing, what is missing, memory, streams."""

import sys

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv._arrays import backend as backend_module

KERNEL = np.array([[1.0, 2.0, -3.0], [4.0, 0.0, 5.0]])


def operators(cp):
    """Yield operators on the device, and the same on the CPU."""
    for kernel in (KERNEL, KERNEL + 1j):
        for method in ("auto", "fft"):
            options = {"padding": "same", "padding_mode": "reflect", "method": method}
            yield tuple(stc.ConvOperator(k, (6, 7), **options) for k in (cp.asarray(kernel), kernel))
        device, host = (stc.ConvTransposeOperator(k, (4, 5), stride=2) for k in (cp.asarray(kernel), kernel))
        yield from ((device, host), (device.H, host.H), (device.gram(), host.gram()))
    device, host = (stc.KernelOperator(k, (2, 2)) for k in (cp.asarray(KERNEL), KERNEL))
    yield from ((device, host), (device.H, host.H))
    yield tuple(stc.ResizeOperator((4, 6), scale=2, device=device) for device in ("cupy", "numpy"))


def test_to_device_and_back(cp):
    for device, host in operators(cp):
        x = np.random.default_rng(0).standard_normal(host.shape[1])
        expected = host @ x
        there, back = stc.to_device(host, "cupy"), stc.to_device(device, "numpy")
        assert type(there) is type(device)
        assert type(back) is type(host)
        np.testing.assert_allclose((there @ cp.asarray(x)).get(), expected, atol=1e-12)
        np.testing.assert_allclose(back @ x, expected, atol=1e-12)
        assert stc.to_device(device, "cupy") is device
        assert (type(host.to("cupy")), type(device.to("numpy"))) == (type(device), type(host))
        assert device.to("cupy") is device


def test_dense_arrays_are_on_the_device(cp):
    for device, host in operators(cp):
        dense = device.toarray()
        assert isinstance(dense, cp.ndarray)
        assert dense.dtype == device.dtype
        np.testing.assert_allclose(dense.get(), host.toarray(), atol=1e-12)


def test_operators_of_a_geometry_are_where_the_kernel_is(cp):
    geometry = stc.ConvGeometry((6, 7), KERNEL.shape, padding=1)
    for public in (stc.ConvOperator, stc.ConvTransposeOperator):
        device, host = (public.from_geometry(k, geometry) for k in (cp.asarray(KERNEL), KERNEL))
        assert device.backend.on_gpu
        assert device.geometry is geometry
        np.testing.assert_allclose(device.toarray().get(), host.toarray())
        # called on the class of either device, it goes by the kernel
        assert type(type(device).from_geometry(KERNEL, geometry)) is public
    for transposed in (False, True):
        x = np.arange(42.0).reshape(6, 7) if not transposed else np.ones(geometry.output_shape)
        device, host = (
            stc.KernelOperator.from_geometry(each, geometry, transposed=transposed)
            for each in (cp.asarray(x), x)
        )
        np.testing.assert_allclose(device.toarray().get(), host.toarray())


def test_a_method_that_was_asked_for_stays(cp):
    asked = stc.ConvOperator(KERNEL, (6, 7), method="fft")
    assert stc.to_device(asked, "cupy").method == "fft"
    chosen = stc.ConvOperator(KERNEL, (6, 7))
    assert chosen.method == "sparse"
    assert stc.to_device(chosen, "cupy").method == "direct"
    assert cp is not None


def test_mixing_says_how_to_convert(cp):
    x = np.ones(42)
    device, host = (stc.ConvOperator(k, (6, 7)) for k in (cp.asarray(KERNEL), KERNEL))
    there = r"must be a NumPy array as the operator is, got cupy.*ndarray; convert it with x\.get\(\), or .*to_device"
    for call in (host.matvec, host.rmatvec, host.matmat, host.rmatmat, host.dot, host.apply, host.__matmul__):
        with pytest.raises(TypeError, match=there):
            call(cp.asarray(x))
    here = r"must be a CuPy array as the operator is, got numpy.ndarray; convert it with cupy.asarray\(.*\), or .*to_device"
    y = np.ones(device.shape[0])
    for call, value in (
        (device.matvec, x), (device.rmatvec, y), (device.matmat, np.ones((42, 2))), (device.rmatmat, np.ones((25, 2))),
        (device.dot, x), (device.apply, x.reshape(6, 7)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=here):
            call(value)
    with pytest.raises(
        ValueError, match=r"got the shape \(6, 7\), which ends in input_shape; use .apply for arrays"
    ):
        device @ cp.ones((6, 7))
    with pytest.raises(TypeError, match=r"targets\[0\] must be a CuPy array as inputs\[0\] is, got numpy"):
        stc.fit_kernel([cp.ones((6, 7))], [np.ones((6, 7))], (3, 3), padding=1)
    with pytest.raises(TypeError, match="op must be an operator of sparsetconv, got csr_array"):
        stc.to_device(host.tosparse(), "cupy")
    with pytest.raises(ValueError, match="device must be one of 'numpy', 'cupy'; got 'gpu'"):
        stc.to_device(host, "gpu")


@pytest.mark.filterwarnings("ignore:cupyx.allow_synchronize")
def test_products_do_not_wait_for_the_device(cp):
    """Once an operator is there, nothing of a product is read by the host, but by ``fft``: whether it is finite."""
    import cupyx

    pairs = [
        (device, cp.ones(device.shape[1]))
        for device, _ in operators(cp)
        if getattr(device, "method", None) != "fft"
    ]
    pairs += [
        (stc.ConvOperator(cp.asarray(KERNEL), (6, 7), method=m), cp.ones(42)) for m in ("gemm", "sparse")
    ]
    for device, x in pairs:
        device.rmatvec(device @ x)  # what is derived from the kernel once
    if cp.__version__.endswith("(emulated)"):
        forbidden = pytest.MonkeyPatch.context()
    else:
        forbidden = cupyx.allow_synchronize(False)
    with forbidden as patch:
        if patch is not None:
            patch.setattr(cp.ndarray, "may_synchronize", False)
        for device, x in pairs:
            device.rmatvec(device @ x)
            device.rmatmat(device @ cp.ones((device.shape[1], 2)))
        kernel = cp.ones((3, 3), "float32")
        stc.ConvOperator(kernel, (64, 64), padding=1) @ cp.ones(64 * 64, "float32")
        stc.conv_matrix(kernel, (64, 64), padding=1)


def test_other_allocators_are_not_second_guessed(cp, monkeypatch):
    backend = backend_module.cupy_backend()
    assert backend.available_bytes() > 0
    monkeypatch.setattr(cp.cuda, "get_allocator", lambda: None)
    assert backend.available_bytes() is None


def test_missing_cupy_is_one_sentence_at_first_use(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    backend_module._imported_cupy.cache_clear()
    with pytest.raises(ImportError, match=r"^CuPy arrays need CuPy and the CUDA libraries, with pip install"):
        stc.resize_matrix(3, scale=2, device="cupy")


def test_missing_gpu_is_one_sentence(cp, monkeypatch):
    monkeypatch.setattr(cp, "is_available", lambda: False)
    operator = stc.ConvOperator(KERNEL, (6, 7))
    for call in (
        lambda: stc.to_device(operator, "cupy"),
        lambda: stc.ResizeOperator(4, 8, device="cupy"),
        lambda: stc.resize_matrix(4, 8, device="cupy"),
        lambda: stc.zero_insertion_matrix(4, 2, device="cupy"),
    ):
        with pytest.raises(
            RuntimeError, match=r"device='cupy' needs a GPU with CUDA and its driver, and CuPy finds none"
        ):
            call()


def test_older_cupy_has_matrices(cp, monkeypatch):
    """Before 14.2 there is no csr_array, and no constructor that trusts its arrays."""
    if not cp.__version__.endswith("(emulated)"):
        pytest.skip("this is about another CuPy than the one installed")
    backend = backend_module.cupy_backend()
    monkeypatch.delattr(backend.sparse, "csr_array")
    matrix = stc.conv_matrix(cp.asarray(KERNEL), (6, 7))
    assert type(matrix).__name__ == "csr_matrix"
    assert matrix.has_canonical_format
    np.testing.assert_array_equal(matrix.get().toarray(), stc.conv_matrix(KERNEL, (6, 7)).toarray())


@pytest.mark.gpu
class TestOnTheCard:
    """What only a card can show."""

    @pytest.fixture
    def cupy(self):
        cupy = pytest.importorskip("cupy")
        if not cupy.is_available():
            pytest.skip("CuPy finds no GPU")
        return cupy

    def test_memory_comes_back(self, cupy):
        pool = cupy.get_default_memory_pool()

        def one():
            operator = stc.ConvOperator(cupy.ones((5, 5), "float32"), (64, 64), padding=2)
            operator.rmatvec(operator @ cupy.ones(4096, "float32"))
            stc.conv_matrix(cupy.ones((3, 3), "float32"), (64, 64))

        one()
        before = pool.used_bytes()
        for _ in range(1000):
            one()
        assert pool.used_bytes() == before

    def test_own_streams(self, cupy):
        host = stc.ConvOperator(KERNEL, (600, 700), padding="same")
        x = np.random.default_rng(0).standard_normal((600, 700))
        with cupy.cuda.Stream(non_blocking=True) as stream:
            device = stc.to_device(host, "cupy")
            result = device.apply(cupy.asarray(x))
            stream.synchronize()
        np.testing.assert_allclose(result.get(), host.apply(x), atol=1e-12)

    def test_large_indices(self, cupy):
        free, _ = cupy.cuda.Device().mem_info
        if free < 40 << 30:
            pytest.skip("2**31 entries with 64-bit indices take 40 GiB")
        kernel = cupy.asarray(np.random.default_rng(0).random((7, 7), "float32"))
        matrix = stc.conv_matrix(kernel, (6700, 6700), padding="same")
        assert matrix.indices.dtype == np.int64
        assert matrix.nnz > 2**31
        rows = slice(3_000_000, 3_000_050)
        part = stc.conv_matrix(kernel, (6700, 6700), padding="same", rows=rows)
        first, last = (int(matrix.indptr[row]) for row in (rows.start, rows.stop))
        np.testing.assert_array_equal(matrix.indices[first:last].get(), part.indices.get())
        np.testing.assert_array_equal(matrix.data[first:last].get(), part.data.get())
