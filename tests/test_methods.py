"""The methods on problems large enough to be cut: tiles, units, chunks, threads. And why one is chosen."""

import contextlib
import functools
import gc
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_cases import METHODS, integers
from pools import end
from strategies import stand_for

import sparsetconv as stc
from sparsetconv._arrays import pool as pool_module
from sparsetconv._arrays import threads as threads_module
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._methods.cpu import direct
from sparsetconv._methods.cpu.overlap_save import plan as tiling
from sparsetconv._methods.cpu.rates import current
from sparsetconv._methods.cpu.stencil import records

# name: (kernel shape, input shape, options); each is there for what its comment says
LARGE = {
    # one line in several tiles; the transposed direction adds padding afterwards
    "line": ((7,), (20_001,), {"padding": ((5, 2),)}),
    "line, stride 2": ((6,), (20_001,), {"padding": ((1, 4),), "stride": 2}),
    "line, stride 3, dilated": ((5,), (30_000,), {"padding": 4, "stride": 3, "dilation": 2}),
    # lines longer than a tile, few of them
    "wide": ((2, 3), (3, 9_000), {"padding": ((2, 1), (1, 3))}),
    # many lines: groups of four, an incomplete one at the end
    "tall": ((5, 4), (203, 37), {"padding": "same"}),
    "tall, stride 2": ((4, 5), (203, 90), {"padding": ((3, 1), (2, 2)), "stride": 2}),
    "tall, dilated": ((3, 2), (121, 40), {"padding": 3, "dilation": (3, 5)}),
    "tall, strides and dilation": ((3, 4), (130, 61), {"padding": 2, "stride": (4, 3), "dilation": (6, 2)}),
    "cropped": ((3, 3), (90, 80), {"padding": ((-7, 2), (3, -9)), "stride": (1, 2)}),
    "volume": ((3, 2, 4), (19, 23, 31), {"padding": ((1, 2), (1, 1), (2, 3)), "stride": (2, 1, 2)}),
    # results in blocks of three, of four and less
    "five channels": ((5, 3, 3, 2), (3, 30, 29), {"padding": 1}),
    "six channels": ((6, 2, 2, 3), (2, 30, 29), {"padding": 1, "stride": 2}),
    "two channels": ((2, 7, 3, 3), (7, 30, 29), {"padding": ((2, 0), (1, 1))}),
    "groups": ((9, 2, 3, 3), (6, 25, 21), {"groups": 3, "padding": 1, "stride": (1, 2)}),
}
each_case = pytest.mark.parametrize("name", LARGE)
each_mode = pytest.mark.parametrize("mode", PADDING_MODES)


@each_case
@each_mode
@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        (method, dtype)
        for method in ("direct", "gemm", "fft")
        for dtype in ("float32", "float64", "complex128", "int32")
        if (method, dtype) != ("fft", "int32")  # refused
    ],
)
def test_large_problems(name, mode, method, dtype):
    kernel_shape, input_shape, options = LARGE[name]
    kernel = integers(kernel_shape, dtype)
    A = stc.ConvOperator(kernel, input_shape, padding_mode=mode, method=method, **options)
    M = A.tosparse()
    x, y = integers(A.shape[1], dtype, 1), integers(A.shape[0], dtype, 2)
    for actual, expected in ((A @ x, M @ x), (A.T @ y, M.T @ y)):
        assert actual.dtype == expected.dtype
        if method == "fft":
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(actual, expected, rtol=0, atol=20 * eps * np.abs(expected).max())
        else:
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["line", "tall, stride 2", "six channels"])
def test_batches_and_mixed_dtypes(name, method):
    """A real kernel on complex data travels as real and imaginary parts; items share tiles of the FFT."""
    kernel_shape, input_shape, options = LARGE[name]
    A = stc.ConvOperator(integers(kernel_shape, "float64"), input_shape, method=method, **options)
    M = A.tosparse()
    X = integers((A.shape[1], 5), "complex128", 1)
    for operand in (X, np.asfortranarray(X), X[:, :1]):
        np.testing.assert_allclose(A.matmat(operand), M @ operand, rtol=1e-12, atol=1e-10)
    batch = X.T.reshape(5, *A.input_shape)
    np.testing.assert_allclose(A.apply(batch).reshape(5, -1), (M @ X).T, rtol=1e-12, atol=1e-10)
    Y = integers((A.shape[0], 3), "complex128", 2)
    np.testing.assert_allclose(A.rmatmat(Y), M.T @ Y, rtol=1e-12, atol=1e-10)


