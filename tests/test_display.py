"""What geometries and operators say of themselves: sizes and settings, entries and bytes."""

from html.parser import HTMLParser
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from operator_cases import GEOMETRIES, MODES, integers
from strategies import examples, geometries

import sparsetconv as stc
from sparsetconv._arrays import display
from sparsetconv._geometry.convolution import ConvGeometry
from sparsetconv.operators._channels_last import ChannelsLastOperator

CONV = stc.ConvOperator(np.ones((4, 3, 5, 5)), (3, 16, 16), stride=2, padding="same", padding_mode="reflect")
OTHER = stc.ConvTransposeOperator(
    np.ones((4, 2, 3), np.complex64), (4, 9), stride=2, groups=2, dilation=3, flip=True, method="gemm"
)
KERNEL = stc.KernelOperator(np.ones((3, 5)), (3, 2, 2), transposed=True)
RESIZE = stc.ResizeOperator((3, 8, 8), scale=(2, 1.5), mode="bicubic")
SHRINK = stc.ResizeOperator((12, 9), scale=1 / 3, mode="linear", antialias=True, dtype="float32")
AREA = stc.ResizeOperator((12, 9), scale=1 / 3, mode="area")


def lines(text):
    return dedent(text).strip("\n")


REPRS = {
    "conv": (CONV, """
        <256x768 ConvOperator, dtype=float64, method='sparse'
         (3, 16, 16) to (4, 8, 8), kernel (4, 3, 5, 5), stride 2, padding ((1, 2), (1, 2)) reflect
         16,428 entries, 193.5 KiB as CSR>"""),
    # what is not trivial is said; nothing is padded, so no mode
    "transposed": (OTHER, """
        <92x36 ConvTransposeOperator, dtype=complex64, method='gemm'
         (4, 9) to (4, 23), kernel (4, 2, 3), stride 2, padding 0, dilation 3, groups 2, flip True
         216 entries, 2.9 KiB as CSR>"""),
    # one mode for each axis, and pads that are the same on both sides
    "axes": (stc.ConvOperator(np.ones((2, 2)), (3, 4), padding=(1, 2), padding_mode=("reflect", "zeros")), """
        <28x12 ConvOperator, dtype=float64, method='sparse'
         (3, 4) to (4, 7), kernel (2, 2), stride 1, padding (1, 2) ('reflect', 'zeros')
         64 entries, 884 B as CSR>"""),
    "adjoint": (CONV.H, """
        <768x256 ConvTransposeOperator, dtype=float64, method='sparse'
         (4, 8, 8) to (3, 16, 16), kernel (4, 3, 5, 5), stride 2, padding ((1, 2), (1, 2)) reflect
         16,428 entries, 195.5 KiB as CSR>"""),
    "kernel": (KERNEL, """
        <12x12 KernelOperator, dtype=float64, transposed=True
         kernels (3, 2, 2) to (2, 6), x (3, 5), stride 1, padding 0
         60 entries, 772 B as CSR>"""),
    "kernel-adjoint": (KERNEL.H, """
        <12x12 adjoint of <12x12 KernelOperator, dtype=float64, transposed=True
         kernels (3, 2, 2) to (2, 6), x (3, 5), stride 1, padding 0
         60 entries, 772 B as CSR>>"""),
    # the transpose of what is not real is no adjoint
    "kernel-transpose": (stc.KernelOperator(np.ones((5, 6), complex), (2, 3)).T, """
        <6x16 transpose of <16x6 KernelOperator, dtype=complex128, transposed=False
         kernels (2, 3) to (4, 4), x (5, 6), stride 1, padding 0
         96 entries, 1.9 KiB as CSR>>"""),
    "gram": (SHRINK.gram(), """
        <108x108 Gram operator of <12x108 ResizeOperator, dtype=float32
         (12, 9) to (4, 3), mode linear, half_pixel, antialiased, scale 0.333333
         234 entries, 1.9 KiB as CSR>>"""),
    "resize": (RESIZE, """
        <576x192 ResizeOperator, dtype=float64
         (3, 8, 8) to (3, 16, 12), mode cubic, half_pixel, scale (1.0, 2.0, 1.5)
         7,056 entries, 84.9 KiB as CSR>"""),
    # cells have no coordinate mode
    "area": (AREA, """
        <12x108 ResizeOperator, dtype=float64
         (12, 9) to (4, 3), mode area, scale 0.333333
         108 entries, 1.3 KiB as CSR>"""),
    "channels-last": (ChannelsLastOperator(CONV), """
        <256x768 ChannelsLastOperator, dtype=float64, method='sparse'
         (16, 16, 3) to (8, 8, 4), kernel (4, 3, 5, 5), stride 2, padding ((1, 2), (1, 2)) reflect
         16,428 entries, 193.5 KiB as CSR>"""),
}  # fmt: skip


