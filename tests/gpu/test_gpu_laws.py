"""The laws of linear operators on CuPy's arrays: those of the CPU, word for word.

What is left out are the CPU's own affairs: its threads, forks, arrays that cannot be written to, and the ways in
which SciPy calls operators.
"""

import pytest
from arrays import Arrays
from operator_laws import *  # noqa: F403


@pytest.fixture
def arrays(cp):
    """Return the kind of arrays that the laws are tried on."""
    return Arrays(cp)
