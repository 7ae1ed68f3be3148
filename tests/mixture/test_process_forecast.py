"""Predictions of units that wander, against dense normal laws: a forecast must start where the unit is."""

from __future__ import annotations

import numpy as np
import pytest
from wandering_fleets import WANDERS, DenseUnit, four_channels, model_of


@pytest.fixture(scope="module")
def panel():
    return four_channels()


@pytest.fixture(scope="module")
def model(panel):
    return model_of(panel)


def test_likelihoods_and_probabilities_are_those_of_the_dense_law(model, panel):
    joint = np.array([DenseUnit(model, panel, l).log_joint() for l in range(panel.n_units)])
    expected = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(model.score_samples(panel), expected, rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(panel), np.exp(joint - expected[:, None]), atol=1e-10)


@pytest.mark.parametrize("channel", range(4), ids=["wiener", "integrated", "ou", "none"])
@pytest.mark.parametrize("noise", [True, False])
def test_forecasts_are_those_of_the_dense_law(model, panel, channel, noise):
    """At times after the last reading, between readings, at a reading, and before the first one."""
    own = np.array([panel.times[int(o)] for o in panel.offsets[:-1]])
    ends = np.array([panel.times[int(o) - 1] for o in panel.offsets[1:]])
    asked = np.stack(
        [own - 1.3, own, own + 0.37 * (ends - own), own + 0.9 * (ends - own), ends, ends + 0.2, ends + 15.0], axis=1
    )
    found = model.forecast(panel, asked, channel, noise=noise)
    for l in range(panel.n_units):
        unit = DenseUnit(model, panel, l)
        if np.isnan(unit.values[:, channel]).all():
            continue
        for k in range(2):
            means, variances = unit.forecast(k, channel, asked[l], noise)
            np.testing.assert_allclose(found.mode_means[l, k], means, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(found.mode_variances[l, k], variances, rtol=1e-8, atol=1e-8)


def test_forecasts_of_the_future_keep_ten_digits(model, panel):
    ends = np.array([panel.times[int(o) - 1] for o in panel.offsets[1:]])
    asked = ends[:, None] + np.array([0.0, 0.5, 3.0, 40.0])
    for c in range(4):
        found = model.forecast(panel, asked, c)
        for l in range(panel.n_units):
            unit = DenseUnit(model, panel, l)
            if np.isnan(unit.values[:, c]).all():
                continue
            for k in range(2):
                means, variances = unit.forecast(k, c, asked[l], True)
                prior = np.diag(unit.parts(k, c, asked[l])[1])[-4:]  # of which the dense law subtracts nearly all
                np.testing.assert_allclose(found.mode_means[l, k], means, rtol=1e-10, atol=1e-10)
                assert (np.abs(found.mode_variances[l, k] - variances) <= 1e-10 * variances + 1e-12 * prior).all()


def test_a_unit_that_was_never_read_starts_at_the_time_asked_about(model, panel):
    """Its wander is 0 then, or stationary; the forecast is that of the mode."""
    for c, process in enumerate(WANDERS[:2]):
        found = model.forecast(panel, [3.0], c, noise=False)
        own = model.parameters(1, c)
        phi = model.bases[c](np.array([3.0]))[0]
        assert process.start_variance == 0
        assert found.mode_means[2, 1, 0] == pytest.approx(phi @ own.mean, rel=1e-12)
        assert found.mode_variances[2, 1, 0] == pytest.approx(phi @ own.covariance @ phi, rel=1e-9)


def test_one_row_of_times_serves_all_units(model, panel):
    asked = np.array([60.0, 70.0])
    together = model.forecast(panel, asked, 0)
    apart = model.forecast(panel, np.tile(asked, (panel.n_units, 1)), 0)
    np.testing.assert_array_equal(together.mode_means, apart.mode_means)
    np.testing.assert_array_equal(together.mode_variances, apart.mode_variances)


def test_the_order_of_reading_a_fleet_does_not_matter(model, panel):
    asked = np.array([2.0, 60.0])
    whole, part = model.forecast(panel, asked, 1), model.forecast(panel[[5, 3]], asked, 1)
    np.testing.assert_allclose(part.mode_means, whole.mode_means[[5, 3]], rtol=1e-12)
