"""The objective of a fit, set up again from the estimator and its panel, and the likelihood at given parameters."""

import pickle
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

KINDS = {
    "plain": {},
    "common": {"covariates": ["speed", "stage"]},
    "by mode": {"covariates": {"b": [Linear("speed", by_mode=True)]}},
    "regimes": {"regimes": Regimes("load", n=3)},
    "fixed functions": {"random_columns": [0], "common_columns": {"a": [1]}},
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
COVARIANCES = ((0, "full"), (0, "diagonal"), (0, "pooled"), (0, "shrunk"), (1, "full"))
STRUCTURES = [(axis, *covariance) for axis in ("forward", "to_failure") for covariance in COVARIANCES]
CELLS = [(kind, *structure) for kind in KINDS for structure in STRUCTURES]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_kind_of_fit_is_set_up_again(cell):
    """Standard errors would be those of another objective than the one that was maximised."""
    kind, axis, rank, covariance = cell
    panel = conditioned_fleet(3, n_units=20, n_readings=8, failing=axis == "to_failure")
    options = {**KINDS[kind], "linking_rank": rank, "covariance": covariance, "max_iter": 25, "time_axis": axis}
    em = fitted(panel, basis=Polynomial(1), **options)
    found = fitted_problem(em, panel)
    offset = em.objectives_[-1] - em._form.objective
    assert found.evaluation.objective + offset == pytest.approx(em.objectives_[-1], rel=1e-10, abs=1e-7)
    np.testing.assert_allclose(found.evaluation.responsibilities, em.responsibilities_, rtol=0, atol=1e-7)


@pytest.mark.parametrize("lifetimes", ["lognormal", "weibull", "empirical", "linked"])
def test_units_that_still_run_take_part(lifetimes):
    """Half of a fleet would be missing from the standard errors."""
    panel = partly_running(24, 5)
    rank = 1 if lifetimes == "linked" else 0
    em = FailureModeEM(
        2, basis=Polynomial(1), time_axis="to_failure", lifetimes=lifetimes, linking_rank=rank, random_state=0,
        max_iter=20,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em.fit(panel)
    found = fitted_problem(em, panel)
    np.testing.assert_allclose(found.evaluation.responsibilities, em.responsibilities_, rtol=0, atol=1e-7)


def two_modes(n_units=30, seed=3, quiet=False):
    """Two modes of a line; with `quiet`, the noise of one is far below the floor of the search."""
    rng = np.random.default_rng(seed)
    times = np.tile(np.linspace(0.0, 1.0, 8), (n_units, 1))
    mode = np.arange(n_units) % 2
    noise = np.where(mode == 0, 0.3, 1e-3 if quiet else 0.2)
    levels, slopes = mode * 2.0 + 0.4 * rng.normal(size=n_units), (mode - 0.5) + 0.3 * rng.normal(size=n_units)
    values = levels[:, None] + slopes[:, None] * times + noise[:, None] * rng.normal(size=times.shape)
    return cem.Panel.from_arrays(times, values[..., None]), mode


def test_floors_that_were_lowered_for_a_quiet_mode_are_kept():
    """The information would be that of another problem, in which the quiet mode is held at a floor."""
    panel, _ = two_modes(quiet=True)
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(panel)
    found = fitted_problem(em, panel)
    assert (found.mixture.constraints.noise_floors <= found.parameters.noise_variances.min(axis=0)).all()
    assert found.evaluation.objective == pytest.approx(em._form.objective, rel=1e-12)


def test_labels_and_copies_of_units_count_as_in_the_fit():
    """Known labels would be forgotten, and a unit of weight three count once."""
    panel, mode = two_modes()
    labels = [("worn", "cracked")[k] if i < 8 else None for i, k in enumerate(mode)]
    panel = panel.with_modes(labels)
    weights = np.arange(panel.n_units) % 3
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(panel, sample_weight=weights)
    found = fitted_problem(em, panel)
    assert found.panel.n_units == weights.sum() and found.n_units == np.count_nonzero(weights)
    with pytest.raises(cem.PanelError, match="panel of the fit"):
        fitted_problem(em, panel.with_modes(None))
    with pytest.raises(cem.PanelError, match="sample_weight for 30"):
        fitted_problem(em, panel[:20])


def test_another_panel_is_refused_by_name():
    """Standard errors of one fleet would be reported for another."""
    panel, _ = two_modes()
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(panel)
    with pytest.raises(cem.PanelError, match="nats away"):
        fitted_problem(em, two_modes(seed=4)[0])
    with pytest.raises(cem.NotFittedError):
        fitted_problem(FailureModeEM(2), panel)
    again = pickle.loads(pickle.dumps(em))
    assert fitted_problem(again, panel).evaluation.objective == fitted_problem(em, panel).evaluation.objective
    del again.__dict__["_form"]
    with pytest.raises(cem.NotFittedError, match=r"before 0\.8"):
        fitted_problem(again, panel)


@pytest.mark.parametrize("offset", [3e8, 1e10])
def test_a_channel_far_from_zero_is_known_again(offset):
    """Standard errors of a channel of time stamps would be refused, as those of another panel."""
    near, _ = two_modes()
    far, other = (panel._replace(values=panel.values + offset) for panel in (near, two_modes(seed=4)[0]))
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0, n_init=2).fit(far)
    again = far._replace(values=np.nextafter(far.values, np.inf))  # as another way to read the file may round
    assert fitted_problem(em, far).n_units == fitted_problem(em, again).n_units == far.n_units
    with pytest.raises(cem.PanelError, match="nats away"):
        fitted_problem(em, other)


# -- max_iter=0


@pytest.mark.parametrize(
    "options", [{}, {"covariance": "full"}, {"covariance": "pooled"}, {"linking_rank": 1}, {"noise": "pooled"}], ids=str
)
def test_no_pass_is_made_at_given_parameters(options):
    """The likelihood at given parameters would be that of others, a step further on."""
    panel = conditioned_fleet(3, n_units=20, n_readings=8)
    em = fitted(panel, basis=Polynomial(1), max_iter=6, **options)
    other = conditioned_fleet(4, n_units=20, n_readings=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", cem.ConvergenceWarning)
        at = FailureModeEM(2, basis=Polynomial(1), **{**options, "max_iter": 0}).fit(other, init=em.model_)
    assert at.n_iter_ == 0 and not at.converged_
    for name in ("weights_", "means_", "covariances_", "noise_variances_"):
        np.testing.assert_allclose(getattr(at, name), getattr(em, name), rtol=1e-9, atol=1e-12)
    assert at.log_likelihood_ == pytest.approx(em.model_.score_samples(other).sum(), rel=1e-10)


@pytest.mark.parametrize(("lifetimes", "rank"), [("lognormal", 0), ("weibull", 0), ("linked", 1)])
def test_laws_of_lifetimes_are_evaluated_as_they_are(lifetimes, rank):
    """ℓ at given parameters would be that of laws that were fitted again."""
    panel = partly_running(24, 5)
    options = {"basis": Polynomial(1), "time_axis": "to_failure", "lifetimes": lifetimes, "linking_rank": rank}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = FailureModeEM(2, random_state=0, max_iter=30, **options).fit(panel)
    for asked in (lifetimes, "auto"):
        at = FailureModeEM(2, max_iter=0, **{**options, "lifetimes": asked}).fit(panel, init=em.model_)
        assert at.log_likelihood_ == pytest.approx(em.log_likelihood_, rel=1e-7)
        np.testing.assert_allclose(at.responsibilities_, em.responsibilities_, atol=1e-5)


def test_quiet_parameters_are_not_lifted_to_a_floor():
    """A model of a quiet mode would be evaluated at another noise than its own."""
    panel, _ = two_modes(quiet=True)
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(panel)
    at = FailureModeEM(2, basis=Polynomial(1), max_iter=0).fit(panel, init=em.model_)
    assert at.log_likelihood_ == pytest.approx(em.log_likelihood_, rel=1e-10)


def test_evaluation_without_parameters_or_with_other_options_is_refused():
    """max_iter=0 would be a silent fit of nothing."""
    panel, _ = two_modes()
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(panel)
    with pytest.raises(cem.OptionError, match="give init=model"):
        FailureModeEM(2, max_iter=0).fit(panel)
    with pytest.raises(cem.OptionError, match="give init=model"):
        FailureModeEM(2, max_iter=0).fit(panel, init=em.responsibilities_)
    with pytest.raises(cem.OptionError, match="max_iter=-1"):
        FailureModeEM(2, max_iter=-1).fit(panel)
    with pytest.raises(cem.OptionError, match="covariance='pooled'"):
        FailureModeEM(2, basis=Polynomial(1), max_iter=0, covariance="pooled").fit(panel, init=em.model_)


def test_a_shrunk_model_is_evaluated_under_its_own_weight():
    """Standard errors of a model from a file would be refused, because another penalty moves the maximum."""
    panel, _ = two_modes(n_units=60)
    options = {"basis": Polynomial(1), "covariance": "shrunk"}
    em = FailureModeEM(2, random_state=0, **options).fit(panel)
    at = FailureModeEM(2, max_iter=0, **options).fit(panel, init=em.model_)
    assert at.objectives_[-1] == pytest.approx(em.objectives_[-1], rel=1e-10)
    expected = em.uncertainty(panel).standard_errors
    np.testing.assert_allclose(at.uncertainty(panel).standard_errors, expected, rtol=1e-3)
