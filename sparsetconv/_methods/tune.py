"""Measure this machine: the rates of the cost model are fitted to the times of `probes`.

The estimate of a problem is a sum of rates times counts. The rates are those with the least squares of the
logarithms of estimate over time, in all problems of all methods together; a loss that grows only linearly
for large ratios keeps problems that the model does not describe well from mattering much.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparsetconv._arrays.display import shown, type_name
from sparsetconv._arrays.output import check_place
from sparsetconv._arrays.switches import compiler_switch
from sparsetconv._arrays.threads import thread_count
from sparsetconv._geometry import validation
from sparsetconv._methods import probes
from sparsetconv._methods.cpu import rates as known
from sparsetconv._methods.cpu import stored
from sparsetconv._methods.cpu.rates import TIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from sparsetconv._arrays.types import Array
    from sparsetconv._methods.probes import Probe

# the ratio, as a logarithm, from which the loss is linear
LINEAR_FROM = 0.2


class Tuned(NamedTuple):
    """What `tune` has measured.

    Attributes
    ----------
    rates : mapping
        Seconds by the rate's name: per call, byte, multiplication and so on.
    ratio : float
        How far the estimates are from the times of the problems that were measured: the median of their
        ratio, the larger over the smaller.
    processor : str
        The processor's name.
    threads : int
    date : str
        The day of the measurement, such as ``2030-12-31``.
    path : pathlib.Path or None
        The file that holds the rates; None if they were not stored.
    """

    rates: Mapping[str, float]
    ratio: float
    processor: str
    threads: int
    date: str
    path: Path | None


def tune(*, store: bool = True, progress: Callable[[range], Iterable[int]] = iter) -> Tuned:
    """Measure this machine, for estimates and choices by ``method="auto"`` that fit it.

    Every method is timed on some small problems, for ten seconds or so, and the rates of the cost model are
    fitted to the times. Without this, the rates are those that the package has for the processor's class.
    Nothing is ever measured unless this is called.

    Parameters
    ----------
    store : bool
        Whether to keep the rates in the user's cache folder. Operators that are made from then on, in this
        process and in others, use them on this processor, with this number of threads and until the model
        changes; ``SPARSETCONV_RATES=off`` in the environment turns that off. If False, they are only
        returned.
    progress : callable
        Takes the range of rounds and returns an iterable of it, such as ``tqdm.tqdm``.

    Returns
    -------
    Tuned
        A named tuple: ``rates``, in seconds; ``ratio``, how far the estimates are from the times; the
        ``processor``, the number of ``threads``, the ``date`` and the ``path`` of the file.

    Raises
    ------
    OSError
        If the folder cannot be written to; nothing has been measured then.
    TypeError
        If ``store`` is not True or False, or ``progress`` is not callable.
    ValueError
        If numba's compiler is turned off.

    Notes
    -----
    Methods differ in round-off, so that results may change in their last bits where the rates change a
    choice. An operator keeps the method and the rates that it was made with; a pickle of a `ConvOperator`
    or a `ConvTransposeOperator` has both. Run this on a machine that does nothing else.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> found = stc.tune(store=False)  # doctest: +SKIP
    >>> found.rates["call"]  # doctest: +SKIP
    1.2e-05
    """
    store = validation.flag("store", store)
    if not callable(progress):
        msg = f"progress must be callable, with the range of rounds; got {type_name(progress)}"
        raise TypeError(msg)
    switch = compiler_switch()
    if switch is not None:
        msg = f"tune needs numba's compiler, which {switch} turns off"
        raise ValueError(msg)
    key = known.key_of(thread_count())
    path = _prepared(key) if store else None
    seconds = probes.measure(probes.PROBES, progress)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    times, ratio = fit(probes.PROBES, seconds)
    if path is not None:
        stored.write(path, key, stored.Measured(date, times))
        known.forget()
    return Tuned(times, ratio, key.processor, key.threads, date, path)


def _prepared(key: stored.Key) -> Path:
    """Return the path of the file for a key, whose folder exists and can be written to."""
    path = stored.path_of(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_place(path)
    except OSError as error:
        msg = f"store needs a cache folder that can be written to, got {shown(str(path.parent))}; "
        msg += "store=False only returns the rates"
        raise type(error)(msg) from error
    return path


def counts(probe_list: Sequence[Probe]) -> Array:
    """Return the number of times that each of the `TIMES` is counted, ``(problems, 2, rates)``."""
    units = [known.of_times({name: float(name == one) for name in TIMES}) for one in TIMES]
    return np.array(
        [
            [[probe.method.seconds(work, unit) for unit in units] for work in probe.works()]
            for probe in probe_list
        ]
    )


def fit(
    probe_list: Sequence[Probe], seconds: Sequence[tuple[float, float]]
) -> tuple[dict[str, float], float]:
    """Return the rates for which the estimates of problems are closest to their times, and `Tuned.ratio`.

    Parameters
    ----------
    probe_list : sequence of Probe
    seconds : sequence of (float, float)
        The times of each, forward and transposed.
    """
    from scipy.optimize import least_squares

    counted = counts(probe_list).reshape(-1, len(TIMES))
    logs = np.log(np.reshape(seconds, -1))
    bounds = np.log(np.array([known.sane_bounds()[name] for name in TIMES])).T
    usual = bounds.mean(0)

    def ratios(place: Array) -> Array:
        difference: Array = np.log(counted @ np.exp(place)) - logs
        return difference

    def slopes(place: Array) -> Array:
        shares = counted * np.exp(place)
        slope: Array = shares / shares.sum(1, keepdims=True)
        return slope

    found = least_squares(
        ratios,
        usual,
        slopes,
        tuple(bounds),
        loss="soft_l1",
        f_scale=LINEAR_FROM,
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    times = {name: float(value) for name, value in zip(TIMES, np.exp(found.x), strict=True)}
    return times, float(np.exp(np.median(np.abs(found.fun))))
