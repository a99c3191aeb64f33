"""Sizes, words and errors of `ConvGeometry` and its transposed side."""

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from strategies import MODES, examples, geometries

import sparsetconv as stc
from sparsetconv._geometry.convolution import PARAMETERS
from sparsetconv._geometry.transposed import conv_transpose_geometry


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 5, 6, 7])
def test_same_is_tensorflows_rule(size, dilation, taps, stride):
    extent = dilation * (taps - 1) + 1
    total = max(extent - stride, 0) if size % stride == 0 else max(extent - size % stride, 0)
    for word, before in (("same", total // 2), ("same_lower", total - total // 2)):
        g = stc.ConvGeometry(size, taps, stride, word, dilation)
        assert g.output_shape == (-(-size // stride),)
        assert g.padding == ((before, total - before),)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("valid", ((0, 0), (0, 0))),
        ("full", ((2, 2), (4, 4))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 2), (0, 3)), ((1, 2), (0, 3))),
        ((1, (0, 3)), ((1, 1), (0, 3))),
        ((-1, (2, -1)), ((-1, -1), (2, -1))),
        (np.array([1, 2]), ((1, 1), (2, 2))),
    ],
    ids=str,
)
def test_padding_forms(padding, expected):
    assert stc.ConvGeometry((9, 9), (3, 3), padding=padding, dilation=(1, 2)).padding == expected


def test_numpy_mode_names_are_aliases():
    g = stc.ConvGeometry((9, 9, 9), (3, 3, 3), padding_mode=("constant", "edge", "wrap"))
    assert g.padding_mode == ("zeros", "replicate", "circular")


def test_is_a_value():
    g = stc.ConvGeometry((3, 9, 9), (4, 3, 2, 2), stride=(2, 1), padding="same")
    assert g == stc.ConvGeometry([3, 9, 9], [4, 3, 2, 2], stride=[2, 1], padding="same")
    assert pickle.loads(pickle.dumps(g)) == g
    assert hash(g) == hash(pickle.loads(pickle.dumps(g)))
    with pytest.raises(AttributeError):
        g.stride = (1, 1)


def test_sizes_past_the_machine_cost_nothing():
    g = stc.ConvGeometry((10**6, 10**6, 10**6), (9, 9, 9), padding="same", padding_mode="reflect")
    # reflection folds the taps beyond a border onto taps that are there: 9, 8, 7, 6, ... columns
    along = 9 * (10**6 - 8) + 2 * (5 + 6 + 7 + 8)
    assert g.nnz == along**3
    assert g.index_dtype == np.int64
    assert g.nbytes(np.float32) == g.nnz * 12 + (10**18 + 1) * 8


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ndim", [1, 12])
def test_everything_is_known_in_a_moment(mode, ndim):
    """Numbers up to 2**62 on every axis: sizes, entries, and what is shown of them."""
    n, k, d = 2**61 - 1, 2**60 + 5, 2**30 + 7
    for taps, stride, padding, dilation in (
        (k, 1, "full", 1),
        (k, 2**20 + 1, "same", 1),
        (k // d, 3, 2**61, d),
    ):
        g = stc.ConvGeometry((n,) * ndim, (taps,) * ndim, stride, padding, dilation, padding_mode=mode)
        (axis,) = set(g.axes)
        assert 0 < axis.nnz <= axis.outputs * min(axis.taps, axis.size)
        assert g.nnz == axis.nnz**ndim
        assert g.nbytes("float32") == g.nnz * 12 + (g.matrix_shape[0] + 1) * 8
        for text in (repr(g), str(g), g._repr_html_()):
            assert len(text) < 2000 + 600 * ndim


def test_entries_of_a_kernel_far_longer_than_its_signal():
    n = 10**7
    assert stc.ConvGeometry(n, n, padding="full").nnz == n * n
    # every output of a full wrap reads every sample once
    g = stc.ConvGeometry(n, n, padding="full", padding_mode="circular")
    assert g.nnz == (2 * n - 1) * n


def test_index_dtype_switches_where_int32_ends():
    # one entry for each row: nnz == rows
    assert stc.ConvGeometry(2**31 - 1, 1).index_dtype == np.int32
    assert stc.ConvGeometry(2**31, 1).index_dtype == np.int64
    # few rows and columns, many entries
    assert stc.ConvGeometry((1, 65536), (65536, 1, 1)).index_dtype == np.int64


@examples(300)
@given(geometries())
def test_transposed_geometry_leads_back(case):
    """From the output of a forward convolution its transpose reaches the same input again."""
    kernel_shape, input_shape, options = case
    forward = stc.ConvGeometry(input_shape, kernel_shape, **options)
    for axis in forward.axes:
        # pads that leave the whole kernel outside need a size that output_shape does not reach
        left = axis.size + axis.before + axis.after - axis.extent - (axis.outputs - 1) * axis.stride
        assume(left < axis.stride)
    back = conv_transpose_geometry(
        forward.output_shape, kernel_shape, output_shape=forward.input_shape[-forward.ndim :], **options
    )
    assert back.input_shape == forward.input_shape
    assert back.output_shape == forward.output_shape
    assert [a.before for a in back.axes] == [a.before for a in forward.axes]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 5),  # (3 - 1) * 1 + 3
        ({"stride": 2}, 7),
        ({"stride": 2, "padding": 1}, 5),
        ({"stride": 2, "padding": 1, "output_padding": 1}, 6),
        ({"stride": 2, "padding": ((1, 0),), "output_padding": 1}, 7),
        ({"stride": 2, "dilation": 3, "output_padding": 2}, 13),  # past the stride
        ({"stride": 2, "padding": "same"}, 6),
        ({"stride": 5, "padding": "same"}, 15),  # kernel shorter than the stride
        ({"stride": 2, "padding": "same_lower", "output_shape": 5}, 5),
        ({"stride": 2, "padding": "full"}, 3),
        ({"padding": -2}, 9),
        ({"stride": 2, "output_shape": (8,)}, 8),
    ],
    ids=str,
)
def test_transposed_sizes(options, expected):
    T = stc.conv_transpose_matrix(np.arange(1, 4), 3, **options)
    assert T.shape == (expected, 3)