@pytest.mark.parametrize("name", REPRS)
def test_repr(name):
    operator, expected = REPRS[name]
    assert repr(operator) == lines(expected)


@pytest.mark.parametrize("name", [name for name in REPRS if name != "gram"])
def test_entries_and_bytes_are_those_of_the_matrix(name):
    operator = getattr(REPRS[name][0], "operator", REPRS[name][0])
    matrix = operator.tosparse()
    said = dict(operator._facts().matrix)
    assert said["entries"] == f"{matrix.nnz:,}"
    # int32 indices
    nbytes = matrix.data.nbytes + 4 * (matrix.nnz + matrix.shape[0] + 1)
    assert said["as CSR"] == display.size_of(nbytes)


@examples(200)
@given(geometries())
def test_geometry_repr_can_be_evaluated(case):
    kernel_shape, input_shape, options = case
    g = stc.ConvGeometry(input_shape, kernel_shape, **options)
    again = eval(repr(g), {"ConvGeometry": ConvGeometry})
    assert again == g
    assert hash(again) == hash(g)


def test_geometry_repr():
    assert repr(stc.ConvGeometry(5, 3)) == "ConvGeometry((5,), (3,))"
    g = stc.ConvGeometry((4, 8, 9), (6, 2, 3, 4), (1, 2), "same", 2, 2, ("reflect", "circular"), True)
    assert repr(g) == (
        "ConvGeometry((4, 8, 9), (6, 2, 3, 4), stride=(1, 2), padding=(2, 3), dilation=2, groups=2, "
        "padding_mode=('reflect', 'circular'), flip=True)"
    )


def test_geometry_str():
    g = stc.ConvGeometry((4, 8, 9), (6, 2, 3, 4), (1, 2), ((-1, 0), (1, 2)), 1, 2, "replicate")
    assert str(g) == lines("""
        ConvGeometry
          input    (4, 8, 9)
          output   (6, 5, 5)
          kernel   (6, 2, 3, 4)
          stride   (1, 2)
          padding  ((-1, 0), (1, 2)) replicate
          groups   2
          matrix   150 x 288
          entries  3,060
          as CSR   24.5 KiB in float32, 36.4 KiB in float64
    """)
    assert g.nnz == 3060


