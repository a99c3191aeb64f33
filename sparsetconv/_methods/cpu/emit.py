"""Emit LLVM loops with Python operators, for the compiled modules.

numba could compile the same loops from Python, but would take seconds for the stencil, mostly for features
that the loops do not use (type inference, negative indices, exceptions). Here the integers, arrays and loops
of the emitted code are Python objects, whose operators emit one LLVM instruction each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import config
from numba.core.codegen import get_host_cpu_features

INTEGER, SHORT, TRUTH = ir.IntType(64), ir.IntType(32), ir.IntType(1)


def _registers(features: str) -> tuple[int, int, int]:
    """Return the bytes of a vector, the vectors per row of a register block, and the number of registers."""
    known = set(features.split(","))
    if "+avx512f" in known:
        return 64, 4, 32
    if "+avx2" in known:
        # of sixteen vector registers, twelve hold sums, three hold input, and one a weight
        return 32, 3, 16
    return (16, 4, 32) if "+neon" in known else (16, 2, 16)


# The micro-kernel keeps the sums of a register block in registers while it runs over all taps: some rows, of
# VECTORS vectors each, or of one less.
VECTOR_BYTES, VECTORS, REGISTERS = _registers(config.CPU_FEATURES or get_host_cpu_features())


class Value:
    """An integer or boolean of the emitted code; ``//`` and ``%`` require non-negative numbers."""

    def __init__(self, code: Code, value: Any) -> None:
        self.code, self.value = code, value

    def _binary(self, name: str, other: Any) -> Value:
        return Value(self.code, getattr(self.code.builder, name)(self.value, self.code.raw(other)))

    def _compared(self, sign: str, other: Any) -> Value:
        return Value(self.code, self.code.builder.icmp_signed(sign, self.value, self.code.raw(other)))

    def __add__(self, other: Any) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Any) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Any) -> Value:
        return self._binary("mul", other)

    def __floordiv__(self, other: Any) -> Value:
        return self._binary("sdiv", other)

    def __mod__(self, other: Any) -> Value:
        return self._binary("srem", other)

    def __and__(self, other: Any) -> Value:
        return self._binary("and_", other)

    def __or__(self, other: Any) -> Value:
        return self._binary("or_", other)

    def __invert__(self) -> Value:
        return Value(self.code, self.code.builder.not_(self.value))

    def __lt__(self, other: Any) -> Value:
        return self._compared("<", other)

    def __ge__(self, other: Any) -> Value:
        return self._compared(">=", other)

    def equals(self, other: Any) -> Value:
        return self._compared("==", other)

    def differs(self, other: Any) -> Value:
        return self._compared("!=", other)

    def choose(self, yes: Any, no: Any) -> Value:
        """Return ``yes`` if this boolean is true, else ``no``; both are evaluated."""
        code = self.code
        return Value(code, code.builder.select(self.value, code.raw(yes), code.raw(no)))

    def minimum(self, other: Any) -> Value:
        smaller: Value = self < other
        return smaller.choose(self, other)

    def maximum(self, other: Any) -> Value:
        smaller: Value = self < other
        return smaller.choose(other, self)


class Variable:
    """A mutable integer of the emitted code."""

    def __init__(self, code: Code, place: Any) -> None:
        self.code, self.place = code, place

    @property
    def now(self) -> Value:
        return Value(self.code, self.code.builder.load(self.place))

    def set(self, value: Any) -> None:
        self.code.builder.store(self.code.raw(value), self.place)

    def add(self, value: Any) -> None:
        self.set(self.now + value)


class Memory:
    """An array of the emitted code: ``memory[place]`` loads, ``memory[place] = value`` stores."""

    def __init__(self, code: Code, pointer: Any, element: Any) -> None:
        self.code, self.pointer, self.element = code, pointer, element

    def at(self, place: Any) -> Any:
        return self.code.builder.gep(self.pointer, [self.code.raw(place)])

    def __getitem__(self, place: Any) -> Value:
        return Value(self.code, self.code.builder.load(self.at(place)))

    def __setitem__(self, place: Any, value: Any) -> None:
        stored = ir.Constant(self.element, value) if isinstance(value, int) else value.value
        self.code.builder.store(stored, self.at(place))

    def vector(self, place: Any, vector: Any = None) -> Any:
        """Load a vector of elements, of a type if one is given, from ``place`` on."""
        return vector_at(self.code.builder, self.at(place), vector or vector_of(self.element))

    def store_vector(self, place: Any, value: Any) -> None:
        """Store a vector of elements from ``place`` on."""
        builder = self.code.builder
        to = builder.bitcast(self.at(place), value.type.as_pointer())
        builder.store(value, to, align=bytes_of(self.element))

    def sum(self, a: Value, b: Value) -> Value:
        """Add two elements."""
        builder = self.code.builder
        add = builder.add if isinstance(self.element, ir.IntType) else builder.fadd
        return Value(self.code, add(a.value, b.value))

    def copy(self, to: Any, source: Memory, start: Any, count: Value, size: int) -> None:
        """Copy ``count`` contiguous elements of ``size`` bytes each."""
        builder, octets = self.code.builder, ir.IntType(8).as_pointer()
        move = builder.module.declare_intrinsic("llvm.memcpy", [octets, octets, INTEGER])
        pointers = (builder.bitcast(p, octets) for p in (self.at(to), source.at(start)))
        builder.call(move, [*pointers, (count * size).value, TRUTH(0)])


