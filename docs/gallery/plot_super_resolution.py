"""
One sharp picture from shifted frames
=====================================

A hand-held camera takes a burst of frames. Each has a third of the resolution that we would like, and
each is shifted against the others by a fraction of its pixel, so each samples the scene at other
places. Together they know more than any of them.

A frame is a strided convolution of the scene: its kernel is the pixel's and the lens' blur, displaced
by the frame's shift, and its stride is the ratio of the resolutions. Frames on top of each other are
output channels, so the whole burst is one `ConvOperator`, and super-resolution is a least-squares
problem.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import lsmr
from skimage.data import camera

import sparsetconv as stc

plt.rcParams.update({"font.size": 12})

# %%
# The burst as one operator
# -------------------------
# The shifts are known, as from a registration, in pixels of the scene. A shifted Gaussian serves as
# kernel. Its 11 taps at stride 3 with ``padding="same"`` centre the unshifted frame's pixels on groups of
# 3 x 3 pixels of the scene.

FACTOR, TAPS, SIGMA, FRAMES = 3, 11, 1.0, 12
rng = np.random.default_rng(0)
shifts = rng.uniform(-FACTOR / 2, FACTOR / 2, (FRAMES, 2))
shifts[0] = 0


def blur(shift):
    """Return the kernel of a frame: a Gaussian around ``shift``, of sum 1."""
    taps = np.arange(TAPS) - TAPS // 2
    rows, columns = (np.exp(-((taps - s) ** 2) / (2 * SIGMA**2)) for s in shift)
    kernel = np.outer(rows, columns)
    return kernel / kernel.sum()


kernels = np.stack([blur(shift) for shift in shifts])[:, None]  # (frames, 1, taps, taps)

# %%
# The scene goes on beyond the frame, by the four pixels that ``"same"`` pads. The frames are taken of the
# whole scene, without padding; the model that will be solved knows nothing of the outside and reflects
# the border.

scene = camera()[84:290, 156:362] / 255.0
reach = (TAPS - FACTOR) // 2
framed = scene[reach:-reach, reach:-reach][None]

burst = stc.ConvOperator(kernels, (1, *scene.shape), stride=FACTOR).apply(scene[None])
burst += 0.005 * rng.standard_normal(burst.shape)

options = {"stride": FACTOR, "padding": "same", "padding_mode": "reflect"}
A = stc.ConvOperator(kernels, framed.shape, **options)
assert A.output_shape == burst.shape
print(A)

# %%
# A channel is a frame: the matrix of the burst is the frames' matrices on top of each other.

single = stc.conv_matrix(kernels[4, 0], framed.shape[1:], **options)
rows_of_a_frame = slice(4 * single.shape[0], 5 * single.shape[0])
together = stc.conv_matrix(kernels, framed.shape, rows=rows_of_a_frame, **options)
assert (single != together).nnz == 0

# %%
# Least squares, with more and more frames
# ----------------------------------------
# The first frame, enlarged by bicubic interpolation, is where LSMR starts. Damping holds the solution
# near it in what the frames do not determine.

enlarge = stc.ResizeOperator(burst.shape[1:], framed.shape[1:], mode="bicubic")
bicubic = enlarge.apply(burst[0])


def solve(frames):
    """Return the scene from the first frames."""
    operator = stc.ConvOperator(kernels[:frames], framed.shape, **options)
    seen = burst[:frames].ravel()
    return lsmr(operator, seen, damp=0.08, maxiter=150, x0=bicubic.ravel())[0].reshape(framed.shape[1:])


def psnr(result):
    """Return the peak signal-to-noise ratio in dB, without a border of 6 pixels."""
    inner = slice(6, -6)
    return -10 * np.log10(np.mean((result - framed[0])[inner, inner] ** 2))


counts = [1, 2, 3, 4, 6, 9, 12]
results = {frames: solve(frames) for frames in counts}
quality = {frames: psnr(result) for frames, result in results.items()}
print(f"bicubic    {psnr(bicubic):.2f} dB")
for frames in counts:
    print(f"{frames:2} frames  {quality[frames]:.2f} dB")

assert quality[1] > psnr(bicubic)
assert quality[12] > quality[6] > quality[3] > quality[1]
assert quality[12] > psnr(bicubic) + 5

# %%
# What a single frame cannot show
# -------------------------------
# Deblurring one frame helps, but what lies between its samples is lost. Twelve frames fill the gaps.

fig, axes = plt.subplots(2, 2, figsize=(6, 6.5), layout="constrained")
panels = {
    f"a frame, {burst.shape[1]} x {burst.shape[2]}": burst[0],
    f"bicubic, {psnr(bicubic):.1f} dB": bicubic,
    f"1 frame, LSMR, {quality[1]:.1f} dB": results[1],
    f"12 frames, LSMR, {quality[12]:.1f} dB": results[12],
}
for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
    rows, columns = panel.shape
    crop = panel[: rows // 2, columns // 4 : columns // 4 + columns // 2]
    ax.imshow(crop, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()

# %%
# What another frame is worth
# ---------------------------
# Nine frames at ideal shifts would give as many samples as unknowns. At random shifts the gain goes on.

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(counts, list(quality.values()), "o-", color="#0072B2", label="LSMR")
ax.axhline(psnr(bicubic), color="#D55E00", linestyle="--", label="bicubic, one frame")
ax.set_xlabel("frames")
ax.set_ylabel("PSNR, dB")
ax.set_title("Quality against the number of frames")
ax.set_xticks(counts)
ax.grid(alpha=0.3)
ax.legend()
plt.show()
