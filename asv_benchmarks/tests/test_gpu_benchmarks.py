"""asv's benchmarks on CuPy arrays: what a machine with a GPU would measure runs, and is on the device."""

import numpy as np
import pytest
import scipy.sparse as sp
from benchmark_suite import ON_GPU, forget, measurements, smallest
from benchmarks import _backend


@pytest.fixture(autouse=True)
def _forget():
    forget()
    yield
    forget()


# parameters that determine a problem's size: the smallest is enough
SIZES = {"n", "taps", "m", "layer", "products"}


def combinations(cls):
    """Yield the smallest problem, and others in which one parameter has another value."""
    first = smallest(cls)
    yield first
    for number, name in enumerate(cls.param_names[:-1]):
        for value in cls.params[number][1:] if name not in SIZES else ():
            yield (*first[:number], value, *first[number + 1 :])


@pytest.mark.usefixtures("cp")
@pytest.mark.parametrize(
    ("name", "parameters"), [(name, some) for name, cls in ON_GPU.items() for some in combinations(cls)]
)
def test_measurements_run(name, parameters, monkeypatch):
    # one call instead of a third of a second of calls
    monkeypatch.setattr(_backend.Backend, "seconds", seconds_of_one_call)
    cls = ON_GPU[name]
    for measurement in measurements(cls):
        benchmark = cls()
        benchmark.setup(*parameters, "cupy")
        assert isinstance(benchmark.timer, _backend.EventClock)
        result = benchmark.call()
        arrays = result if isinstance(result, tuple | list) else [result]
        on_host = [isinstance(array, np.ndarray) or sp.issparse(array) for array in arrays]
        assert any(on_host) == any("to host" in str(value) for value in parameters)
        value = getattr(benchmark, measurement)(*parameters, "cupy")
        if measurement.startswith("track_"):
            assert np.isfinite(float(value)) or measurement == "track_products"


def seconds_of_one_call(backend, function, *_, **__):
    start = backend.clock()
    function()
    return backend.clock() - start
