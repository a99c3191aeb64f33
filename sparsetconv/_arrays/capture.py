"""CUDA graphs: the work of a function, recorded once and repeated by one launch.

Floor 0. A product of a small picture takes less time on a card than Python takes to launch it, and so does
all else that an iteration of a solver does. CuPy records launches; what this module adds is what makes the
record safe to repeat: everything compiles and is kept beforehand, and the memory that the function uses and
gives back stays the graph's.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sparsetconv._arrays.backend import device_backend
from sparsetconv._arrays.display import type_name
from sparsetconv._arrays.streams import on_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparsetconv._arrays.backend import Backend

T = TypeVar("T")


class Captured(Generic[T]):
    """Recorded work: call it, and the GPU does the work once more.

    Attributes
    ----------
    result : object
        What the function returned. Arrays in it are written anew by every call.
    """

    def __init__(self, backend: Backend, graph: Any, function: Callable[[], T], pool: Any, result: T) -> None:
        self._backend, self._graph, self._device = backend, graph, backend.current_device()
        # a graph knows addresses alone: of what the function reads, and of memory that it has given back
        self._function, self._pool = function, pool
        self.result = result

    def __call__(self) -> T:
        """Launch the work on the current stream, and return `result`."""
        with on_device(self._backend, self._device):
            self._graph.launch(stream=self._backend.xp.cuda.get_current_stream())
        return self.result


def capture(function: Callable[[], T]) -> Captured[T]:
    """Record what a function does on the current GPU, to be repeated by one launch: a CUDA graph.

    Parameters
    ----------
    function : callable
        Takes nothing and works on CuPy arrays of the current GPU, always the same: what changes from one
        iteration to the next changes in place, and no name is given to another array. It is called twice:
        once in earnest, so that kernels are compiled and whatever operators keep is there, and once to be
        recorded, which changes nothing. The host may not wait for the device in it (no ``float(...)``, no
        ``.get()``, no ``if`` on an array), and CuPy records neither cuBLAS nor cuSPARSE (no ``@`` of arrays,
        no ``vdot``): of the methods of operators ``"direct"`` can be recorded.

    Returns
    -------
    Captured
        To be called once for each repetition; its attribute ``result`` is what the function returned.

    Raises
    ------
    TypeError
        If ``function`` cannot be called.
    ImportError, RuntimeError
        If CuPy, its libraries or a GPU are missing.
    NotImplementedError
        From CuPy, where the function calls what CuPy does not record.

    Notes
    -----
    A launch by Python takes some microseconds, one of a graph less for all that is in it. That pays for small
    pictures and for iterations of many small steps. Work of the current stream comes before that of the
    function, and that of the first call before what comes later on the current stream.

    Examples
    --------
    Fifty steps of gradient descent, each of them one launch, the first made by `capture`:

    >>> import cupy  # doctest: +SKIP
    >>> import sparsetconv as stc
    >>> A = stc.ConvOperator(cupy.ones((3, 3)) / 9, (64, 64), padding="same")  # doctest: +SKIP
    >>> y = A @ cupy.random.rand(64 * 64)  # doctest: +SKIP
    >>> x = cupy.zeros(64 * 64)  # doctest: +SKIP
    >>> def step():
    ...     x[...] += A.rmatvec(y - A @ x)
    >>> repeated = stc.capture(step)  # doctest: +SKIP
    >>> for _ in range(49):  # doctest: +SKIP
    ...     repeated()
    """
    if not callable(function):
        msg = f"function must be callable, without arguments; got {type_name(function)}"
        raise TypeError(msg)
    backend = device_backend("cupy")
    cuda = backend.xp.cuda
    own, stream, pool = cuda.get_current_stream(), cuda.Stream(non_blocking=True), cuda.MemoryPool()
    stream.wait_event(_recorded(cuda, own))
    with stream, cuda.using_allocator(pool.malloc):
        try:
            function()
            stream.begin_capture()
            try:
                result = function()
            except BaseException:
                # the stream records until it is told to stop; what went wrong is what the function has raised
                with suppress(Exception):
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        finally:
            own.wait_event(_recorded(cuda, stream))
    return Captured(backend, graph, function, pool, result)


def _recorded(cuda: Any, stream: Any) -> Any:
    """Return an event behind what has been launched on a stream."""
    event = cuda.Event(disable_timing=True)
    event.record(stream)
    return event
