"""Overlap-save, convolution by Fourier transforms of tiles: ``records``, ``plan``, compiled ``loops``."""
