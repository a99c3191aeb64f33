"""A convolution as a function of its kernel: ``windows`` for small problems, ``gradient`` for all."""
