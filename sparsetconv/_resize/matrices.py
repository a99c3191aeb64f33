"""Matrices that change the sampling of an array: `zero_insertion_matrix` and `resize_matrix`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp

from sparsetconv._arrays.backend import device_backend
from sparsetconv._arrays.display import clipped, shown
from sparsetconv._arrays.validation import checked_dtype
from sparsetconv._assembly.kronecker import kronecker
from sparsetconv._geometry import validation
from sparsetconv._geometry.convolution import smallest_index_dtype
from sparsetconv._resize.geometry import resize_geometry
from sparsetconv._resize.interpolation import axis_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from sparsetconv._geometry.validation import IntOrInts
    from sparsetconv._resize.geometry import ResizeGeometry


def zero_insertion_matrix(
    input_shape: IntOrInts, stride: IntOrInts, *, dtype: DTypeLike = np.float64, device: str = "numpy"
) -> Any:
    """Return the matrix that puts ``stride - 1`` zeros between neighbouring samples.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``; axes in front of those with a stride, channels say, stay as they are.
    stride : int or sequence of int
        One for all axes, or one for each of the last axes.
    dtype : dtype, optional
        Of the ones.
    device : {"numpy", "cupy"}
        Whose matrix is returned: SciPy's, or CuPy's, written on the current GPU.

    Returns
    -------
    scipy.sparse.csr_array
        Of shape ``(prod(large), prod(input_shape))`` with ``large = (n - 1) * stride + 1`` along each axis.

    Raises
    ------
    TypeError
        If a size or stride is not an integer, or the dtype is not supported (on a GPU: not floating-point).
    ValueError
        If a size or stride is less than 1, or there are more strides than axes.
    MemoryError
        If the matrix does not fit into memory; raised before it is allocated.

    See Also
    --------
    conv_transpose_matrix : The same as zero insertion followed by a convolution, without the zeros.

    Notes
    -----
    ``Z[i, o]`` is 1 where ``i == o * stride`` along each axis. A transposed convolution is ``C1 @ Z``
    with ``C1`` the stride-1 convolution of the zero-stuffed array, padding ``dilation * (k - 1)``, by
    the flipped kernel; a share ``1 - 1 / prod(stride)`` of its multiplications is with a zero.

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
    if not validation.is_sequence(stride):
        strides = validation.per_axis("stride", stride, len(sizes), 1)
    else:
        given = tuple(cast("Sequence[int]", stride))
        if not 1 <= len(given) <= len(sizes):
            msg = (
                f"stride must be one integer or one for each of the last axes of {shown(sizes)}, "
                f"got {shown(stride)}"
            )
            raise ValueError(msg)
        strides = (1,) * (len(sizes) - len(given)) + validation.per_axis("stride", given, len(given), 1)
    large = tuple((n - 1) * s + 1 for n, s in zip(sizes, strides, strict=True))
    rows, columns = prod(large), prod(sizes)
    index = smallest_index_dtype(rows, columns)
    need = (rows + 1 + columns) * index.itemsize + columns * values.itemsize
    backend.require("the matrix", need, "stride and input_shape set its size")
    if backend.on_gpu:
        return kronecker([_spread(n, s) for n, s in zip(sizes, strides, strict=True)], values, backend)
    # row pointers grow by one after each row that has an entry
    pointers = np.zeros(rows + 1, index)
    pointers[1:].reshape(large)[tuple(slice(None, None, s) for s in strides)] = 1
    np.cumsum(pointers, out=pointers)
    arrays = np.ones(columns, values), np.arange(columns, dtype=index), pointers
    return backend.csr(*arrays, (rows, columns))


def _spread(size: int, stride: int) -> Any:
    """Return the matrix of one axis."""
    pointers = (np.arange((size - 1) * stride + 2) + stride - 1) // stride
    arrays = np.ones(size), np.arange(size), pointers
    return sp.csr_array(arrays, shape=(pointers.size - 1, size))


