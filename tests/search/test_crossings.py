"""A crossing puts a mode that one run found into another run, and never one that it has already."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import constraints_of, two_groups

from cem.em.constraints import COVARIANCE_STRUCTURES, FixedColumns
from cem.em.feasibility import feasible
from cem.em.loop import start_em
from cem.em.mixture_problem import MixtureProblem
from cem.mixture.parameters import Parameters
from cem.search.crossings import Partner, crossed_parameters, crossed_start
from cem.search.fresh import one_mode_run, starting_point
from cem.search.one_mode import OneModePosteriors
from cem.search.starts import best_of_starts

FREE = np.zeros(3, dtype=bool)


def runs(covariance="full", n=6, n_modes=3):
    expectation = two_groups(gap=2.0)
    constraints = constraints_of(expectation, covariance)
    problem = MixtureProblem(expectation, constraints)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    points = [
        starting_point("prototypes", expectation, posteriors, constraints, n_modes, np.random.default_rng(seed))
        for seed in range(n)
    ]
    return problem, [start_em(problem, point.parameters) for point in points]


def test_one_mode_is_that_of_the_other_run_and_the_rest_stays():
    problem, (first, second, *_) = runs()
    crossed = crossed_parameters(first.parameters, second.parameters, 0, 2, problem.constraints)
    assert np.array_equal(crossed.means[0], second.parameters.means[2])
    assert np.array_equal(crossed.factors[0], second.parameters.factors[2])
    assert np.array_equal(crossed.noise_variances[0], second.parameters.noise_variances[2])
    assert np.array_equal(crossed.means[1:], first.parameters.means[1:])
    assert crossed.weights.sum() == pytest.approx(1.0)
    weights = [second.parameters.weights[2], *first.parameters.weights[1:]]
    np.testing.assert_allclose(crossed.weights, weights / np.sum(weights), rtol=1e-14)


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
@pytest.mark.parametrize("pooled_noise", [False, True])
def test_a_crossing_satisfies_the_constraints(covariance, pooled_noise):
    """A covariance or noise that all modes share must stay shared, or the fit would not be what was asked for."""
    problem, (first, second, *_) = runs(covariance)
    constraints = replace(problem.constraints, pooled_noise=pooled_noise)
    one, other = (feasible(run.parameters, constraints) for run in (first, second))
    crossed = crossed_parameters(one, other, 1, 0, constraints)
    kept = feasible(crossed, constraints)
    np.testing.assert_allclose(kept.factors, crossed.factors, atol=1e-12)
    np.testing.assert_allclose(kept.noise_variances, crossed.noise_variances, rtol=1e-12)


def test_coefficients_of_all_modes_stay_those_of_all_modes():
    problem, (first, second, *_) = runs()
    n_channels = problem.expectation.statistics.n_channels
    fixed = FixedColumns(np.array([2] + [0] * (n_channels - 1), dtype=np.int32), np.array([False, True]))
    own, other = np.array([[1.0, 2.0]] * 3), np.array([[5.0, 6.0], [5.0, 7.0], [5.0, 8.0]])

    def with_fixed(parameters, coefficients):
        p = parameters
        return Parameters(p.weights, p.means, p.factors, p.noise_variances, p.sizes, fixed=coefficients)

    crossed = crossed_parameters(
        with_fixed(first.parameters, own),
        with_fixed(second.parameters, other),
        0,
        2,
        replace(problem.constraints, fixed=fixed),
    )
    assert crossed.fixed.tolist() == [[1.0, 8.0], [1.0, 2.0], [1.0, 2.0]]


def test_a_mode_that_the_run_has_is_not_crossed_in():
    """It would only cost passes: the run would have the same mode twice and lose another."""
    problem, (first, *_) = runs()
    twins = [Partner.of(first), Partner.of(first)]
    assert crossed_start(twins, problem.constraints, FREE, np.random.default_rng(0)) is None
    assert crossed_start(twins[:1], problem.constraints, FREE, np.random.default_rng(0)) is None


def test_the_largest_mode_is_not_crossed_in():
    _, found = runs()
    for run in found:
        partner = Partner.of(run)
        assert sorted([*partner.small, int(run.responsibilities.sum(axis=0).argmax())]) == [0, 1, 2]
    two = Partner.of(runs(n=1, n_modes=2)[1][0])
    assert two.small == [0, 1]


def test_modes_with_labels_keep_their_place():
    """A labelled mode in the place of another would have the units of that label as exceptions."""
    problem, found = runs()
    partners = [Partner.of(run) for run in found]
    labelled = np.array([True, True, False])
    rng = np.random.default_rng(3)
    for _ in range(50):
        point = crossed_start(partners, problem.constraints, labelled, rng)
        if point is None:
            continue
        means = point.parameters.means
        for k in range(3):
            places = {j for run in found for j in range(3) if np.array_equal(run.parameters.means[j], means[k])}
            assert k in places or (not labelled[k] and places <= {2})


def test_crossings_are_a_function_of_their_seed():
    problem, found = runs()
    partners = [Partner.of(run) for run in found]
    one, same, other = (crossed_start(partners, problem.constraints, FREE, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one.parameters.means, same.parameters.means)
    assert not np.array_equal(one.parameters.means, other.parameters.means)


def test_a_search_makes_every_other_move_between_two_runs():
    problem, found = runs()
    posteriors = OneModePosteriors(
        problem.expectation.statistics, one_mode_run(problem.expectation, problem.constraints).parameters
    )
    seen = []

    def cross(partners):
        heights = [partner.run.objective for partner in partners]
        assert heights == sorted(heights, reverse=True)
        seen.append(len(partners))
        return crossed_start(partners, problem.constraints, FREE, rng)

    rng = np.random.default_rng(0)
    fresh = [("given", lambda run=run: posteriors.start(run.responsibilities, problem.constraints)) for run in found]
    records, _ = best_of_starts(
        fresh,
        problem,
        n_modes=3,
        max_iter=200,
        tolerance=1e-6,
        move=lambda rho: posteriors.start(rho[rng.permutation(len(rho))], problem.constraints),
        cross=cross,
    )
    kinds = [record.kind for record in records[len(found) :]]
    assert seen and {"moved", "crossed"} == set(kinds)
    assert kinds.count("crossed") <= len(seen) <= -(-len(kinds) // 2)
