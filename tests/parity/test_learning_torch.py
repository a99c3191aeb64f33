"""The kernel that `fit_kernel` returns is where torch's gradient vanishes; our operator inside torch's autograd."""

import re
from pathlib import Path

import numpy as np
import pytest

import sparsetconv as stc

torch = pytest.importorskip("torch")

# transposed, kernel shape, input shapes, options of ours, options of torch's
CASES = {
    "transposed": (True, (3, 2, 4, 5), [(3, 11, 12), (3, 9, 13)], {"stride": 2, "padding": 1}),
    "transposed groups": (True, (4, 2, 4, 3), [(4, 11, 12)], {"stride": (2, 3), "groups": 2, "dilation": (1, 2)}),
    "forward": (False, (2, 3, 4, 5), [(3, 21, 22), (3, 19, 23)], {"stride": 2, "padding": 1}),
    "forward groups": (False, (4, 2, 4, 3), [(4, 21, 32)], {"stride": (2, 3), "groups": 2, "dilation": (1, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("ridge", [0.0, 3.0])
@pytest.mark.parametrize("name", CASES)
def test_optimum_has_zero_gradient(name, ridge):
    transposed, kernel_shape, shapes, options = CASES[name]
    convolve = torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d
    rng = np.random.default_rng(0)
    inputs = [torch.tensor(rng.standard_normal(shape)) for shape in shapes]
    outputs = [
        convolve(x[None], torch.zeros(kernel_shape, dtype=torch.float64), **options)[0] for x in inputs
    ]
    targets = [torch.tensor(rng.standard_normal(y.shape)) for y in outputs]

    def loss(w):
        pairs = zip(inputs, targets, strict=True)
        error = sum(((convolve(x[None], w, **options)[0] - y) ** 2).sum() for x, y in pairs)
        return error + ridge * (w**2).sum()

    kernel = stc.fit_kernel(
        [x.numpy() for x in inputs], [y.numpy() for y in targets], kernel_shape,
        transposed=transposed, ridge=ridge, **options,
    )  # fmt: skip
    w = torch.tensor(kernel, requires_grad=True)
    loss(w).backward()
    start = torch.zeros(kernel_shape, dtype=torch.float64, requires_grad=True)
    loss(start).backward()
    assert w.grad.abs().max() < 1e-11 * start.grad.abs().max()


def convolution_of_the_page():
    """Run the block of docs/learning.md that defines the function."""
    page = (Path(__file__).parents[2] / "docs" / "learning.md").read_text()
    (block,) = [
        b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if b.startswith("import torch")
    ]
    names = {}
    exec(block, names)
    return names["TransposedConvolution"]


@pytest.mark.parametrize(
    "options", [{"stride": 2, "padding": 1}, {"stride": (2, 1), "groups": 2, "padding": (0, 2)}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_two_directions_as_forward_and_backward(options, dtype):
    function = convolution_of_the_page()
    rng = np.random.default_rng(0)

    def random(*shape):
        values = torch.tensor(rng.standard_normal(shape), dtype=dtype)
        return values + 1j * torch.tensor(rng.standard_normal(shape)) if dtype.is_complex else values

    x, w = random(4, 5, 6).requires_grad_(), random(4, 3, 4, 3).requires_grad_()
    ours = function.apply(x, w, options)
    theirs = torch.nn.functional.conv_transpose2d(x[None], w, **options)[0]
    assert torch.allclose(ours, theirs, atol=1e-12)
    weights = random(*ours.shape)
    expected = torch.autograd.grad(theirs, (x, w), weights)
    found = torch.autograd.grad(ours, (x, w), weights)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-11)
    assert torch.autograd.gradcheck(lambda *pair: function.apply(*pair, options), (x, w))
