"""Convolution by Fourier transforms of tiles (overlap-save): the ``plan`` and the ``loops``."""
