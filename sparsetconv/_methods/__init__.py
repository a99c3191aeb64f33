"""The ways to multiply, and the choice between them; each is right for all that it accepts.

``registry`` (a line for each method), ``base`` (what each offers), ``work`` (what a product has to do),
``cost`` (estimated seconds), ``choice`` (``method="auto"``), ``merge`` (axes that need not be axes),
``phases`` (an axis as either direction reads it), ``gemm``, ``transforms``, ``whole`` and ``finite`` (either
backend), ``cpu``, ``cuda``, ``kernel`` (as a function of the kernel), ``store``.
"""
