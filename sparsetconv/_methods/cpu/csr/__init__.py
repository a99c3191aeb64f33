"""Products with any CSR matrix, and its transpose.

``product`` (`Csr`: small products by SciPy, large ones by compiled loops, in threads) uses ``loops`` and
``transposed``, which writes the transpose's own CSR.
"""
