"""Sizes, padding and reads of a convolution, in integers, and the padding of arrays.

``padding`` (the modes, as a table), ``validation`` (what a user may write), ``axis`` (one axis: every rule
about sizes and reads), ``convolution`` (`ConvGeometry`) and ``transposed`` (a transposed convolution has the
geometry of its forward convolution), ``counting`` (sums over progressions), ``segments`` (rows that repeat),
``extension`` (padding of arrays, and its adjoint).
"""
