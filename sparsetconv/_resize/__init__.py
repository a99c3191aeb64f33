"""Resizing: interpolation rules, and separable products with one small sparse matrix per axis.

``conventions`` (the rules of other packages, as data), ``geometry`` (rules, sizes and positions of the axes),
``interpolation`` (the weights of a rule), ``rows`` (the rows of an axis' matrix), ``matrices`` (the public
functions), ``separable`` and ``cuda`` (products, one axis after the other).
"""
