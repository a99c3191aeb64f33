"""What a convolution reads, in integers, and the padding of arrays.

``padding`` (the modes, as a table), ``validation`` (what a user may write), ``axis`` (one axis: every rule
about sizes and reads), ``convolution`` (`ConvGeometry`) and ``transposed`` (the geometry of a transposed
convolution, which is that of the forward one), ``counting`` (sums over progressions), ``segments`` (rows that
repeat), ``extension`` (arrays padded, and the adjoint of that).
"""
