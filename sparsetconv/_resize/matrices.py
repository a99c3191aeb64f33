"""Matrices that change the sampling of an array: `zero_insertion_matrix` and `resize_matrix`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, get_args, overload

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays.backend import NUMPY, device_backend
from sparsetconv._arrays.display import clipped, shown
from sparsetconv._arrays.validation import checked_dtype
from sparsetconv._assembly.csr import boxes
from sparsetconv._assembly.formats import (
    FORMATS,
    canonical,
    fitting_index_dtype,
    require_matrix,
    row_range,
    wanted_index_dtype,
)
from sparsetconv._assembly.kronecker import stacked_products
from sparsetconv._geometry import validation
from sparsetconv._resize.geometry import resize_geometry
from sparsetconv._resize.interpolation import axis_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike
    from scipy.sparse import csc_array

    from sparsetconv._arrays.backend import Device
    from sparsetconv._arrays.types import COO, CSR
    from sparsetconv._assembly.csr import Box
    from sparsetconv._geometry.validation import IntOrInts
    from sparsetconv._resize.geometry import (
        ConventionName,
        CoordinateMode,
        NearestMode,
        ResizeGeometry,
        ResizeMode,
    )

SamplingFormat = Literal["csr", "csc", "coo"]
SAMPLING_FORMATS: tuple[SamplingFormat, ...] = get_args(SamplingFormat)

if TYPE_CHECKING:
    SampledArray: TypeAlias = CSR | csc_array[Any] | COO

    class SamplingOptions(TypedDict, total=False):
        """The keyword arguments of both functions, except the format."""

        rows: slice | None
        dtype: DTypeLike
        index_dtype: DTypeLike | None
        device: Device

    class ResizeOptions(SamplingOptions, total=False):
        """The keyword arguments of `resize_matrix`, except the format."""

        scale: float | Sequence[float] | None
        mode: ResizeMode
        coordinate_mode: CoordinateMode | None
        nearest_mode: NearestMode | None
        cubic_coeff: float | None
        exclude_outside: bool | None
        antialias: bool | None
        convention: ConventionName | None


@overload
def zero_insertion_matrix(
    input_shape: IntOrInts,
    stride: IntOrInts,
    *,
    format: Literal["csr"] = "csr",
    **options: Unpack[SamplingOptions],
) -> CSR: ...
@overload
def zero_insertion_matrix(
    input_shape: IntOrInts, stride: IntOrInts, *, format: SamplingFormat, **options: Unpack[SamplingOptions]
) -> SampledArray: ...
def zero_insertion_matrix(
    input_shape: IntOrInts,
    stride: IntOrInts,
    *,
    rows: slice | None = None,
    dtype: DTypeLike = np.float64,
    index_dtype: DTypeLike | None = None,
    format: SamplingFormat = "csr",
    device: Device = "numpy",
) -> SampledArray:
    """Return the matrix that puts ``stride - 1`` zeros between neighbouring samples.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``; axes in front of those with a stride, such as channels, are unchanged.
    stride : int or sequence of int
        One for all axes, or one for each of the last axes.
    rows : slice, optional
        Only these rows, ``slice(start, stop)``, with global column indices, at the cost of these rows.
    dtype : dtype, optional
        The dtype of the entries.
    index_dtype : dtype, optional
        ``int32`` or ``int64``; the smaller one that fits if not given.
    format : {"csr", "csc", "coo"}
        The format of the matrix. Block and diagonal formats, which `conv_matrix` supports, do not apply.
    device : {"numpy", "cupy"}
        Whether to return SciPy's matrix, or CuPy's, assembled on the current GPU.

    Returns
    -------
    scipy.sparse array
        Of shape ``(prod(large), prod(input_shape))`` with ``large = (n - 1) * stride + 1`` along each axis.

    Raises
    ------
    TypeError
        If a size or stride is not an integer, the dtype is not supported (on a GPU: not floating-point), or
        `rows` is not a slice of unit step.
    ValueError
        If a size or stride is less than 1, or there are more strides than axes; if `rows` exceeds the matrix,
        the format is unknown, or `index_dtype` cannot hold an index.
    MemoryError
        If the matrix does not fit into memory; raised before it is allocated.

    See Also
    --------
    conv_transpose_matrix : Zero insertion followed by a convolution, without the zeros.

    Notes
    -----
    ``Z[i, o]`` is 1 where ``i == o * stride`` along each axis. A transposed convolution is ``C1 @ Z``, where
    ``C1`` is the convolution of the zero-stuffed array with the flipped kernel, stride 1 and padding
    ``dilation * (k - 1)``; a fraction ``1 - 1 / prod(stride)`` of its multiplications is with a zero.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> stc.zero_insertion_matrix(3, 2, dtype=int).toarray()
    array([[1, 0, 0],
           [0, 0, 0],
           [0, 1, 0],
           [0, 0, 0],
           [0, 0, 1]])
    """
    sizes = validation.shape("input_shape", input_shape)
    backend = device_backend(device)
    values = float_dtype(dtype) if backend.on_gpu else checked_dtype("dtype", dtype)
    strides = _strides(stride, sizes)
    word, wanted = _sampling_format(format), wanted_index_dtype(index_dtype)
    large = tuple((n - 1) * s + 1 for n, s in zip(sizes, strides, strict=True))
    start, stop = row_range(rows, prod(large))
    parts = list(boxes(large, start, stop))
    if backend.on_gpu:
        pieces = [
            [_spread(n, s, *limits) for n, s, limits in zip(sizes, strides, box, strict=True)]
            for box in parts
        ]
        matrix = stacked_products(pieces, prod(sizes), values, backend, index_dtype=wanted)
    else:
        matrix = _zero_insertion(sizes, strides, parts, values, wanted)
    asked: SampledArray = matrix.asformat(word)
    return asked


def _strides(stride: Any, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return a stride for each axis: 1 for leading axes for which none is given."""
    if not validation.is_sequence(stride):
        return validation.per_axis("stride", stride, len(sizes), 1)
    given = tuple(stride)
    if not 1 <= len(given) <= len(sizes):
        msg = (
            f"stride must be one integer or one for each of the last axes of {shown(sizes)}, "
            f"got {shown(stride)}"
        )
        raise ValueError(msg)
    return (1,) * (len(sizes) - len(given)) + validation.per_axis("stride", given, len(given), 1)


