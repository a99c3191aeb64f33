"""The laws of linear operators on NumPy's arrays: every geometry x method x dtype x padding mode."""

import pytest
from arrays import NUMPY
from operator_laws import *  # noqa: F403


@pytest.fixture
def arrays():
    """Return the kind of arrays that the laws are tried on."""
    return NUMPY
