"""The Conv and ConvTranspose tests that the onnx package carries, and its equations for automatic padding."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import sparsetconv as stc

onnx = pytest.importorskip("onnx")

from onnx.backend.test import loader  # noqa: E402
from onnx.backend.test.case.node import conv, convtranspose  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

# Left out, since they are not the plain convolution of two arrays: ConvInteger and QLinearConv (quantised,
# with zero points), DeformConv (sampled at learned offsets), CausalConvWithState (carries a state).
OPERATORS = ("Conv", "ConvTranspose")
AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


class Case(NamedTuple):
    operator: str
    attributes: dict[str, Any]
    inputs: list[np.ndarray]
    output: np.ndarray


def node_attributes(node):
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}


def node_cases():
    """Run the functions that generate onnx's node tests, and keep what they expect."""
    found = {}
    for module, owner in ((conv, conv.Conv), (convtranspose, convtranspose.ConvTranspose)):

        def keep(node, inputs, outputs, name, **_):
            if node.op_type in OPERATORS:
                found[name] = Case(node.op_type, node_attributes(node), inputs, outputs[0])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "expect", keep)
            for name in dir(owner):
                if name.startswith("export"):
                    getattr(owner, name)()
    return found


def stored_cases():
    """Read the tests stored as models of one Conv or ConvTranspose, which torch once wrote."""
    found = {}
    for kind in ("pytorch-converted", "pytorch-operator"):
        for test in loader.load_model_tests(kind=kind):
            folder = Path(test.model_dir)
            graph = onnx.load(folder / "model.onnx").graph
            if len(graph.node) != 1 or graph.node[0].op_type not in OPERATORS:
                continue
            weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
            data = {
                file.stem: onnx.numpy_helper.to_array(onnx.load_tensor(file))
                for file in (folder / "test_data_set_0").glob("*.pb")
            }
            node = graph.node[0]
            inputs = [data["input_0"], *(weights[name] for name in node.input[1:])]
            found[test.name] = Case(node.op_type, node_attributes(node), inputs, data["output_0"])
    return found


NODE_CASES = node_cases()
STORED_CASES = stored_cases()


def options_of(case):
    """Map a node's attributes to our parameters."""
    attributes = case.attributes
    ndim = case.inputs[1].ndim - 2
    pads = attributes.get("pads", [0] * 2 * ndim)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    options = {
        "stride": attributes.get("strides", 1),
        "dilation": attributes.get("dilations", 1),
        "groups": attributes.get("group", 1),
        # ONNX lists what comes before each axis first
        "padding": list(zip(pads[:ndim], pads[ndim:], strict=True)),
    }
    if auto_pad != "NOTSET":
        words = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
        options["padding"] = words[auto_pad]
    if case.operator == "ConvTranspose":
        options |= sizes_of_transposed(case, auto_pad)
    return options


def sizes_of_transposed(case, auto_pad):
    attributes = case.attributes
    shape, extra = attributes.get("output_shape"), attributes.get("output_padding", 0)
    if shape is None and (auto_pad in ("NOTSET", "VALID") or not np.any(extra)):
        return {"output_padding": extra}
    if shape is None:
        strides = attributes.get("strides", [1] * len(extra))
        shape = [n * s for n, s in zip(case.inputs[0].shape[2:], strides, strict=True)]
    if not np.any(extra):
        # explicit pads are ignored; only SAME_UPPER puts the smaller half first
        return {"output_shape": shape, "padding": "same" if auto_pad == "SAME_UPPER" else "same_lower"}
    # with an output_shape, output_padding only takes part in the total that is cropped
    rows = zip(spans_of(case), shape, np.broadcast_to(extra, len(shape)), strict=True)
    totals = [max(span + more - size, 0) for span, size, more in rows]
    befores = [total // 2 if auto_pad == "SAME_UPPER" else -(-total // 2) for total in totals]
    afters = [span - size - before for span, size, before in zip(spans_of(case), shape, befores, strict=True)]
    return {"padding": list(zip(befores, afters, strict=True))}


def spans_of(case):
    """Return how far the windows of a transposed convolution reach, axis by axis."""
    sizes, taps = case.inputs[0].shape[2:], case.inputs[1].shape[2:]
    strides = case.attributes.get("strides", [1] * len(taps))
    dilations = case.attributes.get("dilations", [1] * len(taps))
    return [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(sizes, taps, strides, dilations, strict=True)]


def outputs_of(case):
    """Return what the matrix, the operator, and that of `from_onnx` give for a case, with the bias added."""
    x, kernel, *bias = case.inputs
    matrix_of, operator_of = {
        "Conv": (stc.conv_matrix, stc.ConvOperator),
        "ConvTranspose": (stc.conv_transpose_matrix, stc.ConvTransposeOperator),
    }[case.operator]
    options = options_of(case)
    operator = operator_of(kernel, x.shape[1:], **options)
    columns = matrix_of(kernel, x.shape[1:], **options) @ x.reshape(len(x), -1).T
    by_matrix = columns.T.reshape(len(x), *operator.output_shape)
    ndim = kernel.ndim - 2
    shift = bias[0].reshape(-1, *(1,) * ndim) if bias else kernel.dtype.type(0)
    converted = stc.from_onnx(case.attributes, kernel, x.shape[1:], op_type=case.operator)
    assert converted.geometry == operator.geometry
    return by_matrix + shift, operator.apply(x) + shift, converted.apply(x) + shift


def ids(table):
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in table.items()])


