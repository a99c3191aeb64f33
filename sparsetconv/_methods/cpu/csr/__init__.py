"""Products with any CSR matrix and with its transpose.

``product`` (`Csr`, `TransposedCsr`) leaves small products to SciPy, and runs the compiled loops of ``loops``
in threads for large ones.
"""
