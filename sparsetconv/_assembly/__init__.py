"""Matrices: the rows of one axis, their products, and the CSR arrays of any range of rows.

``runs`` and ``axis_rows`` (the matrix of one axis by rows), ``row_tables`` and ``loops`` (the same for
compiled loops), ``repeats`` (blocks that occur again and again), ``templates``, ``products``, ``writer``,
``row_pointers`` and ``csr`` (the arrays of a convolution's matrix),
``kernel_matrix`` (the matrix whose columns are weights), ``kronecker`` (the product of any factors), ``cuda``
(all of these arrays, written on a GPU by the kernels in ``source``), ``formats``
(checks of rows, format and index dtype), ``matrices`` (the public functions).
"""
