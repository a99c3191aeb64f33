"""Loops that several threads compute together, handed over without the interpreter.

Waking a thread that sleeps, and passing the interpreter's lock to it and back, take some 100 microseconds of
a product that may take 300. So a helper that has computed its part of a product does not sleep at once: it
stays in compiled code for another `STAY` seconds, and looks at the `DESK`, an array of integers that all
threads share. The caller's loops put tickets there, which the helpers take; and the caller waits there, in
compiled code too, until the helpers that took one are done. Only helpers that sleep are woken by the pool of
``threads``, and the caller never waits for a helper that has not begun.

`loops_of` makes loops that do this; `together` calls them.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sparsetconv._arrays import memory
from sparsetconv._arrays import record as record_module
from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._arrays.layout import aligned
from sparsetconv._arrays.record import record, size
from sparsetconv._arrays.threads import core_count, for_each, pool_of
from sparsetconv._methods.cpu import emit as emit_module
from sparsetconv._methods.cpu.emit import INTEGER, Code, Memory, Value

if TYPE_CHECKING:
    from sparsetconv._arrays.pool import Pool
    from sparsetconv._arrays.types import Array

# seconds that a helper waits in compiled code for more work, and a caller for helpers that are at work
STAY, PATIENCE = 100e-6, 500e-6
# turns of a waiting loop that are timed, and how often
TURNS, TIMINGS = 400, 5
# arrays and numbers that loops are called with, beside the desk, which holds their counter
ARRAYS, NUMBERS = 6, 3
# What threads tell each other:
# - next: the next unit of work, which the loops count up;
# - helpers: the most helpers of the product; patience: turns for which its caller waits for them in compiled
#   code; late: 1 if it then gave up;
# - tickets: helpers that may still begin; begun, done: helpers that have begun, and that are done;
# - open: 1 while the caller computes, so that helpers that are done before it wait for its next product;
# - called: 1 if helpers are to come back to the interpreter; awake: helpers that are in compiled code;
# - function, arrays, numbers: the loops and their arguments;
# - own: where the addresses of arrays of each ticket are; those that are not 0 replace the common arrays.
# Numbers that threads change while others look at them are in cache lines of their own.
_LINE = 7
DESK = record(
    "next", ("_next", _LINE), "tickets", ("_tickets", _LINE), "done", ("_done", _LINE),
    "awake", "called", "open", ("_awake", _LINE - 2),
    "helpers", "patience", "late", "begun", "function", ("arrays", ARRAYS), ("numbers", NUMBERS), "own",
)  # fmt: skip
PLACES = {name: offset // 8 for name, (_, offset, *_) in DESK.fields.items()}  # type: ignore[union-attr]
_OCTETS = ir.IntType(8).as_pointer()


class _Desk:
    """The desk in code that is being emitted, with loads and stores that other threads see in order."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._builder = memory, memory.code.builder

    def at(self, name: str, number: int = 0) -> Any:
        return self._memory.at(PLACES[name] + number)

    def load(self, name: str) -> Value:
        return Value(self._memory.code, self._builder.load_atomic(self.at(name), "acquire", 8))

    def store(self, name: str, value: Any) -> None:
        raw = self._memory.code.raw(value)
        self._builder.store_atomic(raw, self.at(name), "release", 8)

    def change(self, how: str, name: str, number: int) -> Value:
        """Change a number by ``add`` or ``xchg``, and return what it was."""
        old = self._builder.atomic_rmw(how, self.at(name), INTEGER(number), "acq_rel")
        return Value(self._memory.code, old)

    def take_ticket(self, left: Value) -> Value:
        """Return whether this thread is the one that takes the last of ``left`` tickets."""
        builder = self._builder
        pair = builder.cmpxchg(
            self.at("tickets"), left.value, (left - 1).value, "acq_rel", failordering="monotonic"
        )
        return Value(self._memory.code, builder.extract_value(pair, 1))


