"""The switch that turns numba's compiler off, read without importing numba."""

from __future__ import annotations

import os
import sys


def compiler_switch() -> str | None:
    """Return the setting that turns numba's compiler off, or None, without importing numba."""
    # an error for each call would be slow, and may hide an interrupt that comes while it is raised
    value = os.environ.get("NUMBA_DISABLE_JIT") or "0"
    try:
        # numba reads the variable in the same way when it is imported
        asked = int(value)
    except ValueError:
        asked = 0
    config = sys.modules.get("numba.core.config")
    if not getattr(config, "DISABLE_JIT", asked != 0):
        return None
    return f"NUMBA_DISABLE_JIT={asked}" if asked else "numba.config.DISABLE_JIT"
