"""The pages' examples hold beside their own conditions: every border, and noise other than theirs.

What a page shows is run with its border and its noise replaced, on small pictures; it has to come out nearer
to the truth than what was seen, which is what doing nothing gives.
"""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
from operator_cases import MODES
from scipy.sparse.linalg import splu
from strategies import stand_for

import sparsetconv as stc

ROOT = Path(__file__).parent.parent
each_border = pytest.mark.parametrize("mode", MODES)


def bars(seed=0):
    """Return a picture with edges: bars of random widths, both ways."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.repeat(rng.random(16), rng.integers(2, 12, 16)) for _ in range(2))
    return (rows[:80, None] + columns[None, :90]) / 2


def psnr(found, truth):
    return -10 * np.log10(np.mean((found - truth) ** 2))


def replaced(text, **values):
    """Return a program with other values for words of it, each of which it has to have."""
    for old, new in values.values():
        assert old in text, old
        text = text.replace(old, new)
    return text


def program(page, start, stop):
    """Return what the examples of a page say between two headings."""
    text = (ROOT / page).read_text()
    part = text[text.index(start) : text.index(stop)]
    return "".join(example.source for example in doctest.DocTestParser().get_examples(part))


class TestReadme:
    BLOCK = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "lsmr" in block
    )

    @each_border
    @pytest.mark.parametrize("noise", stand_for([0.0, 0.01, 0.05], [0.003, 0.03]))
    def test_deblurring_is_no_worse_than_doing_nothing(self, mode, noise):
        names = {"picture": bars()}
        exec(replaced(self.BLOCK, noise=("0.01 *", f"{noise} *"), border=('"reflect"', f'"{mode}"')), names)
        picture = names["picture"]
        seen = names["seen"].reshape(picture.shape)
        gain = psnr(names["sharp"], picture) - psnr(seen, picture)
        assert gain > (2 if noise <= 0.01 else 0)


class TestGetStarted:
    @each_border
    @pytest.mark.parametrize("noise", stand_for([0.0, 0.01], [0.003, 0.05]))
    def test_recovered_is_nearer_than_what_was_seen(self, mode, noise):
        text = program("docs/get_started.md", "## Blur it", "## The border matters")
        text = replaced(text, noise=("noise = 0.003", f"noise = {noise}"), border=('"reflect"', f'"{mode}"'))
        names = {"picture": bars(), "np": np, "stc": stc, "print": lambda *_: None}
        exec(text, names)
        gain = psnr(names["sharp"], names["picture"]) - psnr(names["seen"], names["picture"])
        assert gain > 1
        # the rule has found a weight, or has come to the end of the list where there is no noise
        assert names["misfit"] <= noise or names["weight"] == 0.001


class TestBlindDeconvolution:
    @each_border
    @pytest.mark.parametrize("noise", stand_for([0.0, 0.01], [0.001]))
    def test_sky_and_kernel_are_nearer_than_at_the_start(self, mode, noise):
        text = program("docs/learning.md", "## Blind deconvolution", "## Inside torch")
        text = replaced(
            text,
            noise=("noise, threshold = 0.001", f"noise, threshold = {noise}"),
            border=('"zeros"', f'"{mode}"'),
        )
        names = {"np": np, "stc": stc, "rng": np.random.default_rng(1)}
        exec(text, names)
        stars, blur = names["stars"], names["blur"]
        assert np.linalg.norm(names["sky"] - stars) < 0.5 * np.linalg.norm(names["seen"] - stars)
        assert np.linalg.norm(names["kernel"] - blur) < 0.2 * np.linalg.norm(1 / blur.size - blur)


class TestSpikes:
    @each_border
    @pytest.mark.parametrize("noise", stand_for([0.001, 0.05], [0.01]))
    def test_recovered_is_nearer_than_what_was_seen(self, mode, noise):
        text = program("docs/guide/solvers.md", "# Solvers", "## Which one")
        text += program("docs/guide/solvers.md", "## Steps of one's own", "## Spectra")
        text = replaced(text, noise=("noise = 0.01", f"noise = {noise}"), border=('"symmetric"', f'"{mode}"'))
        names = {}
        exec(text, names)
        assert names["largest"] <= names["bound"] * (1 + 1e-12)
        spikes = names["spikes"]
        assert np.linalg.norm(names["estimate"] - spikes) < 0.2 * np.linalg.norm(names["seen"] - spikes)


class TestNormBound:
    """The root of the largest row sum times the largest column sum, which the steps of the examples rest on."""

    @each_border
    @pytest.mark.parametrize("stride", [1, 2, 3])
    def test_norm_is_not_larger(self, mode, stride):
        rng = np.random.default_rng(stride)
        kernel = rng.standard_normal((4, 3))
        options = {"stride": stride, "padding": ((3, 5), (2, 4)), "padding_mode": mode}
        dense = stc.conv_matrix(kernel, (7, 8), **options).toarray()
        absolute = stc.ConvOperator(abs(kernel), (7, 8), **options)
        rows, columns = absolute @ np.ones(56), absolute.H @ np.ones(len(dense))
        bound = np.sqrt(rows.max() * columns.max())
        assert np.linalg.norm(dense, 2) <= bound
        # of absolute weights, before the border folds them
        assert (rows >= abs(dense).sum(1) - 1e-12).all()
        assert (columns >= abs(dense).sum(0) - 1e-12).all()

    @pytest.mark.parametrize("mode", ["reflect", "symmetric", "replicate"])
    def test_sum_of_the_weights_is_no_bound_where_a_border_folds(self, mode):
        A = stc.conv_matrix([0.5, 0.3, 0.2, 0.0, 0.0], 12, padding="same", padding_mode=mode)
        assert np.linalg.norm(A.toarray(), 2) > 1.01


class TestPoisson:
    """What the page says of the five-point stencil, against a Laplacian made of Kronecker products."""

    FIVE = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])

    @staticmethod
    def line(n, corner):
        matrix = 2 * np.eye(n, dtype=int) - np.eye(n, k=1, dtype=int) - np.eye(n, k=-1, dtype=int)
        matrix[0, 0] = matrix[-1, -1] = corner
        return matrix

    @pytest.mark.parametrize(("mode", "corner"), [("zeros", 2), ("replicate", 1), ("symmetric", 1)])
    def test_border_is_the_boundary_condition(self, mode, corner):
        A = stc.conv_matrix(self.FIVE, (4, 5), padding=1, padding_mode=mode)
        along, across = self.line(4, corner), self.line(5, corner)
        expected = np.kron(along, np.eye(5, dtype=int)) + np.kron(np.eye(4, dtype=int), across)
        np.testing.assert_array_equal(A.toarray(), expected)
        stored = A.nnz
        A.eliminate_zeros()
        assert A.nnz == np.count_nonzero(expected) < stored
        # singular where no value is given anywhere, and then of constants alone
        assert np.linalg.matrix_rank(expected) == 20 - (mode != "zeros")
        assert mode == "zeros" or not (A @ np.ones(20, int)).any()

    def test_reflected_border_is_not_symmetric(self):
        A = stc.conv_matrix(self.FIVE, (4, 5), padding=1, padding_mode="reflect").toarray()
        assert (A != A.T).any()
        # nodes on the boundary stand for half a cell: with that weight it is
        half = np.ones((4, 5), int) * 2
        half[[0, -1]] //= 2
        weights = half * np.array([1, 2, 2, 2, 1])
        scaled = weights.reshape(-1, 1) * A
        np.testing.assert_array_equal(scaled, scaled.T)

    def test_stored_zeros_fill_the_factors(self):
        A = stc.conv_matrix(self.FIVE.astype(float), (31, 31), padding=1, format="csc")
        before = splu(A)
        A.eliminate_zeros()
        after = splu(A)
        assert before.L.nnz + before.U.nnz > 1.2 * (after.L.nnz + after.U.nnz)
