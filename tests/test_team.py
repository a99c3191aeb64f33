"""Threads that compute in one compiled loop: what they compute, and when they come back from there."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from pools import end, wait_for

import sparsetconv as stc
from sparsetconv._arrays import threads as threads_module
from sparsetconv._arrays.record import size
from sparsetconv._methods.cpu import team as team_module
from sparsetconv._methods.cpu.team import DESK, PLACES, Call, Team, alone, together


@pytest.fixture
def pools(monkeypatch):
    """Begin without a pool, on a system with four cores; end the threads of pools that are made."""
    made = []
    monkeypatch.setattr(threads_module, "_pools", made)
    monkeypatch.setattr(team_module, "core_count", lambda: 4)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    yield made
    for pool in made:
        end(pool)


def operators(dtype=np.float32):
    """Return operators whose products threads divide among them, with an operand each."""
    rng = np.random.default_rng(0)
    picture, layer = rng.standard_normal((300, 290)), rng.standard_normal((6, 50, 40))
    made = []
    for method, (kernel, x, options) in [
        ("direct", ((5, 4), picture, {})),
        ("fft", ((9, 9), picture, {})),
        ("direct", ((8, 3, 5, 5), layer, {"groups": 2})),
        ("fft", ((8, 3, 5, 5), layer, {"groups": 2})),
    ]:
        A = stc.ConvOperator(rng.standard_normal(kernel).astype(dtype), x.shape, method=method, **options)
        made.append((A, x.astype(dtype)))
    return made


def products(made):
    return [(A.apply(x), A.H.apply(A.apply(x))) for A, x in made]


def all_equal(found, expected):
    for pair, other in zip(found, expected, strict=True):
        for actual, right in zip(pair, other, strict=True):
            np.testing.assert_array_equal(actual, right)


@pytest.mark.parametrize("threads", ["2", "3", "4"])
def test_the_bits_are_those_of_one_thread(threads, pools, monkeypatch):
    """Whatever methods and dtypes follow one another, whose arrays of helpers differ."""
    made = operators() + operators(np.complex128)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    expected = products(made)
    assert pools == []
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    for _ in range(20):
        all_equal(products(made), expected)
    (pool,) = pools
    assert pool.team is not None


def test_fewer_tickets_than_helpers(pools, monkeypatch):
    """Whichever helper takes a ticket, it has arrays of its own."""
    made = operators()
    expected = products(made)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    for _ in range(30):
        all_equal(products(made), expected)
    assert pools[0].threads == 2


def test_several_callers(pools):
    """One has the helpers; the others compute without the desk. No bit differs."""
    made = operators()
    expected, failed = products(made), []

    def call():
        try:
            for _ in range(10):
                all_equal(products(made), expected)
        except BaseException as error:
            failed.append(error)
            raise

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert failed == []
    assert len(pools) == 1


def test_a_desk_that_is_taken(pools):
    A, x = operators()[0]
    expected = A.apply(x)
    with pools[0].team._busy:
        np.testing.assert_array_equal(A.apply(x), expected)
    assert not pools[0].team._busy.locked()


def test_no_more_threads_than_cores_wait_in_compiled_code(pools, monkeypatch):
    monkeypatch.setattr(team_module, "core_count", lambda: 2)
    A, x = operators()[0]
    expected = A.apply(x)
    np.testing.assert_array_equal(A.apply(x), expected)
    A.apply(x)
    (pool,) = pools
    desk = pool.team._desk
    assert desk[PLACES["helpers"]] == desk[PLACES["awake"]] == 0
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    A.apply(x)
    assert desk[PLACES["helpers"]] == 1


def test_helpers_stay_for_a_while_and_then_sleep(pools):
    A, x = operators()[0]
    for _ in range(5):
        A.apply(x)
        (pool,) = pools
        wait_for(lambda pool=pool: len(pool._idle) == 2)
        assert pool.team._desk[PLACES["awake"]] == 0
        assert not pool._waiting


def test_helpers_that_stay_come_back_for_other_work(pools):
    """They would stay for minutes, and are called away."""
    A, x = operators()[0]
    A.apply(x)
    (pool,) = pools
    pool.team._turns = 1 << 40
    for _ in range(5):
        met = threading.Barrier(3)
        A.apply(x)
        threads_module.for_each(lambda _, met=met: met.wait(10), range(3), 3)


def test_a_closed_pool_calls_its_helpers_away(pools):
    A, x = operators()[0]
    A.apply(x)
    (pool,) = pools
    pool.team._turns = 1 << 40
    A.apply(x)
    end(pool)


class Late:
    """Loops of which a helper does its part late; the desk is that of a caller that was too patient."""

    def __init__(self, seconds, error=None):
        self.seconds, self.error, self.ended = seconds, error, None

    def __call__(self, *given):
        desk = given[6]
        desk[PLACES["done"]], desk[PLACES["begun"]], desk[PLACES["late"]] = 0, 1, 1

        def end():
            time.sleep(self.seconds)
            self.ended = time.monotonic()
            desk[PLACES["done"]] = 1

        threading.Thread(target=end).start()
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_a_caller_waits_for_helpers_that_take_long(error, pools):
    """After an interrupt, too, since they write to its arrays."""
    loops = Late(0.05, error)
    call = Call(loops, [np.zeros(1)] * 6, (0, 0, 0), ())
    team = Team(threads_module.pool_of(1))
    if error is None:
        assert team.run(call, 1)
    else:
        with pytest.raises(KeyboardInterrupt):
            team.run(call, 1)
    assert loops.ended is not None
    assert time.monotonic() >= loops.ended
    assert not team._busy.locked()
    assert len(pools) == 1


def test_large_arrays_of_helpers_are_not_kept(pools, monkeypatch):
    monkeypatch.setattr(team_module.memory, "KEPT_BYTES", 0)
    made = operators()
    expected = products(made)
    all_equal(products(made), expected)
    assert pools[0].team._kept == {}


def test_memory_of_helpers_is_asked_for(pools, monkeypatch):
    asked = []
    monkeypatch.setattr(team_module.memory, "require", lambda what, nbytes, _: asked.append((what, nbytes)))
    like = np.zeros(1000)
    Team(threads_module.pool_of(2))._provide(Call(print, [like] * 6, (0, 0, 0), (2, 5)), 2)
    assert asked == [("what threads compute in", 32000)]
    assert len(pools) == 1


def test_a_gradient_after_products_that_were_not_finite(pools):
    """Helpers keep the arrays of a product with NaN in it, which the gradient would multiply by zeros."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 3, 5, 5)).astype(np.float32)
    A = stc.ConvOperator(kernel, (3, 300, 290), padding=2, method="direct")
    x = rng.standard_normal(A.input_shape).astype(np.float32)
    G = stc.KernelOperator(x, kernel.shape, padding=2)
    y = A.apply(x)
    expected = G.H.apply(y)
    assert np.isfinite(expected).all()
    for _ in range(3):
        A.apply(np.full_like(x, np.nan))
        np.testing.assert_array_equal(G.H.apply(y), expected)
    assert pools[0].team is not None


