"""`from_keras`: what Keras' layers return on TensorFlow, from their attributes, and Keras' own sizes."""

import os
import warnings

import numpy as np
import pytest

import sparsetconv as stc

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")

L = keras.layers
BATCH, ROUNDING = 2, 1e-3

pytestmark = pytest.mark.filterwarnings("ignore:.*np.object:FutureWarning", "ignore::DeprecationWarning")


def built(layer, shape):
    """Build a layer and give it small integers: a mistake is an error of 1 or more, rounding is not."""
    layer.build((None, *shape))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.integers(-9, 10, w.shape) for w in layer.get_weights()])
    return layer


def signals(shape):
    return np.random.default_rng(2).integers(-9, 10, (BATCH, *shape)).astype(np.float32)


def sizes_of(layer, shape):
    """Return Keras' output shape, by its own formulas."""
    return tuple(layer.compute_output_shape((None, *shape))[1:])


def check(layer, shape):
    """Compare a layer with its operator, bias added; return the operator."""
    layer, x = built(layer, shape), signals(shape)
    expected = keras.ops.convert_to_numpy(layer(x))
    A = stc.from_keras(layer, shape)
    assert A.output_shape == sizes_of(layer, shape)
    bias = layer.get_weights()[1]
    if layer.data_format == "channels_first":
        bias = bias.reshape(-1, *(1,) * (len(shape) - 1))
    ours = A.apply(x) + bias
    assert expected.any()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=ROUNDING, strict=True)
    return A


# Keras takes no stride together with a dilation
CONV = {
    # an even kernel, an odd total
    "1d": (L.Conv1D, (9, 3), (4, 4), {}),
    "1d-strides": (L.Conv1D, (11, 3), (4, 4), {"strides": 3}),
    "1d-dilation": (L.Conv1D, (14, 2), (3, 4), {"dilation_rate": 3}),
    "1d-groups": (L.Conv1D, (9, 4), (6, 2), {"groups": 2, "strides": 2}),
    # every axis different
    "2d": (L.Conv2D, (7, 9, 3), (4, (4, 3)), {"strides": (2, 1)}),
    "2d-strides": (L.Conv2D, (8, 9, 2), (3, (2, 4)), {"strides": (3, 2)}),
    "2d-dilation": (L.Conv2D, (9, 8, 2), (3, (4, 2)), {"dilation_rate": (2, 3)}),
    "2d-groups": (L.Conv2D, (6, 7, 4), (4, (2, 3)), {"groups": 2}),
    # a stride that steps over samples
    "2d-stride-over-kernel": (L.Conv2D, (9, 8, 1), (2, 2), {"strides": 3}),
    "3d": (L.Conv3D, (4, 6, 5, 2), (3, (2, 4, 3)), {"strides": (1, 2, 3)}),
    "3d-dilation": (L.Conv3D, (5, 6, 4, 1), (2, (2, 3, 2)), {"dilation_rate": (2, 1, 3)}),
}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", CONV)
def test_conv(name, padding):
    layer, shape, arguments, options = CONV[name]
    A = check(layer(*arguments, padding=padding, **options), shape)
    assert A.operator.input_shape == (shape[-1], *shape[:-1])


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"dilation_rate": 3}, {"groups": 2}], ids=str)
def test_causal(options):
    A = check(L.Conv1D(4, 4, padding="causal", **options), (11, 2))
    before, after = A.geometry.padding[0]
    assert after == 0
    assert before == 3 * options.get("dilation_rate", 1)


DEPTHWISE = {
    "1d": (L.DepthwiseConv1D, (9, 3), 4, {"depth_multiplier": 2}),
    "1d-strides": (L.DepthwiseConv1D, (10, 2), 4, {"depth_multiplier": 3, "strides": 2}),
    "2d": (L.DepthwiseConv2D, (7, 8, 3), (4, 3), {"depth_multiplier": 2}),
    "2d-strides": (L.DepthwiseConv2D, (7, 8, 2), (2, 4), {"strides": 3}),
    "2d-dilation": (L.DepthwiseConv2D, (9, 8, 2), (2, 3), {"depth_multiplier": 3, "dilation_rate": 2}),
    "2d-both": (L.DepthwiseConv2D, (9, 8, 2), (2, 3), {"dilation_rate": (2, 3), "strides": (2, 1)}),
}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise(name, padding):
    layer, shape, taps, options = DEPTHWISE[name]
    A = check(layer(taps, padding=padding, **options), shape)
    assert A.geometry.groups == shape[-1]


