"""Rates of this machine: measured only when asked for, fitted, kept in a file, ignored where they do not apply."""

import json
import math
import pickle
import warnings
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import platformdirs
import pytest

import sparsetconv as stc
from sparsetconv._arrays import output, threads
from sparsetconv._cli.main import main
from sparsetconv._methods import cost, probes
from sparsetconv._methods import tune as tuning
from sparsetconv._methods.cpu import rates, stored
from sparsetconv._methods.cpu.fft import FFTMethod
from sparsetconv._methods.probes import PROBES
from sparsetconv._methods.registry import METHODS


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return a cache folder of this test, which does not exist yet; rates are read from it."""
    folder = tmp_path / "cache" / "sparsetconv"
    monkeypatch.setattr(stored, "folder", lambda: folder)
    monkeypatch.delenv("SPARSETCONV_RATES", raising=False)
    rates.forget()
    yield folder
    rates.forget()


def machine(factor=1.0, **others):
    """Return the times of a machine, some multiple of those of this one's class."""
    usual = rates.of_class().rates
    return {name: others.get(name, factor * getattr(usual, name)) for name in rates.TIMES}


def times_of(times):
    """Return what each problem takes on a machine that is as the model says."""
    own = rates.of_times(times)
    return [tuple(probe.method.seconds(work, own) for work in probe.works()) for probe in PROBES]


@pytest.fixture
def measured(cache, monkeypatch):
    """Set the machine that is measured: nothing is really timed. Return the calls so far."""
    assert not cache.exists()
    calls = []

    def set_machine(times):
        def measure(problems, progress=iter):
            calls.append(len(problems))
            assert list(progress(range(2))) == [0, 1]
            return times_of(times)

        monkeypatch.setattr(probes, "measure", measure)
        return calls

    return set_machine


def uneven():
    """Return the times of a machine whose every rate is another multiple of the usual one."""
    factors = np.geomspace(0.2, 5, len(rates.TIMES))[np.random.default_rng(0).permutation(len(rates.TIMES))]
    usual = machine()
    return {name: factor * usual[name] for name, factor in zip(rates.TIMES, factors, strict=True)}


def test_seconds_are_sums_of_rates():
    """What the fit relies on: estimates are linear in the times, with counts that are not negative."""
    counted = tuning.counts(PROBES)
    assert counted.shape == (len(PROBES), 2, len(rates.TIMES))
    assert (counted >= 0).all()
    times = uneven()
    np.testing.assert_allclose(counted @ list(times.values()), times_of(times), rtol=1e-12)
    # every rate is told apart from the others
    shares = counted.reshape(-1, len(rates.TIMES)) * list(machine().values())
    shares /= shares.sum(1, keepdims=True)
    shares /= np.linalg.norm(shares, axis=0)
    assert np.linalg.svd(shares, compute_uv=False)[-1] > 0.15


def test_the_rates_of_a_machine_that_is_as_the_model_says_are_found():
    found, ratio = tuning.fit(PROBES, times_of(uneven()))
    assert found == pytest.approx(uneven(), rel=1e-6)
    assert ratio == pytest.approx(1)


def test_some_wrong_times_do_not_matter():
    """One in ten is off by ten."""
    times = np.array(times_of(uneven()))
    times[::10] *= 10
    found, _ = tuning.fit(PROBES, times.tolist())
    ratios = np.array(times_of(found)) / times_of(uneven())
    assert 0.9 < ratios.min() <= ratios.max() < 1.25
    assert np.median(np.abs(np.log(ratios))) < 0.05


def test_rates_stay_within_what_is_believed():
    found, _ = tuning.fit(PROBES, np.array(times_of(machine(1e4))).tolist())
    bounds = rates.sane_bounds()
    assert all(bounds[name][0] <= value <= bounds[name][1] * (1 + 1e-9) for name, value in found.items())
    rates._check(rates.of_times(found))


def test_every_time_has_a_rate_and_every_class_has_all():
    assert {*rates.TIMES, *rates.RATIOS} == set(rates.of_class().rates._fields)
    assert set(rates.shipped().rates) == set(rates.CLASSES.values())
    for own in rates.shipped().rates.values():
        assert all(0 < getattr(own, name) < 1e-3 for name in rates.TIMES)


