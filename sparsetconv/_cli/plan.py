"""The sizes and estimated times of a convolution's matrix and products, before anything is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsetconv._arrays.display import size_of
from sparsetconv._geometry.transposed import ends
from sparsetconv._methods import cost
from sparsetconv._methods.cpu.rates import current
from sparsetconv._methods.registry import METHODS

if TYPE_CHECKING:
    from sparsetconv._geometry.convolution import ConvGeometry

DTYPES = ("float32", "float64", "complex64", "complex128")


def describe(geometry: ConvGeometry, *, transposed: bool = False) -> str:
    """Return a table of sizes, bytes and estimated times.

    Parameters
    ----------
    geometry : ConvGeometry
        The geometry of the forward convolution.
    transposed : bool
        Whether to describe the transposed convolution.

    Returns
    -------
    str
        Several lines: bytes of the CSR matrix, estimated times, and whose rates they are.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> from sparsetconv._cli.plan import describe
    >>> print(describe(stc.ConvGeometry((4, 4), (3, 3))).splitlines()[0])
    input shape     (4, 4)
    """
    shapes = ends(geometry, transposed)
    matrix = geometry.matrix_shape[::-1] if transposed else geometry.matrix_shape
    lines = [
        ("input shape", shapes[0]),
        ("kernel shape", geometry.kernel_shape),
        ("output shape", shapes[1]),
        ("padding", f"{geometry.padding}, {', '.join(sorted(set(geometry.padding_mode)))}"),
        ("matrix shape", f"{matrix[0]:,} x {matrix[1]:,}"),
        ("entries (nnz)", f"{geometry.nnz:,}"),
        ("index dtype", geometry.index_dtype),
    ]
    table = [f"{name:<15} {value}" for name, value in lines]
    table += ["", f"{'dtype':<12}{'CSR bytes':>20}  {'':>10}{'assembly':>11}"]
    table[-1] += "".join(f"{name:>11}" for name in METHODS)
    for name in DTYPES:
        dtype = np.dtype(name)
        nbytes = (
            geometry.nbytes(dtype) + (matrix[0] - geometry.matrix_shape[0]) * geometry.index_dtype.itemsize
        )
        costs = cost.estimate(geometry, dtype)
        assembly = _time(cost.assembly_seconds(geometry, dtype))
        table.append(
            f"{name:<12}{nbytes:>20,}  {size_of(nbytes):>10}{assembly:>11}"
            + "".join(f"{_time(costs[method]):>11}" for method in METHODS)
        )
    table += ["", "Times: estimates for assembly of the CSR, then for one product by each method,"]
    table += [f"by {current().origin}."]
    return "\n".join(table)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 1e5 else f"{seconds:.1e} s"
