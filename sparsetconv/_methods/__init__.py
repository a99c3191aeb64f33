"""The ways to multiply, and the choice between them; each is right for all that it accepts.

``registry`` (a line for each method), ``base`` (the base classes), ``work`` (what a product has to do),
``cost`` (estimated seconds), ``choice`` (``method="auto"``), ``merge`` (a geometry with fewer axes),
``phases`` (one axis as either direction reads it, polyphase), ``gemm``, ``transforms``, ``whole`` and
``finite`` (for either backend), ``cpu``, ``cuda``, ``kernel`` (products and gradients as functions of the
kernel), ``store`` (a cache of tables and transforms).
"""
