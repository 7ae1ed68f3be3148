"""Trajectories: the numbers behind the picture, the colours of modes, and refusals by name."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.plot import TrajectoryDisplay, mode_colour
from cem.plot.histories import MOST_LINES, MOST_READINGS, density


def test_curves_and_spreads_are_those_of_the_model(model, fleet):
    """A user reads a mode's curve and the spread of units off the picture."""
    display = TrajectoryDisplay.from_model(model, fleet, channel="vibration", level=0.9)
    c = model.channel_index("vibration")
    for k in range(model.n_modes):
        np.testing.assert_allclose(display.curves[k, 0], model.curves(display.curve_times[k])[k, c])
        mean, covariance = model.parameters(k, c).mean, model.parameters(k, c).covariance
        phi = model.bases[c](display.curve_times[k][:1])[0]
        np.testing.assert_allclose(display.curves[k, 0, 0], phi @ mean)
        np.testing.assert_allclose(display.spreads[k, 0, 0], 1.6448536269514722 * np.sqrt(phi @ covariance @ phi))


def test_a_band_holds_its_share_of_unit_curves(model):
    """90 % means 90 %: of the curves of units drawn from the model."""
    rng = np.random.default_rng(5)
    display = TrajectoryDisplay.from_model(model, channel="vibration", level=0.9)
    part = model.parameters(0, "vibration")
    drawn = rng.multivariate_normal(part.mean, part.covariance, 4000)
    c = model.channel_index("vibration")
    curves = drawn @ model.bases[c](display.curve_times[0]).T
    inside = np.abs(curves - display.curves[0, 0]) <= display.spreads[0, 0]
    assert np.abs(inside.mean(axis=0) - 0.9).max() < 0.02


def test_a_mode_has_one_colour_in_lines_and_bands(model, fleet):
    display = TrajectoryDisplay.from_model(model, fleet, channel="vibration")
    assert [line.get_color() for line in display.lines_[0]] == [mode_colour(k) for k in range(3)]
    assert [line.get_linestyle() for line in display.lines_[0]] == ["-"] * 3


def test_modes_beyond_the_colours_differ_by_their_lines():
    from cem.plot.style import PALETTE, mode_style

    pairs = {(mode_colour(k), mode_style(k)) for k in range(4 * len(PALETTE))}
    assert len(pairs) == 4 * len(PALETTE)


def test_axes_carry_units_of_measurement(model, fleet):
    display = TrajectoryDisplay.from_model(model, fleet, channel="vibration")
    assert display.ax_.get_xlabel() == "time [d]"
    assert display.ax_.get_ylabel() == "vibration [mm/s]"


def test_units_are_drawn_in_the_mode_that_scoring_gives_them(model, fleet):
    display = TrajectoryDisplay.from_model(model, fleet, channel="vibration")
    np.testing.assert_array_equal(display.modes, model.predict_proba(fleet).argmax(axis=1))


def test_short_methods_draw_the_same(model, fleet):
    by_panel = fleet.plot("vibration")
    assert by_panel.channels == ("vibration",) and by_panel.curves is None
    by_model = model.plot(fleet, "vibration")
    np.testing.assert_array_equal(
        by_model.curves, TrajectoryDisplay.from_model(model, fleet, channel="vibration").curves
    )
    assert len(model.plot().axes_) == model.n_channels


def test_given_axes_are_drawn_on(model):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    display = TrajectoryDisplay.from_model(model, channel="vibration", ax=ax)
    assert display.ax_ is ax and display.figure_ is ax.figure and ax.get_legend() is not None


def test_many_units_become_a_density(model):
    """Ten thousand lines would be one blot and take long."""
    many = model.sample(MOST_LINES + 1, np.linspace(0, 200, 6), random_state=0)
    display = TrajectoryDisplay.from_panel(many, channel="vibration")
    assert len(display.ax_.images) == 1 and not display.ax_.collections
    few = TrajectoryDisplay.from_panel(many[:MOST_LINES], channel="vibration")
    assert not few.ax_.images and len(few.ax_.collections) == 1


def test_each_unit_counts_once_in_each_column_of_a_density():
    times = np.array([0.0, 10.0, 0.0, 10.0, 5.0])
    values = np.array([0.0, 1.0, 1.0, 1.0, 0.5])
    counts = density(times, values, np.array([0, 2, 4, 5]), (0.0, 10.0), (0.0, 1.0), (4, 10))
    np.testing.assert_array_equal(counts.sum(axis=0), [2, 2, 2, 2, 3, 2, 2, 2, 2, 2])
    np.testing.assert_array_equal(counts[3], [1, 1, 1, 1, 1, 1, 1, 2, 2, 2])


def test_a_density_joins_readings_over_a_missing_one():
    times, values = np.arange(3.0), np.array([0.0, np.nan, 1.0])
    counts = density(times, values, np.array([0, 3]), (0.0, 2.0), (0.0, 1.0), (2, 4))
    np.testing.assert_array_equal(counts, [[1, 1, 0, 0], [0, 0, 1, 1]])


def test_an_absent_channel_is_refused_by_name(model, fleet):
    with pytest.raises(cem.PanelError, match="no channel 'vibratoin'; did you mean 'vibration'"):
        fleet.plot("vibratoin")
    with pytest.raises(cem.PredictionError, match="no channel 'vibratoin'; did you mean 'vibration'"):
        model.plot(fleet, channel="vibratoin")


