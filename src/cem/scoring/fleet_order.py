"""The rows of a batch unit by unit, and whether they come in the order of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANY_ORDER", "by_unit", "first_late"]

FloatArray = NDArray[np.float64]

ANY_ORDER = "this fleet refuses late readings; one with late='accept' takes them in any order"
"""What to do about a late reading; end of a message."""


def by_unit(codes: NDArray[np.int32], n_units: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The rows unit by unit, each unit's in the order of the batch, and where each unit's begin."""
    offsets = np.zeros(n_units + 1, dtype=np.int64)
    np.cumsum(np.bincount(codes, minlength=n_units), out=offsets[1:])
    low = (codes & 0xFFFF).astype(np.uint16)  # NumPy sorts 16 bits by counting
    order = np.argsort(low, kind="stable")
    if n_units > 2**16:
        order = order[np.argsort((codes >> 16).astype(np.uint16)[order], kind="stable")]
    return order.astype(np.int32), offsets


def first_late(
    times: FloatArray,
    is_read: NDArray[np.bool_],
    order: NDArray[np.int32],
    offsets: NDArray[np.int64],
    latest: FloatArray,
) -> tuple[int, float] | None:
    """The first row that is earlier than the latest reading of its unit, and the time of that; None: there is none.

    Parameters
    ----------
    times : ndarray of shape (N,)
    is_read : ndarray of shape (N,)
        Whether the row has a value. One without is no reading: what comes after it may be earlier.
    order : ndarray of shape (N,)
        The rows unit by unit.
    offsets : ndarray of shape (L + 1,)
        Where each unit's begin.
    latest : ndarray of shape (L,)
        The latest reading of each unit, -inf of one without; changed in place.
    """
    ordered, places = times[order], np.arange(len(order))
    last = np.full(len(order) + 1, -1)  # the last row with a value before each row, and before the end
    last[1:] = np.maximum.accumulate(np.where(is_read[order], places, -1))
    n_rows = np.diff(offsets)
    is_own = last[:-1] >= np.repeat(offsets[:-1], n_rows)
    before = np.where(is_own, ordered[last[:-1]], np.repeat(latest, n_rows))
    late = np.flatnonzero(ordered < before)
    if len(late):
        first = late[np.argmin(order[late])]
        return int(order[first]), float(before[first])
    final = last[offsets[1:]]
    read = np.flatnonzero(final >= offsets[:-1])
    latest[read] = ordered[final[read]]
    return None
