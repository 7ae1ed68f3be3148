"""Fits under conditions judged and continued: criteria of the training panel, warm starts, refits of folds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cem
from cem.covariates import Category, Linear, Power
from cem.errors import CemWarning, OptionError
from cem.fitting import fit as stages
from cem.fitting.conditioning import membership_design
from cem.fitting.given_parameters import given_parameters
from cem.prognosis.remaining_life import RemainingLife
from cem.prognosis.selection import cross_validate


def fleet(n_units=40, running=0, seed=2):
    """Two modes towards failure, three grades of operation, a load that shifts x, two sites."""
    rng = np.random.default_rng(seed)
    lives, site = np.exp(rng.normal(np.log(100.0), 0.25, n_units)), rng.choice(["a", "b"], n_units)
    times, values, loads, grades, failures = [], [], [], [], []
    for l, life in enumerate(lives):
        t = np.arange(1.0, life if l >= running else life * rng.uniform(0.3, 0.9), 5.0)
        to_failure, mode = (t - life) / 50.0, l % 2
        load, grade = rng.uniform(20.0, 80.0, len(t)), rng.integers(0, 3, len(t))
        T = rng.normal(0.0, 0.3, 2)
        x = 5.0 + T[0] + (1.0 + mode + T[1]) * to_failure + 0.02 * (load - 50.0) * (1 + mode)
        x += 0.1 * rng.normal(size=len(t))
        y = 2.0 * T[1] + to_failure**2 + T[0] * to_failure + 0.01 * load + 0.1 * rng.normal(size=len(t))
        times.append(t)
        values.append(np.column_stack([np.array([0.0, 10.0, -20.0])[grade] + np.array([1.0, 2.0, 0.5])[grade] * x, y]))
        loads.append(load)
        grades.append([f"grade {g}" for g in grade])
        failures.append(life if l >= running else np.nan)
    return cem.Panel.from_arrays(
        times, values, channels=["x", "y"], failure_times=failures, covariates={"load": loads, "grade": grades},
        unit_covariates={"site": list(site)},
    )  # fmt: skip


KINDS = {
    "regimes": {"regimes": cem.Regimes("grade")},
    "by mode": {"covariates": {"x": [Linear("load", by_mode=True), Category("grade")]}},
    "products": {"covariates": [Power("load", 2, basis_functions="all"), "grade"]},
    "by mode products": {"covariates": {"x": [Linear("load", by_mode=True, basis_functions="all")]}},
    "membership": {"membership": ["site"]},
    "some random": {"random_columns": [0], "regimes": cem.Regimes("grade"), "noise": "pooled"},
    "none random": {"random_columns": "none", "common_columns": None, "regimes": cem.Regimes("grade")},
    "all": {
        "regimes": cem.Regimes("grade"), "covariates": {"x": [Linear("load", by_mode=True)], "y": ["load"]},
        "membership": ["site"], "random_columns": {"y": [0]},
    },
    "linked": {"regimes": cem.Regimes("grade"), "covariates": ["load"], "linking_rank": 1},
    "linked products": {"covariates": [Linear("load", basis_functions="all"), "grade"], "linking_rank": 1},
    "linked, one function random": {"regimes": cem.Regimes("grade"), "random_columns": [0], "linking_rank": 1},
}  # fmt: skip


def estimator(**options):
    given = {"basis": cem.Polynomial(1), "random_state": 0, "n_init": 2, "max_iter": 200, "covariance": "full"}
    given |= options
    return cem.FailureModeEM(2, **given)


def fitted(panel, init=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return estimator(**options).fit(panel, init=init)


@pytest.fixture(scope="module")
def failed():
    return fleet()


@pytest.fixture(scope="module")
def some_running():
    return fleet(running=8)


@pytest.mark.parametrize("kind", KINDS)
def test_criteria_of_the_training_panel_are_those_of_the_fit(failed, kind):
    em = fitted(failed, **KINDS[kind])
    assert em.bic(failed) == pytest.approx(em.bic(), rel=1e-10)
    assert em.aic(failed) == pytest.approx(em.aic(), rel=1e-10)
    assert em.icl(failed) == pytest.approx(em.icl(), rel=1e-9)
    assert em.model_.score_samples(failed).sum() == pytest.approx(em.log_likelihood_, rel=1e-10)
    np.testing.assert_allclose(em.model_.predict_proba(failed), em.responsibilities_, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_criteria_on_the_time_to_failure_are_those_of_the_fit(some_running, kind):
    """Readings of running units count under their regimes, too."""
    em = fitted(some_running, time_axis="to_failure", **KINDS[kind])
    assert em.bic(some_running) == pytest.approx(em.bic(), rel=1e-10)
    assert em.icl(some_running) == pytest.approx(em.icl(), rel=1e-8)


def start_of(panel, model, **options):
    """The log-likelihood at which a fit that continues a model starts, before any floor is applied."""
    em = estimator(**options)
    checked = em._options()
    design = membership_design(model.of_units, panel)
    prepared = stages._prepare(panel, checked, model, design, None)
    expectation = prepared.problem.expectation
    given = given_parameters(expectation, prepared.one_mode, prepared.problem.constraints, 2, model)
    found, _ = expectation(given)
    by_map = 0.0 if prepared.conditioning is None else prepared.conditioning.log_jacobian()
    return found.log_likelihood + expectation.statistics.log_jacobian + by_map


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_start_begins_where_the_model_is(failed, kind, monkeypatch):
    """Floors are learned anew, so they are left out here; all else is the model's own."""
    em = fitted(failed, **KINDS[kind])
    monkeypatch.setattr(stages, "feasible", lambda given, constraints: given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        assert start_of(failed, em.model_, **KINDS[kind]) == pytest.approx(em.log_likelihood_, rel=1e-9)


@pytest.mark.parametrize("kind", ["regimes", "all", "linked"])
def test_a_continued_fit_does_not_fall(failed, kind):
    em = fitted(failed, **KINDS[kind])
    again = fitted(failed, init=em.model_, **KINDS[kind])
    assert again.log_likelihood_ >= em.log_likelihood_ - 1e-5 * abs(em.log_likelihood_)
    assert again.n_parameters_ == em.n_parameters_


def test_a_refit_of_a_prognosis_keeps_every_kind_of_column(some_running):
    """Calibration refits the folds from the model alone: conditions, membership, random columns and pooled noise."""
    em = fitted(
        some_running, time_axis="to_failure", basis=cem.Polynomial(2, random_degree=1), noise="pooled",
        regimes=cem.Regimes("grade"), covariates={"x": [Linear("load", by_mode=True)]}, membership=["site"],
    )  # fmt: skip
    prognosis = RemainingLife(em.model_)
    again = prognosis.recipe()(some_running).model
    assert again.training["n_parameters"] == em.n_parameters_
    assert again.training["log_likelihood"] == pytest.approx(em.log_likelihood_, abs=1.0)
    assert again.covariates == em.model_.covariates and again.unit_covariates == em.model_.unit_covariates
    assert again.conditions.of_channels(again.channels).by_mode == em.model_.conditions.by_mode
    covariances = np.array(again.covariances_)
    assert np.all(covariances[:, :, 2, 2] == 0.0) and np.all(covariances[:, :, 0, 0] > 0.0)


def test_calibration_and_selection_run_under_conditions(some_running):
    options = {"time_axis": "to_failure", "regimes": cem.Regimes("grade"), "covariates": ["load"], "n_init": 3}
    em = fitted(some_running, **options)
    report = RemainingLife(em.model_).calibrated(some_running, ages=2, n_folds=2).calibration
    assert report.skill > 0.2
    blind = cem.FailureModeEM(1, basis=cem.Polynomial(1), time_axis="to_failure")
    found = cross_validate(some_running, {"knows": estimator(**options), "blind": blind}, ages=2, n_folds=2)
    assert found.best.name == "knows"
    assert found.scored[0].log_likelihood > found.scored[1].log_likelihood


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regimes": cem.Regimes("grade")}, "the covariates 'grade', 'load' with regimes, and the options name the"),
        ({"covariates": ["load"]}, "with regimes, and the options name the covariates 'load' without regimes"),
        ({"membership": ["line"]}, "membership of the model depends on 'site'"),
    ],
)
def test_a_warm_start_with_other_conditions_is_refused(failed, options, words):
    """The fit keeps those of the model, which may not be what was asked for."""
    em = fitted(failed, **KINDS["all"])
    line = {"line": [f"line {i % 3}" for i in range(failed.n_units)]}
    with pytest.raises(OptionError, match=words):
        estimator(**options).fit(failed.with_covariates(unit_covariates=line), init=em.model_)


def test_a_warm_start_from_a_model_without_conditions_cannot_add_them(failed):
    em = fitted(failed)
    with pytest.raises(OptionError, match="the model has no covariates, and the options name the covariates 'grade'"):
        estimator(regimes=cem.Regimes("grade")).fit(failed, init=em.model_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        estimator(regimes=cem.Regimes("grade")).fit(failed, init=em.model_.predict_proba(failed))


def test_channels_without_random_columns_cannot_be_linked(failed):
    with pytest.raises(OptionError, match="can share 0 factors"):
        fitted(failed, random_columns={"x": "none"}, linking_rank=1)


def test_ln_life_is_no_reading_that_conditions_move(failed):
    """With lives linked to channels, the law of lives must not depend on the regime of the last reading."""
    em = fitted(failed, time_axis="to_failure", **KINDS["linked"])
    medians = [law.median() for law in em.lifetimes_.laws]
    assert np.exp(np.abs(np.log(np.array(medians) / 100.0))).max() < 1.25
    moved = failed.with_covariates({"load": failed.covariate("load") + 1000.0})
    again = fitted(moved, time_axis="to_failure", **KINDS["linked"])
    np.testing.assert_allclose([law.median() for law in again.lifetimes_.laws], medians, rtol=1e-5)
