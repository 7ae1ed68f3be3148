"""Scores of "fails within h": by hand, against simulation, against SciPy, and with units that are still running."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

import cem
from cem.errors import OptionError
from cem.metrics import binomial_interval, failure_brier_score, failure_reliability
from cem.panel.frames.out import BACKENDS


def fleet(n: int, seed: int, sharper: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Remaining lives, true probabilities to fail within 30, and claimed ones whose log odds are `sharper` times those.

    Lives are exponential, so the probability of a unit is 1 − exp(−30 / its mean).
    """
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(3.5, 1.0, n)
    true = -np.expm1(-30.0 / mean)
    claimed = 1.0 / (1.0 + (1.0 / true - 1.0) ** sharper)
    return rng.exponential(mean), true, claimed


def test_scores_by_hand() -> None:
    """A unit that fails exactly at h has failed within h; one time or several, one score each."""
    truth = [10.0, 30.0, 50.0, np.inf]
    np.testing.assert_allclose(failure_brier_score(truth, [0.9, 0.6, 0.3, 0.0], 30.0), [0.01, 0.16, 0.09, 0.0])
    two = failure_brier_score(truth, np.tile([0.5, 0.2], (4, 1)), [5.0, 60.0])
    np.testing.assert_allclose(two, [[0.25, 0.64], [0.25, 0.64], [0.25, 0.64], [0.25, 0.04]])


def test_running_units_are_weighted_by_hand() -> None:
    """Four units, one lost at 20: the two that were seen longer stand for it, and the mean is still of all four."""
    truth, running = [10.0, 20.0, 40.0, 50.0], [False, True, False, True]
    weights = np.array([1.0, 0.0, 1.5, 1.5])  # at 20 three units were left, and one of them was lost
    scores = failure_brier_score(truth, np.full(4, 0.2), 30.0, running=running)
    np.testing.assert_allclose(scores, weights * [0.64, 0.0, 0.04, 0.04])
    found = failure_reliability(truth, np.full(4, 0.2), 30.0, running=running)
    assert found.n_unknown == 1 and found.base_rate == pytest.approx(0.25)
    assert found.brier_score == pytest.approx(scores.mean())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31))
def test_weights_are_kaplan_meier(seed: int) -> None:
    """The base rate is 1 − S(h) of the product-limit estimate, written out, with ties of failures and losses."""
    rng = np.random.default_rng(seed)
    lives = rng.integers(1, 12, 25).astype(float)
    running = rng.random(25) < 0.4
    lives[0], running[0], h = 12.0, False, 8.0
    survival = 1.0
    for time in np.unique(lives[~running & (lives <= h)]):
        survival *= 1.0 - np.sum((lives == time) & ~running) / np.sum(lives >= time)
    found = failure_reliability(lives, rng.random(25), h, running=running)
    assert found.base_rate == pytest.approx(1.0 - survival, abs=1e-12)
    total = failure_brier_score(lives, np.zeros(25), h, running=running).sum()
    assert total == pytest.approx(25 * (1.0 - survival), abs=1e-10)


def test_units_lost_early_do_not_move_the_score() -> None:
    """Leaving out units that ran for less than h made failures of 37 % look like 50 %; weighted, the figures stay."""
    lives, true, _ = fleet(60_000, 0)
    seen = np.random.default_rng(1).uniform(5.0, 60.0, len(lives))
    running, observed = lives > seen, np.minimum(lives, seen)
    whole = failure_reliability(lives, true, 30.0)
    cut = failure_reliability(observed, true, 30.0, running=running)
    assert cut.n_unknown > 10_000
    assert cut.base_rate == pytest.approx(whole.base_rate, abs=0.01)
    assert cut.brier_score == pytest.approx(whole.brier_score, abs=0.005)
    assert cut.slope == pytest.approx(1.0, abs=0.05) and cut.intercept == pytest.approx(0.0, abs=0.05)
    known = ~(running & (observed < 30.0))
    assert np.mean(observed[known] <= 30.0) > whole.base_rate + 0.05


