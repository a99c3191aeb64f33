"""The geometry of a resize: the rule, the sizes and the positions of each axis.

A `ResizeAxis` has the rule, the sizes and the scale of one axis; all other code uses only these. Positions
are exact fractions.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import prod
from numbers import Rational, Real
from typing import Any, Literal, get_args

from sparsetconv._arrays.display import Rows, compact, shown
from sparsetconv._geometry import validation
from sparsetconv._geometry.padding import REPLICATE
from sparsetconv._resize.conventions import CONVENTIONS, OWN, Convention, Rule

MODE_ALIASES = {
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
    "tricubic": "cubic",
    "lanczos": "lanczos3",
}
ResizeMode = Literal[
    "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "lanczos3",
    "lanczos", "area",
]  # fmt: skip
KernelMode = Literal[
    "nearest", "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "lanczos3", "lanczos"
]
CoordinateMode = Literal[
    "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"
]
NearestMode = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
ConventionName = Literal["onnx", "torch", "opencv", "pillow", "tensorflow", "skimage"]
COORDINATE_MODES: tuple[CoordinateMode, ...] = get_args(CoordinateMode)
# the most samples of an axis: more than fit in any memory, and well within 64-bit indices
LARGEST = 2**62
NEAREST_MODES: tuple[NearestMode, ...] = get_args(NearestMode)


@dataclass(frozen=True)
class ResizeAxis:
    """One axis of a resize.

    Attributes
    ----------
    size, outputs : int
        Samples before and after the resize.
    scale : Fraction
        Outputs per sample, from which positions are computed; ``outputs / size`` unless a scale was given.
    rule : Rule
        How positions become weights.
    """

    size: int
    outputs: int
    scale: Fraction
    rule: Rule

    @property
    def is_identity(self) -> bool:
        """Whether the axis does not change."""
        return self.size == self.outputs and self.scale == 1

    @cached_property
    def line(self) -> tuple[Fraction, Fraction]:
        """Slope and start of the positions: output ``o`` is at sample position ``slope * o + start``."""
        mode, scale, half = self.rule.coordinate_mode, self.scale, Fraction(1, 2)
        if mode == "asymmetric":
            return 1 / scale, Fraction(0)
        if mode == "align_corners":
            length = scale * self.size
            return (Fraction(0) if length == 1 else (self.size - 1) / (length - 1)), Fraction(0)
        if mode == "pytorch_half_pixel" and self.outputs == 1:
            return Fraction(0), Fraction(0)
        start = half / scale - half
        if mode == "half_pixel_symmetric":
            start += Fraction(self.size, 2) - self.outputs / scale / 2
        return 1 / scale, start

    @property
    def shrinking(self) -> Fraction:
        """Samples per output, at least 1."""
        return max(Fraction(1), 1 / self.scale)


@dataclass(frozen=True)
class ResizeGeometry:
    """A resize of every axis; see `resize_geometry`."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    axes: tuple[ResizeAxis, ...]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return prod(self.output_shape), prod(self.input_shape)

    def _settings(self) -> Rows:
        """Return the rule of the axes that change, and the scales, for the ``repr`` of operators."""
        axes = [axis for axis in self.axes if not axis.is_identity] or self.axes
        rule = axes[0].rule
        words = [rule.kind, *([rule.coordinate_mode] if rule.has_positions else [])]
        if rule.smoothing != "none":
            words.append("antialiased")
        scales = compact(tuple(float(f"{float(axis.scale):.6g}") for axis in self.axes))
        return [("mode", ", ".join(words)), ("scale", str(scales))]


