"""The libraries with which products are compared: cuSPARSE, cuDNN through PyTorch, cuFFT.

Everything that a library needs is prepared before the clock starts: the assembled matrix, weights in its
layout, the transform of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scipy.fft import next_fast_len

import sparsetconv as stc

from .steps import Unavailable

if TYPE_CHECKING:
    from .lab import Lab
    from .problems import Problem

# the share of the free memory that one matrix may take; assembly and cuSPARSE need some in addition
MATRIX_SHARE = 0.8
Call = Callable[[Any], Any]


def cusparse(lab: Lab, problem: Problem, direction: str) -> Call:
    """Return SpMV with the assembled matrix, or with its transpose's own CSR."""
    require_matrix(lab, problem)
    make = stc.conv_matrix if direction == "forward" else stc.conv_transpose_matrix
    matrix = make(problem.weights(lab), problem.geometry)
    return lambda x: matrix @ x


def require_matrix(lab: Lab, problem: Problem) -> None:
    """Skip a matrix that is too large for 32-bit indices or the card's memory."""
    if problem.geometry.nnz >= 2**31:
        msg = f"{problem.geometry.nnz:,} entries need 64-bit indices, of which a step of its own asks"
        raise Unavailable(msg)
    nbytes, free = problem.geometry.nbytes(problem.dtype), lab.free_bytes()
    if nbytes > MATRIX_SHARE * free:
        msg = f"the matrix needs {nbytes / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        raise Unavailable(msg)


def cudnn(lab: Lab, problem: Problem, direction: str) -> Call:
    """Return ``conv2d`` or ``conv3d`` of PyTorch, or their transposes, in full precision."""
    torch = imported_torch(lab)
    axes = problem.geometry.ndim
    if any(k % 2 == 0 for k in problem.kernel_shape[-axes:]) or problem.options.get("padding") != "same":
        msg = "PyTorch pads both sides alike, and this problem does not"
        raise Unavailable(msg)
    channels = (1, 1) if not problem.geometry.has_channels else ()
    weights = to_torch(lab, problem.weights(lab)).reshape(*channels, *problem.kernel_shape)
    name = f"conv{axes}d" if direction == "forward" else f"conv_transpose{axes}d"
    function = getattr(torch.nn.functional, name)
    padding = tuple(k // 2 for k in problem.kernel_shape[-axes:])
    # "same" and stride 1: both ends have one shape
    shape = (1, *channels[:1], *problem.input_shape)

    def call(x: Any) -> Any:
        return function(x.reshape(shape), weights, padding=padding)

    return call


def imported_torch(lab: Lab) -> Any:
    """Return PyTorch, set to full precision, or raise with the reason that there is none."""
    try:
        import torch
    except ImportError as error:
        msg = f"PyTorch cannot be imported: {error}"
        raise Unavailable(msg) from error
    if not lab.emulated and not torch.cuda.is_available():
        msg = "PyTorch finds no GPU"
        raise Unavailable(msg)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return torch


def to_torch(lab: Lab, array: Any) -> Any:
    """Return an array as a tensor of PyTorch, with the same memory on a card."""
    torch = imported_torch(lab)
    return torch.from_numpy(array.get()) if lab.emulated else torch.as_tensor(array, device="cuda")


def from_torch(lab: Lab, tensor: Any) -> Any:
    """Return a tensor of PyTorch as a CuPy array."""
    return lab.cp.asarray(tensor.numpy() if lab.emulated else tensor.detach())


def cufft(lab: Lab, problem: Problem, direction: str) -> Call:
    """Return two transforms around a multiplication by the kernel's transform, which is prepared before."""
    if problem.geometry.has_channels:
        msg = "one transform for each pair of channels, which nobody does"
        raise Unavailable(msg)
    cp, axes = lab.cp, tuple(range(problem.geometry.ndim))
    kernel = problem.weights(lab)
    # a correlation is a convolution with the flipped kernel, its adjoint one with the kernel itself
    flipped = kernel[(slice(None, None, -1),) * len(axes)] if direction == "forward" else kernel
    pairs = list(zip(problem.input_shape, problem.kernel_shape, strict=True))
    lengths = tuple(next_fast_len(n + k - 1, real=True) for n, k in pairs)
    spectrum = cp.fft.rfftn(cp.ascontiguousarray(flipped), lengths, axes)
    kept = tuple(slice(k // 2, k // 2 + n) for n, k in pairs)

    def call(x: Any) -> Any:
        transform = cp.fft.rfftn(x.reshape(problem.input_shape), lengths, axes)
        return cp.fft.irfftn(transform * spectrum, lengths, axes)[kept]

    return call


PEERS: dict[str, Callable[[Lab, Problem, str], Call]] = {"cuSPARSE": cusparse, "cuDNN": cudnn, "cuFFT": cufft}
