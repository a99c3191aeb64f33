"""`fit_kernel`: the least-squares kernel of a convolution for given pairs of arrays.

A convolution is linear in its kernel, so this is a linear least-squares problem. It is solved by the normal
equations, accumulated one pair after another, or by LSMR on the stacked `KernelOperator` of all pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import chain, groupby, islice, zip_longest
from math import inf, prod, sqrt
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.linalg import LinAlgWarning, cho_factor, cho_solve, lapack

from sparsetconv._arrays import memory
from sparsetconv._arrays.backend import backend_of, check_backend, check_device, to_numpy
from sparsetconv._arrays.display import shown
from sparsetconv._arrays.layout import last_axes
from sparsetconv._arrays.streams import on_device
from sparsetconv._arrays.validation import as_array
from sparsetconv._geometry import validation
from sparsetconv._geometry.transposed import ends, settled_geometry
from sparsetconv._learning import cost
from sparsetconv._learning.normal import NormalEquations
from sparsetconv.operators._kernel import KernelOperator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._geometry.validation import IntOrInts, Padding, PaddingMode

FitMethod = Literal["auto", "cholesky", "lsmr"]
METHODS: tuple[FitMethod, ...] = get_args(FitMethod)
# weights of one output channel above which the normal equations are too large
MANY_WEIGHTS = 4096
# estimated seconds of Cholesky from which on LSMR is considered, and how many times faster it has to be
WORTH, FASTER = 0.5, 2
# maximum elements of arrays of equal shape that are stacked
TOGETHER = 1 << 18
# reciprocal condition numbers below which fewer than four digits are left
DOUBTFUL = 1e-12
# tolerance of LSMR, relative to the norms of the operator and of the targets
TOLERANCE = 1e-13
HELP = "more varied pairs or ridge > 0 would help"
_MISSING = object()

_Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def fit_kernel(
    inputs: Iterable[ArrayLike],
    targets: Iterable[ArrayLike],
    kernel_shape: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    transposed: bool = False,
    ridge: float = 0.0,
    method: FitMethod = "auto",
) -> Array:
    """Return the kernel whose convolution with the inputs is closest to the targets, in least squares.

    Parameters
    ----------
    inputs, targets : iterable of array_like
        Pairs of arrays, taken one after another, so that generators are accepted; sizes may differ from pair
        to pair. An array is a batch, whose first axis numbers the pairs; pass a single pair as ``[x], [y]``.
        Shapes are ``(n1, ..., nd)`` or ``(channels, n1, ..., nd)``, without a batch axis inside a list; a
        target has the shape of the output. All are NumPy arrays, or all CuPy arrays.
    kernel_shape : int or sequence of int
        ``(k1, ..., kd)``, or with channels ``(c_out, c_in // groups, k1, ..., kd)``; with `transposed`
        ``(c_in, c_out // groups, k1, ..., kd)``.
    stride, padding, dilation, groups, padding_mode, flip : int, sequence, str, bool
        As for `ConvOperator` or `ConvTransposeOperator`. The output size of a transposed convolution, where
        several are possible, is that of the targets.
    transposed : bool
        Whether the convolution is a transposed one, as for up-sampling; False by default, as for
        `KernelOperator`: the kernel is that of a `ConvOperator`.
    ridge : float
        Weight of the squared norm of the kernel, which is added to the squared error, in units of squared
        input times the number of outputs; 0 or more.
    method : {"auto", "cholesky", "lsmr"}
        ``"cholesky"`` accumulates the normal equations pair by pair, without keeping the pairs, and
        factorizes them. ``"lsmr"`` keeps all pairs and iterates, for kernels whose normal equations are too
        large; if the solution is not unique, it returns the one of minimum norm. ``"auto"`` uses LSMR for
        more than 4096 weights per output channel, and if it is expected to be much faster, judged by the
        sizes and the spectrum of the first pairs.

    Returns
    -------
    array
        Of shape `kernel_shape`, floating-point, in the precision of the pairs; sums are in double precision.
        A CuPy array if the pairs are; the normal equations are then accumulated on the GPU, and solved on the
        host.

    Raises
    ------
    TypeError
        If an input or a target is not a dense numeric array, if some are NumPy arrays and others CuPy arrays,
        or if a parameter has the wrong type.
    ValueError
        If there is no pair, or an input without a target; if a pair does not fit the kernel, or has NaN or
        infinity; if there are fewer equations than unknowns and no `ridge`; if `ridge` is negative.
    MemoryError
        If the kernel or the normal equations need more memory than is available.
    numpy.linalg.LinAlgError
        With Cholesky, if the pairs (and `ridge`) do not determine every weight in double precision.

    Warns
    -----
    scipy.linalg.LinAlgWarning
        If the problem is so ill-conditioned that fewer than four digits can be trusted; or if LSMR stopped
        early.

    See Also
    --------
    KernelOperator : The linear operator from a kernel to the output.
    interpolation_kernel : Fixed kernels for up-sampling.

    Notes
    -----
    With ``K_i`` the `KernelOperator` of input ``i``, the kernel is
    ``argmin_w sum_i norm(K_i w - y_i)**2 + ridge * norm(w)**2``, the solution of
    ``(sum_i K_i^H K_i + ridge I) w = sum_i K_i^H y_i``: a closed form, with no learning rate and no epochs.
    The matrix has a row for each weight of one output channel; all output channels of a group share it. The
    outputs of a transposed convolution fall into phases that share no weights, and are summed separately.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> x = np.random.default_rng(0).standard_normal((4, 20))
    >>> y = stc.ConvTransposeOperator([1.0, 2.0, 3.0, 4.0], 20, stride=2, padding=1).apply(x)
    >>> stc.fit_kernel(x, y, 4, stride=2, padding=1, transposed=True).round(10)
    array([1., 2., 3., 4.])
    """
    return fit_pairs(
        _zipped(inputs, targets),
        kernel_shape,
        transposed=transposed,
        flip=flip,
        groups=groups,
        ridge=ridge,
        method=method,
        count=len(inputs) if isinstance(inputs, Sized) else 1,
        stride=stride,
        padding=padding,
        dilation=dilation,
        padding_mode=padding_mode,
    )


def fit_pairs(
    pairs: Iterator[tuple[ArrayLike, ArrayLike]],
    kernel_shape: IntOrInts,
    *,
    transposed: bool,
    flip: bool = False,
    groups: int = 1,
    ridge: float = 0.0,
    method: FitMethod = "auto",
    count: int = 1,
    **options: Any,
) -> Array:
    """Return the least-squares kernel for pairs of an input and a target; see `fit_kernel`.

    ``count`` is the number of pairs, as far as it is known. ``options`` are stride, padding, dilation and
    padding_mode.
    """
    shape = validation.shape("kernel_shape", kernel_shape)
    memory.require("the kernel", 8 * prod(shape), "kernel_shape sets its size")
    word = validation.word("method", method, METHODS)
    damping = _checked_ridge(ridge)
    problem = _Problem(
        shape,
        validation.flag("transposed", transposed),
        validation.flag("flip", flip),
        validation.integer("groups", groups, 1),
        options,
    )
    checked = problem.pairs(pairs)
    first = next(checked, None)
    if first is None:
        msg = "inputs and targets must have at least one pair"
        raise ValueError(msg)
    if word == "auto":
        word = _faster(problem, first, count, damping)
    solve = _by_cholesky if word == "cholesky" else _by_lsmr
    with on_device(first.backend, first.device):
        weights, dtype = solve(problem, first, checked, damping)
        return first.backend.asarray(weights.astype(dtype))


def _faster(problem: _Problem, first: _Pair, pairs: int, ridge: float) -> FitMethod:
    """Return the method, judged by the first of all ``pairs``: Cholesky unless LSMR is much faster.

    The iterations of LSMR are a rough estimate, and Cholesky detects pairs that do not determine the weights.
    """
    if problem.unknowns(first) > MANY_WEIGHTS:
        return "lsmr"
    geometry, dtype = first.geometry, np.result_type(first.dtype, np.float64)
    squared = cost.cholesky_seconds(geometry, problem.transposed, dtype, pairs)
    if squared < WORTH:
        return "cholesky"
    ndim = geometry.ndim
    planes = to_numpy(first.inputs).reshape(-1, *first.inputs.shape[-ndim:])
    extremes = cost.condition_estimate(planes, [axis.taps for axis in geometry.axes], ridge)
    iterations = cost.lsmr_iterations(extremes, prod(problem.kernel_shape), TOLERANCE)
    iterated = iterations * cost.iteration_seconds(geometry, dtype, pairs)
    return "lsmr" if FASTER * iterated < squared else "cholesky"


def _checked_ridge(ridge: Any) -> float:
    if isinstance(ridge, bool) or not isinstance(ridge, Real):
        msg = f"ridge must be a number, got {shown(ridge)}"
        raise TypeError(msg)
    try:
        number = float(ridge)
    except OverflowError:
        number = inf
    if not 0 <= number < inf:
        msg = f"ridge must be finite and not negative, got {shown(ridge)}"
        raise ValueError(msg)
    return number


@dataclass(frozen=True)
class _Pair:
    """Inputs and targets of equal shapes, ``(batch, ...)``, and the geometry of the forward direction."""

    inputs: Array
    targets: Array
    geometry: ConvGeometry

    @property
    def backend(self) -> Backend:
        """Backend of the arrays."""
        return backend_of("inputs", self.inputs)

    @property
    def device(self) -> int | None:
        """Number of the GPU of the arrays; None for NumPy's."""
        return self.backend.device_of(self.inputs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the kernel: floating-point, and no less precise than the arrays."""
        dtype = np.result_type(self.inputs.dtype, self.targets.dtype)
        return dtype if dtype.kind in "fc" else np.dtype(np.float64)


@dataclass(frozen=True)
class _Problem:
    """The parameters that all pairs have in common."""

    kernel_shape: tuple[int, ...]
    transposed: bool
    flip: bool
    groups: int
    options: dict[str, Any]

    def unknowns(self, pair: _Pair) -> int:
        """Return the number of weights of one output channel."""
        return self.channels(pair)[0] * prod(axis.taps for axis in pair.geometry.axes)

    def channels(self, pair: _Pair) -> tuple[int, int]:
        """Return the number of input and of output channels of one group."""
        c_in, c_out = pair.geometry.channels
        return (c_out, c_in) if self.transposed else (c_in, c_out)

    def pairs(self, given: Iterator[tuple[ArrayLike, ArrayLike]]) -> Iterator[_Pair]:
        """Yield checked pairs; consecutive pairs of the same shapes are stacked."""
        geometries: dict[_Shapes, ConvGeometry] = {}
        checked = self._checked(given, geometries)
        for shapes, run in groupby(checked, key=lambda pair: (pair[0].shape, pair[1].shape)):
            count = max(1, TOGETHER // max(map(prod, shapes)))
            while part := list(islice(run, count)):
                backend = backend_of("inputs", part[0][0])
                with on_device(backend, backend.device_of(part[0][0])):
                    x, y = (backend.xp.stack(side) for side in zip(*part, strict=True))
                yield _Pair(x, y, geometries[shapes])

    def _checked(
        self, pairs: Iterator[tuple[Any, Any]], geometries: dict[_Shapes, ConvGeometry]
    ) -> Iterator[tuple[Array, Array]]:
        """Yield pairs that fit the kernel and each other, and note their geometries."""
        rank = len(self.kernel_shape)
        # the channel form has one axis less than its kernel, and at least a spatial one
        ranks = (rank, rank - 1) if rank > 2 else (rank,)
        backend, device = None, None
        for number, (given, wanted) in enumerate(pairs):
            if backend is None:
                backend = backend_of("inputs[0]", given)
                device = backend.device_of(given)
            for name, value in ((f"inputs[{number}]", given), (f"targets[{number}]", wanted)):
                check_backend(name, value, backend, "inputs[0]")
                check_device(name, value, backend, device, "inputs[0]")
            x, y = _own(f"inputs[{number}]", given), _own(f"targets[{number}]", wanted)
            if x.ndim not in ranks:
                msg = (
                    f"inputs[{number}] must have {' or '.join(map(str, ranks))} axes with the kernel_shape "
                    f"{shown(self.kernel_shape)}, got the shape {shown(x.shape)}; pass a single pair as "
                    "[x], [y]"
                )
                raise ValueError(msg)
            ranks = (x.ndim,)
            if (x.shape, y.shape) not in geometries:
                geometries[x.shape, y.shape] = self._geometry(number, x.shape, y.shape)
            yield x, y

    def _geometry(self, number: int, x: tuple[int, ...], y: tuple[int, ...]) -> ConvGeometry:
        try:
            return self._fitting(x, y, self.transposed)
        except (TypeError, ValueError) as error:
            msg = f"inputs[{number}] of shape {x} and targets[{number}] of shape {y} do not fit: {error}"
            try:
                self._fitting(x, y, not self.transposed)
            except (TypeError, ValueError):
                hint = ""
            else:
                hint = f"; with transposed={not self.transposed} they do"
            raise type(error)(msg + hint) from None

    def _fitting(self, x: tuple[int, ...], y: tuple[int, ...], transposed: bool) -> ConvGeometry:
        """Return the forward geometry of a pair's convolution, or raise."""
        geometry = settled_geometry(
            x,
            self.kernel_shape,
            transposed,
            output_shape=y if transposed else None,
            groups=self.groups,
            flip=self.flip,
            **self.options,
        )
        _, output = ends(geometry, transposed)
        if output != y:
            msg = f"a target must have the shape of the output, {output}, got {y}"
            raise ValueError(msg)
        return geometry


def _zipped(inputs: Any, targets: Any) -> Iterator[tuple[Any, Any]]:
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Iterable):
            msg = f"{name} must be a sequence or an iterator of arrays, got {shown(value)}"
            raise TypeError(msg)
    for number, pair in enumerate(zip_longest(inputs, targets, fillvalue=_MISSING)):
        for name, value in zip(("inputs", "targets"), pair, strict=True):
            if value is _MISSING:
                msg = f"inputs and targets must be equally many, but {name} ended after {number}"
                raise ValueError(msg)
        yield pair


def _own(name: str, value: ArrayLike) -> Array:
    array = as_array(name, value)
    backend = backend_of(name, array)
    with on_device(backend, backend.device_of(array)):
        # a copy: a generator may fill the same array again
        array = array.copy()
        if not bool(np.isfinite(array).all()):
            msg = f"{name} must be finite, got NaN or infinity"
            raise ValueError(msg)
        return array


def _check_count(equations: int, unknowns: int, ridge: float) -> None:
    if equations < unknowns and not ridge:
        msg = (
            f"inputs and targets give fewer equations ({equations} outputs of one channel) than a kernel has "
            f"unknowns ({unknowns} weights); use more pairs, a smaller kernel or ridge > 0"
        )
        raise ValueError(msg)


def _by_cholesky(
    problem: _Problem, first: _Pair, others: Iterator[_Pair], ridge: float
) -> tuple[Array, np.dtype[Any]]:
    reads, gives = problem.channels(first)
    groups, unknowns = problem.groups, problem.unknowns(first)
    first.backend.require(
        "the normal equations", 8 * (groups + 3) * unknowns**2, "method='lsmr' does not form them"
    )
    taps = tuple(axis.taps for axis in first.geometry.axes)
    equations = NormalEquations(groups, reads, gives, taps, first.backend)
    dtype = first.dtype
    for pair in chain([first], others):
        dtype = np.result_type(dtype, pair.dtype)
        sides = ((pair.inputs, reads), (pair.targets, gives))
        # (batch, groups, channels, n1, ..., nd)
        arrays = [a.reshape(len(a), groups, c, *a.shape[a.ndim - len(taps) :]) for a, c in sides]
        equations.add(pair.geometry, problem.transposed, *arrays)
    _check_count(equations.equations, unknowns, ridge)
    matrices, rights = to_numpy(equations.matrix), to_numpy(equations.right)
    solved = [_solve(n, b, ridge) for n, b in zip(matrices, rights, strict=True)]
    weights = np.stack(solved).reshape(groups, reads, *taps, gives)
    weights = np.moveaxis(weights, -1, 2 if problem.transposed else 1)
    if problem.flip:
        weights = weights[last_axes([slice(None, None, -1)] * len(taps))]
    return weights.reshape(problem.kernel_shape), dtype


def _solve(matrix: Array, right: Array, ridge: float) -> Array:
    """Solve the normal equations of one group, scaled to a diagonal of ones."""
    size = len(matrix)
    diagonal = matrix.diagonal().real
    if not ridge and not diagonal.all():
        unread = size - np.count_nonzero(diagonal)
        msg = f"{unread} of the {size} weights of an output channel read only zeros; {HELP}"
        raise np.linalg.LinAlgError(msg)
    scale = 1 / np.sqrt(diagonal + ridge)
    scaled = scale[:, None] * matrix * scale
    scaled.flat[:: size + 1] = 1
    norm = np.abs(scaled).sum(0).max()
    try:
        factor = cho_factor(scaled, overwrite_a=True, check_finite=False)
        estimate: Any = lapack.get_lapack_funcs("pocon", (factor[0],))
        reciprocal = float(estimate(factor[0], norm)[0])
    except np.linalg.LinAlgError:
        reciprocal = 0.0
    if reciprocal < size * np.finfo(float).eps:
        msg = f"the normal equations are singular: the pairs do not determine all {size} weights; {HELP}"
        raise np.linalg.LinAlgError(msg)
    if reciprocal < DOUBTFUL:
        msg = (
            f"the normal equations are ill-conditioned (reciprocal condition number {reciprocal:.0e}); {HELP}"
        )
        warnings.warn(msg, LinAlgWarning, stacklevel=4)
    solution: Array = scale[:, None] * cho_solve(factor, scale[:, None] * right, check_finite=False)
    return solution


def _by_lsmr(
    problem: _Problem, first: _Pair, others: Iterator[_Pair], ridge: float
) -> tuple[Array, np.dtype[Any]]:
    operators, targets, dtype = [], [], first.dtype
    for pair in chain([first], others):
        dtype = np.result_type(dtype, pair.dtype)
        double = np.result_type(pair.dtype, np.float64)
        operators += [
            KernelOperator.from_geometry(x.astype(double), pair.geometry, transposed=problem.transposed)
            for x in pair.inputs
        ]
        targets.append(pair.targets.ravel())
    backend = first.backend
    right = backend.xp.concatenate(targets).astype(np.result_type(dtype, np.float64))
    _check_count(right.size // (problem.channels(first)[1] * problem.groups), problem.unknowns(first), ridge)
    # in exact arithmetic as many iterations as there are weights would be enough
    maximum = 100 + 10 * prod(problem.kernel_shape)
    options = {"atol": TOLERANCE, "btol": TOLERANCE, "conlim": 0, "maxiter": maximum}
    stacked = _stacked(operators, right.dtype, backend)
    solution, stop, iterations, *_ = backend.linalg.lsmr(stacked, right, damp=sqrt(ridge), **options)
    if stop not in (0, 1, 2, 4, 5):
        msg = f"LSMR stopped after {iterations} iterations without reaching its tolerance; {HELP}"
        warnings.warn(msg, LinAlgWarning, stacklevel=3)
    return solution.reshape(problem.kernel_shape), dtype


def _stacked(operators: list[Any], dtype: np.dtype[Any], backend: Backend) -> Any:
    """Return operators of one kernel on top of each other; products are all in the same array."""
    cuts = np.cumsum([op.shape[0] for op in operators])
    rows = [slice(stop - op.shape[0], stop) for op, stop in zip(operators, cuts, strict=True)]
    shape = (int(cuts[-1]), operators[0].shape[1])
    # LSMR adds a product to a vector of its own before it asks for the next one
    stacked: Array = backend.xp.empty(shape[0], dtype)

    def forward(x: Array) -> Array:
        kernel = x.astype(dtype, copy=False).reshape(operators[0].input_shape)
        for op, own in zip(operators, rows, strict=True):
            op.apply(kernel, out=stacked[own].reshape(op.output_shape))
        return stacked

    def adjoint(y: Array) -> Array:
        flat = y.ravel()
        total: Array = operators[0].rmatvec(flat[rows[0]])
        for op, own in zip(operators[1:], rows[1:], strict=True):
            total += op.rmatvec(flat[own])
        return total

    return backend.linear_operator(shape=shape, matvec=forward, rmatvec=adjoint, dtype=dtype)
