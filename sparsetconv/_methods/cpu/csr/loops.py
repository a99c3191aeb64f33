"""The compiled loops of a product with a CSR matrix: with one vector, and with the columns of a matrix.

The module is imported when first needed. The loops release the GIL; each thread calls them for its rows. They
are written with the operators of ``emit``, and numba caches the machine code on disk.

A row's sum is always computed in the order of its entries, and each product is rounded before it is added,
as by SciPy's loops. So the bits of a result depend neither on the number of threads nor on the number of
columns. What makes the loops fast does not touch the order: sums of several rows, or of several columns, are
independent of each other. They are kept in registers, and the processor works on all of them where one alone
would have to wait for its last addition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sparsetconv._arrays.compiler import compiled, version_of
from sparsetconv._methods.cpu import emit
from sparsetconv._methods.cpu.emit import INTEGER, SHORT, VECTOR_BYTES, Code, Value

# independent sums that hide the latency of an addition; the most vectors of sums of a row
SUMS, MOST_VECTORS = 4, 8
# rows that are multiplied by one range of columns after the other, while their entries are in cache
BLOCK_ROWS = 64
# entries ahead of those in use that are fetched: where several rows are read at once, the processor does not
# see that all of them together are one stream
AHEAD = 512


class Shape(NamedTuple):
    """The sums that are in registers at once: rows, vectors of each row, elements of each vector."""

    rows: int
    vectors: int
    lanes: int


def shapes(nbytes: int, narrowest: int) -> list[Shape]:
    """Return the shapes for elements of some bytes, from the widest to the narrowest."""
    lanes, vectors, found = VECTOR_BYTES // nbytes, MOST_VECTORS, []
    while vectors:
        found.append(Shape(max(1, SUMS // vectors), vectors, lanes))
        vectors //= 2
    while lanes > narrowest:
        lanes //= 2
        found.append(Shape(SUMS, 1, lanes))
    return found


class Arrays(NamedTuple):
    """The arrays of the emitted code, as pointers to numbers, of which a complex element has two."""

    indptr: Any
    indices: Any
    data: Any
    source: Any
    target: Any


class Kind(NamedTuple):
    """The numbers that are summed.

    Attributes
    ----------
    number : llvmlite type
        Of the results; the real type of complex ones.
    signed : bool
        Whether the entries, if they are integers, are signed.
    parts : int
        Numbers of an element: 2 for real and imaginary part.
    """

    number: Any
    signed: bool
    parts: int

    @property
    def nbytes(self) -> int:
        """Bytes of a number."""
        if isinstance(self.number, ir.IntType):
            return int(self.number.width) // 8
        return emit.bytes_of(self.number)


class Products:
    """Emit the products of rows of the matrix with columns of the operand.

    Parameters
    ----------
    code : Code
    arrays : Arrays
    kind : Kind
    columns, pitch : Value
        Numbers of a row of the operand, and from one row of the result to the next.
    """

    def __init__(self, code: Code, arrays: Arrays, kind: Kind, columns: Value, pitch: Value) -> None:
        self.code, self.builder, self.arrays = code, code.builder, arrays
        self.kind, self.columns, self.pitch = kind, columns, pitch

    def _index(self, pointer: Any, place: Any) -> Any:
        """Load a column, or a row pointer."""
        index = self.builder.load(self.builder.gep(pointer, [place]))
        return self.builder.sext(index, INTEGER) if index.type.width < INTEGER.width else index

    def _entry(self, place: Any) -> Any:
        """Load a number of the entries, in the results' type."""
        builder, (number, signed, _) = self.builder, self.kind
        value = builder.load(builder.gep(self.arrays.data, [place]))
        if value.type == number:
            return value
        if not isinstance(value.type, ir.IntType):
            return builder.fpext(value, number)
        if isinstance(number, ir.IntType):
            return (builder.sext if signed else builder.zext)(value, number)
        return (builder.sitofp if signed else builder.uitofp)(value, number)

    def _repeated(self, values: list[Any], vector: Any) -> Any:
        """Return a vector in which some values, one or two, are repeated."""
        few = ir.VectorType(self.kind.number, len(values))
        found: Any = ir.Constant(few, ir.Undefined)
        for place, value in enumerate(values):
            found = self.builder.insert_element(found, value, SHORT(place))
        return self._arranged(found, [n % len(values) for n in range(vector.count)])

    def _arranged(self, vector: Any, places: list[int]) -> Any:
        return emit.shuffled(self.builder, (vector, ir.Constant(vector.type, ir.Undefined)), places)

    def _add(self, a: Any, b: Any) -> Any:
        whole = isinstance(self.kind.number, ir.IntType)
        return self.builder.add(a, b) if whole else self.builder.fadd(a, b)

    def _multiply(self, a: Any, b: Any) -> Any:
        whole = isinstance(self.kind.number, ir.IntType)
        return self.builder.mul(a, b) if whole else self.builder.fmul(a, b)

    def _vector_at(self, pointer: Any, number: int, vector: Any) -> Any:
        """Return the pointer to a vector, by its number from ``pointer`` on."""
        place = self.builder.gep(pointer, [INTEGER(number * vector.count)])
        return self.builder.bitcast(place, vector.as_pointer())

    def _products(self, place: Any, near: list[Any]) -> list[Any]:
        """Return the products of an entry with vectors."""
        builder, vector = self.builder, near[0].type
        if self.kind.parts == 1:
            entry = self._repeated([self._entry(place)], vector)
            return [self._multiply(entry, x) for x in near]
        pair = builder.mul(place, INTEGER(2))
        real, imaginary = (self._entry(p) for p in (pair, builder.add(pair, INTEGER(1))))
        straight = self._repeated([real], vector)
        across = self._repeated([builder.fneg(imaginary), imaginary], vector)
        swapped = [n ^ 1 for n in range(vector.count)]
        return [
            self._add(self._multiply(straight, x), self._multiply(across, self._arranged(x, swapped)))
            for x in near
        ]

    def _added(self, sums: list[Any], place: Any, column: Value) -> list[Any]:
        """Return the sums of a row, from ``column`` on, with the products of one more entry."""
        builder, vector = self.builder, sums[0].type
        row = builder.mul(self._index(self.arrays.indices, place), self.columns.value)
        source = builder.gep(self.arrays.source, [builder.add(row, column.value)])
        near = [
            builder.load(self._vector_at(source, number, vector), align=self.kind.nbytes)
            for number in range(len(sums))
        ]
        return [self._add(*pair) for pair in zip(sums, self._products(place, near), strict=True)]

    def _fetch(self, place: Any) -> None:
        """Fetch the entry that is ``AHEAD`` of a place; beyond the end of the arrays this does nothing."""
        builder, octets = self.builder, ir.IntType(8).as_pointer()
        signature = ir.FunctionType(ir.VoidType(), [octets, SHORT, SHORT, SHORT])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [octets], signature)
        for pointer in (self.arrays.indices, self.arrays.data):
            there = builder.gep(pointer, [builder.add(place, INTEGER(AHEAD))])
            # for reading, into all caches, as data
            builder.call(fetch, [builder.bitcast(there, octets), SHORT(0), SHORT(3), SHORT(1)])

    def _loop(self, start: Any, stop: Any, sums: list[Any], turn: Callable[..., list[Any]]) -> list[Any]:
        """Emit a loop that has its sums in registers; ``turn`` returns the next ones. Return the last."""
        builder, before = self.builder, self.builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("entries", "entry", "summed"))
        builder.branch(head)
        builder.position_at_end(head)
        running = [builder.phi(value.type) for value in (start, *sums)]
        for phi, value in zip(running, (start, *sums), strict=True):
            phi.add_incoming(value, before)
        number, *totals = running
        builder.cbranch(builder.icmp_signed("<", number, stop), body, after)
        builder.position_at_end(body)
        added = turn(number, totals)
        for phi, value in zip(running, (builder.add(number, INTEGER(1)), *added), strict=True):
            phi.add_incoming(value, body)
        builder.branch(head)
        builder.position_at_end(after)
        return totals

    def _together(self, starts: list[Any], stops: list[Any], sums: list[Any], column: Value) -> Any:
        """Emit the sums of several rows, which proceed together to the end of the shortest.

        Return where each row has got to, and the sums.
        """
        builder, rows = self.builder, len(starts)
        vectors = len(sums) // rows
        counts = [Value(self.code, builder.sub(b, a)) for a, b in zip(starts, stops, strict=True)]
        common = longest = counts[0]
        for count in counts[1:]:
            common, longest = common.minimum(count), longest.maximum(count)
        # rows whose lengths differ a lot are faster one by one: each of several loops ends with a wrong guess
        common = (common * 8 >= longest * 5).choose(common, 0)

        def turn(number: Any, totals: list[Any]) -> list[Any]:
            self._fetch(builder.add(starts[0], builder.mul(number, INTEGER(rows))))
            added = []
            for n, start in enumerate(starts):
                own = totals[n * vectors : (n + 1) * vectors]
                added += self._added(own, builder.add(start, number), column)
            return added

        sums = self._loop(INTEGER(0), common.value, sums, turn)
        return [builder.add(start, common.value) for start in starts], sums

    def _group(self, row: Value, column: Value, shape: Shape) -> None:
        """Store results of ``shape.rows`` rows, in the columns of ``shape`` from ``column`` on."""
        builder, (rows, vectors, lanes) = self.builder, shape
        vector = ir.VectorType(self.kind.number, lanes)
        starts = [self._index(self.arrays.indptr, (row + n).value) for n in range(rows + 1)]
        stops = starts[1:]
        starts.pop()
        sums = [ir.Constant(vector, [self.kind.number(0)] * lanes)] * (rows * vectors)
        if rows > 1:
            starts, sums = self._together(starts, stops, sums, column)
        for n, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            own = sums[n * vectors : (n + 1) * vectors]
            own = self._loop(start, stop, own, lambda place, sums: self._added(sums, place, column))
            target = builder.gep(self.arrays.target, [((row + n) * self.pitch + column).value])
            for number, total in enumerate(own):
                builder.store(total, self._vector_at(target, number, vector), align=self.kind.nbytes)

    def emit(self, first: Value, last: Value, column: Value, shape: Shape) -> None:
        """Store results of all rows from ``first`` to ``last``, in the columns of ``shape``."""
        row = self.code.variable(first)
        for own in dict.fromkeys([shape, shape._replace(rows=1)]):
            with self.code.repeat(lambda own=own: row.now < last - (own.rows - 1)):  # type: ignore[misc]
                self._group(row.now, column, own)
                row.add(own.rows)


