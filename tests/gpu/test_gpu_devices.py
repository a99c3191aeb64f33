"""Several GPUs, streams, memory and alignment: what is launched goes where it belongs, in the order it needs."""

import contextlib
import functools

import numpy as np
import pytest
from operator_cases import integers

import sparsetconv as stc
from sparsetconv._arrays import backend as backend_module
from sparsetconv._arrays import streams
from sparsetconv._methods.registry import METHODS
from sparsetconv.operators._base import AdjointOperator, on_backend

KERNEL = np.array([[1.0, 2.0, -3.0], [4.0, 0.0, 5.0]])
CASES = [f"{method}-{kind}" for method in METHODS for kind in ("real", "complex", "transposed")]
CASES += ["kernel", "resize"]


def two_devices(cp):
    """Skip where there is one GPU."""
    if cp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")


def made(cp):
    """Return for each case what makes an operator on the current device, and the operator on the host."""

    def conv(method, kernel, **options):
        options = {"padding": 1, "padding_mode": "reflect", "method": method, **options}
        return (
            lambda: stc.ConvOperator(cp.asarray(kernel), (6, 7), **options),
            stc.ConvOperator(kernel, (6, 7), **options),
        )

    channels = integers((4, 2, 3, 2), "float32")

    def transposed(method):
        options = {"stride": 2, "method": method}
        return (
            lambda: stc.ConvTransposeOperator(cp.asarray(channels), (4, 5, 6), **options),
            stc.ConvTransposeOperator(channels, (4, 5, 6), **options),
        )

    return {
        **{f"{method}-real": conv(method, KERNEL) for method in METHODS},
        **{f"{method}-complex": conv(method, KERNEL + 1j) for method in METHODS},
        **{f"{method}-transposed": transposed(method) for method in METHODS},
        "kernel": (
            lambda: stc.KernelOperator(cp.asarray(KERNEL), (2, 2)),
            stc.KernelOperator(KERNEL, (2, 2)),
        ),
        "resize": (
            functools.partial(stc.ResizeOperator, (4, 6), scale=2, mode="cubic", device="cupy"),
            stc.ResizeOperator((4, 6), scale=2, mode="cubic"),
        ),
    }


def products(op):
    """Yield the names of an operator's products, each with an operand on the host."""
    for name in ("matvec", "rmatvec", "matmat", "rmatmat"):
        size = op.shape[0 if name.startswith("r") else 1]
        shape = (size,) if name.endswith("vec") else (size, 3)
        yield name, np.random.default_rng(0).standard_normal(shape).astype(op.dtype)
    pictures = np.random.default_rng(1).standard_normal((2, *op.input_shape))
    yield "apply", pictures.astype(op.dtype)
    # of another dtype, for which methods keep something of its own
    yield "apply", pictures * (1 + 2j)


def close(device, host):
    np.testing.assert_allclose(device, host, atol=2e-4 if device.dtype.char in "fF" else 1e-11)


