"""Fits in which covariates of units, or an expert, say something of a unit's mode before its readings."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from life_cases import partly_running

import cem
from cem.basis.families import Exponential, Polynomial
from cem.errors import CemWarning, PanelError
from cem.fitting.criteria import n_free_parameters
from cem.fitting.estimator import FailureModeEM
from cem.fitting.fit import fit_mixture
from cem.fitting.lives import fit_with_lives
from cem.mixture.membership import log_weights_of
from cem.mixture.prediction import evidence
from cem.panel.panel import Panel

GAMMA = np.array([[0.3, -0.9], [-0.3, 0.9]])


def fleet(n_units, seed, *, gap=2.0, gamma=GAMMA):
    """Two modes of straight lines; a number known of each unit says how likely its mode is. Returns also the modes."""
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n_units), rng.normal(size=n_units)])
    shares = np.exp(log_weights_of(gamma, design))
    modes = (rng.random(n_units) > shares[:, 0]).astype(int)
    times = np.linspace(0.0, 10.0, 12)
    values = []
    for mode in modes:
        a, b = rng.normal(scale=0.3, size=2)
        values.append(5.0 + a + (gap * mode / 10.0 + b / 10.0) * times + 0.3 * rng.normal(size=12))
    return Panel.from_arrays([times] * n_units, values), design, modes


def options_for(n_modes=2, **options):
    arguments = {"basis": Polynomial(1), "n_init": 3, "random_state": 0, "covariance": "full", **options}
    return FailureModeEM(n_modes, **arguments)._options()


def fit(panel, design, options, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return fit_mixture(panel, options, membership_design=design, **arguments)


def test_coefficients_are_recovered_and_modes_are_told_better():
    """Within sampling error; and units between the modes go where their covariates point."""
    panel, design, modes = fleet(1500, 0, gap=1.0)
    result = fit(panel, design, options_for())
    parameters, rho = result.run.parameters, result.run.responsibilities
    steep = int(np.argmax(result.statistics.coordinates.coefficients(parameters.means, 0)[:, 1]))
    gamma = parameters.membership[[1 - steep, steep]]
    # the slope's standard error is about .08 with all modes known; overlapping modes double it
    np.testing.assert_allclose(gamma, GAMMA, atol=0.4)
    plain = fit(panel, None, options_for())
    truth = np.where(np.arange(2) == steep, modes[:, None], 1 - modes[:, None])
    other = plain.run.responsibilities
    if np.mean(other.argmax(axis=1) == rho.argmax(axis=1)) < 0.5:
        other = other[:, ::-1]
    assert (rho * truth).sum() > (other * truth).sum() + 20.0
    assert result.run.log_likelihood > plain.run.log_likelihood + 50.0


@pytest.mark.parametrize("how", ["model", "responsibilities", "linked"])
def test_warm_starts_and_links_keep_it(how):
    """A refit must not forget what the covariates say, nor start again from zero slopes at a lower ℓ."""
    panel, design, _ = fleet(200, 1)
    if how == "linked":
        second = np.concatenate(
            [panel.values, panel.values + np.random.default_rng(0).normal(size=panel.values.shape)], 1
        )
        panel = Panel.from_arrays(np.split(panel.times, 200), np.split(second, 200))
        result = fit(panel, design, options_for(linking_rank=1, linking_penalty=1.0))
        assert result.run.parameters.rank == 1
        assert np.diff(result.run.objectives).min() > -1e-8 * abs(result.run.objectives[0])
        assert np.abs(result.run.parameters.membership[:, 1]).max() > 0.3
        return
    first = fit(panel, design, options_for())
    init = first.run.responsibilities
    if how == "model":
        init = cem.FailureModeModel(
            parameters=first.run.parameters,
            coordinates=first.statistics.coordinates,
            bases=first.statistics.bases,
            channels=first.statistics.channels,
        )
    again = fit(panel, design, options_for(), init=init)
    assert again.log_likelihood == pytest.approx(first.log_likelihood, abs=1e-3)
    np.testing.assert_allclose(again.run.parameters.membership, first.run.parameters.membership, atol=1e-2)
    if how == "model":
        assert again.run.log_likelihoods[0] == pytest.approx(first.run.log_likelihood, rel=1e-9)


@pytest.mark.parametrize("kernel", ["auto", "lapack"])
def test_accelerated_fits_reach_the_optimum_of_plain_ones(kernel):
    panel, design, _ = fleet(300, 2, gap=0.7)
    fast = fit(panel, design, options_for(kernel=kernel))
    plain = fit(panel, design, options_for(kernel=kernel, accelerate="none", max_iter=3000))
    assert fast.run.converged and plain.run.converged
    assert fast.run.objectives[-1] == pytest.approx(plain.run.objectives[-1], abs=1e-3)
    np.testing.assert_allclose(fast.run.parameters.membership, plain.run.parameters.membership, atol=0.02)
    mean = np.exp(log_weights_of(fast.run.parameters.membership, design)).mean(axis=0)
    np.testing.assert_allclose(fast.run.parameters.weights, mean, atol=1e-12)


def test_modes_are_renumbered_with_their_coefficients():
    """The final order of the modes is by size: coefficients must move with them."""
    panel, design, _ = fleet(300, 3, gamma=np.array([[-0.8, 0.9], [0.8, -0.9]]))
    result = fit(panel, design, options_for())
    parameters = result.run.parameters
    assert parameters.weights[0] > parameters.weights[1]
    found = evidence(result.statistics, parameters).mode_probabilities
    np.testing.assert_allclose(found, result.run.responsibilities, atol=1e-6)


def test_free_parameters_count_the_coefficients():
    plain = n_free_parameters(3, (2, 2), "full")
    assert n_free_parameters(3, (2, 2), "full", n_membership=4) == plain + 2 * 3


@pytest.mark.parametrize("family", ["lognormal", "linked"])
@pytest.mark.parametrize("priors", [False, True])
def test_lives_and_running_units_take_part(family, priors):
    """(19) with π_k(u): it never falls, and running units count once, however many candidate lives they have."""
    panel = partly_running(40, 3)
    known = np.array([mode == "long" for mode in panel.modes], dtype=float)
    design = np.column_stack([np.ones(40), (known - known.mean()) / known.std()])
    panel = panel.with_modes(None)
    if priors:
        told = np.full((40, 2), np.nan)
        told[::4] = np.where(known[::4, None] == 1.0, [0.8, 0.2], [0.2, 0.8])
        panel = panel.with_mode_probabilities(told, ["long", "short"])
    options = FailureModeEM(
        2, basis=Exponential([40.0]), n_init=2, random_state=1, time_axis="to_failure", max_iter=60,
        **({"linking_rank": 1, "linking_penalty": 1.0} if family == "linked" else {}),
    )._options()  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        found = fit_with_lives(panel, options, family=family, membership_design=design)
    assert np.isnan(panel.failure_times).sum() > 5
    heights = np.array(found.objectives)
    assert np.diff(heights).min() > -1e-9 * np.abs(heights).max()
    parameters, rho = found.result.run.parameters, found.result.run.responsibilities
    has_prior = np.isnan(told[:, 0]) if priors else np.ones(40, dtype=bool)
    np.testing.assert_allclose(parameters.weights, rho[has_prior].mean(axis=0), atol=2e-2)
    # the covariate is the mode itself: it decides for all but a few units
    long = int(np.argmax(parameters.membership[:, 1]))
    assert np.mean((rho[:, long] > 0.5) == (known == 1.0)) > 0.9


def test_an_expert_s_probabilities_name_the_modes_and_end_a_tie():
    """Labels of the probabilities become mode labels, in sorted order as those of known modes; a zero is impossible."""
    panel, _, modes = fleet(200, 4, gap=2.0)
    told = np.full((200, 2), np.nan)
    told[:30] = np.where(modes[:30, None] == 1, [0.9, 0.1], [0.1, 0.9])
    told[30] = [0.0, 1.0] if modes[30] == 1 else [1.0, 0.0]  # the expert is wrong and sure
    em = FailureModeEM(2, basis=Polynomial(1), n_init=3, random_state=0)
    em.fit(panel.with_mode_probabilities(told, ["worn", "fine"]))
    assert em.mode_labels_ == ("fine", "worn")
    found = np.array(em.predict(panel)) == "worn"
    assert np.mean(found == (modes == 1)) > 0.9
    assert em.responsibilities_[30, int(modes[30])] == 0.0
    # scores of the same panel use the probabilities, too
    scores = em.model_.predict_proba(panel.with_mode_probabilities(told, ["worn", "fine"]))
    np.testing.assert_allclose(scores, em.responsibilities_, atol=1e-6)
    foreign = panel.with_mode_probabilities(told, ["worn", "loose"])
    with pytest.raises(PanelError, match="loose"):
        em.model_.predict_proba(foreign)
    with pytest.raises(PanelError, match="loose"):
        em.fit(foreign, init=em.model_)


def test_probabilities_of_one_are_labels():
    """The softest form of an answer must agree with the hardest."""
    panel, _, modes = fleet(120, 5)
    labels = [("a", "b")[mode] if i < 20 else None for i, mode in enumerate(modes)]
    told = np.full((120, 2), np.nan)
    told[:20] = np.eye(2)[modes[:20]]
    options = {"basis": Polynomial(1), "n_init": 3, "random_state": 0}
    hard = FailureModeEM(2, **options).fit(panel.with_modes(labels))
    soft = FailureModeEM(2, **options).fit(panel.with_mode_probabilities(told, ["a", "b"]))
    assert soft.mode_labels_ == hard.mode_labels_ == ("a", "b")
    np.testing.assert_array_equal(soft.responsibilities_[:20], hard.responsibilities_[:20])
    # labels count in the shares of the modes, probabilities do not
    assert np.mean(np.abs(soft.responsibilities_ - hard.responsibilities_)) < 0.05


def test_fewer_labels_than_modes_leave_the_others_to_the_fit():
    panel, _, modes = fleet(150, 6, gap=3.0)
    told = np.full((150, 1), np.nan)
    told[np.flatnonzero(modes == 1)[:5]] = 1.0
    em = FailureModeEM(2, basis=Polynomial(1), n_init=3, random_state=0)
    em.fit(panel.with_mode_probabilities(told, ["worn"]))
    assert em.mode_labels_[0] == "worn"
    assert np.mean((em.responsibilities_[:, 0] > 0.5) == (modes == 1)) > 0.9
    with pytest.raises(PanelError, match="more than n_modes=1"):
        FailureModeEM(1, basis=Polynomial(1)).fit(
            panel.with_mode_probabilities(np.full((150, 2), 0.5), ["worn", "fine"])
        )


def test_flat_probabilities_do_not_blur_the_starts():
    """An expert who knows nothing of all units leaves the fit as it is."""
    panel, _, modes = fleet(150, 7, gap=3.0)
    em = FailureModeEM(2, basis=Polynomial(1), n_init=3, random_state=0)
    em.fit(panel.with_mode_probabilities(np.full((150, 2), 0.5), ["a", "b"]))
    told_apart = em.responsibilities_.max(axis=1) > 0.9
    assert told_apart.mean() > 0.9
    agree = np.mean((em.responsibilities_[:, 1] > 0.5) == (modes == 1))
    assert max(agree, 1.0 - agree) > 0.9


def test_parameters_without_the_covariates_use_the_mean():
    panel, design, _ = fleet(100, 8)
    result = fit(panel, design, options_for())
    bare = replace(result.run.parameters, membership=None)
    without = evidence(result.statistics.with_membership(), result.run.parameters)
    np.testing.assert_array_equal(
        without.mode_probabilities, evidence(result.statistics.with_membership(), bare).mode_probabilities
    )


@pytest.mark.parametrize("linked", [False, True])
def test_remaining_lives_use_what_an_expert_says(linked):
    """(18) with the unit's own probabilities: in a fleet of two modes, a sure expert leaves the lives of one."""
    panel = partly_running(40, 3)
    options = {"linking_rank": 1, "linking_penalty": 1.0} if linked else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        em = FailureModeEM(
            2, basis=Exponential([40.0]), n_init=2, random_state=1, time_axis="to_failure", max_iter=60, **options
        ).fit(panel)
    prognosis = cem.RemainingLife(em.model_)
    young = panel[[0, 1, 2]].until(40.0).with_modes(None)
    told = np.array([[0.3, 0.7], [np.nan, np.nan], [0.0, 1.0]])
    plain = prognosis.predict(young)
    own = prognosis.predict(young.with_mode_probabilities(told, em.mode_labels_))
    np.testing.assert_allclose(own.pmf[1], plain.pmf[1], rtol=1e-9, atol=1e-15)
    assert own.pmf[2, :, 0].sum() == 0.0
    # by Bayes' theorem from the prediction with π
    for unit in (0, 2):
        expected = plain.pmf[unit] * (told[unit] / em.weights_)
        np.testing.assert_allclose(own.pmf[unit], expected / expected.sum(), rtol=1e-8, atol=1e-14)