TRANSPOSED = {
    # kernel longer than the stride, as long, shorter (gaps); even and odd
    "1d-4-2": (L.Conv1DTranspose, (5, 2), (3, 4), {"strides": 2}),
    "1d-5-2": (L.Conv1DTranspose, (5, 2), (3, 5), {"strides": 2}),
    "1d-3-3": (L.Conv1DTranspose, (4, 2), (3, 3), {"strides": 3}),
    "1d-2-4": (L.Conv1DTranspose, (4, 2), (3, 2), {"strides": 4}),
    "1d-1-3": (L.Conv1DTranspose, (4, 2), (3, 1), {"strides": 3}),
    "1d-no-stride": (L.Conv1DTranspose, (5, 2), (3, 4), {}),
    # every axis different
    "2d": (L.Conv2DTranspose, (4, 3, 2), (3, (4, 3)), {"strides": (2, 3)}),
    "2d-gap": (L.Conv2DTranspose, (3, 4, 3), (2, (2, 5)), {"strides": (3, 2)}),
    "3d": (L.Conv3DTranspose, (2, 3, 2, 2), (3, (4, 3, 2)), {"strides": (2, 1, 3)}),
}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose(name, padding):
    layer, shape, arguments, options = TRANSPOSED[name]
    A = check(layer(*arguments, padding=padding, **options), shape)
    assert type(A.operator) is stc.ConvTransposeOperator


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_conv_transpose_dilated(padding):
    check(L.Conv2DTranspose(3, (4, 2), dilation_rate=(2, 3), padding=padding), (4, 5, 2))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 6])
def test_output_padding(taps, extra, padding):
    layer = L.Conv1DTranspose(3, taps, strides=3, padding=padding, output_padding=extra)
    if padding == "same" and taps % 2 == extra == 0:
        # (n - 1) * stride samples; TensorFlow refuses what Keras asks of it
        layer = built(layer, (4, 2))
        with pytest.raises(Exception, match="Conv1DTranspose"):
            layer(signals((4, 2)))
        A = stc.from_keras(layer, (4, 2))
        assert A.output_shape == sizes_of(layer, (4, 2)) == (9, 3)
        assert A.geometry.padding == ((taps // 2, taps // 2),)
        return
    check(layer, (4, 2))


def test_output_padding_differs_by_axis():
    A = check(L.Conv2DTranspose(2, (4, 5), strides=(3, 2), padding="same", output_padding=(2, 1)), (3, 4, 2))
    assert A.output_shape == (8, 8, 2)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (L.DepthwiseConv1D(4, strides=2, padding="same", data_format="channels_first"), (3, 9)),
        (L.DepthwiseConv2D((2, 3), depth_multiplier=2, data_format="channels_first"), (3, 7, 9)),
        (L.Conv3D(2, (2, 3, 2), padding="same", data_format="channels_first"), (2, 4, 5, 3)),
        (L.Conv2D(4, (2, 3), padding="same", groups=2, data_format="channels_first"), (2, 5, 6)),
    ],
    ids=["depthwise-1d", "depthwise-2d", "3d", "2d-groups"],
)
def test_channels_first(layer, shape):
    # those that TensorFlow has for CPUs. No width equals a number of channels: there Keras 3.15 adds the bias
    # along the width
    A = check(layer, shape)
    assert type(A) is stc.ConvOperator
    assert A.input_shape == shape


@pytest.mark.parametrize(
    ("kind", "shape", "arguments", "options"),
    [
        (L.Conv1D, (2, 9), (3, 4), {"strides": 2, "padding": "same"}),
        (L.Conv2D, (2, 7, 6), (3, (4, 3)), {"strides": 2, "padding": "same"}),
        (L.Conv2DTranspose, (2, 3, 4), (3, (4, 3)), {"strides": (2, 3), "padding": "same"}),
        (L.Conv3DTranspose, (2, 2, 3, 2), (3, (4, 3, 2)), {"strides": 2, "output_padding": 1}),
    ],
    ids=["1d", "2d", "transposed-2d", "transposed-3d"],
)
def test_channels_first_beside_channels_last(kind, shape, arguments, options):
    # the others: the same weights in a layer of the other layout
    first = built(kind(*arguments, data_format="channels_first", **options), shape)
    last = built(kind(*arguments, **options), (*shape[1:], shape[0]))
    x = signals(shape)
    expected = keras.ops.convert_to_numpy(last(np.moveaxis(x, 1, -1))) - last.get_weights()[1]
    A = stc.from_keras(first, shape)
    np.testing.assert_allclose(A.apply(x), np.moveaxis(expected, -1, 1), rtol=0, atol=ROUNDING)
    assert A.output_shape == sizes_of(first, shape)


