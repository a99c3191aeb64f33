"""The compiled stencil of ``direct``.

``records`` are what the plan hands to the loops. ``partition`` (results in tiles), ``tap_lists``, ``plan``;
``micro_kernel``, ``loops``. ``gradient_loops`` are those of the gradient with respect to a kernel, on the
same plan.
"""
