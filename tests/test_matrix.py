"""The matrix of ways that a model goes: every kind of condition scores alike on all of them, or is refused by name.

One fleet, all kinds: what is fitted over time or to failure, with or without links, under each structure of the
covariances, has to give the same answers in batch, streaming, after a restart, from a file, without SciPy, in C and on
the command line. A cell that cannot is refused by a typed error that says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conditioned_fleets import conditioned_fleet, fitted

import cem
from cem import FailureModeEM
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes

KINDS = {
    "plain": {},
    "common": {"covariates": ["speed", "stage"]},
    "by mode": {"covariates": {"b": [Linear("speed", by_mode=True)]}},
    "regimes": {"regimes": Regimes("load", n=3)},
    "fixed functions": {"random_columns": [0], "common_columns": {"a": [1]}},
    "no random columns": {"random_columns": "none"},
    "pooled noise": {"noise": "pooled"},
    "membership": {"membership": ["site"]},
    "all": {
        "covariates": {"b": [Linear("speed", by_mode=True), "stage"], "c": ["rate"]},
        "regimes": Regimes("load", n=3),
        "random_columns": {"a": [0], None: "all"},
        "noise": "pooled",
        "membership": ["site"],
    },
}
COVARIANCES = ((0, "full"), (0, "diagonal"), (0, "pooled"), (0, "shrunk"), (1, "full"), (1, "shrunk"))
STRUCTURES = [(axis, *structure) for axis in ("forward", "to_failure") for structure in COVARIANCES]
CELLS = [(kind, *structure) for kind in KINDS for structure in STRUCTURES]


@pytest.fixture(scope="module")
def models():
    """Fitted once for all tests, or the error that refused the fit."""
    made = {}
    for kind, axis, rank, covariance in CELLS:
        panel = conditioned_fleet(3, n_units=20, n_readings=8, failing=axis == "to_failure")
        options = {**KINDS[kind], "linking_rank": rank, "covariance": covariance, "max_iter": 30}
        try:
            made[kind, axis, rank, covariance] = fitted(panel, basis=Polynomial(1), time_axis=axis, **options).model_
        except cem.CemError as error:
            made[kind, axis, rank, covariance] = error
    return made


def chosen(models, cell):
    """The model of a cell; a fit may be refused, by name."""
    found = models[cell]
    if isinstance(found, cem.CemError):
        kind, _, rank, _ = cell
        assert rank and kind == "no random columns", found  # links need coefficients that vary
        assert "linking_rank" in str(found) or "random" in str(found)
        pytest.skip(f"refused by name: {found}")
    return found


def covariates_of(model, panel, row, unit):
    """What is read at a row, and what is known of its unit."""
    at = {name: panel.covariate(name)[row] for name in model.covariates}
    of_unit = {name: panel.covariate(name)[unit] for name in model.unit_covariates}
    return at, of_unit


def fed(scorer, model, panel, unit, *, restored=False):
    """A running unit that has seen one unit of a panel; half of it before a restart."""
    first, last = (int(i) for i in panel.offsets[unit : unit + 2])
    _, of_unit = covariates_of(model, panel, first, unit)
    running = scorer.unit(covariates=of_unit) if of_unit else scorer.unit()
    for row in range(first, last):
        at, _ = covariates_of(model, panel, row, unit)
        if at:
            running.update(panel.times[row], panel.values[row], covariates=at)
        else:
            running.update(panel.times[row], panel.values[row])
        if restored and row == (first + last) // 2:
            running = type(running).from_bytes(scorer, running.to_bytes())
    return running


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[1] == "forward"], ids=str)
def test_streaming_and_restarts_are_the_batch(models, cell):
    """A machine's probability would jump when its gateway restarts, or differ from the nightly report."""
    model = chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8)
    batch, lone = model.predict_proba(panel), model.score_samples(panel)
    scorer = model.scorer()
    for unit in range(panel.n_units):
        running = fed(scorer, model, panel, unit)
        np.testing.assert_allclose(running.mode_probabilities(), batch[unit], rtol=0, atol=1e-11)
        np.testing.assert_allclose(running.log_likelihood(), lone[unit], rtol=1e-11, atol=1e-11)
        again = fed(scorer, model, panel, unit, restored=True)
        np.testing.assert_array_equal(again.mode_probabilities(), running.mode_probabilities())


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_fleet_of_running_units_has_the_bits_of_its_units(models, cell, tmp_path):
    """A gateway that sends batches would see other probabilities than one that sends readings one by one."""
    model = chosen(models, cell)
    if cell[1] == "to_failure":
        with pytest.raises(cem.ScorerError, match="to_failure"):
            model.scorer().fleet()
        return
    panel = conditioned_fleet(5, n_units=3, n_readings=8)
    scorer = model.scorer()
    fleet = scorer.fleet()
    for unit in range(panel.n_units):
        fleet.begin(unit, covariates_of(model, panel, 0, unit)[1] or None)
    ids = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    for rows in (slice(0, 11), slice(11, None)):
        at = {name: panel.covariate(name)[rows] for name in model.covariates}
        fleet.update_many((ids[rows], panel.times[rows], panel.values[rows]), covariates=at or None)
        fleet.save(tmp_path / "fleet.snapshot")
        fleet = cem.scoring.Fleet.load(tmp_path / "fleet.snapshot", model)
    found = fleet.probabilities()
    for unit in range(panel.n_units):
        running = fed(scorer, model, panel, unit)
        assert fleet.unit(unit).to_bytes() == running.to_bytes()
        np.testing.assert_array_equal(found.mode_probabilities[unit], running.mode_probabilities())


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[1] == "to_failure"], ids=str)
def test_lives_streaming_are_those_of_the_batch(models, cell):
    """A life read on the machine would differ from the one in the report."""
    model = chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8)
    prognosis = cem.RemainingLife(model)
    batch = prognosis.predict(panel).mean()
    assert np.isfinite(batch).all()
    for unit in range(panel.n_units):
        first, last = (int(i) for i in panel.offsets[unit : unit + 2])
        _, of_unit = covariates_of(model, panel, first, unit)
        try:
            running = prognosis.unit(covariates=of_unit) if of_unit else prognosis.unit()
        except cem.CemError as refused:
            assert "by mode" in str(refused) or "speed" in str(refused), refused
            pytest.skip(f"refused by name: {refused}")
        for row in range(first, last):
            at, _ = covariates_of(model, panel, row, unit)
            running.update(panel.times[row], panel.values[row], **({"covariates": at} if at else {}))
        np.testing.assert_allclose(running.distribution().mean(), batch[unit], rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_file_gives_the_same_bits(models, cell, tmp_path):
    """What production loads is what was tested."""
    model = chosen(models, cell)
    model.save(tmp_path / "m.cem")
    loaded = cem.load(tmp_path / "m.cem")
    panel = conditioned_fleet(5, n_units=3, n_readings=8, failing=cell[1] == "to_failure")
    np.testing.assert_array_equal(loaded.predict_proba(panel), model.predict_proba(panel))
    np.testing.assert_array_equal(loaded.score_samples(panel), model.score_samples(panel))


def test_all_of_them_score_without_scipy(models, tmp_path):
    """Gateways have NumPy alone."""
    panel = conditioned_fleet(5, n_units=3, n_readings=8, failing=True)
    expected = {}
    for i, cell in enumerate(CELLS):
        if not isinstance(models[cell], cem.CemError):
            models[cell].save(tmp_path / f"{i}.cem")
            expected[i] = models[cell].predict_proba(panel).tolist()
    script = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "scipy":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import cem
panel = cem.Panel.from_arrays(**json.load(sys.stdin))
found = {{i: cem.load({str(tmp_path)!r} + f"/{{i}}.cem").predict_proba(panel).tolist() for i in {list(expected)}}}
print(json.dumps(found))
"""
    given = {
        "times": [panel.times[a:b].tolist() for a, b in zip(panel.offsets[:-1], panel.offsets[1:], strict=True)],
        "values": [panel.values[a:b].tolist() for a, b in zip(panel.offsets[:-1], panel.offsets[1:], strict=True)],
        "channels": list(panel.channels),
        "failure_times": panel.failure_times.tolist(),
        "time_unit": panel.time_unit,
        "channel_units": panel.channel_units,
        "covariates": {
            name: [
                panel.covariate(name)[a:b].tolist() for a, b in zip(panel.offsets[:-1], panel.offsets[1:], strict=True)
            ]
            for name in panel.covariates
        },
        "unit_covariates": {name: panel.covariate(name).tolist() for name in panel.unit_covariates},
    }
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(given), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for i, rows in expected.items():
        np.testing.assert_array_equal(found[str(i)], rows)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[1] == "forward"], ids=str)
def test_c_headers_are_written_or_refused(models, cell):
    """tests/export compiles them and compares numbers; here no kind may be left out in silence."""
    model = chosen(models, cell)
    if cell[2]:
        for scalar in ("double", "float"):
            with pytest.raises(cem.CemError, match="linking_rank"):
                model.export_c(scalar=scalar)
        return
    for scalar in ("double", "float"):
        text = model.export_c(scalar=scalar)
        assert ("fleet_update_at" in text) == bool(model.covariates)
        assert ("fleet_init_at" in text) == bool(model.unit_covariates)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_results_become_frames(models, cell):
    """A table of results would be there for plain models only, or hold other numbers than the arrays."""
    pytest.importorskip("pandas")
    model = chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8, failing=cell[1] == "to_failure")
    found = model.probability_frame(panel, backend="pandas")
    assert found["unit"].tolist() == list(panel.units)
    np.testing.assert_array_equal(found.iloc[:, 1:].to_numpy(), model.predict_proba(panel))
    posterior = model.posterior(panel)
    frame = posterior.to_frame("pandas")
    assert len(frame) == panel.n_units * model.n_modes * sum(basis.size for basis in model.bases)
    assert frame["probability"].between(0, 1).all() and np.isfinite(frame["mean"]).all()
    assert len(panel.to_frame("pandas")) == panel.n_readings
    if cell[1] == "to_failure":
        law = cem.RemainingLife(model).predict(panel)
        assert law.to_frame("pandas")["unit"].tolist() == list(panel.units)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell[3] == "full"], ids=str)
def test_reports_and_pictures_are_drawn(models, cell):
    """A page of a model with covariates, regimes, links or lives would break off, or leave them out."""
    pytest.importorskip("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    model = chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8, failing=cell[1] == "to_failure")
    page = model.report(panel.with_failure_times(None))  # they run
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") >= len(model.channels)
    for name in (*model.covariates, *model.unit_covariates):
        assert name in page
    lives = page.partition('<section id="lives">')[2].partition("</section>")[0]
    assert ("<svg" in lives) == (cell[1] == "to_failure")
    try:
        assert model.plot(panel).figure_.axes
        first = panel.units[0]
        if cell[1] == "forward":
            shown = cem.plot.ProbabilityDisplay.from_model(model, panel, unit=first).probabilities[-1]
            np.testing.assert_allclose(shown, model.predict_proba(panel)[0], rtol=0, atol=1e-9)
        else:
            shown = cem.plot.ProbabilityDisplay.from_prognosis(cem.RemainingLife(model), panel, unit=first)
            np.testing.assert_allclose(shown.probabilities.sum(axis=1), 1.0)
        assert cem.plot.NoveltyDisplay.from_model(model, panel).figure_.axes
        assert cem.plot.ResidualDisplay.from_model(model, panel, "a").figure_.axes
        assert cem.plot.QuantileResidualDisplay.from_model(model, panel).figure_.axes
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_kind_of_model_is_checked_after_its_fit(models, cell):
    """Residuals, and the match of a model with itself, would be of plain models only."""
    model = chosen(models, cell)
    panel = conditioned_fleet(5, n_units=3, n_readings=8, failing=cell[1] == "to_failure")
    for kind in ("subject", "marginal", "quantile"):
        found = model.residuals(panel, kind)
        assert np.isfinite(found.standardised).all()
        assert found.standardised.shape == (panel.n_readings, model.n_channels)
    assert model.classification(panel).assigned.sum() == panel.n_units
    assert cem.match_modes(model, model).places.tolist() == list(range(model.n_modes))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
def test_the_command_line_scores_what_python_fitted(models, kind, tmp_path, capsys):
    """A table with the columns that the model remembers needs no options."""
    from cem.cli.commands import main

    model = models[kind, "forward", 0, "full"]
    panel = conditioned_fleet(5, n_units=3, n_readings=8)
    unit = np.repeat(np.arange(3), np.diff(panel.offsets))
    names = (*panel.covariates, *panel.unit_covariates)
    rows = [",".join(("unit", "time", *panel.channels, *names))]
    for row, l in enumerate(unit):
        own = [panel.covariate(name)[row if name in panel.covariates else l] for name in names]
        cells = [*panel.values[row], *own]
        rows.append(
            ",".join(
                [f"u{l}", repr(float(panel.times[row])), *(c if isinstance(c, str) else repr(float(c)) for c in cells)]
            )
        )
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    model.save(tmp_path / "m.cem")
    assert main(["score", str(tmp_path / "m.cem"), str(tmp_path / "t.csv"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = [list(entry["probabilities"].values()) for entry in document["units"]]
    np.testing.assert_allclose(found, model.predict_proba(panel), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_change_the_bits(kind):
    """The same seed gives the same model on every machine of one instruction level."""
    panel = conditioned_fleet(3, n_units=20, n_readings=8)
    one, eight = (fitted(panel, basis=Polynomial(1), max_iter=20, n_jobs=n, **KINDS[kind]) for n in (1, 8))
    np.testing.assert_array_equal(one.responsibilities_, eight.responsibilities_)
    np.testing.assert_array_equal(one.log_likelihoods_, eight.log_likelihoods_)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_objective_never_falls(cell):
    """A fit that falls is no fit of the model that it says it is."""
    kind, axis, rank, covariance = cell
    panel = conditioned_fleet(3, n_units=20, n_readings=8, failing=axis == "to_failure")
    options = {**KINDS[kind], "linking_rank": rank, "covariance": covariance, "max_iter": 30}
    try:
        em = fitted(panel, basis=Polynomial(1), time_axis=axis, **options)
    except cem.CemError:
        return  # `chosen` says which may be refused
    assert isinstance(em, FailureModeEM)
    assert np.diff(em.objectives_).min(initial=0.0) >= -1e-9 * (1.0 + np.abs(em.objectives_).max())
