"""The methods on a GPU: ``sparse``, ``direct``, ``fft``.

``tuning`` is what has been measured on a card: how fast it is, and launches of ``direct``. ``stencil`` (a
problem in numbers) and ``tiles`` (what a block of threads makes) belong to ``direct``; its kernels are in
``source``.
"""
