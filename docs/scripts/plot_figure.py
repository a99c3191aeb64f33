"""Draw the figure of ``docs/plot.md``: ``python docs/scripts/plot_figure.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import sparsetconv as stc

IMAGES = Path(__file__).parents[1] / "images"


def main() -> None:
    """Draw one picture of each kind."""
    A = stc.ConvOperator(np.arange(1, 10).reshape(3, 3), (4, 4))
    edges = np.array([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]]])
    figure, axes = plt.subplot_mosaic(
        [["matrix", "matrix"], ["connectivity", "padding"], ["kernel", "costs"]],
        figsize=(9.6, 9.4),
        height_ratios=(1.25, 1, 1.5),
        layout="constrained",
    )
    stc.plot.matrix(A, ax=axes["matrix"])
    stc.plot.connectivity(stc.ConvTransposeOperator([1, 2, 3], 4, stride=2), ax=axes["connectivity"])
    stc.plot.padding(4, 3, ax=axes["padding"])
    stc.plot.kernel(edges, ax=axes["kernel"])
    stc.plot.method_costs((1024, 1024), ax=axes["costs"])
    figure.savefig(IMAGES / "plot.png", dpi=110)


if __name__ == "__main__":
    main()
