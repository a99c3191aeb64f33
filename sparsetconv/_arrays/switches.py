"""The switch that turns numba's compiler off, read without importing numba."""

from __future__ import annotations

import os
import sys


def compiler_switch() -> str | None:
    """Return the setting that turns numba's compiler off, or None, without importing numba."""
    value = os.environ.get("NUMBA_DISABLE_JIT", "")
    try:
        # numba reads the variable in the same way when it is imported
        asked = int(value) != 0
    except ValueError:
        asked = False
    config = sys.modules.get("numba.core.config")
    if not getattr(config, "DISABLE_JIT", asked):
        return None
    return f"NUMBA_DISABLE_JIT={int(value)}" if asked else "numba.config.DISABLE_JIT"
