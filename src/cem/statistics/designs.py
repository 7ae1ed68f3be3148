"""Units that share their designs: the same R and the same number of readings in every channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["shared_designs"]

_SAMPLE = 4096
# Odd multipliers of a hash of 64-bit words: 2^64 over the golden ratio, and another of splitmix64.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIXER = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(29)


def shared_designs(statistics: SufficientStatistics, units_per_design: float) -> NDArray[np.int64] | None:
    """Number the designs of a fleet, if they are few.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the fleet. A channel missing on a unit is part of its design.
    units_per_design : float
        Smallest mean number of units per design for which it is worthwhile.

    Returns
    -------
    ndarray of shape (L,), int64, or None
        Number of each unit's design, from 0; None if there are more designs than `units_per_design` allows.
    """
    n_units = statistics.n_units
    most = n_units / units_per_design
    if most < 1:
        return None
    # A sample has no more designs than the fleet, so fleets whose units all differ are recognised at once.
    sample = np.linspace(0, n_units - 1, min(n_units, _SAMPLE)).astype(np.int64)
    if len(np.unique(_hashes(statistics, sample))) > most:
        return None
    every = np.arange(n_units, dtype=np.int64)
    _, first, design = np.unique(_hashes(statistics, every), return_index=True, return_inverse=True)
    if len(first) > most or not _all_equal(statistics, every, first[design]):
        return None
    return design.astype(np.int64).reshape(-1)


def _blocks(statistics: SufficientStatistics, channel: int, units: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The bits of R of some units, shape (n, p²); zeros where the channel is missing."""
    size = statistics.sizes[channel] ** 2
    offsets = statistics.factor_offsets[units, channel]
    observed = statistics.counts[units, channel] > 0
    words = statistics.factors.view(np.uint64)[np.where(observed, offsets, 0)[:, None] + np.arange(size)]
    words[~observed] = 0
    return words


def _different_channels(statistics: SufficientStatistics, units: NDArray[np.int64]) -> list[int]:
    """Channels without those that have the first one's blocks and counts on all of some units, as most have."""
    offsets, counts = statistics.factor_offsets[units], statistics.counts[units]
    return [0] + [
        channel
        for channel in range(1, statistics.n_channels)
        if statistics.sizes[channel] != statistics.sizes[0]
        or not np.array_equal(offsets[:, channel], offsets[:, 0])
        or not np.array_equal(counts[:, channel], counts[:, 0])
    ]


def _hashes(statistics: SufficientStatistics, units: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each unit's design; equal designs have equal numbers."""
    hashes = np.zeros(len(units), dtype=np.uint64)
    for channel in _different_channels(statistics, units):
        words = _blocks(statistics, channel, units)
        for word in (*words.T, statistics.counts[units, channel].astype(np.uint64)):
            hashes = (hashes ^ word) * _MULTIPLIER
            hashes ^= hashes >> _SHIFT
            hashes *= _MIXER
            hashes ^= hashes >> _SHIFT
    return hashes


def _all_equal(statistics: SufficientStatistics, units: NDArray[np.int64], others: NDArray[np.int64]) -> bool:
    """Whether designs of equal hash are equal, bit by bit."""
    return all(
        np.array_equal(statistics.counts[units, channel], statistics.counts[others, channel])
        and np.array_equal(_blocks(statistics, channel, units), _blocks(statistics, channel, others))
        for channel in _different_channels(statistics, units)
    )
