"""Shrunk covariances, (25): the M step solves the equations, the objective never falls, both ends of ν are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import random_parameters, random_problem

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.kernels import _maximisation
from cem.em.loop import continue_em, start_em
from cem.em.maximisation import maximisation
from cem.em.mixture_problem import MixtureProblem
from cem.em.passes import one_by_one

SIZES = (2, 1, 3)


def shrunk(statistics, shrinkage, floor=1e-6, penalties=None):
    C = statistics.n_channels
    return Constraints(
        np.full(C, 1e-4), np.full(C, floor), "shrunk", statistics.coordinates.transforms, penalties, shrinkage=shrinkage
    )


def problem_of(seed, shrinkage, n_modes=3, sizes=SIZES, n_units=40, kernel="auto", **options):
    problem = random_problem(np.random.default_rng(seed), n_modes, sizes, n_units=n_units)
    expectation = Expectation(problem.statistics, kernel=kernel)
    constraints = shrunk(problem.statistics, shrinkage, **options)
    start = feasible(
        random_parameters(np.random.default_rng(seed + 1), n_modes, sizes, log_condition=(0, 2)), constraints
    )
    return MixtureProblem(expectation, constraints), start


def covariances(parameters, channel):
    factors = parameters.layout.matrix(parameters.factors, channel)
    return factors @ np.swapaxes(factors, 1, 2)


def common(Sigma):
    """Σ_0 of (25)."""
    return np.linalg.inv(np.linalg.inv(Sigma).mean(axis=0))


@pytest.mark.parametrize("shrinkage", [2.0, 7.0, 300.0, 1e5])
@pytest.mark.parametrize("seed", range(3))
def test_the_maximum_solves_the_equations_written_out(seed, shrinkage):
    """Otherwise modes would be shrunk by another weight than the one that was chosen."""
    problem, _ = problem_of(seed, shrinkage, n_modes=2, n_units=60)
    truth = random_problem(np.random.default_rng(seed), 2, SIZES, n_units=60).parameters
    start = start_em(problem, feasible(truth, problem.constraints))
    run = continue_em(start, problem, n_passes=2000, tolerance=1e-10, accelerate=True)
    assert run.converged
    free = ~(run.status & _maximisation.COVARIANCE_FLOOR).any(axis=0)
    assert free.any()
    found, start, sums = run.parameters, run.parameters, run.expected
    for c in np.flatnonzero(free):
        Sigma, old = covariances(found, c), start.layout.matrix(start.factors, c)
        N = sums.channel_counts[:, c]
        D = start.layout.vector(sums.first_moments, c) / np.maximum(N, 1e-300)[:, None]
        Q = start.layout.matrix(sums.second_moments, c)
        kept = N < 1
        D[kept] = 0.0  # a mode that keeps its mean scatters about it
        scatter = Q - N[:, None, None] * np.einsum("ki,kj->kij", D, D)
        S = old @ scatter @ np.swapaxes(old, 1, 2)
        expected = (S + shrinkage * common(Sigma)) / (N + shrinkage)[:, None, None]
        np.testing.assert_allclose(Sigma, expected, rtol=1e-3, atol=1e-4 * np.abs(Sigma).max())


@pytest.mark.parametrize("kernel", ["auto", "lapack"])
@pytest.mark.parametrize("shrinkage", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("floor", [1e-6, 0.3])
def test_the_objective_never_falls(shrinkage, kernel, floor):
    """A fall would mean that the fit maximises something else than it reports."""
    for seed in range(3):
        problem, start = problem_of(seed, shrinkage, kernel=kernel, floor=floor)
        for accelerate in (False, True):
            run = continue_em(
                start_em(problem, start), problem, n_passes=120, tolerance=1e-9, accelerate=accelerate, relaxation=1.6
            )
            rounding = 1e-12 * (problem.n_terms + abs(run.objective) + shrinkage * sum(SIZES))
            assert np.diff(run.objectives).min(initial=0.0) >= -rounding


def test_a_covariance_on_its_floor_says_so_and_satisfies_it():
    problem, start = problem_of(0, 20.0, floor=0.5)
    run = continue_em(start_em(problem, start), problem, n_passes=60, tolerance=1e-9)
    assert (run.status & _maximisation.COVARIANCE_FLOOR).any()
    for c in range(len(SIZES)):
        assert np.linalg.eigvalsh(covariances(run.parameters, c)).min() >= 0.5 * (1 - 1e-9)


@pytest.mark.parametrize("shrinkage", [1e-6, 1e7])
def test_the_ends_are_covariances_of_their_own_and_one_for_all(shrinkage):
    problem, start = problem_of(3, shrinkage)
    end = "full" if shrinkage < 1 else "pooled"
    limit = replace(problem, constraints=replace(problem.constraints, covariance=end, shrinkage=0.0))
    evaluation = problem.expect(start)
    found, _ = problem.maximise(evaluation)
    start = feasible(start, limit.constraints)
    if end == "pooled":
        found, _ = problem.maximise(problem.expect(start))
    expected, _ = limit.maximise(limit.expect(start))
    for c in range(len(SIZES)):
        enough = evaluation.sums.channel_counts[:, c] >= 1 if end == "full" else slice(None)
        np.testing.assert_allclose(
            covariances(found, c)[enough], covariances(expected, c)[enough], rtol=1e-4, atol=1e-4
        )


def test_the_penalty_is_zero_for_equal_covariances_and_the_formula_else():
    rng = np.random.default_rng(5)
    parameters = random_parameters(rng, 3, SIZES)
    problem, _ = problem_of(0, 12.0)
    total = 0.0
    for c in range(len(SIZES)):
        Sigma = covariances(parameters, c)
        total += np.linalg.slogdet(Sigma)[1].sum() - 3 * np.linalg.slogdet(common(Sigma))[1]
    assert problem.constraints.penalty(parameters) == pytest.approx(0.5 * 12.0 * total, rel=1e-10)
    equal = replace(parameters, factors=np.repeat(parameters.factors[:1], 3, axis=0))
    assert problem.constraints.penalty(equal) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_the_derivative_of_the_objective(seed, rank):
    """A wrong gradient makes quasi-Newton steps slow, and standard errors wrong."""
    penalties = np.array([0.3, 1.0, 4.0]) if rank else None
    problem, _ = problem_of(seed, 25.0, n_units=120, penalties=penalties)
    start = feasible(random_problem(np.random.default_rng(seed), 3, SIZES, n_units=120).parameters, problem.constraints)
    if rank:
        start = replace(start, loadings=0.5 * np.random.default_rng(seed).normal(size=(3, sum(SIZES), rank)))
    coordinates = problem.coordinates(start)
    vector = coordinates.vector(start) + 1e-2 * np.random.default_rng(seed).normal(size=len(coordinates.vector(start)))
    evaluation = problem.expect(coordinates.parameters(vector))
    assert (evaluation.sums.channel_counts >= 1.0).all()
    gradient, _ = coordinates.gradient(vector, evaluation.point, evaluation.sums)
    h = 1e-5
    numeric = np.array(
        [
            (
                problem.expect(coordinates.parameters(vector + h * e)).objective
                - problem.expect(coordinates.parameters(vector - h * e)).objective
            )
            / (2 * h)
            for e in np.eye(len(vector))
        ]
    )
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("vanishing", [None, 0, 2])
def test_the_metric_is_symmetric_and_positive_definite_where_roots_vanish_too(rank, vanishing):
    """Else a quasi-Newton step may go downhill, or a covariance at its floor may end the ascent."""
    problem, start = problem_of(5, 40.0, penalties=np.array([0.3, 1.0, 4.0]) if rank else None)
    if rank:
        start = replace(start, loadings=0.5 * np.random.default_rng(0).normal(size=(3, sum(SIZES), rank)))
    coordinates = problem.coordinates(start)
    vector = coordinates.vector(start)
    first, n_roots = 3 + 3 * sum(SIZES) + 3 * len(SIZES), sum(p * (p + 1) // 2 for p in SIZES)
    roots = vector[first : first + 3 * n_roots].reshape(3, n_roots)
    roots *= np.random.default_rng(1).choice([-1.0, 1.0], size=roots.shape)  # signs of a column of M do not matter
    if vanishing is not None:
        roots[: vanishing + 1] = 0.0
    evaluation = problem.expect(coordinates.parameters(vector))
    _, metric = coordinates.gradient(vector, evaluation.point, evaluation.sums)
    part = slice(first, first + 3 * n_roots)
    inverse = np.array([metric.scaled(e) for e in np.eye(len(vector))])[part, part]
    if not rank:  # loadings follow a move of Ψ
        np.testing.assert_allclose(inverse, inverse.T, rtol=1e-6, atol=1e-9 * np.abs(inverse).max())
    assert np.linalg.eigvalsh(inverse + inverse.T).min() > 0.0


def test_moving_all_covariances_by_one_congruence_costs_no_penalty_and_the_metric_knows():
    """What modes share is as free as without shrinkage; a metric that stiffens it makes fits take a thousand passes."""
    problem, start = problem_of(5, 1e4, n_units=200)
    near = problem.passes(problem.expect(start), 30).evaluation.point
    coordinates = problem.coordinates(near)
    vector = coordinates.vector(near)
    evaluation = problem.expect(coordinates.parameters(vector))
    _, metric = coordinates.gradient(vector, evaluation.point, evaluation.sums)
    first, n_roots = 3 + 3 * sum(SIZES) + 3 * len(SIZES), sum(p * (p + 1) // 2 for p in SIZES)
    M = np.zeros((3, 2, 2))
    M[:, (0, 1, 1), (0, 0, 1)] = vector[first : first + 3 * n_roots].reshape(3, n_roots)[:, :3]
    A = np.array([[0.3, 0.0], [-0.5, 0.2]])

    def curvature(moves):
        step = np.zeros_like(vector)
        step[first : first + 3 * n_roots].reshape(3, n_roots)[:, :3] = moves[:, (0, 1, 1), (0, 0, 1)]
        n = len(step)
        return float(step @ np.linalg.solve(np.array([metric.scaled(e) for e in np.eye(n)]), step))

    together, apart = curvature(A @ M), curvature(A @ M * np.array([1.0, -1.0, 0.0])[:, None, None])
    assert together < 0.1 * apart


@pytest.mark.parametrize("seed", range(4))
def test_linked_channels_are_shrunk_in_what_the_factors_leave(seed):
    """With links (25) is on Ψ, and the objective has the penalty of the loadings too."""
    penalties = np.array([0.5, 1.0, 2.0])
    problem, start = problem_of(seed, 15.0, n_units=60, penalties=penalties)
    start = replace(start, loadings=0.4 * np.random.default_rng(seed).normal(size=(3, sum(SIZES), 1)))
    for accelerate in (False, True):
        run = continue_em(start_em(problem, start), problem, n_passes=80, tolerance=1e-9, accelerate=accelerate)
        assert np.diff(run.objectives).min() >= -1e-12 * (problem.n_terms + abs(run.objective))
    apart = replace(problem, constraints=replace(problem.constraints, covariance="full", shrinkage=0.0))

    def spread(parameters):
        return problem.constraints.penalty(parameters) - apart.constraints.penalty(parameters)

    free = continue_em(start_em(apart, start), apart, n_passes=80, tolerance=1e-9, accelerate=True)
    assert spread(run.parameters) < spread(free.parameters)


def test_passes_in_one_call_are_single_passes():
    """A small fleet runs its passes inside one call; the numbers are the same, and so is the objective it climbs."""
    problem, start = problem_of(1, 40.0)
    together = problem.passes(problem.expect(start), 15, 1.0)
    single = one_by_one(problem, problem.expect(start), 15, None)
    assert problem.expectation.passes(start, problem.expect(start).sums, problem.constraints, 2) is not None
    np.testing.assert_allclose(together.objectives, single.objectives, rtol=1e-12)
    np.testing.assert_allclose(
        together.evaluation.point.factors, single.evaluation.point.factors, rtol=1e-9, atol=1e-12
    )


def test_a_mode_without_readings_of_a_channel_gets_the_common_covariance():
    """It has nothing of its own to go by; the covariance of the start would be a guess."""
    problem, start = problem_of(2, 10.0, n_modes=2)
    statistics = problem.expectation.statistics
    seen = statistics.counts[:, 0] > 0
    assert seen.any() and not seen.all()
    rho = np.zeros((statistics.n_units, 2))
    rho[:, 0] = seen
    rho[:, 1] = ~seen
    sums, _ = problem.expectation(start, responsibilities=rho)
    found, status = maximisation(sums, start, problem.constraints)
    assert status[1, 0] & _maximisation.KEPT
    np.testing.assert_allclose(covariances(found, 0)[1], covariances(found, 0)[0], rtol=1e-6)
