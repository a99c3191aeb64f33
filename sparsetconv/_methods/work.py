"""The operation counts of a product, which are the same for every method, on the CPU and on a GPU.

A method's ``seconds`` multiplies these counts by the `Rates` of the processor and by its own constants.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparsetconv._methods.phases import read_range

if TYPE_CHECKING:
    from sparsetconv._geometry.convolution import ConvGeometry


# number of matrix entries up to which nothing is compiled for a product
SMALL = 50_000


class Rates(NamedTuple):
    """The speed of a processor: all constants of the model that depend on the machine; times are in seconds.

    A method's ``seconds`` on the CPU is a sum of the times below, each multiplied by what `Work` counts, so
    that they can be fitted to measurements. Those with a default are read only by methods of the CPU.

    Attributes
    ----------
    call : float
        Time of a call, whatever it computes; on a GPU, of a launch.
    byte : float
        Time to move a byte between memory and processor.
    multiply : float
        Time of a float32 multiplication in the stencil.
    word : int
        Minimum bytes of a number: multiplications of narrower numbers take as long.
    gemm_calls : int
        Calls per product of the method ``"gemm"``.
    gemm_multiply : float
        Time of a float32 multiplication in BLAS.
    integer_gemm : float
        Factor of the time for integers, which BLAS does not support.
    panel_byte, panel_copy : float
        Time to write a byte of a panel, and overhead of a copy to a panel.
    panel_line : int
        Overhead of copying a line, in elements.
    panel_apart : float
        Factor of the time for copies with a stride.
    transform_byte : float
        Time per byte of a Fourier transform, for each doubling of its length.
    gemm_terms : int
        Multiplications that a result takes as long as, at least, where BLAS has one row of weights.
    line : float
        Overhead of a line of the source or of results in the stencil.
    tiles_call : float
        Overhead of a product by transforms of tiles.
    step_byte : float
        Time per byte of a vector, in one step of the transforms of tiles, including gather, product and
        scatter.
    whole_call, whole_byte : float
        Overhead of a product by whole transforms, and time per byte of multiplying and copying.
    sparse_call : float
        Time of a product with a matrix, whatever its size.
    sparse_entry, sparse_byte : float
        Time per entry of a matrix, and per byte of its value.
    assembly_byte : float
        Time to write a byte of a matrix.
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
    gemm_terms: int = 1
    line: float = 0.0
    tiles_call: float = 0.0
    step_byte: float = 0.0
    whole_call: float = 0.0
    whole_byte: float = 0.0
    sparse_call: float = 0.0
    sparse_entry: float = 0.0
    sparse_byte: float = 0.0
    assembly_byte: float = 0.0


class Work(NamedTuple):
    """The operation counts of one direction of a convolution, for one item of a batch.

    Attributes
    ----------
    geometry : ConvGeometry
        With merged axes.
    transposed : bool
    dtype : dtype
        Of the kernel and of the results.
    channels : (int, int)
        Channels of a group in the source and in the result.
    read : int
        Samples of a channel of the source, including padding; in the transposed direction, without inserted
        zeros.
    sizes : tuple of int
        Results of a channel along each axis; in the transposed direction, including those in the padding,
        which are added to samples (unpad).
    made : int
        Results of a channel, the product of ``sizes``.
    kernel_taps : int
        Taps of the kernel.
    phases : int
        Phases of the transposed direction, which share no taps; 1 for the forward direction.
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
        """Return the counts of one direction, given the merged geometry."""
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
        """Taps per result, averaged over the phases."""
        return self.kernel_taps / self.phases

    @property
    def weights(self) -> int:
        """Number of weights of the kernel."""
        return self.geometry.groups * prod(self.channels) * self.kernel_taps

    @property
    def line(self) -> int:
        """Results per line, along the last axis."""
        return self.sizes[-1]

    @property
    def lines(self) -> int:
        """Lines of results, over all channels."""
        return self.geometry.groups * self.channels[1] * self.made // self.line

    @property
    def source_lines(self) -> int:
        """Lines of the source, over all channels, each as long as a line of results."""
        return self.geometry.groups * self.channels[0] * self.read // self.line

    @property
    def together(self) -> int:
        """Lines of results that read the same line of the source: of all channels, and neighbouring lines."""
        sizes = self.sizes
        neighbours = min(sizes[-2], self.geometry.axes[-2].taps) if len(sizes) > 1 else 1
        return self.channels[1] * neighbours

    @property
    def apart(self) -> bool:
        """Whether neighbouring results read samples that are not neighbours."""
        return not self.transposed and self.geometry.axes[-1].stride > 1

    @property
    def moved(self) -> int:
        """Bytes of the source and of the results."""
        sources, results = self.channels
        return self.geometry.groups * (sources * self.read + results * self.made) * self.dtype.itemsize

    @property
    def unfolded(self) -> float:
        """Bytes of the source if it were unfolded (im2col): copied once for every tap that reads it."""
        sources, results = self.channels
        return self.taps * sources * self.lines * self.line // results * self.dtype.itemsize

    def multiplies(self, word: int) -> float:
        """Return the real multiplications in units of float32's; narrow numbers count as ``word`` bytes."""
        parts = 4 if self.dtype.kind == "c" else 1
        each = self.geometry.groups * prod(self.channels) * self.made * self.taps * parts
        return each * max(self.real_bytes, word) / 4
