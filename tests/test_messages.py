"""Errors name the parameter, in a few words, whatever was given; and hints say what would work."""

import inspect

import numpy as np
import pytest

import sparsetconv as stc
from sparsetconv._geometry.padding import ALIASES, FOREIGN, PADDING_MODES
from sparsetconv._methods.registry import METHODS
from sparsetconv.operators._channels_last import ChannelsLastOperator

LONGEST = 499


class Loud:
    def __repr__(self):
        return "x" * 1_000_000


class Silent:
    def __repr__(self):
        raise RuntimeError


MONSTERS = {
    "text": "x" * 1_000_000,
    "bytes": b"x" * 1_000_000,
    "list": [1] * 100_000,
    "nested-list": [[["x"] * 30] * 30] * 30,
    "ragged": [[1, 2], [3]] * 1000,
    "array": np.ones(100_000),
    "texts": np.array(["x" * 10_000] * 3),
    "fields": np.zeros(3, [(f"a{n:0100}", "f8") for n in range(300)]),
    "objects": np.array([Loud()] * 3),
    "dict": {"x" * 1000: {n: "y" * 1000 for n in range(100)}, **dict.fromkeys(range(1000))},
    "loud": Loud(),
    "silent": Silent(),
    "integer": 10**100_000,
    "negative": -(10**100_000),
    "integers": [10**100_000, 10**100_000],
    "axes": (1,) * 10_000,
    "type": type("x" * 1_000_000, (), {}),
    "instance": type("x" * 1_000_000, (), {})(),
    "slice": slice(0, 10**100_000),
    "nan": float("nan"),
}


class Conv1d:
    weight, stride, padding, dilation = np.ones((1, 1, 2)), (1,), (0,), (1,)
    groups, padding_mode = 1, "zeros"


class Conv1D:
    kernel, built, data_format = np.ones((2, 1, 1)), True, "channels_last"
    strides, dilation_rate, padding, groups = (1,), (1,), "valid", 1


KERNEL, SIZES = np.ones((2, 3)), (5, 6)
PICTURE = np.random.default_rng(0).random((40, 44))
A = stc.ConvOperator(KERNEL, SIZES)
CALLS = {
    "ConvGeometry": (stc.ConvGeometry, {"input_shape": SIZES, "kernel_shape": (2, 3)}),
    "conv_transpose_geometry": (
        stc.conv_transpose_geometry,
        {"input_shape": SIZES, "kernel_shape": (2, 3)},
    ),
    "conv_matrix": (stc.conv_matrix, {"kernel": KERNEL, "input_shape": SIZES}),
    "conv_transpose_matrix": (stc.conv_transpose_matrix, {"kernel": KERNEL, "input_shape": SIZES}),
    "zero_insertion_matrix": (stc.zero_insertion_matrix, {"input_shape": SIZES, "stride": 2}),
    "resize_matrix": (stc.resize_matrix, {"input_shape": SIZES, "output_shape": (7, 8)}),
    "resize_matrix-scale": (stc.resize_matrix, {"input_shape": SIZES, "scale": 2, "mode": "cubic"}),
    "interpolation_kernel": (stc.interpolation_kernel, {"factor": 2, "mode": "linear"}),
    "ConvOperator": (stc.ConvOperator, {"kernel": KERNEL, "input_shape": SIZES}),
    "ConvTransposeOperator": (stc.ConvTransposeOperator, {"kernel": KERNEL, "input_shape": SIZES}),
    "KernelOperator": (stc.KernelOperator, {"x": np.ones(SIZES), "kernel_shape": (2, 3)}),
    "ResizeOperator": (stc.ResizeOperator, {"input_shape": SIZES, "output_shape": (7, 8)}),
    "from_geometry": (stc.ConvOperator.from_geometry, {"kernel": KERNEL, "geometry": A.geometry}),
    "KernelOperator.from_geometry": (
        stc.KernelOperator.from_geometry,
        {"x": np.ones(SIZES), "geometry": A.geometry},
    ),
    "conv_matrix-geometry": (stc.conv_matrix, {"kernel": KERNEL, "input_shape": A.geometry}),
    "to": (A.to, {"device": "numpy"}),
    "to_device": (stc.to_device, {"op": A, "device": "numpy"}),
    "from_torch": (stc.from_torch, {"module": Conv1d(), "input_shape": (1, 9)}),
    "from_keras": (stc.from_keras, {"layer": Conv1D(), "input_shape": (9, 1)}),
    "from_onnx": (
        stc.from_onnx,
        {"node_attributes": {}, "kernel": np.ones((1, 1, 2)), "input_shape": (1, 9)},
    ),
    "apply": (A.apply, {"x": np.ones(SIZES)}),
    "matvec": (A.matvec, {"x": np.ones(30)}),
    "matmat": (A.matmat, {"X": np.ones((30, 2))}),
    "dot": (A.dot, {"x": np.ones(30)}),
    "tosparse": (A.tosparse, {"format": "csr"}),
    "dot_test": (stc.testing.dot_test, {"op": A}),
    "upsample": (stc.pictures.upsample, {"picture": PICTURE, "scale": 2}),
    "upsample-mode": (stc.pictures.upsample, {"picture": PICTURE, "scale": 2, "mode": "bicubic"}),
    "learned_kernel": (stc.pictures.learned_kernel, {"scale": 2}),
    "learn": (stc.pictures.learn, {"pictures": [PICTURE], "scale": 2, "taps": 4}),
    "fit_kernel": (
        stc.fit_kernel,
        {"inputs": [PICTURE], "targets": [PICTURE], "kernel_shape": (1, 1)},
    ),
}
# which numbers and flags are taken as they come: anything is a seed, true, or a way to show progress
TAKEN = {"rng", "exact", "alpha", "progress"}
# what an argument is called in messages, SciPy's among them, where that is not its name
CALLED = {
    ("matvec", "x"): "operand|dimension|x must",
    ("matmat", "X"): "operand|dimension|2-d|x must",
    ("dot", "x"): "operand|dimension|x must",
    ("from_onnx", "node_attributes"): "attributes",
}
CASES = [
    (name, parameter)
    for name, (call, _) in CALLS.items()
    for parameter in inspect.signature(call).parameters
    if parameter not in TAKEN
]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_monstrous_arguments(name, parameter):
    call, arguments = CALLS[name]
    call(**arguments)
    refused = 0
    for monster in MONSTERS.values():
        try:
            call(**{**arguments, parameter: monster})
        except (TypeError, ValueError, MemoryError) as error:
            refused += 1
            text = str(error)
            assert len(text) <= LONGEST, text[:2000]
            words = CALLED.get((name, parameter), parameter).split("|")
            assert any(word.lower() in text.lower() for word in words), text
    assert refused


