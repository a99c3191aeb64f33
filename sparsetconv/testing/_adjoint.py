"""Tests of adjoints, for our operators and for any other.

``A`` and its adjoint must satisfy ``<A x, y> = <x, A.H y>``. A relative comparison of the two numbers may
fail for correct operators, since a dot product of random vectors may be close to zero; so the error is
relative to ``|A x| |y| + |x| |A.H y|``. Shapes are checked first, since broadcasting may hide wrong shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from scipy.sparse.linalg import aslinearoperator

from sparsetconv._arrays.backend import operator_backend, to_numpy
from sparsetconv._arrays.display import shown, type_name
from sparsetconv._arrays.streams import on_device, operator_device
from sparsetconv._geometry import validation
from sparsetconv.testing._differences import Conjugated, different, first_difference, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array


# the largest error of a correct operator, relative to |A x| |y| + |x| |A.H y|, in units of round-off
ROUNDOFFS = 64


@dataclass(frozen=True)
class AdjointTest:
    """The result of `dot_test`; true if it passed.

    Attributes
    ----------
    forward, adjoint : float or complex
        ``<A x, y>`` and ``<x, A.H y>`` for the pair of vectors with the largest error.
    error : float
        ``|forward - adjoint| / (|A x| |y| + |x| |A.H y|)``.
    tolerance : float
        The largest ``error`` that passes; 0 in the exact mode.
    """

    forward: complex
    adjoint: complex
    error: float
    tolerance: float

    def __bool__(self) -> bool:
        return self.error <= self.tolerance


def dot_test(
    op: Any,
    *,
    exact: bool = False,
    rtol: float | None = None,
    trials: int = 3,
    rng: np.random.Generator | int | None = 0,
) -> AdjointTest:
    """Compare ``<A x, y>`` with ``<x, A.H y>`` for random vectors.

    Parameters
    ----------
    op : LinearOperator, sparse or dense matrix
        Anything with ``shape``, ``matvec`` and ``rmatvec``, or that
        `scipy.sparse.linalg.aslinearoperator` accepts; or CuPy's counterpart.
    exact : bool
        Whether to draw small integers and require equality. The operator's entries must be integers.
    rtol : float, optional
        The largest error that passes; 64 units of round-off of the operator's dtype if not given.
    trials : int
        Number of pairs of vectors.
    rng : Generator or int or None
        Source of the vectors, or a seed.

    Returns
    -------
    AdjointTest
        True if the worst pair is within the tolerance.

    Raises
    ------
    AssertionError
        If a product has the wrong shape.
    NotImplementedError
        If the operator has no adjoint.
    TypeError
        If ``op`` is not an operator or matrix.
    ValueError
        If ``rtol`` is negative or ``trials`` is less than 1; in the exact mode, if the products are not
        integers, or are too large for exact floating-point arithmetic.

    Notes
    -----
    The error is ``|<A x, y> - <x, A.H y>| / (|A x| |y| + |x| |A.H y|)``. Complex operators get complex
    vectors. In the exact mode integer operators get vectors of 64-bit integers; if products are of an integer
    dtype, in which sums wrap around, the two numbers are compared modulo its range.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> A = stc.ConvOperator(np.array([1.0, 2.0, -3.0]), 100, padding=1, padding_mode="reflect")
    >>> bool(stc.testing.dot_test(A))
    True
    >>> stc.testing.dot_test(A, exact=True).error
    0.0
    """
    operator = _as_operator(op)
    generator = np.random.default_rng(rng)
    dtype = _dtype_of(operator)
    trials = validation.integer("trials", trials, 1)
    if rtol is not None and not (isinstance(rtol, Real) and rtol >= 0):
        msg = f"rtol must not be negative, got {shown(rtol)}"
        raise ValueError(msg)
    draw = _integers if exact else _normals
    results = []
    for _ in range(trials):
        x = draw(generator, operator.shape[1], dtype)
        y = draw(generator, operator.shape[0], dtype)
        forward = _product("matvec", operator, x, operator.shape[0])
        adjoint = _product("rmatvec", operator, y, operator.shape[1])
        if exact:
            results.append(_exact_result(x, y, forward, adjoint))
        else:
            results.append(_result(x, y, forward, adjoint, dtype, rtol))
    return max(results, key=lambda result: result.error)


def assert_adjoint(
    op: Any,
    *,
    exact: bool = False,
    rtol: float | None = None,
    trials: int = 3,
    rng: np.random.Generator | int | None = 0,
) -> None:
    """Raise unless an operator's adjoint and its products with several vectors are correct.

    Parameters
    ----------
    op, exact, rtol, trials, rng : optional
        As for `dot_test`.

    Raises
    ------
    AssertionError
        If they are not. The message has the two dot products and, for an operator with at most ``2**22``
        entries, the first wrong entry.

    Notes
    -----
    The products with several vectors, ``matmat`` and ``rmatmat``, are compared with ``matvec`` and
    ``rmatvec``.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import LinearOperator
    >>> import sparsetconv as stc
    >>> wrong = LinearOperator((2, 2), matvec=np.cumsum, rmatvec=np.cumsum, dtype=float)
    >>> stc.testing.assert_adjoint(wrong)
    Traceback (most recent call last):
        ...
    AssertionError: the adjoint is not that of the operator: ... first at A[0, 1] = 0, A.H[1, 0] = 1...
    """
    result = dot_test(op, exact=exact, rtol=rtol, trials=trials, rng=rng)
    operator = _as_operator(op)
    if not result:
        msg = (
            f"the adjoint is not that of the operator: <A x, y> = {result.forward:.6g}, "
            f"<x, A.H y> = {result.adjoint:.6g}, error {result.error:.3g} of at most {result.tolerance:.3g}"
        )
        msg += _hint(operator, exact, result.tolerance)
        dtype = _vector_dtype(_dtype_of(operator))
        msg += first_difference(operator, dtype, result.tolerance)
        raise AssertionError(msg)
    _check_columns(operator, result.tolerance, rng)


class _OnHost:
    """An operator on GPU arrays as an operator on NumPy arrays, so that the test computes in NumPy."""

    def __init__(self, op: Any, backend: Backend) -> None:
        operator = backend.linalg.aslinearoperator(op)
        device = operator_device(op, backend)
        self.shape, self.dtype = operator.shape, operator.dtype
        for name in ("matvec", "rmatvec", "matmat", "rmatmat"):
            setattr(self, name, self._through(getattr(operator, name), backend, device))

    @staticmethod
    def _through(
        product: Callable[[Array], Array], backend: Backend, device: int | None
    ) -> Callable[[Array], Array]:
        def called(x: Array) -> Array:
            with on_device(backend, device):
                return to_numpy(product(backend.asarray(x)))

        return called


def _as_operator(op: Any) -> Any:
    backend = operator_backend(op)
    if backend.on_gpu:
        return _OnHost(op, backend)
    if hasattr(op, "matvec") and hasattr(op, "rmatvec") and hasattr(op, "shape"):
        return op
    try:
        operator = aslinearoperator(op)
    except (TypeError, ValueError):
        operator = None
    if operator is None or np.dtype(operator.dtype).kind not in "biufcO":
        msg = f"op must be a matrix or have shape, matvec and rmatvec, got {type_name(op)}"
        raise TypeError(msg)
    return operator


def _dtype_of(operator: Any) -> np.dtype[Any]:
    return np.dtype(operator.dtype if operator.dtype is not None else np.float64)


def _normals(generator: np.random.Generator, size: int, dtype: np.dtype[Any]) -> Array:
    values: Array = generator.standard_normal(size)
    if dtype.kind == "c":
        values = values + 1j * generator.standard_normal(size)
    return values.astype(dtype if dtype.kind in "fc" else np.float64)


def _integers(generator: np.random.Generator, size: int, dtype: np.dtype[Any]) -> Array:
    values: Array = generator.integers(-4, 5, size)
    if dtype.kind in ("b", "u"):
        values = np.abs(values)
    if dtype.kind == "c":
        values = values + 1j * generator.integers(-4, 5, size)
    return values.astype(_vector_dtype(dtype))


def _vector_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of vectors of integers: 64 bits where sums may overflow the operator's dtype."""
    if dtype.kind in "bi" or (dtype.kind == "u" and dtype.itemsize < 8):
        return np.dtype(np.int64)
    return dtype


