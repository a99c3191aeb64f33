"""The methods of computing a product, and the choice between them.

``registry`` (a line for each method), ``base`` (the base classes), ``work`` (operation counts of a product),
``cost`` (estimated seconds), ``choice`` (``method="auto"``), ``tune`` and ``probes`` (rates that are
measured on this machine, and the problems that are timed), ``merge`` (a geometry with fewer axes),
``phases`` (polyphase: one axis as each direction reads it), ``gemm``, ``transforms``, ``whole`` and
``finite`` (for both backends), ``cpu``, ``cuda``, ``kernel`` (products and gradients as functions of the
kernel), ``store`` (a cache of tables and transforms).
"""