def resize_matrix(
    input_shape: IntOrInts,
    output_shape: IntOrInts | None = None,
    *,
    scale: float | Sequence[float] | None = None,
    mode: str = "linear",
    coordinate_mode: str | None = None,
    nearest_mode: str | None = None,
    cubic_coeff: float | None = None,
    exclude_outside: bool | None = None,
    antialias: bool | None = None,
    convention: str | None = None,
    dtype: DTypeLike = np.float64,
    device: str = "numpy",
) -> Any:
    """Return the matrix that resizes an array, up or down.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``.
    output_shape : int or sequence of int, optional
        ``(m1, ..., md)``, or the sizes of the last axes; the axes in front, channels say, stay as they are.
    scale : number or sequence of numbers, optional
        Instead of `output_shape`: outputs for each sample, one for all axes, or one for each of the last.
        A size is ``floor(n * scale)`` (rounded in the conventions of OpenCV, Pillow and scikit-image).
    mode : str
        ``"nearest"``, ``"linear"`` (or ``"bilinear"``, ``"trilinear"``), ``"cubic"`` (``"bicubic"``,
        ``"tricubic"``), ``"lanczos3"`` (``"lanczos"``), or ``"area"``: the mean over the output's cell.
    coordinate_mode : str, optional
        Where output ``o`` looks: ``"half_pixel"`` (the default) at ``(o + 0.5) / scale - 0.5``;
        ``"asymmetric"`` at ``o / scale``; ``"align_corners"`` at ``o * (n - 1) / (n * scale - 1)``;
        ``"pytorch_half_pixel"`` as half_pixel, but at 0 where there is one output; ``"half_pixel_symmetric"``
        as half_pixel, with the centres of both signals on each other where ``n * scale`` is not whole.
    nearest_mode : str, optional
        Which neighbour is nearest: ``"round_prefer_floor"`` (the default: the lower one of a tie),
        ``"round_prefer_ceil"``, ``"floor"`` or ``"ceil"``.
    cubic_coeff : float, optional
        Coefficient of the cubic kernel, -0.75 by default.
    exclude_outside : bool, optional
        Whether taps beyond the border are left out, and the other weights scaled up to the same sum; if not,
        taps beyond the border read the edge sample. False by default, but True with lanczos3.
    antialias : bool, optional
        Whether, where the array shrinks, the kernel is stretched over all samples that an output stands for.
        False by default.
    convention : str, optional
        ``"torch"``, ``"onnx"``, ``"opencv"``, ``"pillow"``, ``"tensorflow"`` or ``"skimage"``: the package
        whose results are reproduced, with its own modes, and its defaults for parameters that are not given.
    dtype : dtype, optional
        Of the entries.
    device : {"numpy", "cupy"}
        Whose matrix is returned: SciPy's, or CuPy's, written on the current GPU.

    Returns
    -------
    scipy.sparse.csr_array
        Of shape ``(prod(output_shape), prod(input_shape))``, canonical, without stored zeros; its rows sum
        to 1.

    Raises
    ------
    TypeError
        If a size is not an integer, ``scale`` or ``cubic_coeff`` not a number, or the dtype not
        floating-point.
    ValueError
        If not exactly one of ``output_shape`` and ``scale`` is given, a size or scale is not positive, a word
        is unknown, or the mode or convention does not take an option that was given.
    MemoryError
        If the matrix does not fit into memory; raised before it is allocated.

    See Also
    --------
    ResizeOperator : The same as an operator, which never forms the matrix.
    interpolation_kernel : The kernel that makes a transposed convolution the same.

    Notes
    -----
    The matrix is the Kronecker product of one factor for each axis. A factor's entry is
    ``A[o, j] = h((x(o) - j) / r) / sum_j' h((x(o) - j') / r)``, with ``x(o)`` the position of output
    ``o``, ``h`` the mode's kernel and ``r = max(1 / scale, 1)`` with `antialias`, else 1; entries of one
    sample are summed. Names and meanings are those of ONNX's operator Resize [1]_; ``"area"`` and
    ``"lanczos3"`` are beyond it.

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
    return kronecker(axis_matrices(geometry), float_dtype(dtype), device_backend(device), shared=False)


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype that holds the weights of an interpolation, or raise."""
    values = checked_dtype("dtype", dtype)
    if values.kind not in "fc":
        msg = f"dtype must be a real or complex floating-point one, got {clipped(str(values))}"
        raise TypeError(msg)
    return values


def axis_matrices(geometry: ResizeGeometry) -> tuple[Any, ...]:
    """Return the factors, one ``(m, n)`` float64 CSR matrix for each axis."""
    return tuple(axis_matrix(axis) for axis in geometry.axes)
