"""Names of types, for the type checker only: nothing imports this module when the package runs."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An array of any dtype."""

Index: TypeAlias = Any
"""What may stand in brackets behind an array."""
