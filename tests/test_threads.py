"""Threads: how many, what they keep of finished work, and what happens where a system has none to give."""

import gc
import math
import threading
import weakref

import numpy as np
import pytest
from pools import end, wait_for

import sparsetconv as stc
from sparsetconv._arrays import pool as pool_module
from sparsetconv._arrays import threads as threads_module


@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize(
    ("value", "threads"),
    [
        ("3", 3),
        # OpenMP's list: a number for each level of nested parallelism
        ("4,2", 4),
        (" 4 , 2 , 1 ", 4),
        (" 1", 1),
        ("1 ", 1),
        ("\t2\n", 2),
        ("007", 7),
        ("+3", 3),
        # no positive number: as if it were not set
        ("", None),
        (" ", None),
        ("0", None),
        ("0,4", None),
        ("-1", None),
        (",2", None),
        ("two", None),
        ("++1", None),
        ("1.5", None),
        ("1_0", None),
        pytest.param("9" * 5000, None, id="5000 digits"),
        ("²", None),
        ("٣", None),
    ],
)
def test_first_number_of_the_environment_counts(name, value, threads, monkeypatch):
    for other in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(other, raising=False)
    unset = threads_module.thread_count()
    monkeypatch.setenv(name, value)
    assert threads_module.thread_count() == (unset if threads is None else threads)


def test_numbers_are_looked_for_in_order(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "nonsense")
    monkeypatch.setenv("OMP_NUM_THREADS", "5,1")
    assert threads_module.thread_count() == 5
    monkeypatch.setenv("NUMBA_NUM_THREADS", "6")
    assert threads_module.thread_count() == 6


@pytest.fixture
def no_pool(monkeypatch):
    """Begin without a pool, and end the threads of those that are made."""
    made = []
    monkeypatch.setattr(threads_module, "_pools", made)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    yield made
    for pool in made:
        end(pool)


class Limit:
    """A system's limit of threads: how many more it starts, and how many it has refused."""

    def __init__(self, left):
        self.left, self.refused = left, 0
        self.start = threading.Thread.start

    def __call__(self, thread):
        if self.left <= 0:
            self.refused += 1
            msg = "can't start new thread"
            raise RuntimeError(msg)
        self.left -= 1
        self.start(thread)


@pytest.fixture
def limit(request, monkeypatch):
    """Refuse every thread from here on; ``limit.left`` allows some."""
    request.getfixturevalue("no_pool")
    system = Limit(0)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: system(thread))
    monkeypatch.setattr(pool_module, "PATIENCE", math.inf)
    return system


@pytest.fixture
def blocked(no_pool):
    """Hold up every thread of the pool with a long product in another thread."""
    begun, free = threading.Barrier(4), threading.Event()

    def hold(_):
        begun.wait(10)
        free.wait(10)

    caller = threading.Thread(target=threads_module.for_each, args=(hold, range(3), 3))
    caller.start()
    begun.wait(10)
    yield no_pool[0]
    free.set()
    caller.join()


class Held:
    """Something large that a product works on."""

    def __init__(self):
        self.done = []

    def add(self, item):
        self.done.append((item, threading.get_ident()))


def do_some_work(workers=3):
    """Work in several threads; return who did it, and a reference to what it was done on."""
    held = Held()
    threads_module.for_each(held.add, range(6), workers)
    assert sorted(item for item, _ in held.done) == list(range(6))
    return {thread for _, thread in held.done}, weakref.ref(held)


