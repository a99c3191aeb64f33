"""The common parts of the converters: determine a layer's kind, read its weights, check shapes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from sparsetconv._arrays.display import clipped, shown, type_name
from sparsetconv._arrays.validation import SUPPORTED, to_array
from sparsetconv._geometry import validation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.types import Array

# attributes in which torch keeps the hooks of a layer, and those of all layers
HOOKS = {"_forward_pre_hooks": "forward pre-hook", "_forward_hooks": "forward hook"}
GLOBAL_HOOKS = {f"_global{name}": f"global {word}" for name, word in HOOKS.items()}
# attributes in which torch.compile and DataParallel keep the layer that they wrap
INNER = ("_orig_mod", "module")
PLAIN_TENSORS = ("Tensor", "Parameter")


class Kinds(NamedTuple):
    """The layers that a converter knows.

    Attributes
    ----------
    name : str
        Name of the parameter, for messages.
    attributes : dict of str to tuple of str
        The attributes that the converter reads, by class name.
    computes : tuple of str
        Methods that compute a layer's result; a layer that overrides one of them is refused.
    packages : tuple of str
        Prefixes of the modules in which the classes are defined.
    """

    name: str
    attributes: dict[str, tuple[str, ...]]
    computes: tuple[str, ...]
    packages: tuple[str, ...]

    def owns(self, module: Any) -> bool:
        """Return whether a module, given by its name, belongs to the package."""
        return isinstance(module, str) and f"{module}.".startswith(self.packages)


def layer_kind(layer: Any, kinds: Kinds) -> str:
    """Return the name of the known class of which a layer is an instance, or from which its class derives.

    A class that only has the name of a known one is accepted if none of its bases belongs to the package.
    Otherwise the layer's class must derive from the package's own class of that name.
    """
    classes = type(layer).__mro__
    own = [cls for cls in classes if kinds.owns(cls.__module__)]
    kind = next((cls.__name__ for cls in own or classes if cls.__name__ in kinds.attributes), None)
    if kind is None:
        called = any(cls.__name__ in kinds.attributes for cls in classes)
        where = f"{clipped(type(layer).__module__)}." if called else ""
        inner = next((f"; give its {name}" for name in INNER if hasattr(layer, name)), "")
        msg = (
            f"{kinds.name} must be one of {', '.join(kinds.attributes)}; got {where}{type_name(layer)}{inner}"
        )
        raise TypeError(msg)
    if found := _replaced(layer, kind, kinds, bool(own)):
        msg = f"{kinds.name} must compute what {kind} does, but {found}"
        raise TypeError(msg)
    for attribute in kinds.attributes[kind]:
        attribute_of(kinds.name, layer, attribute)
    return kind


def attribute_of(name: str, layer: Any, attribute: str) -> Any:
    """Return an attribute of a layer, or raise if the layer does not have it."""
    try:
        return getattr(layer, attribute)
    except AttributeError:
        msg = f"{name} must have the attribute {attribute}, which {type_name(layer)} does not have"
        raise TypeError(msg) from None


def _replaced(layer: Any, kind: str, kinds: Kinds, own: bool) -> str:
    """Say which method in ``computes`` is overridden, and where (instance, class or package); "" if none."""
    classes = type(layer).__mro__
    names = [cls.__name__ for cls in classes]
    # the last class with the name is the package's own, since a derived class may have the same name
    derived = classes[: len(names) - 1 - names[::-1].index(kind)]
    for method in kinds.computes:
        if method in getattr(layer, "__dict__", {}):
            return f"{method} is replaced on this instance; convert a layer without it"
        if any(method in vars(cls) for cls in derived):
            return f"{type_name(layer)} defines {method} itself"
        if own and not all(map(kinds.owns, _sources(getattr(type(layer), method, None)))):
            return f"{method} of its class is replaced; restore it"
    return ""


def _sources(function: Any) -> Iterator[Any]:
    """Yield the module of a function and of each function that it wraps; nothing for None."""
    while function is not None:
        yield getattr(function, "__globals__", {}).get("__name__")
        function = getattr(function, "__wrapped__", None)


def hooks_of(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the hooks that run when a torch module is called, in order, as (kind of hook, hook)."""
    torch_module = sys.modules.get("torch.nn.modules.module") if hasattr(layer, "_forward_hooks") else None
    for place, names in ((torch_module, GLOBAL_HOOKS), (layer, HOOKS)):
        for name, word in names.items():
            yield from ((word, hook) for hook in getattr(place, name, {}).values())