class TestDevices:
    @pytest.mark.parametrize("case", CASES)
    def test_operators_work_on_the_device_of_their_kernel(self, cp, case):
        two_devices(cp)
        make, host = made(cp)[case]
        with cp.cuda.Device(1):
            device = make()
            there = [(call, x, cp.asarray(x)) for call, x in products(host)]
        for call, x, operand in there:
            result = getattr(device, call)(operand)
            assert result.device.id == 1
            close(result.get(), getattr(host, call)(x))
        (_, x, on_card), (_, y, small) = there[:2]
        close((device @ on_card).get(), host @ x)
        for way in ("H", "T"):
            close(getattr(device, way).matvec(small).get(), getattr(host, way).matvec(y))
        close(device.gram().matvec(on_card).get(), host.gram().matvec(x))
        matrix = device.tosparse()
        assert matrix.data.device.id == 1
        close(matrix.get().toarray(), host.tosparse().toarray())
        if hasattr(device, "explain"):
            assert device.method in device.explain()
        assert stc.testing.dot_test(device)
        assert cp.cuda.runtime.getDevice() == 0

    def test_operators_are_made_on_the_device_of_their_kernel(self, cp):
        """Not on the one that is current: nothing of them may lie there."""
        two_devices(cp)
        with cp.cuda.Device(1):
            kernels = cp.asarray(KERNEL), cp.asarray(KERNEL + 1j), cp.asarray(KERNEL.astype("int64"))
            x = cp.ones(42)
        for method in METHODS:
            for kernel in kernels:
                if method in ("gemm", "direct") or kernel.dtype.kind != "i":
                    device = stc.ConvOperator(kernel, (6, 7), padding=1, method=method)
                    assert device.kernel.device.id == device.H.kernel.device.id == 1
                    expected = stc.to_device(device, "numpy") @ np.ones(42)
                    close((device @ x).get(), expected)
        device = stc.KernelOperator(kernels[0], (2, 2))
        assert device.x.device.id == 1
        with cp.cuda.Device(1):
            w = cp.ones((2, 2))
        close(device.apply(w).get(), stc.KernelOperator(KERNEL, (2, 2)).apply(np.ones((2, 2))))

    def test_matrices_are_on_the_device_of_the_kernel(self, cp):
        two_devices(cp)
        with cp.cuda.Device(1):
            kernel = cp.asarray(KERNEL)
        for options in ({}, {"dtype": np.float32}, {"format": "csc"}, {"format": "dia"}):
            matrix = stc.conv_matrix(kernel, (6, 7), padding="same", **options)
            assert matrix.data.device.id == 1
            host = stc.conv_matrix(KERNEL, (6, 7), padding="same", **options)
            np.testing.assert_array_equal(matrix.get().toarray(), host.toarray())
        with cp.cuda.Device(1):
            assert stc.resize_matrix((4, 6), scale=2, device="cupy").data.device.id == 1

    def test_arrays_of_another_device_are_refused(self, cp):
        two_devices(cp)
        device = stc.ConvOperator(cp.asarray(KERNEL), (6, 7), padding=1)
        rule = (
            r"x must be on GPU 0 as the operator is, got an array on GPU 1; within cupy.cuda.Device\(0\), "
            r"cupy.asarray\(x\) copies it there; within cupy.cuda.Device\(1\), sparsetconv.to_device copies"
        )
        for name, x in products(device):
            with cp.cuda.Device(1):
                operand = cp.asarray(x)
            with pytest.raises(ValueError, match=rule):
                getattr(device, name)(operand)
        with cp.cuda.Device(1):
            y = cp.ones((6, 7))
        with pytest.raises(
            ValueError, match=r"targets\[0\] must be on GPU 0 as inputs\[0\] is, got an array on GPU 1"
        ):
            stc.fit_kernel([cp.ones((6, 7))], [y], (3, 3), padding=1)

    @pytest.mark.parametrize("case", CASES)
    def test_to_device_goes_to_the_current_one(self, cp, case):
        two_devices(cp)
        make, host = made(cp)[case]
        device = make()
        with cp.cuda.Device(1):
            other = stc.to_device(device, "cupy")
            assert stc.to_device(other, "cupy") is other
        assert other is not device
        assert stc.to_device(device, "cupy") is device
        for operator, number in ((device, 0), (other, 1), (stc.to_device(other, "cupy"), 0)):
            with cp.cuda.Device(number):
                x = cp.ones(device.shape[1], device.dtype)
            result = operator @ x
            assert result.device.id == number
            close(result.get(), host @ x.get())

    @pytest.mark.parametrize("method", ["cholesky", "lsmr"])
    def test_fit_kernel(self, cp, method):
        two_devices(cp)
        kernel, x = np.random.default_rng(0).random((3, 2)), np.random.default_rng(1).random((2, 9, 8))
        y = stc.ConvTransposeOperator(kernel, (9, 8), stride=2).apply(x)
        with cp.cuda.Device(1):
            pairs = cp.asarray(x), cp.asarray(y)
        fitted = stc.fit_kernel(*pairs, (3, 2), stride=2, transposed=True, method=method)
        assert fitted.device.id == 1
        np.testing.assert_allclose(fitted.get(), kernel, atol=1e-8)

    def test_the_emulation_knows_devices(self, cp):
        if not cp.__version__.endswith("(emulated)"):
            pytest.skip("this is about the emulation")
        x = cp.ones(3)
        with cp.cuda.Device(1), pytest.raises(AssertionError, match="memory of device 0"):
            x + 1


@contextlib.contextmanager
def other_stream(cp):
    """Enter a stream that waits for nothing by itself, on the current device."""
    with cp.cuda.Stream(non_blocking=True) as stream:
        yield stream


