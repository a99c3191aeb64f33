"""The converters without the packages that they convert from; tests/parity/ compares values with those."""

from types import SimpleNamespace

import numpy as np
import pytest

import sparsetconv as stc

KERNEL = np.arange(24.0).reshape(2, 3, 4)


class TestOnnx:
    def test_conv_is_the_default_of_a_dict(self):
        A = stc.from_onnx({}, KERNEL, (3, 9))
        assert type(A) is stc.ConvOperator
        expected = stc.conv_matrix(KERNEL, (3, 9))
        assert (A.tosparse() != expected).nnz == 0

    def test_pads_begin_with_what_comes_before(self):
        A = stc.from_onnx({"pads": [1, 2, 3, 4]}, np.ones((1, 1, 2, 2)), (1, 5, 6))
        assert A.geometry.padding == ((1, 3), (2, 4))

    def test_method(self):
        assert stc.from_onnx({}, KERNEL, (3, 9), method="fft").method == "fft"

    def test_auto_pad_as_bytes(self):
        A = stc.from_onnx({"auto_pad": b"SAME_LOWER"}, KERNEL, (3, 9))
        assert A.geometry.padding == ((2, 1),)

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"stride": [2]}, r"attributes of Conv must be among auto_pad, .*, strides; got 'stride'$"),
            ({"output_padding": [1]}, "got 'output_padding'; with a dict say op_type='ConvTranspose'"),
            (
                {"auto_pad": "SAME"},
                "auto_pad must be one of NOTSET, VALID, SAME_UPPER, SAME_LOWER; got 'SAME'",
            ),
            (
                {"auto_pad": "VALID", "pads": [0, 1]},
                r"pads must be left out .* auto_pad='VALID', got \[0, 1\]",
            ),
            ({"pads": [1]}, r"pads must have 2 entries for 1 spatial axes, got \[1\]"),
            ({"strides": [1, 2]}, r"strides must have 1 entries for 1 spatial axes, got \[1, 2\]"),
            ({"kernel_shape": [3]}, r"kernel_shape must be that of the kernel, \[4\], got \[3\]"),
            ({"group": 0}, "group must be at least 1, got 0"),
        ],
    )
    def test_attributes(self, attributes, message):
        with pytest.raises(ValueError, match=message):
            stc.from_onnx(attributes, KERNEL, (3, 9))

    def test_shapes(self):
        with pytest.raises(
            ValueError, match=r"must be \(c_in, n1\) .* got \(1, 3, 9\); leave the batch axis"
        ):
            stc.from_onnx({}, KERNEL, (1, 3, 9))
        with pytest.raises(ValueError, match=r"must be \(c_in, n1\) .* got \(9,\)$"):
            stc.from_onnx({}, KERNEL, 9)
        with pytest.raises(ValueError, match="the 3 input channels of the kernel, got 2"):
            stc.from_onnx({}, KERNEL, (2, 9))
        with pytest.raises(ValueError, match="the 2 input channels of the kernel, got 3"):
            stc.from_onnx({}, KERNEL, (3, 9), op_type="ConvTranspose")
        with pytest.raises(ValueError, match=r"two axes of channels and at least one more, got .* \(4, 4\)"):
            stc.from_onnx({}, np.ones((4, 4)), (4,))

    def test_what_is_neither_a_dict_nor_a_node(self):
        with pytest.raises(TypeError, match="node_attributes must be a dict or a node, got list"):
            stc.from_onnx([("strides", [2])], KERNEL, (3, 9))


def layer(kind, **attributes):
    """Return an object of a class of that name, with what a Keras layer has."""
    defaults = {
        "kernel": np.arange(24.0).reshape(4, 3, 2),
        "built": True,
        "strides": (1,),
        "dilation_rate": (1,),
        "padding": "valid",
        "groups": 1,
        "data_format": "channels_last",
        "output_padding": None,
    }
    return type(kind, (SimpleNamespace,), {})(**{**defaults, **attributes})


class TestKeras:
    def test_layouts(self):
        last = stc.from_keras(layer("Conv1D"), (9, 3))
        first = stc.from_keras(layer("Conv1D", data_format="channels_first"), (3, 9))
        assert (last.input_shape, last.output_shape) == ((9, 3), (6, 2))
        assert type(first) is type(last.operator) is stc.ConvOperator
        x = np.arange(27.0).reshape(9, 3)
        np.testing.assert_array_equal(last.apply(x), first.apply(x.T).T)

    def test_method(self):
        A = stc.from_keras(layer("Conv1D"), (9, 3), method="gemm")
        assert A.method == "gemm"
        assert A.explain().startswith("method 'gemm': it was asked for")

    def test_refusals(self):
        with pytest.raises(TypeError, match=r"layer must be one of Conv1D, .*; got SeparableConv1D"):
            stc.from_keras(layer("SeparableConv1D"), (9, 3))
        with pytest.raises(ValueError, match=r"must be built, with layer.build\(\(None, 9, 3\)\)"):
            stc.from_keras(layer("Conv1D", built=False), (9, 3))
        with pytest.raises(
            ValueError, match=r"layer.data_format must be one of channels_last, .*; got 'NHWC'"
        ):
            stc.from_keras(layer("Conv1D", data_format="NHWC"), (9, 3))
        with pytest.raises(ValueError, match=r"layer.padding must be one of valid, same; got 'full'"):
            stc.from_keras(layer("Conv1D", padding="full"), (9, 3))
        with pytest.raises(
            ValueError, match=r"must be \(n1, c_in\) .* got \(1, 9, 3\); leave the batch axis out"
        ):
            stc.from_keras(layer("Conv1D"), (1, 9, 3))
        with pytest.raises(ValueError, match=r"the 3 input channels of the kernel, got 9 in \(3, 9\)"):
            stc.from_keras(layer("Conv1D"), (3, 9))
        with pytest.raises(
            TypeError, match=r"layer.kernel must be .* precision, got float16; give the layer"
        ):
            stc.from_keras(layer("Conv1D", kernel=np.ones((4, 3, 2), np.float16)), (9, 3))