def resize_geometry(
    input_shape: Any,
    output_shape: Any,
    *,
    scale: Any,
    mode: Any,
    coordinate_mode: Any,
    nearest_mode: Any,
    cubic_coeff: Any,
    exclude_outside: Any,
    antialias: Any,
    convention: Any,
) -> ResizeGeometry:
    """Return the geometry of a resize.

    Parameters are those of `resize_matrix`; None stands for the default of the convention.
    """
    sizes = validation.shape("input_shape", input_shape)
    if convention is not None:
        convention = validation.word("convention", convention, tuple(CONVENTIONS))
    package = CONVENTIONS[convention] if convention else OWN
    rule = _rule(package, convention, mode, antialias)
    rule = _changed(rule, convention, coordinate_mode, nearest_mode, cubic_coeff, exclude_outside)
    pairs = _sizes_and_scales(sizes, output_shape, scale, package)
    if convention == "torch":
        if rule.coordinate_mode == "align_corners" and rule.smoothing != "none":
            msg = "antialias must be False with coordinate_mode='align_corners' in the torch convention"
            raise ValueError(msg)
        pairs = [
            (outputs, Fraction(outputs, n) if _torch_forgets(rule, n, outputs, len(sizes)) else ratio)
            for n, (outputs, ratio) in zip(sizes, pairs, strict=True)
        ]
    axes = tuple(
        ResizeAxis(n, outputs, ratio, rule) for n, (outputs, ratio) in zip(sizes, pairs, strict=True)
    )
    return ResizeGeometry(sizes, tuple(axis.outputs for axis in axes), axes)


def _torch_forgets(rule: Rule, size: int, outputs: int, ndim: int) -> bool:
    """Return whether torch computes positions from the sizes of an axis although a scale was given."""
    if rule.coordinate_mode == "align_corners":
        return True
    if rule.kind == "nearest" and rule.coordinate_mode == "asymmetric":
        return ndim == 2 and outputs in (size, 2 * size)
    return outputs == size and (rule.kind == "linear" or rule.smoothing == "stretch")


def canonical_mode(name: Any, known: tuple[str, ...]) -> str:
    """Return the mode that a name or alias stands for; raise an error that lists the modes if unknown."""
    aliases = tuple(alias for alias, mode in MODE_ALIASES.items() if mode in known)
    word = validation.word("mode", name, (*known, *aliases))
    return MODE_ALIASES.get(word, word)


def _rule(package: Convention, convention: str | None, mode: Any, antialias: Any) -> Rule:
    known = tuple(dict.fromkeys((*package.modes, *package.antialiased)))
    where = f" with convention={shown(convention)}" if convention else ""
    try:
        mode = canonical_mode(mode, known)
    except ValueError as error:
        msg = f"{error}{where}"
        raise ValueError(msg) from None
    if antialias is None:
        antialias = (package.antialias and mode in package.antialiased) or mode not in package.modes
    table = package.antialiased if validation.flag("antialias", antialias) else package.modes
    if mode not in table:
        msg = f"antialias must be {not antialias} with mode={shown(mode)}{where}, got {shown(antialias)}"
        raise ValueError(msg)
    return table[mode]


def _changed(
    rule: Rule,
    convention: str | None,
    coordinate_mode: Any,
    nearest_mode: Any,
    cubic_coeff: Any,
    exclude_outside: Any,
) -> Rule:
    """Return the rule with the options that the user has given."""
    changes: dict[str, Any] = {}
    given = {"nearest_mode": nearest_mode, "cubic_coeff": cubic_coeff}
    for name, kinds in (("nearest_mode", ("nearest_opencv", "nearest_pillow")), ("cubic_coeff", ("spline",))):
        if given[name] is not None and rule.kind in kinds:
            msg = (
                f"{name} must be left out here, convention={shown(convention)} has its own; "
                f"got {shown(given[name])}"
            )
            raise ValueError(msg)
    if coordinate_mode is not None:
        changes["coordinate_mode"] = validation.word("coordinate_mode", coordinate_mode, COORDINATE_MODES)
        if not rule.has_positions and coordinate_mode != "half_pixel":
            whose = f"convention={shown(convention)}" if convention else "mode='area'"
            msg = f"coordinate_mode must be left out here, {whose} has its own; got {shown(coordinate_mode)}"
            raise ValueError(msg)
    if nearest_mode is not None:
        changes["nearest_mode"] = validation.word("nearest_mode", nearest_mode, NEAREST_MODES)
    if cubic_coeff is not None:
        if isinstance(cubic_coeff, bool) or not isinstance(cubic_coeff, Real):
            msg = f"cubic_coeff must be a number, got {shown(cubic_coeff)}"
            raise TypeError(msg)
        changes["cubic_coeff"] = _finite("cubic_coeff", cubic_coeff)
    if exclude_outside is not None:
        changes["drops"] = validation.flag("exclude_outside", exclude_outside)
        if changes["drops"]:
            # if all taps would be left out, the edge sample is read
            changes["border"] = REPLICATE
    return replace(rule, **changes)