def test_activation_is_left_out():
    layer = built(L.Conv1D(3, 4, activation="relu", use_bias=False), (9, 2))
    x = signals((9, 2))
    ours = stc.from_keras(layer, (9, 2)).apply(x)
    assert (ours < 0).any()
    np.testing.assert_allclose(np.maximum(ours, 0), layer(x), rtol=0, atol=ROUNDING)


def test_adjoint_is_the_gradient():
    import tensorflow as tf

    layer = built(L.Conv2DTranspose(2, (4, 3), strides=(2, 3), padding="same"), (3, 4, 3))
    A = stc.from_keras(layer, (3, 4, 3))
    x = tf.Variable(signals((3, 4, 3))[:1])
    with tf.GradientTape() as tape:
        y = layer(x)
        weights = np.random.default_rng(3).integers(-9, 10, y.shape).astype(np.float32)
        loss = tf.reduce_sum(y * weights)
    gradient = tape.gradient(loss, x).numpy()
    np.testing.assert_allclose(A.H.apply(weights), gradient, rtol=0, atol=ROUNDING)
    stc.testing.assert_adjoint(A, exact=True)


def test_double_precision_and_low_rank_updates():
    layer = built(L.Conv1D(3, 4, dtype="float64"), (9, 2))
    assert stc.from_keras(layer, (9, 2)).dtype == np.float64
    layer.enable_lora(1)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    A = stc.from_keras(layer, (9, 2))
    x = signals((9, 2))
    expected = keras.ops.convert_to_numpy(layer(x)) - np.asarray(layer.bias)
    np.testing.assert_allclose(A.apply(x), expected, rtol=1e-5, atol=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match=r"layer must be built, with layer.build\(\(None, 9, 2\)\)"):
        stc.from_keras(L.Conv1D(3, 4), (9, 2))
    with pytest.raises(TypeError, match=r"layer must be one of Conv1D, .*; got SeparableConv1D"):
        stc.from_keras(L.SeparableConv1D(3, 4), (9, 2))
    with pytest.raises(TypeError, match=r"layer.kernel must be .* precision, got b?float16"):
        stc.from_keras(built(L.Conv1D(3, 4, dtype="bfloat16"), (9, 2)), (9, 2))

    class Doubled(L.Conv1D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    with pytest.raises(TypeError, match="compute what Conv1D does, but Doubled defines call itself"):
        stc.from_keras(built(Doubled(3, 4), (9, 2)), (9, 2))


def doubled(old):
    return lambda *args, **kwargs: 2 * old(*args, **kwargs)


@pytest.mark.parametrize("method", ["call", "convolution_op", "__call__"])
@pytest.mark.parametrize("owner", ["instance", "derived", "package"])
def test_replaced_methods(method, owner, monkeypatch):
    cls = type("Mine", (L.Conv2D,), {}) if owner == "derived" else L.Conv2D
    layer = built(cls(3, 2), (9, 8, 2))
    place = layer if owner == "instance" else cls
    monkeypatch.setattr(place, method, doubled(getattr(place, method)))
    says = {
        "instance": f"{method} is replaced on this instance",
        "derived": f"Mine defines {method} itself",
        "package": f"{method} of its class is replaced",
    }
    with pytest.raises(TypeError, match=f"layer must compute what Conv2D does, but {says[owner]}"):
        stc.from_keras(layer, (9, 8, 2))


def test_what_a_call_does_beside_call():
    with pytest.raises(TypeError, match=r"layer must not be quantized, .* got quantization_mode='int8'"):
        stc.from_keras(built(L.Conv2D(3, 2, dtype="int8_from_float32"), (9, 8, 2)), (9, 8, 2))
    for policy in ("mixed_float16", "mixed_bfloat16"):
        with pytest.raises(
            TypeError, match=r"layer must compute in single or double precision, got b?float16"
        ):
            stc.from_keras(built(L.Conv2D(3, 2, dtype=policy), (9, 8, 2)), (9, 8, 2))
    # constraints act in training, not in a call
    check(L.Conv2D(3, 2, kernel_constraint="non_neg"), (9, 8, 2))
    with keras.RematScope(mode="full"):
        layer = L.Conv2D(3, 2)
    check(layer, (9, 8, 2))
