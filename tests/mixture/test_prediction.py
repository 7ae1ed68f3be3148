"""Posteriors, forecasts and novelty against conditioning of the joint normal distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import dense_parts, example_model, ragged_panel
from scipy import optimize, stats

from cem.errors import OptionError, PredictionError, ScorerError
from cem.mixture.parameters import Parameters
from cem.mixture.prediction import Forecast
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel


def conditioned(model, panel, unit, mode, channel):
    """Posterior mean and covariance of one channel's coefficients by dense conditioning."""
    part = model.parameters(model.mode_labels[mode], channel)
    name = model.channels[channel]
    rows = slice(panel.offsets[unit], panel.offsets[unit + 1])
    column = panel.values[rows, panel.channels.index(name)]
    seen = ~np.isnan(column)
    design = model.bases[channel](panel.times[rows][seen])
    gain = (
        part.covariance
        @ design.T
        @ np.linalg.inv(design @ part.covariance @ design.T + part.noise_variance * np.eye(seen.sum()))
    )
    mean = part.mean + gain @ (column[seen] - design @ part.mean)
    return mean, part.covariance - gain @ design @ part.covariance


def test_posterior_is_the_dense_conditional_distribution():
    model = example_model()
    panel = ragged_panel(model, 8)
    found = model.posterior(panel)
    assert found.units == panel.units and found.means.shape == (8, 3, 3, 3)
    for l in range(8):
        for k in range(3):
            for c, p in enumerate(model.basis_sizes_):
                mean, covariance = conditioned(model, panel, l, k, c)
                np.testing.assert_allclose(found.means[l, k, c, :p], mean, rtol=1e-7, atol=1e-7)
                np.testing.assert_allclose(found.covariances[l, k, c, :p, :p], covariance, rtol=1e-6, atol=1e-8)
                assert np.isnan(found.means[l, k, c, p:]).all()
    np.testing.assert_array_equal(found.mode_probabilities, model.predict_proba(panel))


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("channel", ["a", "y"])
def test_forecast_is_the_mixture_of_conditional_distributions(noise, channel):
    model = example_model()
    panel = ragged_panel(model, 6)
    times = np.array([3.0, 12.0])
    forecast = model.forecast(panel, times, channel, noise=noise)
    c = model.channels.index(channel)
    design = model.bases[c](times)
    for l in range(6):
        for k in range(3):
            mean, covariance = conditioned(model, panel, l, k, c)
            part = model.parameters(model.mode_labels[k], c)
            variance = np.einsum("mi,ij,mj->m", design, covariance, design) + noise * part.noise_variance
            np.testing.assert_allclose(forecast.mode_means[l, k], design @ mean, rtol=1e-8)
            np.testing.assert_allclose(forecast.mode_variances[l, k], variance, rtol=1e-6)
    np.testing.assert_array_equal(forecast.weights, model.predict_proba(panel))
    draws_mean = (forecast.weights[:, :, None] * forecast.mode_means).sum(axis=1)
    second = (forecast.weights[:, :, None] * (forecast.mode_variances + forecast.mode_means**2)).sum(axis=1)
    np.testing.assert_allclose(forecast.mean, draws_mean, rtol=1e-12)
    np.testing.assert_allclose(forecast.variance, second - draws_mean**2, rtol=1e-6, atol=1e-6)


def test_times_by_unit_and_for_all_units_agree():
    model = example_model()
    panel = ragged_panel(model, 5)
    times = np.array([1.0, 4.0, 15.0])
    same, by_unit = model.forecast(panel, times), model.forecast(panel, np.tile(times, (5, 1)))
    assert same.channel == "y"
    np.testing.assert_allclose(same.mean, by_unit.mean, rtol=1e-14)
    np.testing.assert_allclose(same.quantile(0.3), by_unit.quantile(0.3), rtol=1e-12)
    assert model.forecast(panel, 3.0).mean.shape == (5, 1)


def test_unit_without_any_value_of_the_channel_gets_its_modes_prior():
    model = example_model()
    panel = ragged_panel(model, 4).select_channels(["a"])
    forecast = model.forecast(panel, [2.0])
    np.testing.assert_allclose(forecast.mode_means[:, :, 0], np.tile(model.curves([2.0])[:, 2, 0], (4, 1)), rtol=1e-10)
    np.testing.assert_array_equal(forecast.weights, model.predict_proba(panel))


def test_unit_without_any_value_at_all_gets_the_prior():
    model = example_model()
    panel = Panel.from_arrays([np.arange(3.0)] * 2, [np.full((3, 1), 9062.0)] * 2, channels=["a"])
    empty = panel._replace(values=np.full((6, 1), np.nan))
    np.testing.assert_allclose(model.predict_proba(empty), np.tile(model.weights_, (2, 1)), rtol=1e-14)
    np.testing.assert_allclose(model.score_samples(empty), 0.0, atol=1e-14)
    np.testing.assert_array_equal(model.novelty(empty), 1.0)


@pytest.mark.parametrize(
    ("times", "channel", "message"),
    [([1.0, np.nan], "y", "nan"), (np.zeros((3, 2)), "y", "shape"), ([1.0], "w", "'w'")],
)
def test_forecasts_that_cannot_be_given_say_why(times, channel, message):
    model = example_model()
    with pytest.raises(PredictionError, match=message):
        model.forecast(ragged_panel(model, 5), times, channel)


def test_forecast_without_a_response_asks_for_the_channel():
    model = example_model(response=None)
    panel = ragged_panel(model, 3)
    with pytest.raises(PredictionError, match="no response; name the channel"):
        model.forecast(panel, [1.0])
    assert model.forecast(panel, [1.0], "b").channel == "b"


