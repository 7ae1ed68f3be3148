"""Clusters that starts begin with: what k-means is, whatever the points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.search import _clusters
from cem.search.clusters import clusters, nearest


@given(seed=st.integers(0, 10_000), n=st.integers(1, 50), k=st.integers(1, 6), size=st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_labels_are_those_of_the_nearest_centre(seed, n, k, size):
    rng = np.random.default_rng(seed)
    points, centres = rng.normal(size=(n, size)), rng.normal(size=(k, size))
    squares = np.square(points[:, None] - centres).sum(axis=2)
    np.testing.assert_array_equal(nearest(points, centres), squares.argmin(axis=1))


@given(seed=st.integers(0, 10_000), n=st.integers(4, 60), k=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_rounds_end_where_centres_are_the_means_of_their_points(seed, n, k):
    """Lloyd's fixed point: otherwise rounds would stop early, or labels and centres not belong together."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    centres, labels = points[rng.choice(n, k, replace=False)].copy(), np.empty(n, dtype=np.int32)
    rounds = _clusters.lloyd(points, centres, labels, 1000)
    assert 1 <= rounds < 1000
    np.testing.assert_array_equal(labels, np.square(points[:, None] - centres).sum(axis=2).argmin(axis=1))
    for cluster in np.unique(labels):
        np.testing.assert_allclose(centres[cluster], points[labels == cluster].mean(axis=0), atol=1e-12)


def test_a_centre_that_loses_its_points_stays():
    """Its mean would be 0 / 0."""
    points = np.array([[0.0], [1.0], [2.0]])
    centres, labels = np.array([[1.0], [50.0]]), np.empty(3, dtype=np.int32)
    _clusters.lloyd(points, centres, labels, 10)
    np.testing.assert_array_equal(centres, [[1.0], [50.0]])
    np.testing.assert_array_equal(labels, 0)


def test_clusters_that_lie_apart_are_found_and_depend_on_the_seed_alone():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 30)
    points = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]])[truth] + rng.normal(size=(90, 2))
    labels = clusters(points, 3, np.random.default_rng(3))
    assert len({(a, b) for a, b in zip(truth, labels, strict=True)}) == 3
    np.testing.assert_array_equal(labels, clusters(points, 3, np.random.default_rng(3)))


def test_points_that_coincide_do_not_stop_the_draw_of_centres():
    """All distances are 0 after the first centre: there is no probability left to draw by."""
    labels = clusters(np.ones((5, 2)), 3, np.random.default_rng(0))
    assert set(labels) == {0}


def test_wrong_shapes_are_refused():
    points, labels = np.zeros((4, 2)), np.empty(4, dtype=np.int32)
    for arguments in ((points, np.zeros((2, 3)), labels), (points, np.zeros((2, 2)), labels[:3])):
        with pytest.raises(ValueError, match=r"(centres|labels) has shape"):
            _clusters.lloyd(*arguments, 5)
