"""Score fixed and learned up-sampling, and write the table: ``python docs/scripts/upsampling_table.py``.

The pictures are those of scikit-image that the kernels were not fitted to. Each is reduced by antialiased
bicubic and enlarged again; PSNR and SSIM are of all channels, values cut off at 0 and 1, without a border of
16 pixels. The table replaces the one in ``docs/upsampling.md``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from learned_kernels import FITTED, HELD_OUT, picture
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sparsetconv import pictures

PAGE = Path(__file__).parents[1] / "upsampling.md"
BEGIN, END = "<!-- table: docs/scripts/upsampling_table.py -->\n", "<!-- end of the table -->\n"
SCALES, BORDER = (2, 3, 4), 16


def scores(large: np.ndarray, larger: np.ndarray) -> tuple[float, float]:
    """Return PSNR in dB, and SSIM."""
    a, b = (side.clip(0, 1)[BORDER:-BORDER, BORDER:-BORDER] for side in (large, larger))
    channels = -1 if a.ndim == 3 else None
    return (
        peak_signal_noise_ratio(a, b, data_range=1.0),
        structural_similarity(a, b, data_range=1.0, channel_axis=channels),
    )


def rows(scale: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the scores of every mode for every picture."""
    found = {}
    for name in HELD_OUT:
        small, large = pictures.shrink(picture(name), scale)
        found[name] = {mode: scores(large, pictures.upsample(small, scale, mode)) for mode in pictures.MODES}
    return found


def table(scale: int) -> list[str]:
    """Return the lines of one scale's table, and print what is claimed of it."""
    found = rows(scale)
    means = {mode: np.mean([row[mode] for row in found.values()], 0) for mode in pictures.MODES}
    gain = means["learned"][0] - means["bicubic"][0]
    ahead = [
        row["learned"][0] - max(row[mode][0] for mode in pictures.MODES if mode != "learned")
        for row in found.values()
    ]
    print(f"scale {scale}: {gain:.2f} dB over bicubic, at least {min(ahead):.2f} over the best fixed mode")
    taps = len(pictures.learned_kernel(scale))
    lines = [
        f"Scale {scale}, learned kernel {taps} x {taps}: **{gain:.2f} dB** over bicubic in the "
        f"mean; ahead of the best fixed mode by {min(ahead):.2f} to {max(ahead):.2f} dB.",
        "",
        "| picture | " + " | ".join(pictures.MODES) + " |",
        "|---|" + "---|" * len(pictures.MODES),
    ]
    for name, row in {**found, "**mean**": means}.items():
        cells = [f"{row[mode][0]:.2f} / {row[mode][1]:.4f}" for mode in pictures.MODES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def main() -> None:
    """Score, and write."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    lines = [f"Fitted to {', '.join(FITTED)}. PSNR in dB / SSIM.", ""]
    for scale in SCALES:
        lines += table(scale)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + END + after)


if __name__ == "__main__":
    main()