def test_true_probabilities_are_reliable_and_sharpened_ones_are_not() -> None:
    """Log odds twice too large have a slope of one half; the bins show it, and the score is worse."""
    lives, true, sharp = fleet(40_000, 2, sharper=2.0)
    good, bad = failure_reliability(lives, true, 30.0), failure_reliability(lives, sharp, 30.0)
    assert good.slope == pytest.approx(1.0, abs=0.04) and good.intercept == pytest.approx(0.0, abs=0.04)
    assert bad.slope == pytest.approx(0.5, abs=0.02)
    assert good.counts.tolist() == [4000] * 10
    assert np.mean((good.lower <= good.claimed) & (good.claimed <= good.upper)) >= 0.8
    assert np.mean((bad.lower <= bad.claimed) & (bad.claimed <= bad.upper)) <= 0.3
    assert good.brier_score < bad.brier_score and good.skill > bad.skill > 0
    assert good.lower[3] == pytest.approx(binomial_interval(round(good.observed[3] * 4000), 4000)[0])


def test_slope_and_intercept_are_the_maximum_of_the_likelihood() -> None:
    """Newton's method against SciPy's minimiser of the same likelihood, with weights."""
    lives, _, claimed = fleet(300, 3, sharper=0.6)
    running = np.random.default_rng(4).random(300) < 0.2
    found = failure_reliability(lives, claimed, 30.0, running=running)
    scores = failure_brier_score(lives, np.full(300, 0.5), 30.0, running=running)
    weights, failed, x = 4.0 * scores, lives <= 30.0, np.log(claimed / (1.0 - claimed))

    def loss(point: np.ndarray) -> float:
        eta = point[0] * x + point[1]
        return float(weights @ (np.logaddexp(0.0, eta) - failed * eta))

    best = optimize.minimize(loss, [1.0, 0.0], tol=1e-12).x
    np.testing.assert_allclose([found.slope, found.intercept], best, atol=1e-4)


def test_probabilities_of_0_and_1_and_outcomes_of_one_kind() -> None:
    """No logit is infinite, no step divides by zero, and what cannot be known is NaN."""
    sure = failure_reliability([1.0, 2.0, 90.0], [1.0, 0.9, 0.0], 30.0)
    assert sure.slope == np.inf and np.isnan(sure.intercept)
    wrong = failure_reliability([1.0, 2.0, 90.0], [0.0, 0.1, 1.0], 30.0)
    assert wrong.slope == -np.inf and wrong.skill < 0
    mixed = failure_reliability([1.0, 90.0, 2.0, 80.0], [1.0, 1.0, 0.0, 0.0], 30.0)
    assert mixed.slope == pytest.approx(0.0, abs=1e-9) and mixed.intercept == pytest.approx(0.0, abs=1e-9)
    for truth, p in (([50.0, 60.0], [0.1, 0.3]), ([1.0, 60.0], [0.2, 0.2])):
        found = failure_reliability(truth, p, 30.0)
        assert np.isnan(found.slope) and np.isnan(found.intercept)
    assert np.isnan(failure_reliability([50.0, 60.0], [0.1, 0.3], 30.0).skill)


