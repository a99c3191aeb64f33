"""`from_keras`: a Keras layer as an operator; neither Keras nor its backend is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsetconv._arrays.display import shown
from sparsetconv._frameworks.shared import (
    Kinds,
    attribute_of,
    check_channels,
    hooks_of,
    layer_kind,
    refuse_hook,
    shape_with_channels,
    weights_of,
)
from sparsetconv._geometry import validation
from sparsetconv.operators._channels_last import ChannelsLastOperator
from sparsetconv.operators._convolution import ConvOperator, ConvTransposeOperator

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array
    from sparsetconv._geometry.validation import IntOrInts, PaddingWord
    from sparsetconv._methods.registry import MethodName

CONV = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3}
TRANSPOSED = {"Conv1DTranspose": 1, "Conv2DTranspose": 2, "Conv3DTranspose": 3}
DEPTHWISE = {"DepthwiseConv1D": 1, "DepthwiseConv2D": 2}
KNOWN = {**CONV, **TRANSPOSED, **DEPTHWISE}
READS = ("built", "data_format", "strides", "dilation_rate", "padding")
KINDS = Kinds(
    "layer",
    {
        **dict.fromkeys(CONV, (*READS, "groups")),
        **dict.fromkeys(TRANSPOSED, (*READS, "output_padding")),
        **dict.fromkeys(DEPTHWISE, READS),
    },
    ("call", "convolution_op", "_compute_causal_padding", "quantized_call", "__call__"),
    ("keras.", "tf_keras."),
)
HALF = ("float16", "bfloat16")
DATA_FORMATS = ("channels_last", "channels_first")


def from_keras(
    layer: Any, input_shape: IntOrInts, *, method: MethodName = "auto"
) -> ConvOperator | ConvTransposeOperator | ChannelsLastOperator:
    """Return the operator that a Keras layer applies, in the layer's own layout.

    Parameters
    ----------
    layer : keras.layers.Layer
        ``Conv1D``, ``Conv2D``, ``Conv3D``, ``Conv1DTranspose``, ``Conv2DTranspose``, ``Conv3DTranspose``,
        ``DepthwiseConv1D`` or ``DepthwiseConv2D`` of Keras 3, built, or of a class derived from these that
        does not override ``call``. Only attributes are read; Keras itself is not imported.
    input_shape : sequence of int
        ``(n1, ..., nd, c_in)``, or ``(c_in, n1, ..., nd)`` if ``layer.data_format`` is ``"channels_first"``;
        without the batch axis.
    method : str
        As for `ConvOperator`.

    Returns
    -------
    ChannelsLastOperator, ConvOperator or ConvTransposeOperator
        ``apply`` takes and returns arrays in the layout of the layer. For ``"channels_last"``, Keras'
        default, its attribute ``operator`` is the same convolution with channels first. The layer's bias and
        its activation are left out.

    Raises
    ------
    TypeError
        If the layer is of another class, or may compute something else (because a derived class or the
        instance overrides ``call``, or because of hooks or quantization); or if its weights are in half
        precision, or it computes in half precision (a mixed policy).
    ValueError
        If the layer has not been built, or the shape does not fit.

    See Also
    --------
    from_torch, from_onnx : The same for other packages.

    Notes
    -----
    Sizes of transposed convolutions are those of Keras, with ``e = dilation * (k - 1) + 1``: ``"valid"``
    gives ``(n - 1) * stride + max(e, stride)``, ``"same"`` ``n * stride``; with an ``output_padding`` they
    are ``(n - 1) * stride + e + output_padding`` and ``(n - 1) * stride + e % 2 + output_padding``.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> class Conv2D:  # stands for keras.layers.Conv2D: only these attributes are read
    ...     kernel, built, data_format = np.ones((3, 3, 1, 4)), True, "channels_last"
    ...     strides, dilation_rate, padding, groups = (2, 2), (1, 1), "same", 1
    >>> A = stc.from_keras(Conv2D(), (28, 28, 1))
    >>> A.apply(np.ones((8, 28, 28, 1))).shape
    (8, 14, 14, 4)
    >>> A.operator.output_shape
    (4, 14, 14)
    """
    kind = layer_kind(layer, KINDS)
    _check_calls(layer)
    data_format = validation.word("layer.data_format", layer.data_format, DATA_FORMATS)
    last = data_format == "channels_last"
    shape = shape_with_channels(input_shape, KNOWN[kind], last)
    # from here on channels come first; above, messages refer to the layer's own order
    channels, sizes = (shape[-1], shape[:-1]) if last else (shape[0], shape[1:])
    kernel = _weights(layer, shape)
    build = _transposed if kind in TRANSPOSED else _depthwise if kind in DEPTHWISE else _conv
    check_channels(shape, channels, _channels(kernel, layer, kind))
    operator = build(layer, kernel, (channels, *sizes), method)
    return ChannelsLastOperator(operator) if last else operator


def _check_calls(layer: Any) -> None:
    """Raise if calling the layer does more than its ``call``."""
    # with the torch backend, Keras layers are torch modules
    for word, hook in hooks_of(layer):
        refuse_hook("layer", word, hook)
    if (mode := getattr(layer, "quantization_mode", None)) is not None:
        msg = f"layer must not be quantized, which is not linear, got quantization_mode={shown(mode)}"
        raise TypeError(msg)


def _weights(layer: Any, shape: tuple[int, ...]) -> Array:
    if not layer.built:
        msg = (
            f"layer must be built, with layer.build({shown((None, *shape))}) or by applying it; "
            "it has no kernel yet"
        )
        raise ValueError(msg)
    kernel = attribute_of("layer", layer, "kernel")
    weights = weights_of("layer.kernel", kernel, len(shape) + 1, "give the layer dtype='float32'")
    if (dtype := getattr(layer, "compute_dtype", None)) in HALF:
        msg = f"layer must compute in single or double precision, got {dtype}; give it dtype='float32'"
        raise TypeError(msg)
    return weights


def _channels(kernel: Array, layer: Any, kind: str) -> int:
    """Return the number of input channels, from a kernel ``(k1, ..., kd, c_in, c_out)``, or transposed."""
    if kind in TRANSPOSED:
        return int(kernel.shape[-1])
    return int(kernel.shape[-2]) * (1 if kind in DEPTHWISE else int(layer.groups))


def _to_front(kernel: Array) -> Array:
    """Return ``(b, a, k1, ..., kd)`` from ``(k1, ..., kd, a, b)``."""
    return kernel.transpose(kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))


def _padding(layer: Any, taps: tuple[int, ...]) -> Any:
    if layer.padding == "causal" and len(taps) == 1:
        return tuple((d * (k - 1), 0) for d, k in zip(layer.dilation_rate, taps, strict=True))
    return validation.word("layer.padding", layer.padding, ("valid", "same"))


def _conv(layer: Any, kernel: Array, shape: tuple[int, ...], method: MethodName) -> ConvOperator:
    return ConvOperator(
        _to_front(kernel),
        shape,
        stride=layer.strides,
        padding=_padding(layer, kernel.shape[:-2]),
        dilation=layer.dilation_rate,
        groups=layer.groups,
        method=method,
    )


def _depthwise(layer: Any, kernel: Array, shape: tuple[int, ...], method: MethodName) -> ConvOperator:
    # from (k1, ..., kd, c, m) to (c * m, 1, k1, ..., kd): the outputs of one channel are contiguous
    taps = kernel.shape[:-2]
    weights = kernel.transpose(kernel.ndim - 2, kernel.ndim - 1, *range(kernel.ndim - 2))
    return ConvOperator(
        weights.reshape(-1, 1, *taps),
        shape,
        stride=layer.strides,
        padding=_padding(layer, taps),
        dilation=layer.dilation_rate,
        groups=shape[0],
        method=method,
    )


def _transposed(
    layer: Any, kernel: Array, shape: tuple[int, ...], method: MethodName
) -> ConvTransposeOperator:
    padding: PaddingWord = validation.word("layer.padding", layer.padding, ("valid", "same"))
    extra = layer.output_padding or (None,) * len(layer.strides)
    rows = zip(shape[1:], kernel.shape[:-2], layer.strides, layer.dilation_rate, extra, strict=True)
    return ConvTransposeOperator(
        _to_front(kernel),
        shape,
        stride=layer.strides,
        padding=padding,
        output_shape=[_size(padding, *numbers) for numbers in rows],
        dilation=layer.dilation_rate,
        method=method,
    )


def _size(padding: str, n: int, k: int, stride: int, dilation: int, extra: int | None) -> int:
    """Return Keras' output size of a transposed convolution along one axis."""
    extent, rest = dilation * (k - 1) + 1, (n - 1) * stride
    if padding == "valid":
        return rest + (max(extent, stride) if extra is None else extent + extra)
    return rest + (stride if extra is None else extent % 2 + extra)
