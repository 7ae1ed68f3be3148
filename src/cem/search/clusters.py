"""Clusters of units by their coefficients: the nearest of K points, k-means centres or units drawn at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.search import _clusters

__all__ = ["clusters", "nearest"]

FloatArray = NDArray[np.float64]

_ROUNDS = 20


def nearest(points: FloatArray, centres: FloatArray) -> NDArray[np.int32]:
    """Return the index of each point's nearest centre.

    Parameters
    ----------
    points : ndarray of shape (n, P)
    centres : ndarray of shape (K, P)

    Returns
    -------
    ndarray of shape (n,), int32
    """
    labels = np.empty(len(points), dtype=np.int32)
    _clusters.lloyd(points, centres, labels, 0)
    return labels


def clusters(points: FloatArray, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Cluster points by k-means from k-means++ centres; a cluster that loses its points keeps its centre.

    Parameters
    ----------
    points : ndarray of shape (n, P)
        At least `n_clusters` distinct points.
    n_clusters : int
        K.
    rng : numpy.random.Generator
        The labels are a deterministic function of its state.

    Returns
    -------
    ndarray of shape (n,), int32
    """
    labels = np.empty(len(points), dtype=np.int32)
    _clusters.lloyd(points, _spread(points, n_clusters, rng), labels, _ROUNDS)
    return labels


def _spread(points: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """k-means++ centres (Arthur & Vassilvitskii 2007)."""
    centres = np.empty((n_clusters, points.shape[1]))
    centres[0] = points[rng.integers(len(points))]
    distances = np.full(len(points), np.inf)
    for k in range(1, n_clusters):
        distances = np.minimum(distances, np.square(points - centres[k - 1]).sum(axis=1))
        steps = np.cumsum(distances)
        chosen = int(np.searchsorted(steps, rng.random() * steps[-1], side="right"))
        centres[k] = points[min(chosen, len(points) - 1)]
    return centres
