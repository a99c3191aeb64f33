r"""
Motion deblurring with total variation
======================================

The camera moved while the shutter was open: every point of the scene became a curve. Least squares can
take the blur out, but trades sharp edges against noise. Total variation, the sum of the lengths of all
gradients, permits edges and forbids noise:

.. math:: \min_x \; \tfrac12 \|A x - b\|^2 + \lambda \sum_i |(D x)_i|

The blur ``A`` and the gradient ``D`` are both convolutions. A primal-dual method [1]_ [2]_ needs
products with them and their adjoints, and their norms, nothing more.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import lsmr
from skimage.data import camera

import sparsetconv as stc

plt.rcParams.update({"font.size": 12})

# %%
# The path of the camera
# ----------------------
# Light is collected along a curve, at 2,000 moments; each falls into a pixel.

time = np.linspace(0, 1, 2000)
path = 7 + np.stack([5 * np.sin(2.5 * time) - 4 * time, 12 * (time - 0.5) + 1.5 * np.cos(6 * time)])
kernel = np.zeros((15, 15))
np.add.at(kernel, tuple(path.round().astype(int)), 1 / time.size)

# %%
# The picture
# -----------
# The scene is larger than the picture, and its unseen border is part of the unknown, so that no border is
# assumed.

scene = camera()[80:248, 150:318] / 255.0
A = stc.ConvOperator(kernel, scene.shape, padding="valid")
rng = np.random.default_rng(0)
picture = A.apply(scene)
picture += 0.01 * rng.standard_normal(picture.shape)
framed = slice(7, -7), slice(7, -7)

# %%
# The gradient
# ------------
# Differences downwards and to the right are two output channels of one operator. With the border
# repeated, the last difference is zero.

down, right = [[-1.0, 0.0], [1.0, 0.0]], [[-1.0, 1.0], [0.0, 0.0]]
D = stc.ConvOperator([[down], [right]], (1, *scene.shape), padding="same", padding_mode="replicate")
print(D)

# %%
# The method
# ----------
# The dual variable ``p`` has the shape of the gradient; its vectors are kept shorter than ``weight``. The
# norm of ``A`` is at most the sum of its non-negative weights, 1, and that of ``D`` at most the root of
# 8. The method converges if ``1 / step - 8 * dual_step`` is at least ``1 / 2``; within that, a small
# ``dual_step`` suits a small weight.


def total_variation(x):
    """Return the sum of the lengths of the gradients."""
    return np.hypot(*(D @ x).reshape(2, -1)).sum()


def deblur(weight, iterations=250):
    """Minimise the squared misfit plus ``weight`` times the total variation; return the objectives too."""
    b = picture.ravel()
    dual_step = 0.007
    step = 1 / (0.5 + 8 * dual_step)
    x = np.full(A.shape[1], b.mean())
    p = np.zeros((2, x.size))
    objectives = []
    for _ in range(iterations):
        residual = A @ x - b
        objectives.append(0.5 * residual @ residual + weight * total_variation(x))
        previous = x
        x = x - step * (A.H @ residual + D.H @ p.ravel())
        p += dual_step * (D @ (2 * x - previous)).reshape(2, -1)
        p /= np.maximum(1, np.hypot(*p) / weight)
    return x.reshape(scene.shape)[framed], objectives


# %%
# Against damped least squares
# ----------------------------
# Each has a weight, and each gets the best of a few, chosen by the truth: what is compared is what they
# can do.


def psnr(result):
    """Return the peak signal-to-noise ratio in dB."""
    return -10 * np.log10(np.mean((result - scene[framed]) ** 2))


def damped(weight):
    """Return the solution of damped least squares."""
    start = np.full(A.shape[1], picture.mean())
    return lsmr(A, picture.ravel(), damp=weight, maxiter=100, x0=start)[0].reshape(scene.shape)[framed]


least_squares = max((damped(weight) for weight in (0.05, 0.1, 0.15, 0.2, 0.3)), key=psnr)
found = [deblur(weight) for weight in (1e-3, 2e-3, 4e-3)]
variation, objectives = max(found, key=lambda pair: psnr(pair[0]))

print(f"picture          {psnr(picture):.2f} dB")
print(f"least squares    {psnr(least_squares):.2f} dB")
print(f"total variation  {psnr(variation):.2f} dB")
assert psnr(variation) > psnr(least_squares) + 4

fig, axes = plt.subplots(2, 2, figsize=(6, 6.6), layout="constrained")
panels = {
    "the scene": scene[framed],
    f"the picture, {psnr(picture):.1f} dB": picture,
    f"least squares, {psnr(least_squares):.1f} dB": least_squares,
    f"total variation, {psnr(variation):.1f} dB": variation,
}
for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
    ax.imshow(panel, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
inset = axes[0, 1].inset_axes([0.02, 0.7, 0.28, 0.28], xticks=[], yticks=[])
inset.imshow(kernel, cmap="gray")
inset.spines[:].set_color("white")

# %%
# Convergence
# -----------
# The objective falls steeply for some fifteen iterations, then slowly.

assert objectives[-1] < objectives[50] < objectives[5]
assert objectives[-2] - objectives[-1] < 1e-3 * objectives[-1]

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.semilogy(objectives, color="#0072B2")
ax.set_xlabel("iteration")
ax.set_ylabel("objective")
ax.set_title("The objective, iteration by iteration")
ax.grid(alpha=0.3)
plt.show()

# %%
# .. [1] L. Condat, "A primal-dual splitting method for convex optimization involving Lipschitzian,
#    proximable and linear composite terms", Journal of Optimization Theory and Applications, 2013.
# .. [2] A. Chambolle and T. Pock, "A first-order primal-dual algorithm for convex problems with
#    applications to imaging", Journal of Mathematical Imaging and Vision, 2011.
