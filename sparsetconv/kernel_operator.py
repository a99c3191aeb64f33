"""`KernelOperator`: the output of a convolution as a linear function of its kernel.

Floor 4. For a fixed input ``x`` each tap of the kernel meets one window of the padded input; the product is
a sum over taps of channel matrices times windows, and its adjoint, the gradient with respect to the
kernel, is the inner product of the output with each window. Neither stores a matrix.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sparsetconv import _normalize
from sparsetconv._kernel import as_array, last_axes
from sparsetconv._transposed import conv_transpose_geometry
from sparsetconv.boundary import Extension, source_indices
from sparsetconv.geometry import ConvGeometry
from sparsetconv.operators import ArrayOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from sparsetconv._normalize import IntOrInts, Padding, PaddingMode
    from sparsetconv._types import Array, Index


class KernelOperator(ArrayOperator):
    """The linear operator from a kernel to the output of its convolution with a fixed input.

    Parameters
    ----------
    x : (n1, ..., nd) or (c_in, n1, ..., nd) array_like
        The fixed input. A copy is kept.
    kernel_shape : int or sequence of int
        Shape of the kernels: ``(k1, ..., kd)`` or ``(c_out, c_in // groups, k1, ..., kd)``; with
        ``transposed`` ``(c_in, c_out // groups, k1, ..., kd)``.
    stride, padding : int, sequence, str
        As for `ConvGeometry`.
    output_padding, output_shape : int or sequence of int
        As for `conv_transpose_matrix`; with ``transposed`` only.
    dilation, groups, padding_mode, flip : int, sequence, str, bool
        As for `ConvGeometry`.
    transposed : bool
        Whether the convolution is a transposed one.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of the kernels.
    output_shape : tuple of int
        Shape of the convolution's output.
    geometry : ConvGeometry
        Of the forward convolution.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, the rule and what was given.

    See Also
    --------
    ConvOperator : Linear in the input, for a fixed kernel.

    Notes
    -----
    ``K @ w.ravel()`` equals ``conv_matrix(w, x.shape, ...) @ x.ravel()`` (``conv_transpose_matrix``
    with ``transposed``): with one axis and without padding ``K[o, t] = x[o * stride + t * dilation]``.
    ``K.H @ r.ravel()`` is the gradient of ``0.5 * norm(K @ w - y)**2`` with respect to ``w`` at the
    residual ``r``.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> K = stc.KernelOperator(x, 2)
    >>> K @ np.eye(2)
    array([[1., 2.],
           [2., 3.],
           [3., 4.]])
    """

    def __init__(
        self,
        x: ArrayLike,
        kernel_shape: IntOrInts,
        *,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        output_shape: IntOrInts | None = None,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
        transposed: bool = False,
    ) -> None:
        fixed = as_array("x", x)
        transposed = _normalize.flag("transposed", transposed)
        if transposed:
            geometry = conv_transpose_geometry(
                fixed.shape,
                kernel_shape,
                stride=stride,
                padding=padding,
                output_padding=output_padding,
                output_shape=output_shape,
                dilation=dilation,
                groups=groups,
                padding_mode=padding_mode,
                flip=flip,
            )
        else:
            if output_shape is not None or output_padding != 0:
                msg = (
                    "output_padding and output_shape belong to a transposed convolution, "
                    f"got {output_padding!r} and {output_shape!r} with transposed=False"
                )
                raise ValueError(msg)
            geometry = ConvGeometry(
                fixed.shape, kernel_shape, stride, padding, dilation, groups, padding_mode, flip
            )
        self._settle(fixed, geometry, transposed)

    def _settle(self, x: Array, geometry: ConvGeometry, transposed: bool) -> None:
        output = geometry.input_shape if transposed else geometry.output_shape
        super().__init__(x.dtype, geometry.kernel_shape, output)
        self.x = x.copy()
        self.x.setflags(write=False)
        self.geometry, self.transposed = geometry, transposed
        self._extension = Extension(geometry.axes)
        c_in, c_out = geometry.channels
        sizes = [axis.outputs if transposed else axis.size for axis in geometry.axes]
        split = self.x.reshape(geometry.groups, c_out if transposed else c_in, *sizes)
        # (groups, channels, ...): what a tap's window is taken of, or what is put into it
        self._fixed = split if transposed else self._extension.extend(split)

    @classmethod
    def _of(cls, x: Array, geometry: ConvGeometry, transposed: bool) -> KernelOperator:
        operator = cls.__new__(cls)
        operator._settle(x, geometry, transposed)
        return operator

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._of, (self.x, self.geometry, self.transposed)

    def _windows(self) -> Iterator[tuple[tuple[int, ...], Index]]:
        """Yield each tap's place in the kernel, and what it reads of an extended array."""
        axes = self.geometry.axes
        for tap in product(*(range(axis.taps) for axis in axes)):
            place = (
                tuple(a.taps - 1 - t for t, a in zip(tap, axes, strict=True)) if self.geometry.flip else tap
            )
            yield place, self._extension.window(tap)

    def _apply(self, x: Array) -> Array:
        geometry = self.geometry
        c_in, c_out = geometry.channels
        # (batch, groups, c_out, c_in, k1, ..., kd), channels those of the forward convolution
        w = x.reshape(x.shape[0], geometry.groups, c_out, c_in, *(axis.taps for axis in geometry.axes))
        dtype = np.result_type(w, self.x)
        outputs = tuple(axis.outputs for axis in geometry.axes)
        if self.transposed:
            flat = self._fixed.reshape(geometry.groups, c_out, -1)
            spread = np.zeros((x.shape[0], geometry.groups, c_in, *self._extension.shape), dtype)
            for place, window in self._windows():
                part = w[last_axes(place)].swapaxes(-1, -2) @ flat
                spread[window] += part.reshape(*part.shape[:3], *outputs)
            return self._extension.fold(spread)
        out = np.zeros((x.shape[0], geometry.groups, c_out, prod(outputs)), dtype)
        for place, window in self._windows():
            out += w[last_axes(place)] @ self._fixed[window].reshape(geometry.groups, c_in, -1)
        return out

    def _apply_adjoint(self, y: Array) -> Array:
        geometry = self.geometry
        c_in, c_out = geometry.channels
        batch = y.shape[0]
        dtype = np.result_type(y, self.x)
        taps = tuple(axis.taps for axis in geometry.axes)
        gradient = np.empty((batch, geometry.groups, c_out, c_in, *taps), dtype)
        sizes = [axis.size if self.transposed else axis.outputs for axis in geometry.axes]
        split = y.reshape(batch, geometry.groups, c_in if self.transposed else c_out, *sizes)
        if self.transposed:
            extended = self._extension.extend(split)
            fixed = self._fixed.conj().reshape(geometry.groups, c_out, -1)
            for place, window in self._windows():
                read = extended[window].reshape(batch, geometry.groups, c_in, -1)
                gradient[last_axes(place)] = fixed @ read.swapaxes(-1, -2)
        else:
            flat = split.reshape(batch, geometry.groups, c_out, -1)
            for place, window in self._windows():
                met = self._fixed[window].conj().reshape(geometry.groups, c_in, -1)
                gradient[last_axes(place)] = flat @ met.swapaxes(-1, -2)
        return gradient

    def tosparse(self, format: str = "csr") -> Any:
        """Return the operator's matrix: a row for each output, a column for each weight.

        Parameters
        ----------
        format : str
            Any of SciPy's.

        Returns
        -------
        scipy.sparse array
            Where the padding folds several samples onto one entry they are summed.
        """
        geometry = self.geometry
        c_in, c_out = geometry.channels
        axes = geometry.axes
        sizes, taps = [axis.size for axis in axes], [axis.taps for axis in axes]
        outputs = [axis.outputs for axis in axes]
        ndim = len(axes)
        # (m1, ..., md, k1, ..., kd): the sample that each tap of each output reads
        sample, valid = np.zeros((1,) * 2 * ndim, np.int64), np.ones((1,) * 2 * ndim, bool)
        for number, axis in enumerate(axes):
            shape = [1] * 2 * ndim
            shape[number], shape[ndim + number] = axis.outputs, axis.taps
            steps = np.arange(axis.taps)[:: -1 if geometry.flip else 1] * axis.dilation
            reads = source_indices(
                axis, axis.first(0) + np.arange(axis.outputs)[:, None] * axis.stride + steps
            )
            sample = sample * axis.size + reads.reshape(shape)
            valid = valid & (reads >= 0).reshape(shape)
        output, tap = np.divmod(np.flatnonzero(valid), prod(taps))
        sample = sample[valid]
        channel = np.arange(geometry.groups * c_out * c_in)
        co, ci = channel // c_in, channel % c_in + channel // (c_out * c_in) * c_in
        small = co[:, None] * prod(outputs) + output
        large = ci[:, None] * prod(sizes) + sample
        columns = channel[:, None] * prod(taps) + tap
        rows, values = (large, small) if self.transposed else (small, large)
        entries = self.x.reshape(-1)[values.reshape(-1)]
        matrix = sp.coo_array((entries, (rows.reshape(-1), columns.reshape(-1))), shape=self.shape)
        return matrix.tocsr().asformat(format)

    def __repr__(self) -> str:
        kind = "transposed, " if self.transposed else ""
        return (
            f"<{self.shape[0]}x{self.shape[1]} KernelOperator, {kind}dtype={self.dtype}, "
            f"kernels {self.input_shape} to {self.output_shape}>"
        )
