"""Blocks of numbers that occur again and again, each time larger by a constant.

The entries of a matrix, its columns and its row pointers are mostly such blocks: each is computed once, and
its repetitions are long copies from a source that stays in cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sparsetconv._arrays.types import Array

# blocks are doubled up to this many bytes, so that copies have long inner loops and stay in cache
COPY_BYTES = 1 << 16


def repeat_block(block: Array, shift: int, out: Array) -> None:
    """Fill ``out`` with copies of a block, ``shift`` added from each copy to the next.

    Short blocks are doubled first, so that every operation has a long inner loop. The block must not lie
    within ``out``, or NumPy would copy all of the result, which might overlap with it.

    Examples
    --------
    >>> out = np.zeros(7, int)
    >>> repeat_block(np.array([3, 5]), 10, out)
    >>> out
    array([ 3,  5, 13, 15, 23, 25, 33])
    """
    total, length, most = out.shape[-1], block.shape[-1], COPY_BYTES // block.itemsize
    while block.shape[-1] < min(most, total // 8):
        block = np.concatenate([block, _shifted(block, shift * (block.shape[-1] // length))], -1)
    done = block.shape[-1]
    count, step = total // done, shift * (done // length)
    blocks = out[..., : count * done].reshape(*out.shape[:-1], count, done)
    if shift:
        steps = np.arange(count, dtype=out.dtype) * out.dtype.type(step)
        np.add(block[..., None, :], steps[:, None], out=blocks)
    else:
        blocks[...] = block[..., None, :]
    rest = total - count * done
    if rest:
        out[..., count * done :] = _shifted(block[..., :rest], step * count)


def continue_block(block: Array, steps: Array, out: Array) -> None:
    """Fill ``out`` with a block, the block plus ``steps``, the block plus twice ``steps``, and so on.

    Examples
    --------
    >>> out = np.zeros(7, int)
    >>> continue_block(np.array([3, 5]), np.array([1, -2]), out)
    >>> out
    array([3, 5, 4, 3, 5, 1, 6])
    """
    total, most = out.shape[-1], COPY_BYTES // block.itemsize
    while block.shape[-1] < most and 2 * block.shape[-1] <= total:
        block = np.concatenate([block, block + steps], -1)
        steps = np.concatenate([steps, steps], -1) * out.dtype.type(2)
    done = block.shape[-1]
    block = block.copy()
    for at in range(0, total, done):
        more = min(done, total - at)
        out[..., at : at + more] = block[..., :more]
        block += steps


def _shifted(block: Array, shift: int) -> Array:
    return block + block.dtype.type(shift) if shift else block
