"""The index by which the demo and the benchmarks say how well modes agree with labels."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from cem.metrics.agreement import adjusted_rand_index, contingency, disagreement


@pytest.mark.parametrize("seed", range(20))
def test_the_index_is_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 60))
    first = generator.integers(0, generator.integers(1, 6), n)
    second = np.where(generator.random(n) < 0.7, first, generator.integers(0, 4, n))
    expected = adjusted_rand_score(first, second)
    assert adjusted_rand_index(first.tolist(), second.tolist()) == pytest.approx(expected, abs=1e-12)


def test_names_of_the_classes_do_not_matter():
    assert adjusted_rand_index([0, 0, 1, 1, 2], ["b", "b", "c", "c", None]) == 1.0


def test_one_class_against_one_class_is_agreement():
    assert adjusted_rand_index([1, 1, 1], ["a", "a", "a"]) == 1.0


def test_contingency_counts_pairs_in_order_of_first_appearance():
    counts, rows, columns = contingency(["x", "y", "x", "x"], [1, 2, 2, 1])
    assert (rows, columns) == (("x", "y"), (1, 2))
    assert counts.tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize("n_modes", [1, 2, 3, 6])
def test_disagreement_does_not_depend_on_the_names_of_the_modes(n_modes):
    generator = np.random.default_rng(n_modes)
    first = generator.dirichlet(np.full(n_modes, 0.05), size=50)  # nearly hard
    assert disagreement(first, first[:, generator.permutation(n_modes)]) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("seed", range(20))
def test_disagreement_is_the_share_of_units_moved(seed):
    """Of hard partitions that hardly differ; and of any two it lies within 0 and 1."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 60)
    moved = labels.copy()
    moved[:6] = (moved[:6] + 1) % 3
    assert disagreement(np.eye(3)[labels], np.eye(3)[moved]) == pytest.approx(0.1)
    soft = generator.dirichlet(np.ones(3), size=60)
    assert 0 <= disagreement(soft, np.eye(3)[labels]) <= 1


def test_disagreement_is_never_less_than_the_best_matching_gives():
    from itertools import permutations

    generator = np.random.default_rng(1)
    for _ in range(30):
        first, second = generator.dirichlet(np.full(4, 0.3), size=(2, 25))
        least = min(np.abs(first - second[:, list(order)]).sum() / 50 for order in permutations(range(4)))
        assert disagreement(first, second) >= least - 1e-12
