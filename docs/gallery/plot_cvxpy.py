"""
Sparse deconvolution with CVXPY
===============================

A detector broadens every line of a spectrum into a peak, and peaks that lie close together merge. The lines
are few and none is negative; least squares cannot use that knowledge. In CVXPY [1]_ it can be written down
directly: of all non-negative spectra that explain the data to within the noise, take the one with the least
sum.

CVXPY takes SciPy's sparse arrays, so the matrix of the convolution is all that it needs.
"""

import cvxpy as cp
import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import lsmr

import sparsetconv as stc

plt.rcParams.update({"font.size": 12})

# %%
# A spectrum
# ----------
# Lines of different heights, some of them closer to each other than a peak is wide. The detector's
# response is asymmetric, with a tail to the right; ``padding="full"`` keeps all light, ``flip=True`` lets
# the tail point the way it is written. The noise has a standard deviation of 0.001.

rng = np.random.default_rng(2)
channels = 200
positions = np.array([18, 40, 46, 75, 82, 110, 128, 135, 142, 175])
heights = np.array([1.0, 0.8, 1.2, 0.5, 1.0, 0.3, 0.9, 0.6, 1.1, 0.7])
spectrum = np.zeros(channels)
spectrum[positions] = heights

taps = np.arange(31)
response = np.exp(-((taps - 8) ** 2) / (2 * np.where(taps < 8, 2.5, 5.0) ** 2))
response /= response.sum()

A = stc.conv_matrix(response, channels, padding="full", flip=True)
assert np.allclose(A @ spectrum, np.convolve(spectrum, response))

noise = 0.001
seen = A @ spectrum + noise * rng.standard_normal(A.shape[0])
print(f"{A.shape[0]} x {A.shape[1]} matrix, {A.nnz:,} entries, signal at most {seen.max():.3f}")

# %%
# The problem, as it is said
# --------------------------
# The misfit may be as large as the noise is expected to be. There is no weight to choose.

x = cp.Variable(channels, nonneg=True)
misfit = cp.norm(A @ x - seen)
problem = cp.Problem(cp.Minimize(cp.sum(x)), [misfit <= noise * np.sqrt(seen.size)])
problem.solve(solver=cp.CLARABEL)
sparse = x.value
print(f"{problem.status}, sum {problem.value:.3f} where the lines' is {heights.sum():.3f}")
assert problem.status == cp.OPTIMAL

# %%
# Damped least squares for comparison, with the damping of five that comes closest to the truth.

solutions = [lsmr(A, seen, damp=damp)[0] for damp in (0.002, 0.005, 0.01, 0.02, 0.05)]
smooth = min(solutions, key=lambda s: np.linalg.norm(s - spectrum))

# %%
# Lines, not peaks
# ----------------
# Least squares gives a lower and wider peak for each line, and ripples everywhere, half of them negative. The
# convex problem finds the lines at their places, even where the data show a single peak, and their heights to
# within a few hundredths.

found = np.array([sparse[p - 1 : p + 2].sum() for p in positions])
elsewhere = sparse.sum() - found.sum()
errors = {name: np.linalg.norm(s - spectrum) for name, s in (("least squares", smooth), ("sparse", sparse))}
print("heights", heights)
print("found  ", found.round(2), f"and {elsewhere:.3f} elsewhere")
print(", ".join(f"error, {name}: {value:.2f}" for name, value in errors.items()))
assert abs(found - heights).max() < 0.1
assert elsewhere < 0.1
assert errors["sparse"] < 0.2 * errors["least squares"]
# doing nothing: the record itself, moved so that peaks stand where their lines do
nothing = np.linalg.norm(seen[8 : 8 + channels] - spectrum)
assert errors["least squares"] < nothing

fig, axes = plt.subplots(3, 1, figsize=(6, 6.6), layout="constrained", sharex=True)
axes[0].plot(np.arange(seen.size) - 8, seen, color="black")
axes[0].set_title("recorded")
titles = {"least squares, the best of five": smooth, "sparse and non-negative": sparse}
for ax, (title, result) in zip(axes[1:], titles.items(), strict=True):
    ax.vlines(positions, 0, heights, color="#E69F00", linewidth=6, alpha=0.6, label="lines")
    ax.plot(result, color="#0072B2", label="found")
    ax.set_title(title)
    ax.set_ylim(-0.2, 1.3)
axes[1].legend()
axes[2].set_xlabel("channel")
plt.show()

# %%
# .. [1] S. Diamond and S. Boyd, "CVXPY: A Python-Embedded Modeling Language for Convex Optimization",
#    Journal of Machine Learning Research, 2016.