def _product(name: str, operator: Any, vector: Array, size: int) -> Array:
    function = getattr(operator, name)
    try:
        product = np.asarray(function(vector))
    except NotImplementedError as error:
        msg = f"op must define {name}: {error}"
        raise NotImplementedError(msg) from None
    except ValueError:
        # SciPy could not reshape the result of a user's function; its message does not name the function
        shape = _own_shape(name, operator, vector)
        if shape is None or prod(shape) == size:
            raise
        _refuse_shape(name, size, vector, shape)
    if product.shape != (size,):
        _refuse_shape(name, size, vector, product.shape)
    return product


def _refuse_shape(name: str, size: int, vector: Array, shape: tuple[int, ...]) -> NoReturn:
    msg = f"{name} must return shape ({size},) for a vector of shape {vector.shape}, got {shown(shape)}"
    raise AssertionError(msg) from None


def _own_shape(name: str, operator: Any, vector: Array) -> tuple[int, ...] | None:
    """Return the shape of the result of the user's function, which SciPy's method of that name calls."""
    own = getattr(operator, f"_{name}", None)
    try:
        return None if own is None else np.shape(own(vector))
    except ValueError:
        return None


def _result(
    x: Array, y: Array, forward: Array, adjoint: Array, dtype: np.dtype[Any], rtol: float | None
) -> AdjointTest:
    # in double precision, so that the test's own round-off does not hide errors
    x, y, forward, adjoint = (v.astype(np.result_type(v, np.float64)) for v in (x, y, forward, adjoint))
    with np.errstate(over="ignore", invalid="ignore"):
        left, right = _number(np.vdot(y, forward)), _number(np.vdot(adjoint, x))
    # scaled, since squares of very large or small numbers overflow or underflow
    largest = max(float(np.abs(v).max(initial=0)) for v in (forward, adjoint))
    error = 0.0
    if largest:
        with np.errstate(invalid="ignore"):
            forward, adjoint = forward / largest, adjoint / largest
        scale = np.linalg.norm(forward) * np.linalg.norm(y) + np.linalg.norm(x) * np.linalg.norm(adjoint)
        error = float(abs(np.vdot(y, forward) - np.vdot(adjoint, x)) / scale)
    inexact = dtype if dtype.kind in "fc" else np.dtype(np.float64)
    tolerance = ROUNDOFFS * float(np.finfo(inexact).eps) if rtol is None else rtol
    return AdjointTest(left, right, error if np.isfinite(error) else np.inf, tolerance)


