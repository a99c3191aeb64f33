"""The registry of methods: what is in it is offered everywhere, and nothing else knows a method by its name."""

import ast
from pathlib import Path

import numpy as np
import pytest
from test_padding import names_compared

import sparsetconv as stc
from sparsetconv import plot
from sparsetconv._cli.plan import describe
from sparsetconv._methods import cost
from sparsetconv._methods.cpu.rates import current
from sparsetconv._methods.cpu.sparse import SparseMethod
from sparsetconv._methods.cuda import tuning
from sparsetconv._methods.merge import merged
from sparsetconv._methods.registry import GPU_METHODS, METHODS, REGISTRY
from sparsetconv._methods.work import Work

PACKAGE = Path(stc.__file__).parent
PAGE = PACKAGE.parent / "docs" / "operators.md"


class Toy(SparseMethod):
    """The matrix under another name; costs nothing."""

    name = "toy"

    @staticmethod
    def refusal(geometry, weights):
        del geometry
        return "a kernel of complex numbers" if weights.dtype.kind == "c" else None

    @staticmethod
    def seconds(work, rates):
        del work, rates
        return 0.0


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(METHODS, Toy.name, Toy)


@pytest.mark.usefixtures("toy")
def test_a_method_in_the_registry_is_offered_everywhere():
    A = stc.ConvOperator([1.0, 2.0], 5, method="toy")
    np.testing.assert_array_equal(A @ np.arange(5.0), [2, 5, 8, 11])
    assert stc.ConvOperator([1.0, 2.0], 5).method == "toy"
    assert "\n  toy    " in A.explain()
    geometry = stc.ConvGeometry(5, 2)
    assert cost.estimate(geometry, np.dtype(float))["toy"] == 0
    assert "toy" in describe(geometry).splitlines()[8].split()
    with pytest.raises(ValueError, match=r"method must be one of auto, .*, toy; got 'none'"):
        stc.ConvOperator([1.0, 2.0], 5, method="none")
    with pytest.raises(ValueError, match="'toy' does not accept a kernel of complex numbers; use method="):
        stc.ConvOperator([1j, 2], 5, method="toy")
    assert stc.ConvOperator([1j, 2], 5).method != "toy"


@pytest.mark.usefixtures("toy")
def test_a_method_in_the_registry_is_drawn():
    figure = pytest.importorskip("matplotlib.figure")
    ax = plot.method_costs(9, ax=figure.Figure().subplots())
    assert [line.get_label() for line in ax.lines] == list(METHODS)


def test_twins_have_the_same_name():
    assert [cpu.name for cpu, _ in REGISTRY] == [gpu.name for _, gpu in REGISTRY] == list(METHODS)
    assert list(GPU_METHODS) == list(METHODS)


def test_pages_name_every_method():
    words = ", ".join(f'"{name}"' for name in ("auto", *METHODS))
    assert f"method : {{{words}}}" in stc.ConvOperator.__doc__
    text = PAGE.read_text(encoding="utf-8")
    for name in METHODS:
        assert f'\n| `"{name}"` | ' in text
        assert f'``"{name}"``' in stc.ConvOperator.__doc__


def test_no_other_module_asks_for_a_method_by_name():
    asked = [
        path for path in PACKAGE.rglob("*.py") if list(names_compared(ast.parse(path.read_text()), METHODS))
    ]
    assert asked == []


GEOMETRIES = {
    "line": stc.ConvGeometry(50, 5, stride=2, padding=((3, 4),)),
    "folded": stc.ConvGeometry(50, 5, stride=2, padding=((3, 4),), padding_mode="reflect"),
    "channels": stc.ConvGeometry((6, 9, 20), (4, 3, 3, 2), stride=(2, 3), padding=1, groups=2),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int8"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_work_counts_what_a_product_does(name, dtype, transposed):
    """Samples and results are those of the arrays, the folded ones included; multiplications one by one."""
    geometry, dtype = merged(GEOMETRIES[name]), np.dtype(dtype)
    work = Work.of(geometry, transposed, dtype)
    groups, (c_in, c_out), axes = geometry.groups, geometry.channels, geometry.axes
    small = np.prod([axis.outputs for axis in axes])
    large = np.prod([axis.high - axis.low + 1 for axis in axes])
    signal = np.prod([axis.size for axis in axes])
    made = (large if name == "folded" else signal) if transposed else small
    read = small if transposed else large
    sources, results = (c_out, c_in) if transposed else (c_in, c_out)
    assert (work.read, work.made, work.channels) == (read, made, (sources, results))
    assert work.lines * work.line == groups * results * made
    assert work.moved == dtype.itemsize * groups * (sources * read + results * made)
    taps = np.prod([axis.taps for axis in axes])
    met = taps / np.prod([axis.stride for axis in axes]) if transposed else taps
    real = {"f": 4, "c": 8, "i": 1}[dtype.kind]
    count = groups * results * made * sources * met * (4 if dtype.kind == "c" else 1)
    assert work.multiplies(1) == pytest.approx(count * real / 4)
    assert work.multiplies(4) == pytest.approx(count * max(real, 4) / 4)
    assert work.weights == groups * c_in * c_out * taps


@pytest.mark.parametrize("rates", [current().rates, tuning.rates()], ids=["cpu", "gpu"])
def test_every_method_takes_longer_for_more(rates):
    """Seconds are positive and grow with the signal, the taps and the channels."""
    methods = METHODS if rates == current().rates else GPU_METHODS
    shapes = [((64, 64), (3, 3)), ((256, 64), (3, 3)), ((256, 256), (5, 5))]
    shapes += [((8, 256, 256), (8, 8, 5, 5)), ((64, 256, 256), (64, 64, 9, 9))]
    dtype = np.dtype("float32")
    works = [Work.of(merged(stc.ConvGeometry(*shape, padding="same")), False, dtype) for shape in shapes]
    for method in methods.values():
        seconds = [method.seconds(work, rates) for work in works]
        assert seconds[0] > 0
        assert seconds == sorted(seconds)
