"""TensorFlow's convolutions and Keras' layers against the operators, in value."""

import sys
import warnings
from typing import NamedTuple

import numpy as np
import pytest

import sparsetconv as stc


@pytest.fixture(scope="module")
def tf():
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own, while it is imported
        return pytest.importorskip("tensorflow")


class Case(NamedTuple):
    taps: tuple
    sizes: tuple
    strides: tuple


CASES = {
    # the usual one
    "odd": Case((3, 5), (8, 9), (2, 2)),
    # even kernels, an odd total of padding
    "even": Case((4, 2), (7, 6), (1, 1)),
    "even-strided": Case((4, 4), (7, 8), (2, 2)),
    # the kernel as long as the stride, and shorter
    "equal": Case((2, 2), (5, 6), (2, 2)),
    "short": Case((2, 2), (5, 7), (3, 3)),
}
each_case = pytest.mark.parametrize("name", CASES)
each_word = pytest.mark.parametrize("word", ["SAME", "VALID"])
C_IN, C_OUT = 2, 3


def draw(shape, seed):
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


def assert_equal(y, expected):
    """Channels to the end, and equal but for an algorithm that rounds."""
    expected = np.asarray(expected)[0]
    assert expected.any()
    np.testing.assert_allclose(np.moveaxis(y, 0, -1), expected, rtol=0, atol=1e-10)


@each_case
@each_word
def test_conv2d(tf, name, word):
    case = CASES[name]
    x, w = draw((*case.sizes, C_IN), 1), draw((*case.taps, C_IN, C_OUT), 2)
    expected = tf.nn.conv2d(x[None], w, strides=case.strides, padding=word)
    A = stc.ConvOperator(
        w.transpose(3, 2, 0, 1), (C_IN, *case.sizes), stride=case.strides, padding=word.lower()
    )
    assert_equal(A.apply(x.transpose(2, 0, 1)), expected)


@each_word
def test_conv2d_dilated(tf, word):
    x, w = draw((9, 10, C_IN), 3), draw((4, 3, C_IN, C_OUT), 4)
    expected = tf.nn.conv2d(x[None], w, strides=1, padding=word, dilations=(2, 3))
    A = stc.ConvOperator(w.transpose(3, 2, 0, 1), (C_IN, 9, 10), dilation=(2, 3), padding=word.lower())
    assert_equal(A.apply(x.transpose(2, 0, 1)), expected)


def transposed(case, w, output_shape, word):
    return stc.ConvTransposeOperator(
        w.transpose(3, 2, 0, 1), (C_IN, *case.sizes),
        stride=case.strides, padding=word.lower(), output_shape=output_shape,
    )  # fmt: skip


def valid_sizes(case):
    rows = zip(case.sizes, case.strides, case.taps, strict=True)
    return [n * s + max(k - s, 0) for n, s, k in rows]


@each_case
@each_word
def test_conv2d_transpose(tf, name, word):
    # the kernel is (rows, columns, c_out, c_in) here
    case = CASES[name]
    x, w = draw((*case.sizes, C_IN), 5), draw((*case.taps, C_OUT, C_IN), 6)
    same = [n * s for n, s in zip(case.sizes, case.strides, strict=True)]
    sizes = same if word == "SAME" else valid_sizes(case)
    expected = tf.nn.conv2d_transpose(x[None], w, (1, *sizes, C_OUT), case.strides, word)
    assert_equal(transposed(case, w, sizes, word).apply(x.transpose(2, 0, 1)), expected)


@each_case
def test_conv2d_transpose_of_a_given_size(tf, name):
    # every size that the stride leaves open
    case = CASES[name]
    x, w = draw((*case.sizes, C_IN), 7), draw((*case.taps, C_OUT, C_IN), 8)
    for less in range(case.strides[0]):
        sizes = [n * s - less for n, s in zip(case.sizes, case.strides, strict=True)]
        expected = tf.nn.conv2d_transpose(x[None], w, (1, *sizes, C_OUT), case.strides, "SAME")
        assert_equal(transposed(case, w, sizes, "SAME").apply(x.transpose(2, 0, 1)), expected)


def layer_output(tf, case, w, x, **options):
    layer = tf.keras.layers.Conv2DTranspose(
        C_OUT, case.taps, case.strides, use_bias=False, dtype="float64", **options
    )
    layer.build((1, *case.sizes, C_IN))
    layer.set_weights([w])
    return layer(x[None])


@each_case
@each_word
def test_keras_conv2d_transpose(tf, name, word):
    case = CASES[name]
    x, w = draw((*case.sizes, C_IN), 9), draw((*case.taps, C_OUT, C_IN), 10)
    sizes = None if word == "SAME" else valid_sizes(case)
    expected = layer_output(tf, case, w, x, padding=word.lower())
    assert_equal(transposed(case, w, sizes, word).apply(x.transpose(2, 0, 1)), expected)


@pytest.mark.parametrize("name", ["odd", "even-strided", "equal"])
def test_keras_output_padding(tf, name):
    # "same" with an integer: (n - 1) * s + k % 2 + output_padding samples, and the pads that SAME means for them
    case = CASES[name]
    x, w = draw((*case.sizes, C_IN), 11), draw((*case.taps, C_OUT, C_IN), 12)
    # Keras lets an even kernel with no output_padding pass, and TensorFlow then refuses the size
    for extra in range(1 - case.taps[0] % 2, case.strides[0]):
        rows = zip(case.sizes, case.strides, case.taps, strict=True)
        sizes = [(n - 1) * s + k % 2 + extra for n, s, k in rows]
        expected = layer_output(tf, case, w, x, padding="same", output_padding=extra)
        assert_equal(transposed(case, w, sizes, "SAME").apply(x.transpose(2, 0, 1)), expected)
