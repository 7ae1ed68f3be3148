"""π_k(u) by the covariates of units: its M step, its ascent, and the objective, which never falls.

A plain Newton step of the multinomial logit overshoots where a covariate almost separates the modes; users would see
ℓ fall, and coefficients of 10^8.
"""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from problems import random_problem
from scipy.optimize import minimize

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.em.membership import MembershipDesign, membership_step
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError
from cem.mixture.membership import UnitModes, log_weights_of
from cem.mixture.parameters import Parameters
from cem.mixture.prediction import evidence, log_densities

GENTLE = {"log_condition": (0.0, 2.0), "log_noise": (-1.0, 0.0)}
RIDGE = 0.01


def loose_constraints(statistics):
    """Floors that do not matter."""
    identity = np.concatenate([np.eye(p).ravel() for p in statistics.sizes])
    C = statistics.n_channels
    return Constraints(np.full(C, 1e-8), np.full(C, 1e-8), "full", identity)


def random_design(rng, n_units, n_features, kind):
    """(1, f(u)) of features that are standardised, as the terms make them."""
    if kind == "categories":
        features = (rng.integers(0, 3, size=(n_units, n_features)) == 0).astype(float)
    else:
        features = rng.normal(size=(n_units, n_features))
    features -= features.mean(axis=0)
    scale = features.std(axis=0)
    return np.column_stack([np.ones(n_units), features / np.where(scale > 0, scale, 1.0)])


def parameters_with(weights, gamma):
    K = len(weights)
    return Parameters(weights, np.zeros((K, 1)), np.ones((K, 1)), np.ones((K, 1)), (1,), membership=gamma)


def solved(design, responsibilities, ridge, n_steps=60):
    """γ of repeated M steps with the same responsibilities."""
    found = MembershipDesign.of(UnitModes(design, None)).sums(responsibilities)
    parameters = found.design.started(parameters_with(responsibilities.mean(axis=0), None))
    for _ in range(n_steps):
        weights, gamma = membership_step(found, parameters, ridge)
        parameters = replace(parameters, weights=weights, membership=gamma)
    return parameters


def penalised(design, responsibilities, ridge):
    """−objective of the M step, written out, as a function of (γ_2 − γ_1, …) where rows of γ sum to zero."""
    K, m = responsibilities.shape[1], design.shape[1]

    def height(contrasts):
        gamma = np.concatenate([np.zeros((1, m)), contrasts.reshape(K - 1, m)])
        gamma = gamma - gamma.mean(axis=0)
        logs = log_weights_of(gamma, design)
        return -float((responsibilities * logs).sum()) + 0.5 * ridge * float(np.square(gamma[:, 1:]).sum())

    return height


@pytest.mark.parametrize("kind", ["numbers", "categories"])
@pytest.mark.parametrize("n_modes", [2, 3])
@pytest.mark.parametrize("ridge", [0.0, RIDGE])
def test_known_modes_make_it_a_logistic_regression(kind, n_modes, ridge):
    """With labels on all units the coefficients are those of any package's multinomial logit."""
    rng = np.random.default_rng(n_modes)
    design = random_design(rng, 400, 2, kind)
    truth = rng.normal(scale=0.7, size=(n_modes, 3))
    modes = (np.cumsum(np.exp(log_weights_of(truth, design)), axis=1) < rng.random((400, 1))).sum(axis=1)
    responsibilities = np.eye(n_modes)[modes]
    gamma = solved(design, responsibilities, ridge).membership
    height = penalised(design, responsibilities, ridge)
    best = minimize(height, np.zeros((n_modes - 1) * 3), method="BFGS", options={"gtol": 1e-9})
    contrasts = gamma[1:] - gamma[0]
    assert height(contrasts.ravel()) <= best.fun + 1e-9
    np.testing.assert_allclose(contrasts.ravel(), best.x, atol=3e-6)
    np.testing.assert_allclose(gamma.sum(axis=0), 0.0, atol=1e-12)


