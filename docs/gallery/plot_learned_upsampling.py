"""
Up-sampling with learned weights
================================

Bicubic up-sampling by two is a transposed convolution of stride 2 with one fixed kernel. The layout, one
sample spread over many, leaves the weights free, and `fit_kernel` finds the ones that suit pictures best: the
least-squares optimum in closed form, with no epochs and no learning rate.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from skimage.color import rgb2gray

import sparsetconv as stc

# sphinx_gallery_thumbnail_number = 2
plt.rcParams.update({"font.size": 12})

# %%
# Bicubic is a transposed convolution
# -----------------------------------
# Away from the border the two agree to round-off.

bicubic_kernel = stc.interpolation_kernel("bicubic", 2)
x = np.random.default_rng(0).random((20, 24))
as_convolution = stc.ConvTransposeOperator(bicubic_kernel, x.shape, stride=2, padding="same").apply(x)
as_resize = stc.ResizeOperator(x.shape, scale=2, mode="bicubic").apply(x)
assert np.allclose(as_convolution[4:-4, 4:-4], as_resize[4:-4, 4:-4], atol=1e-14)
print(f"bicubic kernel {bicubic_kernel.shape}")

# %%
# Pairs of small and large pictures
# ---------------------------------
# Each picture is reduced by antialiased bicubic; the kernel has to undo that. Five pictures are for learning,
# four others for testing. There is no noise in any of them.

taught = [data.brick(), data.camera(), data.coins(), data.grass(), data.gravel()]
pairs = [stc.pictures.shrink(picture / 255.0, 2) for picture in taught]
small, large = zip(*pairs, strict=True)

kernel = stc.fit_kernel(small, large, (12, 12), transposed=True, stride=2, padding=5)
print(f"{kernel.size} weights from {sum(picture.size for picture in large):,} pixels")

# %%
# Pictures that it has not seen
# -----------------------------
# In all ways of enlarging the border is padded by repeating the edge, and it is left out of the score.


def learned(picture):
    """Enlarge by two with the learned kernel."""
    wide = np.pad(picture, 6, mode="edge")
    enlarged = stc.ConvTransposeOperator(kernel, wide.shape, stride=2, padding=5).apply(wide)
    return enlarged[12:-12, 12:-12]


def interpolated(picture, mode):
    """Enlarge by two with fixed weights."""
    return stc.ResizeOperator(picture.shape, scale=2, mode=mode).apply(picture)


def psnr(result, truth):
    """Return the peak signal-to-noise ratio in dB, without 16 pixels at the border."""
    inner = slice(16, -16)
    return -10 * np.log10(np.mean((result - truth)[inner, inner] ** 2))


tested = {
    "astronaut": rgb2gray(data.astronaut()),
    "chelsea": rgb2gray(data.chelsea()),
    "page": data.page() / 255.0,
    "text": data.text() / 255.0,
}
gains = []
print(f"{'':10} {'bilinear':>9} {'bicubic':>9} {'learned':>9}  dB")
for name, picture in tested.items():
    reduced, truth = stc.pictures.shrink(picture, 2)
    ways = [interpolated(reduced, "bilinear"), interpolated(reduced, "bicubic"), learned(reduced)]
    scores = [psnr(way, truth) for way in ways]
    gains.append(scores[2] - scores[1])
    print(f"{name:10}" + "".join(f" {score:9.2f}" for score in scores))
print(f"learned over bicubic: {np.mean(gains):.2f} dB in the mean")
assert min(gains) > 0.4

# %%
# Four phases of weights
# ----------------------
# At stride 2 every output pixel is computed from a quarter of the kernel. Along its middle (the mean of the
# two middle rows) the learned kernel has deeper and longer lobes than bicubic: it sharpens as it
# interpolates.

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, weights, style in (("bicubic", bicubic_kernel, "s--"), ("learned", kernel, "o-")):
    taps = len(weights)
    middle = weights[taps // 2 - 1 : taps // 2 + 1].mean(0)
    colour = {"bicubic": "#D55E00", "learned": "#0072B2"}[name]
    ax.plot((np.arange(taps) - (taps - 1) / 2) / 2, middle, style, color=colour, label=name)
ax.axhline(0, color="#555555", linewidth=0.8)
ax.set_xlabel("distance in samples of the small picture")
ax.set_ylabel("weight")
ax.set_title("Weights along the middle of each kernel")
ax.legend()

# %%
# By eye
# ------
# The remaining errors, on the same scale for both.

reduced, truth = stc.pictures.shrink(tested["astronaut"], 2)
window = slice(70, 190), slice(160, 280)
panels = {"bicubic": interpolated(reduced, "bicubic"), "learned": learned(reduced)}

fig, axes = plt.subplots(2, 2, figsize=(6, 6.6), layout="constrained")
for column, (name, result) in zip(axes.T, panels.items(), strict=True):
    column[0].imshow(result[window], cmap="gray", vmin=0, vmax=1)
    column[0].set_title(f"{name}, {psnr(result, truth):.2f} dB")
    error = (result - truth)[window]
    picture = column[1].imshow(error, cmap="RdBu", vmin=-0.15, vmax=0.15)
    column[1].set_title("its error")
for ax in axes.flat:
    ax.set_axis_off()
fig.colorbar(picture, ax=axes[1], location="bottom", shrink=0.7)
plt.show()
