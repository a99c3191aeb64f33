"""Which GPU an operator belongs to, and the order of streams where something is kept.

Floor 0. CuPy launches on the current device and its current stream, whatever device an array is on, and
whatever stream has written it. So products enter the device of their operator; and what is made once and kept
has an event of the stream that made it, for which other streams wait before they read. Without a GPU all of
this is nothing.
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
# the handle of a stream that is another one in each thread
PER_THREAD = 2


class Made(Generic[T]):
    """What has just been made on the current stream: other streams wait for it, once, before they read it.

    Parameters
    ----------
    backend : Backend
        With NumPy's there is nothing to wait for.
    value : object
        Arrays, or what holds some.
    """

    __slots__ = ("_backend", "_event", "_streams", "_value")

    def __init__(self, backend: Backend, value: T) -> None:
        self._backend, self._value = backend, value
        self._event: Any = None
        # streams that are in order, by device and handle; kept, so that no new stream gets one of these
        self._streams: dict[tuple[int | None, int, int], Any] = {}
        if backend.on_gpu:
            cuda = backend.xp.cuda
            stream, event = cuda.get_current_stream(), cuda.Event(disable_timing=True)
            event.record(stream)
            self._streams[self._identity(stream)] = stream
            self._event = event

    def get(self) -> T:
        """Return it, for work on the current stream."""
        if self._event is not None:
            self._order()
        return self._value

    def _order(self) -> None:
        event, stream = self._event, self._backend.xp.cuda.get_current_stream()
        identity = self._identity(stream)
        if event is None or identity in self._streams:
            return
        # asked of new streams alone: a stream that is captured into a graph may not ask
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
    """Values that are made once for each key, in order for every stream.

    Parameters
    ----------
    backend : Backend
        Of the arrays in them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._values: dict[Hashable, Made[V]] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key, made now if there is none yet."""
        known = self._values.get(key)
        if known is None:
            # of two threads that make it the first one's is kept, for which the other's stream waits
            known = self._values.setdefault(key, Made(self._backend, make()))
        return known.get()

    def keys(self) -> list[Any]:
        """Return the keys of what has been made."""
        return list(self._values)


class Place:
    """The device that is current where this is made, and what was made there before on the current stream.

    Parameters
    ----------
    backend : Backend

    Attributes
    ----------
    device : int or None
        The number of the GPU; None without one.
    order : callable
        Lets the current stream wait for what was made; the device must be current.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.device = backend.current_device()
        # found once: both are asked for in every product
        self._current = backend.xp.cuda.runtime.getDevice if backend.on_gpu else _no_device
        self.order = Made(backend, None).get

    def is_current(self) -> bool:
        """Return whether work that is launched now goes there."""
        return bool(self._current() == self.device)

    def entered(self) -> AbstractContextManager[None]:
        """Return the context for work there: the device is current, and its current stream in order."""
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
    """Return the number of the GPU of an operator or matrix: the current one if it does not say."""
    if hasattr(op, "_where"):
        device: int | None = op._where().device
        return device
    array = op.data if backend.sparse.issparse(op) else op
    return backend.device_of(array) if is_cupy(array) else backend.current_device()


def on_device(backend: Backend, device: int | None) -> AbstractContextManager[Any]:
    """Return a context in which a device is current; nothing has to be done if it is, or without a GPU."""
    if device is None or backend.current_device() == device:
        return NOTHING
    entered: AbstractContextManager[Any] = backend.xp.cuda.Device(device)
    return entered
