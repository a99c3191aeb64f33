"""Devices and streams of the emulation, and the rules that a card would not enforce but obey.

What is launched goes to the current stream of the current device. Arrays must be in that device's memory, and
what another stream has written must have been waited for: each memory knows where it was written last, each
stream how far it has waited for others. That nothing runs at the same time here does not matter: what *could*
be read too early is an error.
"""

import contextlib
import ctypes
import itertools
import re
import time
import types

import numpy as np

# GPUs that the emulation has; `Device.attributes` of each
DEVICES = 2
# as that of an NVIDIA A100; the emulation has no cache of its own
ATTRIBUTES = {"L2CacheSize": 40 << 20}


class Device:
    mem_info = (8 << 30, 8 << 30)
    attributes = ATTRIBUTES

    def __init__(self, number=None):
        self.id = state.device if number is None else number
        assert 0 <= self.id < DEVICES
        self._before = []

    def use(self):
        state.device = self.id

    def __enter__(self):
        self._before.append(state.device)
        state.device = self.id
        return self

    def __exit__(self, *_):
        state.device = self._before.pop()

    def __eq__(self, other):
        return self.id == other.id

    __hash__ = None


class Stream:
    def __init__(self, null=False, non_blocking=False, device=None):
        del non_blocking  # of two streams here neither waits for the other
        self.device_id = state.device if device is None else device
        self.ptr = 0 if null else next(HANDLES)
        # launches that have written; of other streams, how many have been waited for
        self.written, self.seen = 0, {}
        # what has been launched since `begin_capture`, instead of being done
        self.captured = None
        self._before = []

    def __enter__(self):
        assert self.device_id == state.device, "a stream belongs to the device on which it was made"
        self._before.append(state.current[state.device])
        state.current[state.device] = self
        return self

    def __exit__(self, *_):
        state.current[self.device_id] = self._before.pop()

    def wait_event(self, event):
        state.log.append(("wait", self))
        for stream, written in event.recorded.items():
            self.seen[stream] = max(self.seen.get(stream, 0), written)

    def synchronize(self):
        """Let the host wait: whatever is launched later, on any stream, comes later."""
        assert self.captured is None, "a stream that is captured cannot be waited for"
        FINISHED[self] = self.written

    def begin_capture(self):
        assert self.captured is None
        assert self.ptr, "the default stream cannot be captured"
        self.captured = []

    def end_capture(self):
        graph, self.captured = Graph(self.captured), None
        return graph


class Graph:
    def __init__(self, launches):
        self._launches = launches

    def launch(self, stream):
        with stream:
            for launch in self._launches:
                launch()


class Event:
    done = False

    def __init__(self, block=False, disable_timing=False):
        del block, disable_timing

    def record(self, stream=None):
        stream = stream or get_current_stream()
        state.log.append(("event", stream))
        self.time = time.perf_counter()
        self.recorded = {**stream.seen, stream: stream.written}

    def synchronize(self):
        FINISHED.update(self.recorded)


def get_current_stream():
    return state.current[state.device]


class Memory:
    """What arrays of one memory have in common: the device, and the stream that wrote there last."""

    def __init__(self):
        self.device = state.device
        self.note()

    def note(self):
        """Write on the current stream."""
        self.stream = get_current_stream()
        self.stream.written += 1
        self.when = self.stream.written

    def check(self):
        """See that work on the current stream may read."""
        assert self.device == state.device, (
            f"a launch on device {state.device} reads or writes memory of device {self.device}"
        )
        self.check_order(get_current_stream())

    def check_order(self, stream):
        """See that a stream has waited for what was written last."""
        if self.stream is not stream:
            known = max(stream.seen.get(self.stream, 0), FINISHED.get(self.stream, 0))
            assert known >= self.when, "a stream reads what another one writes, and has not waited for it"


# how far the host has waited for streams; handles of streams, of which 1 and 2 have a meaning of their own
FINISHED = {}
HANDLES = itertools.count(16)
# the current device, the current stream of each, and (what, stream) of every launch, event and wait
state = types.SimpleNamespace(device=0, current=[], log=[])


def reset():
    """Forget streams and launches, and be on device 0."""
    FINISHED.clear()
    state.device, state.log = 0, []
    state.current = [Stream(null=True, device=n) for n in range(DEVICES)]


reset()


@contextlib.contextmanager
def watched():
    """Yield a list of what is launched, recorded and waited for meanwhile."""
    first, found = len(state.log), []
    yield found
    found += state.log[first:]


def launched(name, reads=(), writes=()):
    """Note a launch, of arrays' memories."""
    if name in ("empty", "empty_like"):
        # memory is the host's business
        for memory in writes:
            memory.note()
        return
    assert get_current_stream().captured is None, f"the emulation captures kernels alone, not {name}"
    for memory in (*reads, *writes):
        memory.check()
    for memory in writes:
        memory.note()
    state.log.append((name, get_current_stream()))


def written_parameters(code, name):
    """Return which parameters of a kernel are arrays that it may write to."""
    bounds = r"(?:__launch_bounds__\(.*?\) )?"
    (signature,) = re.findall(rf"__global__ void {bounds}{name}\((.*?)\)\s*{{", code, re.DOTALL)
    return ["*" in parameter and "const" not in parameter for parameter in signature.split(",")]


def bytes_at(address, shape, strides):
    """Return a view of memory, byte by byte."""
    first = np.ctypeslib.as_array((ctypes.c_uint8 * 1).from_address(address))
    return np.lib.stride_tricks.as_strided(first, shape, strides)
