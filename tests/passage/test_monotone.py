"""monotone=True: curves that only move towards the threshold; against draws of the truncated posterior."""

from __future__ import annotations

import numpy as np
import pytest
from wandering_fleets import wandering_fleet

import cem
from cem.basis.families import Constant, Polynomial
from cem.errors import PredictionError
from cem.passage.first_passage import first_passage
from cem.process.channel_process import ChannelProcess

LINE, QUADRATIC = Polynomial(1).bind([0.0, 100.0]), Polynomial(2).bind([0.0, 100.0])
RHO = np.array([[0.3, 0.7]])
# Two modes: one rises surely, the other falls as often as it rises.
_OF_LINE = np.linalg.inv(np.stack([LINE(np.zeros(1))[0], LINE.derivative(np.zeros(1))[0]]))  # from value and slope at 0
MEANS = np.array([[[10.0, 0.5], [12.0, 0.0]]]) @ _OF_LINE.T
COVARIANCES = _OF_LINE @ np.array([[[[4.0, -0.02], [-0.02, 0.01]], [[4.0, 0.05], [0.05, 0.04]]]]) @ _OF_LINE.T


def test_a_line_that_rises_is_the_truncated_posterior() -> None:
    """Exact probabilities against a million draws with the falling ones left out; modes too."""
    law = first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0, monotone=True)
    rng = np.random.default_rng(0)
    mode = rng.random(400_000) < 0.7
    draws = np.where(
        mode[:, None],
        rng.multivariate_normal(MEANS[0, 1], COVARIANCES[0, 1], len(mode)),
        rng.multivariate_normal(MEANS[0, 0], COVARIANCES[0, 0], len(mode)),
    )
    # Coefficients are of φ; value at t and slope come from the basis.
    values, slope = draws @ LINE(np.array([0.0, 40.0])).T, draws @ LINE.derivative(np.array([0.0]))[0]
    alive = (slope > 0) & (values[:, 1] < 50.0)
    lives = (50.0 - values[alive, 1]) / slope[alive]
    times = np.array([5.0, 30.0, 100.0, 1000.0])
    np.testing.assert_allclose(law.cdf(times)[0], [(lives <= t).mean() for t in times], atol=4e-3)
    assert law.mode_probabilities[0, 1] == pytest.approx(mode[alive].mean(), abs=4e-3)
    assert law.probability_crossed[0] == pytest.approx(1.0 - alive.sum() / (slope > 0).sum(), abs=4e-3)
    fine = np.linspace(0.0, 300.0, 6001)
    area = np.trapezoid(law.pdf(fine)[0], fine)
    assert area == pytest.approx(law.cdf(300.0)[0, 0], abs=1e-4)


def test_nothing_is_told_to_last_for_ever() -> None:
    """Half of this unit's lines fall; given that wear does not heal, it crosses with certainty."""
    ordinary = first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0)
    rising = first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0, monotone=True)
    assert ordinary.probability_never[0] > 0.2 and rising.probability_never[0] == 0.0
    assert np.isfinite(rising.quantile(0.99)[0]) and not np.isfinite(ordinary.quantile(0.95)[0])


def test_down_is_up_mirrored() -> None:
    up = first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0, monotone=True)
    down = first_passage(LINE, RHO, -MEANS, COVARIANCES, 0.0, 40.0, -50.0, direction="lower", monotone=True)
    np.testing.assert_array_equal(up.cdf([5.0, 50.0]), down.cdf([5.0, 50.0]))


def test_draws_of_a_curve_that_turns_back_are_left_out() -> None:
    """By simulation: the quadratic that is a line agrees with the exact law, and one that bends obeys by hand."""
    means, covariances = np.zeros((1, 2, 3)), np.zeros((1, 2, 3, 3))
    means[..., :2], covariances[..., :2, :2] = MEANS, COVARIANCES
    exact = first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0, monotone=True)
    drawn = first_passage(
        QUADRATIC, RHO, means, covariances, 0.0, 40.0, 50.0, monotone=True, n_draws=8192, horizon=500.0
    )
    np.testing.assert_allclose(drawn.cdf([5.0, 50.0, 300.0]), exact.cdf([5.0, 50.0, 300.0]), atol=0.01)
    np.testing.assert_allclose(drawn.mode_probabilities, exact.mode_probabilities, atol=0.01)
    covariances[..., 2, 2] = 4.0
    bent = first_passage(QUADRATIC, RHO, means, covariances, 0.0, 40.0, 50.0, monotone=True, horizon=60.0)
    free = first_passage(QUADRATIC, RHO, means, covariances, 0.0, 40.0, 50.0, horizon=60.0)
    assert 0.0 <= bent.probability_never[0] < free.probability_never[0]
    assert bent.mode_probabilities.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("basis", [LINE, Constant().bind([0.0, 100.0])])
def test_a_unit_whose_curve_cannot_rise_is_named(basis) -> None:
    means, covariances = -100.0 * np.ones((1, 1, basis.size)), 1e-6 * np.eye(basis.size)[None, None]
    with pytest.raises(PredictionError, match=r"unit 'pump 3'.*monotone=True"):
        first_passage(basis, [[1.0]], means, covariances, 0.0, 1.0, 50.0, monotone=True, units=["pump 3"])


def test_it_says_so_too_where_too_few_draws_rise() -> None:
    means, covariances = np.array([[[0.0, -1.0, 0.0]]]), np.diag([1.0, 0.1, 0.001])[None, None]
    with pytest.raises(PredictionError, match="n_draws"):
        first_passage(QUADRATIC, [[1.0]], means, covariances, 0.0, 1.0, 50.0, monotone=True)


def test_a_unit_that_wanders_may_fall_and_its_curve_may_not() -> None:
    """Curves of the law rise; that wander falls now and then is no matter."""
    panel = wandering_fleet(ChannelProcess("wiener", 0.5), 20)
    model = cem.FailureModeEM(1, basis=Polynomial(1), process="wiener", random_state=0, n_init=1).fit(panel).model_
    channel = model.channels[0]
    far = float(np.nanmax(panel.values)) + 20.0
    asked = {"channel": channel, "direction": "upper", "n_draws": 512, "horizon": 500.0}
    free = model.remaining_life(panel[:4], far, **asked)
    rising = model.remaining_life(panel[:4], far, **asked, monotone=True)
    assert np.all(rising.probability_never <= free.probability_never + 1e-12)
    assert np.all(rising.cdf(200.0) >= free.cdf(200.0) - 0.05)


def test_laws_that_do_not_ask_for_it_have_the_same_bits() -> None:
    same = first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0, monotone=False)
    np.testing.assert_array_equal(
        same.cdf([5.0, 90.0]), first_passage(LINE, RHO, MEANS, COVARIANCES, 0.0, 40.0, 50.0).cdf([5.0, 90.0])
    )
    np.testing.assert_allclose(same.mode_probabilities.sum(), 1.0)
