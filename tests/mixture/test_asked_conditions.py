"""Forecasts, curves and densities under reading conditions, against dense Gaussians from the definition."""

from __future__ import annotations

import numpy as np
import pytest
from condition_cases import (
    SITES,
    conditioned_model,
    dense,
    log_normal,
    panel_for,
    prior_weights,
    reading_parts,
    rows_in,
    seen_parts,
)
from covariate_cases import CHANNELS, rows_of

import cem
from cem.covariates import Linear
from cem.errors import PredictionError

SEEDS = range(12)


def asked_for(panel, seed, m):
    """Random covariates at m times of each unit: rows (L, m, 4), and what a user gives."""
    rng = np.random.default_rng(seed)
    w = rows_of(rng, panel.n_units * m).reshape(panel.n_units, m, 4)
    w[:, :, 1] = np.array([SITES.index(name) for name in panel.covariate("site")])[:, None]
    return w, {"load": w[..., 0], "speed": w[..., 2].tolist(), "mode": (w[..., 3] == 1.0).tolist()}


def given_to(model, covariates):
    """Those of the covariates that the model has."""
    return {name: covariates[name] for name in model.covariates} or None


@pytest.mark.parametrize("axis", ["forward", "to_failure"])
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_forecasts_are_conditional_gaussians_at_the_covariates_given(seed, rank, axis):
    model = conditioned_model(seed, rank=rank, time_axis=axis)
    panel = panel_for(model, seed + 100, failed=axis == "to_failure")
    lives = panel.failure_times if axis == "to_failure" else np.zeros(panel.n_units)
    times = np.random.default_rng(seed).uniform(0.0, 12.0, (panel.n_units, 3))
    w, given = asked_for(panel, seed, 3)
    weights = prior_weights(model, panel)
    for c, name in enumerate(CHANNELS):
        forecast = model.forecast(panel, times, name, covariates=given_to(model, given))
        for unit in range(panel.n_units):
            parts, x = seen_parts(panel, unit, lives[unit])
            joint = np.empty(model.n_modes)
            for k in range(model.n_modes):
                mean, covariance = dense(model, k, [*parts, (c, times[unit] - lives[unit], w[unit])])
                n = len(x)
                gain = np.linalg.solve(covariance[:n, :n], covariance[:n, n:]).T
                np.testing.assert_allclose(forecast.mode_means[unit, k], mean[n:] + gain @ (x - mean[:n]), rtol=1e-7)
                spread = np.diag(covariance[n:, n:] - gain @ covariance[:n, n:])
                np.testing.assert_allclose(forecast.mode_variances[unit, k], spread, rtol=1e-6)
                joint[k] = np.log(weights[unit, k]) + log_normal(x, mean[:n], covariance[:n, :n])
            odds = np.exp(joint - joint.max())
            np.testing.assert_allclose(forecast.weights[unit], odds / odds.sum(), atol=1e-8)
            total = joint.max() + np.log(odds.sum())
            np.testing.assert_allclose(model.score_samples(panel)[unit], total, rtol=1e-8)


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_last_takes_what_each_unit_read_last(seed):
    model = conditioned_model(seed)
    panel = panel_for(model, seed + 100)
    w = rows_in(panel)[np.asarray(panel.offsets[1:]) - 1]
    given = {"load": w[:, [0]] * [1, 1], "speed": w[:, [2]] * [1, 1], "mode": (w[:, [3, 3]] == 1.0).tolist()}
    if not model.covariates:
        pytest.skip("this model has covariates of units only")
    asked = model.forecast(panel, [9.0, 10.0], covariates=given_to(model, given))
    last = model.forecast(panel, [9.0, 10.0], covariates="last")
    np.testing.assert_array_equal(last.mode_means, asked.mode_means)
    np.testing.assert_array_equal(last.mode_variances, asked.mode_variances)


@pytest.mark.parametrize("seed", SEEDS)
def test_curves_are_the_means_at_the_conditions_given(seed):
    model = conditioned_model(seed)
    times = np.linspace(0.0, 10.0, 5)
    w = np.tile(rows_of(np.random.default_rng(seed), 1), (5, 1))
    given = {"load": w[0, 0], "site": SITES[int(w[0, 1])], "speed": list(w[:, 2]), "mode": bool(w[0, 3])}
    names = [column.name for column in model.conditions.columns]
    curves = model.curves(times, {name: given[name] for name in names})
    for c in range(model.n_channels):
        for k in range(model.n_modes):
            np.testing.assert_allclose(curves[k, c], reading_parts(model, times, w, k, c)[0], rtol=1e-9, atol=1e-9)


def fleet(seed=0, n_units=40):
    """x at three loads a + s(line), y of the load, z of nothing."""
    rng = np.random.default_rng(seed)
    times, values, loads, grades = [], [], [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(0.0, 10.0, 20))
        grade, load = rng.integers(0, 3, 20), rng.uniform(20.0, 80.0, 20)
        slope = (1.0, -1.0)[l % 2]
        x = 5.0 + rng.normal(0, 0.5) + (slope + rng.normal(0, 0.1)) * t + 0.2 * rng.normal(size=20)
        y = 2.0 + rng.normal(0, 0.5) + 0.05 * load + 0.2 * rng.normal(size=20)
        z = 1.0 + slope * t + rng.normal(0, 0.5) + 0.2 * rng.normal(size=20)
        x = np.array([0.0, 10.0, -20.0])[grade] + np.array([1.0, 2.0, 0.5])[grade] * x
        times.append(t)
        values.append(np.column_stack([x, y, z]))
        loads.append(load)
        grades.append([f"grade {g}" for g in grade])
    return cem.Panel.from_arrays(
        times, values, channels=["x", "y", "z"], response="x", covariates={"load": loads, "grade": grades}
    )


