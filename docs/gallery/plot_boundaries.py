"""
Deblurring, and what stands beyond the border
=============================================

A camera sees a window of a scene that goes on beyond its frame. Blur carries light across that frame,
so the pixels near it depend on some that were never recorded. A deblurring method has to say something
about them, and what it says shows: a wrong guess contradicts the data, and the contradiction rings into
the picture.

Here one blurred picture is restored six times. Five times the unseen pixels are tied to the seen ones by a
padding mode. The sixth time they are left free, as unknowns like all others.
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
# The lens is out of focus: every point becomes a disk. The scene is larger than the picture by half a disk on
# each side. A convolution without padding, ``padding="valid"``, computes just those pixels whose disk lies
# inside the scene, which is what happens in a camera: no padding mode was used for this picture. Its noise
# has a standard deviation of 0.005, where white is 1.

radius = 6
y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
disk = (x**2 + y**2 <= radius**2).astype(float)
disk /= disk.sum()

scene = coins()[20:220, 60:260] / 255.0
lens = stc.ConvOperator(disk, scene.shape, padding="valid")
rng = np.random.default_rng(0)
NOISE = 0.005
picture = lens.apply(scene) + NOISE * rng.standard_normal(lens.output_shape)

framed = scene[radius:-radius, radius:-radius]
print(f"scene {scene.shape}, picture {picture.shape}")

# %%
# Five guesses, and none
# ----------------------
# Damped least squares, with the same weight for all. The six problems differ only in the operator's border.


def solve(operator, damping):
    """Return the scene that explains the picture, by damped least squares."""
    start = np.full(operator.shape[1], picture.mean())
    solution = lsmr(operator, picture.ravel(), damp=damping, maxiter=300, x0=start)[0]
    return solution.reshape(operator.input_shape)


# %%
# The weight follows from the noise. The scene itself, seen through the lens, differs from the picture by the
# noise; so we take the largest weight whose result differs by no more (the discrepancy principle). The weight
# is chosen with the unknown border: where a border is wrong, the misfit depends more on the border than on
# the noise.

for damping in (0.32, 0.24, 0.16, 0.12, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01):
    found = solve(lens, damping)
    misfit = np.sqrt(np.mean((lens.apply(found) - picture) ** 2))
    print(f"damping {damping:4}: misfit {misfit:.4f}")
    if misfit <= NOISE:
        break

restored = {"nothing done": picture}
for mode in ("zeros", "circular", "reflect", "symmetric", "replicate"):
    blur = stc.ConvOperator(disk, picture.shape, padding="same", padding_mode=mode)
    restored[mode] = solve(blur, damping)
restored["unknown"] = found[radius:-radius, radius:-radius]

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

print(f"{'border':12} {'RMS near it':>12} {'elsewhere':>10}")
for name in restored:
    print(f"{name:12} {near[name]:12.3f} {far[name]:10.3f}")

assert near["unknown"] < near["replicate"] < near["symmetric"] < near["circular"] < near["zeros"]
assert far["unknown"] == min(far.values())

# %%
# Is it better than nothing?
# --------------------------
# Not with every border. With zeros and with a circular one the whole picture is further from the scene than
# the blurred picture was: the border matters more than the blur.

whole = {name: np.sqrt(np.mean(e**2)) for name, e in error.items()}
better = [name for name in whole if whole[name] < whole["nothing done"]]
print("better than nothing:", ", ".join(better))
assert better == ["reflect", "symmetric", "replicate", "unknown"]

# %%
# The ringing
# -----------
# With zeros the scene is taken to be black outside; with a circular border its left edge is taken to touch
# its right one. Both put an edge where there is none, and its rings reach the middle of the picture. A
# mirrored or a repeated border is continuous, which is far better, yet still a guess: rings remain where a
# coin is cut by the frame. Where the border is left unknown nothing contradicts the data, and the error near
# the border is the same as elsewhere.

fig, axes = plt.subplots(4, 2, figsize=(6, 12.4), layout="constrained")
axes[3, 1].set_axis_off()
for ax, (name, panel) in zip(axes.flat, restored.items(), strict=False):
    ax.imshow(panel, cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"{name}: {near[name]:.3f}")
    ax.set_axis_off()
fig.suptitle("Restored; RMS error near the border")
plt.show()