class TestTorch:
    def test_refusals(self):
        with pytest.raises(TypeError, match=r"module must be one of Conv1d, .*; got dict"):
            stc.from_torch({}, (3, 9))


def test_derived_layer_of_the_same_name_computes_its_own():
    """Weight-standardised layers, for one, are commonly called as what they derive from."""

    class Conv1d:
        weight, stride, padding, dilation = np.ones((1, 1, 2)), (1,), (0,), (1,)
        groups, padding_mode = 1, "zeros"

    base = Conv1d
    plain = type("Conv1d", (base,), {})
    own = type("Conv1d", (base,), {"forward": lambda _, x: x})
    assert stc.from_torch(plain(), (1, 5)).output_shape == (1, 4)
    for cls in (own, type("Derived", (own,), {})):
        with pytest.raises(
            TypeError, match=r"module must compute what Conv1d does, but .* defines forward itself"
        ):
            stc.from_torch(cls(), (1, 5))


def test_layer_that_derives_from_another_known_one():
    """As Keras 2 had it: a transposed convolution was a kind of convolution, with a call of its own."""

    class Conv2D:
        kernel, built, data_format = np.ones((3, 3, 1, 4)), True, "channels_last"
        strides, dilation_rate, padding, groups = (2, 2), (1, 1), "same", 1
        output_padding = None

    class Conv2DTranspose(Conv2D):
        def call(self, x):
            return x

    A = stc.from_keras(Conv2DTranspose(), (5, 6, 4))
    assert A.output_shape == (10, 12, 1)


def test_auto_pad_that_is_no_text():
    with pytest.raises(ValueError, match="auto_pad must be one of NOTSET"):
        stc.from_onnx({"auto_pad": b"\xff"}, KERNEL, (3, 9))


def test_causal_belongs_to_one_axis():
    class Conv2D:
        kernel, built, data_format = np.ones((3, 3, 1, 4)), True, "channels_last"
        strides, dilation_rate, padding, groups = (1, 1), (1, 1), "causal", 1

    with pytest.raises(ValueError, match=r"layer\.padding must be one of valid, same; got 'causal'"):
        stc.from_keras(Conv2D(), (8, 8, 1))


@pytest.mark.parametrize("attribute", ["weight", "stride", "padding", "dilation", "groups", "padding_mode"])
def test_layer_of_a_known_name_without_an_attribute(attribute):
    attributes = {
        "weight": np.ones((1, 1, 2)),
        "stride": (1,),
        "padding": (0,),
        "dilation": (1,),
        "groups": 1,
        "padding_mode": "zeros",
    }
    assert stc.from_torch(type("Conv1d", (), attributes)(), (1, 5)).output_shape == (1, 4)
    del attributes[attribute]
    with pytest.raises(
        TypeError, match=f"module must have the attribute {attribute}, which Conv1d does not have"
    ):
        stc.from_torch(type("Conv1d", (), attributes)(), (1, 5))


@pytest.mark.parametrize("attribute", ["kernel", "built", "strides", "data_format", "groups"])
def test_keras_layer_of_a_known_name_without_an_attribute(attribute):
    stand_in = layer("Conv1D")
    delattr(stand_in, attribute)
    with pytest.raises(
        TypeError, match=f"layer must have the attribute {attribute}, which Conv1D does not have"
    ):
        stc.from_keras(stand_in, (9, 3))


def test_methods_replaced_on_an_instance():
    for stand_in, convert, method in (
        (layer("Conv1D", call=lambda x: x), lambda given: stc.from_keras(given, (9, 3)), "call"),
        (layer("Conv1d", forward=lambda x: x), lambda given: stc.from_torch(given, (3, 9)), "forward"),
    ):
        with pytest.raises(TypeError, match=f"but {method} is replaced on this instance"):
            convert(stand_in)


def test_hooks_of_a_stand_in():
    def hook(*_):
        return None

    with pytest.raises(TypeError, match=r"layer must be called without hooks.* the forward hook .*hook;"):
        stc.from_keras(layer("Conv1D", _forward_hooks={0: hook}), (9, 3))


def test_weights_in_another_byte_order():
    swapped = np.arange(24.0).reshape(4, 3, 2).astype(">f8")
    A = stc.from_keras(layer("Conv1D", kernel=swapped), (9, 3))
    np.testing.assert_array_equal(A.kernel, stc.from_keras(layer("Conv1D"), (9, 3)).kernel)


def test_weights_of_a_quantized_layer():
    with pytest.raises(TypeError, match=r"layer\.kernel must be an array, got a method"):
        stc.from_keras(layer("Conv1D", kernel=lambda: np.ones((4, 3, 2))), (9, 3))
    with pytest.raises(ValueError, match=r"layer\.kernel must have 3 axes, got the shape \(4, 3\)"):
        stc.from_keras(layer("Conv1D", kernel=np.ones((4, 3))), (9, 3))
