"""The QQ picture: its band holds true models as often as it says, and not a wrong one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, norm

import cem
from cem.plot import QuantileResidualDisplay
from cem.plot.quantiles import _band, _ranks


def test_points_are_the_residuals_of_the_model(model, fleet):
    display = QuantileResidualDisplay.from_model(model, fleet, "flow")
    found = model.residuals(fleet, "quantile").standardised[:, model.channel_index("flow")]
    np.testing.assert_array_equal(display.residuals, np.sort(found[np.isfinite(found)]))
    assert np.isin(display.observed, display.residuals).all() and display.inside
    assert "inside the band" in display.ax_.get_title()


def test_a_true_model_is_inside_the_band_as_often_as_it_says():
    """200 samples of a normal law of 500: a band of 95 % that holds 80 % would cry wolf."""
    ranks = _ranks(500)
    lower, upper = _band(500, ranks, 0.9)
    draws = np.sort(np.random.default_rng(1).normal(size=(400, 500)), axis=1)[:, ranks - 1]
    held = np.mean(((draws >= lower) & (draws <= upper)).all(axis=1))
    assert held == pytest.approx(0.9, abs=0.045)
    one, _ = _band(1, np.array([1]), 0.9)  # a single reading: its own quantile
    assert one[0] == pytest.approx(norm.ppf(beta.ppf(0.05, 1, 1)), abs=0.1)


def test_a_wrong_model_is_outside(model):
    """Readings with twice the noise, which no picture of curves shows."""
    drawn = model.sample(60, np.linspace(0, 200, 8), random_state=1)
    values = drawn.values.copy()
    c = drawn.channel_index("flow")
    noise = np.sqrt(model.noise_variances_[:, c].max())
    values[:, c] += np.random.default_rng(0).normal(0, 2 * noise, len(values))
    wrong = QuantileResidualDisplay.from_model(model, drawn._replace(values=values), "flow")
    assert not wrong.inside and "outside the band" in wrong.ax_.get_title()


def test_the_verdict_is_inside_the_picture(model, fleet):
    """Of a large fleet the title would end at "outside the ban", and the share would be guessed."""
    display = QuantileResidualDisplay.from_model(model, fleet)
    n = 1_234_567
    residuals = np.resize(display.residuals, n)
    observed = display.observed + 9.0
    wide = QuantileResidualDisplay(
        None, residuals, display.quantiles, observed, display.lower, display.upper, display.level
    ).plot()
    wide.figure_.canvas.draw()
    title = wide.ax_.title.get_window_extent()
    assert title.x0 >= 0 and title.x1 <= wide.figure_.bbox.x1


def test_a_channel_without_readings_is_refused(model, fleet):
    without = fleet.select_channels([name for name in fleet.channels if name != "flow"])
    with pytest.raises(cem.PanelError, match="no reading of channel 'flow'"):
        QuantileResidualDisplay.from_model(model, without, "flow")
    with pytest.raises(cem.OptionError, match="level is 95"):
        QuantileResidualDisplay.from_model(model, fleet, level=95)
