"""The matrix of ways that a model goes, with the uncertainty of its parameters: the same tests as for plain models.

Every kind of condition, time axis, link and structure has to give the same answers in batch, streaming, after a
restart, from a file, without SciPy and in C, or is refused by name.
"""

from __future__ import annotations

import numpy as np
import pytest
import test_matrix
from conditioned_fleets import conditioned_fleet
from test_matrix import (  # noqa: F401  # collected here with the models below
    models as plain_models,
)
from uncertain_cases import uncertain

import cem

CELLS = test_matrix.CELLS


@pytest.fixture(scope="module")
def models(plain_models):  # noqa: F811
    return {
        cell: model if isinstance(model, cem.CemError) else uncertain(model) for cell, model in plain_models.items()
    }


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[1] == "forward"], ids=str)
def test_novelty_forecasts_and_posteriors_streaming_are_the_batch(models, cell):
    """An alarm on the machine would not be the one in the nightly report."""
    model = test_matrix.chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8)
    scorer, novelty, posterior = model.scorer(), model.novelty(panel), model.posterior(panel)
    at = {"covariates": "last"} if model.covariates else {}
    forecast = model.forecast(panel, [0.3, 0.9], 1, **at)
    for unit in range(panel.n_units):
        running = test_matrix.fed(scorer, model, panel, unit)
        assert running.novelty() == pytest.approx(novelty[unit], abs=1e-10)
        lone = running.forecast([0.3, 0.9], 1, **at)
        np.testing.assert_allclose(lone.mean, forecast.mean[unit], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(lone.variance, forecast.variance[unit], rtol=1e-9)
        np.testing.assert_allclose(lone.mode_means, forecast.mode_means[unit], rtol=1e-9, atol=1e-9)
        for k in range(model.n_modes):
            mean, covariance = running.posterior(k, 1)
            np.testing.assert_allclose(mean, posterior.means[unit, k, 1, : len(mean)], rtol=1e-8, atol=1e-8)
            n = len(mean)
            np.testing.assert_allclose(covariance, posterior.covariances[unit, k, 1, :n, :n], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[0] in ("plain", "membership", "all")], ids=str)
def test_parameters_that_are_known_give_the_plain_predictions(cell, plain_models):  # noqa: F811
    """Uncertainty that vanishes would still change probabilities."""
    model = test_matrix.chosen(plain_models, cell)
    known = model.with_uncertainty([model.internal_parameters] * 3, n_components=2)
    panel = conditioned_fleet(5, n_units=3, n_readings=8, failing=cell[1] == "to_failure")
    np.testing.assert_allclose(known.predict_proba(panel), model.predict_proba(panel), rtol=0, atol=1e-10)
    np.testing.assert_allclose(known.score_samples(panel), model.score_samples(panel), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(known.novelty(panel), model.novelty(panel), rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[1] == "forward"], ids=str)
def test_fleet_of_running_units_is_that_of_its_units(models, cell, tmp_path):
    """A gateway that sends batches would see other probabilities or alarms than one that sends readings one by one."""
    model = test_matrix.chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8)
    scorer = model.scorer()
    fleet = scorer.fleet(alarms=[cem.scoring.NoveltyAlarm(0.5)])
    for unit in range(panel.n_units):
        fleet.begin(unit, test_matrix.covariates_of(model, panel, 0, unit)[1] or None)
    ids = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    for rows in (slice(0, 11), slice(11, None)):
        at = {name: panel.covariate(name)[rows] for name in model.covariates}
        fleet.update_many((ids[rows], panel.times[rows], panel.values[rows]), covariates=at or None)
        fleet.save(tmp_path / "fleet.snapshot")
        fleet = cem.scoring.Fleet.load(tmp_path / "fleet.snapshot", model)
    found = fleet.probabilities()
    assert found.mode_labels == model.mode_labels
    for unit in range(panel.n_units):
        running = test_matrix.fed(scorer, model, panel, unit)
        assert fleet.unit(unit).to_bytes() == running.to_bytes()
        np.testing.assert_allclose(found.mode_probabilities[unit], running.mode_probabilities(), rtol=0, atol=1e-13)
