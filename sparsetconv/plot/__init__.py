"""Plots of matrices, kernels, padding and estimated costs; matplotlib is imported when one is drawn.

``_figures`` (the public functions), ``_entries`` (the entries of a matrix), ``_sampled`` (a sample of them,
for matrices with more entries than pixels), ``_draw`` (drawing and colours).
"""

from sparsetconv.plot._figures import connectivity, kernel, matrix, method_costs, padding

__all__ = ["connectivity", "kernel", "matrix", "method_costs", "padding"]