def test_equal_probabilities_stay_in_one_bin() -> None:
    """Half of a fleet at probability 0 is one bin, not five whose shares differ by chance."""
    p = np.concatenate([np.zeros(50), np.linspace(0.1, 0.9, 50)])
    found = failure_reliability(np.full(100, 99.0), p, 30.0)
    assert found.counts[0] == 50 and found.counts.sum() == 100 and len(found.counts) == 6
    assert (np.diff(found.claimed) > 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_report_prints_and_leaves_as_a_frame(backend: str) -> None:
    """One row a bin, in a terminal, a notebook and any library of frames."""
    lives, true, _ = fleet(400, 5)
    found = failure_reliability(lives, true, 30.0, n_bins=4, level=0.9)
    text = str(found)
    assert "failure within 30: 400 predictions" in text and "slope" in text and len(text.splitlines()) == 8
    assert len(repr(found)) < 200 and "claimed" in found._repr_html_()
    assert str(pickle.loads(pickle.dumps(found))) == text
    pytest.importorskip(backend)
    frame = found.to_frame(backend)
    names = list(frame.column_names if backend == "pyarrow" else frame.columns)
    assert names == ["n", "claimed", "observed", "lower_90", "upper_90"] and len(frame) == 4


def test_probabilities_of_a_law_go_straight_in() -> None:
    """What a planner does: ask a law, wait, compare."""
    law = cem.RemainingLifeDistribution([10.0, 20.0, 30.0], np.full((5, 3, 1), 1 / 3))
    truth = np.array([5.0, 12.0, 18.0, 24.0, 33.0])
    assert failure_brier_score(truth, law.failure_probability([10.0, 20.0]), [10.0, 20.0]).shape == (5, 2)
    assert failure_reliability(truth, law.failure_probability(20.0), 20.0).base_rate == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: failure_brier_score([1.0], [1.5], 3.0), "numbers from 0 to 1"),
        (lambda: failure_brier_score([1.0], [np.nan], 3.0), "probability is nan"),
        (lambda: failure_brier_score([-1.0], [0.5], 3.0), "truth is -1.0 at index 0"),
        (lambda: failure_brier_score([np.nan], [0.5], 3.0), "truth is nan at index 0"),
        (lambda: failure_brier_score([], [], 3.0), "at least one unit"),
        (lambda: failure_brier_score([1.0], [0.5, 0.5], 3.0), r"a row for each of the 1 units"),
        (lambda: failure_brier_score([1.0], [[0.5, 0.5]], 3.0), r"\(1,\) was expected"),
        (lambda: failure_brier_score([1.0], [0.5], [3.0]), r"\(1, 1\) was expected"),
        (lambda: failure_brier_score([1.0], [0.5], 3.0, running=[1]), "True or False"),
        (lambda: failure_brier_score([1.0, 2.0], [0.5, 0.5], 3.0, running=[True]), r"running has shape \(1,\)"),
        (lambda: failure_brier_score([1.0, 2.0], [0.5, 0.5], 3.0, running=[False, True]), "h of at most 2"),
        (lambda: failure_reliability([1.0], [0.5], 3.0, n_bins=0), "n_bins is 0"),
        (lambda: failure_reliability([1.0], [0.5], 3.0, level=1.0), "level is 1.0"),
        (lambda: failure_reliability([1.0], [0.5], np.inf), "h is inf"),
        (lambda: failure_brier_score(["a"], [0.5], 3.0), "truth is .*'a'.*; numbers were expected"),
        (lambda: failure_brier_score([1.0], ["x"], 3.0), "probability is "),
        (lambda: failure_reliability([1.0], [0.5], "x"), "h is 'x'"),
        (lambda: failure_reliability([1.0], [0.5], 3.0, n_bins="x"), "n_bins is 'x'"),
    ],
)
def test_what_is_wrong_is_said(call, message: str) -> None:
    """A probability of 1.5 must not come out as a score."""
    with pytest.raises(OptionError, match=message):
        call()


def test_times_are_from_now_on() -> None:
    """A negative time scored every unit as running, and a reliability of several times is none."""
    for score in (failure_brier_score, failure_reliability):
        with pytest.raises(OptionError, match="h is -1"):
            score([1.0, 2.0], [0.1, 0.2], -1.0)
    with pytest.raises(OptionError, match="one number"):
        failure_reliability([1.0, 2.0], [0.1, 0.2], [1.0])


def test_outcomes_that_are_separated_are_said_so_in_words() -> None:
    """ "Slope inf, intercept nan" reads like a fault of the program."""
    for truth, claimed, said in (
        ([1.0, 2.0, 90.0], [1.0, 0.9, 0.0], "all failures had higher"),
        ([1.0, 2.0, 90.0], [0.0, 0.1, 1.0], "all failures had lower"),
        ([50.0, 60.0], [0.1, 0.3], "all outcomes, or all probabilities, are alike"),
    ):
        text = str(failure_reliability(truth, claimed, 30.0))
        assert said in text and "intercept" not in text