class TestStreams:
    @pytest.mark.parametrize("case", CASES)
    def test_what_is_kept_is_in_order_for_every_stream(self, cp, case):
        """Made on one stream, used on another: the emulation finds reads that nothing has waited for."""
        make, host = made(cp)[case]
        with other_stream(cp):
            device = make()
            for call, x in products(host):
                getattr(device, call)(cp.asarray(x))
        ones = np.ones(host.shape[0], host.dtype)
        for _ in range(2):
            with other_stream(cp) as stream:
                found = [
                    (getattr(device, call)(cp.asarray(x)), getattr(host, call)(x))
                    for call, x in products(host)
                ]
                adjoint = device.H @ cp.asarray(ones), device.T @ cp.asarray(ones)
                matrix = device.tosparse()
                stream.synchronize()
            for ours, theirs in found:
                close(ours.get(), theirs)
            close(adjoint[0].get(), host.H @ ones)
            close(adjoint[1].get(), host.T @ ones)
            close(matrix.get().toarray(), host.tosparse().toarray())

    @pytest.mark.parametrize("case", CASES)
    def test_operators_are_moved_in_order(self, cp, case):
        make, host = made(cp)[case]
        for where in ("numpy", "cupy"):
            with other_stream(cp):
                device = make()
                adjoint = device.H
            with other_stream(cp):
                moved = stc.to_device(device, where)
                close(
                    stc.to_device(moved, "numpy").matvec(np.ones(host.shape[1])),
                    host @ np.ones(host.shape[1]),
                )
            with other_stream(cp):
                # made on the first stream, with the conjugate kernel, and on no other so far
                matrix = adjoint.tosparse().get()
            with other_stream(cp):
                y = (adjoint @ cp.ones(host.shape[0], host.dtype)).get()
            close(matrix.toarray(), host.H.tosparse().toarray())
            close(y, host.rmatvec(np.ones(host.shape[0])))
        if cp.cuda.runtime.getDeviceCount() > 1:
            with other_stream(cp):
                device = make()
            with cp.cuda.Device(1), other_stream(cp):
                moved = stc.to_device(device, "cupy")
                close((moved @ cp.ones(host.shape[1], host.dtype)).get(), host @ np.ones(host.shape[1]))

    @pytest.mark.parametrize("method", METHODS)
    def test_what_is_made_through_another_operator_is_in_order(self, cp, method):
        """The Gram operator makes its operator's conjugate kernel, in its first product."""
        host = stc.ConvOperator(KERNEL + 1j, (6, 7), padding=1)
        with other_stream(cp):
            device = stc.ConvOperator(cp.asarray(KERNEL + 1j), (6, 7), padding=1, method=method)
            gram, adjoint = device.gram(), on_backend(AdjointOperator, device.backend)(device)
            gram @ cp.ones(42, complex)
        with other_stream(cp) as stream:
            results = gram @ cp.ones(42, complex), adjoint @ cp.ones(host.shape[0], complex)
            matrix = gram.tosparse()
            stream.synchronize()
        close(results[0].get(), host.gram() @ np.ones(42))
        close(results[1].get(), host.rmatvec(np.ones(host.shape[0])))
        close(matrix.get().toarray(), host.gram().tosparse().toarray())

    def test_nan_by_fft_on_two_streams(self, cp):
        with other_stream(cp):
            device = stc.ConvOperator(cp.asarray(KERNEL), (6, 7), padding=1, method="fft")
            x = cp.ones((6, 7))
            x[3, 3] = np.nan
            expected = device.apply(x).get()
        with other_stream(cp):
            x, y = cp.ones((6, 7)), cp.ones(device.output_shape)
            x[3, 3], y[1, 1] = np.nan, np.nan
            assert np.isnan(device.H.apply(y).get()).any()
            np.testing.assert_array_equal(device.apply(x).get(), expected)

    def test_the_second_stream_waits_once_and_the_first_does_not(self, cp):
        if not cp.__version__.endswith("(emulated)"):
            pytest.skip("CuPy does not tell who waits")
        from gpu import cuda_order

        backend = backend_module.cupy_backend()
        first = cp.cuda.Stream(non_blocking=True)
        second = cp.cuda.Stream(non_blocking=True)
        with first, cuda_order.watched() as seen:
            kept = streams.Kept(backend)
            array = kept.get("key", lambda: cp.ones(3))
            assert kept.get("key", None) is array
            array + 1
        assert [what for what, _ in seen] == ["ones", "event", "add"]
        with second, cuda_order.watched() as seen:
            kept.get("key", None) + 1
            kept.get("key", None) + 1
        assert seen == [("wait", second), ("add", second), ("add", second)]
        with first:
            unordered = cp.ones(3)
        with second, pytest.raises(AssertionError, match="has not waited for it"):
            unordered + 1

    def test_nobody_waits_for_what_is_done(self, cp, monkeypatch):
        if not cp.__version__.endswith("(emulated)"):
            pytest.skip("whether a card is done is a matter of time")
        from gpu import cuda_order

        kept = streams.Made(backend_module.cupy_backend(), cp.ones(3))
        cp.cuda.get_current_stream().synchronize()
        monkeypatch.setattr(cp.cuda.Event, "done", True)
        with other_stream(cp), cuda_order.watched() as seen:
            kept.get() + 1
        assert [what for what, _ in seen] == ["add"]
        monkeypatch.setattr(cp.cuda.Event, "done", False)
        with other_stream(cp), cuda_order.watched() as seen:
            kept.get() + 1
        assert [what for what, _ in seen] == ["add"]

    def test_threads_have_streams_of_their_own(self, cp):
        """The handle 2 stands for another stream in each thread."""
        if not cp.__version__.endswith("(emulated)"):
            pytest.skip("this is about the emulation")
        import threading

        from gpu import cuda_order

        stream = cp.cuda.Stream()
        stream.ptr = streams.PER_THREAD
        with stream:
            kept = streams.Made(backend_module.cupy_backend(), cp.ones(3))
            with cuda_order.watched() as seen:
                kept.get()
                thread = threading.Thread(target=kept.get)
                thread.start()
                thread.join()
        assert seen == [("wait", stream)]


