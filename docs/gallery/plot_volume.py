"""
A volume: deconvolution in three dimensions
===========================================

A fluorescence microscope sees a point as a spindle, several times longer along its axis than across. Beads
that lie behind each other merge. Light comes in few photons, so the noise is Poisson noise, and intensities
cannot be negative: the method for that is Richardson's and Lucy's [1]_ [2]_, which multiplies instead of
adding. It takes a few lines with an operator and its adjoint; none of them depends on the number of axes.
"""

import matplotlib.pyplot as plt
import numpy as np

import sparsetconv as stc

plt.rcParams.update({"font.size": 12})

# %%
# A specimen
# ----------
# Glowing threads and beads in the dark, ``(z, y, x)``.

rng = np.random.default_rng(1)
shape = (40, 72, 72)
specimen = np.zeros(shape)

along = np.linspace(0, 1, 400)
for _ in range(7):
    start, stop = rng.uniform(8, np.array(shape) - 8, (2, 3))
    bend = rng.uniform(-8, 8, 3)
    thread = start + np.outer(along, stop - start) + np.outer(np.sin(np.pi * along), bend)
    inside = np.clip(thread.round().astype(int), 6, np.array(shape) - 7)
    specimen[tuple(inside.T)] = 200
beads = rng.integers(8, np.array(shape) - 8, (12, 3))
for z, y, x in beads:
    specimen[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 160

# %%
# What the microscope records
# ---------------------------
# The point spread function is a Gaussian of deviation 1.2 pixels across and 4 along the axis. The field
# around the specimen is dark, which is what ``padding_mode="zeros"`` says.

z, y, x = np.mgrid[-12:13, -4:5, -4:5]
psf = np.exp(-(z**2) / (2 * 4**2) - (y**2 + x**2) / (2 * 1.2**2))
psf /= psf.sum()

A = stc.ConvOperator(psf, shape, padding="same", padding_mode="zeros")
background = 0.1
photons = rng.poisson(A.apply(specimen) + background)
print(A)
print(f"at most {photons.max()} photons in a voxel")

# %%
# As a matrix this operator would have this many entries and bytes; it is never formed.

print(f"{A.nnz:,} entries, {A.geometry.nbytes(np.float64) / 1e9:.1f} GB")

# %%
# Richardson and Lucy
# -------------------
# Each step compares the photons with those expected, carries the ratios back by the adjoint, and multiplies.
# The adjoint of ones says how much light from each voxel arrives at all: less at the border, where some
# leaves the field. There is no weight and no length of a step to choose, only the number of steps: with too
# many of them the noise is sharpened too. After 60 steps the error here still falls, by less and less.

A_H = A.H
sensitivity = A_H.apply(np.ones(shape))
estimate = np.full(shape, photons.mean() - background)
errors = []
for _ in range(60):
    expected = A.apply(estimate) + background
    estimate = estimate * A_H.apply(photons / expected) / sensitivity
    errors.append(np.linalg.norm(estimate - specimen) / np.linalg.norm(specimen))

# %%
# From above and from the side
# ----------------------------
# Each panel shows the brightest voxel along the line of sight. From the side the recorded threads and
# beads are smeared along the axis; restored, they come apart.

recorded = photons - background
volumes = {"recorded": recorded, "restored": estimate, "specimen": specimen}
before = np.linalg.norm(recorded - specimen) / np.linalg.norm(specimen)
print(f"relative error: recorded {before:.2f}, restored {errors[-1]:.2f}")
print(f"light: {specimen.sum():,.0f} in the specimen, {estimate.sum():,.0f} restored")
assert errors[-1] < 0.8 * before
assert 0 < errors[-2] - errors[-1] < errors[9] - errors[10]
assert abs(estimate.sum() / specimen.sum() - 1) < 0.05

fig, axes = plt.subplots(3, 2, figsize=(6, 9.6), layout="constrained", width_ratios=[72, 40])
for row, (name, volume) in zip(axes, volumes.items(), strict=True):
    for ax, view in zip(row, (volume.max(0), volume.max(2).T), strict=True):
        ax.imshow(view, cmap="magma", vmin=0, vmax=np.percentile(view, 99.8))
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
axes[0, 0].set_title("from above")
axes[0, 1].set_title("from the side")

# %%
# A bead along the axis
# ---------------------
# Beads are three voxels long. Their apparent length is the number of voxels that are more than half as bright
# as the brightest.


def length(volume, bead):
    """Return the voxels along the axis that are brighter than half of the brightest."""
    profile = volume[:, bead[1], bead[2]]
    return np.count_nonzero(profile > profile.max() / 2)


lengths = {name: np.median([length(volume, bead) for bead in beads]) for name, volume in volumes.items()}
print("median length of a bead:", *(f"{name} {voxels:.1f}" for name, voxels in lengths.items()))
assert lengths["restored"] <= lengths["recorded"] / 2

z, y, x = beads[10]
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
styles = {"recorded": ("#D55E00", "--"), "restored": ("#0072B2", "-"), "specimen": ("black", ":")}
for name, (colour, line) in styles.items():
    ax.plot(volumes[name][:, y, x], line, color=colour, label=name)
ax.set_xlabel("$z$")
ax.set_ylabel("photons")
ax.set_title("Photons along the axis through a bead")
ax.legend()
plt.show()

# %%
# .. [1] W. H. Richardson, "Bayesian-Based Iterative Method of Image Restoration", Journal of the Optical
#    Society of America, 1972.
# .. [2] L. B. Lucy, "An iterative technique for the rectification of observed distributions", The
#    Astronomical Journal, 1974.
