"""The matrix of ways that a model goes, where units wander about their curves: a cell works, or is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import test_matrix
from conditioned_fleets import conditioned_fleet, fitted
from test_matrix import CELLS, KINDS

import cem
from cem.basis.families import Polynomial
from cem.cli.commands import main

PROCESSES = {"a": "wiener", "b": "ou", "c": "integrated"}
WORK = ("plain", "fixed functions", "no random columns", "pooled noise", "membership")
"""Kinds without covariates of readings and regimes: what moves a reading is then the curve, the wander or noise."""

OPEN = [cell for cell in CELLS if cell[0] in WORK and cell[1:3] == ("forward", 0)]
CLOSED = [cell for cell in CELLS if cell not in OPEN]
GO = [cell for cell in OPEN if cell[0] == "plain" or cell[3] == "full"]
FULL = [cell for cell in GO if cell[3] == "full"]


def processes_of(cell):
    """All kinds of process in a plain model; without "ou", whose two numbers take a while to find, in the others."""
    return {channel: kind for channel, kind in PROCESSES.items() if cell[0] == "plain" or kind != "ou"}


def fit(cell, **more):
    kind, axis, rank, covariance = cell
    panel = conditioned_fleet(3, n_units=16, n_readings=8, failing=axis == "to_failure")
    options = {
        **KINDS[kind],
        "linking_rank": rank,
        "covariance": covariance,
        "max_iter": 30,
        "process": processes_of(cell),
    }
    return fitted(panel, basis=Polynomial(1), time_axis=axis, **options, **more)


@pytest.fixture(scope="module")
def models():
    return {cell: fit(cell).model_ for cell in GO}


@pytest.fixture(scope="module")
def panel():
    return conditioned_fleet(5, n_units=3, n_readings=8)


@pytest.mark.parametrize("cell", CLOSED, ids=str)
def test_what_a_process_excludes_is_refused_by_name(cell):
    """A model that ignored the process, or what goes with it in silence, would be sure of the wrong thing."""
    with pytest.raises(cem.CemError, match="process"):
        fit(cell)


@pytest.mark.parametrize("cell", GO, ids=str)
def test_batch_streaming_restarts_and_fleets_agree(cell, models, panel, tmp_path):
    """A machine's probability would jump when its gateway restarts, or differ from the nightly report."""
    model = models[cell]
    assert any(own is not None for own in model.processes)
    test_matrix.test_streaming_and_restarts_are_the_batch(models, cell)
    scorer = model.scorer()
    fleet = scorer.fleet()
    for unit in range(panel.n_units):
        fleet.begin(unit, test_matrix.covariates_of(model, panel, 0, unit)[1] or None)
    ids = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    for rows in (slice(0, 11), slice(11, None)):
        fleet.update_many((ids[rows], panel.times[rows], panel.values[rows]))
        fleet.save(tmp_path / "fleet.snapshot")
        fleet = cem.scoring.Fleet.load(tmp_path / "fleet.snapshot", model)
    np.testing.assert_allclose(fleet.probabilities().mode_probabilities, model.predict_proba(panel), rtol=0, atol=1e-11)


@pytest.mark.parametrize("cell", GO, ids=str)
def test_forecasts_and_thresholds_start_from_the_unit(cell, models, panel):
    """A unit's forecast would be the same streaming and in batch, and a law of lives finite, whatever the structure."""
    model, scorer = models[cell], models[cell].scorer()
    ends = panel.times[np.asarray(panel.offsets[1:]) - 1]
    for channel in PROCESSES:
        ahead = np.max(ends) + np.array([0.1, 0.5])
        batch = model.forecast(panel, ahead, channel)
        for unit in range(panel.n_units):
            lone = test_matrix.fed(scorer, model, panel, unit).forecast(ahead, channel)
            np.testing.assert_allclose(lone.mean, batch.mean[unit], rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(lone.variance, batch.variance[unit], rtol=1e-8)
    law = model.remaining_life(panel, 1e3, channel="a", direction="upper", horizon=5.0, n_draws=64)
    assert law.n_units == panel.n_units and np.all(law.cdf([1.0, 5.0]) <= 1.0)
    pool = cem.PooledLife(
        [cem.ThresholdLife(model, 1e3, channel="a", direction="upper", options={"n_draws": 64})], [1.0]
    )
    assert pool.predict(panel).probability_never.shape == (panel.n_units,)


@pytest.mark.parametrize("cell", GO, ids=str)
def test_files_frames_residuals_and_modes(cell, models, tmp_path):
    """What production loads is what was tested; tables and checks would be of plain models only."""
    test_matrix.test_a_file_gives_the_same_bits(models, cell, tmp_path)
    test_matrix.test_results_become_frames(models, cell)
    test_matrix.test_every_kind_of_model_is_checked_after_its_fit(models, cell)


@pytest.mark.parametrize("cell", FULL[:1], ids=str)
def test_reports_and_pictures_are_drawn(cell, models):
    test_matrix.test_reports_and_pictures_are_drawn(models, cell)


@pytest.mark.parametrize("cell", FULL, ids=str)
def test_parameters_carry_their_uncertainty(cell, panel, models):
    """Averages over parameters would forget the wander."""
    model = models[cell]
    known = model.with_uncertainty([model.internal_parameters] * 3, n_components=2)
    np.testing.assert_allclose(known.predict_proba(panel), model.predict_proba(panel), rtol=0, atol=1e-10)
    assert known.processes == model.processes
    running = test_matrix.fed(known.scorer(), known, panel, 0)
    np.testing.assert_allclose(running.mode_probabilities(), known.predict_proba(panel)[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", FULL, ids=str)
def test_what_cannot_take_a_process_says_so(cell, models, tmp_path, capsys):
    """C and lives from failures would ignore the wander, and forgetting answers the same question in another way."""
    model = models[cell]
    scorer = type(model.scorer())
    for call in (model.export_c, lambda: cem.RemainingLife(model), lambda: scorer(model, forgetting=0.9)):
        with pytest.raises(cem.CemError, match="wander"):
            call()
    model.save(tmp_path / "m.cem")
    assert main(["info", str(tmp_path / "m.cem")]) == 0
    assert "a: wiener" in capsys.readouterr().out


@pytest.mark.parametrize("cell", FULL[:1], ids=str)
def test_threads_do_not_change_the_bits(cell):
    """The same seed gives the same model on every machine of one instruction level."""
    one, two = fit(cell, n_jobs=1), fit(cell, n_jobs=2)
    np.testing.assert_array_equal(one.responsibilities_, two.responsibilities_)
    assert one.process_ == two.process_
