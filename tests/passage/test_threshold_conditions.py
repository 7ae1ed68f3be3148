"""Threshold lives under reading conditions: constant conditions fold into level and coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from condition_cases import conditioned_model, panel_for, reading_parts, rows_in

import cem
from cem.covariates import Linear
from cem.errors import OptionError, PredictionError
from cem.passage.first_passage import first_passage


def at_constant(panel, seed):
    """Constant conditions of each unit: rows (L, 4), and what a user gives."""
    rng = np.random.default_rng(seed)
    w = rows_in(panel)[np.asarray(panel.offsets[:-1])]
    w[:, 0], w[:, 3] = rng.uniform(10, 70, len(w)), rng.integers(0, 2, len(w))
    return w, {"load": w[:, 0], "speed": w[:, 2], "mode": (w[:, 3] == 1.0).tolist()}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("seed", range(8))
def test_the_curve_at_the_conditions_crosses_the_threshold(seed, rank):
    """Draws of each unit's coefficients, put through the definition of a reading, cross as often."""
    model = conditioned_model(seed, rank=rank)
    panel = panel_for(model, seed + 50, n_units=3)
    w, given = at_constant(panel, seed)
    channel = 2 * (seed % 2)
    name, basis = model.channels[channel], model.bases[channel]
    posterior = model.posterior(panel)
    rng = np.random.default_rng(seed)
    first = panel.times[np.asarray(panel.offsets[:-1])]
    now = panel.times[np.asarray(panel.offsets[1:]) - 1]
    level = float(np.nanmedian(panel.values[:, channel])) + 3.0
    given = {key: given[key] for key in model.covariates} or None
    passage = model.remaining_life(panel, level, channel=name, direction="upper", covariates=given, horizon=6.0)
    p, user, asked = basis.size, model.user_parameters(), np.array([1.0, 3.0, 5.0])
    for unit in range(panel.n_units):
        past = np.linspace(first[unit], now[unit], 200)
        future = np.linspace(now[unit], now[unit] + 6.0, 1201)
        times = np.concatenate([past, future])
        alive, crossed = np.zeros(model.n_modes), np.zeros((model.n_modes, 3))
        for k in range(model.n_modes):
            mean, _, scale = reading_parts(model, times, np.tile(w[unit], (len(times), 1)), k, channel)
            T = rng.multivariate_normal(
                posterior.means[unit, k, channel, :p], posterior.covariances[unit, k, channel, :p, :p], 4000,
                method="svd",
            )  # fmt: skip
            curves = mean + scale * ((T - user.mean(k, channel)[:p]) @ basis(times).T)
            beyond = curves >= level
            running = ~beyond[:, :201].any(axis=1)
            alive[k] = posterior.mode_probabilities[unit, k] * running.mean()
            for i, r in enumerate(asked):
                reached = beyond[:, 200 : 201 + round(r * 200)].any(axis=1)
                crossed[k, i] = posterior.mode_probabilities[unit, k] * (running & reached).mean()
        np.testing.assert_allclose(passage.probability_crossed[unit], 1 - alive.sum(), atol=0.03)
        if alive.sum() > 0.05:
            np.testing.assert_allclose(passage.cdf(asked)[unit], crossed.sum(axis=0) / alive.sum(), atol=0.06)


def lines(seed=3, n_units=30, slopes=(1.0, 2.0), noise=0.01):
    """Lines that a load shifts, without any difference between units of a mode, at three loads."""
    rng = np.random.default_rng(seed)
    times, values, loads, grades = [], [], [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(0.0, 10.0, 12))
        load, grade = rng.uniform(20.0, 80.0, 12), rng.integers(0, 2, 12)
        x = slopes[l % 2] * t + 0.1 * load + noise * rng.normal(size=12)
        times.append(t)
        values.append(np.where(grade == 1, 100.0 + 3.0 * x, x)[:, None])
        loads.append(load)
        grades.append([("idle", "full")[g] for g in grade])
    return cem.Panel.from_arrays(
        times, values, channels=["x"], response="x", covariates={"load": loads, "grade": grades}
    )


def test_a_model_without_random_columns_crosses_at_one_time():
    """Its curves are certain given the mode, and so are the lives: no singular matrix stands in the way."""
    panel = lines()
    em = cem.FailureModeEM(
        2, basis=cem.Polynomial(1), covariates=[Linear("load", by_mode=True)], regimes=cem.Regimes("grade"),
        random_columns="none", random_state=0, n_init=3,
    ).fit(panel)  # fmt: skip
    model, running = em.model_, panel.until(4.0)
    conditions = {"load": 50.0, "grade": "full"}
    left = model.remaining_life(running, 160.0, covariates=conditions)
    now = running.times[np.asarray(running.offsets[1:]) - 1]
    modes = model.predict_proba(running)
    assert modes.max(axis=1).min() > 1 - 1e-4
    start, end = model.curves([0.0, 10.0], conditions)[modes.argmax(axis=1), 0].T
    np.testing.assert_allclose(left.quantile(0.5), 10.0 * (160.0 - start) / (end - start) - now, rtol=1e-9)
    np.testing.assert_allclose(left.quantile(0.95), left.quantile(0.05), atol=1e-6)
    np.testing.assert_allclose(left.probability_crossed, 0.0, atol=1e-9)


def test_regimes_move_the_threshold_as_by_hand():
    panel = lines(noise=0.3)
    em = cem.FailureModeEM(
        2, basis=cem.Polynomial(1), covariates=["load"], regimes=cem.Regimes("grade"), random_state=0, n_init=3
    ).fit(panel)
    model, running = em.model_, panel.until(4.0)
    found = model.remaining_life(running, 160.0, covariates={"load": 50.0, "grade": "full"})
    conditions, posterior = model.conditions, model.posterior(running)
    g = conditions.levels["grade"].index("full")
    load = (50.0 - conditions.features[0].numbers[0]) * conditions.features[0].numbers[1]
    level = (160.0 - conditions.offsets[g, 0]) / conditions.scales[g, 0] - conditions.coefficients[0][0] * load
    expected = first_passage(
        model.bases[0], posterior.mode_probabilities, posterior.means[:, :, 0], posterior.covariances[:, :, 0],
        running.times[np.asarray(running.offsets[:-1])], running.times[np.asarray(running.offsets[1:]) - 1], level,
    )  # fmt: skip
    np.testing.assert_allclose(found.quantile([0.1, 0.5, 0.9]), expected.quantile([0.1, 0.5, 0.9]), rtol=1e-10)


def test_a_threshold_needs_conditions_and_says_which():
    panel = lines()
    model = (
        cem.FailureModeEM(1, basis=cem.Polynomial(1), covariates=["load"], random_state=0)
        .fit(panel.select_channels(["x"]))
        .model_
    )
    with pytest.raises(PredictionError, match="'x' depends on 'load'"):
        model.remaining_life(panel, 30.0)
    with pytest.raises(PredictionError, match=r"'load' has shape \(2,\)"):
        model.remaining_life(panel, 30.0, covariates={"load": [1.0, 2.0]})
    with pytest.raises(OptionError, match=r"threshold has shape \(3, 1\)"):
        model.remaining_life(panel, [[30.0]] * 3, covariates="last")
    last = panel.covariate("load")[np.asarray(panel.offsets[1:]) - 1]
    asked = model.remaining_life(panel, 300.0, covariates={"load": last}, direction="upper").cdf([1.0, 50.0])
    np.testing.assert_array_equal(
        model.remaining_life(panel, 300.0, covariates="last", direction="upper").cdf([1.0, 50.0]), asked
    )
