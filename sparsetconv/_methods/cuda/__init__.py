"""The methods on a GPU: ``sparse``, ``direct``, ``fft``.

``tuning`` has the measurements on a card: its rates, and the launch shapes of ``direct``. ``stencil`` (the
arguments of a launch) and ``tiles`` (the tile of a thread block) belong to ``direct``, whose CUDA kernels are
in ``source``. ``csr`` (for ``sparse``, and for operators of any matrix) multiplies with a CSR.
"""