def refuse_hook(name: str, word: str, hook: Any) -> None:
    """Raise, since a hook may change inputs or results in any way."""
    called = clipped(getattr(hook, "__qualname__", type(hook).__name__))
    msg = (
        f"{name} must be called without hooks, which may change its input or its result, but it has the "
        f"{word} {called}; remove it by the handle that registering it returned"
    )
    raise TypeError(msg)


def weights_of(name: str, weights: Any, ndim: int, remedy: str) -> Array:
    """Return a layer's weights as a NumPy array, from any device.

    Parameters
    ----------
    name : str
        Name of the weights, for the message.
    weights : array or tensor
    ndim : int
        The required number of axes.
    remedy : str
        Advice for a precision that is not supported.

    Returns
    -------
    array
    """
    is_tensor = hasattr(weights, "detach")
    if is_tensor:
        _check_tensor(name, weights)
    elif callable(weights):
        msg = f"{name} must be an array, got a method, as quantized layers have it; dequantize the layer"
        raise TypeError(msg)
    try:
        # force=True also converts a tensor that requires gradients or is on another device
        array = weights.numpy(force=True) if is_tensor else to_array(name, weights)
    except TypeError as error:
        # bfloat16 has no NumPy dtype
        dtype = getattr(weights, "dtype", None)
        if dtype is None:
            raise
        raise _not_precise(name, dtype, remedy) from error
    if array.dtype not in SUPPORTED:
        raise _not_precise(name, array.dtype, remedy)
    if array.ndim != ndim:
        msg = f"{name} must have {ndim} axes, got the shape {shown(array.shape)}"
        raise ValueError(msg)
    return array


def _not_precise(name: str, dtype: Any, remedy: str) -> TypeError:
    return TypeError(f"{name} must be in single or double precision, got {clipped(str(dtype))}; {remedy}")


def _check_tensor(name: str, tensor: Any) -> None:
    """Raise if a tensor has no values, or is of a class that may redefine products."""
    if getattr(tensor, "is_meta", False):
        msg = (
            f"{name} must have values, got a tensor of device='meta', which has none; give the layer memory "
            "with .to_empty(device='cpu') and load its weights"
        )
        raise ValueError(msg)
    layout = str(getattr(tensor, "layout", "torch.strided"))
    if layout != "torch.strided":
        msg = f"{name} must be a dense tensor, got one of layout {clipped(layout)}; use .to_dense()"
        raise TypeError(msg)
    cls = type(tensor)
    if cls.__module__.split(".")[0] != "torch" or cls.__name__ not in PLAIN_TENSORS:
        msg = (
            f"{name} must be a plain tensor, got {clipped(cls.__module__)}.{type_name(tensor)}, which "
            "may redefine products; convert it to torch.Tensor, with .dequantize() for example"
        )
        raise TypeError(msg)


def shape_with_channels(input_shape: Any, ndim: int, last: bool = False) -> tuple[int, ...]:
    """Return an input shape after checking that it has channels and no batch axis."""
    shape = validation.shape("input_shape", input_shape)
    if len(shape) != ndim + 1:
        sizes = [f"n{i + 1}" for i in range(ndim)]
        wanted = ", ".join([*sizes, "c_in"] if last else ["c_in", *sizes])
        hint = "; leave the batch axis out" if len(shape) == ndim + 2 else ""
        msg = f"input_shape must be ({wanted}) for {ndim} spatial axes, got {shown(shape)}{hint}"
        raise ValueError(msg)
    return shape


def check_channels(shape: tuple[int, ...], given: int, wanted: int) -> None:
    """Raise unless an input shape has the number of channels that the weights have."""
    if given != wanted:
        msg = (
            f"input_shape must have the {wanted} input channels of the kernel, got {given} in {shown(shape)}"
        )
        raise ValueError(msg)