def emit_pause(code: Code) -> None:
    """Tell the processor that this is a waiting loop."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        name, module = "llvm.x86.sse2.pause", code.builder.module
        known = module.globals.get(name)
        code.builder.call(known or ir.Function(module, ir.FunctionType(ir.VoidType(), []), name), [])


def emit_call(desk: _Desk, builder: Any, function: Any, given: list[Any]) -> None:
    """Call loops, in this thread and in the helpers that the desk asks for, and wait for these."""
    code = Code(builder)
    helpers = desk.load("helpers")
    with code.when(code.integer(0) < helpers):
        for number, value in enumerate(given[:ARRAYS]):
            builder.store(builder.ptrtoint(value, INTEGER), desk.at("arrays", number))
        for number, value in enumerate(given[-NUMBERS:]):
            builder.store(value, desk.at("numbers", number))
        builder.store(builder.ptrtoint(function, INTEGER), desk.at("function"))
        desk.store("next", 0)
        desk.store("done", 0)
        desk.store("open", 1)
        desk.store("tickets", helpers)
    builder.call(function, given)
    with code.when(code.integer(0) < helpers):
        begun = helpers - desk.change("xchg", "tickets", 0)
        desk.store("begun", begun)
        patience, turn = desk.load("patience"), code.variable(0)
        with code.repeat(lambda: (desk.load("done") < begun) & (turn.now < patience)):
            emit_pause(code)
            turn.add(1)
        desk.store("late", (desk.load("done") < begun).choose(1, 0))
        desk.store("open", 0)


def loops_of(emit: Callable[..., None], rolled: bool = False, noalias: bool = False) -> Any:
    """Return a numba intrinsic that calls the loops that ``emit`` emits, in a function of their own.

    ``rolled`` keeps LLVM from unrolling and vectorizing loops, for code that would take too long to compile.
    ``noalias`` tells LLVM that the arrays do not overlap, so that it need not load again after each store.
    Measure before use: LLVM may then keep more in registers than there are, and spill.

    The intrinsic's arguments are six arrays, the desk, three numbers, and a number that identifies the
    version of the code. ``emit`` is called with a `Code`, the six arrays as `Memory`, a pointer to the
    counter that threads share, and the three numbers.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[:7], args[:7], strict=True)
        ]
        elements = [context.get_data_type(kind.dtype) for kind in signature.args[:ARRAYS]]
        given = [*arrays, *args[7:10]]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        function = ir.Function(builder.module, kind, "sparsetconv_loops")
        function.linkage = "internal"
        # helpers call it by its address; a second copy in the caller would take as long to compile
        function.attributes.add("noinline")
        for pointer in function.args[: 7 if noalias else 0]:
            pointer.add_attribute("noalias")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        code = Code(inside, rolled)
        memories = [Memory(code, *pair) for pair in zip(function.args[:ARRAYS], elements, strict=True)]
        emit(code, memories, function.args[6], *(Value(code, number) for number in function.args[7:]))
        inside.ret_void()
        outside = Code(builder)
        emit_call(_Desk(Memory(outside, arrays[6], INTEGER)), builder, function, given)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def loops(
        typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, desk: Any, first: Any, units: Any,
        last: Any, version: Any,
    ) -> tuple[Any, Callable[..., Any]]:  # fmt: skip
        del typing
        return types.void(a, b, c, d, e, f, desk, first, units, last, version), generate

    return loops


def emit_help(desk: _Desk, code: Code, ticket: Value) -> None:
    """Compute a helper's part of the loops on the desk, with the arrays of a ticket."""
    builder = code.builder
    own = Memory(code, builder.inttoptr(desk.load("own").value, INTEGER.as_pointer()), INTEGER)
    arrays = []
    for place in range(ARRAYS):
        common = Value(code, builder.load(desk.at("arrays", place)))
        mine = own[ticket * ARRAYS + place]
        arrays.append(builder.inttoptr(mine.equals(0).choose(common, mine).value, _OCTETS))
    numbers = [builder.load(desk.at("numbers", place)) for place in range(NUMBERS)]
    given = [*arrays, desk.at("next"), *numbers]
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
    builder.call(builder.inttoptr(builder.load(desk.at("function")), kind.as_pointer()), given)


