"""Units sorted by design into blocks, each number of many units side by side: what a `SharedPack` holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PADDING", "SharedLayout", "shared_layout"]

FloatArray = NDArray[np.float64]
LongArray = NDArray[np.int64]

PADDING = 8  # of _shared.pyx: a block's units are padded to a multiple of this, the widest register
CACHE_DOUBLES = 65536  # for the innovations of a block, for a few modes
LARGEST_BLOCK = 2048
SMALLEST_BLOCK = 64
SMALL_PRODUCT = 200000  # of _shared.pyx


class SharedLayout(NamedTuple):
    """The arrays of a `SharedPack`."""

    n_designs: int
    largest_block: int  # padded units
    order: LongArray  # (L,)  units by design
    counts: NDArray[np.int32]  # (n_designs, C)
    factor_at: LongArray  # (n_designs, C)  -1: channel not observed
    first_of: LongArray  # (n_blocks + 1,)  the block's first unit in `order`
    design_of: LongArray  # (n_blocks,)
    data_at: LongArray  # (n_blocks + 1,)  start of the block in `data`
    data: FloatArray  # by blocks: (P + C + 1, padded units): w, rss, 1
    skipped: int  # of `data`, so that blocks begin at multiples of 64 bytes
    known_modes: NDArray[np.int32]  # (L + PADDING,)  in the order of `order`


def shared_layout(
    w: FloatArray,
    rss: FloatArray,
    counts: NDArray[np.int32],
    factor_offsets: LongArray,
    known_modes: NDArray[np.int32],
    largest: int,
    designs: LongArray,
) -> SharedLayout:
    """Sort a fleet by design.

    Parameters
    ----------
    w, rss, counts, factor_offsets, known_modes
        Statistics (9) of one unit at least: (L, P), (L, C), (L, C), (L, C), (L,).
    largest : int
        Largest p.
    designs : (L,) array
        As `pack` takes them.

    Raises
    ------
    ValueError
        A design has a negative number, or no unit.
    """
    if designs.min() < 0:
        raise ValueError("pack: a design has a negative number")
    sizes_of_designs = np.bincount(designs)
    if not sizes_of_designs.all():
        raise ValueError("pack: a design has no unit")
    total, n_channels = w.shape[1], rss.shape[1]
    order = np.argsort(designs, kind="stable").astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes_of_designs)])
    first = order[starts[:-1]]
    of_designs = np.ascontiguousarray(counts[first])

    room = max(SMALLEST_BLOCK, min(LARGEST_BLOCK, CACHE_DOUBLES // (4 * total), SMALL_PRODUCT // (largest * largest)))
    n_blocks = (sizes_of_designs + room - 1) // room
    design_of = np.repeat(np.arange(len(n_blocks)), n_blocks)
    number = np.arange(len(design_of)) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)  # within its design
    ends = starts[design_of] + sizes_of_designs[design_of] * (number + 1) // n_blocks[design_of]
    first_of = np.concatenate([[0], ends])
    padded = (np.diff(first_of) + PADDING - 1) // PADDING * PADDING
    rows = total + n_channels + 1
    data_at = np.concatenate([[0], np.cumsum(padded * rows)])
    data = np.zeros(data_at[-1] + 8)  # 8: room to begin at a multiple of 64 bytes
    skipped = -(data.ctypes.data // 8) % 8
    for i, (begin, end) in enumerate(zip(first_of[:-1].tolist(), first_of[1:].tolist(), strict=True)):
        units = order[begin:end]
        block = data[skipped + data_at[i] : skipped + data_at[i + 1]].reshape(rows, padded[i])
        block[:total, : len(units)] = w[units].T
        block[total : total + n_channels, : len(units)] = rss[units].T
        block[total + n_channels, : len(units)] = 1.0
    padded_modes = np.full(len(order) + PADDING, -1, dtype=np.int32)  # whole registers of them are read
    padded_modes[: len(order)] = known_modes[order]
    return SharedLayout(
        len(sizes_of_designs),
        int(padded.max()),
        order,
        of_designs,
        np.where(of_designs > 0, factor_offsets[first], -1).astype(np.int64),
        first_of.astype(np.int64),
        design_of.astype(np.int64),
        data_at.astype(np.int64),
        data,
        skipped,
        padded_modes,
    )
