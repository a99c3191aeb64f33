"""Resizing: rules of interpolation, and products with one small sparse matrix for each axis.

``conventions`` (the rules of other packages, as data), ``geometry`` (rules, sizes and positions of the axes),
``interpolation`` (the weights of a rule), ``rows`` (the matrix of an axis by rows), ``matrices`` (the public
functions), ``separable`` and ``cuda`` (products, along one axis after the other).
"""
