"""`conv_transpose_geometry`: the geometry of a transposed convolution, that of its forward convolution.

``output_padding`` and ``output_shape`` are used only here; all other code sees forward geometries, which
`settled_geometry` makes from a user's arguments for either direction.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from sparsetconv._arrays.display import shown, type_name
from sparsetconv._geometry import validation
from sparsetconv._geometry.convolution import ConvGeometry, spatial_ndim, split_total

if TYPE_CHECKING:
    from sparsetconv._geometry.validation import IntOrInts, Padding, PaddingMode


def conv_transpose_geometry(
    input_shape: IntOrInts,
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
) -> ConvGeometry:
    """Return the geometry of a transposed convolution: that of the forward convolution whose adjoint it is.

    Parameters
    ----------
    input_shape : int or sequence of int
        The small shape, ``(n1, ..., nd)`` or ``(c_in, n1, ..., nd)``.
    kernel_shape : int or sequence of int
        ``(k1, ..., kd)`` or ``(c_in, c_out // groups, k1, ..., kd)``.
    stride, padding : int, sequence, str
        Of the forward convolution, as for `ConvGeometry`.
    output_padding : int or sequence of int
        Samples added at the end of the output, less than ``max(stride, dilation)``.
    output_shape : int or sequence of int, optional
        The output's sizes (channels may be left out), instead of ``output_padding``.
    dilation, groups, padding_mode, flip : int, sequence, str, bool
        Of the forward convolution, as for `ConvGeometry`.

    Returns
    -------
    ConvGeometry
        From the large array to the small one: its ``input_shape`` is the shape that the transposed
        convolution returns, its ``output_shape`` the shape that it takes.

    Raises
    ------
    TypeError
        If an argument has the wrong type, as for `ConvGeometry`.
    ValueError
        If a number is out of range, the channels do not match, both ``output_padding`` and ``output_shape``
        are given, or no forward convolution has these sizes; the error says which sizes are possible.

    See Also
    --------
    conv_transpose_matrix : The matrix, with the formula of the sizes.

    Examples
    --------
    >>> import sparsetconv as stc
    >>> g = stc.conv_transpose_geometry((8, 8), (4, 4), stride=2, padding=1)
    >>> g.input_shape, g.output_shape, g.nnz
    ((16, 16), (8, 8), 900)
    """
    small = validation.shape("input_shape", input_shape)
    kernel = validation.shape("kernel_shape", kernel_shape)
    groups = validation.integer("groups", groups, 1)
    ndim = spatial_ndim(small, kernel)
    channels = _large_channels(small, kernel, groups)
    strides = validation.per_axis("stride", stride, ndim, 1)
    dilations = validation.per_axis("dilation", dilation, ndim, 1)
    wanted = validation.padding(padding, ndim)
    extra = validation.per_axis("output_padding", output_padding, ndim, 0)
    sizes = _wanted_sizes(output_shape, ndim, channels, extra)
    large, pads = [], []
    for i in range(ndim):
        size, pad = _large_axis(
            i,
            small[i - ndim],
            dilations[i] * (kernel[i - ndim] - 1) + 1,
            strides[i],
            max(strides[i], dilations[i]),
            wanted if isinstance(wanted, str) else wanted[i],
            extra[i],
            sizes[i],
        )
        large.append(size)
        pads.append(pad)
    modes, flip = validation.padding_mode(padding_mode, ndim), validation.flag("flip", flip)
    return ConvGeometry._of_settled(
        (*channels, *large), kernel, strides, tuple(pads), dilations, groups, modes, flip
    )


# defaults of the parameters, which they must have if a geometry is given
_LEFT_OUT = {name: known.default for name, known in signature(conv_transpose_geometry).parameters.items()}


def settled_geometry(
    given: IntOrInts | ConvGeometry, kernel_shape: IntOrInts, transposed: bool, **parameters: Any
) -> ConvGeometry:
    """Return the forward geometry of a convolution, or of a transposed one, from a user's arguments.

    Parameters
    ----------
    given : int, sequence of int, or ConvGeometry
        The input's shape; or the geometry itself, with which all other parameters must have their defaults.
    kernel_shape : int or sequence of int
    transposed : bool
        Whether the convolution is a transposed one.
    **parameters : optional
        Those of `conv_transpose_geometry`. Without ``transposed``, `output_padding` and `output_shape` must
        be left out.
    """
    if isinstance(given, ConvGeometry):
        for name, value in parameters.items():
            if not _is_left_out(name, value):
                msg = f"{name} must be left out if a geometry is given, which defines it; got {shown(value)}"
                raise ValueError(msg)
        check_kernel(given, kernel_shape)
        return given
    if transposed:
        return conv_transpose_geometry(given, kernel_shape, **parameters)
    for name in ("output_padding", "output_shape"):
        value = parameters.pop(name, _LEFT_OUT[name])
        if not _is_left_out(name, value):
            msg = f"{name} belongs to a transposed convolution, got {shown(value)} with transposed=False"
            raise ValueError(msg)
    return ConvGeometry(given, kernel_shape, **parameters)


def _is_left_out(name: str, value: Any) -> bool:
    default = _LEFT_OUT[name]
    return type(value) is type(default) and bool(value == default)


def check_geometry(geometry: Any) -> None:
    """Raise unless a value is a geometry."""
    if not isinstance(geometry, ConvGeometry):
        msg = f"geometry must be a ConvGeometry, got {shown(geometry)} of type {type_name(geometry)}"
        raise TypeError(msg)


def check_no_geometry(name: str, value: Any) -> None:
    """Raise if an operator's constructor is given a geometry in place of a shape."""
    if isinstance(value, ConvGeometry):
        msg = f"{name} must be a shape, got a {type_name(value)}; use the class method from_geometry instead"
        raise TypeError(msg)


def check_kernel(geometry: ConvGeometry, shape: Any) -> None:
    """Raise unless a kernel's shape is the geometry's."""
    if shape != geometry.kernel_shape:
        wanted = shown(geometry.kernel_shape)
        msg = f"kernel must have the geometry's kernel_shape {wanted}, got the shape {shown(shape)}"
        raise ValueError(msg)


def ends(geometry: ConvGeometry, transposed: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the input and of the output of a convolution, or of its transpose."""
    shapes = geometry.input_shape, geometry.output_shape
    return shapes[::-1] if transposed else shapes


def _large_channels(small: tuple[int, ...], kernel: tuple[int, ...], groups: int) -> tuple[int, ...]:
    if len(kernel) == len(small):
        return ()
    if kernel[0] != small[0]:
        msg = (
            "kernel_shape of a transposed convolution is (c_in, c_out // groups, k1, ..., kd): its first "
            f"entry must be the {small[0]} channels of input_shape {shown(small)}, "
            f"got kernel_shape {shown(kernel)}"
        )
        raise ValueError(msg)
    return (kernel[1] * groups,)


def _wanted_sizes(
    output_shape: Any, ndim: int, channels: tuple[int, ...], extra: tuple[int, ...]
) -> tuple[int | None, ...]:
    if output_shape is None:
        return (None,) * ndim
    if any(extra):
        msg = (
            "only one of output_padding and output_shape may be given, since both set the output's size; "
            f"got output_padding={shown(extra)} and output_shape={shown(output_shape)}"
        )
        raise ValueError(msg)
    sizes = validation.shape("output_shape", output_shape)
    if len(sizes) == ndim + len(channels):
        if sizes[: len(channels)] != channels:
            msg = f"output_shape must begin with the {channels[0]} output channels, got {shown(sizes)}"
            raise ValueError(msg)
    elif len(sizes) != ndim:
        msg = (
            f"output_shape must have one size for each of the {ndim} spatial axes, got {shown(output_shape)}"
        )
        raise ValueError(msg)
    return sizes[-ndim:]


def _large_axis(
    number: int,
    small: int,
    extent: int,
    stride: int,
    limit: int,
    padding: str | tuple[int, int],
    extra: int,
    wanted: int | None,
) -> tuple[int, tuple[int, int]]:
    """Return the large size, and the pads with which a convolution of it has ``small`` outputs."""
    unpadded = (small - 1) * stride + extent
    if padding in ("same", "same_lower"):
        if extra:
            msg = (
                f"output_padding must be 0 with padding={shown(padding)}, whose output is n * stride; "
                f"got {shown(extra)}. Use output_shape to pick another size"
            )
            raise ValueError(msg)
        lowest = max(1, (small - 1) * stride + 2 - extent)
        highest = max(small * stride, unpadded + limit - 1)
        large = small * stride if wanted is None else wanted
        _check_size(number, large, lowest, highest)
        before, _ = split_total(str(padding), max(unpadded - large, 0))
    else:
        if isinstance(padding, str):
            pads = (extent - 1, extent - 1) if padding == "full" else (0, 0)
        else:
            pads = padding
        if extra >= limit:
            msg = (
                f"output_padding must be less than max(stride, dilation) = {limit} "
                f"on spatial axis {number}, got {shown(extra)}"
            )
            raise ValueError(msg)
        before = pads[0]
        lowest = unpadded - pads[0] - pads[1]
        large = lowest + extra if wanted is None else wanted
        if large < 1:
            msg = f"padding must leave an output: on spatial axis {number} its size would be {large}"
            raise ValueError(msg)
        _check_size(number, large, lowest, lowest + limit - 1)
    return large, (before, unpadded - large - before)


def _span(lowest: int, highest: int) -> str:
    return f"be {lowest}" if lowest == highest else f"lie between {lowest} and {highest}"


def _check_size(number: int, size: int, lowest: int, highest: int) -> None:
    if not lowest <= size <= highest:
        msg = (
            f"output_shape on spatial axis {number} must {_span(max(lowest, 1), highest)} "
            f"for this input, kernel, stride and padding; got {size}"
        )
        raise ValueError(msg)