class TestMemory:
    def test_the_pools_limit_counts(self, cp):
        pool = cp.get_default_memory_pool()
        limit = pool.get_limit()
        pool.set_limit(size=pool.used_bytes() + (1 << 29))
        try:
            assert backend_module.cupy_backend().available_bytes() == 1 << 29
            with pytest.raises(MemoryError, match=r"needs \d+ bytes .*, 536870912 are available; rows="):
                stc.conv_matrix(cp.ones((9, 9)), (2000, 2000))
        finally:
            pool.set_limit(size=limit)

    def test_memory_is_what_the_card_the_pool_and_its_limit_have(self, cp, monkeypatch):
        if not cp.__version__.endswith("(emulated)"):
            pytest.skip("a card has the memory that it has")
        backend, pool = backend_module.cupy_backend(), cp.get_default_memory_pool()
        for limit, used, free, expected in (
            (0, 1000, 300, (8 << 30) + 300), (5000, 1000, 300, 4000), (500, 1000, 0, 0), (1 << 40, 1000, 300, (8 << 30) + 300)
        ):  # fmt: skip
            for name, value in (("limit", limit), ("used", used), ("free", free)):
                monkeypatch.setattr(pool, name, value, raising=False)
            assert backend.available_bytes() == expected

    @pytest.mark.parametrize("dtype", ["complex128", "complex64", "float64"])
    @pytest.mark.parametrize("method", METHODS)
    def test_views_that_begin_between_numbers(self, cp, method, dtype):
        """Kernels load whole numbers: a view at half of one is copied."""
        kernel = integers((3, 2), dtype)
        host = stc.ConvOperator(kernel, (6, 7), padding=1)
        half = {"complex128": "float64", "complex64": "float32", "float64": "float32"}[dtype]

        def shifted(values):
            halves = np.ascontiguousarray(values).reshape(-1).view(half)
            buffer = cp.zeros(halves.size + 1, half)
            # written by halves: a card could not write whole numbers there
            buffer[1:] = cp.asarray(halves)
            view = buffer[1:].view(dtype).reshape(values.shape)
            assert view.data.ptr % view.itemsize
            return view

        x = integers((2, 6, 7), dtype, 1)
        for weights in (cp.asarray(kernel), shifted(kernel)):
            device = stc.ConvOperator(weights, (6, 7), padding=1, method=method)
            for each in (shifted(x), shifted(np.repeat(x, 2, -1))[..., ::2]):
                close(device.apply(each).get(), host.apply(x))
            close(device.matvec(shifted(x[0].ravel())).get(), host @ x[0].ravel())
            close(device.matmat(shifted(x.reshape(2, -1).T.copy())).get(), host @ x.reshape(2, -1).T)
        matrix = stc.conv_matrix(shifted(kernel), (6, 7), padding=1)
        np.testing.assert_array_equal(matrix.get().toarray(), host.tosparse().toarray())
        if dtype != "float64":
            resized = stc.ResizeOperator((6, 7), scale=2, dtype=dtype, device="cupy").apply(shifted(x))
            close(resized.get(), stc.ResizeOperator((6, 7), scale=2, dtype=dtype).apply(x))