def emit_stay(desk: _Desk, code: Code, turns: Value) -> None:
    """Compute what is asked for, until nothing has been for a number of turns, or the helper is called."""
    desk.change("add", "awake", 1)
    turn = code.variable(0)
    with code.repeat(lambda: (turn.now < turns) & desk.load("called").equals(0)):
        left = desk.load("tickets")
        with code.either(code.integer(0) < left) as (some, none):
            with some, code.when(desk.take_ticket(left)):
                emit_help(desk, code, left - 1)
                desk.change("add", "done", 1)
                turn.set(0)
            with none:
                emit_pause(code)
                turn.set(desk.load("open").equals(0).choose(turn.now + 1, 0))
    desk.change("add", "awake", -1)


def emit_settle(desk: _Desk, code: Code) -> None:
    """Wait for the helpers that have begun."""
    with code.repeat(lambda: desk.load("done") < desk.load("begun")):
        emit_pause(code)


@intrinsic  # type: ignore[untyped-decorator]
def _attend(typing: Any, desk: Any, turns: Any, version: Any) -> tuple[Any, Callable[..., Any]]:
    del typing

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        code = Code(builder)
        own, given = _Desk(Memory(code, array.data, INTEGER)), Value(code, args[1])
        with code.either(given < 0) as (caller, helper):
            with caller:
                emit_settle(own, code)
            with helper:
                emit_stay(own, code, given)
        return context.get_dummy_value()

    return types.void(desk, turns, version), generate


def _compiled(version: int) -> Any:
    """Return the compiled function; ``version`` is in its closure, and so in the key of numba's cache."""

    @compiled
    def attend(desk: Any, turns: int) -> None:
        """Help at the desk until there is nothing to do for some turns; if -1, wait for others who help."""
        _attend(desk, turns, version)

    return attend


def alone() -> Any:
    """Return a desk without helpers."""
    return np.zeros(size(DESK), np.int64)


class Call(NamedTuple):
    """A call of compiled loops.

    Attributes
    ----------
    loops : callable
        A compiled function that passes its arguments to the intrinsic of `loops_of`: six arrays, the desk,
        and three numbers.
    arrays : sequence of arrays
    numbers : sequence of int
    own : sequence of int
        The places of arrays of which each thread has one for itself.
    zeros : bool
        Whether these are zeros at first; else they hold any numbers, NaN too.
    """

    loops: Callable[..., None]
    arrays: Sequence[Array]
    numbers: Sequence[int]
    own: Sequence[int]
    zeros: bool = False

    def run(self, desk: Array) -> None:
        """Compute, in this thread and in the helpers that the desk asks for."""
        self.loops(*self.arrays, desk, *self.numbers)

    def for_another(self) -> Call:
        """Return the call with which another thread computes its part."""
        arrays = [_another(a) if place in self.own else a for place, a in enumerate(self.arrays)]
        return self._replace(arrays=arrays)


def _another(array: Array) -> Array:
    """Return an array for another thread: zeros, as many as an array has elements."""
    return aligned(array.size, array.dtype, zeros=True)


def _require(nbytes: int) -> None:
    """Check the memory of arrays for other threads."""
    memory.require("what threads compute in", nbytes, "fewer threads need less")


