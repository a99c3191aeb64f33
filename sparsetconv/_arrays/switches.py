"""What turns parts of the package off: numba's compiler.

Floor 0, standard library only.
"""

from __future__ import annotations

import os
import sys


def compiler_switch() -> str | None:
    """Return what turns numba's compiler off, or None, without importing numba."""
    value = os.environ.get("NUMBA_DISABLE_JIT", "")
    try:
        # as numba reads it when it is imported
        asked = int(value) != 0
    except ValueError:
        asked = False
    config = sys.modules.get("numba.core.config")
    if not getattr(config, "DISABLE_JIT", asked):
        return None
    return f"NUMBA_DISABLE_JIT={int(value)}" if asked else "numba.config.DISABLE_JIT"
