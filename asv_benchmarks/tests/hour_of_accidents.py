"""A part of `gpu_hour` in which everything fails that can, for the tests of how failures are handled."""

import os
import time

from hour.steps import Step, Unavailable


def steps(toy):
    del toy
    rows = (good, bad, gone, slow, missing, over, good)
    return [Step(f"{number} {function.__name__}", function, 2) for number, function in enumerate(rows)]


def good(lab):
    yield {"process": os.getpid(), "toy": lab.toy}


def bad(lab):
    yield {"seen": 1}
    msg = f"a wrong result, toy is {lab.toy}"
    raise AssertionError(msg)


def gone(lab):
    del lab
    yield {"seen": 1}
    os._exit(3)


def slow(lab):
    del lab
    yield {"seen": 1}
    time.sleep(60)


def missing(lab):
    del lab
    msg = "there is no such library"
    raise Unavailable(msg)
    yield


def over(lab):
    yield {"left": lab.seconds_left()}
    msg = "half of it"
    raise TimeoutError(msg)
