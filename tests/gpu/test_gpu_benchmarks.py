"""asv's benchmarks on CuPy arrays: what a machine with a GPU would measure runs, and is on the device."""

import numpy as np
import pytest
import scipy.sparse as sp
from benchmark_suite import QUESTIONS, forget, measurements, smallest

# isort: split
from benchmarks import _backend


@pytest.fixture(autouse=True)
def _forget():
    forget()
    yield
    forget()


@pytest.mark.usefixtures("cp")
@pytest.mark.parametrize("name", QUESTIONS)
def test_measurements_run(name, monkeypatch):
    # one call instead of a third of a second's
    monkeypatch.setattr(_backend.Backend, "seconds", seconds_of_one_call)
    cls = QUESTIONS[name]
    for measurement in measurements(cls):
        benchmark = cls()
        parameters = (*smallest(cls), "cupy")
        benchmark.setup(*parameters)
        assert isinstance(benchmark.timer, _backend.EventClock)
        result = benchmark.call()
        arrays = result if isinstance(result, tuple | list) else [result]
        moved = "to host" in str(parameters)
        assert moved or not any(isinstance(array, np.ndarray) or sp.issparse(array) for array in arrays)
        value = getattr(benchmark, measurement)(*parameters)
        if measurement.startswith("track_"):
            assert np.isfinite(float(value)) or name == "break_even.BreakEven"


def seconds_of_one_call(backend, function, *_, **__):
    start = backend.clock()
    function()
    return backend.clock() - start
