"""How well a partition of units agrees with known labels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted_rand_index", "contingency", "disagreement"]


def contingency(
    first: Sequence[Hashable], second: Sequence[Hashable]
) -> tuple[NDArray[np.int64], tuple[Hashable, ...], tuple[Hashable, ...]]:
    """How many items have each pair of labels.

    Returns
    -------
    counts : ndarray of shape (labels of the first, labels of the second)
    first_labels, second_labels : tuple
        In order of first appearance.
    """
    rows = {label: i for i, label in enumerate(dict.fromkeys(first))}
    columns = {label: i for i, label in enumerate(dict.fromkeys(second))}
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for a, b in zip(first, second, strict=True):
        counts[rows[a], columns[b]] += 1
    return counts, tuple(rows), tuple(columns)


def adjusted_rand_index(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Agreement of two partitions, corrected for chance: 1 for the same partition, 0 on average for independent ones.

    Hubert & Arabie (1985), Journal of Classification 2, 193–218.
    """
    counts, _, _ = contingency(first, second)
    pairs = float((counts * (counts - 1) // 2).sum())
    rows, columns, n = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())
    row_pairs = float((rows * (rows - 1) // 2).sum())
    column_pairs = float((columns * (columns - 1) // 2).sum())
    all_pairs = n * (n - 1) / 2
    expected = row_pairs * column_pairs / all_pairs if all_pairs else 0.0
    largest = (row_pairs + column_pairs) / 2
    # Only two trivial partitions, both of one class or both of single items, leave nothing to correct.
    return 1.0 if largest == expected else (pairs - expected) / (largest - expected)


def disagreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How far two soft partitions are apart, whatever their modes are called.

    Parameters
    ----------
    first, second : ndarray of shape (L, K)
        Responsibilities.

    Returns
    -------
    float
        Mean over the units of the total variation distance, 0 to 1. Modes are matched in the order of their overlaps,
        largest first: the best matching wherever the two are near to one another, and never one that flatters.
    """
    n_units, n_modes = first.shape
    overlaps = first.T @ second
    matched = np.empty(n_modes, dtype=np.int64)
    for _ in range(n_modes):
        row, column = divmod(int(overlaps.argmax()), n_modes)
        matched[row] = column
        overlaps[row], overlaps[:, column] = -1.0, -1.0
    distance: float = np.abs(first - second[:, matched]).sum() / (2 * n_units)
    return float(distance)
