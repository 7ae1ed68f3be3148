"""Units by the nearest of K points among their coefficients: centres of clusters, or units drawn at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["centres_of_clusters", "nearest"]

FloatArray = NDArray[np.float64]

_ROUNDS = 20


def nearest(points: FloatArray, centres: FloatArray) -> NDArray[np.int64]:
    """The index of each point's nearest centre.

    Parameters
    ----------
    points : ndarray of shape (n, P)
    centres : ndarray of shape (K, P)

    Returns
    -------
    ndarray of shape (n,), int64
    """
    index: NDArray[np.int64] = (points @ (-2.0 * centres.T) + np.square(centres).sum(axis=1)).argmin(axis=1)
    return index


def centres_of_clusters(points: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """k-means from k-means++ centres; a cluster that loses its points keeps its centre.

    Parameters
    ----------
    points : ndarray of shape (n, P)
        At least `n_clusters` different ones.
    n_clusters : int
        K.
    rng : numpy.random.Generator
        The centres are a deterministic function of its state.

    Returns
    -------
    ndarray of shape (K, P)
    """
    centres, assigned = _spread(points, n_clusters, rng), None
    for _ in range(_ROUNDS):
        before, assigned = assigned, nearest(points, centres)
        if before is not None and np.array_equal(before, assigned):
            break
        members = np.eye(n_clusters)[assigned]
        counts = members.sum(axis=0)
        centres = np.where(counts[:, None] > 0, members.T @ points / np.maximum(counts, 1.0)[:, None], centres)
    return centres


def _spread(points: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """k-means++ centres (Arthur & Vassilvitskii 2007)."""
    centres = [points[rng.integers(len(points))]]
    distances = np.square(points - centres[0]).sum(axis=1)
    for _ in range(1, n_clusters):
        total = distances.sum()
        chosen = rng.choice(len(points), p=distances / total) if total > 0 else rng.integers(len(points))
        centres.append(points[chosen])
        distances = np.minimum(distances, np.square(points - points[chosen]).sum(axis=1))
    return np.stack(centres)
