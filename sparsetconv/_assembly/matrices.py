"""`conv_matrix` and `conv_transpose_matrix`: a convolution as a sparse matrix.

Arguments are checked here; the arrays are assembled in ``csr`` and ``cuda``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import numpy as np

from sparsetconv._arrays.backend import backend_of
from sparsetconv._arrays.display import clipped, shown
from sparsetconv._arrays.layout import oriented_weights
from sparsetconv._arrays.streams import on_device
from sparsetconv._arrays.validation import as_array
from sparsetconv._assembly.csr import MatrixLayout, csr_arrays, matrix_size
from sparsetconv._assembly.cuda import convolution_arrays
from sparsetconv._assembly.formats import FORMATS, canonical, row_range, wanted_index_dtype
from sparsetconv._geometry import validation
from sparsetconv._geometry.transposed import settled_geometry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from sparsetconv._arrays.backend import Backend
    from sparsetconv._arrays.types import CSR, Array, SparseArray
    from sparsetconv._assembly.formats import Format
    from sparsetconv._geometry.convolution import ConvGeometry
    from sparsetconv._geometry.validation import IntOrInts, Padding, PaddingMode

    class ConvOptions(TypedDict, total=False):
        """Keyword arguments of `conv_matrix` other than ``format``."""

        stride: IntOrInts
        padding: Padding
        dilation: IntOrInts
        groups: int
        padding_mode: PaddingMode
        flip: bool
        rows: slice | None
        dtype: DTypeLike | None
        index_dtype: DTypeLike | None

    class ConvTransposeOptions(ConvOptions, total=False):
        """Keyword arguments of `conv_transpose_matrix` other than ``format``."""

        output_padding: IntOrInts
        output_shape: IntOrInts | None


@overload
def conv_matrix(
    kernel: ArrayLike,
    input_shape: IntOrInts | ConvGeometry,
    *,
    format: Literal["csr"] = "csr",
    **options: Unpack[ConvOptions],
) -> CSR: ...
@overload
def conv_matrix(
    kernel: ArrayLike,
    input_shape: IntOrInts | ConvGeometry,
    *,
    format: Format,
    **options: Unpack[ConvOptions],
) -> SparseArray: ...
def conv_matrix(
    kernel: ArrayLike,
    input_shape: IntOrInts | ConvGeometry,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    rows: slice | None = None,
    dtype: DTypeLike | None = None,
    index_dtype: DTypeLike | None = None,
    format: Format = "csr",
) -> SparseArray:
    """Return the matrix of a convolution.

    Parameters
    ----------
    kernel : (k1, ..., kd) or (c_out, c_in // groups, k1, ..., kd) array_like
        Weights: float32, float64, complex64, complex128 or an integer dtype.
    input_shape : int, sequence of int, or ConvGeometry
        ``(n1, ..., nd)`` or ``(c_in, n1, ..., nd)``; or a geometry for the kernel's shape, which replaces
        all parameters from `stride` to `flip`: these must then be left out.
    stride, padding, dilation, groups, padding_mode, flip : int, sequence, str, bool
        As for `ConvGeometry`.
    rows : slice, optional
        Assemble only these rows, ``slice(start, stop)``, of the matrix, with all its columns; time and memory
        are those of these rows.
    dtype : dtype, optional
        Dtype of the values; by default that of the kernel. Weights may be rounded to it, but must not wrap or
        overflow. Taps that padding folds onto one sample are summed in this dtype, in which integers wrap
        around (for a replicated edge in double precision, then rounded); an operator sums in the dtype of its
        result.
    index_dtype : dtype, optional
        ``int32`` or ``int64``; by default the smaller one that fits.
    format : {"csr", "csc", "coo", "bsr", "dia"}
        ``"bsr"`` and ``"dia"`` are refused where they do not fit (see Notes).

    Returns
    -------
    scipy.sparse array
        Of shape ``(prod(output_shape), prod(input_shape))``. CSR is canonical: columns sorted, no duplicates.
        Zeros of the kernel are stored, so that the sparsity pattern depends only on the geometry.

    Raises
    ------
    TypeError
        If `kernel` is not a dense numeric array, `rows` is not a slice of unit step, `dtype` is of another
        kind than the kernel's, or a parameter has the wrong type.
    ValueError
        If the kernel does not fit into the padded input or does not match the channels; if a parameter has a
        value that `ConvGeometry` refuses, or is given together with a geometry; if `rows` is out of range,
        `dtype` cannot hold a weight, or `index_dtype` an index; if the matrix does not fit the format.
    MemoryError
        If the matrix needs more memory than is available; raised before anything is allocated.

    See Also
    --------
    ConvOperator : The same as a linear operator, without the matrix.
    conv_transpose_matrix : The transposed matrix, which maps the small array to the large one.

    Notes
    -----
    With one axis, ``A[o, i]`` is the sum of ``kernel[t]`` over the taps ``t`` for which sample ``i``
    stands at position ``o * stride + t * dilation - before`` of the input's extension; with several
    axes the sum runs over their product. Rows and columns are the C-order flattenings of output and
    input. If the kernel has zeros, as a five-point stencil has, call ``A.eliminate_zeros()`` before
    factorizing the matrix: stored zeros would cause fill-in.

    ``"bsr"`` fits where the last axis' windows fall into aligned blocks (unit dilation, ``stride`` a
    multiple of its taps, sizes and padding too); its blocks are ``(1, k)``. ``"dia"`` fits where all
    strides are 1 and output and input have the same sizes but for the first spatial axis, so that each
    tap is a diagonal.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> stc.conv_matrix([1, 2, 3], 5).toarray()
    array([[1, 2, 3, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 1, 2, 3]])
    >>> stc.conv_matrix([1, 2, 3], 5, stride=2, padding=1, padding_mode="reflect").toarray()
    array([[2, 4, 0, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 0, 4, 2]])
    >>> geometry = stc.ConvGeometry((4, 4), (3, 3))
    >>> geometry.nbytes("float64")
    452
    >>> A = stc.conv_matrix(np.arange(1.0, 10.0).reshape(3, 3), geometry)
    >>> A.shape, A.nnz
    ((4, 16), 36)
    """
    weights = as_array("kernel", kernel, dtype, half=True)
    geometry = settled_geometry(
        input_shape,
        weights.shape,
        transposed=False,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
        flip=flip,
    )
    return geometry_matrix(geometry, weights, False, rows, index_dtype, format)


@overload
def conv_transpose_matrix(
    kernel: ArrayLike,
    input_shape: IntOrInts | ConvGeometry,
    *,
    format: Literal["csr"] = "csr",
    **options: Unpack[ConvTransposeOptions],
) -> CSR: ...
@overload
def conv_transpose_matrix(
    kernel: ArrayLike,
    input_shape: IntOrInts | ConvGeometry,
    *,
    format: Format,
    **options: Unpack[ConvTransposeOptions],
) -> SparseArray: ...
def conv_transpose_matrix(
    kernel: ArrayLike,
    input_shape: IntOrInts | ConvGeometry,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_shape: IntOrInts | None = None,
    dilation: IntOrInts = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    rows: slice | None = None,
    dtype: DTypeLike | None = None,
    index_dtype: DTypeLike | None = None,
    format: Format = "csr",
) -> SparseArray:
    """Return the matrix of a transposed convolution, from a small array to a large one.

    It is the plain transpose (nothing is conjugated) of the `conv_matrix` that maps the large array to the
    small one, assembled directly.

    Parameters
    ----------
    kernel : (k1, ..., kd) or (c_in, c_out // groups, k1, ..., kd) array_like
        The same array as for the forward convolution, whose output channels are ``c_in``.
    input_shape : int, sequence of int, or ConvGeometry
        The small shape, ``(n1, ..., nd)`` or ``(c_in, n1, ..., nd)``; or the geometry of the forward
        convolution, as `conv_transpose_geometry` returns it, which replaces all parameters from `stride` to
        `flip`: these must then be left out.
    stride, padding : int, sequence, str
        Of the forward convolution, as for `ConvGeometry`. With ``"same"`` and ``"same_lower"`` the output
        has ``n * stride`` samples.
    output_padding : int or sequence of int
        Samples added at the end of the output, less than ``max(stride, dilation)``.
    output_shape : int or sequence of int, optional
        The output's sizes (channels may be left out), instead of ``output_padding``.
    dilation, groups, padding_mode, flip : int, sequence, str, bool
        Of the forward convolution, as for `ConvGeometry`.
    rows, dtype, index_dtype, format : optional
        As for `conv_matrix`.

    Returns
    -------
    scipy.sparse array
        Of shape ``(prod(output_shape), prod(input_shape))``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_matrix`. Also ValueError if `output_padding` is too large or given together with
        `output_shape`, or if no forward convolution maps `output_shape` to `input_shape`; the message has
        the possible sizes.

    See Also
    --------
    ConvTransposeOperator : The same as a linear operator.

    Notes
    -----
    ``A[i, o]`` is the entry ``[o, i]`` of the forward matrix. The output has
    ``(n - 1) * stride - before - after + dilation * (k - 1) + 1 + output_padding`` samples, as in torch's
    ``ConvTranspose`` [1]_. With ``"same"`` and a kernel shorter than the stride, it ends with zeros.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> stc.conv_transpose_matrix([1, 2, 3], 2, stride=2).toarray()
    array([[1, 0],
           [2, 0],
           [3, 1],
           [0, 2],
           [0, 3]])
    """
    weights = as_array("kernel", kernel, dtype, half=True)
    geometry = settled_geometry(
        input_shape,
        weights.shape,
        transposed=True,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_shape=output_shape,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
        flip=flip,
    )
    return geometry_matrix(geometry, weights, True, rows, index_dtype, format)


def geometry_matrix(
    geometry: ConvGeometry,
    kernel: Array,
    transposed: bool,
    rows: slice | None = None,
    index_dtype: DTypeLike | None = None,
    format: Format = "csr",
) -> SparseArray:
    """Return the matrix of a settled geometry, or its transpose, in any format, on the kernel's device."""
    validation.word("format", format, FORMATS)
    backend = backend_of("kernel", kernel)
    if backend.on_gpu:
        _check_on_gpu(kernel, format)
    with on_device(backend, backend.device_of(kernel)):
        return _assembled(geometry, kernel, transposed, rows, index_dtype, format, backend)


def _assembled(
    geometry: ConvGeometry,
    kernel: Array,
    transposed: bool,
    rows: slice | None,
    index_dtype: DTypeLike | None,
    format: Format,
    backend: Backend,
) -> SparseArray:
    layout = MatrixLayout.of(geometry, transposed)
    wanted_index = wanted_index_dtype(index_dtype)
    start, stop = row_range(rows, layout.shape[0])
    weights = oriented_weights(kernel, geometry.groups, geometry.flip, geometry.has_channels)
    if format == "csc" and rows is None:
        # the columns of a matrix are the rows of its transpose
        across = MatrixLayout.of(geometry, not transposed)
        rows_across = oriented_csr(
            across, weights, not transposed, (0, across.shape[0]), backend, wanted_index
        )
        by_columns: SparseArray = canonical(rows_across.T)
        return by_columns
    if format == "bsr":
        block = _block_size(geometry, transposed)
    elif format == "dia":
        _check_diagonals(geometry)
    matrix = oriented_csr(layout, weights, transposed, (start, stop), backend, wanted_index)
    made: SparseArray
    if format == "bsr":
        made = _checked_bsr(matrix, block)
    elif format == "dia":
        made = _checked_dia(matrix, backend)
    else:
        made = matrix.asformat(format)
    return made


def check_gpu_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise unless CuPy's sparse matrices support a dtype."""
    if dtype.char not in "fdFD":
        msg = (
            f"{name} must be float32, float64, complex64 or complex128 on a GPU, the dtypes of CuPy's sparse "
            f"matrices; got {clipped(str(dtype))}"
        )
        raise TypeError(msg)


def _check_on_gpu(kernel: Array, format: Format) -> None:
    check_gpu_dtype("kernel", kernel.dtype)
    if format == "bsr":
        msg = "format must be one of 'csr', 'csc', 'coo', 'dia' on a GPU, CuPy has no BSR; got 'bsr'"
        raise ValueError(msg)


def oriented_csr(
    layout: MatrixLayout,
    weights: Array,
    transposed: bool,
    rows: tuple[int, int],
    backend: Backend,
    index_dtype: np.dtype[Any] | None = None,
) -> Any:
    """Return rows of a layout's matrix as CSR, from weights ``(groups, c_out, c_in, k1, ..., kd)``."""
    # the channels of the rows come before those of the columns
    by_rows = weights.swapaxes(1, 2) if transposed else weights
    nnz, index = matrix_size(layout, *rows, weights.dtype, index_dtype, backend)
    if backend.on_gpu:
        arrays = convolution_arrays(backend, layout, by_rows, rows, nnz, index)
    else:
        arrays = csr_arrays(layout, by_rows, *rows, nnz, index)
    return backend.csr(*arrays, (rows[1] - rows[0], layout.shape[1]))


def _block_size(geometry: ConvGeometry, transposed: bool) -> tuple[int, int]:
    axis = geometry.axes[-1]
    aligned = (axis.stride, axis.before, axis.size)
    if axis.dilation > 1 or not axis.effective_mode.zero or any(number % axis.taps for number in aligned):
        msg = (
            "format='bsr' fits where the last axis has no dilation, nothing but zeros outside, and "
            f"stride, padding and size are multiples of its {axis.taps} taps; got stride {axis.stride}, "
            f"padding ({axis.before}, {axis.after}) and size {axis.size}"
        )
        raise ValueError(msg)
    return (axis.taps, 1) if transposed else (1, axis.taps)


def _checked_bsr(matrix: Any, block: tuple[int, int]) -> Any:
    if matrix.shape[0] % block[0]:
        msg = f"format='bsr' has blocks of {block[0]} rows here, which must divide the {matrix.shape[0]} rows"
        raise ValueError(msg)
    return matrix.tobsr(block)


def _check_diagonals(geometry: ConvGeometry) -> None:
    same = [axis.size == axis.outputs for axis in geometry.axes[1:]]
    if any(step > 1 for step in geometry.stride) or not all(same):
        msg = (
            "format='dia' fits where all strides are 1 and output and input have the same sizes but for the "
            f"first spatial axis, got stride {shown(geometry.stride)}, input {shown(geometry.input_shape)}, "
            f"output {shown(geometry.output_shape)}"
        )
        raise ValueError(msg)


def _checked_dia(matrix: Any, backend: Backend) -> Any:
    xp, triplets = backend.xp, matrix.tocoo()
    diagonals = triplets.col.astype(np.int64) - triplets.row
    offsets, places = xp.unique(diagonals, return_inverse=True)
    nbytes = offsets.size * matrix.shape[1] * matrix.dtype.itemsize
    backend.require(f"the {offsets.size} diagonals", nbytes, "format='csr' stores only the entries")
    data = xp.zeros((offsets.size, matrix.shape[1]), matrix.dtype)
    data[places, triplets.col] = triplets.data
    return backend.sparse_type("dia")((data, offsets), shape=matrix.shape)
