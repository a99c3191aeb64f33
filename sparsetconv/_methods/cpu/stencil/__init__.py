"""The compiled stencil of ``direct``.

These make the tables: ``records`` (their fields), ``partition`` (results divided into runs and row blocks),
``lanes`` (what the lanes of a vector hold), ``bands`` (row blocks divided into tiles), ``tap_lists`` and
``plan``. These read them: ``source`` (a tile's source, in place or copied), ``micro_kernel``, ``tiles``, and
with each kind of lanes ``loops`` or ``channel_loops``. ``gradient_loops`` computes the gradient with respect
to a kernel from the same plan.
"""
