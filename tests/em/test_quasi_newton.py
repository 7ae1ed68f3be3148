"""Quasi-Newton steps: the gradient is that of ℓ, the coordinates have no constraints, no step lowers ℓ."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
from constraint_cases import constraints_of, is_feasible
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_parameters, random_problem

from cem.basis.families import Polynomial
from cem.em.constraints import COVARIANCE_STRUCTURES, Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.em.quasi_newton import _MEMORY, Pairs, QuasiNewton
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.errors import FitError
from cem.panel.panel import Panel
from cem.search.fresh import one_mode_run, parameters_from_responsibilities
from cem.statistics.sufficient import SufficientStatistics

SIZES = (3, 1, 4, 3)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    covariance=st.sampled_from(COVARIANCE_STRUCTURES),
    seed=st.integers(0, 2**32 - 1),
    log_length=st.floats(-3, 2),
)
def test_any_vector_is_parameters_that_satisfy_the_constraints(covariance, seed, log_length):
    """A step may lead anywhere; its parameters must still be ones that the M step could have given."""
    constraints = constraints_of(covariance, 1e-3, 1e-4, seed, SIZES)
    rng = np.random.default_rng(seed)
    coordinates = UnconstrainedCoordinates(constraints, SIZES, 3)
    parameters = feasible(random_parameters(rng, 3, SIZES, log_condition=(0, 2)), constraints)
    vector = coordinates.vector(parameters)
    is_feasible(coordinates.parameters(vector + 10**log_length * rng.normal(size=vector.shape)), constraints)


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_vector_and_back_keeps_parameters_inside_their_floors(covariance):
    constraints = constraints_of(covariance, 1e-6, 1e-7, 0, SIZES)
    parameters = feasible(random_parameters(np.random.default_rng(1), 3, SIZES, log_condition=(0, 2)), constraints)
    coordinates = UnconstrainedCoordinates(constraints, SIZES, 3)
    again = coordinates.parameters(coordinates.vector(parameters))
    for name in ("weights", "means", "factors", "noise_variances"):
        np.testing.assert_allclose(getattr(again, name), getattr(parameters, name), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("on_the_floor", [False, True])
@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_the_derivative_of_the_log_likelihood(covariance, on_the_floor, seed):
    """Missing channels, units shorter than their basis, a rare mode, units of known mode, bases of several sizes."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 3, SIZES, n_units=60)
    known = np.where(rng.random(60) < 0.2, rng.integers(0, 3, 60), -1).astype(np.int32)
    statistics = SufficientStatistics.from_panel(problem.panel, problem.bases, known_modes=known)
    expectation = Expectation(statistics)
    noise_floor, floor = (0.5, 0.5) if on_the_floor else (1e-3, 1e-4)
    C = len(SIZES)
    transforms = statistics.coordinates.transforms
    constraints = Constraints(np.full(C, noise_floor), np.full(C, floor), covariance, transforms)
    parameters = feasible(random_parameters(rng, 3, SIZES, separation=1.0, log_condition=(0, 2)), constraints)
    coordinates = UnconstrainedCoordinates(constraints, SIZES, 3)
    vector = coordinates.vector(parameters)
    vector += 1e-2 * rng.normal(size=vector.shape)

    def log_likelihood(point):
        return expectation(coordinates.parameters(point))[0].log_likelihood

    at = coordinates.parameters(vector)
    expected = expectation(at)[0]
    assert (expected.channel_counts >= 1.0).all()
    gradient, metric = coordinates.gradient(vector, at, expected)
    for direction in [*rng.normal(size=(4, len(vector))), *np.eye(len(vector))[rng.choice(len(vector), 12)]]:
        h = 1e-5
        near, far = (
            log_likelihood(vector + step * direction) - log_likelihood(vector - step * direction) for step in (h, 2 * h)
        )
        slope = (8.0 * near - far) / (12.0 * h)
        rounding = 1e-14 * abs(expected.log_likelihood) / h
        assert abs(slope - gradient @ direction) <= 1e-5 * np.abs(gradient) @ np.abs(direction) + rounding
    assert gradient @ metric.scaled(gradient) > 0.0


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_the_metric_is_symmetric_and_positive(covariance):
    """BFGS updates of a matrix that is neither lead anywhere."""
    rng = np.random.default_rng(5)
    problem = random_problem(rng, 2, SIZES, n_units=30)
    statistics = SufficientStatistics.from_panel(problem.panel, problem.bases)
    C = len(SIZES)
    constraints = Constraints(np.full(C, 1e-3), np.full(C, 1e-4), covariance, statistics.coordinates.transforms)
    parameters = feasible(random_parameters(rng, 2, SIZES, log_condition=(0, 3)), constraints)
    coordinates = UnconstrainedCoordinates(constraints, SIZES, 2)
    vector = coordinates.vector(parameters)
    _, metric = coordinates.gradient(vector, parameters, Expectation(statistics)(parameters)[0])
    matrix = np.array([metric.scaled(unit) for unit in np.eye(len(vector))])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(matrix / np.sqrt(np.outer(np.diagonal(matrix), np.diagonal(matrix)))).min() > 0.0


def two_loops(pairs, gradient, scaled):
    """Nocedal & Wright, algorithm 7.4, a pair at a time."""
    direction, shares = gradient.copy(), []
    for step, change in reversed(pairs):
        shares.append(step @ direction / (step @ change))
        direction -= shares[-1] * change
    step, change = pairs[-1]
    direction = scaled(direction) / np.clip(change @ scaled(change) / (step @ change), 1e-3, 1e3)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - change @ direction / (step @ change)) * step
    return direction


