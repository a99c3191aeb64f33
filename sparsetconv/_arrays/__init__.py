"""Arrays, and the machine that holds them; nothing here knows what a convolution is.

``backend`` (NumPy or CuPy), ``validation`` and ``layout`` (accepted arrays and dtypes, the memory layout of
kernels), ``record`` (integers with names: one schema for NumPy, emitted loops and C), ``memory``,
``threads``, ``compiler`` and ``switches`` (numba), ``streams``, ``capture`` and ``cuda`` (order, graphs and
launches on a GPU), ``display`` (what a ``repr`` says), ``output`` (files written whole or not at all),
``types``.
"""