def test_the_first_team_of_a_pool_stays(pools):
    """Two callers may make one each at the same time."""
    pool = threads_module.pool_of(1)
    first, second = Team(pool), Team(pool)
    pool.invite(first)
    pool.invite(second)
    assert pool.team is first
    assert pools == [pool]


def test_one_thread_has_a_desk_without_helpers():
    desk = []
    together(Call(lambda *given: desk.append(given[6]), [np.zeros(1)] * 6, (1, 2, 3), ()), 1)
    np.testing.assert_array_equal(desk[0], alone())
    assert alone().size == size(DESK)


def test_numbers_that_others_wait_for_are_in_cache_lines_of_their_own():
    assert [PLACES[name] % 8 for name in ("next", "tickets", "done", "awake")] == [0] * 4


PROGRAM = """
import os
import numpy as np
import sparsetconv as stc
A = stc.ConvOperator(np.ones((5, 5), np.float32), (400, 400), padding=2, method="direct")
x = np.ones(A.input_shape, np.float32)
expected = A.apply(x)
for _ in range(50):
    assert np.array_equal(A.apply(x), expected)
if hasattr(os, "fork"):
    child = os.fork()
    for _ in range(50):
        assert np.array_equal(A.apply(x), expected)
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""


def test_processes_fork_and_end_while_helpers_stay():
    """Code that threads are still in is not unloaded."""
    for _ in range(3):
        environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
        subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
            check=True,
            env=environment,
            timeout=120,
        )
