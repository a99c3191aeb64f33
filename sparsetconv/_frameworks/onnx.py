"""`from_onnx`: an ONNX node as an operator; onnx is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparsetconv._arrays.display import shown, type_name
from sparsetconv._arrays.validation import as_array
from sparsetconv._frameworks.shared import check_channels, shape_with_channels
from sparsetconv._geometry import validation
from sparsetconv.operators._convolution import ConvOperator, ConvTransposeOperator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sparsetconv._geometry.validation import IntOrInts
    from sparsetconv._methods.registry import MethodName

OP_TYPES = ("Conv", "ConvTranspose")
AUTO_PADS = {"NOTSET": None, "VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
SHARED = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
SIZES = ("output_padding", "output_shape")


def from_onnx(
    node_attributes: Any,
    kernel: ArrayLike,
    input_shape: IntOrInts,
    *,
    op_type: str | None = None,
    method: MethodName = "auto",
) -> ConvOperator | ConvTransposeOperator:
    """Return the operator that an ONNX ``Conv`` or ``ConvTranspose`` node applies.

    Parameters
    ----------
    node_attributes : dict or onnx.NodeProto
        A node, or its attributes by name: ``auto_pad``, ``dilations``, ``group``, ``kernel_shape``, ``pads``,
        ``strides``, and for ``ConvTranspose`` also ``output_padding`` and ``output_shape``.
    kernel : (c_out, c_in // group, k1, ..., kd) array_like
        The node's second input; ``(c_in, c_out // group, k1, ..., kd)`` for ``ConvTranspose``.
    input_shape : sequence of int
        ``(c_in, n1, ..., nd)``, without the batch axis.
    op_type : {"Conv", "ConvTranspose"}, optional
        The node's ``op_type`` if not given; ``"Conv"`` for a dict.
    method : str
        As for `ConvOperator`.

    Returns
    -------
    ConvOperator or ConvTransposeOperator
        The operator of the node without its third input, the bias, which must be added to the result.

    Raises
    ------
    TypeError
        If ``node_attributes`` is not a dict or node, an attribute is of the wrong type, or the kernel is not
        a dense numeric array.
    ValueError
        If the operation is not supported or does not have an attribute, or if the shapes do not fit.

    See Also
    --------
    from_torch, from_keras : The same for other packages.

    Notes
    -----
    ``ConvTranspose`` with an ``output_shape``, or with automatic padding and an ``output_padding``, ignores
    explicit pads. It crops ``(n - 1) * stride + dilation * (k - 1) + 1 + output_padding - size`` samples;
    only ``SAME_UPPER`` crops the smaller half at the beginning [1]_.

    References
    ----------
    .. [1] ONNX, "Operator Schemas", ``Conv`` and ``ConvTranspose``.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsetconv as stc
    >>> attributes = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    >>> A = stc.from_onnx(attributes, np.ones((4, 3, 3, 3)), (3, 8, 8))
    >>> A.output_shape, A.geometry.padding
    ((4, 4, 4), ((0, 1), (0, 1)))
    >>> T = stc.from_onnx(attributes, np.ones((4, 3, 3, 3)), (4, 4, 4), op_type="ConvTranspose")
    >>> T.output_shape
    (3, 8, 8)
    """
    kind = _operation(node_attributes, op_type)
    weights = as_array("kernel", kernel)
    ndim = weights.ndim - 2
    if ndim < 1:
        msg = (
            f"kernel must have two axes of channels and at least one more, "
            f"got the shape {shown(weights.shape)}"
        )
        raise ValueError(msg)
    shape = shape_with_channels(input_shape, ndim)
    attributes = _Attributes(_values(node_attributes), kind, ndim)
    attributes.check_kernel(weights.shape[2:])
    shared: dict[str, Any] = {
        "stride": attributes.strides,
        "dilation": attributes.dilations,
        "groups": attributes.group,
        "method": method,
    }
    if kind == "Conv":
        check_channels(shape, shape[0], weights.shape[1] * attributes.group)
        return ConvOperator(weights, shape, padding=attributes.padding, **shared)
    check_channels(shape, shape[0], weights.shape[0])
    sizes = attributes.transposed_sizes(shape[1:], weights.shape[2:])
    return ConvTransposeOperator(weights, shape, **shared, **sizes)


def _operation(node: Any, op_type: str | None) -> str:
    own = getattr(node, "op_type", None)
    wanted = validation.word("op_type", (own or "Conv") if op_type is None else op_type, OP_TYPES)
    if own not in (None, wanted):
        msg = f"op_type must be the node's own, {shown(own)}, or be left out; got {shown(op_type)}"
        raise ValueError(msg)
    domain = getattr(node, "domain", "")
    if domain not in ("", "ai.onnx"):
        msg = f"node_attributes must be a node of ONNX's own operators, got the domain {shown(domain)}"
        raise ValueError(msg)
    return wanted


def _values(node: Any) -> dict[str, Any]:
    """Return attributes by name, from a dict or a node."""
    if isinstance(node, Mapping):
        values = dict(node)
    elif hasattr(node, "attribute"):
        values = {a.name: _value(a) for a in node.attribute}
    else:
        msg = f"node_attributes must be a dict or a node, got {type_name(node)}"
        raise TypeError(msg)
    word = values.get("auto_pad", "NOTSET")
    return {**values, "auto_pad": word.decode(errors="replace") if isinstance(word, bytes) else word}


def _value(attribute: Any) -> Any:
    """Return the value of an AttributeProto, from the field that attributes of this name use."""
    if attribute.name == "auto_pad":
        return attribute.s
    return attribute.i if attribute.name == "group" else list(attribute.ints)


class _Attributes:
    """A node's attributes with defaults filled in; error messages use the ONNX names."""

    def __init__(self, values: dict[str, Any], kind: str, ndim: int) -> None:
        known = SHARED if kind == "Conv" else (*SHARED, *SIZES)
        for name in values:
            if name not in known:
                hint = "; with a dict say op_type='ConvTranspose'" if name in SIZES else ""
                msg = f"attributes of {kind} must be among {', '.join(known)}; got {shown(name)}{hint}"
                raise ValueError(msg)
        self.ndim = ndim
        self.auto_pad = validation.word("auto_pad", values["auto_pad"], tuple(AUTO_PADS))
        self.group = validation.integer("group", values.get("group", 1), 1)
        self.strides = self._integers("strides", values.get("strides", [1] * ndim), ndim)
        self.dilations = self._integers("dilations", values.get("dilations", [1] * ndim), ndim)
        self.pads = self._integers("pads", values.get("pads", [0] * 2 * ndim), 2 * ndim)
        if self.auto_pad != "NOTSET" and any(self.pads):
            msg = (
                f"pads must be left out or zero with auto_pad={shown(self.auto_pad)}, "
                f"got {shown(list(self.pads))}"
            )
            raise ValueError(msg)
        self.output_padding = self._integers("output_padding", values.get("output_padding", [0] * ndim), ndim)
        self.kernel_shape, self.output_shape = (
            None if name not in values else self._integers(name, values[name], ndim)
            for name in ("kernel_shape", "output_shape")
        )

    def _integers(self, name: str, value: Any, count: int) -> tuple[int, ...]:
        values = tuple(value) if validation.is_sequence(value) else (value,)
        if len(values) != count:
            msg = f"{name} must have {count} entries for {self.ndim} spatial axes, got {shown(value)}"
            raise ValueError(msg)
        return tuple(validation.integer(f"{name}[{i}]", v) for i, v in enumerate(values))

    def check_kernel(self, taps: tuple[int, ...]) -> None:
        """Raise if the attribute contradicts the kernel."""
        if self.kernel_shape not in (None, taps):
            msg = (
                f"kernel_shape must be that of the kernel, {shown(list(taps))}, "
                f"got {shown(list(self.kernel_shape or ()))}"
            )
            raise ValueError(msg)

    @property
    def padding(self) -> Any:
        """The padding of a forward convolution; ONNX lists the pads before each axis, then those after."""
        pads = tuple(zip(self.pads[: self.ndim], self.pads[self.ndim :], strict=True))
        return AUTO_PADS[self.auto_pad] or pads

    def transposed_sizes(self, sizes: tuple[int, ...], taps: tuple[int, ...]) -> dict[str, Any]:
        """Return the padding and the output size of a transposed convolution."""
        shape, extra = self.output_shape, self.output_padding
        if shape is None and (self.auto_pad in ("NOTSET", "VALID") or not any(extra)):
            return {"padding": self.padding, "output_padding": extra}
        if shape is None:
            shape = tuple(n * s for n, s in zip(sizes, self.strides, strict=True))
        upper = self.auto_pad == "SAME_UPPER"
        if not any(extra):
            return {"padding": "same" if upper else "same_lower", "output_shape": shape}
        # with automatic padding, output_padding increases the total that is cropped, not the output size
        rows = zip(sizes, taps, self.strides, self.dilations, shape, extra, strict=True)
        pads = []
        for n, k, stride, dilation, size, more in rows:
            span = (n - 1) * stride + dilation * (k - 1) + 1
            total = max(span + more - size, 0)
            before = total // 2 if upper else total - total // 2
            pads.append((before, span - size - before))
        return {"padding": tuple(pads)}
