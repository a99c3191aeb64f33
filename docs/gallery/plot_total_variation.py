r"""
Motion deblurring with total variation
======================================

The camera moved while the shutter was open: every point of the scene became a curve. Least squares can
take the blur out, but trades sharp edges against noise. Total variation, the sum of the lengths of all
gradients, permits edges and forbids noise:

.. math:: \min_x \; \tfrac12 \|A x - b\|^2 + \lambda \sum_i |(D x)_i|

The blur ``A`` and the gradient ``D`` are both convolutions. A primal-dual method [1]_ [2]_ needs only
products with them and their adjoints, and their norms.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import lsmr, svds
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
# assumed. The noise has a standard deviation of 0.01, where white is 1.

NOISE = 0.01
scene = camera()[80:248, 150:318] / 255.0
A = stc.ConvOperator(kernel, scene.shape, padding="valid")


def recorded(blur, scene, noise):
    """Return what a camera records of a scene."""
    return blur.apply(scene) + noise * np.random.default_rng(0).standard_normal(blur.output_shape)


picture = recorded(A, scene, NOISE)
framed = slice(7, -7), slice(7, -7)

# %%
# The gradient
# ------------
# Differences downwards and to the right are two output channels of one operator. With the border
# repeated, the last difference is zero.

down, right = [[-1.0, 0.0], [1.0, 0.0]], [[-1.0, 1.0], [0.0, 0.0]]


def gradient(shape):
    """Return the operator of differences, ``(2, n1, n2)`` of a picture ``(n1, n2)``."""
    options = {"padding": "same", "padding_mode": "replicate"}
    return stc.ConvOperator([[down], [right]], (1, *shape), **options)


print(gradient(scene.shape))

# %%
# How long may a step be?
# -----------------------
# That depends on the norms. The norm of ``D`` is at most the root of 8. That of ``A`` is not simply the sum
# of the weights, 1: with a border that repeats samples, such as a reflected one, samples near it are read
# more often, and their columns of the matrix add up to more. For any matrix the norm is at most the root of
# the largest row sum times the largest column sum, both of absolute values [3]_. Two products with vectors of
# ones give them.


def norm_bound(blur):
    """Return a number that the norm of a blur, whose weights are not negative, does not exceed."""
    assert (blur.kernel >= 0).all()
    rows = blur.apply(np.ones(blur.input_shape))
    columns = blur.H.apply(np.ones(blur.output_shape))
    return np.sqrt(rows.max() * columns.max())


BORDERS = {
    mode: {"padding": "same", "padding_mode": mode}
    for mode in ("zeros", "reflect", "symmetric", "replicate", "circular")
}
BORDERS["unknown"] = {"padding": "valid"}
small = scene[40:124, 20:104]
print(f"{'border':10} {'norm':>6} {'at most':>8}")
for border, options in BORDERS.items():
    blur = stc.ConvOperator(kernel, small.shape, **options)
    start = np.ones(min(blur.shape))
    norm = svds(blur, k=1, v0=start, return_singular_vectors=False)[0]
    print(f"{border:10} {norm:6.3f} {norm_bound(blur):8.3f}")
    assert norm <= norm_bound(blur) * (1 + 1e-10)

# %%
# The method
# ----------
# The dual variable ``p`` has the shape of the gradient; its vectors are kept shorter than ``weight``. The
# method converges if ``1 / step - 8 * dual_step`` is at least half of the squared norm of ``A``; within
# that, a small ``dual_step`` suits a small weight.


def total_variation(differences):
    """Return the sum of the lengths of the gradients."""
    return np.hypot(*differences.reshape(2, -1)).sum()


def deblur(A, picture, weight, iterations=250):
    """Minimise the squared misfit plus ``weight`` times the total variation; return the objectives too."""
    D = gradient(A.input_shape)
    b = picture.ravel()
    dual_step = 0.007
    step = 1 / (norm_bound(A) ** 2 / 2 + 8 * dual_step)
    x = np.full(A.shape[1], b.mean())
    p = np.zeros((2, x.size))
    objectives = []
    for _ in range(iterations):
        residual = A @ x - b
        objectives.append(0.5 * residual @ residual + weight * total_variation(D @ x))
        previous = x
        x = x - step * (A.H @ residual + D.H @ p.ravel())
        p += dual_step * (D @ (2 * x - previous)).reshape(2, -1)
        p /= np.maximum(1, np.hypot(*p) / weight)
    return x.reshape(A.input_shape), objectives


# %%
# Against damped least squares
# ----------------------------
# Each has a weight, and each gets the best of a few, chosen by comparison with the truth: the best that each
# can do is compared. The weights tried are multiples of the noise, which can be measured.


def psnr(result, truth=scene[framed]):
    """Return the peak signal-to-noise ratio in dB."""
    return -10 * np.log10(np.mean((result - truth) ** 2))


def damped(weight):
    """Return the solution of damped least squares."""
    start = np.full(A.shape[1], picture.mean())
    return lsmr(A, picture.ravel(), damp=weight, maxiter=100, x0=start)[0].reshape(scene.shape)[framed]


least_squares = max((damped(times * NOISE) for times in (5, 10, 15, 20, 30)), key=psnr)
found = {times: deblur(A, picture, times * NOISE) for times in (0.1, 0.2, 0.4)}
times, (wide, objectives) = max(found.items(), key=lambda item: psnr(item[1][0][framed]))
variation = wide[framed]

print(f"picture          {psnr(picture):.2f} dB")
print(f"least squares    {psnr(least_squares):.2f} dB")
print(f"total variation  {psnr(variation):.2f} dB, with a weight of {times} times the noise")
assert psnr(variation) > psnr(least_squares) + 4
assert psnr(variation) > psnr(picture)

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

# %%
# Other borders, other noise
# --------------------------
# On a part of the scene, with a weight of 0.3 times the noise, which is taken to be at least 0.001, to which
# pictures of 8 bits are rounded: in all cases the result is nearer to the scene than what was recorded.

print(f"{'':10}" + "".join(f"{f'noise {noise}':>18}" for noise in (0, 0.01, 0.05)))
for border, options in BORDERS.items():
    blur = stc.ConvOperator(kernel, small.shape, **options)
    inner = framed if border == "unknown" else np.s_[:, :]
    cells = []
    for noise in (0, 0.01, 0.05):
        seen = recorded(blur, small, noise)
        result, values = deblur(blur, seen, 0.3 * max(noise, 1e-3), iterations=60)
        before, after = psnr(seen, small[inner]), psnr(result[inner], small[inner])
        cells.append(f"{before:.1f} to {after:.1f} dB")
        assert after > before + 3
        assert values[-1] < values[10] < values[0]
    print(f"{border:10}" + "".join(f"{cell:>18}" for cell in cells))
plt.show()

# %%
# .. [1] L. Condat, "A primal-dual splitting method for convex optimization involving Lipschitzian,
#    proximable and linear composite terms", Journal of Optimization Theory and Applications, 2013.
# .. [2] A. Chambolle and T. Pock, "A first-order primal-dual algorithm for convex problems with
#    applications to imaging", Journal of Mathematical Imaging and Vision, 2011.
# .. [3] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", SIAM, 2002, chapter 6.
