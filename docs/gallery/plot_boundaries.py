"""
Deblurring, and what stands beyond the border
=============================================

A camera sees a window of a scene that goes on beyond its frame. Blur carries light across that frame,
so the pixels near it depend on some that were never recorded. A deblurring method has to say something
about them, and what it says shows: a wrong guess contradicts the data, and the contradiction rings into
the picture.

Here one blurred picture is restored five times. Four times the unseen pixels are tied to the seen ones
by a padding mode. The fifth time nothing is said: they are unknowns like all others.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import lsmr
from skimage.data import coins

import sparsetconv as stc

plt.rcParams.update({"font.size": 12})

# %%
# The scene and the picture
# -------------------------
# The lens is out of focus: every point becomes a disk. The scene is larger than the picture by half a
# disk on each side. A convolution without padding, ``padding="valid"``, computes just those pixels whose
# disk lies inside the scene, which is what happens in a camera: no boundary mode made this picture.

radius = 6
y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
disk = (x**2 + y**2 <= radius**2).astype(float)
disk /= disk.sum()

scene = coins()[20:220, 60:260] / 255.0
lens = stc.ConvOperator(disk, scene.shape, padding="valid")
rng = np.random.default_rng(0)
picture = lens.apply(scene)
picture += 0.005 * rng.standard_normal(picture.shape)

framed = scene[radius:-radius, radius:-radius]
print(f"scene {scene.shape}, picture {picture.shape}")

# %%
# Four guesses, and none
# ----------------------
# Damped least squares, with the same weight for all. The five problems differ in nothing but the
# operator's border.

DAMPING = 0.04


def solve(operator):
    """Return the scene that explains the picture, by damped least squares."""
    start = np.full(operator.shape[1], picture.mean())
    solution = lsmr(operator, picture.ravel(), damp=DAMPING, maxiter=300, x0=start)[0]
    return solution.reshape(operator.input_shape)


restored = {}
for mode in ("zeros", "circular", "reflect", "replicate"):
    blur = stc.ConvOperator(disk, picture.shape, padding="same", padding_mode=mode)
    restored[mode] = solve(blur)
restored["unknown"] = solve(lens)[radius:-radius, radius:-radius]

# %%
# How wrong is each?
# ------------------
# The error is measured twice: in a band as wide as the disk along the frame, and in the rest of the
# picture.

band = np.ones(picture.shape, bool)
band[2 * radius : -2 * radius, 2 * radius : -2 * radius] = False

error = {name: abs(result - framed) for name, result in restored.items()}
near = {name: np.sqrt(np.mean(e[band] ** 2)) for name, e in error.items()}
far = {name: np.sqrt(np.mean(e[~band] ** 2)) for name, e in error.items()}

print(f"{'border':10} {'RMS near it':>12} {'elsewhere':>10}")
for name in restored:
    print(f"{name:10} {near[name]:12.3f} {far[name]:10.3f}")

assert near["unknown"] < near["replicate"] < near["reflect"] < near["circular"] < near["zeros"]
assert far["unknown"] == min(far.values())

# %%
# The ringing
# -----------
# With zeros the scene is taken to be black outside; with a circular border its left edge is taken to
# touch its right one. Both put an edge where there is none, and its rings reach the middle of the
# picture. A reflected or a repeated border is continuous, which is far better, yet still a guess: rings
# remain where a coin is cut by the frame. Where the border is left unknown nothing contradicts the data,
# and the error near the border is that of anywhere else.

fig, axes = plt.subplots(3, 2, figsize=(6, 9.4), layout="constrained")
panels = {"the picture": picture} | {f"{name}: {near[name]:.3f}": r for name, r in restored.items()}
for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
    ax.imshow(panel, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
fig.suptitle("Restored; RMS error near the border")
plt.show()
