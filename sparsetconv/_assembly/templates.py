"""The entries of a box of rows from a template: rows that are computed, of which all others are copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sparsetconv._assembly.repeats import continue_block, repeat_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparsetconv._arrays.types import Array


class Stretch(NamedTuple):
    """Entries that are a block of a template, again and again.

    Attributes
    ----------
    begin : int
        The first entry in the box.
    first, length : int
        The block in the template.
    repeat : int
    shift : int or None
        What is added to the columns from one block to the next. If it is None, the template has two blocks,
        whose difference is added.
    """

    begin: int
    first: int
    length: int
    repeat: int
    shift: int | None

    @property
    def stop(self) -> int:
        """The end of the entries in the box."""
        return self.begin + self.length * self.repeat


class Template(NamedTuple):
    """What is computed of a box of rows.

    Attributes
    ----------
    data : (channels, size) array
    indices : (size,) array
        Columns of the first channel.
    shifts : list of int
        What is added to the columns for each channel.
    stretches : list of Stretch
        Where all this goes.
    """

    data: Array
    indices: Array
    shifts: list[int]
    stretches: list[Stretch]

    def copy_values(self, channel: int, start: int, stop: int, out: Array) -> None:
        """Write the values of the blocks that begin at entries ``start`` to ``stop`` of a channel."""
        values = self.data[channel]
        for stretch, low, high in self._within(start, stop):
            first, length = stretch.first, stretch.length
            place = slice(stretch.begin + low * length, stretch.begin + high * length)
            repeat_block(values[first : first + length], 0, out[place])

    def copy_columns(self, channel: int, start: int, stop: int, out: Array) -> None:
        """Do the same for the columns."""
        shift = self.shifts[channel]
        for stretch, low, high in self._within(start, stop):
            first, length, step = stretch.first, stretch.length, stretch.shift
            place = slice(stretch.begin + low * length, stretch.begin + high * length)
            block = self.indices[first : first + length]
            if step is None:
                steps = self.indices[first + length : first + 2 * length] - block
                block = block + steps * block.dtype.type(low) + block.dtype.type(shift)
                continue_block(block, steps, out[place])
            else:
                repeat_block(block + block.dtype.type(shift + step * low), step, out[place])

    def _within(self, start: int, stop: int) -> Iterator[tuple[Stretch, int, int]]:
        """Yield each stretch, and the range of its blocks that begin at entries ``start`` to ``stop``."""
        for stretch in self.stretches:
            low, high = (
                min(max(-((stretch.begin - at) // stretch.length), 0), stretch.repeat) for at in (start, stop)
            )
            if low < high:
                yield stretch, low, high
