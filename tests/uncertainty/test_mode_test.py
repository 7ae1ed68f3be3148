"""The bootstrap test of K modes against K + 1: its p decides how many modes a user takes."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.em.loop import continue_em, start_em
from cem.errors import OptionError
from cem.fitting.fitted_problem import fitted_problem
from cem.uncertainty.mode_test import mode_test
from cem.uncertainty.splits import as_one_mode, one_mode_more

pytestmark = pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")


def fleet(n_units, *, gap, seed=0, labels=False, noise=(0.3, 0.3)):
    """Two modes whose curves are `gap` apart, with readings of little and of much noise."""
    rng = np.random.default_rng(seed)
    times, values, modes = [], [], []
    for _ in range(n_units):
        k = int(rng.random() < 0.4)
        t = np.sort(rng.uniform(-1, 1, rng.integers(4, 12)))
        b = np.array([gap * k, 1.0 - 0.5 * gap * k]) + rng.normal(size=2) * [0.5, 0.4]
        times.append(t)
        values.append(np.column_stack([b[0] + b[1] * t, b[1] - t]) + noise[k] * rng.normal(size=(len(t), 2)))
        modes.append("ab"[k] if labels and rng.random() < 0.2 else None)
    panel = cem.Panel.from_arrays(times, values)
    return panel.with_modes(modes) if labels else panel


def problems(panel, n_modes, **options):
    found = []
    for k in (n_modes, n_modes + 1):
        em = cem.FailureModeEM(k, **{"basis": cem.Polynomial(1), "random_state": 0, "covariance": "pooled", **options})
        found.append(fitted_problem(em.fit(panel), panel))
    return found


def verdict(panel, n_modes, options=None, **arguments):
    small, large = problems(panel, n_modes, **(options or {}))
    return mode_test(small.mixture, small.parameters, large.mixture, **arguments)


def test_two_modes_far_apart_are_found_with_the_smallest_p():
    found = verdict(fleet(60, gap=2.5), 1, n=19)
    assert found.p_value == 1 / 20
    assert not found.stopped_early
    assert found.null.max() < found.statistic


def test_the_right_number_is_not_rejected_and_the_test_stops():
    """B replicates are the most: once ten of them are above, no more can change a verdict at 5 %."""
    found = verdict(fleet(60, gap=2.5, seed=1), 2, n=99)
    assert found.p_value > 0.05
    above = (found.null >= found.statistic).sum()
    assert found.stopped_early and above == 10 and found.p_value == 10 / len(found.null)
    assert "of 99 replicates" in repr(found)


def test_without_stopping_p_counts_all_replicates():
    found = verdict(fleet(60, gap=2.5, seed=1), 2, n=29, early=False)
    assert len(found.null) == 29
    assert found.p_value == (1 + (found.null >= found.statistic).sum()) / 30


def test_modes_of_one_curve_that_differ_in_noise_are_found():
    """No division by the coefficients separates them."""
    found = verdict(fleet(80, gap=0.0, noise=(0.1, 0.5)), 1, n=19)
    assert found.p_value == 1 / 20


@pytest.mark.parametrize("options", [{}, {"covariance": "full"}, {"random_columns": [0]}])
def test_two_threads_make_the_same_bits_as_one(options):
    small, large = problems(fleet(40, gap=1.0), 1, **options)
    one, two = (mode_test(small.mixture, small.parameters, large.mixture, n=12, n_jobs=n, early=False) for n in (1, 2))
    assert np.array_equal(one.null, two.null)
    assert (one.statistic, one.p_value) == (two.statistic, two.p_value)


def test_labels_hold_in_every_replicate():
    """A replicate whose labelled units were free would have a higher likelihood ratio than it may have."""
    found = verdict(fleet(60, gap=2.5, labels=True), 2, n=29)
    assert found.p_value > 0.05
    assert found.n_lost == 0


def test_the_fleet_has_no_better_search_than_the_replicates(monkeypatch):
    """Else the test would reject too often: a search that finds nothing must leave every fleet with λ = 0."""
    small, large = problems(fleet(40, gap=2.5), 1)
    monkeypatch.setattr("cem.uncertainty.mode_test.one_mode_more", lambda *given, **options: None)
    found = mode_test(small.mixture, small.parameters, large.mixture, n=19)
    assert found.statistic == 0.0 and found.p_value == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_the_short_search_finds_what_a_long_one_finds(seed):
    """Within what EM may still gain; on overlapping modes, where starts disagree."""
    panel = fleet(60, gap=0.8, seed=seed)
    small, large = problems(panel, 1)
    run = continue_em(
        start_em(small.mixture, small.parameters), small.mixture, n_passes=200, tolerance=1e-3, accelerate=True
    )
    found = one_mode_more(run, large.mixture, as_one_mode(small.parameters), np.random.default_rng(0), tolerance=1e-2)
    assert found.log_likelihood >= large.evaluation.log_likelihood - 0.6


def test_one_mode_of_a_mixture_has_its_mean_and_variance():
    _, two = problems(fleet(60, gap=2.0), 1, covariance="full")
    parameters = two.parameters
    one = as_one_mode(parameters)
    pi = parameters.weights
    for c in range(2):
        means = np.stack([parameters.mean(k, c) for k in range(2)])
        second = sum(
            p * (parameters.factor(k, c) @ parameters.factor(k, c).T + np.outer(means[k], means[k]))
            for k, p in enumerate(pi)
        )
        np.testing.assert_allclose(one.mean(0, c), pi @ means)
        factor = one.factor(0, c)
        np.testing.assert_allclose(factor @ factor.T, second - np.outer(pi @ means, pi @ means), atol=1e-12)


def test_no_replicates_are_refused():
    small, large = problems(fleet(20, gap=1.0), 1)
    with pytest.raises(OptionError, match="0 replicates"):
        mode_test(small.mixture, small.parameters, large.mixture, n=0)
