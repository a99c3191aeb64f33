"""What a product has to do, counted once for every method and for CPU and GPU alike.

A method's ``seconds`` weighs these numbers by the `Rates` of what it runs on, and by constants of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._methods.phases import read_range

if TYPE_CHECKING:
    from sparsetconv._geometry.convolution import ConvGeometry


@dataclass(frozen=True)
class Rates:
    """How fast a kind of processor is; seconds, unless said otherwise.

    Attributes
    ----------
    call : float
        Of a product, whatever it computes.
    byte : float
        Of a byte that moves between memory and processor.
    multiply : float
        Of a float32 multiplication in the stencil.
    word : int
        Bytes: a multiplication of narrower numbers takes no less than that of so many.
    gemm_calls : int
        Calls that a product by BLAS takes.
    gemm_multiply : float
        Of a float32 multiplication by BLAS.
    integer_gemm : float
        How much longer it takes for integers, which no BLAS knows.
    panel_byte, panel_copy : float
        Of a byte of a panel, and of a copy to a panel.
    panel_line : int
        Numbers by which a line that is copied is longer than it is.
    panel_apart : float
        How much longer it takes to copy every other sample.
    transform_byte : float
        Of a byte of a transform, for each doubling of its length.
    """

    call: float
    byte: float
    multiply: float
    word: int
    gemm_calls: int
    gemm_multiply: float
    integer_gemm: float
    panel_byte: float
    panel_copy: float
    panel_line: int
    panel_apart: float
    transform_byte: float


class Work(NamedTuple):
    """What one direction of a convolution does for one item of a batch.

    Attributes
    ----------
    geometry : ConvGeometry
        With merged axes.
    transposed : bool
    dtype : dtype
        Of the kernel and of the results.
    channels : (int, int)
        Channels of a group that are read, and that are made.
    read : int
        Samples of a channel that are read, with padding; transposed, no zeros are put between them.
    sizes : tuple of int
        Results of a channel along each axis; transposed, with those on padding, which are folded back.
    made : int
        Results of a channel.
    kernel_taps : int
        Taps of the kernel.
    phases : int
        Phases of the strides, in the transposed direction: results that meet taps of their own.
    """

    geometry: ConvGeometry
    transposed: bool
    dtype: np.dtype[Any]
    channels: tuple[int, int]
    read: int
    sizes: tuple[int, ...]
    made: int
    kernel_taps: int
    phases: int

    @classmethod
    def of(cls, geometry: ConvGeometry, transposed: bool, dtype: np.dtype[Any]) -> Work:
        """Count the work of a direction, given the merged geometry."""
        axes, (c_in, c_out) = geometry.axes, geometry.channels
        kernel_taps = prod(axis.taps for axis in axes)
        outputs = tuple(axis.outputs for axis in axes)
        if transposed:
            sizes = tuple(stop - start for start, stop in map(read_range, axes))
            phases = prod(axis.stride for axis in axes)
            counts = prod(outputs), sizes, prod(sizes), kernel_taps, phases
            return cls(geometry, True, dtype, (c_out, c_in), *counts)
        read = prod(axis.high - axis.low + 1 for axis in axes)
        return cls(geometry, False, dtype, (c_in, c_out), read, outputs, prod(outputs), kernel_taps, 1)

    @property
    def real_bytes(self) -> int:
        """Bytes of a real number."""
        return self.dtype.itemsize // (2 if self.dtype.kind == "c" else 1)

    @property
    def taps(self) -> float:
        """Taps that a result meets, on the average over the phases."""
        return self.kernel_taps / self.phases

    @property
    def weights(self) -> int:
        """Weights of the kernel."""
        return self.geometry.groups * prod(self.channels) * self.kernel_taps

    @property
    def line(self) -> int:
        """Results of a line along the last axis."""
        return self.sizes[-1]

    @property
    def lines(self) -> int:
        """Lines of results, of all channels."""
        return self.geometry.groups * self.channels[1] * self.made // self.line

    @property
    def together(self) -> int:
        """Lines of results that read the same lines of the source: channels, and neighbouring lines."""
        sizes = self.sizes
        neighbours = min(sizes[-2], self.geometry.axes[-2].taps) if len(sizes) > 1 else 1
        return self.channels[1] * neighbours

    @property
    def apart(self) -> bool:
        """Whether neighbouring results read samples that are not neighbours."""
        return not self.transposed and self.geometry.axes[-1].stride > 1

    @property
    def moved(self) -> int:
        """Bytes of the source that are read, and of the results."""
        sources, results = self.channels
        return self.geometry.groups * (sources * self.read + results * self.made) * self.dtype.itemsize

    @property
    def unfolded(self) -> float:
        """Bytes of the source if it were copied for every tap that reads it."""
        sources, results = self.channels
        return self.taps * sources * self.lines * self.line // results * self.dtype.itemsize

    def multiplies(self, word: int) -> float:
        """Return real multiplications in those of a float32, numbers being no narrower than a word."""
        parts = 4 if self.dtype.kind == "c" else 1
        each = self.geometry.groups * prod(self.channels) * self.made * self.taps * parts
        return each * max(self.real_bytes, word) / 4
