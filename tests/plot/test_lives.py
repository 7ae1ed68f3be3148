"""Remaining lives in pictures: the numbers are those of the laws, and the truth is never used to predict."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.plot import AlphaLambdaDisplay, LawDisplay, ProbabilityDisplay, RemainingLifeDisplay


@pytest.fixture(scope="module")
def prognosis(fleet):
    options = {"covariance": "pooled", "time_axis": "to_failure", "random_state": 0, "n_init": 2}
    return cem.RemainingLife(cem.FailureModeEM(3, **options).fit(fleet[:100]).model_)


@pytest.fixture(scope="module")
def straight():
    """Lines that reach 10; a threshold law of exact kind."""
    rng = np.random.default_rng(2)
    times = np.tile(np.arange(8.0), (40, 1))
    values = rng.normal(1.0, 0.2, (40, 1)) * times + rng.normal(0, 0.05, times.shape)
    panel = cem.Panel.from_arrays(times, values, channels=["wear"], time_unit="h", response="wear")
    return cem.FailureModeEM(1, basis=cem.Polynomial(1), random_state=0, n_init=1).fit(panel).model_, panel


def test_the_fan_is_what_predict_gives_at_each_reading(prognosis, fleet):
    unit = fleet.units[-1]
    one = fleet.select_units([unit])
    display = RemainingLifeDisplay.from_prognosis(prognosis, fleet, unit=unit, levels=(0.5, 0.9))
    assert display.levels == (0.9, 0.5)  # the widest is drawn first, below the others
    for i in (0, 7, len(display.times) - 1):
        law = prognosis.predict(one.until(display.times[i]))
        np.testing.assert_allclose(display.median[i], law.median()[0])
        np.testing.assert_allclose((display.lower[0, i], display.upper[0, i]), np.ravel(law.interval(0.9)))
    np.testing.assert_allclose(display.truth, one.failure_times[0] - display.times)


def test_the_truth_is_not_used_to_predict(prognosis, fleet):
    """A fan that knew the failure would look perfect."""
    one = fleet[fleet.n_units - 1]
    running = one.with_failure_times(None)
    known, unknown = (RemainingLifeDisplay.from_prognosis(prognosis, panel) for panel in (one, running))
    np.testing.assert_array_equal(known.median, unknown.median)
    assert unknown.truth is None and len(unknown.lines_) == 1 and len(known.lines_) == 2


def test_a_fan_to_a_threshold_is_that_of_the_model(straight):
    model, panel = straight
    display = RemainingLifeDisplay.from_threshold(model, panel, 10.0, unit=3)
    law = model.remaining_life(panel[[3]].until(5.0), 10.0)
    i = int(np.flatnonzero(display.times == 5.0)[0])
    np.testing.assert_allclose(display.median[i], law.quantile(0.5)[0])
    assert display.time_unit == "h" and display.ax_.get_ylabel() == "remaining life of unit 3 [h]"


def test_a_life_without_end_is_drawn_to_the_edge():
    """inf in the numbers must not make the picture fail or its axis endless."""
    inf = np.inf
    display = RemainingLifeDisplay(
        "a", np.arange(3.0), np.array([inf, 5.0, 4.0]), (0.9,), np.array([[3.0, 3.0, 2.0]]), np.array([[inf, inf, 9.0]])
    ).plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_ylim()[1] < 20


@pytest.mark.parametrize("unit", [0, 60])
def test_the_density_of_a_law_with_modes_integrates_to_its_probabilities(prognosis, fleet, unit):
    law = prognosis.predict(fleet.until(60.0))[[unit]]
    display = law.plot(truth=50.0)
    edges = np.ravel(law.edges)[: len(display.lives) + 1]
    mass = (display.density * np.diff(edges)[:, None]).sum(axis=0)
    np.testing.assert_allclose(mass, law.mode_probabilities[0], atol=0.01)
    np.testing.assert_allclose(display.median, law.median()[0])
    assert [line.get_label().split()[0] for line in display.lines_] == ["median", "truth"]


def test_the_density_of_a_threshold_law_integrates_to_what_it_crosses(straight):
    model, panel = straight
    law = model.remaining_life(panel.until(3.0), 10.0)
    display = law.plot(5, time_unit="h")
    np.testing.assert_allclose(np.trapezoid(display.density, display.lives), 1 - display.probability_never, atol=0.02)
    np.testing.assert_allclose(display.interval, [ends[5] for ends in law.interval(0.9)])
    assert display.ax_.get_xlabel() == "remaining life of unit 5 [h]"


def test_a_unit_that_has_crossed_says_so(straight):
    model, panel = straight
    display = model.remaining_life(panel, 0.5).plot(0)
    assert display.probability_crossed > 0.99
    assert any("crossed already: 100 %" in text.get_text() for text in display.ax_.texts)


def test_one_of_several_units_has_to_be_named(prognosis, fleet):
    law = prognosis.predict(fleet[:3].until(60.0))
    with pytest.raises(cem.OptionError, match="3 units and the picture is of one; name it"):
        law.plot()
    with pytest.raises(cem.PredictionError, match="no unit 'x'"):
        law.plot("x")
    with pytest.raises(cem.OptionError, match="160 units and the picture is of one"):
        RemainingLifeDisplay.from_prognosis(prognosis, fleet)
    with pytest.raises(cem.PanelError, match=r"did you mean 160, of type int\?"):
        RemainingLifeDisplay.from_prognosis(prognosis, fleet, unit="160")
    with pytest.raises(cem.PanelError, match="no unit 'x'"):
        RemainingLifeDisplay.from_prognosis(prognosis, fleet, unit="x")


@pytest.mark.parametrize("level", [0, 1, 1.5, float("nan"), "wide"])
def test_a_level_is_a_probability(prognosis, fleet, level):
    law = prognosis.predict(fleet[:1].until(60.0))
    with pytest.raises(cem.OptionError, match=r"level is .*; a number between 0 and 1"):
        LawDisplay.from_law(law, level=level)
    with pytest.raises(cem.OptionError, match=r"level is .*; a number between 0 and 1"):
        RemainingLifeDisplay.from_prognosis(prognosis, fleet[:1], levels=(level,))


def test_mode_probabilities_are_those_of_streaming(model, fleet):
    """The picture must show what the scorer says on the machine."""
    one = fleet[fleet.n_units - 1]
    display = ProbabilityDisplay.from_model(model, fleet, unit=one.units[0])
    unit = model.scorer().unit()
    for i, time in enumerate(one.times):
        unit.update(time, one.values[i][[one.channel_index(name) for name in model.channels]])
        np.testing.assert_allclose(display.probabilities[i], unit.mode_probabilities(), atol=1e-9)
    assert display.ax_.get_ylabel() == "mode probability of unit 160"


def test_mode_probabilities_of_a_running_unit_come_from_the_prognosis(prognosis, fleet):
    with pytest.raises(cem.OptionError, match="from_prognosis"):
        ProbabilityDisplay.from_model(prognosis.model, fleet, unit=fleet.units[0])
    display = ProbabilityDisplay.from_prognosis(prognosis, fleet, unit=fleet.units[0])
    np.testing.assert_allclose(display.probabilities.sum(axis=1), 1.0)


def test_a_long_history_is_thinned_to_its_ends(model):
    long = model.sample(1, np.linspace(0, 250, 1000), random_state=0)
    display = ProbabilityDisplay.from_model(model, long)
    assert len(display.times) == 150
    assert (display.times[0], display.times[-1]) == (0.0, 250.0)


def test_alpha_lambda_counts_the_units_in_the_cone(prognosis, fleet):
    held_out = fleet[100:]
    display = AlphaLambdaDisplay.from_prognosis(prognosis, held_out, alpha=0.3, n_moments=4)
    truth = 1 - display.lambdas
    inside = np.abs(display.predicted - truth) <= 0.3 * truth
    known = ~np.isnan(display.predicted)
    np.testing.assert_allclose(
        display.accuracy, [row[seen].mean() for row, seen in zip(inside.T, known.T, strict=True)]
    )
    assert (display.probability > 0).all() and (display.probability <= 1).all()


def test_alpha_lambda_needs_failures(prognosis, fleet):
    with pytest.raises(cem.PanelError, match="none of the 5 units has failed"):
        AlphaLambdaDisplay.from_prognosis(prognosis, fleet[:5].with_failure_times(None))
    with pytest.raises(cem.OptionError, match="alpha is"):
        AlphaLambdaDisplay.from_prognosis(prognosis, fleet, alpha=2)


def test_a_threshold_that_is_never_crossed_is_said(straight):
    """An empty picture with a legend of lines that are not there says nothing."""
    model, panel = straight
    never = RemainingLifeDisplay.from_threshold(model, panel, -50.0, unit=panel.units[0], direction="lower")
    assert np.isinf(never.median).all()
    assert ["not crossed within the horizon" in text.get_text() for text in never.ax_.texts] == [True]
    assert not never.figure_.legends
    crossed = RemainingLifeDisplay.from_threshold(model, panel, 10.0, unit=panel.units[0])
    assert np.isfinite(crossed.median[-1])
    names = [text.get_text() for text in crossed.figure_.legends[0].get_texts()]
    assert names == ["median", "90 % interval", "50 % interval"]


def test_the_failure_of_a_unit_is_not_called_the_truth_about_a_threshold(straight):
    """The unit failed when it failed; that the threshold was crossed then is nowhere known."""
    model, panel = straight
    failed = cem.Panel.from_arrays(
        [panel.times[:8]], [panel.values[:8]], channels=["wear"], time_unit="h", failure_times=[9.0]
    )
    display = RemainingLifeDisplay.from_threshold(model, failed, 10.0)
    assert display.lines_[-1].get_label() == "known failure"


def test_a_law_to_a_threshold_has_the_unit_of_time_of_its_model(straight):
    model, panel = straight
    law = model.remaining_life(panel, 10.0)
    assert law.time_unit == "h" and law.plot(panel.units[0]).ax_.get_xlabel().endswith("[h]")


def test_a_unit_of_one_reading_has_its_intervals_drawn(straight):
    model, panel = straight
    display = RemainingLifeDisplay.from_threshold(model, panel[:1].until(0.0), 10.0)
    first, last = display.ax_.get_xlim()
    assert first < display.times[0] < last
    assert all(one.get_paths()[0].get_extents().width > 0 for one in display.ax_.collections)
