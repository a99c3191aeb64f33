"""The padding modes against ``np.pad`` followed by a valid convolution."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import sparsetconv as stc
from sparsetconv._methods.registry import METHODS

# our name, numpy's name
MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}
# numpy's names that are understood; the other two are the same word
ALIASES = ("constant", "edge", "wrap")


class Case(NamedTuple):
    taps: tuple
    sizes: tuple
    pads: tuple
    options: dict


CASES = {
    # an even kernel, more before than after
    "1d": Case((4,), (7,), ((3, 1),), {}),
    # one side alone
    "1d-before-only": Case((2,), (5,), ((4, 0),), {}),
    "1d-after-only": Case((2,), (5,), ((0, 4),), {}),
    # the last pads that reflect and symmetric reach with one mirror
    "1d-one-mirror": Case((3,), (5,), ((4, 5),), {}),
    # several periods on both sides
    "1d-long": Case((4,), (3,), ((17, 22),), {}),
    # a hundred periods, with a stride that does not divide them
    "1d-very-long": Case((3,), (4,), ((401, 403),), {"stride": 7}),
    # one sample: every extension is constant
    "1d-one-sample": Case((2,), (1,), ((3, 5),), {}),
    # two samples: reflect and circular are the same
    "1d-two-samples": Case((3,), (2,), ((6, 9),), {}),
    # a kernel longer than the signal, dilated so that one window spans periods
    "1d-long-kernel": Case((6,), (4,), ((9, 12),), {"dilation": 3}),
    # stride and dilation meet the border at different phases
    "1d-stride-dilation": Case((4,), (9,), ((5, 2),), {"stride": 3, "dilation": 2}),
    # every axis different
    "2d": Case((2, 4), (5, 6), ((1, 3), (2, 0)), {"stride": (2, 1), "dilation": (1, 2)}),
    # both axes beyond their periods
    "2d-long": Case((4, 3), (3, 2), ((8, 11), (7, 5)), {"stride": (3, 2)}),
    # three axes, the middle one of one sample
    "3d": Case((2, 2, 3), (3, 1, 4), ((2, 5), (3, 1), (0, 6)), {}),
}
each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
each_mode = pytest.mark.parametrize("mode", MODES)


def draw(shape, seed):
    """Return different integers, so that no two samples can be confused."""
    values = np.arange(1, np.prod(shape) + 1) * 3 - 7
    return np.random.default_rng(seed).permutation(values).reshape(shape)


def valid_correlation(kernel, padded, stride=1, dilation=1):
    ndim = kernel.ndim
    stride, dilation = np.broadcast_to(stride, ndim), np.broadcast_to(dilation, ndim)
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape, strict=True))
    windows = sliding_window_view(padded, spans)
    windows = windows[tuple(slice(None, None, step) for step in (*stride, *dilation))]
    return np.tensordot(windows, kernel, ndim)


@each_case
@each_mode
def test_convolution_of_the_padded_signal(case, mode):
    kernel, x = draw(case.taps, 1), draw(case.sizes, 2)
    expected = valid_correlation(kernel, np.pad(x, case.pads, mode=MODES[mode]), **case.options)
    options = {"padding": case.pads, "padding_mode": mode, **case.options}
    matrix = stc.conv_matrix(kernel, case.sizes, **options)
    operator = stc.ConvOperator(kernel, case.sizes, **options)
    assert operator.output_shape == expected.shape
    assert np.any(expected)
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(expected.shape), expected)
    np.testing.assert_array_equal(operator.apply(x), expected)


@each_case
@each_mode
@pytest.mark.parametrize("method", METHODS)
def test_every_method(case, mode, method):
    kernel, x = draw(case.taps, 3).astype(float), draw(case.sizes, 4).astype(float)
    expected = valid_correlation(kernel, np.pad(x, case.pads, mode=MODES[mode]), **case.options)
    options = {"padding": case.pads, "padding_mode": mode, **case.options}
    operator = stc.ConvOperator(kernel, case.sizes, method=method, **options)
    assert operator.method == method
    atol = 1e-12 * np.abs(expected).max() if method == "fft" else 0
    np.testing.assert_allclose(operator.apply(x), expected, rtol=0, atol=atol, strict=True)


@each_case
@each_mode
def test_transposed_matrix(case, mode):
    # the forward matrix has a column for each unit vector, padded by numpy; the transposed one has it as a row
    kernel = draw(case.taps, 15)
    unit = np.eye(np.prod(case.sizes), dtype=int).reshape(-1, *case.sizes)
    padded = [np.pad(e, case.pads, mode=MODES[mode]) for e in unit]
    outputs = [valid_correlation(kernel, e, **case.options) for e in padded]
    options = {"padding": case.pads, "padding_mode": mode, **case.options}
    matrix = stc.conv_transpose_matrix(kernel, outputs[0].shape, output_shape=case.sizes, **options)
    expected = np.reshape(outputs, (len(unit), -1))
    np.testing.assert_array_equal(matrix.toarray(), expected)
    y = draw(outputs[0].shape, 16)
    operator = stc.ConvTransposeOperator(kernel, y.shape, output_shape=case.sizes, **options)
    np.testing.assert_array_equal(operator.apply(y).ravel(), expected @ y.ravel())


@each_case
@each_mode
def test_one_tap_is_np_pad_itself(case, mode):
    x = draw(case.sizes, 5)
    expected = np.pad(x, case.pads, mode=MODES[mode])
    one = np.ones((1,) * x.ndim, int)
    matrix = stc.conv_matrix(one, case.sizes, padding=case.pads, padding_mode=mode)
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(expected.shape), expected)


@each_case
@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_numpys_names(case, alias):
    kernel, x = draw(case.taps, 6), draw(case.sizes, 7)
    expected = valid_correlation(kernel, np.pad(x, case.pads, mode=alias), **case.options)
    options = {"padding": case.pads, "padding_mode": alias, **case.options}
    matrix = stc.conv_matrix(kernel, case.sizes, **options)
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(expected.shape), expected)


@each_mode
@pytest.mark.parametrize("other", MODES)
def test_a_mode_for_each_axis(mode, other):
    kernel, x = draw((4, 2), 8), draw((3, 5), 9)
    pads = ((7, 4), (2, 9))
    rows_padded = np.pad(x, (pads[0], (0, 0)), mode=MODES[mode])
    expected = valid_correlation(kernel, np.pad(rows_padded, ((0, 0), pads[1]), mode=MODES[other]))
    matrix = stc.conv_matrix(kernel, (3, 5), padding=pads, padding_mode=(mode, other))
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(expected.shape), expected)


@each_mode
@pytest.mark.parametrize("flip", [False, True])
def test_flip_reverses_the_spatial_axes(mode, flip):
    kernel, x = draw((4, 3), 10), draw((5, 4), 11)
    padded = np.pad(x, ((2, 6), (5, 1)), mode=MODES[mode])
    expected = valid_correlation(kernel[::-1, ::-1] if flip else kernel, padded)
    matrix = stc.conv_matrix(kernel, (5, 4), padding=((2, 6), (5, 1)), padding_mode=mode, flip=flip)
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(expected.shape), expected)


@each_mode
@pytest.mark.parametrize(
    "pads",
    # a crop in front of a long extension, the other way round, a crop into the extension's second period
    [(-2, 9), (8, -3), (-5, 11)],
    ids=str,
)
def test_negative_pads_crop_after_extending(mode, pads):
    kernel, x = draw((2,), 12), draw((4,), 13)
    extended = np.pad(x, [max(pad, 0) for pad in pads], mode=MODES[mode])
    cropped = extended[max(-pads[0], 0) : extended.size - max(-pads[1], 0)]
    expected = valid_correlation(kernel, cropped)
    assert expected.size == 4 + sum(pads) - 1
    matrix = stc.conv_matrix(kernel, 4, padding=(pads,), padding_mode=mode)
    np.testing.assert_array_equal(matrix @ x, expected)


def test_modes_are_told_apart():
    # where two modes gave one matrix, agreeing with np.pad would say less
    kernel = draw((4,), 14)
    matrices = {mode: stc.conv_matrix(kernel, 5, padding=3, padding_mode=mode).toarray() for mode in MODES}
    assert len({matrix.tobytes() for matrix in matrices.values()}) == len(MODES)