def emit_vector(products: Products, first: Value, last: Value) -> None:
    """Multiply one vector."""
    parts = products.kind.parts
    products.emit(first, last, products.code.integer(0), Shape(SUMS, 1, parts))


def emit_columns(products: Products, first: Value, last: Value) -> None:
    """Multiply the columns of a matrix: a block of rows by one range of columns after the other."""
    code, kind = products.code, products.kind
    with code.loop(first, last, BLOCK_ROWS) as start:
        stop, column = (start + BLOCK_ROWS).minimum(last), code.variable(0)
        for shape in shapes(kind.nbytes, kind.parts):
            width = shape.vectors * shape.lanes
            with code.repeat(lambda width=width: column.now < products.columns - (width - 1)):  # type: ignore[misc]
                products.emit(start, stop, column.now, shape)
                column.add(width)


def _loops_of(emit_products: Callable[..., None], fixed: bool) -> Any:
    """Return a numba intrinsic that calls the loops, in a function of their own.

    ``fixed`` says whether the operand has one column, whatever the number that is given.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, results = (signature.args[n].dtype for n in (2, 4))
        parts = 2 if isinstance(results, types.Complex) else 1
        if isinstance(data, types.Complex) != isinstance(results, types.Complex):
            # the loops would read pairs of numbers where there are none
            msg = "entries and results must both be real or both be complex"
            raise TypeError(msg)
        number = context.get_data_type(results.underlying_float if parts == 2 else results)
        pointers = []
        for given, value in zip(signature.args[:5], args[:5], strict=True):
            own = context.get_data_type(getattr(given.dtype, "underlying_float", given.dtype))
            pointer = context.make_array(given)(context, builder, value).data
            pointers.append(builder.bitcast(pointer, own.as_pointer()))
        passed = [*pointers, *args[5:9]]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        function = ir.Function(builder.module, kind, "sparsetconv_csr")
        function.linkage = "internal"
        for argument in function.args[:5]:
            argument.add_attribute("noalias")
        code = Code(ir.IRBuilder(function.append_basic_block("entry")))
        first, last, *sizes = (Value(code, argument) for argument in function.args[5:])
        rows = [code.integer(parts) if fixed else size * parts for size in sizes]
        summed = Kind(number, getattr(data, "signed", True), parts)
        emit_products(Products(code, Arrays(*function.args[:5]), summed, *rows), first, last)
        code.builder.ret_void()
        builder.call(function, passed)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def loops(
        typing: Any, indptr: Any, indices: Any, data: Any, source: Any, target: Any, first: Any, last: Any,
        columns: Any, pitch: Any, version: Any,
    ) -> tuple[Any, Callable[..., Any]]:  # fmt: skip
        del typing
        given = indptr, indices, data, source, target, first, last, columns, pitch, version
        return types.void(*given), generate

    return loops


_vector_loops = _loops_of(emit_vector, True)
_columns_loops = _loops_of(emit_columns, False)


def _compiled(version: int) -> Any:
    """Return the compiled functions; ``version`` is in their closure, and so in the key of numba's cache.

    Both write the rows from ``first`` to ``last`` of the product; ``columns`` and ``pitch`` are the elements
    from one row to the next of the operand and of the result. All arrays have one axis; real entries may be
    of another dtype than the operand and the result.
    """

    @compiled
    def multiply_vector(
        indptr: Any, indices: Any, data: Any, source: Any, target: Any, first: int, last: int, columns: int,
        pitch: int,
    ) -> None:  # fmt: skip
        _vector_loops(indptr, indices, data, source, target, first, last, columns, pitch, version)

    @compiled
    def multiply_columns(
        indptr: Any, indices: Any, data: Any, source: Any, target: Any, first: int, last: int, columns: int,
        pitch: int,
    ) -> None:  # fmt: skip
        _columns_loops(indptr, indices, data, source, target, first, last, columns, pitch, version)

    return multiply_vector, multiply_columns


multiply_vector, multiply_columns = _compiled(version_of(emit))


@compiled
def scatter(
    indptr: Any, indices: Any, data: Any, source: Any, target: Any, low: int, high: int, columns: int
) -> None:
    """Add the transpose's products for rows ``low`` to ``high`` of its result, which must be zeros.

    All entries are read, and those of other columns are skipped, so that threads with different rows of the
    result share nothing. The terms of a sum are in the order of the transpose's own CSR.
    """
    # an entry in the result's dtype
    entry = np.empty(1, target.dtype)
    for row in range(indptr.size - 1):
        for place in range(indptr[row], indptr[row + 1]):
            column = indices[place]
            if low <= column < high:
                entry[0] = data[place]
                for n in range(columns):
                    target[column * columns + n] += entry[0] * source[row * columns + n]