def _finite(name: str, number: Any) -> float:
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        msg = f"{name} must be finite, got {shown(number)}"
        raise ValueError(msg)
    return value


def _sizes_and_scales(
    sizes: tuple[int, ...], output_shape: Any, scale: Any, package: Convention
) -> list[tuple[int, Fraction]]:
    """Return the outputs and the scale of each axis; leading axes without a size or scale do not change."""
    if (output_shape is None) == (scale is None):
        msg = f"one of output_shape and scale must be given, got {shown(output_shape)} and {shown(scale)}"
        raise ValueError(msg)
    if scale is None:
        wanted = _for_last_axes("output_shape", output_shape, sizes)
        outputs = validation.shape("output_shape", wanted)
        kept = sizes[: len(sizes) - len(outputs)]
        return [(m, Fraction(m, n)) for n, m in zip(sizes, (*kept, *outputs), strict=True)]
    if validation.is_sequence(scale):
        scales = _for_last_axes("scale", scale, sizes)
        scales = (1,) * (len(sizes) - len(scales)) + scales
    else:
        scales = (scale,) * len(sizes)
    return [_scaled(i, n, s, package) for i, (n, s) in enumerate(zip(sizes, scales, strict=True))]


def _for_last_axes(name: str, value: Any, sizes: tuple[int, ...]) -> tuple[Any, ...]:
    values = tuple(value) if validation.is_sequence(value) else (value,)
    if not 1 <= len(values) <= len(sizes):
        msg = (
            f"{name} must have an entry for each of the last axes of input_shape {shown(sizes)}, "
            f"got {shown(value)}"
        )
        raise ValueError(msg)
    return values


def _scaled(number: int, size: int, scale: Any, package: Convention) -> tuple[int, Fraction]:
    exact, product = _exact_scale(scale, size)
    if product > LARGEST:
        msg = f"scale must leave less than 2**62 samples: axis {number} has {size}, which leaves too many"
        raise ValueError(msg)
    outputs = round(product) if package.rounds else math.floor(product)
    if outputs < 1:
        msg = (
            f"scale must leave at least one sample: axis {number} has {size}, "
            f"times {shown(scale)} that is {float(product):g}"
        )
        raise ValueError(msg)
    return outputs, exact if package.keeps_scale else Fraction(outputs, size)


def _exact_scale(scale: Any, size: int) -> tuple[Fraction, Fraction | float]:
    """Return a scale as the simplest fraction that rounds to it, and its product with a size."""
    if isinstance(scale, bool) or not isinstance(scale, Real):
        msg = (
            f"scale must be a positive number, one for all axes or one for each of the last, "
            f"got {shown(scale)}"
        )
        raise TypeError(msg)
    if not (isinstance(scale, Rational) or math.isfinite(scale)) or not bool(scale > 0):  # type: ignore[operator]
        msg = f"scale must be positive and finite, got {shown(scale)}"
        raise ValueError(msg)
    if isinstance(scale, Rational):
        exact = Fraction(operator.index(scale)) if hasattr(scale, "__index__") else Fraction(scale)
        return exact, exact * size
    given = float(scale)
    simple = Fraction(given).limit_denominator(1 << 20)
    # the product in floating point, as in torch and ONNX, so that sizes agree with theirs
    return simple if float(simple) == given else Fraction(given), given * size
