"""What a part consists of: steps, each of which yields rows of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lab import Lab

Row = dict[str, Any]
Rows = Iterator[Row]


class Unavailable(Exception):  # noqa: N818
    """Raised if a machine lacks something; the text says what, and the step counts as not applicable."""


@dataclass(frozen=True)
class Step:
    """One thing to measure, which may fail without affecting the others.

    Attributes
    ----------
    name : str
        Unique in its part.
    rows : callable
        Takes the `Lab`, and yields rows as they are measured, so that what comes before a failure is kept.
    seconds : float
        After which the step is stopped.
    arguments : mapping
        For ``rows``.
    """

    name: str
    rows: Callable[..., Rows]
    seconds: float
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def run(self, lab: Lab) -> Rows:
        """Return the rows, each of which is measured when it is asked for."""
        return self.rows(lab, **self.arguments)
