"""The benchmark suite runs, skips with a reason, and counts correctly. No time is asserted."""

import importlib
import math
import sys
import types

import machines
import numpy as np
import pytest
from benchmark_suite import ON_CPU, QUESTIONS, forget, measurements, smallest
from benchmarks import _backend, _problems, _roofline
from benchmarks.break_even import break_even

import sparsetconv as stc


@pytest.fixture(autouse=True)
def _forget():
    yield
    forget()


@pytest.mark.parametrize("name", QUESTIONS)
def test_grid(name):
    cls = QUESTIONS[name]
    assert len(cls.params) == len(cls.param_names) == len(set(cls.param_names))
    assert cls.param_names[-1] == "backend"
    assert set(cls.params[-1]) <= set(_backend.BACKENDS)
    assert cls.__doc__
    assert cls.version
    for measurement in measurements(cls):
        if measurement.startswith("track_"):
            # less is better, as asv takes it; time over time, or time or memory over work
            assert getattr(cls, measurement).unit in _problems.COSTS


@pytest.mark.parametrize(
    ("name", "measurement"), [(n, m) for n, cls in ON_CPU.items() for m in measurements(cls)]
)
def test_measurement_runs(name, measurement):
    cls = ON_CPU[name]
    benchmark = cls()
    parameters = (*smallest(cls), "numpy")
    benchmark.setup(*parameters)
    call = benchmark.call
    # asv sets up again before each sample
    benchmark.setup(*parameters)
    assert benchmark.call is call
    value = getattr(benchmark, measurement)(*parameters)
    if measurement.startswith("track_"):
        # where the matrix saves nothing there is no break-even
        assert value > 0 or name == "break_even.BreakEven"
    else:
        assert value is None


def fake_cupy(available):
    return types.SimpleNamespace(is_available=lambda: available)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(None, "CuPy cannot be imported"), (fake_cupy(False), "CuPy finds no GPU")],
    ids=["no CuPy", "no GPU"],
)
@pytest.mark.parametrize("name", QUESTIONS)
def test_no_gpu_is_skipped_with_a_reason(name, module, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", module)
    cls = QUESTIONS[name]
    with pytest.raises(NotImplementedError, match=reason):
        cls().setup(*smallest(cls), "cupy")
    assert machines.cupy_or_reason()[0] is None


def test_version_without_gpu_functions_is_skipped(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(True))
    monkeypatch.delattr(stc, "to_device", raising=False)
    with pytest.raises(NotImplementedError, match=r"no sparsetconv\.to_device"):
        _backend.get("cupy")


@pytest.mark.parametrize(
    ("name", "lacks"), [("resizing.Resize", "ResizeOperator"), ("learning.FitKernel", "fit_kernel")]
)
def test_version_without_a_function_is_skipped(name, lacks, monkeypatch):
    monkeypatch.delattr(stc, lacks)
    cls = QUESTIONS[name]
    with pytest.raises(NotImplementedError, match=f"no sparsetconv.{lacks}"):
        cls().setup(*smallest(cls), "numpy")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("assembly.Assembly", (2048, 7, "conv")),
        ("sparse_products.SparseProduct", (1024, 7, 64, "forward")),
        ("operators.KernelSizes", (25, "sparse", "adjoint")),
        ("memory.ProductMemory", (1024, "matrix")),
    ],
)
def test_too_little_memory_is_skipped_with_a_reason(name, parameters, monkeypatch):
    monkeypatch.setattr(_backend, "_free_on_host", lambda: 1 << 27)
    with pytest.raises(NotImplementedError, match=r"needs \d+\.\d GiB of memory, 0\.1 GiB are free"):
        QUESTIONS[name]().setup(*parameters, "numpy")