def test_no_matrix_is_turned_wrongly():
    """Large matrices are transposed block by block, in threads."""
    A = stc.ConvOperator(np.array([1.0, 2.0]), 100_003, method="direct")
    X = np.random.default_rng(0).standard_normal((A.shape[1], 3))
    np.testing.assert_array_equal(A.matmat(X), X[:-1] + 2 * X[1:])


@pytest.mark.parametrize("threads", ["1", "2", "3"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["wide", "tall", "groups"])
def test_no_bit_depends_on_threads_or_moments(name, method, threads, monkeypatch):
    kernel_shape, input_shape, options = LARGE[name]
    rng = np.random.default_rng(0)
    A = stc.ConvOperator(
        rng.standard_normal(kernel_shape), input_shape, method=method, padding_mode="reflect", **options
    )
    x = rng.standard_normal((40, *A.input_shape))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    first = A.apply(x)
    back = A.H.apply(first)
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    for _ in range(3):
        np.testing.assert_array_equal(A.apply(x), first)
        np.testing.assert_array_equal(A.H.apply(first), back)


def test_threadpoolctl():
    """Its limit holds for our threads, and ends with its context."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = threads_module.thread_count()
    with threadpoolctl.threadpool_limits(1):
        assert threads_module.thread_count() == 1
    assert threads_module.thread_count() == before
    with threadpoolctl.threadpool_limits(3, user_api="sparsetconv"):
        assert threads_module.thread_count() == 3
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert threads_module.thread_count() == before
    # nothing of it stays
    assert threads_module._limit is None
    with threadpoolctl.threadpool_limits(0, user_api="sparsetconv"):
        assert threads_module.thread_count() == 1


@pytest.mark.parametrize(
    ("features", "dtype"),
    stand_for(
        [("+avx2", "float32"), ("+neon", "float64")],
        [("+avx2", "float64"), ("+neon", "float32"), ("", "float32"), ("", "float64")],
    ),
)
def test_processors_with_shorter_vectors(features, dtype, tmp_path):
    """The loops are emitted for a processor's registers; those of others compute the same here."""
    code = f"""
import numba.core.codegen
numba.core.codegen.get_host_cpu_features = lambda: {features!r}
import numpy as np
import sparsetconv as stc
from sparsetconv._methods.cpu import emit
assert emit.VECTOR_BYTES < 64
rng = np.random.default_rng(0)
for kernel_shape, input_shape, options in (
    ((5, 4), (60, 70), {{"stride": 2, "padding": 3, "padding_mode": "reflect"}}),
    ((3, 2, 3, 3), (2, 40, 50), {{"padding": 1}}),
):
    kernel = rng.integers(-3, 4, kernel_shape).astype({dtype!r})
    for method in ("direct", "fft"):
        A = stc.ConvOperator(kernel, input_shape, method=method, **options)
        M = A.tosparse()
        x, y = (rng.integers(-3, 4, n).astype({dtype!r}) for n in A.shape[::-1])
        np.testing.assert_allclose(A @ x, M @ x, atol=1e-3)
        np.testing.assert_allclose(A.T @ y, M.T @ y, atol=1e-3)
    K = stc.KernelOperator(x.reshape(input_shape), kernel_shape, **options)
    np.testing.assert_allclose(K.H @ y, K.tosparse().T @ y, atol=1e-2)
"""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_explain_says_what_was_chosen_and_why():
    A = stc.ConvOperator(np.ones((5, 5), np.float32), (900, 900), padding="same")
    first, second, *costs = A.explain().splitlines()
    assert first == f"method {A.method!r}: it has the lowest estimate"
    assert second == f"estimated time of a product, by {current().origin}:"
    estimates = {line.split()[0]: float(line.split()[1]) for line in costs}
    assert min(estimates, key=estimates.__getitem__) == A.method == "direct"
    assert f"{A.nnz:,} entries" in A.explain()
    assert A.H.explain() == A.explain()
    assert "it was asked for" in stc.ConvOperator(np.ones(3), 9, method="gemm").explain()
    assert "nothing is compiled" in stc.ConvOperator(np.ones(3), 9).explain()
    whole = stc.ConvOperator(np.ones((3, 3), int), (900, 900)).explain()
    assert "does not accept an integer kernel" in whole


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 60), st.integers(1, 5)), min_size=1, max_size=3),
    st.sampled_from([8, 16, 32]),
)
def test_tiles_hold_the_kernel_and_cover_the_results(axes, slots):
    spans = [tiling.Span(results * step + extent, extent, results, step) for results, extent, step in axes]
    lengths = tiling.best_tiles(tuple(spans), 1, slots, 128).lengths
    for span, length in zip(spans, lengths, strict=True):
        assert length & (length - 1) == 0
        assert span.valid(length) >= 1


