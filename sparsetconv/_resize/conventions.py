"""The rules by which other packages resize, as data: for each package a table of the rule of each mode.

``interpolation`` computes the weights of a rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sparsetconv._geometry.padding import REFLECT, REPLICATE, PaddingMode

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Rule:
    """The rule by which a mode turns positions into weights.

    Attributes
    ----------
    kind : str
        ``nearest``, ``linear``, ``cubic``, ``lanczos3``, ``spline``, ``area``, ``adaptive_average``; or the
        nearest rule of one package, ``nearest_opencv`` or ``nearest_pillow``.
    coordinate_mode, nearest_mode, cubic_coeff : str, str, float
        As for `resize_matrix`.
    border : PaddingMode
        What a tap outside the signal reads.
    drops : bool
        Whether taps outside the signal are left out instead, and the other weights scaled up.
    smoothing : str
        Antialiasing if the array shrinks: ``none``, ``stretch`` (the kernel is stretched), or ``gaussian``
        (a Gaussian filter is applied first).
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
        """Whether the coordinate mode has an effect; ``area`` and the packages' nearest rules ignore it."""
        return self.kind in ("nearest", "linear", "cubic", "lanczos3", "spline")


@dataclass(frozen=True)
class Convention:
    """The rules of a package, by mode, without and with antialiasing; and its treatment of a scale."""

    modes: Mapping[str, Rule]
    antialiased: Mapping[str, Rule] = field(default_factory=dict)
    # the package's default for antialiasing
    antialias: bool = False
    # whether the output's size is n * scale rounded, else truncated
    rounds: bool = False
    # whether positions are computed from the given scale, else from the ratio of the sizes
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
# the default without a convention: ONNX's rules, and rules for modes that ONNX does not have
OWN = Convention(_OWN, _stretched(**{mode: _OWN[mode] for mode in ("linear", "cubic", "lanczos3")}))
