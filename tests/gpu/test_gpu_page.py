"""The block of the page on GPUs runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


@pytest.mark.parametrize("mode", ["zeros", "reflect", "symmetric", "replicate", "circular"])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_block_runs(cp, mode, noise):
    block, cards, graph = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert "noise = 0.01" in block
    block = block.replace('"reflect"', f'"{mode}"').replace("noise = 0.01", f"noise = {noise}")
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    exec(compile(cards, str(PAGE), "exec"), names)
    assert names["blurred"].device.id == names["last"]
    blurred = (names["seen"] - names["noise"].ravel()).get().reshape(names["picture"].shape)
    np.testing.assert_allclose(names["blurred"].get(), blurred, atol=1e-12)
    assert isinstance(names["sharp"], cp.ndarray)
    picture, seen, sharp = (names[name].get() for name in ("picture", "seen", "sharp"))
    seen = seen.reshape(picture.shape)
    assert np.linalg.norm(sharp - picture) < np.linalg.norm(seen - picture)
    product = names["R"] @ names["picture"].ravel()
    assert product.shape == (4 * picture.size,)
    noise = names["noise"].get()
    np.testing.assert_allclose(names["on_host"].apply(picture) + noise, seen, atol=1e-12)
    exec(compile(graph, str(PAGE), "exec"), names)
    expected = names["D"].H.apply(names["D"].apply(names["picture"])).get()
    np.testing.assert_array_equal(names["result"].get(), expected)
    assert names["matrix"].shape == (picture.size, picture.size)
