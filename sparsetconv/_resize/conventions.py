"""The rules by which other packages resize, as data: a table from modes to rules for each package.

``interpolation`` turns a rule into weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sparsetconv._geometry.padding import REFLECT, REPLICATE, PaddingMode

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Rule:
    """How one mode turns positions into weights.

    Attributes
    ----------
    kind : str
        ``nearest``, ``linear``, ``cubic``, ``lanczos3``, ``spline``, ``area``, ``adaptive_average``; or a
        package's own nearest, ``nearest_opencv`` and ``nearest_pillow``.
    coordinate_mode, nearest_mode, cubic_coeff : str, str, float
        As for `resize_matrix`.
    border : PaddingMode
        What a tap outside the signal reads.
    drops : bool
        Whether it reads nothing instead, and the other weights are scaled up.
    smoothing : str
        Antialiasing where the array shrinks: ``none``, ``stretch`` the kernel, or a ``gaussian`` filter
        before.
    """

    kind: str
    coordinate_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff: float = -0.75
    border: PaddingMode = REPLICATE
    drops: bool = False
    smoothing: str = "none"

    @property
    def has_positions(self) -> bool:
        """Whether the coordinate mode matters: ``area`` and a package's own nearest have fixed positions."""
        return self.kind in ("nearest", "linear", "cubic", "lanczos3", "spline")


@dataclass(frozen=True)
class Convention:
    """The rules of a package: for each mode without and with antialiasing, and how it takes a scale."""

    modes: Mapping[str, Rule]
    antialiased: Mapping[str, Rule] = field(default_factory=dict)
    # the package's default for antialiasing
    antialias: bool = False
    # whether n * scale is rounded to the output's size, else it is truncated
    rounds: bool = False
    # whether positions follow the given scale, else the ratio of the sizes
    keeps_scale: bool = True


def _stretched(**rules: Rule) -> dict[str, Rule]:
    return {mode: replace(rule, smoothing="stretch") for mode, rule in rules.items()}


_ONNX = {"nearest": Rule("nearest"), "linear": Rule("linear"), "cubic": Rule("cubic")}
_LANCZOS = Rule("lanczos3", drops=True)
_KEYS = Rule("cubic", cubic_coeff=-0.5, drops=True)
_DROPPED = Rule("linear", drops=True)
_ROUNDED = Rule("nearest", nearest_mode="round_prefer_ceil")
_STRETCHED = _stretched(linear=_DROPPED, cubic=_KEYS, lanczos3=_LANCZOS)
_SPLINE = {"linear": Rule("linear", border=REFLECT), "cubic": Rule("spline", border=REFLECT)}
_OWN = _ONNX | {"lanczos3": _LANCZOS, "area": Rule("area")}

CONVENTIONS = {
    "onnx": Convention(_ONNX, _stretched(linear=_ONNX["linear"], cubic=_ONNX["cubic"])),
    "torch": Convention(
        {
            "nearest": Rule("nearest", "asymmetric", "floor"),
            "nearest-exact": _ROUNDED,
            "linear": _ONNX["linear"],
            "cubic": _ONNX["cubic"],
            "area": Rule("adaptive_average"),
        },
        _stretched(linear=_DROPPED, cubic=_KEYS),
    ),
    "opencv": Convention(
        {
            "nearest": Rule("nearest_opencv"),
            "linear": _ONNX["linear"],
            "cubic": _ONNX["cubic"],
            "area": Rule("area"),
        },
        rounds=True,
    ),
    "pillow": Convention(
        {"nearest": Rule("nearest_pillow")}, _STRETCHED, antialias=True, rounds=True, keeps_scale=False
    ),
    "tensorflow": Convention(
        {
            "nearest": _ROUNDED,
            "linear": _ONNX["linear"],
            "cubic": _KEYS,
            "lanczos3": _LANCZOS,
            "area": Rule("area"),
        },
        _STRETCHED,
        keeps_scale=False,
    ),
    "skimage": Convention(
        {"nearest": _ROUNDED, **_SPLINE},
        {mode: replace(rule, smoothing="gaussian") for mode, rule in _SPLINE.items()},
        antialias=True,
        rounds=True,
        keeps_scale=False,
    ),
}
# without a convention: ONNX's rules, and rules for modes that ONNX does not have
OWN = Convention(_OWN, _stretched(**{mode: _OWN[mode] for mode in ("linear", "cubic", "lanczos3")}))
