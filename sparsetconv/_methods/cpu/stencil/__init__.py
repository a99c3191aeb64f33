"""The compiled stencil of ``direct``: its ``plan``, the plan's ``tap_lists``, and its ``loops``.

``gradient_loops`` are those of the gradient with respect to a kernel, on the same plan.
"""
