"""The compiled stencil of ``direct``.

``records`` (the fields of the tables), ``partition`` (results divided into tiles), ``tap_lists`` and ``plan``
make the tables; ``micro_kernel`` and ``loops`` read them. ``gradient_loops`` computes the gradient with
respect to a kernel from the same plan.
"""
