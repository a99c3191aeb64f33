"""Sizes, padding and index arithmetic of a convolution, in integers, and the padding of arrays.

``padding`` (the modes, as a table), ``validation`` (checks of a user's arguments), ``axis`` (one axis: every
rule about sizes and indices), ``convolution`` (`ConvGeometry`) and ``transposed`` (a transposed convolution
has the geometry of its forward convolution), ``counting`` (sums over progressions), ``segments`` (repeating
rows),
``extension`` (padding of arrays, and its adjoint).
"""
