"""The compiled stencil of ``direct``.

``records`` (the tables' fields), ``partition`` (results divided into tiles), ``tap_lists`` and ``plan`` make
the tables; ``micro_kernel`` and ``loops`` run by them. ``gradient_loops`` compute the gradient with respect
to a kernel, by the same plan.
"""
