"""The benchmarks that asv runs: one class for each question.

Parameters have the same names everywhere: ``n`` is the side of a square picture, ``taps`` that of a square
kernel, ``columns`` the number of right-hand sides, ``backend`` where the arrays live. What a machine or an
older version cannot do raises ``NotImplementedError`` with the reason in ``setup``, and is shown as n/a.

asv runs ``setup`` again before each sample; whatever takes long there is kept by `functools.cache`, and asv
starts a process for each combination of parameters, so that nothing is kept for long.
"""

import os
from pathlib import Path

import sparsetconv

# set by run_detached.py: results of another tree than the one asked for would be wrong
_wanted = os.environ.get("SPARSETCONV_TREE")
if _wanted is not None and not Path(sparsetconv.__file__).resolve().is_relative_to(_wanted):
    message = f"sparsetconv must be that of {_wanted}, got {sparsetconv.__file__}"
    raise ImportError(message)
