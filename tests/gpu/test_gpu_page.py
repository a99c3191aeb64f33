"""The block of the page on GPUs runs as it stands there."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


def test_block_runs(cp):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert isinstance(names["sharp"], cp.ndarray)
    picture, blurred, sharp = (names[name].get() for name in ("picture", "blurred", "sharp"))
    assert np.linalg.norm(sharp - picture) < np.linalg.norm(blurred - picture)
    product = names["R"] @ names["picture"].ravel()
    assert product.shape == (4 * picture.size,)
    np.testing.assert_allclose(names["on_host"].apply(picture), blurred, atol=1e-12)
    assert names["matrix"].shape == (picture.size, picture.size)
