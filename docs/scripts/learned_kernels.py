"""Fit the kernels that come with the package: ``python docs/scripts/learned_kernels.py``.

It writes ``sparsetconv/pictures/learned_kernels.npz``: for the scales 2, 3 and 4 the kernel of six pixels'
width that restores eight of scikit-image's pictures best, as float32. The same pictures,
always; see `FITTED`.
"""

from __future__ import annotations

import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import skimage
from skimage import io

from sparsetconv import pictures
from sparsetconv.pictures._enlarge import SHIPPED

FITTED = ("brick", "camera", "cell", "coffee", "coins", "grass", "gravel", "ihc")
HELD_OUT = (
    "astronaut",
    "chelsea",
    "clock_motion",
    "hubble_deep_field",
    "microaneurysms",
    "motorcycle_left",
    "page",
    "retina",
    "rocket",
    "text",
)
# Left out: moon, stored with every pixel doubled (nearest undoes a shrinking by 2), motorcycle_right,
# which shows what motorcycle_left shows, and what is drawn, not photographed.
# six pixels wide, and one weight more where the scale is odd: a middle over the middle of a pixel
TAPS = {2: 12, 3: 19, 4: 24}


def picture(name: str) -> np.ndarray:
    """Return one of scikit-image's pictures, with values from 0 to 1 and without opacity."""
    (path,) = (Path(skimage.__file__).parent / "data").glob(f"{name}.[pj][np]g")
    array = io.imread(path)
    array = array[..., :3] if array.ndim == 3 else array
    return array / np.iinfo(array.dtype).max


def main() -> None:
    """Fit, and write."""
    kernels = {}
    for scale, taps in TAPS.items():
        start = time.perf_counter()
        kernel = pictures.learn((picture(name) for name in FITTED), scale, taps)
        seconds = time.perf_counter() - start
        kernels[str(scale)] = kernel.astype(np.float32)
        print(f"scale {scale}, {taps} x {taps}: {seconds:.1f} s for {len(FITTED)} pictures in 8 positions")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:.0f} MiB")
    # like numpy.savez, but with a fixed date, so that the same kernels are the same bytes
    with zipfile.ZipFile(SHIPPED, "w", zipfile.ZIP_DEFLATED) as file:
        for name, kernel in kernels.items():
            with file.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w") as entry:
                np.lib.format.write_array(entry, kernel)
    print(f"{SHIPPED}: {SHIPPED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
