"""
The spectrum of a convolution layer
===================================

A layer of a network multiplies by a matrix. Its largest singular value bounds how much the layer can
amplify a change of its input (the Lipschitz constant), the smallest how much it can lose. Both belong
to the matrix with its stride and padding, not to the weights alone: the norm of the reshaped kernel,
which is often taken in its place, is a different number.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import svds

import sparsetconv as stc

plt.rcParams.update({"font.size": 12})

# %%
# A small layer, by its dense matrix
# ----------------------------------
# Eight channels to sixteen, 3 x 3, stride 2, as torch's ``Conv2d(8, 16, 3, stride=2, padding=1)`` on 12 x
# 12 pixels, with random weights of variance ``2 / (8 * 9)``. The matrix has 576 rows and 1,152 columns:
# small enough for `numpy.linalg.svd`, which gives all singular values.

rng = np.random.default_rng(0)
c_out, c_in, taps, stride, size = 16, 8, 3, 2, 12
weights = rng.standard_normal((c_out, c_in, taps, taps)) * np.sqrt(2 / (c_in * taps**2))

layer = stc.ConvOperator(weights, (c_in, size, size), stride=stride, padding=1)
dense = np.linalg.svd(layer.tosparse().toarray(), compute_uv=False)
print(f"{layer.shape[0]} x {layer.shape[1]}, singular values {dense[-1]:.3f} to {dense[0]:.3f}")

# %%
# The largest ones, without the matrix
# ------------------------------------
# `scipy.sparse.linalg.svds` needs products with the operator and its adjoint only.

start = rng.standard_normal(min(layer.shape))
left, values, right = svds(layer, k=6, v0=start)
order = np.argsort(values)[::-1]
largest, vectors = values[order], right[order]
assert np.allclose(largest, dense[:6])

# %%
# A circular border, by Fourier transforms
# ----------------------------------------
# With circular padding and stride 1 the Fourier transform takes the matrix apart into one small block,
# ``c_out x c_in``, for each frequency [1]_. A stride aliases ``stride**2`` frequencies of the input to one of
# the output and divides by the stride, so that the blocks are ``c_out x (c_in * stride**2)``. Their singular
# values are those of the whole matrix, exactly. They are often used for a layer with zero padding too, whose
# singular values are different.

coarse = size // stride
transfer = np.fft.fft2(weights, (size, size)).reshape(c_out, c_in, stride, coarse, stride, coarse)
blocks = transfer.transpose(3, 5, 0, 1, 2, 4).reshape(coarse, coarse, c_out, c_in * stride**2)
fourier = np.sort(np.linalg.svd(blocks, compute_uv=False).ravel())[::-1] / stride

options = {"stride": stride, "padding": 1, "padding_mode": "circular"}
circular = stc.conv_matrix(weights, (c_in, size, size), **options)
assert np.allclose(np.linalg.svd(circular.toarray(), compute_uv=False), fourier)

# %%
# Three numbers called norm
# -------------------------

reshaped = np.linalg.norm(weights.reshape(c_out, -1), 2)
print(f"the layer's norm                 {dense[0]:.4f}")
print(f"by Fourier, circular border      {fourier[0]:.4f}")
print(f"kernel reshaped to 16 x 72       {reshaped:.4f}")
assert dense[0] < fourier[0]  # not so for every kernel
assert abs(reshaped / dense[0] - 1) > 0.1

fig, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
ax.plot(dense, color="#0072B2", label="zeros outside, dense SVD")
ax.plot(fourier, "--", color="#D55E00", label="circular, Fourier")
ax.plot(largest, "o", color="black", markersize=4, label="zeros outside, svds")
ax.axhline(reshaped, color="#555555", linestyle=":", label="reshaped kernel's norm")
ax.set_xlabel("number")
ax.set_ylabel("singular value")
ax.set_title("Singular values, largest first")
ax.set_ylim(0)
ax.legend()

# %%
# What the layer amplifies most
# -----------------------------
# The first right singular vector, reshaped, is the input of norm 1 whose output has the largest norm. Here
# are its eight channels: a plane wave that fades towards the border, where zeros would cost it some of its
# gain.

pattern = vectors[0].reshape(c_in, size, size)
assert np.isclose(np.linalg.norm(layer.apply(pattern)), dense[0])

fig, axes = plt.subplots(2, 4, figsize=(6, 3.5), layout="constrained")
limit = abs(pattern).max()
for channel, ax in enumerate(axes.flat):
    ax.imshow(pattern[channel], cmap="RdBu", vmin=-limit, vmax=limit)
    ax.set_title(f"channel {channel}", fontsize=11)
    ax.set_axis_off()
fig.suptitle(f"The input that grows most, {dense[0]:.2f} times")

# %%
# A layer of real size
# --------------------
# 64 channels to 128 on 28 x 28 pixels: the dense matrix would take 5 GB in single precision, and its
# decomposition hours. The norm takes some hundred products.

weights = rng.standard_normal((128, 64, 3, 3)) * np.sqrt(2 / (64 * 9))
large = stc.ConvOperator(weights.astype(np.float32), (64, 28, 28), stride=2, padding=1)
start = rng.standard_normal(min(large.shape))
norm = svds(large, k=1, v0=start, tol=1e-2, return_singular_vectors=False)[0]
reshaped = np.linalg.norm(weights.reshape(128, -1), 2)
print(f"{large.shape[0]:,} x {large.shape[1]:,}: norm {norm:.3f}, of the reshaped kernel {reshaped:.3f}")
assert norm > reshaped
plt.show()

# %%
# .. [1] Hanie Sedghi, V. Gupta and P. M. Long, "The Singular Values of Convolutional Layers", ICLR 2019.