def test_protobuf_is_named_and_not_printed():
    onnx = pytest.importorskip("onnx")

    weights = onnx.numpy_helper.from_array(np.ones((1, 1, 50_000)))
    with pytest.raises(TypeError, match=r"kernel must be float32, .* got object"):
        stc.from_onnx({}, weights, (1, 9))
    with pytest.raises(TypeError, match=r"got TensorProto of 400,0.. bytes of type TensorProto"):
        stc.from_onnx({}, np.ones((1, 1, 2)), weights)


CHANNELS = stc.ConvOperator(np.ones((4, 3, 2, 2)), (3, 8, 9))
LAST = ChannelsLastOperator(CHANNELS)


@pytest.mark.parametrize(
    ("operator", "shape", "change"),
    [
        (CHANNELS, (8, 9, 3), lambda x: np.moveaxis(x, -1, 0)),
        (CHANNELS, (5, 8, 9, 3), lambda x: np.moveaxis(x, -1, -3)),
        (LAST, (3, 8, 9), lambda x: np.moveaxis(x, 0, -1)),
        (LAST, (5, 2, 3, 8, 9), lambda x: np.moveaxis(x, -3, -1)),
        (A, (5, 6, 3), lambda x: np.moveaxis(x, -1, 0)),
    ],
    ids=["last", "last-batch", "first", "first-batch", "plain"],
)
def test_axes_in_another_order(operator, shape, change):
    x = np.random.default_rng(0).random(shape)
    with pytest.raises(ValueError, match=r"x must have a shape that ends in input_shape") as caught:
        operator.apply(x)
    # what the message says is what works
    hint = str(caught.value).rsplit(": ", 1)[1]
    meant = eval(hint, {"np": np, "x": x})
    np.testing.assert_array_equal(meant, change(x))
    assert operator.apply(meant).ndim == x.ndim


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"padding": "reflect"}, "padding_mode='reflect'"),
        ({"padding": "mirror"}, "padding_mode='reflect'"),
        ({"padding": "CIRCULAR"}, "padding_mode='circular'"),
        ({"padding": "SAME"}, "padding='same'"),
        ({"padding": "half"}, "padding='same'"),
        ({"padding_mode": "mirror"}, "padding_mode='reflect'"),
        ({"padding_mode": "reflection"}, "padding_mode='reflect'"),
        ({"padding_mode": "periodic"}, "padding_mode='circular'"),
        ({"padding_mode": "grid-wrap"}, "padding_mode='circular'"),
        ({"padding_mode": "nearest"}, "padding_mode='replicate'"),
        ({"padding_mode": "grid-mirror"}, "padding_mode='symmetric'"),
        ({"padding_mode": "zero"}, "padding_mode='zeros'"),
        ({"padding_mode": "Reflect"}, "padding_mode='reflect'"),
        ({"padding_mode": "valid"}, "padding='valid'"),
        ({"padding_mode": ("zeros", "same")}, "padding='same'"),
    ],
    ids=str,
)
def test_words_of_other_packages(options, hint):
    with pytest.raises(ValueError, match=f"; .*{hint}"):
        stc.ConvGeometry(SIZES, (2, 3), **options)


