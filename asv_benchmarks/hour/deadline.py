"""A plugin for pytest, ``-p hour.deadline``: no more tests are started when the time is over.

The report is still written, which it would not be if pytest were stopped from outside.
"""

import os
import time

END = time.monotonic() + float(os.environ["GPU_HOUR_SECONDS"])


def pytest_runtest_logfinish(nodeid, location):  # noqa: ARG001
    """See pytest."""
    if time.monotonic() > END:
        SESSIONS[-1].shouldstop = "the time is over"


SESSIONS = []


def pytest_sessionstart(session):
    """See pytest."""
    SESSIONS.append(session)
