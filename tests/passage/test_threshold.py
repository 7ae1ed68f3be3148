"""Remaining life to a threshold, on fitted models: against the truth of simulated units, and what may go wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from model_cases import example_model

import cem
from cem.basis.families import Polynomial
from cem.errors import OptionError, PredictionError, ThresholdWarning
from cem.panel.panel import Panel
from cem.passage.first_passage import first_passage


def lines(n_units: int, seed: int, until: float) -> tuple[Panel, np.ndarray]:
    """Straight lines from about 0 with slopes of about 0.5 (mode 0) and 1 (mode 1), and when each reaches 100."""
    rng = np.random.default_rng(seed)
    slope = np.where(np.arange(n_units) % 2, 1.0, 0.5) * rng.lognormal(0.0, 0.1, n_units)
    level = rng.normal(0.0, 2.0, n_units)
    t = np.arange(0.0, until, 5.0)
    values = level[:, None] + slope[:, None] * t + rng.normal(0.0, 1.0, (n_units, len(t)))
    panel = Panel.from_arrays(t, values[:, :, None], channels=["wear"], response="wear")
    return panel, (100.0 - level) / slope


@pytest.fixture(scope="module")
def model() -> cem.FailureModeModel:
    return cem.FailureModeEM(2, basis=Polynomial(1), random_state=0, n_init=4).fit(lines(60, 0, 100.0)[0]).model_


def test_lives_of_simulated_units_lie_where_the_law_says(model) -> None:
    """Units seen for 40 of their 100 to 200 hours: medians near the truth, 80 % intervals that hold about 80 %."""
    panel, crossing = lines(100, 1, 40.0)
    law = model.remaining_life(panel, 100.0)
    left = crossing - 35.0
    assert law.exact and law.units == panel.units
    low, high = law.interval(0.8)
    assert 0.7 < np.mean((low <= left) & (left <= high)) < 0.9
    assert np.median(np.abs(law.quantile(0.5) - left) / left) < 0.1
    assert (law.probability_crossed < 1e-6).all()


def test_it_is_first_passage_of_the_posterior(model) -> None:
    """The glue adds nothing: same law as by hand from the posterior; thresholds by mode by label."""
    panel, _ = lines(6, 2, 40.0)
    posterior = model.posterior(panel)
    first, second = model.mode_labels
    law = model.remaining_life(panel, {first: 90.0, second: 110.0}, channel="wear")
    by_hand = first_passage(
        model.bases[0], posterior.mode_probabilities, posterior.means[:, :, 0], posterior.covariances[:, :, 0],
        0.0, 35.0, [90.0, 110.0],
    )  # fmt: skip
    np.testing.assert_array_equal(law.cdf([10.0, 60.0, 200.0]), by_hand.cdf([10.0, 60.0, 200.0]))
    np.testing.assert_array_equal(model.remaining_life(panel, [90.0, 110.0]).cdf([60.0]), by_hand.cdf([60.0]))


def test_crossed_already_and_never_reached(model) -> None:
    """A threshold below every reading has been crossed; one on the far side of a rising line is never reached."""
    panel, _ = lines(6, 2, 40.0)
    crossed = model.remaining_life(panel, -50.0)
    assert (crossed.probability_crossed > 0.999).all() and (crossed.quantile(0.5) == 0).all()
    never = model.remaining_life(panel, -50.0, direction="lower")
    assert (never.probability_never > 0.99).all() and np.isinf(never.quantile(0.5)).all()


def test_a_single_reading_has_a_law(model) -> None:
    """The population speaks where the unit has said little."""
    law = model.remaining_life(Panel.from_arrays([[10.0]], [[[7.0]]], channels=["wear"]), 100.0)
    assert 60 < law.quantile(0.5)[0] < 220


def test_curved_bases_are_simulated_with_an_error(model) -> None:
    """A model of quadratics, channels without readings: a law with a standard error."""
    example = example_model()
    panel = example.sample(3, np.linspace(0, 5, 6), random_state=0).select_channels(["b", "y"])
    law = example.remaining_life(panel, 1e5, channel="a", n_draws=256)
    assert not law.exact and law.horizon == pytest.approx(10.0)
    assert law.standard_error([3.0]).shape == (3, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threshold": 100.0, "channel": "heat"}, PredictionError, "no channel 'heat'"),
        ({"threshold": np.nan}, OptionError, "finite"),
        ({"threshold": "high"}, OptionError, "numbers were expected"),
        ({"threshold": {0: 1.0}}, OptionError, "lacks 1"),
        ({"threshold": {0: 1.0, 1: 1.0, 2: 1.0}}, OptionError, "names 2"),
        ({"threshold": 100.0, "direction": "up"}, OptionError, "'up'"),
    ],
)
def test_what_is_wrong_is_said(model, arguments, error, message: str) -> None:
    """No law is better than one of the wrong channel."""
    with pytest.raises(error, match=message):
        model.remaining_life(lines(2, 2, 40.0)[0], **arguments)


def test_models_without_a_response_or_of_the_other_axis() -> None:
    """The message says which channel to name, and where alignment at failure is."""
    with pytest.raises(PredictionError, match="no response"):
        silent = example_model(response=None)
        silent.remaining_life(silent.sample(1, [1.0, 2.0], random_state=0), 5.0)
    with pytest.raises(OptionError, match="RemainingLife"):
        example_model(time_axis="to_failure").remaining_life(lines(2, 2, 40.0)[0], 5.0)


def batteries(n_units: int = 40) -> Panel:
    """Capacities that fall from about 100 by 8 (mode 0) or 20 (mode 1) in 20 hours."""
    rng = np.random.default_rng(0)
    t = np.arange(20.0)
    fall = np.where(np.arange(n_units) % 2, 1.0, 0.4)[:, None] + rng.normal(0.0, 0.03, (n_units, 1))
    values = 100.0 + rng.normal(0.0, 1.0, (n_units, 1)) - fall * t + rng.normal(0.0, 0.3, (n_units, len(t)))
    return Panel.from_arrays(t, values[:, :, None], channels=["capacity"], response="capacity")


@pytest.fixture(scope="module")
def battery_model() -> cem.FailureModeModel:
    return cem.FailureModeEM(2, basis=Polynomial(1), random_state=0, n_init=4).fit(batteries()).model_


def test_a_falling_signal_comes_to_its_threshold_from_above(battery_model) -> None:
    """By default every battery counted as having ended at its first reading, without a word."""
    law = battery_model.remaining_life(batteries(), 75.0)
    assert law.direction == "lower" and (law.probability_crossed < 1e-6).all()
    lower = battery_model.remaining_life(batteries(), 75.0, direction="lower")
    np.testing.assert_array_equal(law.quantile(0.5), lower.quantile(0.5))


def test_a_rising_signal_is_asked_as_before(model) -> None:
    """Thresholds ahead of the curves, and one that all of them have passed."""
    panel, _ = lines(6, 2, 40.0)
    for level in (100.0, 20.0, -50.0):
        law = model.remaining_life(panel, level)
        assert law.direction == "upper"
        np.testing.assert_array_equal(law.cdf([9.0]), model.remaining_life(panel, level, direction="upper").cdf([9.0]))


def test_the_direction_does_not_depend_on_the_other_units(battery_model) -> None:
    """A unit that has passed the threshold is reported so, on its own and among others."""
    ended = Panel.from_arrays([[18.0, 19.0]], [[[60.0], [59.0]]], channels=["capacity"])
    law = battery_model.remaining_life(ended, 75.0)
    assert law.direction == "lower" and law.probability_crossed[0] > 0.99


def test_a_direction_against_the_curves_is_answered_with_a_warning(battery_model) -> None:
    """Asked in so many words it is answered; both numbers and the other direction are named."""
    with pytest.warns(ThresholdWarning, match="direction='lower'") as caught:
        law = battery_model.remaining_life(batteries(), 75.0, direction="upper")
    assert len(caught) == 1 and "75" in str(caught[0].message)
    assert (law.probability_crossed > 0.999).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        battery_model.remaining_life(batteries(), 105.0, direction="upper")  # a charge that few may reach
        battery_model.remaining_life(batteries(), 75.0, direction="lower")


def test_modes_that_move_both_ways_from_both_sides_need_a_direction() -> None:
    """One mode begins above the threshold and falls, one below it and rises: neither answer is the right one."""
    rng = np.random.default_rng(0)
    t, mode = np.arange(10.0), np.arange(30)[:, None] % 2
    values = np.where(mode, 10.0 - t, t - 10.0) + rng.normal(0.0, 0.3, (30, 10)) + rng.normal(0.0, 0.3, (30, 1))
    panel = Panel.from_arrays(t, values[:, :, None], channels=["offset"], response="offset")
    both = cem.FailureModeEM(2, basis=Polynomial(1), random_state=0, n_init=4).fit(panel).model_
    with pytest.raises(OptionError, match="give direction='upper' if"):
        both.remaining_life(panel, 0.0)
    assert both.remaining_life(panel, 20.0).direction == "upper"  # above both, and one of them rises
    assert both.remaining_life(panel, 0.0, direction="lower").direction == "lower"


@pytest.mark.parametrize("threshold", [[1.0, 2.0, 3.0], np.zeros((2, 2, 2))])
def test_thresholds_of_a_wrong_shape_are_named(model, threshold) -> None:
    with pytest.raises(OptionError, match="threshold has shape"):
        model.remaining_life(lines(2, 2, 40.0)[0], threshold)


def test_an_underflow_is_zero_for_callers_who_let_numpy_raise(model) -> None:
    """Tail probabilities underflow by design: `numpy.errstate(all="raise")` made an untyped error of them."""
    with np.errstate(all="raise"):
        law = model.remaining_life(lines(4, 2, 40.0)[0], 100.0)
        assert np.isfinite(law.quantile([0.05, 0.5, 0.95])).all() and (law.pdf([0.0, 5.0, 500.0]) >= 0).all()
        assert np.isfinite(law.cdf([0.0, 5.0, 500.0])).all()
