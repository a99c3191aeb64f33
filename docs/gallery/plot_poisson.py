r"""
Poisson's equation, a stencil as a matrix
=========================================

A finite-difference stencil on a regular grid is a convolution kernel, so the matrix of a discretised
differential equation is a `conv_matrix`. Padding with zeros is the boundary condition :math:`u = 0`:
what stands beyond the unknowns is the boundary, where the solution is known to be zero. Other borders are
other conditions; the last section has Neumann's.

.. math:: -\Delta u = f \text{ on the unit square}, \qquad u = 0 \text{ on its boundary}
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import cg, splu, spsolve

import sparsetconv as stc

# sphinx_gallery_thumbnail_number = 2
plt.rcParams.update({"font.size": 12})

# %%
# A problem with a known solution
# -------------------------------
# The right-hand side is computed from the solution by hand, so that the error can be measured.


def solution(x, y):
    """Return a function that is zero on the boundary."""
    return np.sin(np.pi * x**2) * np.sin(2 * np.pi * y)


def right_side(x, y):
    """Return minus the Laplacian of the solution."""
    curvature = 2 * np.pi * np.cos(np.pi * x**2) - (2 * np.pi * x) ** 2 * np.sin(np.pi * x**2)
    return (4 * np.pi**2 * np.sin(np.pi * x**2) - curvature) * np.sin(2 * np.pi * y)


# %%
# Two stencils
# ------------
# The five-point stencil errs by :math:`h^2`. The compact nine-point stencil [1]_ errs by :math:`h^4` if the
# right-hand side is averaged by a stencil too. To change the scheme is to change the kernel.

five = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
nine = np.array([[-1, -4, -1], [-4, 20, -4], [-1, -4, -1]]) / 6
average = np.array([[0, 1, 0], [1, 8, 1], [0, 1, 0]]) / 12

# %%
# The five-point matrix on a grid of 3 x 3 unknowns is the one in every textbook: symmetric, with -1
# missing where a neighbour lies on the boundary.

print(stc.conv_matrix(five, (3, 3), padding=1).toarray())


# %%
# Solving directly, on finer and finer grids
# ------------------------------------------
# The unknowns are the inner points of a grid of ``n + 2`` points. The average needs ``f`` on the boundary
# as well, so it is a convolution without padding of all points.
#
# The five-point stencil is a kernel of nine taps, four of which are zero, and the matrix stores them: its
# pattern depends on the sizes alone. A factorisation treats each stored entry as possibly non-zero, which
# causes more fill-in; ``eliminate_zeros`` drops the zeros first.

stored = stc.conv_matrix(five.astype(float), (63, 63), padding=1, format="csc")
dropped = stored.copy()
dropped.eliminate_zeros()
fill = [factors.L.nnz + factors.U.nnz for factors in map(splu, (stored, dropped))]
print(f"entries: {stored.nnz:,} with the zeros, {dropped.nnz:,} without")
print(f"entries of the factors: {fill[0]:,} and {fill[1]:,}")
assert dropped.nnz == 5 * 63**2 - 4 * 63
assert fill[0] > 1.2 * fill[1]


def grid(n):
    """Return the coordinates of all points, the boundary's included."""
    points = np.linspace(0, 1, n + 2)
    return np.meshgrid(points, points, indexing="ij")


def solve(stencil, weights, n):
    """Return the unknowns and their largest error."""
    x, y = grid(n)
    h = 1 / (n + 1)
    f = stc.ConvOperator(weights, x.shape).apply(right_side(x, y))
    A = stc.conv_matrix(stencil / h**2, (n, n), padding=1, format="csc")
    A.eliminate_zeros()
    u = spsolve(A, f.ravel()).reshape(n, n)
    return u, abs(u - solution(x, y)[1:-1, 1:-1]).max()


identity = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
sizes = [7, 15, 31, 63, 127]
errors = {
    "five-point": [solve(five, identity, n)[1] for n in sizes],
    "nine-point": [solve(nine, average, n)[1] for n in sizes],
}

steps = 1 / (np.array(sizes) + 1)
for name, values in errors.items():
    orders = np.log2(np.array(values[:-1]) / values[1:])
    print(f"{name}: errors", *(f"{value:.1e}" for value in values), "orders", orders.round(2))

# %%
# The observed orders are those of theory.

orders = {name: np.log2(values[-2] / values[-1]) for name, values in errors.items()}
assert abs(orders["five-point"] - 2) < 0.05
assert abs(orders["nine-point"] - 4) < 0.05

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, values), style, colour in zip(errors.items(), ("o-", "s-"), ("#0072B2", "#D55E00"), strict=True):
    ax.loglog(steps, values, style, color=colour, label=name)
for order, values in zip((2, 4), errors.values(), strict=True):
    ax.loglog(steps, 0.5 * values[-1] * (steps / steps[-1]) ** order, ":", color="#555555")
    ax.annotate(f"$h^{order}$", (steps[1], 0.2 * values[-1] * (steps[1] / steps[-1]) ** order))
