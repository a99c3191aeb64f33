"""Matrices that change the sampling of an array.

Floor 2.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp

from sparsetconv import _memory, _normalize
from sparsetconv._kernel import checked_dtype
from sparsetconv.geometry import smallest_index_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from sparsetconv._normalize import IntOrInts


def zero_insertion_matrix(input_shape: IntOrInts, stride: IntOrInts, *, dtype: DTypeLike = np.float64) -> Any:
    """Return the matrix that puts ``stride - 1`` zeros between neighbouring samples.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)``; axes beyond the strides, in front, are channels and stay as they are.
    stride : int or sequence of int
        One for all axes, or one for each of the last axes.
    dtype : dtype, optional
        Of the ones.

    Returns
    -------
    scipy.sparse.csr_array
        Of shape ``(prod(large), prod(input_shape))`` with ``large = (n - 1) * stride + 1`` along each axis.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

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
    sizes = _normalize.shape("input_shape", input_shape)
    values = checked_dtype("dtype", dtype)
    if not _normalize.is_sequence(stride):
        strides = _normalize.per_axis("stride", stride, len(sizes), 1)
    else:
        given = tuple(cast("Sequence[int]", stride))
        if not 1 <= len(given) <= len(sizes):
            msg = f"stride must be one integer or one for each of the last axes of {sizes}, got {stride!r}"
            raise ValueError(msg)
        strides = (1,) * (len(sizes) - len(given)) + _normalize.per_axis("stride", given, len(given), 1)
    large = tuple((n - 1) * s + 1 for n, s in zip(sizes, strides, strict=True))
    rows, columns = prod(large), prod(sizes)
    index = smallest_index_dtype(rows, columns)
    need = (rows + 1 + columns) * index.itemsize + columns * values.itemsize
    _memory.require("the matrix", need, "stride and input_shape set its size")
    # the row pointers grow by one behind each row that holds a sample
    pointers = np.zeros(rows + 1, index)
    pointers[1:].reshape(large)[tuple(slice(None, None, s) for s in strides)] = 1
    np.cumsum(pointers, out=pointers)
    arrays = np.ones(columns, values), np.arange(columns, dtype=index), pointers
    matrix = sp.csr_array(arrays, shape=(rows, columns))
    matrix.has_canonical_format = True
    return matrix