def test_the_cases_were_found():
    # no case, and the tests below would pass by not running
    operators = [case.operator for case in NODE_CASES.values()]
    assert operators.count("Conv") >= 6
    assert operators.count("ConvTranspose") >= 11
    operators = [case.operator for case in STORED_CASES.values()]
    assert operators.count("Conv") >= 27
    assert operators.count("ConvTranspose") >= 3
    assert sum(len(case.inputs) == 3 for case in STORED_CASES.values()) >= 20, "those with a bias"


@ids(NODE_CASES)
def test_node_case(case):
    # small integers throughout
    for ours in outputs_of(case):
        np.testing.assert_array_equal(ours, case.output, strict=True)


@ids(STORED_CASES)
def test_stored_case(case):
    # random float32 data
    assert case.output.dtype == np.float32
    for ours in outputs_of(case):
        np.testing.assert_allclose(ours, case.output, rtol=1e-4, atol=1e-5, strict=True)


# The cases above have kernels of ones, or no automatic padding. These have neither.
# kernel shape (as ONNX has it), input shape, attributes
FURTHER_CONV = {
    # an odd total on the first axis, an even one on the second
    "2d-same": ((3, 2, 4, 3), (2, 2, 7, 6), {}),
    # strides that leave different totals
    "2d-same-strides": ((2, 2, 4, 2), (1, 2, 7, 9), {"strides": [2, 3]}),
    # a dilated even kernel
    "2d-same-dilations": ((2, 1, 2, 4), (1, 1, 8, 9), {"dilations": [3, 1], "strides": [1, 2]}),
    # groups, one axis
    "1d-groups": ((4, 2, 4), (2, 4, 9), {"group": 2, "strides": [2]}),
    # a stride that steps over samples, where no padding is needed
    "1d-stride-over-kernel": ((2, 1, 2), (1, 1, 9), {"strides": [4]}),
    # three axes
    "3d": ((2, 1, 2, 3, 4), (1, 1, 4, 5, 6), {"strides": [1, 2, 1]}),
}
FURTHER_TRANSPOSED = {
    # an odd total on the first axis, an even one on the second
    "2d-odd-even": ((2, 3, 3, 4), (2, 2, 4, 3), {"strides": [2, 2]}),
    # a dilated even kernel
    "2d-dilations": ((1, 2, 2, 4), (1, 1, 3, 4), {"strides": [1, 2], "dilations": [2, 1]}),
    # no stride
    "1d": ((2, 2, 4), (1, 2, 5), {}),
    # three axes
    "3d": ((1, 2, 2, 3, 4), (1, 1, 2, 3, 2), {"strides": [1, 2, 3]}),
    # a size of its own, for which the first axis keeps more than n * stride
    "2d-output-shape": ((2, 1, 4, 4), (1, 2, 3, 4), {"strides": [2, 2], "output_shape": [7, 5]}),
}


def draw_case(operator, kernel_shape, input_shape, attributes, seed):
    rng = np.random.default_rng(seed)
    c_out = kernel_shape[1] * attributes.get("group", 1) if operator == "ConvTranspose" else kernel_shape[0]
    inputs = [
        rng.integers(-9, 10, shape).astype("float32") for shape in (input_shape, kernel_shape, (c_out,))
    ]
    return Case(operator, attributes, inputs, np.empty(0))


def reference_output(case):
    """Run onnx's own implementation of the node."""
    node = onnx.helper.make_node(case.operator, ["x", "w", "b"], ["y"], **case.attributes)
    return ReferenceEvaluator(node).run(None, dict(zip("xwb", case.inputs, strict=True)))[0]


@pytest.mark.parametrize("auto_pad", AUTO_PADS)
@pytest.mark.parametrize("name", FURTHER_CONV)
def test_conv_against_the_reference_evaluator(name, auto_pad):
    kernel_shape, input_shape, attributes = FURTHER_CONV[name]
    attributes = {**attributes, "auto_pad": auto_pad}
    if auto_pad == "NOTSET":
        # different on every side
        attributes["pads"] = list(range(1, 2 * (len(kernel_shape) - 2) + 1))
    case = draw_case("Conv", kernel_shape, input_shape, attributes, 1)
    expected = reference_output(case)
    for ours in outputs_of(case):
        np.testing.assert_array_equal(ours, expected, strict=True)


