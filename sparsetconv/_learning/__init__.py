"""Kernels fitted to pairs of arrays: `fit_kernel`, ``normal`` equations, and the ``cost`` of each method."""
