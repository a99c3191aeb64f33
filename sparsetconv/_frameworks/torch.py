"""`from_torch`: a torch layer as an operator; torch is not imported."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.display import shown
from sparsetconv._frameworks.shared import (
    Kinds,
    check_channels,
    hooks_of,
    layer_kind,
    refuse_hook,
    shape_with_channels,
)
from sparsetconv._frameworks.torch_weights import next_weights
from sparsetconv._geometry import validation
from sparsetconv._resize.conventions import Rule
from sparsetconv._resize.geometry import ResizeAxis, resize_geometry
from sparsetconv.operators._convolution import ConvOperator, ConvTransposeOperator
from sparsetconv.operators._resize import ResizeOperator, resize_operator

if TYPE_CHECKING:
    from sparsetconv._geometry.validation import IntOrInts
    from sparsetconv._methods.registry import MethodName
    from sparsetconv._resize.geometry import ResizeGeometry

CONV = {"Conv1d": 1, "Conv2d": 2, "Conv3d": 3}
TRANSPOSED = {"ConvTranspose1d": 1, "ConvTranspose2d": 2, "ConvTranspose3d": 3}
POOL = {"AvgPool1d": 1, "AvgPool2d": 2, "AvgPool3d": 3}
CONV_READS = ("stride", "padding", "dilation", "groups", "padding_mode")
TRANSPOSED_READS = (*CONV_READS, "output_padding")
POOL_READS = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
KINDS = Kinds(
    "module",
    {
        **dict.fromkeys(CONV, CONV_READS),
        **dict.fromkeys(TRANSPOSED, TRANSPOSED_READS),
        **dict.fromkeys(POOL, POOL_READS),
        "Upsample": ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor"),
    },
    ("forward", "_conv_forward", "_output_padding", "__call__", "_call_impl", "_wrapped_call_impl"),
    ("torch.nn.modules.",),
)
# the number of spatial axes of a mode; other modes support any number
MODE_NDIM = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def from_torch(
    module: Any, input_shape: IntOrInts, *, method: MethodName = "auto"
) -> ConvOperator | ConvTransposeOperator | ResizeOperator:
    """Return the operator that a torch layer applies.

    Parameters
    ----------
    module : torch.nn.Module
        ``Conv1d``, ``Conv2d``, ``Conv3d``, ``ConvTranspose1d``, ``ConvTranspose2d``, ``ConvTranspose3d``,
        ``AvgPool1d``, ``AvgPool2d``, ``AvgPool3d`` or ``Upsample``, or of a class derived from these that
        does not override ``forward``. Only attributes are read; torch itself is not imported, and the layer
        is not changed.
    input_shape : sequence of int
        ``(c_in, n1, ..., nd)``, without the batch axis.
    method : str
        As for `ConvOperator`; ``"auto"`` for ``Upsample``.

    Returns
    -------
    ConvOperator, ConvTransposeOperator or ResizeOperator
        The layer's linear part: a 2-D layer returns ``apply(x) + bias[:, None, None]``. The weights are
        copied, from any device.

    Raises
    ------
    TypeError
        If the layer is of another class, or may compute something else (because a derived class or the
        instance overrides ``forward`` or ``_conv_forward``, or because of hooks); if its weights are in half
        precision; or if its tensors are of another class.
    ValueError
        If the shape does not fit; if the layer's weights are not initialized, or are different in every call;
        or if the weights of an average pool are not the same everywhere (padding is not counted, or the last
        window is cut off).

    See Also
    --------
    from_onnx, from_keras : The same for other packages.

    Notes
    -----
    The operator of a convolution has the dtype of the weights; that of an average pool is float64, and that
    of ``Upsample`` is float32. As for all operators, a product has the wider of the operator's and the
    operand's dtypes.

    Weights that torch recomputes in every call (``weight_norm``, ``spectral_norm``, ``prune``, and other
    parametrizations) are those of the layer's next call. In training mode a spectral norm changes the weights
    with every call; after ``module.eval()`` they stay the same.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> class Conv1d:  # stands for torch.nn.Conv1d: only these attributes are read
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
    kind = layer_kind(module, KINDS)
    _check_compiled(module, kind)
    if kind in CONV:
        return _conv(module, input_shape, CONV[kind], method)
    if kind in TRANSPOSED:
        return _transposed(module, input_shape, TRANSPOSED[kind], method)
    # these layers have no weights, so a hook can only change inputs or results
    for word, hook in hooks_of(module):
        refuse_hook("module", word, hook)
    if kind in POOL:
        return _pool(module, input_shape, POOL[kind], method)
    if method != "auto":
        msg = (
            f"method must be 'auto' for Upsample, whose operator has one way to multiply, got {shown(method)}"
        )
        raise ValueError(msg)
    return _upsample(module, input_shape)


