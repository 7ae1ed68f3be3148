"""Every kind of fit has standard errors, or is refused by name; what they are made of is what the table says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conditioned_fleets import conditioned_fleet, fitted
from life_cases import partly_running

import cem
from cem import FailureModeEM
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes
from cem.fitting.fitted_problem import fitted_problem
from cem.fitting.parameter_laws import scores_of_units

KINDS = {
    "plain": {},
    "covariates": {"covariates": {"a": ["speed"], "b": [Linear("speed", by_mode=True), "stage"]}, "noise": "pooled"},
    "fixed functions": {"random_columns": [0], "common_columns": {"a": [1]}},
    "no random columns": {"random_columns": "none"},
    "regimes and membership": {"regimes": Regimes("load", n=3), "membership": ["site"]},
}
STRUCTURES = [(0, "full"), (0, "diagonal"), (0, "pooled"), (0, "shrunk"), (1, "full")]
CELLS = [(kind, axis, *structure) for kind in KINDS for axis in ("forward", "to_failure") for structure in STRUCTURES]


@pytest.fixture(scope="module")
def fleets():
    return {axis: conditioned_fleet(3, n_units=150, n_readings=8, failing=axis == "to_failure")
            for axis in ("forward", "to_failure")}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_kind_of_fit_has_standard_errors(cell, fleets):
    """A user of covariates or links would get an untyped error, or numbers without a name."""
    kind, axis, rank, covariance = cell
    panel = fleets[axis]
    options = {**KINDS[kind], "linking_rank": rank, "covariance": covariance, "max_iter": 2000, "time_axis": axis}
    try:
        em = fitted(panel, basis=Polynomial(1), **options)
    except cem.CemError as error:
        assert rank and kind == "no random columns", error
        return
    known = em.uncertainty(panel)
    assert len(set(known.names)) == len(known.names)
    errors, notes = known.standard_errors, np.array(known.notes)
    assert (np.isfinite(errors) | (notes == "at its floor")).all()
    if covariance == "diagonal":  # nothing is estimated between coefficients
        assert not any(row.kind == "covariance" for row in known.rows)
    estimates = dict(zip(known.names, known.estimates, strict=True))
    model = em.model_
    assert estimates["noise[a]" if em.noise == "pooled" else "noise[1, a]"] == pytest.approx(
        em.noise_variances_[1, 0], rel=1e-9
    )
    for c, channel in enumerate(model.channels):
        for j in range(2):
            name = f"mean[1, {channel}, {j}]"
            name = name if name in estimates else f"mean[{channel}, {j}]"
            assert estimates[name] == pytest.approx(em.means_[1, c, j], rel=1e-7, abs=1e-9)
    for channel, effects in em.covariate_effects_.items():
        for term, effect in effects.items():
            place = f"effect[{channel}, {term}]" if np.ndim(effect) == 0 else f"effect[1, {channel}, {term}]"
            assert estimates[place] == pytest.approx(np.atleast_1d(effect)[-1], rel=1e-7, abs=1e-9)
    for term, effect in (em.membership_ or {}).items():
        assert estimates[f"membership[1, {term}]"] == pytest.approx(effect[1], rel=1e-7, abs=1e-9)
    if rank:
        assert estimates["loading[1, b, 0, factor 0]"] == pytest.approx(model.loadings_[1, 1, 0, 0], rel=1e-6, abs=1e-9)
    if axis == "to_failure":
        law = em.lifetimes_.laws[1]
        assert estimates["life[1, median]"] == pytest.approx(law.median(), rel=1e-9)
        assert estimates["life[1, spread]"] == pytest.approx(law.scale, rel=1e-9)
    assert np.isfinite(known.bands(channel="b").lower).all()
    (drawn,) = known.law.forms(1)
    assert drawn.parameters.sizes == model.internal_parameters.sizes
    try:
        assert em.uncertainty(panel, "robust").method == "robust"
    except cem.UncertaintyError as error:
        assert "scores" in str(error)


@pytest.mark.parametrize("lifetimes", ["lognormal", "weibull", "linked"])
def test_running_units_inform_the_standard_errors(lifetimes):
    """Censored lives would count as failures, or not at all."""
    panel = partly_running(80, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        options = {"lifetimes": lifetimes, "linking_rank": int(lifetimes == "linked"), "covariance": "full"}
        em = FailureModeEM(2, basis=Polynomial(1), time_axis="to_failure", random_state=0, **options).fit(panel)
    found = fitted_problem(em, panel)
    coordinates = found.problem.coordinates(found.evaluation.point)
    vector = coordinates.vector(found.evaluation.point)
    gradient = coordinates.gradient(vector, found.evaluation.point, found.evaluation.sums)[0]
    scores = scores_of_units(found, vector)
    assert scores.shape == (80, len(vector))
    free = np.ones(len(vector), dtype=bool)  # numbers without a penalty
    if lifetimes == "linked":
        K, P = found.parameters.means.shape
        free[K * (1 + P) :] = False
    else:
        free[-4:] = False
    np.testing.assert_allclose(scores.sum(axis=0)[free], gradient[free], atol=2e-4)
    known = em.uncertainty(panel)
    lives = [i for i, row in enumerate(known.rows) if row.kind == "life"]
    assert len(lives) >= 4 and (known.standard_errors[lives] > 0).all()
    names = {known.rows[i].term for i in lives}
    assert names >= ({"scale", "shape"} if lifetimes == "weibull" else {"median", "spread"})


def test_the_median_of_lives_is_as_uncertain_as_that_of_its_sample():
    """All failed, one mode: a lognormal law's ln median has the standard error spread / √L."""
    rng = np.random.default_rng(0)
    lives = np.exp(3.0 + 0.3 * rng.standard_normal(90))
    times = [np.linspace(0.05, 0.95, 6) * life for life in lives]
    values = [
        (life - t)[:, None] / life + 0.1 * rng.standard_normal((6, 1)) for t, life in zip(times, lives, strict=True)
    ]
    panel = cem.Panel.from_arrays(times, values, failure_times=lives)
    em = FailureModeEM(1, basis=Polynomial(1), time_axis="to_failure").fit(panel)
    known = em.uncertainty(panel)
    place = known.names.index("life[0, median]")
    spread = em.lifetimes_.laws[0].scale
    assert known.standard_errors[place] / known.estimates[place] == pytest.approx(spread / np.sqrt(90), rel=1e-3)
    place = known.names.index("life[0, spread]")
    assert known.standard_errors[place] == pytest.approx(spread / np.sqrt(2 * 90), rel=0.03)  # a prior of one unit