class Clock:
    """A clock that goes on by what is called."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("slow", [1, 1000])
def test_times_are_medians_over_rounds_of_least_times(slow):
    """A disturbance in some rounds is not seen; where a round takes long, there is only one."""
    clock, log = Clock(), []

    def probe(name, seconds):
        def call():
            log.append(name)
            clock.now += next(seconds) * slow

        class Fake:
            def calls(self):
                return call, call

        return Fake()

    disturbed = (0.5 if number in range(40, 60) else 0.002 for number in count())
    problems = [probe("a", (0.001 for _ in count())), probe("b", disturbed)]
    found = probes.measure(problems, clock=clock)
    assert found == [pytest.approx((0.001 * slow,) * 2), pytest.approx((0.002 * slow,) * 2)]
    # a, b, a, b, ...: one after the other in every round
    turns = sum(one != other for one, other in pairwise(log))
    assert turns == 2 * (probes.ROUNDS if slow == 1 else 1) - 1


def test_problems_are_computed_as_they_are_named():
    """Small ones in their place: both ways, by the strategy that is to be timed."""
    for kind in {probe.method for probe in PROBES} - {probes.Tiles, probes.Whole}:
        for call in probes.Probe(kind, (3, 3), (8, 8), "float64").calls():
            assert call().size in (64, 484)
    for kind, whole in ((probes.Tiles, False), (probes.Whole, True)):
        method = kind(stc.ConvGeometry((40, 40), (5, 5), padding="same"), np.ones((1, 1, 1, 5, 5)))
        usual = FFTMethod(method.geometry, method.weights)
        x = np.random.default_rng(0).standard_normal((1, 1, 1, 40, 40))
        for transposed, name in ((False, "forward"), (True, "transpose")):
            assert method.strategy(transposed, np.dtype(float)).whole is whole
            np.testing.assert_allclose(getattr(method, name)(x), getattr(usual, name)(x), atol=1e-12)
    assert all(probe.geometry.groups == 1 for probe in PROBES)


def test_tune_keeps_its_rates(cache, measured):
    measured(uneven())
    found = stc.tune()
    assert found.rates == pytest.approx(uneven(), rel=1e-6)
    assert (found.threads, found.path.parent) == (threads.thread_count(), cache)
    # the file is whole, and nothing else is left
    assert [path.name for path in cache.iterdir()] == [found.path.name]
    known = rates.current()
    assert known.origin == f"rates measured on this machine on {found.date}"
    assert known.rates == rates.of_times(found.rates)
    A = stc.ConvOperator(np.ones((9, 9)), (300, 300), padding="same")
    assert f"by {known.origin}:" in A.explain()
    assert cost.estimate(A.geometry, A.dtype) == cost.estimate(A.geometry, A.dtype, rates=known.rates)
    # again, over the first
    measured(machine(2))
    assert stc.tune().path == found.path
    assert rates.current().rates.call == pytest.approx(2 * rates.of_class().rates.call)
    # an operator says whose rates it was chosen by
    assert f"by {known.origin}:" in A.explain()


def test_tune_without_storing(cache, measured):
    measured(uneven())
    assert stc.tune(store=False).path is None
    assert not cache.exists()
    assert rates.current() == rates.of_class()


def test_choices_are_by_the_measured_rates(measured):
    """A machine whose stencil is slow and whose transforms are fast; an old operator keeps its method."""
    A = stc.ConvOperator(np.ones((9, 9)), (300, 300), padding="same")
    assert A.method == "direct"
    usual = machine()
    slow = {"multiply": 9 * usual["multiply"], "step_byte": usual["step_byte"] / 5}
    measured(machine(**slow))
    stc.tune()
    B = stc.ConvOperator(np.ones((9, 9)), (300, 300), padding="same")
    assert (A.method, B.method) == ("direct", "fft")
    assert B.explain().startswith("method 'fft': it has the lowest estimate")


def test_an_operator_keeps_to_its_rates(measured):
    """In methods that are made later, and in a pickle, also when the machine has been measured since."""
    kernel, shape = np.full((9, 9), 1 + 2j), (64, 64)
    A = stc.ConvOperator(kernel, shape, padding="same", method="fft")
    K = stc.KernelOperator(np.ones((200, 200)), (31, 31), padding="same")
    x = np.random.default_rng(0).standard_normal(shape)

    def whole(operator):
        method, own = operator._method, np.dtype(complex)
        strategies = {method.strategy(transposed, own).whole for transposed in (False, True)}
        # the methods that NaN and overflow ask for are by the same rates
        assert method.like(method.geometry, method.weights)._rates == method._rates
        assert method._pattern._rates == method._rates
        return strategies

    before, text = A.apply(x), A.explain()
    assert whole(A) == {False}
    usual = machine()
    slow = {"step_byte": 9 * usual["step_byte"], "transform_byte": usual["transform_byte"] / 9}
    measured(machine(**slow, whole_byte=usual["whole_byte"] / 9, whole_call=usual["whole_call"] / 9))
    stc.tune()
    # the adjoint's method is made only now
    again = pickle.loads(pickle.dumps(A))
    for operator in (A.H, A.T, A.H.H, again, again.H, pickle.loads(pickle.dumps(A.H))):
        assert whole(operator) == {False}
        assert operator.explain() == text
    np.testing.assert_array_equal(again.apply(x), before)
    assert K._products._of(np.ones((1, 1, 1, 31, 31)))._rates == rates.of_class().rates
    new = stc.ConvOperator(kernel, shape, padding="same", method="fft")
    assert whole(new) == {True}
    assert new.explain() != text


def test_rates_are_not_used_where_the_environment_says_so(measured, monkeypatch):
    measured(uneven())
    stc.tune()
    monkeypatch.setenv("SPARSETCONV_RATES", "off")
    assert rates.current() == rates.of_class()
    monkeypatch.setenv("SPARSETCONV_RATES", "on")
    assert rates.current() != rates.of_class()
    monkeypatch.setenv("SPARSETCONV_RATES", "of")
    with pytest.raises(ValueError, match="SPARSETCONV_RATES must be one of on, off; got 'of'"):
        stc.ConvOperator([1.0, 2.0], 9)


@pytest.mark.parametrize("field", stored.Key._fields)
def test_rates_of_another_machine_are_ignored(measured, monkeypatch, field):
    """Of another file, and of one that was copied to where this machine's is looked for."""
    measured(uneven())
    first = stc.tune()
    usual = rates.key_of
    changes = {"model": -1, "processor": "another", "features": "none", "threads": 99}
    monkeypatch.setattr(rates, "key_of", lambda n: usual(n)._replace(**{field: changes[field]}))
    rates.forget()
    assert rates.current() == rates.of_class()
    first.path.rename(stored.path_of(rates.key_of(first.threads)))
    rates.forget()
    assert rates.current() == rates.of_class()


