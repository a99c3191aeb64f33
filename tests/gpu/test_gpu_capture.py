"""CUDA graphs: work that is recorded once and repeated."""

import gc
import weakref

import numpy as np
import pytest
from operator_cases import integers

import sparsetconv as stc


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_products_are_repeated_with_what_is_in_the_arrays(cp, mode):
    kernel = integers((3, 2), "float32")
    host = stc.ConvOperator(kernel, (20, 9), padding=1, padding_mode=mode)
    A = stc.ConvOperator(cp.asarray(kernel), (20, 9), padding=1, padding_mode=mode, method="direct")
    x = cp.asarray(integers((20, 9), "float32", 1))
    repeated = stc.capture(lambda: A.H.apply(A.apply(x)))
    for seed in (2, 3):
        values = integers((20, 9), "float32", seed)
        x[...] = cp.asarray(values)
        result = repeated()
        assert result is repeated.result
        np.testing.assert_array_equal(result.get(), host.H.apply(host.apply(values)))


def test_other_work_does_not_get_the_memory(cp):
    """What the function has given back belongs to the graph: the bands of an adjoint, say."""
    if cp.__version__.endswith("(emulated)"):
        pytest.skip("the emulation has no pool that gives memory again")
    A = stc.ConvOperator(
        cp.asarray(np.ones((3, 3))), (9, 9), padding=1, padding_mode="reflect", method="direct"
    )
    y = cp.asarray(np.ones(A.output_shape))
    repeated = stc.capture(lambda: A.H.apply(y))
    others = [cp.asarray(np.full(121, float(n))) for n in range(20)]
    first = repeated().get()
    for n, other in enumerate(others):
        assert (other.get() == n).all()
    np.testing.assert_array_equal(repeated().get(), first)


def test_a_step_of_a_solver(cp):
    if cp.__version__.endswith("(emulated)"):
        pytest.skip("the emulation captures kernels alone, not CuPy's own")
    A = stc.ConvOperator(cp.asarray(np.ones((3, 3)) / 9), (64, 64), padding="same", method="direct")
    y = A @ cp.asarray(np.random.default_rng(0).random(64 * 64))
    x, expected = cp.zeros(64 * 64), cp.zeros(64 * 64)

    def step(x):
        x[...] += A.rmatvec(y - A @ x)

    repeated = stc.capture(lambda: step(x))
    for _ in range(49):
        repeated()
    for _ in range(50):
        step(expected)
    np.testing.assert_array_equal(x.get(), expected.get())


def test_what_the_graph_reads_lives_as_long(cp):
    def made():
        A = stc.ConvOperator(cp.asarray(np.ones((3, 3))), (9, 9), method="direct")
        x = cp.asarray(np.ones((9, 9)))
        return stc.capture(lambda: A.apply(x)), weakref.ref(A), weakref.ref(x)

    repeated, *read = made()
    gc.collect()
    assert all(reference() is not None for reference in read)
    del repeated
    gc.collect()
    assert not any(reference() is not None for reference in read)


def test_what_cupy_does_not_record(cp):
    if cp.__version__.endswith("(emulated)"):
        pytest.skip("the emulation captures kernels alone, and says so in its own words")
    x = cp.asarray(np.ones((9, 9)))
    for method in ("sparse", "gemm"):
        A = stc.ConvOperator(cp.asarray(np.ones((3, 3))), (9, 9), method=method)
        with pytest.raises(NotImplementedError, match="during stream capture"):
            stc.capture(lambda A=A: A.apply(x))
    # the stream is free again
    D = stc.ConvOperator(cp.asarray(np.ones((3, 3))), (9, 9), method="direct")
    assert stc.capture(lambda: D.apply(x))().shape == (7, 7)


@pytest.mark.usefixtures("cp")
def test_a_function_that_raises_ends_the_capture():
    calls = []

    def function():
        calls.append(None)
        if len(calls) == 2:
            msg = "the second time"
            raise ZeroDivisionError(msg)

    with pytest.raises(ZeroDivisionError, match="the second time"):
        stc.capture(function)
    assert stc.capture(lambda: 3).result == 3
    with pytest.raises(TypeError, match=r"function must be callable, without arguments; got .*int"):
        stc.capture(3)


def test_without_a_card(cp, monkeypatch):
    monkeypatch.setattr(cp, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="needs a GPU"):
        stc.capture(lambda: None)