def test_a_panel_without_the_channel_of_the_model_is_refused(model, fleet):
    others = fleet.select_channels([name for name in fleet.channels if name != "vibration"])
    with pytest.raises(cem.PanelError, match="no reading of channel 'vibration'"):
        model.plot(others, channel="vibration")
    with pytest.raises(cem.PanelError, match="none of the model's channels"):
        model.plot(cem.Panel.from_arrays([[0, 1]], [[1.0, 2.0]], channels=["other"]))


@pytest.mark.parametrize("ax", ["here", [1, 2]])
def test_what_is_no_axes_is_refused(fleet, ax):
    with pytest.raises(cem.OptionError, match="ax is"):
        fleet.plot("vibration", ax=ax)


def test_a_name_with_dollars_is_no_formula(fleet):
    """``$x_$`` would be read as mathematics, and fail when the figure is drawn."""
    odd = cem.Panel.from_arrays([[0, 1]], [[1.0, 2.0]], channels=["$\\frac$"], channel_units={"$\\frac$": "$"})
    odd.with_modes(["$_{"]).plot().figure_.canvas.draw()


def test_under_conditions_readings_are_shown_at_the_reference():
    """Curves and readings would not lie together otherwise."""
    rng = np.random.default_rng(3)
    times = np.tile(np.arange(10.0), (30, 1))
    load = rng.normal(50, 10, times.shape)
    values = 1 + 0.1 * times + 0.2 * load + rng.normal(0, 0.1, times.shape)
    panel = cem.Panel.from_arrays(times, values, channels=["x"], covariates={"load": load})
    model = cem.FailureModeEM(1, covariates={"x": ["load"]}, random_state=0, n_init=1).fit(panel).model_
    display = TrajectoryDisplay.from_model(model, panel)
    curve = np.interp(display.times, display.curve_times[0], display.curves[0, 0])
    assert np.std(display.values[:, 0] - curve) < 0.2 and np.std(panel.values[:, 0] - curve) > 1
    assert display.at_reference


def test_labels_have_the_colours_of_the_model_that_knows_them(fleet):
    """A subset of units may lack a label, and the others would change their colours."""
    some = fleet[:4].with_modes(["seal", None, "seal", "seal"])
    assert TrajectoryDisplay.from_panel(some, channel="flow").modes.tolist() == [0, -1, 0, 0]
    display = TrajectoryDisplay.from_panel(some, channel="flow", mode_labels=("bearing", "seal"))
    assert display.modes.tolist() == [1, -1, 1, 1]
    with pytest.raises(cem.PanelError, match="mode_labels lacks the label 'seal'"):
        TrajectoryDisplay.from_panel(some, mode_labels=("bearing",))


def test_a_channel_without_any_reading_is_an_empty_picture(fleet):
    empty = cem.Panel.from_arrays(
        [[0, 1]], np.array([[[1.0, np.nan], [2.0, np.nan]]]), channels=["a", "b"], allow_empty_channels=True,
        axes=("unit", "time", "channel"),
    )  # fmt: skip
    assert len(empty.plot().axes_) == 2


def test_arrays_are_read_as_for_predictions():
    rng = np.random.default_rng(0)
    readings = rng.normal(0, 1, (30, 1)) + rng.normal(0, 0.2, (30, 6))
    model = cem.FailureModeEM(1, basis=cem.Constant(), random_state=0, n_init=1).fit(readings).model_
    display = model.plot(readings)
    np.testing.assert_array_equal(display.values.reshape(30, 6), readings)


def test_many_readings_of_a_few_units_become_a_density(model):
    """A hundred noisy histories of 200 readings would cover the curves of their modes."""
    few = model.sample(20, np.linspace(0, 200, MOST_READINGS // 20 + 1), random_state=0)
    display = TrajectoryDisplay.from_panel(few, channel="vibration")
    assert len(display.ax_.images) == 1 and not display.ax_.collections


def test_readings_closer_than_the_columns_are_not_mixed():
    """A sensor that jumps between two regimes has no reading between them, and the density shows none."""
    times = np.linspace(0.0, 10.0, 1001)
    values = np.where(np.arange(1001) % 2, 1.0, 0.0)
    counts = density(times, values, np.array([0, 1001]), (0.0, 10.0), (0.0, 1.0), (5, 50))
    assert not counts[1:-1].any() and counts.sum() == 50


def test_a_single_unit_is_seen_beside_a_crowd(model):
    """A coarsely rounded sensor puts hundreds of units into one cell; one that differs must not vanish."""
    many = model.sample(MOST_LINES + 1, np.linspace(0, 200, 6), random_state=0)
    image = np.asarray(TrajectoryDisplay.from_model(model, many, channel="vibration").ax_.images[0].get_array())
    alpha = image[..., 3]
    assert alpha.min() == 0 and alpha[alpha > 0].min() >= 0.15 and alpha.max() <= 1


def test_a_unit_of_one_reading_leaves_the_curves_in_sight(model, fleet):
    """The first reading of a new unit has no span of its own that could set the limits."""
    one = fleet[:1].until(float(fleet.times[0]))
    display = TrajectoryDisplay.from_model(model, one, channel="vibration")
    low, high = display.ax_.get_ylim()
    assert (display.curve_times[:, -1] > display.curve_times[:, 0]).all()
    assert low <= display.curves.min() and display.curves.max() <= high
