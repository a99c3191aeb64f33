"""A bounded least-recently-used cache for the tables and transforms of products."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Sized(Protocol):
    """An object that knows how many bytes it holds."""

    @property
    def nbytes(self) -> int: ...


S = TypeVar("S", bound=Sized)


class Store(Generic[S]):
    """A least-recently-used cache; thread-safe.

    Parameters
    ----------
    most, most_bytes : int
        The largest number of objects, and of their total bytes. The most recently used one is always kept.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[Hashable, S] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        with self._lock:
            return sum(thing.nbytes for thing in self._kept.values())

    def get(self, key: Hashable, make: Callable[[], S]) -> S:
        """Return the object with a key, made by ``make`` if it is not in the cache."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                return known
        made = make()
        with self._lock:
            # another thread may have stored it in the meantime
            known = self._kept.setdefault(key, made)
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self._is_full():
                self._kept.popitem(last=False)
        return known

    def _is_full(self) -> bool:
        total = sum(thing.nbytes for thing in self._kept.values())
        return len(self._kept) > self._most or total > self._most_bytes
