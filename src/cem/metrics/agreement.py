"""Agreement of a partition of units with known labels, with another partition, and with chance."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted_rand_index", "contingency", "disagreement", "odds_of_correct_classification", "short_odds"]

_LARGEST_SHOWN = 1000


def contingency(
    first: Sequence[Hashable], second: Sequence[Hashable]
) -> tuple[NDArray[np.int64], tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Count the items with each pair of labels.

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
    """Return the agreement of two partitions, corrected for chance.

    It is 1 for equal partitions, and 0 on average for independent ones.

    References
    ----------
    Hubert & Arabie (1985), Journal of Classification 2, 193–218.

    Examples
    --------
    >>> from cem.metrics.agreement import adjusted_rand_index
    >>> adjusted_rand_index([0, 0, 1, 1], ["b", "b", "a", "a"])
    1.0
    """
    counts, _, _ = contingency(first, second)
    pairs = float((counts * (counts - 1) // 2).sum())
    rows, columns, n = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())
    row_pairs = float((rows * (rows - 1) // 2).sum())
    column_pairs = float((columns * (columns - 1) // 2).sum())
    all_pairs = n * (n - 1) / 2
    expected = row_pairs * column_pairs / all_pairs if all_pairs else 0.0
    largest = (row_pairs + column_pairs) / 2
    # The denominator is 0 only for two trivial partitions, both of one class or both of single items.
    return 1.0 if largest == expected else (pairs - expected) / (largest - expected)


def disagreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return how far apart two soft partitions are, whatever their modes are called.

    Parameters
    ----------
    first, second : ndarray of shape (L, K)
        Responsibilities.

    Returns
    -------
    float
        Mean over the units of the total variation distance, 0 to 1. Modes are matched in order of their overlaps,
        largest first. This is the best matching if the partitions are near each other, and it never understates the
        distance.
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


def short_odds(odds: float) -> float | str:
    """Odds for people, to whom a million says no more than a thousand."""
    return odds if not odds > _LARGEST_SHOWN else f"> {_LARGEST_SHOWN:,}"


def odds_of_correct_classification(
    probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[p / (1 − p)] / [π / (1 − π)] of each mode, (K,): inf where p is 1, NaN where p is or with one mode.

    Parameters
    ----------
    probabilities : ndarray of shape (K,)
        Mean probability of the mode among its units.
    weights : ndarray of shape (K,)
        Probability of the mode before any reading.
    """
    if len(weights) == 1:
        return np.full(1, np.nan)
    p, w = np.minimum(probabilities, 1.0), np.minimum(weights, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(p / (1.0 - p) / (w / (1.0 - w)), dtype=np.float64)
