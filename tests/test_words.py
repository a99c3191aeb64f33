"""Words that parameters take: types for a checker, tuples at run time, and the tables behind them agree."""

import inspect
from typing import get_args

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv._arrays.backend import DEVICES, Device
from sparsetconv._assembly.formats import FORMATS, Format
from sparsetconv._geometry import padding, validation
from sparsetconv._learning import fit
from sparsetconv._methods.registry import GPU_METHODS, METHODS, MethodName
from sparsetconv._resize import geometry, matrices
from sparsetconv._resize.conventions import CONVENTIONS, OWN
from sparsetconv.pictures import MODES
from sparsetconv.pictures._enlarge import EnlargeMode


def test_types_and_tables_agree():
    """A type cannot be computed: what stands in a table stands in the type beside it."""
    assert get_args(padding.OwnMode) == padding.PADDING_MODES == tuple(padding.PADDING)
    assert get_args(padding.ModeAlias) == tuple(padding.ALIASES)
    assert get_args(MethodName) == ("auto", *METHODS)
    assert set(GPU_METHODS) == set(METHODS)
    assert get_args(geometry.ConventionName) == tuple(CONVENTIONS)
    known = {mode for each in (OWN, *CONVENTIONS.values()) for mode in (*each.modes, *each.antialiased)}
    assert set(get_args(geometry.ResizeMode)) == known | set(geometry.MODE_ALIASES)


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (validation.PaddingWord, validation.PADDING_WORDS),
        (Format, FORMATS),
        (Device, DEVICES),
        (matrices.SamplingFormat, matrices.SAMPLING_FORMATS),
        (geometry.CoordinateMode, geometry.COORDINATE_MODES),
        (geometry.NearestMode, geometry.NEAREST_MODES),
        (fit.FitMethod, fit.METHODS),
        (EnlargeMode, MODES),
    ],
)
def test_tuples_come_from_types(type_, words):
    assert get_args(type_) == words


X = np.arange(12.0).reshape(3, 4)
# what is called with each word of a type: none is refused, and any other is
CALLS = {
    "padding": (validation.PaddingWord, lambda word: stc.conv_matrix(X[:2, :3], X.shape, padding=word)),
    "padding_mode": (padding.OwnMode, lambda word: stc.ConvGeometry(5, 3, padding_mode=word)),
    "alias": (padding.ModeAlias, lambda word: stc.ConvGeometry(5, 3, padding_mode=(word,))),
    "method": (MethodName, lambda word: stc.ConvOperator(X[:2, :3], X.shape, method=word)),
    "format": (Format, lambda word: stc.conv_matrix([1.0, 2.0], 4, padding=((2, 0),) if word == "bsr" else 0, stride=2 if word == "bsr" else 1, format=word)),
    "resize format": (matrices.SamplingFormat, lambda word: stc.resize_matrix(3, 4, format=word)),
    "mode": (geometry.ResizeMode, lambda word: stc.resize_matrix(3, 4, mode=word, convention="torch" if word == "nearest-exact" else None)),
    "coordinate_mode": (geometry.CoordinateMode, lambda word: stc.ResizeOperator(3, 4, coordinate_mode=word)),
    "nearest_mode": (geometry.NearestMode, lambda word: stc.ResizeOperator(3, 4, mode="nearest", nearest_mode=word)),
    "convention": (geometry.ConventionName, lambda word: stc.ResizeOperator(3, 4, convention=word)),
    "kernel": (geometry.KernelMode, lambda word: stc.interpolation_kernel(word, 2)),
    "fit": (fit.FitMethod, lambda word: stc.fit_kernel([X], [X], (1, 1), method=word)),
    "upsample": (EnlargeMode, lambda word: stc.pictures.upsample(X, 2, word)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_word_is_taken_and_no_other(name):
    type_, call = CALLS[name]
    for word in get_args(type_):
        call(word)
    with pytest.raises(ValueError, match=r"must be one of .*got 'nonsense'"):
        call("nonsense")


@pytest.mark.parametrize(
    "function", [stc.conv_matrix, stc.conv_transpose_matrix, stc.resize_matrix, stc.zero_insertion_matrix]
)
def test_types_of_options_are_those_of_the_function(function):
    """What a checker knows of the keywords, beside the format, is written down a second time."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(inspect.getsourcefile(function)).read_text())
    fields = {
        node.name: (
            node.bases[0].id,
            [field.target.id for field in node.body if isinstance(field, ast.AnnAssign)],
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    overload = next(
        node for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__ and node.decorator_list
    )  # fmt: skip
    name, known = overload.args.kwarg.annotation.slice.id, []
    while name in fields:
        name, own = fields[name]
        known += own
    named = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert sorted([*known, "format"]) == sorted(named)