def test_words_that_nobody_has():
    known = ", ".join((*PADDING_MODES, "constant", "edge", "wrap"))
    with pytest.raises(ValueError, match=rf"one of {known}; got 'sideways'$"):
        stc.ConvGeometry(SIZES, (2, 3), padding_mode="sideways")


def test_hints_lead_to_modes_that_exist():
    from sparsetconv._geometry import validation

    assert set(FOREIGN.values()) <= set(PADDING_MODES)
    assert set(validation.PADDING_HINTS.values()) <= set(validation.PADDING_WORDS)
    assert not set(FOREIGN) & {*PADDING_MODES, *ALIASES}


@pytest.mark.parametrize("product", ["apply", "matvec", "rmatvec", "matmat", "rmatmat", "dot"])
def test_ragged_operands(product):
    with pytest.raises(
        ValueError, match=r"^(x|the operand) must be an array, got a sequence whose parts differ"
    ):
        getattr(A, product)([[1, 2], [3]])


@pytest.mark.parametrize(
    "x",
    [np.array(["1"] * 30), np.array([1] * 30, object), np.zeros(30, "f8,f8"), np.zeros(30, "M8[s]")],
    ids=str,
)
def test_operands_that_are_no_numbers(x):
    with pytest.raises(TypeError, match="x must be of a real, complex or integer dtype"):
        A @ x
    with pytest.raises(TypeError, match="x must be of a real, complex or integer dtype"):
        A.apply(x.reshape(SIZES))
    with pytest.raises(TypeError, match="kernel must be float32"):
        stc.ConvOperator(x, 60)


@pytest.mark.parametrize("code", ["i2", "i8", "u4", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("method", METHODS)
def test_byte_order(code, method):
    """Files and other machines' arrays come in the other byte order: results are those of native arrays."""
    rng = np.random.default_rng(0)
    native = rng.integers(1, 9, (3, 2)).astype(code), rng.integers(1, 9, (4, *SIZES)).astype(code)
    swapped = tuple(array.astype(array.dtype.newbyteorder("S")) for array in native)
    assert not swapped[0].dtype.isnative
    if method == "fft" and native[0].dtype.kind in "iu":
        method = "direct"
    made = (
        stc.ConvOperator(native[0], SIZES, method=method),
        stc.ConvOperator(swapped[0], SIZES, method=method),
    )
    assert made[0].dtype == made[1].dtype
    flat = tuple(x.reshape(4, -1) for x in native[1:] + swapped[1:])
    for operator in made:
        for x in (native[1], swapped[1]):
            result = operator.apply(x)
            np.testing.assert_array_equal(result, made[0].apply(native[1]), strict=True)
        for x in flat:
            np.testing.assert_array_equal(operator @ x[0], made[0] @ flat[0][0], strict=True)
            np.testing.assert_array_equal(operator @ x.T, made[0] @ flat[0].T, strict=True)
        y = np.ones((4, 15), swapped[0].dtype)
        np.testing.assert_array_equal(operator.H @ y[0], made[0].H @ y[0].astype(code), strict=True)
    np.testing.assert_array_equal(
        stc.KernelOperator(swapped[1][0], (3, 2)) @ swapped[0].reshape(-1),
        stc.KernelOperator(native[1][0], (3, 2)) @ native[0].reshape(-1),
        strict=True,
    )
    assert stc.conv_matrix(swapped[0], SIZES).dtype.isnative
    assert stc.conv_matrix(native[0], SIZES, dtype=swapped[0].dtype).dtype == native[0].dtype
