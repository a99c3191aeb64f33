"""`ConvGeometry`: the sizes of a convolution, exact and before anything is allocated.

Shorthand (one integer for all axes, words for padding) is expanded to tuples of integers here, once; all
other code sees only these. NumPy is used only for dtypes; no array is made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays import display
from sparsetconv._arrays.display import Facts, compact, compact_padding, shown
from sparsetconv._arrays.validation import checked_dtype, named_dtype
from sparsetconv._geometry import validation
from sparsetconv._geometry.axis import Axis

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from sparsetconv._arrays.display import Rows
    from sparsetconv._geometry.validation import IntOrInts, Padding, PaddingMode

INT32_MAX = 2**31 - 1


@dataclass(frozen=True, init=False)
class ConvGeometry:
    """Sizes, padding and memory of a convolution as a matrix.

    The convolution is ``y[o] = sum_t w[t] * x[o * stride + t * dilation - before]`` along each
    spatial axis: cross-correlation, as in torch, ONNX, JAX and Keras.

    Parameters
    ----------
    input_shape : int or sequence of int
        ``(n1, ..., nd)`` in the plain form, ``(c_in, n1, ..., nd)`` in the channel form.
    kernel_shape : int or sequence of int
        ``(k1, ..., kd)``, or ``(c_out, c_in // groups, k1, ..., kd)``. Which form is meant follows
        from ``len(kernel_shape) - len(input_shape)``, 0 or 1.
    stride : int or sequence of int
        Step between outputs, one for all spatial axes or one for each, at least 1.
    padding : int, sequence, or str
        Samples added on both sides; one for all axes, one for each, or a ``(before, after)`` pair for
        each. Negative numbers crop. Or a word: ``"valid"`` (none), ``"same"`` (``ceil(n / stride)``
        outputs, the odd sample of the total at the end), ``"same_lower"`` (at the beginning),
        ``"full"`` (every output that a tap reaches).
    dilation : int or sequence of int
        Distance between taps, at least 1.
    groups : int
        Number of groups that the channels are divided into.
    padding_mode : str or sequence of str
        Extension of the signal, for all axes or for each: ``"zeros"``, ``"reflect"``
        (``d c b | a b c d | c b a``), ``"symmetric"`` (``b a | a b c d | d c``), ``"replicate"``
        (``a a | a b c d | d d``) or ``"circular"`` (``c d | a b c d | a b``). NumPy's names
        ``constant``, ``edge``, ``wrap`` are accepted, too.
    flip : bool
        Reverse the spatial axes of the kernel: convolution in the mathematical sense.

    Raises
    ------
    TypeError
        If a size, stride, dilation, padding or ``groups`` is not an integer, a mode is not a string, or
        ``flip`` is not a bool.
    ValueError
        If a number is too small, a sequence does not have one entry for each axis, a word or mode is unknown,
        the channels do not match ``groups``, or the kernel does not fit into the padded input.

    Notes
    -----
    Each mode is an index function on the infinite extension of the original signal, so that padding may
    be longer than the signal. ``"same"`` is TensorFlow's rule [1]_: a total of
    ``max((ceil(n / stride) - 1) * stride + dilation * (k - 1) + 1 - n, 0)``, half of it rounded down
    before. For ``conv_transpose_matrix`` and `ConvTransposeOperator` the geometry is that of the forward
    convolution whose adjoint they are.

    References
    ----------
    .. [1] TensorFlow, "Notes on padding", documentation of ``tf.nn``.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> g = stc.ConvGeometry((4, 4), (3, 3))
    >>> g.output_shape, g.matrix_shape, g.nnz
    ((2, 2), (4, 16), 36)
    >>> g
    ConvGeometry((4, 4), (3, 3))
    >>> print(g)
    ConvGeometry
      input    (4, 4)
      output   (2, 2)
      kernel   (3, 3)
      stride   1
      padding  0
      matrix   4 x 16
      entries  36
      as CSR   308 B in float32, 452 B in float64
    >>> g = stc.ConvGeometry((4096, 4096), (7, 7), padding="same", padding_mode="reflect")
    >>> f"{g.nbytes('float32') / 1e9:.1f} GB"
    '6.6 GB'
    """

    input_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: tuple[str, ...]
    flip: bool

    def __init__(
        self,
        input_shape: IntOrInts,
        kernel_shape: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
    ) -> None:
        inputs = validation.shape("input_shape", input_shape)
        kernel = validation.shape("kernel_shape", kernel_shape)
        groups = validation.integer("groups", groups, 1)
        ndim = spatial_ndim(inputs, kernel)
        strides = validation.per_axis("stride", stride, ndim, 1)
        dilations = validation.per_axis("dilation", dilation, ndim, 1)
        modes = validation.padding_mode(padding_mode, ndim)
        wanted = validation.padding(padding, ndim)
        sizes, taps = inputs[-ndim:], kernel[-ndim:]
        if isinstance(wanted, str):
            word = wanted
            pads = tuple(
                forward_padding(word, *numbers)
                for numbers in zip(sizes, taps, strides, dilations, strict=True)
            )
        else:
            pads = wanted
        self._keep(inputs, kernel, strides, pads, dilations, groups, modes, validation.flag("flip", flip))

    @classmethod
    def _of_settled(cls, *parameters: Any) -> ConvGeometry:
        """Return a geometry from all parameters in their normalized form, in the constructor's order."""
        geometry = cls.__new__(cls)
        geometry._keep(*parameters)
        return geometry

    def _keep(self, *parameters: Any) -> None:
        """Store the parameters, and check that they are consistent."""
        for name, value in zip(PARAMETERS, parameters, strict=True):
            object.__setattr__(self, name, value)
        if self.has_channels:
            _check_channels(self.input_shape[0], self.kernel_shape, self.groups)
        elif self.groups != 1:
            msg = f"groups must be 1 where there are no channels, got {shown(self.groups)}"
            raise ValueError(msg)
        _check_fit(self)

    def __repr__(self) -> str:
        """Return the call that makes the geometry, defaults left out."""
        arguments = [str(self.input_shape), str(self.kernel_shape)]
        settings = {
            "stride": (compact(self.stride), 1),
            "padding": (compact_padding(self.padding), 0),
            "dilation": (compact(self.dilation), 1),
            "groups": (self.groups, 1),
            "padding_mode": (compact(self.padding_mode), "zeros"),
            "flip": (self.flip, False),
        }
        arguments += [f"{name}={value!r}" for name, (value, default) in settings.items() if value != default]
        return f"{type(self).__name__}({', '.join(arguments)})"

    def __str__(self) -> str:
        return display.text(self._facts())

    def _repr_html_(self) -> str:
        return display.html(self._facts())

    def _facts(self) -> Facts:
        """Return a description of the geometry."""
        shapes = [("input", str(self.input_shape)), ("output", str(self.output_shape))]
        sizes = ", ".join(
            f"{display.size_of(self.nbytes(dtype))} in {dtype}" for dtype in ("float32", "float64")
        )
        matrix = [("entries", f"{self.nnz:,}"), ("as CSR", sizes)]
        return Facts(type(self).__name__, [], shapes + self._settings(), matrix, self.matrix_shape)

    def _settings(self) -> Rows:
        """Return the kernel and the parameters for a description, without parameters that have no effect."""
        padded = any(side > 0 for pair in self.padding for side in pair)
        padding = str(compact_padding(self.padding))
        longer = " longer than the signal" if kernel_is_longer(self) else ""
        rows = [
            ("kernel", f"{self.kernel_shape}{longer}"),
            ("stride", str(compact(self.stride))),
            ("padding", f"{padding} {compact(self.padding_mode)}" if padded else padding),
        ]
        if any(step > 1 for step in self.dilation):
            rows.append(("dilation", str(compact(self.dilation))))
        if self.groups > 1:
            rows.append(("groups", str(self.groups)))
        if self.flip:
            rows.append(("flip", "True"))
        return rows

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.stride)

    @property
    def has_channels(self) -> bool:
        """Whether the arrays have a channel axis in front."""
        return len(self.kernel_shape) > len(self.input_shape)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The spatial axes, one by one."""
        sizes, taps = self.input_shape[-self.ndim :], self.kernel_shape[-self.ndim :]
        rows = zip(sizes, taps, self.stride, self.padding, self.dilation, self.padding_mode, strict=True)
        return tuple(Axis(n, k, s, before, after, d, mode) for n, k, s, (before, after), d, mode in rows)

    @property
    def channels(self) -> tuple[int, int]:
        """Input and output channels of one group, ``(c_in // groups, c_out // groups)``."""
        if not self.has_channels:
            return 1, 1
        return self.kernel_shape[1], self.kernel_shape[0] // self.groups

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output, with its channel axis if there is one."""
        outputs = tuple(axis.outputs for axis in self.axes)
        return (self.kernel_shape[0], *outputs) if self.has_channels else outputs

    @cached_property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix: sizes of the output and of the input."""
        return prod(self.output_shape), prod(self.input_shape)

    @cached_property
    def nnz(self) -> int:
        """Stored entries of the matrix, zeros of the kernel included."""
        per_channel = prod(axis.nnz for axis in self.axes)
        return per_channel * self.groups * prod(self.channels)

    @property
    def index_dtype(self) -> np.dtype[np.signedinteger]:
        """``int32``, or ``int64`` where a size or `nnz` needs it."""
        return smallest_index_dtype(*self.matrix_shape, self.nnz)

    def nbytes(self, dtype: DTypeLike, index_dtype: DTypeLike | None = None) -> int:
        """Return the bytes of the CSR matrix: its values, column indices and row pointers.

        Parameters
        ----------
        dtype : dtype
            Of the values.
        index_dtype : dtype, optional
            Of the indices; by default the geometry's ``index_dtype``.

        Returns
        -------
        int
            Bytes.

        Raises
        ------
        TypeError
            If matrices do not support the dtype.

        Examples
        --------
        >>> import sparsetconv as stc
        >>> stc.ConvGeometry((4, 4), (3, 3)).nbytes("float64")
        452
        """
        index = named_dtype("index_dtype", index_dtype or self.index_dtype).itemsize
        entry = checked_dtype("dtype", dtype).itemsize + index
        return self.nnz * entry + (self.matrix_shape[0] + 1) * index


# the parameters of a geometry, in the constructor's order
PARAMETERS = tuple(field.name for field in fields(ConvGeometry))


def spatial_ndim(input_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> int:
    """Return the number of spatial axes that the two ranks imply."""
    extra = len(kernel_shape) - len(input_shape)
    if extra == 0:
        return len(input_shape)
    if extra == 1 and len(input_shape) > 1:
        return len(input_shape) - 1
    msg = (
        "kernel_shape must have as many axes as input_shape (plain form: (k1, ..., kd) on (n1, ..., nd)) "
        "or one more (channel form: (c_out, c_in // groups, k1, ..., kd) on (c_in, n1, ..., nd)); "
        f"got kernel_shape {shown(kernel_shape)} for input_shape {shown(input_shape)}"
    )
    raise ValueError(msg)


def kernel_is_longer(geometry: ConvGeometry) -> bool:
    """Return whether the kernel is longer than the signal on every axis, as if the two were swapped."""
    return all(axis.taps > axis.size for axis in geometry.axes)


def smallest_index_dtype(*values: int) -> np.dtype[np.signedinteger]:
    """Return ``int32`` if it holds every value, else ``int64``."""
    return np.dtype(np.int32 if max(values) <= INT32_MAX else np.int64)


def forward_padding(word: str, size: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the (before, after) pads that a padding word means for a forward convolution."""
    extent = dilation * (taps - 1) + 1
    if word == "valid":
        return 0, 0
    if word == "full":
        return extent - 1, extent - 1
    return split_total(word, max((-(-size // stride) - 1) * stride + extent - size, 0))


def split_total(word: str, total: int) -> tuple[int, int]:
    """Divide a total of padding: the odd sample goes to the end, with ``same_lower`` to the front."""
    smaller, larger = total // 2, total - total // 2
    return (smaller, larger) if word == "same" else (larger, smaller)


def _check_channels(c_in: int, kernel: tuple[int, ...], groups: int) -> None:
    if c_in % groups or kernel[0] % groups:
        msg = (
            f"groups must divide both channel counts, got groups={shown(groups)} for {c_in} input "
            f"and {kernel[0]} output channels"
        )
        raise ValueError(msg)
    if kernel[1] != c_in // groups:
        msg = (
            f"kernel_shape[1] must be c_in // groups = {c_in} // {shown(groups)} = {c_in // groups}, "
            f"got kernel_shape {shown(kernel)}"
        )
        raise ValueError(msg)


def _check_fit(geometry: ConvGeometry) -> None:
    """Raise unless the kernel fits into the padded input."""
    inputs, kernel = geometry.input_shape, geometry.kernel_shape
    for number, axis in enumerate(geometry.axes):
        if axis.outputs < 1:
            msg = (
                f"the kernel must fit into the padded input: on spatial axis {number} it spans "
                f"{axis.extent} samples (dilation * (k - 1) + 1) and the input has "
                f"{axis.size + axis.before + axis.after} "
                f"({axis.size} with padding ({axis.before}, {axis.after}))"
            )
            if geometry.ndim > 3 and not geometry.has_channels and inputs[1] == kernel[1]:
                msg += "; if the first axis is a batch, leave it out"
            elif kernel_is_longer(geometry):
                msg += "; it is longer than the signal on every axis: are the two swapped?"
            raise ValueError(msg)
