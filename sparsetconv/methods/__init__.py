"""The ways to multiply, and the choice between them.

Floor 3. Each method is right for every geometry, padding mode and dtype that it accepts, and says what it
does not accept in its ``refusal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sparsetconv import _memory, _normalize, _threads
from sparsetconv.methods import cost
from sparsetconv.methods._base import Method
from sparsetconv.methods.direct import DirectMethod
from sparsetconv.methods.fft import FFTMethod
from sparsetconv.methods.gemm import GemmMethod
from sparsetconv.methods.sparse import SparseMethod

if TYPE_CHECKING:
    from sparsetconv._types import Array
    from sparsetconv.geometry import ConvGeometry


METHODS: dict[str, type[Method]] = {
    method.name: method for method in (SparseMethod, DirectMethod, GemmMethod, FFTMethod)
}
METHOD_WORDS = ("auto", *METHODS)


class Choice(NamedTuple):
    """A method, and why.

    Attributes
    ----------
    method : type of Method
    reason : str
    """

    method: type[Method]
    reason: str


def choose(name: str, geometry: ConvGeometry, weights: Array) -> Choice:
    """Return the method of that name, or for ``"auto"`` the one with the lowest estimate.

    Small matrices are multiplied as such. A matrix that would take more than half of the memory that is
    free is not considered.
    """
    _threads.notice_threadpoolctl()
    name = _normalize.word("method", name, METHOD_WORDS)
    if name != "auto":
        refusal = METHODS[name].refusal(geometry, weights)
        if refusal is not None:
            msg = f"method={name!r} does not accept {refusal}; use method='sparse' or 'auto'"
            raise ValueError(msg)
        return Choice(METHODS[name], "it was asked for")
    if geometry.nnz <= cost.SMALL:
        return Choice(
            SparseMethod, f"up to {cost.SMALL:,} entries the matrix is fast, and nothing is compiled"
        )
    accepted = {n: m for n, m in METHODS.items() if m.refusal(geometry, weights) is None}
    if len(accepted) > 1 and _too_large(geometry, weights):
        del accepted["sparse"]
    costs = cost.estimate(geometry, weights.dtype)
    return Choice(accepted[min(accepted, key=costs.__getitem__)], "it has the lowest estimate")


def _too_large(geometry: ConvGeometry, weights: Array) -> bool:
    """Return whether the matrix would take more than half of the memory that is free."""
    available = _memory.available_bytes()
    return available is not None and 2 * geometry.nbytes(weights.dtype) > available


def explain(choice: Choice, geometry: ConvGeometry, weights: Array) -> str:
    """Return a text that says which method was chosen, why, and what each would cost."""
    lines = [f"method {choice.method.name!r}: {choice.reason}", "estimated time of a product:"]
    for name, seconds in cost.estimate(geometry, weights.dtype).items():
        refusal = METHODS[name].refusal(geometry, weights)
        note = ""
        if refusal is not None:
            note = f", but it does not accept {refusal}"
        elif name == "sparse":
            nbytes = geometry.nbytes(weights.dtype)
            note = f", of a matrix of {geometry.nnz:,} entries in {nbytes:,} bytes"
            note += ", too many for the memory that is free" if _too_large(geometry, weights) else ""
        lines.append(f"  {name:<7}{seconds * 1e3:10.3f} ms{note}")
    return "\n".join(lines)
