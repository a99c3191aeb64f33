"""The methods on the CPU: ``sparse``, ``direct``, ``fft``, and ``rates``, how fast a CPU is.

``stencil`` (for ``direct``) and ``overlap_save`` (for ``fft``) each hold a plan and the compiled loops that
run it; the loops are written with the operators of ``emit``.
"""
