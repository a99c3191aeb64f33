"""
Parallel imaging, and why the adjoint conjugates
================================================

A magnetic resonance scanner measures the Fourier transform of a picture, line by line, and takes the same
time for each line. With several receiver coils two lines of three can be left out, since each coil sees the
object with a sensitivity of its own, which resolves the aliasing by the missing lines [1]_.

Multiplying the picture with a smooth sensitivity is a convolution of its Fourier transform with a short
complex kernel. Keeping every third line is a stride. So what all coils measure is one strided complex
convolution from one channel to eight, and the picture follows by least squares.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import LinearOperator, lsmr
from skimage.data import shepp_logan_phantom

import sparsetconv as stc

# sphinx_gallery_thumbnail_number = 2
plt.rcParams.update({"font.size": 12})

SIZE, COILS, SKIP, TAPS = 192, 8, 3, 9

# %%
# The object and the coils
# ------------------------
# Eight coils stand around the object. Each is most sensitive near itself and has a phase that changes
# over the picture.

phantom = shepp_logan_phantom()
picture = stc.ResizeOperator(phantom.shape, (SIZE, SIZE), mode="area").apply(phantom)

place = 2 * np.pi * np.arange(SIZE) / SIZE
angle = 2 * np.pi * np.arange(COILS) / COILS
strength = 0.9 + 0.5j
sensitivities = np.exp(
    strength * np.cos(place[:, None] - np.pi - 1.6 * np.sin(angle)[:, None, None])
    + strength * np.cos(place - np.pi - 1.6 * np.cos(angle)[:, None, None])
)
sensitivities /= np.sqrt((abs(sensitivities) ** 2).sum(0).max())

# %%
# What is measured
# ----------------
# The Fourier transform of what each coil sees, every third line of it, with noise of a standard deviation of
# 0.002 in the real and in the imaginary part. This simulation uses no convolution.


def fourier(array):
    """Return the unitary Fourier transform, its low frequencies in the middle."""
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(array, (-2, -1)), norm="ortho"), (-2, -1))


def inverse(array):
    """Return the inverse of ``fourier``."""
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(array, (-2, -1)), norm="ortho"), (-2, -1))


rng = np.random.default_rng(0)
full = fourier(sensitivities * picture)
measured = full[:, ::SKIP]
noise = rng.standard_normal((2, *measured.shape))
NOISE = 0.002
measured = measured + NOISE * (noise[0] + 1j * noise[1])

# %%
# The model: a strided complex convolution
# ----------------------------------------
# The kernels are the middle of the sensitivities' Fourier transforms: 9 x 9 of 192 x 192 coefficients.
# ``flip=True`` makes it the textbook's convolution.

middle = slice(SIZE // 2 - TAPS // 2, SIZE // 2 + TAPS // 2 + 1)
kernels = fourier(sensitivities)[:, None, middle, middle] / SIZE

A = stc.ConvOperator(
    kernels,
    (1, SIZE, SIZE),
    stride=(SKIP, 1),
    padding=TAPS // 2,
    padding_mode="circular",
    flip=True,
)
print(A)

exact = full[:, ::SKIP]
model_error = np.linalg.norm(A.apply(fourier(picture)[None]) - exact) / np.linalg.norm(exact)
print(f"relative error of the model: {model_error:.1e}")
assert model_error < 1e-3

fig, axes = plt.subplots(1, 3, figsize=(6, 2.2), layout="constrained")
axes[0].imshow(abs(sensitivities[1]), cmap="cividis")
axes[0].set_title("sensitivity")
axes[1].imshow(np.angle(sensitivities[1]), cmap="twilight", vmin=-np.pi, vmax=np.pi)
axes[1].set_title("its phase")
axes[2].imshow(abs(kernels[1, 0]), cmap="cividis")
axes[2].set_title("its kernel")
for ax in axes:
    ax.set_axis_off()

# %%
# Least squares, with the adjoint
# -------------------------------
# LSMR needs products with ``A.H``, which conjugates the kernels. That is what makes it the adjoint: with it
# :math:`\langle A x, y \rangle = \langle x, A^H y \rangle` in the complex inner product, and applied to the
# residual it gives the direction of steepest descent. The damping is the noise over the size of the
# coefficients, both root mean squares: what may be due to noise is kept near zero. That size is taken from
# the measurement, all coils together.

stc.testing.assert_adjoint(A)
b = measured.ravel()
damping = np.sqrt(2) * NOISE / np.sqrt(np.mean((abs(measured) ** 2).sum(0)))
print(f"damping {damping:.3f}")
solution = lsmr(A, b, damp=damping, maxiter=25)[0]
restored = inverse(solution.reshape(SIZE, SIZE))

# %%
# And with the transpose
# ----------------------
# ``A.T`` has the same layout and does not conjugate: it turns each phase further where it should be turned
# back. The adjoint test detects this at once; LSMR, which does not test it, fails to converge.

mistaken = LinearOperator(A.shape, matvec=A.matvec, rmatvec=A.T.matvec, dtype=A.dtype)
assert not stc.testing.dot_test(mistaken)
wrong = inverse(lsmr(mistaken, b, damp=damping, maxiter=25)[0].reshape(SIZE, SIZE))


def error(result):
    """Return the relative error."""
    return np.linalg.norm(abs(result) - picture) / np.linalg.norm(picture)


zero_filled = np.zeros((COILS, SIZE, SIZE), complex)
zero_filled[:, ::SKIP] = SKIP * measured
folded = np.sqrt((abs(inverse(zero_filled)) ** 2).sum(0))
panels = {
    f"folded: {error(folded):.2f}": folded,
    f"LSMR with .T: {error(wrong):.2f}": abs(wrong),
    f"LSMR with .H: {error(restored):.2f}": abs(restored),
    "the object": picture,
}
print("relative errors:", ", ".join(panels))
assert error(restored) < 0.1 < error(folded)
assert error(wrong) > 0.5

fig, axes = plt.subplots(2, 2, figsize=(6, 6.6), layout="constrained")
for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
    ax.imshow(panel, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
fig.suptitle("A third of the lines; relative error")
plt.show()

# %%
# .. [1] K. P. Pruessmann, M. Weiger, M. B. Scheidegger and P. Boesiger, "SENSE: Sensitivity encoding for
#    fast MRI", Magnetic Resonance in Medicine, 1999.
