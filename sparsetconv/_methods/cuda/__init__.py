"""The methods on a GPU: ``sparse``, ``direct``, ``fft``, and ``cost``, their estimated seconds.

``stencil`` (a problem in numbers), ``tiles`` (what a block of threads makes) and ``tuning`` (what has been
measured on a card) belong to ``direct``; its kernels are in ``source``.
"""
