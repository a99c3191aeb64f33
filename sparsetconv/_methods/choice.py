"""The ways to multiply, and the choice between them.

Floor 3. Each method is right for every geometry, padding mode and dtype that it accepts, and says what it
does not accept in its ``refusal``; what needs a compiler is left out where numba's is turned off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from sparsetconv._arrays import threads
from sparsetconv._arrays.backend import NUMPY
from sparsetconv._geometry import validation
from sparsetconv._methods.base import Method
from sparsetconv._methods.cpu import cost
from sparsetconv._methods.cpu.direct import DirectMethod
from sparsetconv._methods.cpu.fft import FFTMethod
from sparsetconv._methods.cpu.sparse import SparseMethod
from sparsetconv._methods.cuda import cost as gpu_cost
from sparsetconv._methods.cuda.direct import CudaDirectMethod
from sparsetconv._methods.cuda.fft import CudaFFTMethod
from sparsetconv._methods.cuda.sparse import CudaSparseMethod
from sparsetconv._methods.gemm import GemmMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry


METHODS: dict[str, type[Method]] = {
    method.name: method for method in (SparseMethod, DirectMethod, GemmMethod, FFTMethod)
}
GPU_METHODS: dict[str, type[Method]] = {
    method.name: method for method in (CudaSparseMethod, CudaDirectMethod, GemmMethod, CudaFFTMethod)
}
NOTHING_COMPILED: dict[str, type[Method]] = {method.name: method for method in (SparseMethod, GemmMethod)}
MethodName = Literal["auto", "sparse", "direct", "gemm", "fft"]
METHOD_WORDS: tuple[MethodName, ...] = get_args(MethodName)


class Choice(NamedTuple):
    """A method, and why.

    Attributes
    ----------
    method : type of Method
    reason : str
    asked : bool
        Whether a user named it.
    """

    method: type[Method]
    reason: str
    asked: bool = False


def _of_backend(
    backend: Backend,
) -> tuple[dict[str, type[Method]], Callable[[ConvGeometry, np.dtype[np.generic]], dict[str, float]]]:
    """Return the methods for a backend's arrays, and what estimates their costs."""
    return (GPU_METHODS, gpu_cost.estimate) if backend.on_gpu else (METHODS, cost.estimate)


def choose(name: str, geometry: ConvGeometry, weights: Array, backend: Backend = NUMPY) -> Choice:
    """Return the method of that name, or for ``"auto"`` the one with the lowest estimate.

    For small matrices nothing is compiled. A matrix that would take more than half of the memory that is
    free is not considered.
    """
    threads.notice_threadpoolctl()
    name = validation.word("method", name, METHOD_WORDS)
    methods, estimate = _of_backend(backend)
    if name != "auto":
        objection = methods[name].objection(geometry, weights)
        if objection is not None:
            other = next(each for each in methods if methods[each].objection(geometry, weights) is None)
            msg = f"method={name!r} {objection}; use method={other!r} or 'auto'"
            raise ValueError(msg)
        return Choice(methods[name], "it was asked for", asked=True)
    large = methods["sparse"].objection(geometry, weights) is None and _too_large(geometry, weights, backend)
    small = not backend.on_gpu and geometry.nnz <= cost.SMALL and not large
    reason = "it has the lowest estimate"
    if small:
        methods = NOTHING_COMPILED
        reason += f" of those for which nothing is compiled, up to {cost.SMALL:,} entries"
    costs = estimate(geometry, weights.dtype)
    # the matrix is the last resort where it is too large; others are asked in turn, since to look at the
    # weights may mean to wait for a GPU
    order = sorted(methods, key=lambda each: (each == "sparse" and large, costs[each]))
    best = next(each for each in order if methods[each].objection(geometry, weights) is None)
    return Choice(methods[best], reason)


def _too_large(geometry: ConvGeometry, weights: Array, backend: Backend) -> bool:
    """Return whether the matrix would take more than half of the memory that is free."""
    available = backend.available_bytes()
    return available is not None and 2 * geometry.nbytes(weights.dtype) > available


def explain(choice: Choice, method: Method) -> str:
    """Return a text that says which method was chosen, why, and what each would cost."""
    geometry, weights, backend = method.geometry, method.weights, method.backend
    methods, estimate = _of_backend(backend)
    costs = estimate(geometry, weights.dtype)
    card = gpu_cost.measured_on() if backend.on_gpu else None
    title, unit, suffix = "estimated time of a product", 1e-3, " ms"
    if card is not None:
        title += f" on {card}"
    elif backend.on_gpu:
        title = "relative cost of a product (estimated; not measured on a card)"
        unit, suffix = min(costs.values()), ""
    lines = [f"method {choice.method.name!r}: {choice.reason}", f"{title}:"]
    for name, cost_of in costs.items():
        objection = methods[name].objection(geometry, weights)
        note = ""
        if objection is not None:
            note = f", but it {objection}"
        elif name == "sparse":
            nbytes = geometry.nbytes(weights.dtype)
            note = f", of a matrix of {geometry.nnz:,} entries in {nbytes:,} bytes"
            note += ", too many for the memory that is free" if _too_large(geometry, weights, backend) else ""
        lines.append(f"  {name:<7}{cost_of / unit:10.3f}{suffix}{note}")
    return "\n".join(lines)