class Team:
    """The helpers of a pool, at a desk of their own.

    Parameters
    ----------
    pool : Pool
    """

    def __init__(self, pool: Pool) -> None:
        self._pool, self._desk = pool, aligned(size(DESK), np.int64, zeros=True)
        self._busy = threading.Lock()
        # arrays of helpers with their addresses, by ticket, place and dtype; the addresses of those in use
        self._kept: dict[tuple[int, int, str], tuple[Array, int]] = {}
        self._own = np.zeros((pool.threads, ARRAYS), np.int64)
        # what the arrays in use are for
        self._provided: Hashable = None
        # compiled or loaded by a first call, which is not timed; the least time is that without a pause
        attend(self._desk, 0)
        times = []
        for _ in range(TIMINGS):
            start = time.perf_counter()
            attend(self._desk, TURNS)
            times.append(time.perf_counter() - start)
        turns = [int(seconds * TURNS / min(times)) for seconds in (STAY, PATIENCE)]
        self._turns, self._desk[PLACES["patience"]] = turns
        self._desk[PLACES["own"]] = self._own.ctypes.data

    def stay(self) -> None:
        """Help for a while, as a helper of the pool."""
        attend(self._desk, self._turns)

    def call(self) -> None:
        """Let helpers come back, until the next call that they are to help with."""
        self._desk[PLACES["called"]] = 1

    def run(self, call: Call, helpers: int) -> bool:
        """Compute a call with helpers, unless these are busy; return whether that was done."""
        # with more threads than cores, one that waits in compiled code keeps another from working
        if helpers >= core_count() or not self._busy.acquire(blocking=False):
            return False
        try:
            self._provide(call, helpers)
            desk = self._desk
            desk[PLACES["helpers"]], desk[PLACES["called"]], desk[PLACES["late"]] = helpers, 0, 0
            try:
                self._pool.wake(helpers - int(desk[PLACES["awake"]]))
                call.run(desk)
            finally:
                self._settle()
        finally:
            self._busy.release()
        return True

    def _provide(self, call: Call, helpers: int) -> None:
        """Let helpers have arrays as large as the caller's own ones."""
        like = {place: call.arrays[place] for place in call.own}
        wanted = helpers, *((place, array.dtype.char, array.size) for place, array in like.items())
        if wanted == self._provided and not call.zeros:
            return
        self._provided = None
        keys = [(ticket, place, like[place].dtype.char) for ticket in range(helpers) for place in like]
        missing = [
            key for key in keys if key not in self._kept or self._kept[key][0].size < like[key[1]].size
        ]
        _require(sum(like[place].nbytes for _, place, _ in missing))
        for key in missing:
            array = _another(like[key[1]])
            self._kept[key] = array, array.ctypes.data
        self._own[:] = 0
        for key in keys:
            array, self._own[key[:2]] = self._kept[key]
            if call.zeros:
                array[: like[key[1]].size] = 0
        self._provided = wanted

    def _settle(self) -> None:
        """Wait for helpers that take long, and may therefore move to any core; keep no large arrays."""
        desk = self._desk
        try:
            self._pool.let_sleep()
            if desk[PLACES["late"]]:
                self._pool.spread()
                while desk[PLACES["done"]] < desk[PLACES["begun"]]:
                    time.sleep(PATIENCE)
        finally:
            # after an interrupt, too: they write to arrays of the caller
            if desk[PLACES["late"]]:
                attend(desk, -1)
        large = [key for key, (array, _) in self._kept.items() if array.nbytes > memory.KEPT_BYTES]
        for key in large:
            del self._kept[key]
            self._provided = None


def together(call: Call, workers: int) -> None:
    """Compute a call in several threads, this one included."""
    if workers <= 1:
        call.run(alone())
        return
    pool = pool_of(workers - 1)
    if pool.team is None:
        pool.invite(Team(pool))
    if not pool.team.run(call, workers - 1):
        _require((workers - 1) * sum(call.arrays[place].nbytes for place in call.own))
        desk, others = alone(), (call.for_another() for _ in range(workers - 1))
        for_each(lambda own: own.run(desk), [call, *others], workers)


attend = _compiled(version_of(emit_module, record_module, sys.modules[__name__]))
