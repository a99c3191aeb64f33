"""The ways to multiply, and the choice between them.

Floor 3. Each method is right for every geometry, padding mode and dtype that it accepts, and says what it
does not accept in its ``refusal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsetconv import _memory, _normalize
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


def choose(name: str, geometry: ConvGeometry, weights: Array) -> type[Method]:
    """Return the method of that name, or for ``"auto"`` the one with the lowest estimate.

    Small matrices are multiplied as such. A matrix that would take more than half of the memory that is
    free is not considered.
    """
    name = _normalize.word("method", name, METHOD_WORDS)
    if name != "auto":
        refusal = METHODS[name].refusal(geometry, weights)
        if refusal is not None:
            msg = f"method={name!r} does not accept {refusal}; use method='sparse' or 'auto'"
            raise ValueError(msg)
        return METHODS[name]
    if geometry.nnz <= cost.SMALL:
        return SparseMethod
    accepted = {n: m for n, m in METHODS.items() if m.refusal(geometry, weights) is None}
    available = _memory.available_bytes()
    if len(accepted) > 1 and available is not None and 2 * geometry.nbytes(weights.dtype) > available:
        del accepted["sparse"]
    costs = cost.estimate(geometry, weights.dtype)
    return accepted[min(accepted, key=costs.__getitem__)]