ax.set_xlabel("step $h$")
ax.set_ylabel("largest error")
ax.set_title("Error against the step")
ax.grid(alpha=0.3)
ax.legend()

# %%
# Without the matrix, by conjugate gradients
# ------------------------------------------
# The operator is symmetric and positive definite, which is all that `scipy.sparse.linalg.cg` asks for.
# 255 x 255 unknowns; no matrix is formed.

n = 255
x, y = grid(n)
h = 1 / (n + 1)
A = stc.ConvOperator(nine / h**2, (n, n), padding=1)
f = stc.ConvOperator(average, x.shape).apply(right_side(x, y))

residuals = []
b = f.ravel()
u, info = cg(A, b, rtol=1e-9, callback=lambda u: residuals.append(np.linalg.norm(b - A @ u)))
assert info == 0

exact = solution(x, y)[1:-1, 1:-1]
error = abs(u.reshape(n, n) - exact).max()
print(f"{u.size:,} unknowns, {len(residuals)} iterations, largest error {error:.1e}")
assert error < errors["nine-point"][-1] / 12

fig, (left, right) = plt.subplots(2, 1, figsize=(6, 7), layout="constrained", height_ratios=[3, 2])
picture = left.imshow(u.reshape(n, n).T, cmap="RdBu", vmin=-1, vmax=1, origin="lower", extent=(0, 1, 0, 1))
left.set(xlabel="x", ylabel="y", title="The solution $u$")
fig.colorbar(picture, ax=left)
right.semilogy(np.array(residuals) / np.linalg.norm(b), color="#0072B2")
right.set(xlabel="iteration", ylabel="relative residual", title="Conjugate gradients")
right.grid(alpha=0.3)

# %%
# Neumann's condition: no flux through the boundary
# -------------------------------------------------
# Where the slope across the boundary is zero, and not the value, the unknowns are the middles of ``n`` cells
# and the boundary lies half a step beyond the outermost ones. The cell that would come next has the same
# value as the last one, so that their difference is zero: ``padding_mode="replicate"``. Each row then lacks
# the flux over the boundary, and the matrix stays symmetric.

for mode in ("replicate", "reflect"):
    small = stc.conv_matrix(five, (4, 5), padding=1, padding_mode=mode).toarray()
    symmetric = (small == small.T).all()
    print(f"{mode}: symmetric {symmetric}, rows add up to {abs(small.sum(1)).max()}")
    assert symmetric == (mode == "replicate")
    assert not small.sum(1).any()
    assert np.linalg.matrix_rank(small) == small.shape[0] - 1

# %%
# A ``"reflect"`` border means another grid, whose outermost unknowns lie on the boundary: the neighbour
# inside counts twice there, once for its mirror image. That is right too, but the matrix is not symmetric, so
# ``cg`` cannot be used.
#
# A constant may be added to any solution: the matrix maps constants to zero and is singular. With the
# symmetric one there are two ways out. One unknown is pinned: without its row and column the matrix is
# regular, symmetric and positive definite. Or the constant is projected out: the mean of the right-hand side
# is subtracted, since a solution exists only for a mean of zero, and conjugate gradients never leave the
# vectors of mean zero.


def cells(n):
    """Return the coordinates of the middles of the cells."""
    middles = (np.arange(n) + 0.5) / n
    return np.meshgrid(middles, middles, indexing="ij")


def pinned(A, f):
    """Return the solution whose first unknown is zero."""
    return np.concatenate([[0.0], spsolve(A[1:, 1:], f[1:])])


def projected(A, f):
    """Return the solution of mean zero."""
    u, info = cg(A, f - f.mean(), rtol=1e-12)
    assert info == 0
    return u - u.mean()


neumann_errors = []
for n in (16, 32, 64):
    x, y = cells(n)
    exact = (np.cos(np.pi * x) * np.cos(2 * np.pi * y)).ravel()
    A = stc.conv_matrix(five * n**2, (n, n), padding=1, padding_mode="replicate", format="csc")
    A.eliminate_zeros()
    found = {way.__name__: way(A, 5 * np.pi**2 * exact) for way in (pinned, projected)}
    # the two differ by a constant, which is what is not determined
    difference = found["pinned"] - found["projected"]
    assert np.ptp(difference) < 1e-8
    neumann_errors.append(abs(found["projected"] - exact).max())

orders = np.log2(np.array(neumann_errors[:-1]) / neumann_errors[1:])
print("errors", *(f"{value:.1e}" for value in neumann_errors), "orders", orders.round(2))
assert (abs(orders - 2) < 0.05).all()
plt.show()

# %%
# .. [1] L. Collatz, "The Numerical Treatment of Differential Equations", Springer, 1960:
#    "Mehrstellenverfahren".
