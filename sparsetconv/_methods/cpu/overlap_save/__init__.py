"""Convolution by Fourier transforms of tiles (overlap-save): ``records``, ``plan``, ``loops``."""
