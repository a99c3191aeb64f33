"""What tests of threads share: the end of a pool, and waiting for what another thread does."""

import time


def end(pool):
    """End the threads of a pool."""
    pool.end(10)
    assert not any(helper.is_alive() for helper in pool._helpers)


def wait_for(condition):
    """Wait until a condition holds, for some seconds at most."""
    latest = time.monotonic() + 10
    while not condition() and time.monotonic() < latest:
        time.sleep(0.001)
    assert condition()
