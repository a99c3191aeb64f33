"""The methods on the CPU: ``sparse``, ``direct``, ``fft``, and ``rates``, how fast a CPU is.

``stencil`` and ``overlap_save`` each hold a plan and its compiled loops, which are written in the language of
``emit``.
"""
