"""What the converters have in common: telling a layer's kind, reading its weights, checking shapes.

Floor 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv import _normalize
from sparsetconv._display import shown, type_name
from sparsetconv._kernel import SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sparsetconv._types import Array


def layer_kind(name: str, layer: Any, known: Iterable[str], computes: Sequence[str]) -> str:
    """Return which of the known classes a layer is of, by name, or derives from.

    Parameters
    ----------
    name : str
        Of the parameter, for the message.
    layer : object
    known : iterable of str
        Names of classes.
    computes : sequence of str
        Methods that a derived class must not define: with its own it would compute something else.

    Returns
    -------
    str
    """
    known = tuple(known)
    classes = type(layer).__mro__
    names = [cls.__name__ for cls in classes]
    kind = next((name for name in names if name in known), None)
    if kind is not None:
        # the last one of the name is the package's own: a derived class may be called the same
        derived = classes[: len(names) - 1 - names[::-1].index(kind)]
        own = [method for cls in derived for method in computes if method in vars(cls)]
        if own:
            msg = f"{name} must compute what {kind} does, but {type_name(layer)} defines {own[0]} itself"
            raise TypeError(msg)
        return kind
    msg = f"{name} must be one of {', '.join(known)}; got {type_name(layer)}"
    raise TypeError(msg)


def weights_of(name: str, weights: Any, remedy: str) -> Array:
    """Return a layer's weights as a NumPy array, wherever they live.

    Parameters
    ----------
    name : str
        Of the weights, for the message.
    weights : array or tensor
    remedy : str
        What to do about a precision that is not supported.

    Returns
    -------
    array
    """
    try:
        # a tensor that keeps track of gradients, or lives on another device, does not convert by itself
        array = weights.numpy(force=True) if hasattr(weights, "detach") else np.asarray(weights)
        dtype = array.dtype
    except TypeError:
        # bfloat16 has no NumPy dtype
        array, dtype = np.empty(0), weights.dtype
    if array.dtype not in SUPPORTED or array.dtype != dtype:
        msg = f"{name} must be in single or double precision, got {dtype}; {remedy}"
        raise TypeError(msg)
    return array


def shape_with_channels(input_shape: Any, ndim: int, last: bool = False) -> tuple[int, ...]:
    """Return an input shape after checking that it has channels and no batch axis."""
    shape = _normalize.shape("input_shape", input_shape)
    if len(shape) != ndim + 1:
        sizes = [f"n{i + 1}" for i in range(ndim)]
        wanted = ", ".join([*sizes, "c_in"] if last else ["c_in", *sizes])
        hint = "; leave the batch axis out" if len(shape) == ndim + 2 else ""
        msg = f"input_shape must be ({wanted}) for {ndim} spatial axes, got {shown(shape)}{hint}"
        raise ValueError(msg)
    return shape


def check_channels(shape: tuple[int, ...], given: int, wanted: int) -> None:
    """Raise unless an input shape has as many channels as the weights ask for."""
    if given != wanted:
        msg = (
            f"input_shape must have the {wanted} input channels of the kernel, got {given} in {shown(shape)}"
        )
        raise ValueError(msg)
