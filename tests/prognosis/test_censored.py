"""What is known of units that still run: against plain arithmetic, simulated truth and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from cem.metrics import interval_score
from cem.prognosis.censored import Followed, Outcomes, kaplan_meier, quantiles_of_running
from cem.prognosis.centre_and_spread import centre_and_spread


def test_without_running_units_scores_are_the_plain_ones() -> None:
    """Nobody's figures change because others have running units."""
    rng = np.random.default_rng(0)
    lives, guesses = rng.exponential(50.0, (2, 40))
    none = np.zeros(40, dtype=bool)
    outcomes = Outcomes(lives, none, np.zeros(40), np.arange(40), 120.0, Followed.of(lives, none))
    capped, guess = np.minimum(lives, 120.0), np.minimum(guesses, 120.0)
    np.testing.assert_allclose(outcomes.errors(guesses), np.abs(capped - guess))
    np.testing.assert_allclose(outcomes.errors(guesses, 1), np.square(capped - guess), rtol=1e-9)
    low, high = 0.5 * guess, np.minimum(1.5 * guess, 120.0)
    np.testing.assert_allclose(outcomes.interval_scores(low, high, 0.9), interval_score(capped, low, high, level=0.9))
    np.testing.assert_allclose(outcomes.brier(np.full(40, 0.3), 30.0), np.square(0.3 - (lives <= 30.0)))


def test_scores_of_a_fleet_that_was_not_seen_to_its_end_are_those_of_the_whole() -> None:
    """Units leave at random, young predictions are followed longer, and the means are those without leaving."""
    rng = np.random.default_rng(1)
    n = 100_000
    lives, left, ages = rng.gamma(8.0, 15.0, n), rng.uniform(40.0, 400.0, n), rng.uniform(0.0, 150.0, n)
    spans = np.minimum(lives, left)
    seen = ages < spans
    followed = Followed.of(spans[:3000], (left < lives)[:3000])
    outcomes = Outcomes((spans - ages)[seen], (left < lives)[seen], ages[seen], np.arange(seen.sum()), 80.0, followed)
    alive = ages < lives
    # Ages are counted as often as they are seen: P(followed until the age).
    often = np.clip((400.0 - np.maximum(ages[alive], 40.0)) / 360.0, 0.0, 1.0)
    truth, guess = np.minimum((lives - ages)[alive], 80.0), np.clip(110.0 - 0.5 * ages, 0.0, 80.0)
    for found, wanted in (
        (outcomes.errors(guess[seen]), np.abs(truth - guess[alive])),
        (outcomes.errors(guess[seen], 1), np.square(truth - guess[alive])),
        (outcomes.brier(np.full(seen.sum(), 0.4), 50.0), np.square(0.4 - (truth <= 50.0))),
    ):
        assert found.mean() == pytest.approx(np.average(wanted, weights=often), rel=0.02)


def test_kaplan_meier_by_hand() -> None:
    """The third of three was lost at 2: its mass goes to the one beyond it; lost last, it stays beyond all."""
    np.testing.assert_allclose(
        kaplan_meier(np.array([3.0, 1.0, 2.0]), np.array([False, False, True])), [2 / 3, 1 / 3, 0]
    )
    np.testing.assert_allclose(kaplan_meier(np.array([1.0, 2.0]), np.array([False, True])), [0.5, 0.0])
    twice = kaplan_meier(np.array([1.0, 2.0]), np.array([False, True]), np.array([[2.0, 0.0], [1.0, 3.0]]))
    np.testing.assert_allclose(twice, [[1.0, 0.0], [0.25, 0.0]])
    found = quantiles_of_running(np.array([1.0, 2.0]), np.array([False, True]), np.array([0.25, 0.9]))
    assert found[0] == 1.0 and np.isnan(found[1])


def test_centre_and_spread_are_the_maximum_of_the_likelihood() -> None:
    """Of Student's t with scores that are only exceeded, as a search of SciPy finds it."""
    rng = np.random.default_rng(2)
    scores, limits = 1.0 + 2.0 * rng.standard_t(8, 600), rng.normal(1.0, 2.0, 600)
    running, seen = scores > limits, np.minimum(scores, limits)

    def loss(point: np.ndarray) -> float:
        rest = (seen - point[0]) / np.exp(point[1])
        known = stats.t.logpdf(rest, 8) - point[1]
        return -float(np.where(running, stats.t.logsf(rest, 8), known).sum())

    wanted = optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).x
    centre, spread = centre_and_spread(seen, np.ones((600, 1)), 1.0, running)
    np.testing.assert_allclose([centre[0], spread[0]], wanted, atol=1e-5)