def _sampling_format(format: Any) -> SamplingFormat:
    is_other = isinstance(format, str) and format in FORMATS
    hint = f"; A.asformat({format!r}) stores A so all the same" if is_other else ""
    return validation.word("format", format, SAMPLING_FORMATS, hint)


def _zero_insertion(
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    parts: Sequence[Box],
    values: np.dtype[Any],
    wanted: np.dtype[Any] | None,
) -> Any:
    """Return boxes of rows, which meet the samples in order, so that columns are consecutive."""
    rows = sum(prod(stop - start for start, stop in box) for box in parts)
    counts = [prod(_samples(*limits, s) for limits, s in zip(box, strides, strict=True)) for box in parts]
    entries = sum(counts)
    index = fitting_index_dtype(wanted, rows, prod(sizes), entries)
    need = (rows + 1 + entries) * index.itemsize + entries * values.itemsize
    require_matrix(NUMPY, need, prod(sizes), "stride and input_shape set its size")
    # the row pointers increase by one after each row that holds a sample
    pointers = np.zeros(rows + 1, index)
    row = 1
    for box in parts:
        shape = tuple(stop - start for start, stop in box)
        first = tuple(slice(-start % s, None, s) for (start, _), s in zip(box, strides, strict=True))
        pointers[row : row + prod(shape)].reshape(shape)[first] = 1
        row += prod(shape)
    np.cumsum(pointers, out=pointers)
    before = _samples_before(parts[0], sizes, strides) if parts else 0
    columns = np.arange(before, before + entries, dtype=index)
    return NUMPY.csr(np.ones(entries, values), columns, pointers, (rows, prod(sizes)))