@pytest.fixture
def no_collection():
    """References alone must free what is no longer used."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_arrays_die_with_their_product_beside_a_long_one(blocked):
    for _ in range(50):
        threads, held = do_some_work()
        assert threads == {threading.get_ident()}
        assert held() is None
        # threads that are busy find nothing of it later, and no others are started for it
        assert not blocked._waiting
        assert len(blocked._helpers) <= blocked.threads


@pytest.mark.usefixtures("no_collection")
def test_arrays_die_with_their_product_where_threads_are_refused(limit, no_pool):
    for _ in range(50):
        threads, held = do_some_work()
        assert threads == {threading.get_ident()}
        assert held() is None
    (pool,) = no_pool
    assert not pool._waiting
    # one refusal is enough
    assert limit.refused == 1
    assert pool._helpers == []


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("method", ["sparse", "direct", "fft"])
def test_operands_die_with_their_product(method, limit):
    """The same of every method: an operand is the caller's alone once the product is there."""

    class Operand(np.ndarray):
        pass

    A = stc.ConvOperator(np.ones((5, 5), np.float32), (300, 300), padding="same", method=method)
    A.H @ (A @ np.ones(A.shape[1], np.float32))
    for product in (A.matvec, A.rmatvec):
        # an array's base lives as long as any view of it, as the loops have
        base = np.ones(A.shape[1], np.float32).view(Operand)
        alive = weakref.ref(base)
        product(base.view(np.ndarray))
        del base
        assert alive() is None
    assert limit.refused == 1


def test_refused_threads_are_asked_for_again(limit, no_pool, monkeypatch):
    """After a while, in a new pool, and not in each product before."""
    do_some_work()
    (dead,) = no_pool
    limit.left = 2
    do_some_work()
    assert no_pool == [dead]
    assert limit.left == 2
    monkeypatch.setattr(pool_module, "PATIENCE", -1)
    begun = threading.Barrier(3)
    threads_module.for_each(lambda _: begun.wait(10), range(3), 3)
    (pool,) = no_pool
    assert pool is not dead
    assert (limit.left, limit.refused, len(pool._ids)) == (0, 1, 2)


def test_threads_that_were_granted_work_without_those_refused(limit, no_pool):
    """One of two helpers is there: it helps in each product, and the other is not asked for in each."""
    limit.left = 1
    do_some_work()
    begun = threading.Barrier(2)
    for _ in range(5):
        threads_module.for_each(lambda _: begun.wait(10), range(2), 3)
    (pool,) = no_pool
    assert limit.refused == 1
    assert len(pool._ids) == 1


def test_a_helper_takes_up_what_waits_when_it_is_free(no_pool):
    """Work that came while it was busy needs no call of its own."""
    begun, free, together = threading.Barrier(3), threading.Event(), threading.Barrier(2)

    def hold(_):
        begun.wait(10)
        free.wait(10)

    def work_together(_):
        free.set()
        together.wait(10)

    pool = pool_module.Pool(1)
    no_pool.append(pool)
    caller = threading.Thread(target=pool.run, args=(hold, range(2), 1))
    caller.start()
    begun.wait(10)
    pool.run(work_together, range(2), 1)
    caller.join()


def test_helpers_that_have_done_their_part_sleep(no_pool):
    """Each on a lock of its own, and the next product wakes them instead of starting others."""
    for _ in range(20):
        met = threading.Barrier(3)
        threads_module.for_each(lambda _, met=met: met.wait(10), range(3), 3)
        (pool,) = no_pool
        wait_for(lambda pool=pool: len(pool._idle) == 2)
        assert all(lock.locked() for lock in pool._idle)
        assert not pool._waiting
    assert len(pool._helpers) == len(pool._ids) == 2


def test_no_wake_up_is_lost(no_pool):
    """However calls and helpers that go to sleep meet, there is a helper for the next product."""
    pool = pool_module.Pool(1)
    no_pool.append(pool)
    for _ in range(300):
        # over before or after the helper has woken
        pool.run(lambda _: None, range(2), 1)
    met = threading.Barrier(2)
    for _ in range(20):
        pool.run(lambda _: met.wait(10), range(2), 1)
    assert len(pool._helpers) == 1


def test_a_closed_pool_ends_its_threads_and_its_callers_work_alone(no_pool):
    pool = pool_module.Pool(2)
    no_pool.append(pool)
    met, done = threading.Barrier(3), []
    pool.run(lambda _: met.wait(10), range(3), 2)
    end(pool)
    pool.run(lambda item: done.append((item, threading.get_ident())), range(4), 2)
    assert done == [(item, threading.get_ident()) for item in range(4)]
    assert not pool._waiting
    assert len(pool._helpers) == 2
