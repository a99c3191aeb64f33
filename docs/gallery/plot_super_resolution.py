"""
One sharp picture from shifted frames
=====================================

A hand-held camera takes a burst of frames. Each has a third of the resolution that we would like, and each is
shifted against the others by a fraction of its pixel, so each samples the scene at other places. Together
they contain more than any one of them.

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
# whole scene, without padding, and have noise of a standard deviation of 0.005, where white is 1. The model
# that will be solved has no samples of the outside and reflects the border.

scene = camera()[84:290, 156:362] / 255.0
reach = (TAPS - FACTOR) // 2
framed = scene[reach:-reach, reach:-reach][None]

NOISE = 0.005


def recorded(scene, noise):
    """Return the frames that the camera takes of a scene."""
    seen = stc.ConvOperator(kernels, (1, *scene.shape), stride=FACTOR).apply(scene[None])
    return seen + noise * np.random.default_rng(1).standard_normal(seen.shape)


burst = recorded(scene, NOISE)
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
# The first frame, enlarged by bicubic interpolation, is where LSMR starts. Damping keeps the solution near it
# in what the frames do not determine. How strongly depends on two numbers: the error of the frames, which is
# the noise, and the error of bicubic, some 0.05 in pictures like this one. With their ratio as damping, both
# are weighted by their errors. The noise is taken to be at least 0.001, to which pictures of 8 bits are
# rounded.

EXPECTED = 0.05


def enlarged(burst, shape):
    """Return the first frame of a burst, enlarged by bicubic interpolation."""
    return stc.ResizeOperator(burst.shape[1:], shape, mode="bicubic").apply(burst[0])


def solve(burst, shape, noise, iterations=150, options=options):
    """Return the scene from a burst of frames."""
    operator = stc.ConvOperator(kernels[: len(burst)], (1, *shape), **options)
    start = enlarged(burst, shape).ravel()
    damp = max(noise, 1e-3) / EXPECTED
    return lsmr(operator, burst.ravel(), damp=damp, maxiter=iterations, x0=start)[0].reshape(shape)


def psnr(result, truth=framed[0]):
    """Return the peak signal-to-noise ratio in dB, without a border of 6 pixels."""
    inner = slice(6, -6)
    return -10 * np.log10(np.mean((result - truth)[inner, inner] ** 2))


counts = [1, 2, 3, 4, 6, 9, 12]
bicubic = enlarged(burst, framed.shape[1:])
results = {frames: solve(burst[:frames], framed.shape[1:], NOISE) for frames in counts}
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

# %%
# Other borders, other noise
# --------------------------
# On a part of the scene, by the same rule: twelve frames give a better picture than bicubic from one,
# whatever border the model assumes.

small = scene[:98, :98]
inside = small[reach:-reach, reach:-reach]
print(f"{'':10}" + "".join(f"{f'noise {noise}':>18}" for noise in (0, 0.01, 0.05)))
for mode in ("zeros", "reflect", "symmetric", "replicate", "circular"):
    cells = []
    for noise in (0, 0.01, 0.05):
        frames = recorded(small, noise)
        result = solve(frames, inside.shape, noise, 60, options | {"padding_mode": mode})
        before, after = psnr(enlarged(frames, inside.shape), inside), psnr(result, inside)
        cells.append(f"{before:.1f} to {after:.1f} dB")
        assert after > before + 1
    print(f"{mode:10}" + "".join(f"{cell:>18}" for cell in cells))
plt.show()
