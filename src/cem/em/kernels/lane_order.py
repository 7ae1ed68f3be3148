"""Which unit lies in which lane of a `LanePack`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lane_order", "modes_in_lanes"]

NONE_KNOWN, MIXED = -1, -2  # of a tile, as _lanes_types.h has them

IntArray = NDArray[np.int32]
LongArray = NDArray[np.int64]


def lane_order(counts: NDArray[np.generic], known_modes: IntArray, lanes: int) -> LongArray:
    """Units by known mode, then by pattern of missing channels, so that whole tiles skip missing channels.

    Returns
    -------
    ndarray of shape (n_tiles * lanes,)
        -1 in lanes without a unit.
    """
    n_units = len(counts)
    order = np.full((n_units + lanes - 1) // lanes * lanes, -1, dtype=np.int64)
    observed = np.asarray(counts) > 0
    if observed.all() and (known_modes < 0).all():
        order[:n_units] = np.arange(n_units)
    else:
        patterns = np.packbits(observed, axis=1)
        order[:n_units] = np.lexsort((*patterns.T[::-1], known_modes))
    return order


def modes_in_lanes(known_modes: IntArray, order: LongArray, lanes: int) -> tuple[IntArray | None, IntArray]:
    """The known mode of each lane, -1 for none, or None if none is known; of each tile, MIXED if its units differ."""
    if (known_modes < 0).all():
        return None, np.full(len(order) // lanes, NONE_KNOWN, dtype=np.int32)
    of_lanes = np.asarray(known_modes)[order].astype(np.int32)
    n_units = int(np.count_nonzero(order >= 0))
    of_lanes[n_units:] = of_lanes[n_units - 1]
    np.maximum(of_lanes, -1, out=of_lanes)
    by_tile = of_lanes.reshape(-1, lanes)
    uniform = (by_tile == by_tile[:, :1]).all(axis=1)
    return of_lanes, np.where(uniform, by_tile[:, 0], MIXED).astype(np.int32)