@pytest.mark.parametrize("length", [1, 2, 4, 8, 16, 32, 128])
def test_frequencies_are_all_there_once(length):
    assert sorted(tiling.frequencies(length)) == list(range(length))


def test_scratch_has_room_for_all_vectors():
    from sparsetconv._methods.cpu import emit

    assert emit.VECTORS <= records.MOST_VECTORS


@pytest.mark.skipif(
    pool_module._core is None or len(os.sched_getaffinity(0)) < 2, reason="one core, or no affinity"
)
def test_pool_keeps_off_the_callers_core():
    """Its threads may run on every core but the one that they were last called from."""
    allowed, found = os.sched_getaffinity(0), []

    def note(_):
        found.append((threading.get_native_id(), os.sched_getaffinity(0)))
        time.sleep(0.02)

    for _ in range(2):  # the pool's threads exist from the second time on
        found.clear()
        threads_module.for_each(note, range(2), 2)
    own = threading.get_native_id()
    here = [cores for thread, cores in found if thread == own]
    there = [cores for thread, cores in found if thread != own]
    assert here == [allowed]
    assert len(there) == 1
    assert there[0] < allowed
    assert len(there[0]) == len(allowed) - 1


@pytest.fixture
def pool():
    """Return a pool of two threads, which end with the test."""
    made = pool_module.Pool(2)
    yield made
    end(made)


@contextlib.contextmanager
def held_up(pool, helpers):
    """Hold up some threads of a pool with the work of another caller; give a function that lets them go."""
    begun, free = threading.Barrier(helpers + 2), threading.Event()

    def hold(_):
        begun.wait(10)
        free.wait(10)

    caller = threading.Thread(target=pool.run, args=(hold, range(helpers + 1), helpers))
    caller.start()
    begun.wait(10)
    yield free.set
    free.set()
    caller.join(10)


def test_caller_does_what_no_thread_has_begun(pool):
    """A pool whose threads are held up holds nobody up."""
    done = []
    with held_up(pool, 2):
        pool.run(lambda item: done.append((item, threading.get_native_id())), range(4), 2)
    assert done == [(item, threading.get_native_id()) for item in range(4)]


@pytest.mark.skipif(
    pool_module._core is None or len(os.sched_getaffinity(0)) < 2, reason="one core, or no affinity"
)
def test_what_a_thread_has_begun_may_go_on_anywhere(pool):
    begun, found = threading.Event(), []

    def work(item):
        if item:
            begun.set()
            # the caller lets go of it after half its own time, on a busy machine later
            end = time.monotonic() + 10
            while os.sched_getaffinity(0) != everywhere and time.monotonic() < end:
                time.sleep(0.001)
            found.append(os.sched_getaffinity(0))
        else:
            begun.wait()

    everywhere = os.sched_getaffinity(0)
    for _ in range(2):
        begun.clear()
        pool.run(work, range(2), 1)
    assert found == [everywhere] * 2


