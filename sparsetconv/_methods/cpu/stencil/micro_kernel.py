"""The stencil's micro-kernel, which does all multiplications, and the arrays that all loops share.

It is written with the operators of ``emit``, and ``loops`` emits it inline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir

from sparsetconv._arrays.record import Record, Records
from sparsetconv._methods.cpu.emit import INTEGER, Code, Memory, Value, again, splat, vector_at, vector_of
from sparsetconv._methods.cpu.stencil.records import HEADER, RANGES, ROW_BLOCK, RUN, SCRATCH, TILE

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


def micro_kernel(m: Arrays, sources: list[Any], taps: TapList, rows: int) -> list[list[Any]]:
    """Return the sums of a register block: of ``weight * source[offset + j]`` over taps.

    There is a sum for each of the block's ``rows`` and for each of ``sources``, which are pointers into the
    padded input; ``j`` runs over the elements of a vector. The caller ensures that all of them can be read.

    A compiler would by itself keep each sum in memory and add one tap after another to it, with two loads and
    a store for each multiplication. Here each loaded vector of input is used for up to four results: four
    output channels, or four lines of one picture, since a line of input is multiplied by one row of the
    kernel for one output line and by another row for the next one. The first and last rows of a kernel are
    not used by all four lines, so the taps are divided into ten lists, one for each range of rows. Those of
    tall blocks are in a list of their own, since channels use all taps alike.
    """
    code, builder, element = m.code, m.code.builder, m.x.element
    vector = vector_of(element)
    zero = ir.Constant(vector, [ir.Constant(element, 0)] * vector.count)

    sums = [[zero] * len(sources) for _ in range(rows)]
    loop = TapLoop(m, taps)
    for low, high in RANGES:
        if high > rows:
            break

        def add(read: Any, place: Any, own: list[list[Any]]) -> list[list[Any]]:
            samples = [vector_at(builder, builder.gep(source, [read]), vector) for source in sources]
            weights = [
                splat(builder, builder.load(builder.gep(place, [INTEGER(row)])), vector)
                for row in range(len(own))
            ]
            return [
                [
                    multiply_add(code, element, w, sample, now)
                    for sample, now in zip(samples, row, strict=True)
                ]
                for w, row in zip(weights, own, strict=True)
            ]

        sums[low:high] = loop.next_range(sums[low:high], high - low, add)
    return sums


class TapLoop:
    """Loops over the ranges of a tap list, one after the other.

    Parameters
    ----------
    m : Arrays
    taps : TapList
    """

    def __init__(self, m: Arrays, taps: TapList) -> None:
        self._m, self._taps, self._number = m, taps, 0
        self._reads = m.t.at(taps.offsets)
        self._tap, self._place = m.t[taps.bounds].value, m.weights.at(taps.weights)

    def next_range(
        self, sums: list[list[Any]], weights: int, add: Callable[..., list[list[Any]]]
    ) -> list[list[Any]]:
        """Emit the loop over the next range, and return the sums after it.

        Parameters
        ----------
        sums : list of lists
            The sums before it.
        weights : int
            Weights of an entry.
        add : callable
            Given an entry's offset, the place of its weights, and the sums, emits one turn and returns the
            new sums.
        """
        m, builder = self._m, self._m.code.builder
        self._number += 1
        stop = m.t[self._taps.bounds + self._number].value
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("taps", "tap", "summed"))
        builder.branch(head)
        builder.position_at_end(head)

        def running(value: Any) -> Any:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            return phi

        tap, place = running(self._tap), running(self._place)
        now = [[running(value) for value in row] for row in sums]
        builder.cbranch(builder.icmp_signed("<", tap, stop), body, after)
        builder.position_at_end(body)
        read = builder.load(builder.gep(self._reads, [tap]))
        for row, values in zip(now, add(read, place, now), strict=True):
            for phi, value in zip(row, values, strict=True):
                phi.add_incoming(value, body)
        tap.add_incoming(builder.add(tap, INTEGER(1)), body)
        place.add_incoming(builder.gep(place, [INTEGER(weights)]), body)
        again(builder, head)
        builder.position_at_end(after)
        self._tap, self._place = tap, place
        return now


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
