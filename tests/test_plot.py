"""Pictures without pictures: what is drawn, where, and with which words."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from reference import extension_index

import sparsetconv as stc
from sparsetconv import plot
from sparsetconv._geometry.padding import PADDING_MODES
from sparsetconv._methods.registry import METHODS
from sparsetconv.operators._channels_last import ChannelsLastOperator
from sparsetconv.plot import _entries, _sampled

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402

KERNEL = np.arange(1, 10).reshape(3, 3)
NUMBERED = stc.ConvOperator(KERNEL, (4, 4))


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def words(ax):
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def cells(ax):
    """Return the shade of each cell by its place (row, column)."""
    return {(round(p.get_y()), round(p.get_x())): p.get_facecolor() for p in ax.patches}


def luminance(colour):
    return float(np.dot(colour[:3], (0.299, 0.587, 0.114)))


def contrast(a, b):
    """Return the contrast of two colours as WCAG defines it."""

    def relative(colour):
        c = np.asarray(matplotlib.colors.to_rgb(colour))
        linear = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    light, dark = sorted((relative(a), relative(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


DRAWINGS = {
    "matrix": lambda **ax: plot.matrix(NUMBERED, **ax),
    "pattern": lambda **ax: plot.matrix(stc.conv_matrix(KERNEL, (9, 9)), **ax),
    "connectivity": lambda **ax: plot.connectivity(NUMBERED, **ax),
    "padding": lambda **ax: plot.padding(**ax),
    "kernel": lambda **ax: plot.kernel(KERNEL, **ax),
    "method-costs": lambda **ax: plot.method_costs((64, 64), **ax),
}

each_drawing = pytest.mark.parametrize("name", DRAWINGS)


@each_drawing
def test_axes(name):
    figure, (left, right) = plt.subplots(1, 2)
    assert DRAWINGS[name](ax=right) is right
    assert not left.has_data()
    assert right.has_data()
    new = DRAWINGS[name]()
    assert new.figure is not figure
    assert new.has_data()
    assert len(plt.get_fignums()) == 2


@each_drawing
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_words_are_legible_on_any_theme(name, style):
    with plt.style.context(style):
        ax = DRAWINGS[name]()
        ax.figure.canvas.draw()
        background = ax.figure.get_facecolor()
        faces = cells(ax)
        for text in ax.texts:
            x, y = text.get_position()
            face = faces.get((int(np.floor(y)), int(np.floor(x))), (0, 0, 0, 0))
            beneath = background if face[3] == 0 else face
            assert contrast(text.get_color(), beneath) > 3, text.get_text()
        for line in ax.lines:
            assert contrast(line.get_color(), background) > 2.8, line.get_label()


@each_drawing
def test_words_do_not_overlap(name):
    ax = DRAWINGS[name]()
    figure = ax.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    labels = [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]
    boxes = [t.get_window_extent(renderer) for t in labels if t.get_text()]
    shown = sorted(ax.get_ylim())
    labels = zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    boxes += [t.get_window_extent(renderer) for y, t in labels if shown[0] <= y <= shown[1]]
    for i, a in enumerate(boxes):
        assert figure.bbox.padded(2).fully_containsx(a.x0)
        assert figure.bbox.padded(2).fully_containsy(a.y1)
        for b in boxes[:i]:
            assert not a.overlaps(b)


class TestMatrix:
    def test_values_and_places(self):
        ax = plot.matrix(NUMBERED)
        dense = NUMBERED.tosparse().toarray()
        drawn = np.zeros_like(dense)
        for text in ax.texts:
            column, row = text.get_position()
            drawn[int(row), int(column)] = int(text.get_text())
        np.testing.assert_array_equal(drawn, dense)
        assert set(cells(ax)) == set(zip(*np.nonzero(dense), strict=True))
        assert ticks(ax.yaxis) == ["(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)"]
        assert ticks(ax.xaxis)[:5] == ["(0, 0)", "(0, 1)", "(0, 2)", "(0, 3)", "(1, 0)"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("input", "output")
        # rows run down
        assert ax.get_ylim() == (4, 0)

    def test_larger_is_lighter(self):
        shades = cells(plot.matrix(NUMBERED))
        row = [luminance(shades[0, column]) for column in (0, 1, 2, 4, 5, 6, 8, 9, 10)]
        assert row == sorted(row)
        assert row[-1] - row[0] > 0.4

    def test_zeros_of_the_kernel_are_entries(self):
        ax = plot.matrix(stc.conv_matrix([1, 0], 3))
        assert words(ax) == ["1", "0", "1", "0"]

    def test_signs(self):
        # opposite numbers are equally far from white
        shades = cells(plot.matrix(stc.conv_matrix([2, -2, 0], 3)))
        assert luminance(shades[0, 2]) > 0.9
        assert luminance(shades[0, 0]) < 0.5
        assert luminance(shades[0, 1]) < 0.5
        assert to_hex(shades[0, 0]) != to_hex(shades[0, 1])

    def test_complex(self):
        assert words(plot.matrix(stc.conv_matrix([1 + 2j, -1.5j], 2))) == ["1\n+2j", "0\n-1.5j"]

    def test_kinds(self):
        forms = [NUMBERED.tosparse(), NUMBERED.tosparse().toarray(), NUMBERED]
        assert len({tuple(words(plot.matrix(A))) for A in forms}) == 1
        geometry = plot.matrix(NUMBERED.geometry)
        assert set(words(geometry)) == {"1"}
        assert set(cells(geometry)) == set(cells(plot.matrix(NUMBERED)))
        last = ChannelsLastOperator(stc.ConvOperator(np.ones((2, 1, 2)), (1, 4)))
        assert ticks(plot.matrix(last).yaxis)[:3] == ["(0, 0)", "(0, 1)", "(1, 0)"]
        for wrong in ("csr", np.ones(3), None):
            with pytest.raises(TypeError, match="A must be an operator, a geometry or a matrix"):
                plot.matrix(wrong)

    def test_booleans(self):
        assert words(plot.matrix(np.eye(2, dtype=bool))) == ["1", "1"]

    def test_large(self):
        A = stc.conv_matrix(KERNEL, (20, 20), padding="same")
        ax = plot.matrix(A)
        (image,) = ax.images
        np.testing.assert_array_equal(~image.get_array().mask, A.toarray() != 0)
        assert not ax.texts
        assert ax.get_xlabel() == "input, 400 samples"
        assert ax.get_ylabel() == "output, 400 samples"

    def test_very_large(self):
        # several rows and columns share a pixel, and no entry is lost
        A = stc.conv_matrix(np.ones((3, 3)), (60, 60), padding="same")
        pattern = ~plot.matrix(A).images[0].get_array().mask
        assert pattern.shape == (512, 512)
        entries = A.tocoo()
        expected = np.zeros((512, 512), bool)
        expected[(entries.row * 512) // 3600, (entries.col * 512) // 3600] = True
        np.testing.assert_array_equal(pattern, expected)


def joined(ax, strong):
    """Return the lines of a diagram as (input, output) positions; those that stand out, or the others."""
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2]
    return [tuple(line.get_xdata()) for line in lines if (line.get_color() == "#D55E00") == strong]


class TestConnectivity:
    def test_many_to_one(self):
        ax = plot.connectivity(stc.ConvGeometry(7, 3, stride=2), output=2)
        assert ax.get_title() == "many-to-one: 3 inputs make output 2"
        # seven inputs one apart about 0, three outputs 7 / 3 apart
        assert [x for x, _ in joined(ax, True)] == [1, 2, 3]
        assert {round(y, 9) for _, y in joined(ax, True)} == {round(7 / 3, 9)}
        assert len(joined(ax, False)) == 6
        assert ticks(ax.yaxis) == ["output", "input"]

    def test_one_to_many(self):
        T = stc.ConvTransposeOperator(KERNEL, (2, 2))
        ax = plot.connectivity(T, input=(1, 0))
        assert ax.get_title() == "one-to-many: input (1, 0) reaches 9 outputs"
        assert len(joined(ax, True)) == 9
        assert len(joined(ax, False)) == 27
        assert words(ax).count("(1, 0)") == 2
        bold = {text.get_text() for text in ax.texts if text.get_weight() == "bold"}
        reached = T.apply(np.eye(4)[2].reshape(2, 2)) != 0
        assert bold == {str(place) for place in zip(*(i.tolist() for i in np.nonzero(reached)), strict=True)}

    def test_what_stands_out_if_nothing_is_said(self):
        assert plot.connectivity(NUMBERED).get_title() == "many-to-one: 9 inputs make output (0, 0)"
        assert plot.connectivity(NUMBERED.T).get_title() == "one-to-many: input (0, 0) reaches 9 outputs"

    def test_one_of_one(self):
        ax = plot.connectivity(stc.conv_matrix([1], 3), output=1)
        assert ax.get_title() == "many-to-one: 1 input makes output 1"
        ax = plot.connectivity(stc.conv_matrix([1], 3), input=1)
        assert ax.get_title() == "one-to-many: input 1 reaches 1 output"

    def test_flat_places(self):
        ax = plot.connectivity(NUMBERED, output=3)
        assert ax.get_title() == "many-to-one: 9 inputs make output (1, 1)"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"output": 4}, r"output must be a place in an array of shape \(2, 2\), got 4"),
            ({"output": (0, 2)}, r"output must be a place .* got \(0, 2\)"),
            ({"input": (1, 1, 1)}, r"input must be a place in an array of shape \(4, 4\), got \(1, 1, 1\)"),
            ({"input": -1}, "input must be a place .* got -1"),
            ({"output": 0, "input": 0}, "output and input must not both be given, got 0 and 0"),
        ],
    )
    def test_bad_places(self, options, message):
        with pytest.raises(ValueError, match=message):
            plot.connectivity(NUMBERED, **options)

    def test_too_large(self):
        with pytest.raises(ValueError, match="at most 64 inputs and outputs to be drawn, got 63 x 65"):
            plot.connectivity(stc.ConvGeometry(65, 3))


class TestPadding:
    def rows(self, ax):
        found = {}
        for text in ax.texts:
            x, y = text.get_position()
            found.setdefault(int(y), {})[int(np.floor(x))] = text.get_text()
        return ["".join(row[x] for x in sorted(row)) for _, row in sorted(found.items())]

    def test_modes(self):
        ax = plot.padding(4, 3)
        assert ticks(ax.yaxis) == list(PADDING_MODES)
        shown = {"zeros": "000abcd000", "reflect": "dcbabcdcba", "symmetric": "cbaabcddcb"}
        shown |= {"replicate": "aaaabcdddd", "circular": "bcdabcdabc"}
        rows = dict(zip(PADDING_MODES, self.rows(ax), strict=True))
        assert {mode: rows[mode] for mode in shown} == shown
        for mode, row in rows.items():
            samples = [extension_index(mode, 4, p) for p in range(-3, 7)]
            assert row == "".join("0" if s is None else "abcd"[s] for s in samples)

    @pytest.mark.parametrize("name", ["constant", "reflect", "symmetric", "edge", "wrap"])
    def test_beside_numpy(self, name):
        # longer than the signal too
        ax = plot.padding(3, (8, 7), modes=[name])
        samples = np.array([ord(letter) for letter in "abc"])
        options = {"constant_values": ord("0")} if name == "constant" else {}
        expected = np.pad(samples, (8, 7), mode=name, **options)
        assert self.rows(ax) == ["".join(map(chr, expected))]
        assert ticks(ax.yaxis) == [name]

    def test_one_shade_for_each_sample(self):
        ax = plot.padding(4, 3, modes="circular")
        (row,) = self.rows(ax)
        shades = [to_hex(p.get_facecolor()) for p in ax.patches]
        assert len(set(shades)) == 4
        assert len(set(zip(row, shades, strict=True))) == 4
        # what stands outside is smaller
        assert [p.get_width() == 1 for p in ax.patches] == [False] * 3 + [True] * 4 + [False] * 3

    def test_bad_input(self):
        with pytest.raises(ValueError, match="size must be at most 26, the number of letters, got 27"):
            plot.padding(27)
        with pytest.raises(ValueError, match=r"pad\[1\] must be at least 0, got -1"):
            plot.padding(4, (1, -1))
        with pytest.raises(ValueError, match=r"modes must be one of zeros, .*; got 'mirror'"):
            plot.padding(4, 1, modes="mirror")


class TestKernel:
    def test_picture(self):
        ax = plot.kernel([[1, 2], [0, -1.25]])
        assert words(ax) == ["1", "2", "0", "-1.25"]
        assert sorted(cells(ax)) == [(0, 0), (0, 1), (1, 0), (1, 1)]

    def test_line(self):
        assert words(plot.kernel([1, 0.5, 0.123456])) == ["1", "0.5", "0.123"]

    def test_channels(self):
        weights = np.arange(24).reshape(3, 2, 2, 2)
        ax = plot.kernel(weights)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("input channel", "output channel")
        assert ticks(ax.xaxis) == ["0", "1"]
        assert ticks(ax.yaxis) == ["0", "1", "2"]
        # tiles stand one cell apart: the first weight of output channel 2, input channel 1
        found = {tuple(np.floor(t.get_position()).astype(int)): t.get_text() for t in ax.texts}
        assert found[3, 6] == str(weights[2, 1, 0, 0])
        assert (2, 0) not in found
        assert len(found) == 24

    def test_operators(self):
        assert words(plot.kernel(NUMBERED)) == list("123456789")

    def test_many_weights_without_numbers(self):
        weights = np.random.default_rng(0).standard_normal((8, 6, 7, 7))
        ax = plot.kernel(weights)
        (image,) = ax.images
        assert image.get_array().shape == (8 * 8 - 1, 6 * 8 - 1, 4)
        # between the tiles nothing is painted
        assert (image.get_array()[..., 3] > 0).sum() == weights.size
        assert not ax.texts

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"between one and four axes .* got the shape \(2, 1, 1, 1, 1\)"):
            plot.kernel(np.ones((2, 1, 1, 1, 1)))
        with pytest.raises(ValueError, match=r"not be empty, got the shape \(0,\)"):
            plot.kernel([])


class TestMethodCosts:
    def test_estimates(self):
        ax = plot.method_costs((512, 256), [3, 7, 31], dtype="float64", stride=2)
        assert [line.get_label() for line in ax.lines] == list(METHODS)
        for line in ax.lines:
            assert list(line.get_xdata()) == [3, 7, 31]
        from sparsetconv._methods import cost

        g = stc.ConvGeometry((512, 256), (7, 7), stride=2, padding="same")
        expected = cost.estimate(g, np.dtype("float64"))
        assert {line.get_label(): line.get_ydata()[1] for line in ax.lines} == pytest.approx(
            {name: 1e3 * seconds for name, seconds in expected.items()}
        )
        assert ax.get_legend().get_title().get_text() == "512 x 256, float64"
        assert ax.get_xscale() == ax.get_yscale() == "log"

    def test_lines_differ_in_more_than_colour(self):
        lines = plot.method_costs((64, 64)).lines
        for look in ("get_marker", "get_color"):
            assert len({getattr(line, look)() for line in lines}) == len(METHODS)
        # matplotlib has a name for four ways to dash a line, and no other word for the rest
        assert len({line.get_linestyle() for line in lines}) == min(len(METHODS), 4)

    def test_channels(self):
        ax = plot.method_costs(100, channels=(8, 3))
        assert ax.get_legend().get_title().get_text() == "100, float32, 3 to 8 channels"
        assert ax.get_xlabel() == "taps of the kernel"
        one = {line.get_label(): line.get_ydata() for line in plot.method_costs(100).lines}
        for line in ax.lines:
            assert line.get_ydata()[-1] > one[line.get_label()][-1]

    def test_default_sizes_fit(self):
        assert ticks(plot.method_costs((20, 64)).xaxis) == ["1", "3", "5", "7", "9", "11", "15"]


def test_without_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import sparsetconv as stc\n"
        "for draw in (lambda: stc.plot.kernel([1]), stc.plot.padding, lambda: stc.plot.method_costs(9)):\n"
        "    try: draw()\n"
        "    except ImportError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message = 'plots need matplotlib, which is not installed: python -m pip install "sparsetconv[plot]"'
    assert result.stdout.splitlines() == [message] * 3


class TestWhatIsGiven:
    """Operators and matrices of others, numbers that are none, and what cannot be drawn."""

    def test_any_linear_operator(self):
        ax = plot.matrix(NUMBERED @ NUMBERED.H)
        expected = (NUMBERED.tosparse() @ NUMBERED.tosparse().T).toarray()
        assert words(ax) == [str(v) for v in expected.ravel()]
        large = stc.ConvOperator(KERNEL, (20, 20))
        with pytest.raises(ValueError, match=r"A must have at most 64 rows and columns .* got 324 x 324"):
            plot.matrix(large @ large.H)

    def test_duplicates_are_one_entry(self):
        twice = sp.coo_array(([1, 2], ([0, 0], [0, 0])), shape=(1, 2))
        assert words(plot.matrix(twice)) == ["3"]
        assert plot.connectivity(twice, output=0).get_title() == "many-to-one: 1 input makes output 0"
        assert twice.nnz == 2

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_one_bad_number_leaves_the_others(self, bad):
        values = np.array([[1.0, 2.0], [bad, 4.0]])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for ax in (plot.matrix(values), plot.kernel(values)):
                assert words(ax) == ["1", "2", str(bad), "4"]
                faces = cells(ax)
                assert len({faces[place] for place in ((0, 0), (0, 1), (1, 1))}) == 3

    @pytest.mark.parametrize(
        ("draw", "message"),
        [
            (lambda: plot.matrix(np.zeros((0, 3))), "A must have rows and columns to be drawn, got 0 x 3"),
            (lambda: plot.matrix(sp.coo_array([1, 2])), r"A must be .*, got int64 of the shape \(2,\)"),
            (lambda: plot.matrix(NUMBERED, ax=3), "ax must be an Axes of matplotlib, got int"),
            (lambda: plot.kernel(KERNEL, ax=plt.figure()), "ax must be an Axes of matplotlib, got Figure"),
            (lambda: plot.kernel([["a"]]), "weights must be float32, .* got <U1"),
            (lambda: plot.padding(5, 1000), "size and pad must make at most 100 samples, got 2005"),
            (lambda: plot.padding(modes=[]), "modes must name at least one mode, got none"),
            (lambda: plot.method_costs(64, []), r"kernel_sizes must be 1 to 100 numbers, got 0"),
            (lambda: plot.method_costs(64, [0]), r"kernel_sizes\[0\] must be at least 1, got 0"),
            (lambda: plot.method_costs(64, channels=3), r"channels must be \(c_out, c_in\), got 3"),
            (lambda: plot.method_costs(64, dtype="float16"), "dtype must be float32, .* got float16"),
        ],
    )
    def test_bad_input(self, draw, message):
        with pytest.raises((TypeError, ValueError), match=message):
            draw()

    @pytest.mark.parametrize("dtype", [bool, np.float16, np.longdouble])
    def test_kernels_that_no_operator_takes_are_drawn(self, dtype):
        assert len(words(plot.kernel(np.ones((2, 3), dtype)))) == 6

    def test_one_size(self):
        assert [len(line.get_xdata()) for line in plot.method_costs((64, 64), 3).lines] == [1] * len(METHODS)


def small_operators():
    """Yield operators of every kind with strides, dilation, groups, and pads longer than the signal."""
    rng = np.random.default_rng(0)
    for mode in PADDING_MODES:
        options = {
            "stride": (2, 3),
            "dilation": (3, 2),
            "padding": ((1, 9), (4, 3)),
            "padding_mode": mode,
        }
        A = stc.ConvOperator(rng.random((4, 2, 2, 3)), (4, 5, 7), groups=2, flip=True, **options)
        yield from (A, A.H, A.gram(), ChannelsLastOperator(A), A.geometry)
        K = stc.KernelOperator(rng.random(A.input_shape), A.kernel.shape, groups=2, flip=True, **options)
        yield from (K, K.H)
        shape = {"output_shape": A.input_shape, "transposed": True}
        yield stc.KernelOperator(
            rng.random(A.output_shape), A.kernel.shape, groups=2, flip=True, **shape, **options
        )
    R = stc.ResizeOperator((5, 7), (9, 4), mode="cubic", antialias=True)
    yield from (R, R.H, R.gram())


class TestHugeOperators:
    """What is asked for does not grow with the matrix, and is a part of its pattern."""

    @pytest.mark.parametrize("A", list(small_operators()), ids=lambda A: type(A).__name__)
    def test_a_pixel_for_each_entry_is_the_exact_pattern(self, A):
        entries = _entries.entries_of(A)
        expected = np.zeros(entries.shape, bool)
        expected[entries.coords] = True
        found = _sampled.picture(A, *entries.shape)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        "A",
        [
            stc.ConvOperator(KERNEL, (120, 120), padding="same", padding_mode="reflect"),
            stc.ConvOperator(KERNEL, (120, 120), stride=4),
            stc.ConvOperator(KERNEL, (120, 120), stride=4).T,
            stc.ConvOperator(np.ones((21, 23)), (40, 40), padding="same"),
            stc.conv_matrix(KERNEL, (120, 120), padding="same"),
            stc.ResizeOperator((50, 50), scale=2, mode="bicubic"),
        ],
        ids=["same", "stride", "transposed", "many taps", "matrix", "resize"],
    )
    def test_a_sample_of_the_rows_shows_what_all_of_them_show(self, A, monkeypatch):
        expected, complete = _entries.pattern_of(A, *A.shape, 128)
        assert complete
        monkeypatch.setattr(_entries, "LARGEST_PATTERN", 1)
        found, complete = _entries.pattern_of(A, *A.shape, 128)
        assert not complete
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        "A",
        [
            stc.ConvOperator(KERNEL, (4096, 4096), padding="same"),
            stc.ConvOperator(KERNEL, (4096, 4096), padding="same").H,
            stc.ConvOperator(KERNEL, (4096, 4096), padding="same", padding_mode="reflect").gram(),
            stc.ConvGeometry((3, 10**6, 10**6, 10**3), (8, 3, 99, 99, 99), stride=3, padding=49),
            stc.ResizeOperator((2000, 2000), scale=2, mode="bicubic"),
            stc.KernelOperator(np.ones((500, 500)), (9, 9), padding="same"),
        ],
        ids=["16 million rows", "adjoint", "Gram", "geometry", "resize", "of a kernel"],
    )
    def test_numbers_asked_for_are_bounded(self, A, monkeypatch):
        asked = []
        thinned = _sampled._thinned

        def counted(*arguments):
            numbers = thinned(*arguments)
            asked.append(numbers.size)
            return numbers

        def assembled(*_):
            pytest.fail("all entries were asked for")

        monkeypatch.setattr(_sampled, "_thinned", counted)
        monkeypatch.setattr(_entries, "entries_of", assembled)
        ax = plot.matrix(A)
        assert sum(asked) < 3e6
        assert ax.images[0].get_array().shape == tuple(
            min(np.prod(s, dtype=object), 512) for s in _entries.drawable(A)[1:]
        )
        assert "sample" in ax.get_title()

    def test_diagram_refuses_before_anything_is_assembled(self, monkeypatch):
        monkeypatch.setattr(_entries, "entries_of", lambda _: pytest.fail("all entries were asked for"))
        with pytest.raises(ValueError, match="at most 64 inputs and outputs to be drawn, got 16777216 x"):
            plot.connectivity(stc.ConvOperator(KERNEL, (4096, 4096), padding="same"))

    def test_operators_without_a_known_structure_are_refused(self, monkeypatch):
        monkeypatch.setattr(_entries, "LARGEST_PATTERN", 10)
        monkeypatch.setattr(_entries, "picture", lambda *_: None)
        with pytest.raises(
            ValueError, match=r"at most 10 entries .* unless it is a convolution .* got 81 x 81"
        ):
            plot.matrix(stc.ConvOperator(KERNEL, (9, 9), padding="same"))

    def test_rows_without_entries_are_no_sample(self):
        # one row of a thousand has entries
        A = sp.csr_array((np.ones(50), (np.arange(50) * 1000 + 7, np.arange(50))), shape=(50_000, 50))
        np.testing.assert_array_equal(_sampled.picture(A, 50, 50), np.eye(50, dtype=bool))

    def test_kernels(self):
        weights = np.arange(3000 * 2000).reshape(3000, 2000)
        drawn = plot.kernel(weights).images[0].get_array()
        assert drawn.shape == (1024, 1024, 4)
        assert plot.kernel(np.ones((300, 300, 3, 3))).images[0].get_array().shape == (1024, 1024, 4)

    @pytest.mark.parametrize(
        ("draw", "message"),
        [
            (lambda: plot.padding(modes=["zeros"] * 101), "modes must name at most 100 modes, got 101"),
            (lambda: plot.method_costs(9, [1] * 101), "kernel_sizes must be 1 to 100 numbers, got 101"),
        ],
    )
    def test_what_no_picture_can_show(self, draw, message):
        with pytest.raises(ValueError, match=message):
            draw()