def test_without_covariates_it_is_the_share_of_each_mode():
    """A design of ones must be the model of before, π = N / L."""
    rho = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    ones = np.ones((50, 1))
    found = MembershipDesign.of(UnitModes(ones, None)).sums(rho)
    weights, gamma = membership_step(found, found.design.started(parameters_with(np.full(3, 1 / 3), None)), RIDGE)
    assert gamma is None
    np.testing.assert_allclose(weights, rho.mean(axis=0), rtol=1e-14)
    # and γ of intercepts alone, if there is one, is its logarithm
    started = parameters_with(np.full(3, 1 / 3), np.zeros((3, 1)))
    for _ in range(10):
        weights, gamma = membership_step(found, started, RIDGE)
        started = replace(started, weights=weights, membership=gamma)
    np.testing.assert_allclose(np.exp(log_weights_of(gamma, ones[:1]))[0], rho.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(weights, rho.mean(axis=0), rtol=1e-9)


def test_separation_leaves_coefficients_finite():
    """All units of one site failed one way: nobody wants a coefficient of 10^8, or a probability of exactly 0."""
    design = random_design(np.random.default_rng(0), 200, 1, "categories")
    responsibilities = np.eye(2)[(design[:, 1] > 0).astype(int)]
    parameters = solved(design, responsibilities, RIDGE)
    assert np.abs(parameters.membership).max() < 15.0
    assert np.exp(log_weights_of(parameters.membership, design)).min() > 1e-8


@pytest.mark.parametrize("n_modes", [2, 4])
def test_an_m_step_never_lowers_what_it_raises(n_modes):
    """From anywhere, far out too, where the plain Newton step would overshoot."""
    rng = np.random.default_rng(n_modes)
    for _ in range(200):
        design = random_design(rng, 40, int(rng.integers(1, 7)), rng.choice(["numbers", "categories"]))
        rho = rng.dirichlet(np.full(n_modes, rng.choice([0.05, 1.0])), 40)
        found = MembershipDesign.of(UnitModes(design, None)).sums(rho)
        gamma = rng.normal(scale=rng.choice([0.1, 3.0, 30.0]), size=(n_modes, design.shape[1]))
        gamma -= gamma.mean(axis=0)
        weights, after = membership_step(found, parameters_with(np.full(n_modes, 1 / n_modes), gamma), RIDGE)
        assert found.design.objective(after, found.sums, RIDGE) >= found.design.objective(gamma, found.sums, RIDGE)
        assert weights.sum() == pytest.approx(1.0)


def random_membership(rng, problem, n_features, kind, *, separable=False, priors=False):
    """Statistics of a random problem with covariates of units and, for some of them, prior probabilities."""
    n, K = problem.panel.n_units, problem.parameters.n_modes
    design = random_design(rng, n, n_features, kind)
    if separable:
        design[:, 1] = np.where(np.asarray(problem.modes) == 0, 1.0, -1.0)
    log_priors = None
    if priors:
        log_priors = np.log(rng.dirichlet(np.ones(K), n))
        log_priors[rng.random(n) < 0.6] = np.nan
    return problem.statistics.with_membership(design, log_priors)


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("priors", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_the_objective_never_falls(accelerate, priors, linked):
    """Random fleets, separable ones among them, up to six covariates, a mode of 3 % of the units."""
    rng = np.random.default_rng(5)
    for number in range(25):
        K = int(rng.integers(2, 4))
        problem = random_problem(rng, K, (2, 1), n_units=40, **GENTLE)
        statistics = random_membership(
            rng, problem, int(rng.integers(1, 7)), "numbers" if number % 2 else "categories",
            separable=number % 5 == 0, priors=priors,
        )  # fmt: skip
        constraints = loose_constraints(statistics)
        point = problem.parameters
        if linked:
            point = replace(point, loadings=rng.normal(scale=0.3, size=(*point.means.shape, 1)))
            constraints = replace(constraints, linking_penalties=np.full(K, 0.1))
        mixture = MixtureProblem(Expectation(statistics), constraints)
        run = continue_em(
            start_em(mixture, point), mixture, n_passes=25, tolerance=1e-12, accelerate=accelerate, relaxation=1.6
        )
        heights = np.array(run.objectives)
        assert np.diff(heights).min(initial=0.0) >= -1e-9 * (1.0 + np.abs(heights).max())
        assert run.parameters.membership.shape == (K, statistics.membership_design.shape[1])
        np.testing.assert_allclose(run.parameters.membership.sum(axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize("priors", [False, True])
@pytest.mark.parametrize("with_design", [False, True])
def test_the_ascent_s_gradient_is_that_of_the_objective(priors, with_design):
    """A wrong gradient costs passes or ends a fit early, and nothing else would show it."""
    rng = np.random.default_rng(11)
    problem = random_problem(rng, 3, (2, 1), n_units=30, **GENTLE)
    statistics = random_membership(rng, problem, 2, "numbers", priors=priors)
    if not with_design:
        statistics = statistics.with_membership(None, statistics.mode_priors)
    mixture = MixtureProblem(Expectation(statistics), loose_constraints(statistics))
    point = mixture.expect(problem.parameters).point
    if with_design:
        gamma = rng.normal(size=point.membership.shape)
        point = replace(point, membership=gamma - gamma.mean(axis=0))
    coordinates = mixture.coordinates(point)
    vector = coordinates.vector(point)
    at = mixture.expect(coordinates.parameters(vector))
    gradient, metric = coordinates.gradient(vector, at.point, at.sums)
    for i in [*range(3), *rng.choice(len(vector), 6, replace=False), *range(len(vector) - 9, len(vector))]:
        if with_design and i < 3:
            assert gradient[i] == 0.0  # ln π follows from γ
            continue
        step = np.zeros(len(vector))
        step[i] = 1e-5
        ends = [mixture.expect(coordinates.parameters(vector + sign * step)).objective for sign in (1, -1)]
        # γ is centred on the way to parameters, so a derivative is that along the centred direction
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(gradient[i], rel=1e-4, abs=1e-4)
    assert float(gradient @ metric.scaled(gradient)) > 0.0


def test_renumbered_modes_are_the_same_model():
    """No mode is a reference: the same bits, whichever mode comes first."""
    rng = np.random.default_rng(2)
    gamma = rng.normal(size=(3, 3))
    gamma -= gamma.mean(axis=0)
    design = random_design(rng, 20, 2, "numbers")
    order = [2, 0, 1]
    renumbered = parameters_with(np.array([0.2, 0.3, 0.5]), gamma).ordered(order)
    np.testing.assert_allclose(
        log_weights_of(renumbered.membership, design), log_weights_of(gamma, design)[:, order], rtol=1e-13
    )


def test_units_with_prior_probabilities_do_not_teach_the_shares():
    """An expert looks at suspicious machines; their modes say nothing of how frequent the modes are."""
    rng = np.random.default_rng(4)
    problem = random_problem(rng, 2, (2,), n_units=30, **GENTLE)
    priors = np.full((30, 2), np.nan)
    priors[:10] = np.log([0.9, 0.1])
    statistics = problem.statistics.with_membership(None, priors)
    mixture = MixtureProblem(Expectation(statistics), loose_constraints(statistics))
    evaluation = mixture.expect(problem.parameters)
    found, _ = mixture.maximise(evaluation)
    np.testing.assert_allclose(found.weights, evaluation.responsibilities[10:].mean(axis=0), rtol=1e-12)
    # (3) with the expert's probabilities in place of π
    joint = log_densities(statistics, problem.parameters) + np.where(
        np.isnan(priors), np.log(problem.parameters.weights), priors
    )
    expected = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
    np.testing.assert_allclose(evaluation.responsibilities, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(evidence(statistics, problem.parameters).mode_probabilities, expected, atol=1e-9)
    assert evaluation.log_likelihood == pytest.approx(np.logaddexp.reduce(joint, axis=1).sum(), rel=1e-10)


def test_if_all_units_have_prior_probabilities_the_shares_stay():
    rng = np.random.default_rng(4)
    problem = random_problem(rng, 2, (2,), n_units=12, **GENTLE)
    statistics = problem.statistics.with_membership(None, np.log(rng.dirichlet(np.ones(2), 12)))
    mixture = MixtureProblem(Expectation(statistics), loose_constraints(statistics))
    found, _ = mixture.maximise(mixture.expect(problem.parameters))
    np.testing.assert_array_equal(found.weights, problem.parameters.weights)


def test_scores_use_the_covariates_of_units():
    """A machine of a site where one mode is frequent is likelier to have it."""
    rng = np.random.default_rng(6)
    problem = random_problem(rng, 3, (2, 1), n_units=20, **GENTLE)
    statistics = random_membership(rng, problem, 2, "numbers")
    gamma = rng.normal(size=(3, 3))
    parameters = replace(problem.parameters, membership=gamma - gamma.mean(axis=0))
    joint = log_densities(statistics, parameters) + log_weights_of(parameters.membership, statistics.membership_design)
    found = evidence(statistics, parameters)
    np.testing.assert_allclose(
        found.mode_probabilities, np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None]), rtol=1e-10
    )
    expected, _ = Expectation(statistics)(parameters)
    assert found.log_likelihoods.sum() == pytest.approx(expected.log_likelihood + statistics.log_jacobian, rel=1e-10)
    # where they are not known, π, the mean of π_k(u), stands in
    unknown = evidence(problem.statistics, parameters).mode_probabilities
    np.testing.assert_array_equal(unknown, evidence(problem.statistics, problem.parameters).mode_probabilities)


def test_statistics_keep_what_is_known_of_the_modes():
    rng = np.random.default_rng(7)
    problem = random_problem(rng, 2, (2,), n_units=12, **GENTLE)
    statistics = random_membership(rng, problem, 2, "numbers", priors=True)
    part = statistics.subset(np.array([3, 1]))
    np.testing.assert_array_equal(part.membership_design, statistics.membership_design[[3, 1]])
    np.testing.assert_array_equal(part.mode_priors, statistics.mode_priors[[3, 1]])
    for same in (
        statistics.with_known_modes(statistics.known_modes),
        pickle.loads(pickle.dumps(statistics)),
        type(statistics).concatenate([statistics.subset(np.arange(5)), statistics.subset(np.arange(5, 12))]),
    ):
        np.testing.assert_array_equal(same.membership_design, statistics.membership_design)
        np.testing.assert_array_equal(same.mode_priors, statistics.mode_priors)
    for design in (np.ones((11, 2)), np.zeros((12, 2)), np.full((12, 2), np.inf)):
        with pytest.raises(ValueError, match="membership_design"):
            statistics.with_membership(design)
    restored = pickle.loads(pickle.dumps(replace(problem.parameters, membership=np.zeros((2, 2)))))
    assert restored.membership.shape == (2, 2)


def test_a_mode_that_is_impossible_for_a_unit_stays_so():
    """An expert who rules a mode out is not overruled by readings; a unit for which all are is named."""
    rng = np.random.default_rng(9)
    problem = random_problem(rng, 2, (2,), n_units=12, **GENTLE)
    priors = np.full((12, 2), np.nan)
    priors[0] = [-np.inf, 0.0]
    statistics = problem.statistics.with_membership(None, priors)
    _, rho = Expectation(statistics)(problem.parameters)
    assert rho[0].tolist() == [0.0, 1.0]
    priors[0] = -np.inf
    with pytest.raises(FitError, match=f"unit {problem.panel.units[0]!r}"):
        Expectation(problem.statistics.with_membership(None, priors))(problem.parameters)
