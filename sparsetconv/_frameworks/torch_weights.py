"""The weights that a torch layer will use in its next call, read without changing the layer.

torch is not imported. Two of its mechanisms recompute weights in every call: hooks that run before the call
(`torch.nn.utils.weight_norm`, `spectral_norm`, `prune`), so that the attribute is stale until then, and
parametrizations, which compute the attribute when it is read. Both may change the layer's buffers, as the
power iteration of spectral norms does in training mode. So hooks are called with a stand-in that holds
copies, and parametrizations are copied before they are evaluated.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetconv._arrays.display import shown, type_name
from sparsetconv._frameworks.shared import attribute_of, hooks_of, refuse_hook, weights_of

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array

# torch modules whose hooks compute one attribute from others, and do nothing else
RENEWING = frozenset(f"torch.nn.utils.{name}" for name in ("weight_norm", "spectral_norm", "prune"))
REMEDY = "convert the layer, with .float() for example"


def next_weights(module: Any, ndim: int) -> Array:
    """Return the weights of a torch layer's next call.

    Parameters
    ----------
    module : torch.nn.Module
    ndim : int
        Number of axes of the weights.

    Returns
    -------
    array
        May share the module's memory.
    """
    if any(hasattr(value, "materialize") for value in getattr(module, "_parameters", {}).values()):
        msg = f"module must have initialized weights: apply {type_name(module)} to an input first"
        raise ValueError(msg)
    hooks = list(hooks_of(module))
    for word, hook in hooks:
        if not _renews(hook):
            refuse_hook("module", word, hook)
    before = _BeforeCall(module)
    for _, hook in hooks:
        hook(before, ())
    made = hooks or "weight" in _parametrizations(module)
    weights = attribute_of("module", before if made else module, "weight")
    return weights_of("module.weight", weights, ndim, REMEDY)


def _renews(hook: Any) -> bool:
    """Return whether a hook only recomputes a weight."""
    # these hooks are objects with a __call__ written in Python, unlike the __call__ of a function
    call = next((vars(cls)["__call__"] for cls in type(hook).__mro__ if "__call__" in vars(cls)), None)
    return getattr(call, "__globals__", {}).get("__name__") in RENEWING


def _parametrizations(module: Any) -> Any:
    return getattr(module, "parametrizations", {})


class _BeforeCall:
    """A stand-in for a module: reading an attribute copies it, and setting one does not change the module."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        # called only for attributes that have been neither set nor read
        module = self._module
        if name in _parametrizations(module):
            value = _parametrized(module, name)
        else:
            value = getattr(module, name)
            value = value.clone() if hasattr(value, "clone") else value
        setattr(self, name, value)
        return value


def _parametrized(module: Any, name: str) -> Any:
    """Return the value that a parametrized attribute will have when it is next read."""
    torch_parametrize = sys.modules.get("torch.nn.utils.parametrize")
    if (id(module), name) in getattr(torch_parametrize, "_cache", {}):
        # cached by torch.nn.utils.parametrize.cached(): reading it computes nothing
        return getattr(module, name)
    rule = _parametrizations(module)[name]
    title = f"module.{name}"
    remedy = "use torch.nn.utils.parametrize.remove_parametrizations first"
    try:
        value, again = (deepcopy(rule)() for _ in range(2))
    except Exception as error:
        msg = f"{title} must have a parametrization that can be copied; {remedy} ({shown(str(error))})"
        raise ValueError(msg) from error
    first, second = (weights_of(title, tensor, tensor.ndim, REMEDY) for tensor in (value, again))
    if not np.array_equal(first, second, equal_nan=True):
        msg = f"{title} must be the same in each call, but its parametrization changes them; {remedy}"
        raise ValueError(msg)
    return value
