"""Units sampled under reading conditions, and residuals of such units."""

from __future__ import annotations

import numpy as np
import pytest
from condition_cases import CHANNELS, SITES, conditioned_model, panel_for, prior_weights, reading_parts, rows_in
from covariate_cases import rows_of

from cem import FailureModeEM, Polynomial
from cem.errors import OptionError
from cem.model.diagnostics import residuals, time_correlation


def given_of(model, rng, n_units, n):
    """Covariates of every reading and unit as a user gives them, and the rows (L n, 4) that they are."""
    w = rows_of(rng, n_units * n)
    site = rng.integers(0, 3, n_units)
    w[:, 1] = np.repeat(site, n)
    parts = w.reshape(n_units, n, 4)
    given = {"load": list(parts[..., 0]), "speed": parts[..., 2], "mode": (parts[..., 3] == 1.0).tolist()}
    sites = {"site": [SITES[i] for i in site]}
    return (
        w,
        {name: given[name] for name in model.covariates},
        {name: sites[name] for name in model.unit_covariates},
    )


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("seed", range(6))
def test_samples_have_the_moments_of_the_definition(seed, rank):
    model = conditioned_model(seed, rank=rank)
    rng = np.random.default_rng(seed)
    n_units, times = 4000, np.array([1.0, 6.0])
    w, given, sites = given_of(model, rng, 1, 2)
    given = {name: values[0] for name, values in given.items()}
    sites = {name: values[0] for name, values in sites.items()}
    for k, label in enumerate(model.mode_labels):
        drawn = model.sample(
            n_units, times, modes=[label] * n_units, random_state=seed, covariates=given, unit_covariates=sites
        )
        values = drawn.values.reshape(n_units, 2, len(CHANNELS))
        for c in range(len(CHANNELS)):
            mean, root, scale = reading_parts(model, times, w, k, c)
            user = model.user_parameters()
            loading = root @ user.loading(k, c)
            covariance = root @ root.T + loading @ loading.T + np.diag(scale**2 * user.noise_variances[k, c])
            spread = np.sqrt(np.diag(covariance))
            np.testing.assert_allclose((values[:, :, c].mean(axis=0) - mean) / spread, 0.0, atol=5 / np.sqrt(n_units))
            found = np.cov(values[:, :, c].T) / np.outer(spread, spread)
            np.testing.assert_allclose(found, covariance / np.outer(spread, spread), atol=8 / np.sqrt(n_units))


def test_modes_are_drawn_by_the_covariates_of_units():
    model = conditioned_model(4)
    given = {"load": 20.0, "speed": 50.0, "mode": True}
    given = {name: given[name] for name in model.covariates}
    n = 3000
    drawn = model.sample(
        3 * n, [1.0], random_state=0, covariates=given, unit_covariates={"site": [s for s in SITES for _ in range(n)]}
    )
    modes = np.array(list(drawn.true_modes)).reshape(3, n)
    expected = prior_weights(model, drawn)[::n]
    shares = np.stack([(modes == label).mean(axis=1) for label in model.mode_labels], axis=1)
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / np.sqrt(n))


def test_membership_alone_needs_covariates_of_units_alone():
    """A model without conditions of readings; its levels are of all training units."""
    drawer, given = conditioned_model(0), {"load": 20.0, "speed": 50.0, "mode": True}
    panel = drawer.sample(
        60, np.arange(5.0), random_state=0, covariates={name: given[name] for name in drawer.covariates},
        unit_covariates={"site": [SITES[i % 3] for i in range(60)]},
    )  # fmt: skip
    model = FailureModeEM(2, basis=Polynomial(1), membership=["site"], random_state=0, n_init=2).fit(panel).model_
    drawn = model.sample(3, [1.0, 2.0], random_state=0, unit_covariates={"site": "B"})
    assert drawn.covariate("site").tolist() == ["B"] * 3
    assert model.forecast(drawn, [3.0]).mean.shape == (3, 1)
    assert model.remaining_life(drawn, 100.0, direction="upper").n_units == 3


def test_a_sample_carries_its_covariates_and_can_be_scored():
    model = conditioned_model(1)
    rng = np.random.default_rng(0)
    w, given, sites = given_of(model, rng, 5, 4)
    drawn = model.sample(5, [1.0, 2.0, 3.0, 4.0], random_state=0, covariates=given, unit_covariates=sites)
    assert set(drawn.covariates) == set(model.covariates)
    assert drawn.unit_covariates == model.unit_covariates == ("site",)
    own = model.conditions
    np.testing.assert_array_equal(
        drawn.conditions(own.names, own.levels), w[:, [("load", "site", "speed", "mode").index(x) for x in own.names]]
    )
    assert np.isfinite(model.score_samples(drawn)).all()