@pytest.mark.parametrize(
    ("word", "wanted", "before"),
    [("same", 6, 0), ("same_lower", 6, 1), ("same", 5, 1), ("same_lower", 5, 1), ("same", 7, 0)],
)
def test_transposed_same_splits_the_total(word, wanted, before):
    g = conv_transpose_geometry(3, 3, stride=2, padding=word, output_shape=wanted)
    assert g.padding[0][0] == before
    assert g.input_shape == (wanted,)


def raises(error, match, *args, **options):
    with pytest.raises(error, match=match):
        stc.ConvGeometry(*args, **options)


@pytest.mark.parametrize(
    ("args", "options", "error", "match"),
    [
        # ranks
        (((4, 4), (3,)), {}, ValueError, r"kernel_shape must have as many axes .* got kernel_shape \(3,\)"),
        (((4,), (2, 1, 1, 3)), {}, ValueError, "kernel_shape must have as many axes"),
        (((), ()), {}, ValueError, "input_shape must have at least one axis"),
        # lengths
        (
            ((4, 4), (3, 3)),
            {"stride": (1, 2, 3)},
            ValueError,
            r"stride must be one integer .* 2 spatial axes",
        ),
        (
            ((4, 4), (3, 3)),
            {"padding": (1, 2, 3)},
            ValueError,
            r"padding must be one integer.*got \(1, 2, 3\)",
        ),
        (((4,), (3,)), {"padding": (1, 2)}, ValueError, r"write \(\(before, after\),\)"),
        (((4, 4), (3, 3)), {"padding": (1, (1, 2, 3))}, ValueError, r"padding\[1\] must be an integer or a"),
        (
            ((4, 4), (3, 3)),
            {"padding_mode": ("zeros",)},
            ValueError,
            "padding_mode must be one word or one for",
        ),
        # types
        (((4, 4), (3, 3)), {"stride": 1.0}, TypeError, r"stride must be an integer, got 1.0 of type float"),
        # the entries of a set come in an order of its own
        (
            ((4, 4), (3, 3)),
            {"stride": {2, 1}},
            TypeError,
            r"stride must be an integer, got {1, 2} of type set",
        ),
        (((4, 4), (3, 3)), {"padding": {1: 0, 2: 0}}, TypeError, "padding must be an integer or one of"),
        (
            ((4, 4), (3, 3)),
            {"padding_mode": {"zeros", "reflect"}},
            TypeError,
            "padding_mode must be a string",
        ),
        (({4, 5}, (3, 3)), {}, TypeError, r"input_shape\[0\] must be an integer, got {4, 5} of type set"),
        (((4, 4), (3, 3)), {"stride": True}, TypeError, "stride must be an integer, got True"),
        (((4, 4.5), (3, 3)), {}, TypeError, r"input_shape\[1\] must be an integer, got 4.5"),
        (
            ((4, 4), (3, 3)),
            {"padding": ("same", 1)},
            TypeError,
            r"padding\[0\] must be an integer, got 'same'",
        ),
        (
            ((4, 4), (3, 3)),
            {"padding": None},
            TypeError,
            "padding must be an integer or one of valid, .* got None",
        ),
        (((4, 4), (3, 3)), {"flip": np.ones(2)}, TypeError, "flip must be True or False, got array"),
        (((4, 4), (3, 3)), {"flip": "no"}, TypeError, "flip must be True or False, got 'no'"),
        (((4, 4), (3, 3)), {"padding_mode": 3}, TypeError, "padding_mode must be a string, got 3"),
        # values
        (((4, 0), (3, 3)), {}, ValueError, r"input_shape\[1\] must be at least 1, got 0"),
        (((4, 4), (3, -3)), {}, ValueError, r"kernel_shape\[1\] must be at least 1, got -3"),
        (((4, 4), (3, 3)), {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        (((4, 4), (3, 3)), {"dilation": (1, 0)}, ValueError, r"dilation\[1\] must be at least 1, got 0"),
        (
            ((4, 4), (3, 3)),
            {"stride": 10**30},
            ValueError,
            r"stride must be smaller than 2\*\*62, got 10{30}",
        ),
        (
            ((4, 4), (3, 3)),
            {"padding": -(2**62)},
            ValueError,
            r"padding must be smaller than 2\*\*62, got -4",
        ),
        # channels
        (
            ((3, 4), (4, 1, 3)),
            {"groups": 2},
            ValueError,
            "groups must divide both .* groups=2 for 3 input and 4",
        ),
        (((4, 4), (3, 2, 3)), {"groups": 2}, ValueError, "groups must divide both"),
        (((4, 4), (4, 4, 3)), {"groups": 2}, ValueError, r"kernel_shape\[1\] must be .* 4 // 2 = 2, got"),
        (((4, 4), (3, 3)), {"groups": 2}, ValueError, "groups must be 1 where there are no channels, got 2"),
        # words
        (
            ((4, 4), (3, 3)),
            {"padding": "sane"},
            ValueError,
            "one of valid, same, same_lower, full; got 'sane'",
        ),
        (
            ((4, 4), (3, 3)),
            {"padding_mode": "mirror"},
            ValueError,
            "zeros, reflect, symmetric, replicate, circ",
        ),
        # fit
        (((4, 4), (3, 5)), {}, ValueError, "spatial axis 1 it spans 5 samples .* the input has 4"),
        (((4,), (3,)), {"padding": -1}, ValueError, r"input has 2 \(4 with padding \(-1, -1\)\)$"),
        (((1, 3, 8, 8), (8, 3, 3, 3)), {}, ValueError, "if the first axis is a batch, leave it out$"),
    ],
)
def test_bad_geometry(args, options, error, match):
    raises(error, match, *args, **options)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"output_padding": 2, "stride": 2}, ValueError, r"less than max\(stride, dilation\) = 2 .* got 2"),
        ({"output_padding": -1}, ValueError, "output_padding must be at least 0, got -1"),
        ({"output_shape": 9, "stride": 2}, ValueError, "must lie between 7 and 8 .* got 9"),
        ({"output_shape": 6, "stride": 2}, ValueError, "must lie between 7 and 8 .* got 6"),
        (
            {"output_shape": 20, "stride": 2, "padding": "same"},
            ValueError,
            "must lie between 3 and 8 .* got 20",
        ),
        (
            {"output_shape": (5, 5)},
            ValueError,
            "output_shape must have one size for each of the 1 spatial axes",
        ),
        (
            {"output_shape": 5, "output_padding": 1, "dilation": 2},
            ValueError,
            "only one of output_padding and output_shape",
        ),
        (
            {"output_padding": 1, "stride": 2, "padding": "same"},
            ValueError,
            "output_padding must be 0 with padding='same'",
        ),
        ({"padding": 9}, ValueError, "padding must leave an output"),
    ],
    ids=str,
)
def test_bad_transposed(options, error, match):
    with pytest.raises(error, match=match):
        stc.conv_transpose_matrix(np.arange(3), 3, **options)


def test_bad_transposed_channels():
    with pytest.raises(ValueError, match="first entry must be the 3 channels"):
        stc.conv_transpose_matrix(np.ones((2, 3, 5)), (3, 9))
    with pytest.raises(ValueError, match="output_shape must begin with the 2 output channels"):
        stc.conv_transpose_matrix(np.ones((3, 2, 5)), (3, 9), output_shape=(3, 13))


def test_what_a_geometry_has():
    """Its parameters and what follows from them; how it is made without checks is nobody else's."""
    names = {name for name in dir(stc.ConvGeometry((4,), (2,))) if not name.startswith("_")}
    follows = {"axes", "channels", "has_channels", "index_dtype", "matrix_shape", "nbytes", "ndim", "nnz"}
    assert names == {*PARAMETERS, *follows, "output_shape"}