def test_containers_limit_counts(tmp_path):
    assert _backend._free_in_container(tmp_path) is None
    for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 1\ninactive_file 50\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert _backend._free_in_container(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert _backend._free_in_container(tmp_path) is None


def test_memory_that_ends_is_skipped_with_a_reason():
    def end():
        msg = "no more"
        raise MemoryError(msg)

    with pytest.raises(_backend.Skip, match="out of memory: no more"):
        _backend.get("numpy").seconds(end)
    mark = pytest.importorskip("asv_runner.benchmarks.mark")
    # what asv catches while it measures
    assert _backend.Skip is mark.SkipNotImplemented


class FakeCuda:
    """A device whose clock shows milliseconds in single precision, and which records what was done."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def Event(self):  # noqa: N802
        event = types.SimpleNamespace(time=None)

        def record():
            event.time = self.now
            self.done.append("record")

        event.record, event.synchronize = record, lambda: self.done.append("event")
        return event

    @staticmethod
    def get_elapsed_time(first, second):
        return float(np.float32((second.time - first.time) * 1e3))


def test_event_clock_waits_and_stays_precise():
    cuda = FakeCuda()
    clock = _backend.EventClock(cuda)
    assert cuda.done == ["record", "event"]
    # hours later, single precision would not see microseconds
    cuda.now += 1e4
    start = clock()
    cuda.now += 3e-6
    assert clock() - start == pytest.approx(3e-6, rel=1e-3)


def test_costs_of_work():
    work = _backend.Work(nbytes=4e9, flops=8e9)
    assert work.ns_a_byte(2) == 0.5
    assert work.ns_an_operation(2) == 0.25
    matrix = stc.conv_matrix(np.ones((3, 3)), (8, 8))
    assert _backend.size(matrix) == 12 * matrix.nnz + 4 * 37
    work = _problems.product_work(matrix, columns=8)
    assert (work.nbytes, work.flops) == (12 * matrix.nnz + 4 * 37 + 8 * 8 * 100, 16 * matrix.nnz)
    operator = stc.ConvOperator(np.ones((3, 3)), (8, 8))
    assert _problems.product_work(operator).nbytes == 800


def test_roofline_is_the_larger_time(monkeypatch):
    monkeypatch.setattr(_roofline, "copy_rate", lambda *_: 100.0)
    monkeypatch.setattr(_roofline, "product_rate", lambda *_: 10.0)
    backend = _backend.get("numpy")
    # 2 s of moving, 1 s of arithmetic, took 4 s
    assert _roofline.excess(backend, _backend.Work(200, 10), 4, "float64") == 2
    assert _roofline.excess(backend, _backend.Work(200, 40), 4, "float64") == 1


# what is measured of time, apart from time itself
OF_TIME = [
    (name, measurement)
    for name, cls in ON_CPU.items()
    for measurement in measurements(cls)
    if issubclass(cls, (_problems.UnitCosts, QUESTIONS["assembly.AssemblyCosts"]))
]


@pytest.mark.parametrize(("name", "measurement"), OF_TIME)
def test_half_the_time_is_half_the_cost(name, measurement, monkeypatch):
    cls = ON_CPU[name]
    monkeypatch.setattr(_roofline, "copy_rate", lambda *_: 1e9)
    monkeypatch.setattr(_roofline, "product_rate", lambda *_: 1e9)
    monkeypatch.setattr(importlib.import_module("benchmarks.assembly"), "fill_seconds", lambda *_: 0.25)
    parameters = (*smallest(cls), "numpy")
    benchmark = cls()
    benchmark.setup(*parameters)
    found = []
    for seconds in (1.0, 0.5):
        monkeypatch.setattr(benchmark, "seconds", lambda seconds=seconds: seconds)
        found.append(getattr(benchmark, measurement)(*parameters))
    assert found[1] == found[0] / 2 > 0


def test_a_faster_matrix_is_a_lower_cost_beside_the_operator(monkeypatch):
    benchmark = QUESTIONS["break_even.BreakEven"]()
    found = []
    for by_matrix in (2.0, 1.0):
        monkeypatch.setattr(benchmark, "times", lambda by_matrix=by_matrix: [10.0, by_matrix, 4.0])
        found.append((benchmark.track_over_without(), benchmark.track_products()))
    assert found == [(0.5, 5), (0.25, 4)]


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ((10, 1, 3), 5),
        ((10, 1, 4), 4),
        ((10, 3, 3), math.nan),
        ((10, 1, 1.05), math.nan),
        ((10, 3, 1), math.nan),
    ],
    ids=["pays", "rounded up", "a tie never pays", "nor what cannot be told from one", "never"],
)
def test_break_even(times, count):
    assert break_even(*times) == pytest.approx(count, nan_ok=True)