def _number(value: Any) -> float | complex:
    return complex(value) if np.iscomplexobj(value) else float(value)


def _exact_result(x: Array, y: Array, forward: Array, adjoint: Array) -> AdjointTest:
    _check_exact(forward, adjoint)
    (left, left_i), (right, right_i) = _exact_dot(y, forward), _exact_dot(adjoint, x)
    modulus = _modulus(forward, adjoint)
    error = float(
        any((p - q) % modulus if modulus else p != q for p, q in ((left, right), (left_i, right_i)))
    )
    if modulus == 1:
        # a sum of booleans is true if any of them is
        error = float((left != 0) != (right != 0))
    if x.dtype.kind != "c" and not (left_i or right_i):
        return AdjointTest(float(left), float(right), error, 0.0)
    return AdjointTest(complex(left, left_i), complex(right, right_i), error, 0.0)


def _modulus(*products: Array) -> int:
    """Return the range of the narrowest integer dtype, modulo which sums are exact; 0 for floats.

    It is 1 for booleans, which cannot be summed.
    """
    ranges = [2 ** (8 * p.dtype.itemsize) for p in products if p.dtype.kind in "iu"]
    ranges += [1 for p in products if p.dtype.kind == "b"]
    return min(ranges, default=0)


def _check_exact(forward: Array, adjoint: Array) -> None:
    """Raise unless the products are integers, exact in their dtype or modulo its range."""
    for name, product in (("A x", forward), ("A.H y", adjoint)):
        parts = [product.real, product.imag]
        if any((part != np.round(part)).any() for part in parts):
            msg = f"exact=True asks for an operator with integer entries, but {name} is not integer"
            raise ValueError(msg)
        if product.dtype.kind in "fc":
            limit = 2.0 / np.finfo(product.dtype).eps
            largest = max(float(np.abs(part).max(initial=0)) for part in parts)
            if not largest < limit:
                msg = (
                    f"exact=True needs sums below {limit:.0f} in {product.dtype}, got {largest:.0f} in {name}"
                )
                raise ValueError(msg)


def _exact_dot(a: Array, b: Array) -> tuple[int, int]:
    """Return the real and the imaginary part of ``sum(conj(a) * b)`` as Python integers."""
    ar, ai, br, bi = ([int(v) for v in part.tolist()] for part in (a.real, a.imag, b.real, b.imag))
    real = sum(p * q + r * s for p, q, r, s in zip(ar, br, ai, bi, strict=True))
    imaginary = sum(p * s - r * q for p, q, r, s in zip(ar, br, ai, bi, strict=True))
    return real, imaginary


def _hint(operator: Any, exact: bool, tolerance: float) -> str:
    """Return a hint for the message if an adjoint that failed is the plain transpose, else ""."""
    dtype = _dtype_of(operator)
    if dtype.kind == "c" and dot_test(Conjugated(operator), exact=exact, rtol=tolerance):
        return "; A.H seems to be A.T: conjugate the entries"
    return ""


def _check_columns(operator: Any, tolerance: float, rng: np.random.Generator | int | None) -> None:
    """Compare products with three vectors at once with products with one vector."""
    generator = np.random.default_rng(rng)
    dtype = _dtype_of(operator)
    for name, single, size in (("matmat", "matvec", 1), ("rmatmat", "rmatvec", 0)):
        if not hasattr(operator, name):
            continue
        vectors = np.stack([_integers(generator, operator.shape[size], dtype) for _ in range(3)], 1)
        together = np.asarray(getattr(operator, name)(vectors))
        expected = (operator.shape[1 - size], 3)
        if together.shape != expected:
            msg = f"{name} must return shape {expected} for three vectors, got {shown(together.shape)}"
            raise AssertionError(msg)
        alone = np.stack([getattr(operator, single)(v) for v in vectors.T], 1)
        inexact = np.result_type(dtype, np.float32)
        wrong = different(together, alone, max(tolerance, ROUNDOFFS * float(np.finfo(inexact).eps)))
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            numbers = f"{readable(together[i, j])} and {readable(alone[i, j])}"
            msg = f"{name} differs from {single}, first at [{i}, {j}]: {numbers}"
            raise AssertionError(msg)