def _check_compiled(module: Any, kind: str) -> None:
    """Raise if a call runs anything but the module itself or the result of ``module.compile()``."""
    compiled = getattr(module, "_compiled_call_impl", None)
    original = getattr(compiled, "_torchdynamo_orig_callable", None)
    if compiled is not None and getattr(original, "__func__", None) is not getattr(
        type(module), "_call_impl", None
    ):
        msg = f"module must compute what {kind} does, but _compiled_call_impl is replaced on this instance"
        raise TypeError(msg)


def _conv(module: Any, input_shape: IntOrInts, ndim: int, method: MethodName) -> ConvOperator:
    shape, kernel = shape_with_channels(input_shape, ndim), next_weights(module, ndim + 2)
    groups = validation.integer("module.groups", module.groups, 1)
    check_channels(shape, shape[0], kernel.shape[1] * groups)
    return ConvOperator(
        kernel,
        shape,
        stride=module.stride,
        padding=_padding(module, ndim),
        dilation=module.dilation,
        groups=groups,
        padding_mode=module.padding_mode,
        method=method,
    )


def _padding(module: Any, ndim: int) -> Any:
    """Return the padding of a convolution.

    For modes other than zeros torch pads by amounts that it computed from ``padding`` when the layer was
    made, last axis first. torch allows "same" with stride 1 only, and puts the odd sample at the end, as we
    do.
    """
    made = getattr(module, "_reversed_padding_repeated_twice", None)
    if made is None or module.padding_mode == "zeros":
        return module.padding
    numbers = validation.per_axis("module._reversed_padding_repeated_twice", made, 2 * ndim, 0)
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))[::-1]


def _transposed(module: Any, input_shape: IntOrInts, ndim: int, method: MethodName) -> ConvTransposeOperator:
    if module.padding_mode != "zeros":
        msg = (
            "module.padding_mode must be 'zeros' for a transposed convolution, as in torch, "
            f"got {shown(module.padding_mode)}"
        )
        raise ValueError(msg)
    shape, kernel = shape_with_channels(input_shape, ndim), next_weights(module, ndim + 2)
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


def _pool(module: Any, input_shape: IntOrInts, ndim: int, method: MethodName) -> ConvOperator:
    shape = shape_with_channels(input_shape, ndim)
    taps = validation.per_axis("module.kernel_size", module.kernel_size, ndim, 1)
    stride = validation.per_axis("module.stride", module.stride, ndim, 1)
    padding = validation.per_axis("module.padding", module.padding, ndim, 0)
    divisor = getattr(module, "divisor_override", None)
    rows = zip(shape[1:], taps, stride, padding, strict=True)
    if module.ceil_mode and any((n + 2 * p - k) % s for n, k, s, p in rows):
        msg = (
            "module.ceil_mode must be False where stride does not divide n + 2 * padding - kernel_size: a "
            f"window that is cut off has other weights; got kernel_size {shown(taps)}, "
            f"stride {shown(stride)}, padding {shown(padding)} on {shown(shape)}"
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
    shape = validation.shape("input_shape", input_shape)
    ndim = MODE_NDIM.get(module.mode, min(max(len(shape) - 1, 1), 3))
    shape = shape_with_channels(shape, ndim)
    geometry = _resize(module, shape[1:])
    # the channel axis does not change, and is added last since torch's rules depend on the number of axes
    channels = ResizeAxis(shape[0], shape[0], Fraction(1), Rule("linear"))
    whole = replace(
        geometry,
        input_shape=shape,
        output_shape=(shape[0], *geometry.output_shape),
        axes=(channels, *geometry.axes),
    )
    operator: ResizeOperator = resize_operator(whole, np.dtype(np.float32), "numpy")
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
        return geometry(validation.per_axis("module.size", module.size, len(sizes), 1), None)
    factors = module.scale_factor
    if validation.is_sequence(factors) and len(factors) != len(sizes):
        msg = (
            f"module.scale_factor must have an entry for each of the {len(sizes)} spatial axes, "
            f"got {shown(factors)}"
        )
        raise ValueError(msg)
    found = geometry(None, factors)
    # with recompute_scale_factor, positions are computed from the sizes, not from the scale
    return geometry(found.output_shape, None) if module.recompute_scale_factor else found
