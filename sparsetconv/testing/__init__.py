"""Tests of operators that users write: ``<A x, y> = <x, A.H y>``.

``_adjoint`` (the public functions), ``_differences`` (messages about two products that differ).
"""

from sparsetconv.testing._adjoint import AdjointTest, assert_adjoint, dot_test

__all__ = ["AdjointTest", "assert_adjoint", "dot_test"]