def _samples(start: int, stop: int, stride: int) -> int:
    """Return the number of rows, in a range along one axis, that hold a sample."""
    return -(-stop // stride) - -(-start // stride)


def _samples_before(box: Box, sizes: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return the number of samples before the first row of a box."""
    before, inside = 0, True
    for (start, _), n, s in zip(box, sizes, strides, strict=True):
        # all samples of the lines before this one, and within it those before the place
        before = before * n + (-(-start // s) if inside else 0)
        inside = inside and not start % s
    return before


def _spread(size: int, stride: int, start: int, stop: int) -> Any:
    """Return rows of the matrix of one axis."""
    pointers = (np.arange(start, stop + 1) + stride - 1) // stride
    columns = np.arange(pointers[0], pointers[-1])
    arrays = np.ones(columns.size), columns, pointers - pointers[0]
    return sp.csr_array(arrays, shape=(stop - start, size))


@overload
def resize_matrix(
    input_shape: IntOrInts,
    output_shape: IntOrInts | None = None,
    *,
    format: Literal["csr"] = "csr",
    **options: Unpack[ResizeOptions],
) -> CSR: ...
@overload
def resize_matrix(
    input_shape: IntOrInts,
    output_shape: IntOrInts | None = None,
    *,
    format: SamplingFormat,
    **options: Unpack[ResizeOptions],
) -> SampledArray: ...
def resize_matrix(
    input_shape: IntOrInts,
    output_shape: IntOrInts | None = None,
    *,
    scale: float | Sequence[float] | None = None,
    mode: ResizeMode = "linear",
    coordinate_mode: CoordinateMode | None = None,
    nearest_mode: NearestMode | None = None,
    cubic_coeff: float | None = None,
    exclude_outside: bool | None = None,
    antialias: bool | None = None,
    convention: ConventionName | None = None,
    rows: slice | None = None,
    dtype: DTypeLike = np.float64,
    index_dtype: DTypeLike | None = None,
    format: SamplingFormat = "csr",
    device: Device = "numpy",
) -> SampledArray:
    """Return the matrix that resizes an array, up or down.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``.
    output_shape : int or sequence of int, optional
        ``(m1, ..., md)``, or the sizes of the last axes; leading axes, such as channels, are unchanged.
    scale : number or sequence of numbers, optional
        Instead of `output_shape`: outputs per sample, one for all axes, or one for each of the last axes.
        The output size is ``floor(n * scale)`` (rounded in the conventions of OpenCV, Pillow and
        scikit-image).
    mode : str
        ``"nearest"``, ``"linear"`` (or ``"bilinear"``, ``"trilinear"``), ``"cubic"`` (``"bicubic"``,
        ``"tricubic"``), ``"lanczos3"`` (``"lanczos"``), or ``"area"``: the mean over the output's cell.
    coordinate_mode : str, optional
        The position of output ``o``: for ``"half_pixel"`` (the default) ``(o + 0.5) / scale - 0.5``;
        for ``"asymmetric"`` ``o / scale``; for ``"align_corners"`` ``o * (n - 1) / (n * scale - 1)``;
        for ``"pytorch_half_pixel"`` as for half_pixel, but 0 if there is one output; for
        ``"half_pixel_symmetric"`` as for half_pixel, but with the centres of both signals aligned if
        ``n * scale`` is not an integer.
    nearest_mode : str, optional
        The rounding of positions: ``"round_prefer_floor"`` (the default: ties are rounded down),
        ``"round_prefer_ceil"``, ``"floor"`` or ``"ceil"``.
    cubic_coeff : float, optional
        Coefficient of the cubic kernel, -0.75 by default.
    exclude_outside : bool, optional
        Whether taps beyond the border are left out, and the other weights scaled up to the same sum; if not,
        taps beyond the border read the edge sample. False by default, but True with lanczos3.
    antialias : bool, optional
        Whether the kernel is stretched by ``1 / scale`` along axes that shrink. False by default.
    convention : str, optional
        ``"torch"``, ``"onnx"``, ``"opencv"``, ``"pillow"``, ``"tensorflow"`` or ``"skimage"``: the package
        whose results are reproduced, with its own modes, and its defaults for parameters that are not given.
    rows : slice, optional
        Only these rows, ``slice(start, stop)``, with global column indices, at the cost of these rows.
    dtype : dtype, optional
        The dtype of the entries.
    index_dtype : dtype, optional
        ``int32`` or ``int64``; the smaller one that fits if not given.
    format : {"csr", "csc", "coo"}
        The format of the matrix. Block and diagonal formats, which `conv_matrix` supports, do not apply.
    device : {"numpy", "cupy"}
        Whether to return SciPy's matrix, or CuPy's, assembled on the current GPU.

    Returns
    -------
    scipy.sparse array
        Of shape ``(prod(output_shape), prod(input_shape))``, canonical, without stored zeros; its rows sum
        to 1.

    Raises
    ------
    TypeError
        If a size is not an integer, ``scale`` or ``cubic_coeff`` not a number, the dtype not floating-point,
        or `rows` not a slice of unit step.
    ValueError
        If not exactly one of ``output_shape`` and ``scale`` is given, a size or scale is not positive, a
        string is unknown, or the mode or convention does not support an option that was given; if `rows`
        exceeds the matrix, or `index_dtype` cannot hold an index.
    MemoryError
        If the matrix does not fit into memory; raised before it is allocated.

    See Also
    --------
    ResizeOperator : The same as an operator, which never forms the matrix.
    interpolation_kernel : The kernel with which a transposed convolution is the same interpolation.

    Notes
    -----
    The matrix is the Kronecker product of one factor for each axis. A factor's entry is
    ``A[o, j] = h((x(o) - j) / r) / sum_j' h((x(o) - j') / r)``, with ``x(o)`` the position of output
    ``o``, ``h`` the mode's kernel and ``r = max(1 / scale, 1)`` with `antialias`, else 1; entries of the same
    sample are summed. Names and meanings are those of ONNX's operator Resize [1]_, which does not have
    ``"area"`` and ``"lanczos3"``.

    References
    ----------
    .. [1] ONNX, "Resize", operator schemas, version 19.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> stc.resize_matrix(3, scale=2).toarray()
    array([[1.  , 0.  , 0.  ],
           [0.75, 0.25, 0.  ],
           [0.25, 0.75, 0.  ],
           [0.  , 0.75, 0.25],
           [0.  , 0.25, 0.75],
           [0.  , 0.  , 1.  ]])
    >>> stc.resize_matrix((3, 480, 640), (240, 320), mode="bicubic", convention="pillow").shape
    (230400, 921600)
    """
    geometry = resize_geometry(
        input_shape,
        output_shape,
        scale=scale,
        mode=mode,
        coordinate_mode=coordinate_mode,
        nearest_mode=nearest_mode,
        cubic_coeff=cubic_coeff,
        exclude_outside=exclude_outside,
        antialias=antialias,
        convention=convention,
    )
    word, backend, values = _sampling_format(format), device_backend(device), float_dtype(dtype)
    wanted = wanted_index_dtype(index_dtype)
    height, width = geometry.matrix_shape
    start, stop = row_range(rows, height)
    if word == "csc" and rows is None:
        # the columns of the matrix are the rows of its transpose, whose factors are small
        factors = [canonical(factor.T.tocsr()) for factor in axis_matrices(geometry)]
        across = stacked_products([factors], height, values, backend, index_dtype=wanted)
        by_columns: SampledArray = canonical(across.T)
        return by_columns
    pieces = [
        [axis_matrix(axis, *limits) for axis, limits in zip(geometry.axes, box, strict=True)]
        for box in boxes(geometry.output_shape, start, stop)
    ]
    matrix = stacked_products(pieces, width, values, backend, shared=False, index_dtype=wanted)
    asked: SampledArray = matrix.asformat(word)
    return asked


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype for the weights of an interpolation; raise if it is not floating-point."""
    values = checked_dtype("dtype", dtype)
    if values.kind not in "fc":
        msg = f"dtype must be a real or complex floating-point one, got {clipped(str(values))}"
        raise TypeError(msg)
    return values


def axis_matrices(geometry: ResizeGeometry) -> tuple[Any, ...]:
    """Return the factors, one ``(m, n)`` float64 CSR matrix for each axis."""
    return tuple(axis_matrix(axis) for axis in geometry.axes)
