"""Enlarge pictures by interpolation or by learned kernels.

``_enlarge`` (`upsample`, `learned_kernel`), ``_learning`` (`learn`, `shrink`), ``_arrays`` (pictures as
arrays, for both), ``_files`` (reading and writing, by libvips).
"""

from sparsetconv.pictures._enlarge import MODES, learned_kernel, upsample
from sparsetconv.pictures._learning import learn, shrink

__all__ = ["MODES", "learn", "learned_kernel", "shrink", "upsample"]
