"""The GPU of an operator, and synchronization of streams that share cached arrays.

CuPy launches on the current device and its current stream, whatever device an array is on and whatever stream
has written it. So a product makes its operator's device current, and arrays that are made once and kept carry
an event of the stream that made them, for which other streams wait before they read. None of this happens
without a GPU.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sparsetconv._arrays.backend import is_cupy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from contextlib import AbstractContextManager

    from sparsetconv._arrays.backend import Backend

T = TypeVar("T")
V = TypeVar("V")

NOTHING: AbstractContextManager[None] = nullcontext()
# CUDA's handle of the per-thread default stream: one handle for a different stream in each thread
PER_THREAD = 2


class Made(Generic[T]):
    """A value made on the current stream, for which each other stream waits once before reading it.

    Parameters
    ----------
    backend : Backend
        With NumPy, there is nothing to wait for.
    value : object
        Arrays, or an object that holds some.
    """

    __slots__ = ("_backend", "_event", "_streams", "_value")

    def __init__(self, backend: Backend, value: T) -> None:
        self._backend, self._value = backend, value
        self._event: Any = None
        # streams that need not wait any more, by device, handle and thread; kept alive, so that no new stream
        # can get the handle of one of these
        self._streams: dict[tuple[int | None, int, int], Any] = {}
        if backend.on_gpu:
            cuda = backend.xp.cuda
            stream, event = cuda.get_current_stream(), cuda.Event(disable_timing=True)
            event.record(stream)
            self._streams[self._identity(stream)] = stream
            self._event = event

    def get(self) -> T:
        """Return the value, for work on the current stream."""
        if self._event is not None:
            self._order()
        return self._value

    def _order(self) -> None:
        event, stream = self._event, self._backend.xp.cuda.get_current_stream()
        identity = self._identity(stream)
        if event is None or identity in self._streams:
            return
        # queried for new streams only: a stream that is being captured into a graph may not query an event
        if event.done:
            self._event = None
            self._streams.clear()
            return
        stream.wait_event(event)
        self._streams[identity] = stream

    def _identity(self, stream: Any) -> tuple[int | None, int, int]:
        # the default stream has the same handle on every device
        handle = stream.ptr
        return self._backend.current_device(), handle, get_ident() if handle == PER_THREAD else 0


class Kept(Generic[V]):
    """A cache of values that are made once for each key, synchronized between streams.

    Parameters
    ----------
    backend : Backend
        Of the arrays in the values.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._values: dict[Hashable, Made[V]] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key; ``make`` is called the first time."""
        known = self._values.get(key)
        if known is None:
            # if two threads make the value, the first one's is kept, and the other's stream waits for it
            known = self._values.setdefault(key, Made(self._backend, make()))
        return known.get()

    def keys(self) -> list[Any]:
        """Return the keys of the values made so far."""
        return list(self._values)


class Place:
    """The device that is current when this object is made, and an event after the work launched before.

    Parameters
    ----------
    backend : Backend

    Attributes
    ----------
    device : int or None
        The number of the GPU; None without one.
    order : callable
        Makes the current stream wait for the work that was launched before this object was made; the device
        must be current.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.device = backend.current_device()
        # looked up once: every product calls both
        self._current = backend.xp.cuda.runtime.getDevice if backend.on_gpu else _no_device
        self.order = Made(backend, None).get

    def is_current(self) -> bool:
        """Return whether work that is launched now goes to this device."""
        return bool(self._current() == self.device)

    def entered(self) -> AbstractContextManager[None]:
        """Return a context for work on this device: it is current, and its current stream has waited."""
        if self._current() == self.device:
            self.order()
            return NOTHING
        return self._elsewhere()

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        with on_device(self._backend, self.device):
            self.order()
            yield


def _no_device() -> None:
    return None


def operator_device(op: Any, backend: Backend) -> int | None:
    """Return the number of the GPU of an operator or matrix; the current GPU's if the operator has none."""
    if hasattr(op, "_where"):
        device: int | None = op._where().device
        return device
    # a matrix of keys (DOK) has no array, and is never cupyx's
    array: Any = getattr(op, "data", None) if backend.sparse.issparse(op) else op
    return backend.device_of(array) if is_cupy(array) else backend.current_device()


def on_device(backend: Backend, device: int | None) -> AbstractContextManager[Any]:
    """Return a context in which a device is current; it does nothing if it already is, or without a GPU."""
    if device is None or backend.current_device() == device:
        return NOTHING
    entered: AbstractContextManager[Any] = backend.xp.cuda.Device(device)
    return entered
