"""Choose one of the methods in the registry.

Each method is correct for every geometry, padding mode and dtype that it accepts; its ``refusal`` says what
it does not accept. Methods that need numba's compiler are left out if it is turned off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sparsetconv._arrays import memory, threads
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry import validation
from sparsetconv._methods.cost import estimate
from sparsetconv._methods.cpu.rates import KnownRates, current
from sparsetconv._methods.cuda import tuning
from sparsetconv._methods.registry import METHODS, methods_of
from sparsetconv._methods.work import SMALL

if TYPE_CHECKING:
    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._methods.base import Method


# seconds by which a small product must be faster by loops that are loaded: their tables take a millisecond
PREPARING = 1e-6
# what is said of a GPU whose rates are estimates
NOT_MEASURED = "estimated; not measured on a card"


class Choice(NamedTuple):
    """The chosen method, and the reason for the choice.

    Attributes
    ----------
    method : type of Method
    reason : str
    known : KnownRates
        The rates of the estimates, and where they come from.
    asked : bool
        Whether the user named the method.
    """

    method: type[Method]
    reason: str
    known: KnownRates
    asked: bool = False

    def made(self, geometry: ConvGeometry, weights: Array, backend: Backend) -> Method:
        """Return the method itself."""
        return self.method.chosen_by(self.known.rates, geometry, weights, backend)


def choose(
    name: str,
    geometry: ConvGeometry,
    weights: Array,
    backend: Backend = NUMPY,
    known: KnownRates | None = None,
) -> Choice:
    """Return the method with a given name, or for ``"auto"`` the one with the lowest estimate.

    For small matrices, methods that need a compiler are not considered, except those whose loops are loaded
    since a larger problem needed them. A method that assembles a matrix larger than half of the free memory
    is chosen only if no other method accepts the convolution. ``known`` are the rates of the estimates, those
    of the processor if not given.
    """
    threads.notice_threadpoolctl()
    name = validation.word("method", name, ("auto", *METHODS))
    methods, known = methods_of(backend.on_gpu), known or _known_rates(backend)
    if name != "auto":
        objection = methods[name].objection(geometry, weights)
        if objection is not None:
            other = next(each for each in methods if methods[each].objection(geometry, weights) is None)
            msg = f"method={name!r} {objection}; use method={other!r} or 'auto'"
            raise ValueError(msg)
        return Choice(methods[name], "it was asked for", known, asked=True)
    matrices = [each for each in methods.values() if each.assembles]
    assembled = any(each.objection(geometry, weights) is None for each in matrices)
    large = assembled and _too_large(geometry, weights, backend)
    reason = "it has the lowest estimate"
    costs = estimate(geometry, weights.dtype, backend.on_gpu, known.rates)
    if not backend.on_gpu and geometry.nnz <= SMALL and not large:
        at_once = [name for name, each in methods.items() if not each.compiled]
        least = min(costs[name] for name in at_once) - PREPARING
        loaded = [
            name for name, each in methods.items() if each.is_ready(weights.dtype) and costs[name] < least
        ]
        methods = {name: methods[name] for name in (*at_once, *loaded)}
        reason += f" of those for which nothing is compiled and little prepared, up to {SMALL:,} entries"
    # a matrix that is too large is the last resort; `objection` is called for one method at a time, since it
    # may read the weights and so wait for the GPU
    order = sorted(methods, key=lambda each: (methods[each].assembles and large, costs[each]))
    best = next(each for each in order if methods[each].objection(geometry, weights) is None)
    return Choice(methods[best], reason, known)


def _known_rates(backend: Backend) -> KnownRates:
    """Return the rates of the processor that a backend computes on."""
    if not backend.on_gpu:
        return current()
    card = tuning.measured_on()
    return KnownRates(tuning.rates(), f"rates measured on {card}" if card else NOT_MEASURED)


def _too_large(geometry: ConvGeometry, weights: Array, backend: Backend) -> bool:
    """Return whether the matrix would take more than half of the free memory."""
    return not memory.fits(2 * geometry.nbytes(weights.dtype), available=backend.available_bytes)


def explain(choice: Choice, method: Method) -> str:
    """Return a text with the chosen method, the reason, and the estimated cost of each method."""
    geometry, weights, backend = method.geometry, method.weights, method.backend
    methods = methods_of(backend.on_gpu)
    known = choice.known
    costs = estimate(geometry, weights.dtype, backend.on_gpu, known.rates)
    title, unit, suffix = f"estimated time of a product, by {known.origin}", 1e-3, " ms"
    if known.origin == NOT_MEASURED:
        title = f"relative cost of a product ({known.origin})"
        unit, suffix = min(costs.values()), ""
    lines = [f"method {choice.method.name!r}: {choice.reason}", f"{title}:"]
    for name, cost_of in costs.items():
        objection = methods[name].objection(geometry, weights)
        note = ""
        if objection is not None:
            note = f", but it {objection}"
        elif methods[name].assembles:
            nbytes = geometry.nbytes(weights.dtype)
            note = f", of a matrix of {geometry.nnz:,} entries in {nbytes:,} bytes"
            note += ", more than half of the free memory" if _too_large(geometry, weights, backend) else ""
        lines.append(f"  {name:<7}{cost_of / unit:10.3f}{suffix}{note}")
    return "\n".join(lines)
