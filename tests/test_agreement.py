"""The index by which the demo and the benchmarks say how well modes agree with labels."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from cem.agreement import adjusted_rand_index, contingency


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