@settings(derandomize=True, deadline=None, max_examples=30)
@given(n_pairs=st.integers(1, 2 * _MEMORY), seed=st.integers(0, 2**32 - 1))
def test_the_direction_is_that_of_the_two_loops(n_pairs, seed):
    """Of the last pairs along which −ℓ is convex; the others, and those that memory has no room for, are left out."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(30, 30))
    hessian, metric = root @ root.T + np.eye(30), np.exp(rng.normal(size=30))
    pairs, kept = Pairs(), []
    for _ in range(n_pairs):
        step = rng.normal(size=30)
        change = hessian @ step * (-1.0 if rng.random() < 0.2 else 1.0)
        pairs.append(step, change)
        if step @ change > 0.0:
            kept = [*kept, (step, change)][-_MEMORY:]
    gradient = rng.normal(size=30)
    if not kept:
        np.testing.assert_array_equal(pairs.direction(gradient, lambda v: metric * v), metric * gradient)
        return
    wanted = two_loops(kept, gradient, lambda v: metric * v)
    np.testing.assert_allclose(
        pairs.direction(gradient, lambda v: metric * v), wanted, atol=1e-8 * np.abs(wanted).max()
    )


def test_a_copy_of_pairs_learns_by_itself():
    """A run that goes on twice from one record must take the same steps both times."""
    rng = np.random.default_rng(0)
    pairs = Pairs()
    pairs.append(rng.normal(size=4), np.ones(4) * 1e3)
    for _ in range(3):
        step = rng.normal(size=4)
        pairs.append(step, 2.0 * step)
    gradient = rng.normal(size=4)
    before, twin = pairs.direction(gradient, lambda v: v), copy(pairs)
    for _ in range(_MEMORY):
        step = rng.normal(size=4)
        twin.append(step, step)
    np.testing.assert_array_equal(pairs.direction(gradient, lambda v: v), before)


class Blind(UnconstrainedCoordinates):
    """Coordinates in which no gradient can be had."""

    def gradient(self, vector, parameters, expected):
        raise np.linalg.LinAlgError("not positive definite")


def test_without_a_gradient_plain_em_goes_on():
    """A metric that rounding has spoilt must not end the fit."""
    expectation, constraints, parameters = fleet_of_equal_units()
    problem = MixtureProblem(expectation, constraints)
    ascent = QuasiNewton(Blind(constraints, parameters.sizes, 2))
    assert ascent.step(problem, problem.expect(parameters), 4) == (None, 0)


def fleet_of_equal_units(n_units=40):
    """Units of a mode that do not differ at all: their covariance is at its floor, where plain EM only crawls."""
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 10, rng.integers(2, 14))) for _ in range(n_units)]
    values = [np.outer(t, [1, -1, 0.5]) * (1 + l % 2) + rng.normal(size=(len(t), 3)) for l, t in enumerate(times)]
    for x in values:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[0] = 0.0
    panel = Panel.from_arrays(times, values)
    expectation = Expectation(SufficientStatistics.from_panel(panel, (Polynomial(2).bind(panel.times),) * 3))
    transforms = expectation.statistics.coordinates.transforms
    constraints = Constraints(np.full(3, 1e-3), np.full(3, 1e-6), "full", transforms)
    one_mode = one_mode_run(expectation, constraints).parameters
    rho = rng.dirichlet(np.ones(2), size=n_units)
    return expectation, constraints, parameters_from_responsibilities(expectation, rho, one_mode, constraints)


def test_a_covariance_on_its_floor_is_reached_in_few_passes():
    """A fleet of machines that differ only in their mode must not end with "not converged"."""
    expectation, constraints, parameters = fleet_of_equal_units()
    tolerance = 1e-9 * expectation.statistics.n_observations
    arguments = {"n_passes": 400, "tolerance": tolerance}
    problem = MixtureProblem(expectation, constraints)
    start = start_em(problem, parameters)
    plain = continue_em(start, problem, **arguments)
    fast = continue_em(start, problem, accelerate=True, **arguments)
    assert fast.converged and not plain.converged
    assert fast.log_likelihood > plain.log_likelihood
    assert (np.diff(fast.log_likelihoods) >= -1e-12 * abs(fast.log_likelihood)).all()
    layout = fast.parameters.layout
    lowest = [
        np.linalg.eigvalsh(F @ F.swapaxes(1, 2)).min()
        for F in (layout.matrix(fast.parameters.factors, c) for c in range(3))
    ]
    assert min(lowest) == pytest.approx(1e-6, rel=1e-2)


class Stubborn:
    """A problem whose E step fails, or finds a lower ℓ, wherever it is asked; it counts how often."""

    def __init__(self, problem, error):
        self.problem, self.error, self.n_passes = problem, error, 0

    def expect(self, parameters):
        self.n_passes += 1
        if self.error is not None:
            raise self.error
        evaluation = self.problem.expect(parameters)
        return evaluation._replace(objective=evaluation.objective - 1e6)


@pytest.mark.parametrize("error", [FitError("not finite"), None])
def test_where_no_step_helps_plain_em_goes_on(error):
    """A failure far out must cost a few passes, not the fit; and no more passes than allowed."""
    expectation, constraints, parameters = fleet_of_equal_units()
    ascent = QuasiNewton(UnconstrainedCoordinates(constraints, parameters.sizes, 2))
    problem = MixtureProblem(expectation, constraints)
    evaluation = problem.expect(parameters)
    stubborn = Stubborn(problem, error)
    assert ascent.step(stubborn, evaluation, 4) == (None, 4)
    assert stubborn.n_passes == 4
    step, n_passes = ascent.step(problem, evaluation, 10)
    assert step is not None and 1 <= n_passes <= 10
    assert step.evaluation.log_likelihood > evaluation.log_likelihood and step.predicted_gain > 0.0