def test_rates_are_those_of_the_number_of_threads(measured, monkeypatch):
    measured(uneven())
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert stc.tune().threads == 3
    assert rates.current() != rates.of_class()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert rates.current() == rates.of_class()


def edited(**changes):
    def change(text):
        return json.dumps(json.loads(text) | changes)

    return change


def with_rate(value):
    def change(text):
        found = json.loads(text)
        found["seconds"]["byte"] = value
        return json.dumps(found)

    return change


DAMAGE = {
    "empty": lambda _: "",
    "half": lambda text: text[: len(text) // 2],
    "a list": lambda _: "[1]",
    "no key": lambda _: "{}",
    "no rates": edited(seconds={}),
    "not seconds": edited(seconds=3),
    "a date that would be printed": edited(measured="\x1b[2J"),
    "zero": with_rate(0),
    "negative": with_rate(-1e-9),
    "nan": with_rate(math.nan),
    "years": with_rate(1e9),
    "a word": with_rate("fast"),
    "nothing": with_rate(None),
    "beyond all numbers": with_rate(10**400),
    "nested": lambda _: "[" * 50_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_ignored_with_one_warning(measured, damage):
    measured(uneven())
    path = stc.tune().path
    path.write_text(DAMAGE[damage](path.read_text()))
    rates.forget()
    with pytest.warns(UserWarning, match=r"holds no rates .*; `sparsetconv tune` writes it anew") as caught:
        A = stc.ConvOperator([1.0, 2.0], 9)
    assert len(caught) == 1
    assert len(str(caught[0].message)) < 500
    # from now on there are no warnings, which would be errors here
    assert stc.ConvOperator([1.0, 2.0], 9).explain() == A.explain()
    assert "rates shipped for" in A.explain()


def test_a_folder_in_the_place_of_a_file_is_ignored_with_a_warning(measured):
    measured(uneven())
    path = stc.tune().path
    path.unlink()
    path.mkdir()
    rates.forget()
    with pytest.warns(UserWarning, match="holds no rates"):
        assert rates.current() == rates.of_class()


def test_a_file_is_replaced_whole_or_not_at_all(cache, measured, monkeypatch):
    measured(uneven())
    path = stc.tune().path
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    measured(machine(2))
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        stc.tune()
    assert path.read_bytes() == before
    assert list(cache.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["read-only", "a file"])
def test_nothing_is_measured_where_nothing_can_be_stored(cache, measured, monkeypatch, kind, capsys):
    calls = measured(uneven())
    if kind == "a file":
        cache.parent.mkdir()
        cache.write_text("")
    else:
        monkeypatch.setattr(output.os, "access", lambda *_: False)
    with pytest.raises(
        OSError, match=r"store needs a cache folder that can be written to, got '.*; store=False"
    ):
        stc.tune()
    assert main(["tune"]) == 1
    assert capsys.readouterr().err.startswith("error: store needs a cache folder")
    assert calls == []
    stc.tune(store=False)
    assert calls == [len(PROBES)]


def test_progress_must_be_callable(cache, measured):
    calls = measured(uneven())
    with pytest.raises(TypeError, match=r"^progress must be callable, with the range of rounds; got int$"):
        stc.tune(progress=3)
    assert calls == []
    assert not cache.exists()


def test_nothing_is_measured_unless_asked_for(cache, monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(probes, "measure", fail)
    monkeypatch.setattr(probes.Probe, "calls", fail)
    for kernel_shape, shape in (((3, 3), (20, 20)), ((9, 9), (300, 300)), ((100, 100), (200, 200))):
        A = stc.ConvOperator(np.ones(kernel_shape), shape, padding="same")
        assert "rates shipped for" in A.explain()
    stc.fit_kernel([np.ones((9, 9))], [np.ones((8, 8))], (2, 2), ridge=1.0)
    assert main(["plan", "--kernel-shape", "3x3", "--shape", "9x9"]) == 0
    assert not cache.exists()
    with pytest.raises(AssertionError):
        stc.tune(store=False)


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(36, "File name too long")]
)
def test_a_folder_that_nobody_may_look_into_holds_no_rates(error, monkeypatch):
    def refuse(_):
        raise error

    rates.forget()
    monkeypatch.setattr(Path, "is_dir", refuse)
    try:
        assert rates.current() == rates.of_class()
    finally:
        rates.forget()


def test_a_file_is_read_once(measured, monkeypatch):
    measured(uneven())
    stc.tune()
    usual, reads = stored.read, []
    monkeypatch.setattr(stored, "read", lambda *given: reads.append(given) or usual(*given))
    for size in (9, 90, 900):
        stc.ConvOperator([1.0, 2.0], size).explain()
    assert len(reads) == 1


@pytest.mark.usefixtures("cache")
def test_the_processor_is_not_asked_for_where_nobody_has_measured(monkeypatch):
    monkeypatch.setattr(stored, "key", lambda *_: pytest.fail("asked"))
    assert rates.current() == rates.of_class()


def test_tune_needs_the_compiler(measured, monkeypatch):
    calls = measured(uneven())
    monkeypatch.setattr(tuning, "compiler_switch", lambda: "NUMBA_DISABLE_JIT=1")
    with pytest.raises(ValueError, match="tune needs numba's compiler, which NUMBA_DISABLE_JIT=1 turns off"):
        stc.tune()
    assert calls == []


def test_the_command_line_tunes(cache, measured, capsys):
    measured(uneven())
    assert main(["tune", "--no-store"]) == 0
    assert "not stored" in capsys.readouterr().out
    assert not cache.exists()
    assert main(["tune"]) == 0
    text = capsys.readouterr()
    assert text.err.splitlines()[1:] == ["round 1 of at most 2", "round 2 of at most 2"]
    (path,) = cache.iterdir()
    assert f"stored in {path}; SPARSETCONV_RATES=off turns them off" in text.out
    assert all(f"  {name} " in text.out for name in rates.TIMES)
    assert main(["plan", "--kernel-shape", "3x3", "--shape", "9x9"]) == 0
    assert "by rates measured on this machine on " in capsys.readouterr().out


@pytest.mark.parametrize("store", ["yes", None, 2, [True]])
def test_store_is_true_or_false(store, monkeypatch):
    monkeypatch.setattr(probes, "measure", lambda *_: pytest.fail("something was measured"))
    with pytest.raises(TypeError, match=r"^store must be True or False, got "):
        stc.tune(store=store)


def test_the_folder_is_the_users_cache():
    assert stored.folder() == Path(platformdirs.user_cache_dir("sparsetconv", appauthor=False))


def test_nothing_warns_where_there_is_no_file(cache):
    cache.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rates.current() == rates.of_class()


def test_methods_are_all_measured():
    """Those of the registry, by classes of their own or derived from them."""
    for method in METHODS.values():
        assert any(issubclass(probe.method, method) for probe in PROBES), method.name