@pytest.fixture(scope="module")
def panel():
    return fleet()


@pytest.fixture(scope="module")
def regimes_only(panel):
    """Of the channels x and z."""
    return cem.FailureModeEM(2, basis=cem.Polynomial(1), regimes=cem.Regimes("grade"), random_state=0, n_init=2).fit(
        panel.select_channels(["x", "z"])
    )


@pytest.fixture(scope="module")
def of_load(panel):
    return cem.FailureModeEM(
        2, basis=cem.Polynomial(1), covariates={"y": [Linear("load")]}, random_state=0, n_init=2
    ).fit(panel)


def standardised(model, panel):
    """The panel that somebody who knows the regimes would have standardised by hand."""
    conditions = model.conditions
    w = panel.conditions(conditions.names, conditions.levels)
    regimes = conditions.regimes_at(w)
    return cem.Panel(
        panel.units, panel.offsets, panel.times,
        (panel.values - conditions.offsets[regimes]) / conditions.scales[regimes], panel.channels, response="x",
    )  # fmt: skip


def without_conditions(model):
    arguments = {**model._arguments(), "conditions": None}
    return type(model)(**arguments)


def test_regimes_forecast_as_by_hand(panel, regimes_only):
    """A forecast under regimes is that of standardised readings, moved back."""
    model, panel = regimes_only.model_, panel.select_channels(["x", "z"])
    plain = without_conditions(model).forecast(standardised(model, panel), [11.0, 12.0])
    for g, name in enumerate(model.conditions.levels["grade"]):
        found = model.forecast(panel, [11.0, 12.0], covariates={"grade": name})
        a, s = model.conditions.offsets[g, 0], model.conditions.scales[g, 0]
        np.testing.assert_allclose(found.mean, a + s * plain.mean, rtol=1e-10)
        np.testing.assert_allclose(found.quantile(0.9), a + s * plain.quantile(0.9), rtol=1e-9)


def test_a_channel_without_conditions_needs_none(panel, of_load):
    model = of_load.model_
    needed_none = model.forecast(panel, [11.0], "x")
    given = model.forecast(panel, [11.0], "x", covariates={"load": 50.0})
    np.testing.assert_array_equal(needed_none.mean, given.mean)
    assert needed_none.mean.shape == (panel.n_units, 1)


@pytest.mark.parametrize(
    ("covariates", "words"),
    [
        (None, r"'y' depends on 'load': give covariates=\{'load': ...\}.*'last'"),
        ({}, "lack 'load'"),
        ({"laod": 5.0}, "no covariate 'laod'"),
        ({"load": "high"}, "'load' is 'high'"),
        ({"load": [50.0, np.nan]}, "'load' is missing"),
        ({"load": [1.0, 2.0, 3.0]}, r"'load' has shape \(3,\)"),
        ({"load": [[1.0], [2.0, 3.0]]}, "'load' is"),
        ({"load": {"a": 1}}, "'load' is"),
        ("previous", "covariates is 'previous'"),
        ([50.0], "covariates is"),
    ],
)
def test_a_forecast_names_what_is_wrong_with_its_covariates(panel, of_load, covariates, words):
    with pytest.raises(PredictionError, match=words):
        of_load.model_.forecast(panel, [11.0, 12.0], "y", covariates=covariates)


def test_covariates_for_a_model_without_any_are_refused(panel):
    plain = cem.FailureModeEM(1, basis=cem.Polynomial(1)).fit(panel).model_
    for call in (
        lambda: plain.forecast(panel, [11.0], covariates="last"),
        lambda: plain.curves([1.0], {"load": 5.0}),
        lambda: plain.remaining_life(panel, 30.0, covariates={"load": 5.0}),
    ):
        with pytest.raises(PredictionError, match=r"has none|no such covariates"):
            call()


def test_a_level_that_no_training_reading_had_is_refused(panel, regimes_only):
    with pytest.raises(PredictionError, match="'grade 7', a level that no training reading had"):
        regimes_only.model_.forecast(panel.select_channels(["x", "z"]), [11.0], covariates={"grade": "grade 7"})


def test_a_covariate_of_units_comes_from_the_panel():
    model = conditioned_model(next(s for s in range(60) if "site" in conditioned_model(s).conditions.names))
    panel = panel_for(model, 1)
    with pytest.raises(PredictionError, match="'site', a covariate of units"):
        model.forecast(panel, [9.0], covariates={**dict.fromkeys(model.covariates, 50.0), "site": "A"})


def test_reference_curves_are_those_without_any_effect(of_load):
    """The default is documented: a linear covariate at its training mean."""
    model = of_load.model_
    mean = float(model.conditions.features[0].numbers[0])
    np.testing.assert_allclose(model.curves([0.0, 5.0]), model.curves([0.0, 5.0], {"load": mean}), rtol=1e-12)