@pytest.mark.parametrize("error", [IndexError, TimeoutError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("bad", [0, 7])
def test_no_exception_is_taken_for_another(error, bad):
    def fail(item):
        if item == bad:
            raise error(item)

    with pytest.raises(error, match=str(bad)):
        threads_module.for_each(fail, range(8), 2)


def test_nothing_runs_any_more_when_an_exception_is_raised(pool):
    """The others finish what they have begun, and begin nothing else."""
    begun, done = threading.Barrier(3), []

    def work(item):
        if item < 3:
            begun.wait()
        if item == 0:
            msg = "from any thread"
            raise ValueError(msg)
        time.sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="from any thread"):
        pool.run(work, range(9), 2)
    assert sorted(done) == [1, 2]


def test_nothing_is_left_undone_where_no_thread_can_be_started(pool, monkeypatch):
    """The work waits all the same; a thread that is there already may take it up at any time."""
    taken, done = threading.Event(), []

    def refuse(_):
        msg = "can't start new thread"
        raise RuntimeError(msg)

    def work(item):
        if item == 0:
            let_go()
            taken.wait(10)
        elif threading.get_native_id() != own:
            taken.set()
            time.sleep(0.2)
        done.append(item)

    own = threading.get_native_id()
    with held_up(pool, 1) as let_go:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        pool.run(work, range(8), 1)
    assert taken.is_set()
    assert sorted(done) == list(range(8))


def test_pool_has_no_more_threads_than_are_asked_for(monkeypatch):
    """Also on a machine of many processors, of which a container or a user allows few."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.setattr(threads_module, "_pools", [])
    for _ in range(200):
        threads_module.for_each(lambda _: None, range(4), 2)
    (pool,) = threads_module._pools
    assert pool.threads == len(pool._helpers) == 1
    pool.close()


def test_exceptions_of_helpers_leave_no_cycle():
    class Kept:
        pass

    begun = threading.Barrier(2)

    def fail(item, kept):
        begun.wait()
        if threading.get_native_id() != own:
            raise ValueError(item)
        return kept

    own, kept = threading.get_native_id(), Kept()
    alive = weakref.ref(kept)
    gc.disable()
    try:
        with pytest.raises(ValueError, match=r"^[01]$"):
            threads_module.for_each(functools.partial(fail, kept=kept), range(2), 2)
        del kept
        deadline = time.monotonic() + 5
        while alive() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert alive() is None
    finally:
        gc.enable()


def test_callers_own_exception_is_the_one_raised():
    begun = threading.Barrier(2)

    def fail(item):
        begun.wait()
        error = KeyError if threading.get_native_id() == own else ValueError
        raise error(item)

    own = threading.get_native_id()
    with pytest.raises(KeyError):
        threads_module.for_each(fail, range(2), 2)


def test_products_at_the_end_of_the_interpreter():
    """When no thread can be started any more, the caller does the work."""
    code = """
import atexit, threading, time
import numpy as np
import sparsetconv as stc
A = stc.ConvOperator(np.ones((3, 3)), (400, 400), padding="same", method="direct")
expected = A @ np.ones(160000)
def late():
    assert (A @ np.ones(160000) == expected).all()
    print("right")
atexit.register(late)
thread = threading.Thread(target=lambda: (time.sleep(0.3), late()))
thread.start()
"""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("right\nright\n", "")


def test_one_pool_is_enough():
    """However many threads are asked for, one call after the other, there are no more than the most of them."""
    for workers in range(2, 12):
        threads_module.for_each(lambda _: time.sleep(0.001), range(20), workers)
    (pool,) = threads_module._pools
    for _ in range(100):
        ours = [thread for thread in threading.enumerate() if thread.name.startswith("sparsetconv")]
        if len(ours) <= pool.threads:
            return
        time.sleep(0.05)  # those that it replaced are ending
    pytest.fail(f"{len(ours)} threads in a pool of {pool.threads}")


@pytest.mark.skipif(
    pool_module._core is None or len(os.sched_getaffinity(0)) < 2, reason="one core, or no affinity"
)
def test_pool_follows_the_callers_cores(pool, monkeypatch):
    """A caller that is bound to one core does not leave the pool bound to it."""
    allowed, found = os.sched_getaffinity(0), []
    own, core = threading.get_native_id(), min(allowed)
    monkeypatch.setattr(pool_module, "_core", lambda: core)

    def note(_):
        found.append((threading.get_native_id(), os.sched_getaffinity(0)))
        time.sleep(0.02)

    def bound():
        os.sched_setaffinity(0, {core})
        pool.run(note, range(2), 1)

    thread = threading.Thread(target=bound)
    thread.start()
    thread.join()
    found.clear()
    pool.run(note, range(2), 1)
    assert [cores for thread, cores in found if thread != own] == [allowed - {core}]


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("name", LARGE)
def test_nothing_of_another_product_is_left(name, mode):
    """Threads keep their memory; what NaN a product leaves there, the next one does not see."""
    kernel_shape, input_shape, options = LARGE[name]
    A = stc.ConvOperator(
        integers(kernel_shape, "float64"), input_shape, padding_mode=mode, method="direct", **options
    )
    x, y = integers(A.shape[1], "float64", 1), integers(A.shape[0], "float64", 2)
    expected = A @ x, A.H @ y
    for poison in (np.nan, np.inf, -np.inf):
        A @ np.full(A.shape[1], poison)
        np.testing.assert_array_equal(A @ x, expected[0])
        A.H @ np.full(A.shape[0], poison)
        np.testing.assert_array_equal(A.H @ y, expected[1])


def tile_buffers(method, transposed):
    """Return the bytes of one thread's tile buffer, of a method that has computed float32."""
    if method.name == "direct":
        return 4 * method._prepared[transposed, np.dtype(np.float32)]._loops._elements
    (prepared,) = method._prepared[transposed]._kept.values()
    return 4 * prepared._elements


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_into_an_array_needs_tile_buffers_alone(method, transposed, monkeypatch):
    """The result's memory is the caller's, and nothing of its size is made beside it."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    kernel = np.ones((11, 12), np.float32)
    A = stc.ConvOperator(kernel, (1600, 1200), padding=5, method=method)
    A = A.T if transposed else A
    x, out = np.ones(A.input_shape, np.float32), np.empty(A.output_shape, np.float32)
    A.apply(x, out=out)
    monkeypatch.setattr(direct, "_kept", threading.local())
    tracemalloc.start()
    try:
        A.apply(x, out=out)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    buffers = 2 * tile_buffers(A._method, transposed)
    assert buffers / 2 < most < buffers + (1 << 15)
    assert most < out.nbytes / 2


@pytest.mark.parametrize(("method", "most"), [("sparse", 12), ("direct", 13)])
def test_a_small_product_is_a_few_calls_of_functions(method, most):
    """Once a product is prepared nothing is derived again: calls, at 0.3 us or more, are all that it takes."""
    A = stc.ConvOperator(np.ones((3, 3)), (40, 40), padding=1, method=method)
    x = np.ones(1600)
    for operator in (A, A.H):
        operator @ x
        called = names_of_calls(lambda own=operator: own @ x)
        assert 0 < len(called) <= most, called


@pytest.mark.parametrize(
    ("made", "call", "most"),
    [
        (lambda A: A, lambda A, x, _: A.H @ x.ravel(), 16),
        (lambda A: A, lambda A, x, _: A.apply(x), 13),
        (lambda A: A, lambda A, x, _: A.H.apply(x), 15),
        (lambda A: A, lambda A, x, _: A.apply(x[None]), 21),
        (lambda A: A, lambda A, x, out: A.apply(x, out=out), 23),
        (lambda A: A.gram(), lambda G, x, _: G @ x.ravel(), 25),
    ],
    ids=["A.H @ x", "apply", "A.H.apply", "batch", "out", "gram"],
)
def test_small_products_of_every_kind_are_a_few_calls(made, call, most):
    operator = made(stc.ConvOperator(np.ones((3, 3)), (40, 40), padding=1, method="direct"))
    x, out = np.ones((40, 40)), np.empty((40, 40))
    call(operator, x, out)
    called = names_of_calls(lambda: call(operator, x, out))
    assert 0 < len(called) <= most, called


def names_of_calls(run):
    """Return the names of the Python functions that are called, of the package's own."""
    called = []

    def note(frame, event, _):
        if event == "call" and frame.f_globals.get("__name__", "").startswith("sparsetconv"):
            called.append(frame.f_code.co_qualname)

    # a collection of garbage would call the functions that other packages have asked it to call
    gc.disable()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        gc.enable()
    return called


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("direction", ["forward", "adjoint"])
def test_a_single_tap_is_a_matrix_product_of_the_array_as_it_lies(batch, direction):
    """Nothing of the arrays' size is copied, in the batch neither."""
    kernel = integers((16, 8, 1, 1), "float32")
    A = stc.ConvOperator(kernel, (8, 100, 90), method="gemm")
    operator = A if direction == "forward" else A.H
    x = integers((batch, *operator.input_shape), "float32")
    out = np.empty((batch, *operator.output_shape), "float32")
    operator.apply(x, out=out)
    tracemalloc.start()
    try:
        operator.apply(x, out=out)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()
    weights = kernel[:, :, 0, 0] if direction == "forward" else kernel[:, :, 0, 0].T
    np.testing.assert_array_equal(out, np.einsum("oi,bihw->bohw", weights, x))