class Code:
    """The function whose code is being emitted.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Positioned at the end of the function's first block.
    rolled : bool, optional
        Whether to keep LLVM from unrolling and vectorizing the loops.
    """

    def __init__(self, builder: Any, rolled: bool = False) -> None:
        self.builder, self.rolled = builder, rolled
        self._entry = builder.block

    def raw(self, value: Any) -> Any:
        return INTEGER(value) if isinstance(value, int) else value.value

    def integer(self, value: int) -> Value:
        return Value(self, INTEGER(value))

    def variable(self, value: Any) -> Variable:
        """Return a variable, allocated in the function's first block, outside of all loops."""
        builder = self.builder
        with builder.goto_block(self._entry):
            builder.position_at_start(self._entry)
            place = builder.alloca(INTEGER)
        variable = Variable(self, place)
        variable.set(value)
        return variable

    @contextmanager
    def when(self, truth: Value) -> Iterator[None]:
        with self.builder.if_then(truth.value):
            yield

    def either(self, truth: Value) -> Any:
        """Return the contexts of the two branches: if the boolean is true, and if it is false."""
        return self.builder.if_else(truth.value)

    @contextmanager
    def repeat(self, condition: Callable[[], Value]) -> Iterator[None]:
        """Emit a while loop around the code in the context; ``condition`` emits the test before each turn."""
        builder = self.builder
        head, body, after = (builder.append_basic_block(name) for name in ("while", "do", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        builder.cbranch(condition().value, body, after)
        builder.position_at_end(body)
        yield
        if self.rolled:
            again(builder, head)
        else:
            builder.branch(head)
        builder.position_at_end(after)

    @contextmanager
    def shared(self, counter: Any, last: Value) -> Iterator[Value]:
        """Loop over the numbers that this thread takes from the threads' ``counter``, below ``last``."""

        def take() -> Value:
            return Value(self, self.builder.atomic_rmw("add", counter, INTEGER(1), "monotonic"))

        number = self.variable(take())
        with self.repeat(lambda: number.now < last):
            yield number.now
            number.set(take())

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1) -> Iterator[Value]:
        """Loop over ``range(start, stop, step)``, for a positive step."""
        number = self.variable(start)
        with self.repeat(lambda: number.now < stop):
            yield number.now
            number.add(step)


def again(builder: Any, head: Any) -> None:
    """Emit the branch back to the head of a loop, which LLVM is to leave as it is.

    Copies of a loop's body take long to compile. Where copies or vectors pay, the code that emits the loop
    makes them.
    """
    module = builder.module
    hints = (
        module.add_metadata(["llvm.loop.unroll.disable"]),
        module.add_metadata(["llvm.loop.vectorize.enable", TRUTH(0)]),
    )
    # a loop's metadata refers to itself, and so is made for a unique operand first
    loop = module.add_metadata([INTEGER(len(module.metadata)), *hints])
    loop.operands = (loop, *hints)
    builder.branch(head).set_metadata("llvm.loop", loop)


def bytes_of(element: Any) -> int:
    """Return the bytes of an element: 4 for a float, 8 for a double or a 64-bit integer."""
    return 4 if isinstance(element, ir.FloatType) else 8


def vector_of(element: Any, nbytes: int = VECTOR_BYTES) -> Any:
    """Return the type of a vector of elements."""
    return ir.VectorType(element, nbytes // bytes_of(element))


def vector_at(builder: Any, pointer: Any, vector: Any) -> Any:
    """Load a vector of a type from a pointer to its first element."""
    place = builder.bitcast(pointer, vector.as_pointer())
    return builder.load(place, align=bytes_of(vector.element))


def shuffled(builder: Any, pair: tuple[Any, Any], order: Iterable[int]) -> Any:
    """Return the elements of two vectors, one after the other, in an order."""
    places = [SHORT(place) for place in order]
    return builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(SHORT, len(places)), places))


def splat(builder: Any, scalar: Any, vector: Any) -> Any:
    """Return a vector of a type with the same element in all places."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, SHORT(0))
    return shuffled(builder, (first, nothing), [0] * vector.count)
