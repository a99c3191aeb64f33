"""CUDA graphs: the work of a function, recorded once and repeated by one launch.

For a small image, a GPU takes less time to compute a product than Python takes to launch it, and the same is
true of every other step of a solver's iteration. CuPy captures the launches; this module makes the graph safe
to replay: kernels are compiled and tables are made before the capture, and memory that the function frees
stays reserved for the graph.
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
    """A captured CUDA graph: each call replays it on the GPU.

    Attributes
    ----------
    result : object
        What the function returned. Every call overwrites the arrays in it.
    """

    def __init__(self, backend: Backend, graph: Any, function: Callable[[], T], pool: Any, result: T) -> None:
        self._backend, self._graph, self._device = backend, graph, backend.current_device()
        # a graph holds only addresses, including those of arrays that the function reads and of memory that
        # it has freed: both must stay alive
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
        Takes no arguments and works on CuPy arrays of the current GPU, the same arrays in every call: values
        that change between iterations are written in place, not bound to new arrays. `capture` calls it
        twice: once to run it, so that kernels are compiled and operators make the tables that they keep, and
        once to record it, which changes no array. The function must not wait for the device (no
        ``float(...)``, no ``.get()``, no ``if`` on an array), and CuPy cannot record cuBLAS or cuSPARSE (no
        ``@`` of arrays, no ``vdot``): of the methods of operators, only ``"direct"`` can be recorded.

    Returns
    -------
    Captured
        A callable that repeats the work; its attribute ``result`` is what the function returned.

    Raises
    ------
    TypeError
        If ``function`` cannot be called.
    ImportError, RuntimeError
        If CuPy, its libraries or a GPU are missing.
    NotImplementedError
        From CuPy, if the function calls something that CuPy does not record.

    Notes
    -----
    One launch from Python takes some microseconds; launching a whole graph takes less than that. This pays
    off for small images and for iterations of many small steps. The function's work begins after the work
    that is already on the current stream, and the first call's work ends before later work on the current
    stream begins.

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
                # stop the recording; an error of end_capture would hide the one that the function raised
                with suppress(Exception):
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        finally:
            own.wait_event(_recorded(cuda, stream))
    return Captured(backend, graph, function, pool, result)


def _recorded(cuda: Any, stream: Any) -> Any:
    """Return an event that follows all work launched on a stream so far."""
    event = cuda.Event(disable_timing=True)
    event.record(stream)
    return event