class Table(HTMLParser):
    """Read the rows of a table back, and what tags and attributes there were."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self.attributes, self.open = [], set(), set(), []
        self.feed(text)
        self.close()
        self.rows = dict(zip(self.cells[1::2], self.cells[2::2], strict=True))

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


@pytest.mark.parametrize("name", REPRS)
def test_html(name):
    operator, _ = REPRS[name]
    table = Table(operator._repr_html_())
    assert table.open == []
    # nothing is fetched, and no colour is set: legible on any background
    assert table.tags == {"div", "strong", "table", "tbody", "tr", "th", "td"}
    assert table.attributes == {("style", "text-align: left")}
    assert table.rows["dtype"] == str(operator.dtype)
    assert table.rows["output"] == str(operator.output_shape)
    assert table.rows["matrix"] == f"{operator.shape[0]:,} x {operator.shape[1]:,}"


def test_html_of_each():
    table = Table(CONV._repr_html_())
    assert table.cells[0] == "ConvOperator"
    assert table.rows == {
        "dtype": "float64",
        "method": "'sparse'",
        "input": "(3, 16, 16)",
        "output": "(4, 8, 8)",
        "kernel": "(4, 3, 5, 5)",
        "stride": "2",
        "padding": "((1, 2), (1, 2)) reflect",
        "matrix": "256 x 768",
        "entries": "16,428",
        "as CSR": "193.5 KiB",
    }
    gram = Table(CONV.gram()._repr_html_())
    assert gram.cells[0] == "Gram operator of ConvOperator"
    # of a product the entries are not known before it is multiplied
    assert "entries" not in gram.rows
    assert gram.rows["output"] == "(3, 16, 16)"
    assert Table(KERNEL.H._repr_html_()).cells[0] == "Adjoint of KernelOperator"
    geometry = Table(CONV.geometry._repr_html_())
    assert geometry.cells[0] == "ConvGeometry"
    assert geometry.rows["as CSR"] == "129.3 KiB in float32, 193.5 KiB in float64"


def test_html_is_escaped():
    facts = display.Facts("<b>", [("a & b", "<i>")], [], [])
    assert "<strong>&lt;b&gt;</strong>" in display.html(facts)
    assert "a &amp; b" in display.html(facts)
    assert "&lt;i&gt;" in display.html(facts)


def test_sizes():
    assert [display.size_of(n) for n in (0, 1023, 1024, 5 << 20, 3 << 40, 5000 << 40, 10**400)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 TiB",
        "5000.0 TiB",
        "9.1e+387 TiB",
    ]
    # eight bytes for each index, from 2**31 entries on
    assert display.csr_bytes(1, 1, 2**31, 4) - display.csr_bytes(1, 1, 2**31 - 1, 4) > 4 * 2**31


def test_a_large_geometry_is_described_at_once():
    g = stc.ConvGeometry((3, 10**6, 10**6), (8, 3, 31, 31), padding="same")
    assert "8,000,000,000,000 x 3,000,000,000,000" in str(g)


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_entries_of_kernel_operators(name, mode, transposed):
    kernel_shape, input_shape, options = GEOMETRIES[name]
    g = stc.ConvGeometry(input_shape, kernel_shape, padding_mode=mode, **options)
    x = integers(g.output_shape if transposed else g.input_shape, "float64")
    K = stc.KernelOperator.from_geometry(x, g, transposed=transposed)
    assert K.nnz == K.tosparse().nnz


@examples(150)
@given(geometries(max_ndim=2))
def test_entries_of_any_kernel_operator(case):
    kernel_shape, input_shape, options = case
    g = stc.ConvGeometry(input_shape, kernel_shape, **options)
    for transposed, shape in ((False, g.input_shape), (True, g.output_shape)):
        K = stc.KernelOperator.from_geometry(np.ones(shape), g, transposed=transposed)
        assert K.nnz == K.tosparse().nnz


class Silent:
    def __repr__(self):
        raise RuntimeError


class Loud:
    def __repr__(self):
        return "x" * 1_000_000


class Counted(list):
    """A list that counts how often its ``repr`` is asked for: that would take as long as it is large."""

    asked = 0

    def __repr__(self):
        Counted.asked += 1
        return super().__repr__()


def endless():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("same", "'same'"),
        ((1,), "(1,)"),
        ([], "[]"),
        (set(), "set()"),
        (frozenset({2}), "frozenset({2})"),
        ({"a": (0, 1)}, "{'a': (0, 1)}"),
        (tuple(range(16)), str(tuple(range(16)))),
        (np.zeros(3), "array([0., 0., 0.])"),
        (np.zeros((2, 1)), "array([[0.], [0.]])"),
        (np.zeros((1000, 1000)), "ndarray of shape (1000, 1000) and dtype float64"),
        (np.float64, "<class 'numpy.float64'>"),
        (slice(None, 10**400), "slice(None, an integer of about 401 digits, None)"),
        (-(10**100_000), "an integer of about 100,001 digits"),
        (range(10**30), "range(0, 1000000000000000000000000000000)"),
        (endless(), "[[[[...]]]]"),
        ([Silent(), 1], "[a value of type Silent, 1]"),
        (Counted(range(10**5)), "Counted of 100,000 entries"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_value_in_a_message(value, text):
    assert display.shown(value) == text
    assert Counted.asked == 0


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1_000_000,
        b"x" * 1_000_000,
        [[["deep"] * 50] * 50] * 50,
        dict.fromkeys(range(1000), "x" * 1000),
        ("x" * 1000,) * 1000,
        Loud(),
        {Loud(): Loud()},
        type("x" * 1000, (), {"__len__": lambda _: 1000})(),
        np.zeros((1,) * 60),
        np.zeros(20, [("x" * 40 + str(n), "f8") for n in range(1000)]),
    ],
    ids=["text", "bytes", "deep", "dict", "tuple", "loud", "loud-dict", "type", "axes", "fields"],
)
def test_value_in_a_message_is_short(value):
    assert 10 < len(display.shown(value)) <= display.LONGEST


SWAPPED = {
    "1d": ((7,), (5,), True),
    "2d": ((9, 8), (4, 5), True),
    # one axis alone is how long kernels are used
    "one-axis": ((9, 3), (4, 5), False),
    "as-long": ((4, 5), (4, 5), False),
    "channels": ((2, 3, 9, 8), (3, 4, 5), True),
    # channels are no signal
    "many-channels": ((2, 30, 3, 3), (30, 4, 5), False),
}


@pytest.mark.parametrize("name", SWAPPED)
def test_kernel_longer_than_the_signal_is_said(name):
    """It is legal, and a picture and a kernel that were swapped look the same: so no warning, but words."""
    kernel_shape, input_shape, expected = SWAPPED[name]
    A = stc.ConvOperator(np.ones(kernel_shape), input_shape, padding="same")
    for text in (repr(A), repr(A.T), A._repr_html_(), str(A.geometry)):
        assert ("longer than the signal" in text) is expected
    assert A.explain().endswith("are the two swapped?") is expected
    assert A.T.explain().endswith("are the two swapped?") is expected


def test_swapped_kernel_that_does_not_fit():
    with pytest.raises(
        ValueError, match=r"must fit into the padded input.* on every axis: are the two swapped\?$"
    ):
        stc.ConvOperator(np.ones((9, 8)), (4, 5))
    with pytest.raises(ValueError, match=r"padding \(0, 0\)\)$"):
        stc.ConvOperator(np.ones((9, 3)), (4, 5))
