"""Arrays, and the machine that holds them; nothing here knows what a convolution is.

``backend`` (NumPy or CuPy), ``validation`` and ``layout`` (accepted arrays and dtypes, the memory layout of
kernels), ``results`` (arrays that results are written to), ``record`` (named integers: one schema for NumPy,
emitted loops and C), ``memory``, ``threads`` (how many) and ``pool`` (those that help), ``compiler`` and
``switches`` (numba), ``streams``, ``capture`` and ``cuda`` (synchronization, graphs and launches on a GPU),
``display`` (text of ``repr`` and error messages), ``output`` (files written whole or not at all), ``types``.
"""
