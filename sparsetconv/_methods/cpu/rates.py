"""The rates of this processor: those that `sparsetconv.tune` has measured on it, else those of its class.

``rates.json`` has the rates of each class of processors, with two threads: geometric means of those of an AMD
(Zen 4) and an Intel processor (Ice Lake). ``asv_benchmarks/method_costs.py --fit`` measures those of the
class at hand and writes them there. Rates of multiplications are for float32; those of other dtypes are
proportional to the item size.
"""

from __future__ import annotations

import json
import os
import warnings
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.display import shown
from sparsetconv._arrays.threads import thread_count
from sparsetconv._geometry import validation
from sparsetconv._methods.cpu import stored
from sparsetconv._methods.work import Rates

if TYPE_CHECKING:
    from collections.abc import Mapping

# the environment variable that turns measured rates off
SWITCH = "SPARSETCONV_RATES"
# classes of processors by the bytes of their vectors
CLASSES = {64: "AVX-512", 32: "AVX2", 16: "others"}
# the constants of the CPU that are ratios or counts: they are not measured
RATIOS = {
    "word": 1,
    "gemm_calls": 4,
    "integer_gemm": 30,
    "gemm_terms": 100,
    "panel_line": 16,
    "panel_apart": 3,
}
# the times, which are measured
TIMES = tuple(name for name in Rates._fields if name not in RATIOS)
# measured rates are within this factor of those of the processor's class
SANE = 10.0


class KnownRates(NamedTuple):
    """Rates, and where they come from, in words.

    Attributes
    ----------
    rates : Rates
    origin : str
    """

    rates: Rates
    origin: str


class Shipped(NamedTuple):
    """The contents of ``rates.json``.

    Attributes
    ----------
    model : int
        The version of the model: one more whenever a method's loops or its ``seconds`` have changed, since
        rates that were measured before no longer apply.
    rates : mapping
        The rates of each class of processors.
    """

    model: int
    rates: Mapping[str, Rates]


@cache
def shipped() -> Shipped:
    """Return the package's own table."""
    text = resources.files(__package__).joinpath("rates.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return Shipped(found["model"], {name: of_times(times) for name, times in found["rates"].items()})


def of_times(times: Mapping[str, float]) -> Rates:
    """Return the rates of a CPU from its `TIMES`."""
    return Rates(**{name: float(times[name]) for name in TIMES}, **RATIOS)  # type: ignore[arg-type]


@cache
def vector_bytes() -> int:
    """Return the bytes of a vector of the compiled loops, as in ``emit``, but without importing numba."""
    known = features()
    if "avx512f" in known:
        return 64
    return 32 if "avx2" in known else 16


@cache
def features() -> frozenset[str]:
    """Return the instruction sets that the compiled loops may use."""
    asked = os.environ.get("NUMBA_CPU_FEATURES")
    if asked is not None:
        return frozenset(name[1:] for name in asked.split(",") if name.startswith("+"))
    found: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    return frozenset(name.lower() for name, there in found.items() if there)


def of_class() -> KnownRates:
    """Return the rates of this processor's class."""
    name = CLASSES[vector_bytes()]
    which = "other processors" if name == CLASSES[16] else name
    return KnownRates(shipped().rates[name], f"rates shipped for {which}")


def current() -> KnownRates:
    """Return the rates measured on this machine with this number of threads, else those of its class.

    The file of measured rates is read once for each number of threads.
    """
    setting = os.environ.get(SWITCH) or "on"
    if validation.word(SWITCH, setting, ("on", "off")) == "off":
        return of_class()
    return _known(thread_count())


@cache
def _known(threads: int) -> KnownRates:
    if not stored.any_stored():
        # nobody has ever measured: nothing about the processor is asked
        return of_class()
    key = key_of(threads)
    path = stored.path_of(key)
    try:
        measured = stored.read(path, key)
        if measured is None:
            return of_class()
        rates = of_times(measured.times)
        _check(rates)
    except stored.UNREADABLE as error:
        msg = f"{shown(str(path))} holds no rates ({type(error).__name__}); `sparsetconv tune` writes it anew"
        warnings.warn(msg, stacklevel=2)
        return of_class()
    return KnownRates(rates, f"rates measured on this machine on {measured.date}")


def key_of(threads: int) -> stored.Key:
    """Return what measured rates depend on."""
    return stored.key(shipped().model, features(), threads)


def forget() -> None:
    """Read the file again the next time, since `sparsetconv.tune` has written it."""
    _known.cache_clear()


def sane_bounds() -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each of the `TIMES` that is believed."""
    usual = of_class().rates
    return {name: (getattr(usual, name) / SANE, getattr(usual, name) * SANE) for name in TIMES}


def _check(rates: Rates) -> None:
    """Raise `ValueError` unless all times are within the bounds, but for round-off."""
    for name, (least, most) in sane_bounds().items():
        if not least * (1 - 1e-9) <= getattr(rates, name) <= most * (1 + 1e-9):
            msg = f"{name} must lie between {least:g} and {most:g}"
            raise ValueError(msg)