# with an output_shape the evaluator pads for these two alone; test_output_shape has the others
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("name", FURTHER_TRANSPOSED)
def test_conv_transpose_against_the_reference_evaluator(name, auto_pad):
    kernel_shape, input_shape, attributes = FURTHER_TRANSPOSED[name]
    attributes = {**attributes, "auto_pad": auto_pad}
    case = draw_case("ConvTranspose", kernel_shape, input_shape, attributes, 2)
    expected = reference_output(case)
    for ours in outputs_of(case):
        np.testing.assert_array_equal(ours, expected, strict=True)


@pytest.mark.parametrize(
    "attributes",
    # crops of different size on every side; samples added at the end; no crop
    [
        {"pads": [1, 2, 0, 3]},
        {"pads": [2, 0, 1, 1], "strides": [3, 2], "output_padding": [2, 1]},
        {"pads": [0, 3, 2, 1], "dilations": [2, 1], "strides": [1, 2]},
        {"auto_pad": "VALID", "strides": [2, 3]},
        # n * stride samples all the same, cropped elsewhere
        {"auto_pad": "SAME_UPPER", "strides": [2, 3], "output_padding": [1, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 3], "output_padding": [1, 2]},
    ],
    ids=["pads", "output-padding", "dilations", "valid", "same-upper", "same-lower"],
)
def test_conv_transpose_with_pads_against_the_reference_evaluator(attributes):
    case = draw_case("ConvTranspose", (2, 3, 4, 3), (2, 2, 4, 5), attributes, 3)
    expected = reference_output(case)
    for ours in outputs_of(case):
        np.testing.assert_array_equal(ours, expected, strict=True)


def by_equations(x, kernel, stride, dilation, extra, size, auto_pad):
    """ConvTranspose of one axis with ``output_shape``, by the equations of its specification.

    A total below zero crops nothing, as in onnxruntime: the samples added are at the end.
    """
    spread = np.zeros((x.size - 1) * stride + dilation * (kernel.size - 1) + 1, x.dtype)
    for i, t in itertools.product(range(x.size), range(kernel.size)):
        spread[i * stride + t * dilation] += x[i] * kernel[t]
    total = max(stride * (x.size - 1) + extra + (kernel.size - 1) * dilation + 1 - size, 0)
    start = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
    output = np.zeros(size, x.dtype)
    kept = spread[start : start + size]
    output[: kept.size] = kept
    return output


@pytest.mark.parametrize("auto_pad", AUTO_PADS)
@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize(
    ("taps", "stride", "dilation"),
    # even and odd; longer than the stride, as long, shorter; twice a dilation larger than the stride
    [(4, 3, 1), (5, 3, 1), (3, 3, 1), (2, 3, 1), (4, 3, 2), (4, 1, 3), (3, 2, 3)],
)
def test_output_shape(taps, stride, dilation, extra, auto_pad):
    rng = np.random.default_rng(4)
    x, kernel = rng.integers(1, 20, 4), rng.integers(1, 20, taps)
    extent = dilation * (taps - 1) + 1
    # the sizes from which a forward convolution of this stride gives four samples, each meeting the signal
    sizes = range(max(1, 3 * stride + 2 - extent), 3 * stride + extent + max(stride, dilation))
    assert len(sizes) >= 5
    for size in sizes:
        attributes = {
            "strides": [stride],
            "dilations": [dilation],
            "output_padding": [extra],
            "output_shape": [size],
            "auto_pad": auto_pad,
        }
        case = Case("ConvTranspose", attributes, [x[None, None], kernel[None, None]], np.empty(0))
        expected = by_equations(x, kernel, stride, dilation, extra, size, auto_pad)
        for ours in outputs_of(case):
            np.testing.assert_array_equal(ours[0, 0], expected, strict=True)


def node_of(case):
    return onnx.helper.make_node(case.operator, ["x", "w", "b"], ["y"], **case.attributes)


@ids({**NODE_CASES, **STORED_CASES})
def test_nodes_are_read_as_dicts_are(case):
    x, kernel, *_ = case.inputs
    by_dict = stc.from_onnx(case.attributes, kernel, x.shape[1:], op_type=case.operator)
    by_node = stc.from_onnx(node_of(case), kernel, x.shape[1:])
    assert type(by_node) is type(by_dict)
    assert by_node.geometry == by_dict.geometry


def test_nodes_say_what_they_are():
    x, kernel, *_ = NODE_CASES["test_convtranspose"].inputs
    node = node_of(NODE_CASES["test_convtranspose"])
    with pytest.raises(ValueError, match=r"op_type must be the node's own, 'ConvTranspose'.*; got 'Conv'"):
        stc.from_onnx(node, kernel, x.shape[1:], op_type="Conv")
    with pytest.raises(ValueError, match="op_type must be one of Conv, ConvTranspose; got 'MaxPool'"):
        stc.from_onnx(onnx.helper.make_node("MaxPool", ["x"], ["y"]), kernel, x.shape[1:])
    foreign = onnx.helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")
    with pytest.raises(ValueError, match=r"of ONNX's own operators, got the domain 'com.microsoft.nchwc'"):
        stc.from_onnx(foreign, kernel, x.shape[1:])