@pytest.mark.parametrize(
    ("covariates", "sites", "words"),
    [
        (None, {"site": "A"}, "covariates lacks 'load'"),
        ({"load": 1.0, "speed": 50.0, "mode": True}, None, "unit_covariates lacks 'site'"),
        ({"load": 1.0, "speed": 50.0, "mode": True, "site": "A"}, {"site": "A"}, "'site', a covariate of units"),
        ({"load": 1.0, "speed": 50.0, "mode": True}, {"site": "A", "load": 2.0}, "'load', which is read with"),
        ({"load": [1.0, 2.0, 3.0], "speed": 50.0, "mode": True}, {"site": "A"}, r"'load' has shape \(3,\)"),
        ({"load": [[1.0], [2.0]], "speed": 50.0, "mode": True}, {"site": "A"}, "arrays for 2 units; 3"),
        ({"load": [[1.0, 2.0]] * 2 + [[1.0]], "speed": 50.0, "mode": True}, {"site": "A"}, "unit number 2"),
        ({"load": 1.0, "speed": 50.0, "mode": True}, {"site": ["A", "B"]}, r"'site' has shape \(2,\)"),
        ({"load": 1.0, "speed": 50.0, "mode": True}, {"site": "D"}, "'D', a level that no training reading"),
        ([1.0], {"site": "A"}, "covariates is"),
    ],
)
def test_a_sample_names_what_is_wrong_with_its_covariates(covariates, sites, words):
    seed = next(s for s in range(200) if conditioned_model(s).covariates == ("load", "speed", "mode"))
    model = conditioned_model(seed)
    with pytest.raises(OptionError, match=words):
        model.sample(3, [1.0, 2.0], covariates=covariates, unit_covariates=sites)


def test_a_sample_of_a_model_without_covariates_takes_none():
    from model_cases import example_model

    with pytest.raises(OptionError, match="no such covariates"):
        example_model().sample(2, [1.0], covariates={"load": 1.0})


@pytest.mark.parametrize("seed", range(6))
def test_residuals_are_those_of_the_curve_at_each_readings_conditions(seed):
    model = conditioned_model(seed, membership=False)
    panel = panel_for(model, seed + 20)
    found, leverages = residuals(model, panel)
    posterior, user = model.posterior(panel), model.user_parameters()
    best = posterior.mode_probabilities.argmax(axis=1)
    w = rows_in(panel)
    for unit in range(panel.n_units):
        rows = np.arange(*panel.offsets[unit : unit + 2])
        k = int(best[unit])
        for c, basis in enumerate(model.bases):
            mean, _, scale = reading_parts(model, panel.times[rows], w[rows], k, c)
            departure = posterior.means[unit, k, c, : basis.size] - user.mean(k, c)[: basis.size]
            curve = mean + scale * (basis(panel.times[rows]) @ departure)
            sigma = scale * np.sqrt(user.noise_variances[k, c])
            np.testing.assert_allclose(
                found[rows, c], (panel.values[rows, c] - curve) / sigma, rtol=1e-6, atol=1e-8, equal_nan=True
            )
    assert np.nanmax(leverages) <= 1 + 1e-9
    assert time_correlation(model, panel, 2).information.shape == (len(CHANNELS),)


def test_novelty_and_summary_know_of_conditions():
    """Units from the model itself are typical; the table of curves is at the reference."""
    model = conditioned_model(2)
    rng = np.random.default_rng(5)
    _, given, sites = given_of(model, rng, 400, 6)
    drawn = model.sample(400, np.linspace(0, 8, 6), random_state=1, covariates=given, unit_covariates=sites)
    tail = np.sort(model.novelty(drawn))
    assert np.abs(tail - (np.arange(400) + 0.5) / 400).max() < 1.63 / np.sqrt(400)
    frame = model.summary().frames["curves"]
    low, high = model.bases[0].domain
    np.testing.assert_allclose(frame["middle"][0], model.curves([0.5 * (low + high)])[0, 0, 0], rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_forecasts_of_simulated_units_hold_as_often_as_they_say(seed):
    """The next reading under its own conditions falls below each quantile with that probability."""
    model, rng, n = conditioned_model(seed), np.random.default_rng(seed), 600
    times = np.linspace(0.0, 9.0, 7)
    w, given, sites = given_of(model, rng, n, 7)
    drawn = model.sample(n, times, random_state=seed, covariates=given, unit_covariates=sites)
    ahead = w.reshape(n, 7, 4)[:, 6:]
    named = {"load": ahead[..., 0], "speed": ahead[..., 2], "mode": (ahead[..., 3] == 1.0).tolist()}
    past = drawn.until(8.0)
    for c, name in enumerate(CHANNELS):
        forecast = model.forecast(
            past, times[6:], name, covariates={key: named[key] for key in model.covariates} or None
        )
        level = np.sort(forecast.cdf(drawn.values[6::7, [c]])[:, 0])
        assert np.abs(level - (np.arange(n) + 0.5) / n).max() < 1.95 / np.sqrt(n)  # Kolmogorov, 0.1 %
