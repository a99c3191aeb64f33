"""The stencil's micro-kernel, which does all multiplications, and the arrays that all loops share.

It is written with the operators of ``emit``, and ``loops`` emits it inline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir

from sparsetconv._arrays.record import Record, Records
from sparsetconv._methods.cpu.emit import INTEGER, Code, Memory, Value, again, bytes_of, splat, vector_of
from sparsetconv._methods.cpu.stencil.records import BLOCK_ROWS, HEADER, RANGES, ROW_BLOCK, RUN, SCRATCH, TILE

# the place of a vector, given its row and its number
Places: TypeAlias = Callable[[int, int], Value]


class Arrays(NamedTuple):
    """The arrays of the loops.

    ``x``, ``out`` and ``weights`` hold data, ``t`` the plan's tables. Each thread has its own ``buffer``
    (rows of results, then the tile buffer) and its own scratch ``w``.
    """

    x: Memory
    out: Memory
    buffer: Memory
    weights: Memory
    t: Memory
    w: Memory

    @property
    def code(self) -> Code:
        """The function whose code is being emitted."""
        return self.t.code

    @property
    def width(self) -> int:
        """Elements of a vector."""
        count: int = vector_of(self.x.element).count
        return count

    @property
    def header(self) -> Record:
        """The numbers at the front of all tables."""
        return Record(self.t, 0, HEADER)

    @property
    def scratch(self) -> Record:
        """The thread's scratch."""
        return Record(self.w, 0, SCRATCH)

    @property
    def tiles(self) -> Records:
        """The tiles of the plan."""
        return Records(self.t, self.header.tiles, TILE)

    @property
    def row_blocks(self) -> Records:
        """The row blocks of the plan."""
        return Records(self.t, self.header.row_blocks, ROW_BLOCK)

    @property
    def runs(self) -> Records:
        """The runs of the plan."""
        return Records(self.t, self.header.runs, RUN)


class TapList(NamedTuple):
    """The list of taps of a register block.

    Attributes
    ----------
    offsets : Value
        Where the tables hold the offsets of all taps.
    bounds : Value
        Where they hold the bounds of the entries of each of ``RANGES``.
    weights : Value
        Where ``weights`` holds the weights: of a tap, one for each row of its range.
    """

    offsets: Value
    bounds: Value
    weights: Value


def micro_kernel(m: Arrays, sources: list[Any], taps: TapList) -> list[list[Any]]:
    """Return the sums of a register block: of ``weight * source[offset + j]`` over taps.

    There is a sum for each row of the block and for each of ``sources``, which are pointers into the padded
    input; ``j`` runs over the elements of a vector. The caller ensures that all of them can be read.

    A compiler would by itself keep each sum in memory and add one tap after another to it, with two loads and
    a store for each multiplication. Here each loaded vector of input is used for up to four results: four
    output channels, or four lines of one picture, since a line of input is multiplied by one row of the
    kernel for one output line and by another row for the next one. The first and last rows of a kernel are
    not used by all four lines, so the taps are divided into ten lists, one for each range of rows.
    """
    code, builder, element = m.code, m.code.builder, m.x.element
    nbytes = bytes_of(element)
    vector = vector_of(element)
    zero = ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)

    sums = [[zero] * len(sources) for _ in range(BLOCK_ROWS)]
    reads = m.t.at(taps.offsets)
    tap, place = m.t[taps.bounds].value, m.weights.at(taps.weights)
    for number, (low, high) in enumerate(RANGES):
        stop = m.t[taps.bounds + (number + 1)].value
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("taps", "tap", "summed"))
        builder.branch(head)
        builder.position_at_end(head)

        def running(value: Any, before: Any = before) -> Any:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            return phi

        tap, place = running(tap), running(place)
        sums[low:high] = [[running(value) for value in row] for row in sums[low:high]]
        builder.cbranch(builder.icmp_signed("<", tap, stop), body, after)
        builder.position_at_end(body)
        read = builder.load(builder.gep(reads, [tap]))
        samples = [
            builder.load(builder.bitcast(builder.gep(s, [read]), vector.as_pointer()), align=nbytes)
            for s in sources
        ]
        for number_of_row, row in enumerate(sums[low:high]):
            w = splat(builder, builder.load(builder.gep(place, [INTEGER(number_of_row)])), vector)
            for phi, sample in zip(row, samples, strict=True):
                phi.add_incoming(multiply_add(code, element, w, sample, phi), body)
        tap.add_incoming(builder.add(tap, INTEGER(1)), body)
        place.add_incoming(builder.gep(place, [INTEGER(high - low)]), body)
        again(builder, head)
        builder.position_at_end(after)
    return sums


def store_sums(code: Code, out: Memory, sums: list[list[Any]], count: Value, places: Places) -> None:
    """Store the sums of the first ``count`` rows, at ``places(row, vector)`` of ``out``."""
    for number_of_row, row in enumerate(sums):
        with code.when(code.integer(number_of_row) < count):
            for v, value in enumerate(row):
                out.store_vector(places(number_of_row, v), value)


def multiply_add(code: Code, element: Any, a: Any, b: Any, c: Any) -> Any:
    builder = code.builder
    if isinstance(element, ir.IntType):
        return builder.add(builder.mul(a, b), c)
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))