def mixture(weights, means, deviations):
    shape = (1, len(weights), 1)
    return Forecast(
        units=(0,),
        channel="y",
        mode_labels=tuple(range(len(weights))),
        times=np.zeros(1),
        weights=np.array([weights]),
        mode_means=np.reshape(means, shape).astype(float),
        mode_variances=np.square(np.reshape(deviations, shape)).astype(float),
        noise=True,
    )


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.001, 1), st.floats(-50, 50), st.floats(-6, 1)), min_size=1, max_size=4),
    st.sampled_from([1e-9, 0.001, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999, 1 - 1e-9]),
    st.sampled_from([0.0, 9062.0]),
)
def test_quantile_inverts_the_mixtures_distribution(components, q, offset):
    weights = np.array([w for w, _, _ in components])
    weights /= weights.sum()
    means = np.array([m for _, m, _ in components])
    deviations = 10.0 ** np.array([d for _, _, d in components])
    found = float(mixture(weights, means + offset, deviations).quantile(q)[0, 0]) - offset

    def excess(x):
        return (
            (weights * stats.norm.sf(x, means, deviations)).sum() - (1 - q)
            if q > 0.5
            else q - (weights * stats.norm.cdf(x, means, deviations)).sum()
        )

    ends = stats.norm.ppf(q, means, deviations)
    low, high = ends.min() - 1e-6, ends.max() + 1e-6
    expected = optimize.brentq(excess, low, high, xtol=1e-13, rtol=1e-14)
    # where the distribution is flat between two far modes, any point between them is a quantile
    flat = abs(excess(found)) < 1e-12 * min(q, 1 - q) + 1e-15
    assert flat or found == pytest.approx(expected, abs=1e-9 * max(1.0, offset / 1000))


def test_quantiles_of_many_probabilities_and_intervals_agree():
    model = example_model()
    forecast = model.forecast(ragged_panel(model, 7), [1.0, 2.0])
    stacked = forecast.quantile([0.05, 0.5, 0.95])
    assert stacked.shape == (3, 7, 2) and np.all(np.diff(stacked, axis=0) > 0)
    lower, upper = forecast.interval(0.9)
    np.testing.assert_allclose([lower, upper], stacked[[0, 2]], rtol=1e-12)
    np.testing.assert_allclose(forecast.cdf(stacked[1]), 0.5, atol=1e-10)
    for wrong in (0.0, 1.0, np.nan, [0.5, 2.0]):
        with pytest.raises(OptionError, match="q="):
            forecast.quantile(wrong)
    with pytest.raises(OptionError, match="level"):
        forecast.interval(1.5)


def test_a_mode_of_weight_zero_does_not_move_a_quantile():
    found = mixture([0.0, 1.0], [1e6, 2.0], [1e-3, 1.0]).quantile(0.8)
    assert found[0, 0] == pytest.approx(2.0 + stats.norm.ppf(0.8), abs=1e-12)


def test_novelty_is_the_chi_square_tail_of_the_dense_misfit():
    model = example_model()
    panel = ragged_panel(model, 10)
    best = model.predict_proba(panel).argmax(axis=1)
    for l, found in enumerate(model.novelty(panel)):
        x, mean, covariance = dense_parts(model, panel, l, best[l])
        misfit = (x - mean) @ np.linalg.solve(covariance, x - mean)
        assert found == pytest.approx(stats.chi2.sf(misfit, len(x)), rel=1e-6, abs=1e-12)


def test_novelty_of_the_models_own_units_is_uniform_and_of_strangers_small():
    model = example_model(n_modes=1)
    panel = model.sample(400, np.arange(8.0), random_state=3)
    assert stats.kstest(model.novelty(panel), "uniform").pvalue > 0.01
    strange = Panel(panel.units, panel.offsets, panel.times, panel.values + 40, panel.channels)
    assert model.novelty(strange).max() < 1e-6


def test_interval_holds_new_readings_as_often_as_it_says():
    model = example_model()
    times = np.arange(10.0)
    full = model.sample(1500, times, random_state=5)
    values = full.values.reshape(1500, 10, 3)
    forecast = model.forecast(Panel.from_arrays(times[:4], values[:, :4], channels=model.channels), [9.0])
    lower, upper = forecast.interval(0.8)
    held = (lower[:, 0] <= values[:, 9, 2]) & (values[:, 9, 2] <= upper[:, 0])
    assert abs(held.mean() - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 1500)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_overflows_far_from_the_training_times_is_an_error_not_nan(rank):
    """A time in nanoseconds given to a model of hours: an infinite forecast, or one that is no number, helps nobody."""
    model = example_model()
    if rank:
        own = model.internal_parameters
        loadings = np.full((*own.means.shape, rank), 0.1)
        linked = Parameters(own.weights, own.means, own.factors, own.noise_variances, own.sizes, loadings)
        model = FailureModeModel(**{**model._arguments(), "parameters": linked})
    panel = ragged_panel(model, 3)
    named = r"channel 'a' overflow at time 5.4e\+154; .* from 0 to 10"
    with np.errstate(all="raise"):
        with pytest.raises(PredictionError, match=named):
            model.curves([1.0, 5.4e154])
        for times in ([1.0, 5.4e154], [[1.0, 2.0], [1.0, 5.4e154], [1.0, 2.0]]):
            with pytest.raises(PredictionError, match=named):
                model.forecast(panel, times, "a")
        # The curve is a number there, and its variance is none.
        with pytest.raises(PredictionError, match=r"'a' overflow at time 1e\+100"):
            model.forecast(panel, 1e100, "a")
        with pytest.raises(ScorerError, match=named):
            model.scorer().unit().forecast([1.0, 5.4e154], "a")
    assert np.isfinite(model.forecast(panel, [0.0, 10.0, 1e6], "a").variance).all()
