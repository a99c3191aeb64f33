"""The methods on the CPU: ``sparse``, ``direct``, ``fft``; and ``rates``, the measured speed of a CPU.

``stored`` reads and writes the file of the rates that a user has measured.
``stencil`` (for ``direct``) and ``overlap_save`` (for ``fft``) each hold a plan and the compiled loops that
execute it. The loops are written with the operators of ``emit``; by ``team``, several threads compute them
together. ``csr`` (for ``sparse``, and for operators of any matrix) multiplies with a CSR.
"""