@pytest.mark.parametrize("lifetimes", ["lognormal", "weibull", "empirical", "linked"])
def test_a_fleet_with_running_units_is_drawn_again(lifetimes):
    """Small fleets with lives would have no standard errors at all, since the information is refused there."""
    panel = partly_running(40, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        options = {"lifetimes": lifetimes, "linking_rank": int(lifetimes == "linked"), "covariance": "full"}
        options["max_iter"] = 20 if lifetimes == "empirical" else 1000
        em = FailureModeEM(2, basis=Polynomial(1), time_axis="to_failure", random_state=0, **options).fit(panel)
        with pytest.raises(cem.UncertaintyError):
            em.uncertainty(panel)
        known = em.uncertainty(panel, "bootstrap", n_replicates=8)
    assert "8 replicates" in known.facts[0] and len(known.law.forms(3)) == 3
    assert np.isfinite(known.standard_errors).mean() > 0.9
    assert any(row.kind == "life" for row in known.rows) == (lifetimes != "empirical")
    with pytest.raises(cem.UncertaintyError, match="kind='units'"):
        em.uncertainty(panel, "bootstrap", kind="parametric")
    with pytest.raises(cem.OptionError, match="n_replicates=1"):
        em.uncertainty(panel, "bootstrap", n_replicates=1)


def test_a_drawn_fleet_of_all_units_is_the_fleet():
    """Replicates would maximise another objective: candidates of another unit, or its known mode."""
    from cem.fitting.lives_replicates import resampled

    panel = partly_running(40, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = FailureModeEM(2, basis=Polynomial(1), time_axis="to_failure", random_state=0).fit(panel)
    found = fitted_problem(em, panel)
    again = resampled(found.problem, np.arange(40)).expect(found.evaluation.point)
    assert again.objective == pytest.approx(found.evaluation.objective, rel=1e-12)
    twice = resampled(found.problem, np.repeat(np.arange(40), 2)).expect(found.evaluation.point)
    assert twice.log_likelihood == pytest.approx(2 * found.evaluation.log_likelihood, rel=1e-12)
    np.testing.assert_allclose(twice.responsibilities[::2], em.responsibilities_, atol=1e-7)
