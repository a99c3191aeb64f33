"""`from_torch`: a torch layer as an operator.

Floor 5. torch is not imported.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv import _normalize
from sparsetconv._conventions import Rule
from sparsetconv._display import shown, type_name
from sparsetconv._resize import ResizeAxis, resize_geometry
from sparsetconv.frameworks._shared import check_channels, layer_kind, shape_with_channels, weights_of
from sparsetconv.operators import ConvOperator, ConvTransposeOperator
from sparsetconv.resize_operator import ResizeOperator

if TYPE_CHECKING:
    from sparsetconv._normalize import IntOrInts
    from sparsetconv._resize import ResizeGeometry
    from sparsetconv._types import Array

CONV = {"Conv1d": 1, "Conv2d": 2, "Conv3d": 3}
TRANSPOSED = {"ConvTranspose1d": 1, "ConvTranspose2d": 2, "ConvTranspose3d": 3}
POOL = {"AvgPool1d": 1, "AvgPool2d": 2, "AvgPool3d": 3}
# the spatial axes that a mode is for, where it is not for all
MODE_NDIM = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def from_torch(
    module: Any, input_shape: IntOrInts, *, method: str = "auto"
) -> ConvOperator | ConvTransposeOperator | ResizeOperator:
    """Return the operator that a torch layer applies.

    Parameters
    ----------
    module : torch.nn.Module
        ``Conv1d``, ``Conv2d``, ``Conv3d``, ``ConvTranspose1d``, ``ConvTranspose2d``, ``ConvTranspose3d``,
        ``AvgPool1d``, ``AvgPool2d``, ``AvgPool3d`` or ``Upsample``, or of a class derived from them that
        leaves ``forward`` alone. Only attributes are read; torch itself is not imported.
    input_shape : sequence of int
        ``(c_in, n1, ..., nd)``, without the batch axis.
    method : {"auto", "sparse", "direct", "gemm", "fft"}
        As for `ConvOperator`; ``"auto"`` for ``Upsample``.

    Returns
    -------
    ConvOperator, ConvTransposeOperator or ResizeOperator
        The layer's linear part: ``apply(x) + bias[:, None, None]`` is what a 2-D layer returns. The weights
        are copied from wherever they live.

    Raises
    ------
    TypeError
        For another layer, a derived class with a ``forward`` of its own, or weights in half precision.
    ValueError
        If the shape does not fit, the layer has no weights yet, or an average pool does not have the same
        weights everywhere: padding that does not count, or a last window that is cut off.

    See Also
    --------
    from_onnx, from_keras : The same for other packages.

    Notes
    -----
    A convolution's operator has the dtype of the weights, an average pool's is float64, and that of
    ``Upsample`` float32; a product has the wider one of it and the operand's, as everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> class Conv1d:  # stands for torch.nn.Conv1d: what is read are these attributes
    ...     weight, stride, padding, dilation = np.array([[[1.0, 2.0, 3.0]]]), (2,), (1,), (1,)
    ...     groups, padding_mode = 1, "zeros"
    >>> A = stc.from_torch(Conv1d(), (1, 5))
    >>> A.apply(np.ones((8, 1, 5))).shape
    (8, 1, 3)
    >>> A.tosparse().toarray()
    array([[2., 3., 0., 0., 0.],
           [0., 1., 2., 3., 0.],
           [0., 0., 0., 1., 2.]])
    """
    kind = layer_kind("module", module, (*CONV, *TRANSPOSED, *POOL, "Upsample"), ("forward", "_conv_forward"))
    if kind in CONV:
        return _conv(module, input_shape, CONV[kind], method)
    if kind in TRANSPOSED:
        return _transposed(module, input_shape, TRANSPOSED[kind], method)
    if kind in POOL:
        return _pool(module, input_shape, POOL[kind], method)
    if method != "auto":
        msg = (
            f"method must be 'auto' for Upsample, whose operator has one way to multiply, got {shown(method)}"
        )
        raise ValueError(msg)
    return _upsample(module, input_shape)


def _weights(module: Any) -> Array:
    if hasattr(module.weight, "materialize"):
        msg = f"module must have its weights: apply {type_name(module)} to an input first"
        raise ValueError(msg)
    return weights_of("module.weight", module.weight, "convert the layer, with .float() for example")


def _conv(module: Any, input_shape: IntOrInts, ndim: int, method: str) -> ConvOperator:
    shape, kernel = shape_with_channels(input_shape, ndim), _weights(module)
    check_channels(shape, shape[0], kernel.shape[1] * module.groups)
    return ConvOperator(
        kernel,
        shape,
        stride=module.stride,
        # "same" of torch has stride 1 only, and the odd sample at the end, as here
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        padding_mode=module.padding_mode,
        method=method,
    )


def _transposed(module: Any, input_shape: IntOrInts, ndim: int, method: str) -> ConvTransposeOperator:
    shape, kernel = shape_with_channels(input_shape, ndim), _weights(module)
    check_channels(shape, shape[0], kernel.shape[0])
    return ConvTransposeOperator(
        kernel,
        shape,
        stride=module.stride,
        padding=module.padding,
        output_padding=module.output_padding,
        dilation=module.dilation,
        groups=module.groups,
        method=method,
    )


def _pool(module: Any, input_shape: IntOrInts, ndim: int, method: str) -> ConvOperator:
    shape = shape_with_channels(input_shape, ndim)
    taps = _normalize.per_axis("module.kernel_size", module.kernel_size, ndim, 1)
    stride = _normalize.per_axis("module.stride", module.stride, ndim, 1)
    padding = _normalize.per_axis("module.padding", module.padding, ndim, 0)
    divisor = getattr(module, "divisor_override", None)
    rows = zip(shape[1:], taps, stride, padding, strict=True)
    if module.ceil_mode and any((n + 2 * p - k) % s for n, k, s, p in rows):
        msg = (
            "module.ceil_mode must be False where stride does not divide n + 2 * padding - kernel_size: a "
            f"window that is cut off has other weights; got kernel_size {shown(taps)}, s"
            f"tride {shown(stride)}, "
            f"padding {shown(padding)} on {shown(shape)}"
        )
        raise ValueError(msg)
    if any(padding) and not module.count_include_pad and divisor is None:
        msg = (
            "module.count_include_pad must be True where there is padding: windows at the border would have "
            f"other weights; got False with padding {shown(padding)}"
        )
        raise ValueError(msg)
    kernel = np.full((shape[0], 1, *taps), 1 / (prod(taps) if divisor is None else divisor))
    return ConvOperator(kernel, shape, stride=stride, padding=padding, groups=shape[0], method=method)


def _upsample(module: Any, input_shape: IntOrInts) -> ResizeOperator:
    shape = _normalize.shape("input_shape", input_shape)
    ndim = MODE_NDIM.get(module.mode, min(max(len(shape) - 1, 1), 3))
    shape = shape_with_channels(shape, ndim)
    geometry = _resize(module, shape[1:])
    # channels stay; they come in front at the end, since torch's rules depend on the number of axes
    channels = ResizeAxis(shape[0], shape[0], Fraction(1), Rule("linear"))
    whole = replace(
        geometry,
        input_shape=shape,
        output_shape=(shape[0], *geometry.output_shape),
        axes=(channels, *geometry.axes),
    )
    operator: ResizeOperator = ResizeOperator._of(whole, np.dtype(np.float32))
    return operator


def _resize(module: Any, sizes: tuple[int, ...]) -> ResizeGeometry:
    def geometry(output_shape: Any, scale: Any) -> ResizeGeometry:
        return resize_geometry(
            sizes,
            output_shape,
            scale=scale,
            mode=module.mode,
            coordinate_mode="align_corners" if module.align_corners else None,
            nearest_mode=None,
            cubic_coeff=None,
            exclude_outside=None,
            antialias=None,
            convention="torch",
        )

    if module.size is not None:
        return geometry(_normalize.per_axis("module.size", module.size, len(sizes), 1), None)
    factors = module.scale_factor
    if _normalize.is_sequence(factors) and len(factors) != len(sizes):
        msg = (
            f"module.scale_factor must have an entry for each of the {len(sizes)} spatial axes, "
            f"got {shown(factors)}"
        )
        raise ValueError(msg)
    found = geometry(None, factors)
    # positions by the sizes, then, and not by the factor
    return geometry(found.output_shape, None) if module.recompute_scale_factor else found
