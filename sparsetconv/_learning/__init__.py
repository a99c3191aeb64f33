"""Kernels fitted to pairs of arrays: `fit_kernel`, its ``normal`` equations, and the ``cost`` of each way."""
