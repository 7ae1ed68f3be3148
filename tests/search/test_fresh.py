"""Starts: reproducible, within the floors, and each kind what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from problems import constraints_of, random_problem, two_groups

from cem.basis.families import Polynomial
from cem.em.constraints import COVARIANCE_STRUCTURES
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.panel.panel import Panel
from cem.search.fresh import (
    START_KINDS,
    coefficient_starts,
    one_mode_run,
    parameters_from_responsibilities,
    starting_point,
)
from cem.search.one_mode import OneModePosteriors
from cem.statistics.sufficient import SufficientStatistics


def posteriors_of(expectation, constraints):
    return OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)


@pytest.mark.parametrize("kind", START_KINDS)
@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_a_start_is_a_function_of_its_seed_and_satisfies_the_constraints(kind, covariance):
    """Starting values below a floor would make ℓ fall in the first pass."""
    expectation = two_groups()
    constraints = constraints_of(expectation, covariance, noise=0.05, floor=0.01)
    posteriors = posteriors_of(expectation, constraints)
    made = [
        starting_point(kind, expectation, posteriors, constraints, 3, np.random.default_rng(seed)).parameters
        for seed in (7, 7, 8)
    ]
    for name in ("weights", "means", "factors", "noise_variances"):
        assert np.array_equal(getattr(made[0], name), getattr(made[1], name))
    assert not np.array_equal(made[0].means, made[2].means)
    assert (made[0].noise_variances >= constraints.noise_floors).all()
    moved = feasible(made[0], constraints)
    np.testing.assert_allclose(moved.factors, made[0].factors, atol=1e-9)
    assert abs(made[0].weights.sum() - 1) < 1e-12


def test_kmeans_starts_find_groups_that_lie_apart_though_cells_are_missing():
    expectation = two_groups()
    constraints = constraints_of(expectation)
    posteriors = posteriors_of(expectation, constraints)
    start = starting_point("kmeans", expectation, posteriors, constraints, 2, np.random.default_rng(0)).parameters
    assigned = expectation(start)[1].argmax(axis=1)
    assert len(set(assigned[::2])) == 1 and len(set(assigned[1::2])) == 1 and assigned[0] != assigned[1]


def test_prototypes_are_units_and_draw_differently_every_time():
    """Each of two groups far apart is found where both drew a prototype: in about half of the draws."""
    expectation = two_groups()
    constraints = constraints_of(expectation)
    posteriors = posteriors_of(expectation, constraints)
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        start = starting_point("prototypes", expectation, posteriors, constraints, 2, rng).parameters
        assigned = expectation(start)[1].argmax(axis=1)
        found.append(len(set(assigned[::2])) == len(set(assigned[1::2])) == 1 and assigned[0] != assigned[1])
    assert 4 <= sum(found) <= 18


def test_the_one_mode_fit_describes_the_whole_fleet():
    """The default noise floor is a tenth of its noise: it must be about right after twenty passes."""
    expectation = two_groups(gap=0.0, missing=0.0)
    run = one_mode_run(expectation, constraints_of(expectation, noise=1e-9))
    sigma = np.sqrt(run.parameters.noise_variances[0]) * expectation.statistics.coordinates.scales
    np.testing.assert_allclose(sigma, 0.3, rtol=0.1)
    assert run.parameters.n_modes == 1 and (np.diff(run.log_likelihoods) > -1e-9).all()


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_the_one_mode_fit_starts_within_any_floor(covariance):
    """High floors, all structures: the first pass must not lower ℓ."""
    problem = random_problem(np.random.default_rng(1), 1, (3, 2, 4), n_units=25)
    expectation = Expectation(SufficientStatistics.from_panel(problem.panel, problem.bases))
    run = one_mode_run(expectation, constraints_of(expectation, covariance, noise=0.5, floor=0.4))
    assert (np.diff(run.log_likelihoods) >= -1e-10 * abs(run.log_likelihood)).all()


def test_given_responsibilities_make_a_reproducible_start():
    """`fit(init=array)` is documented as a deterministic function of the array."""
    expectation = two_groups()
    constraints = constraints_of(expectation)
    one_mode = one_mode_run(expectation, constraints).parameters
    rho = np.eye(2)[np.arange(40) % 2]
    one, other = (parameters_from_responsibilities(expectation, rho, one_mode, constraints) for _ in range(2))
    assert np.array_equal(one.means, other.means)
    np.testing.assert_allclose(one.weights, [0.5, 0.5])
    np.testing.assert_array_equal(expectation(one)[1].argmax(axis=1), np.arange(40) % 2)


def test_identical_units_still_start():
    """Nothing to cluster: k-means falls back to a random split instead of failing."""
    values = np.tile(np.random.default_rng(0).normal(size=(1, 6, 1)), (8, 1, 1))
    panel = Panel.from_arrays(None, values)
    expectation = Expectation(SufficientStatistics.from_panel(panel, (Polynomial(1).bind(panel.times),)))
    constraints = constraints_of(expectation)
    posteriors = posteriors_of(expectation, constraints)
    start = starting_point("kmeans", expectation, posteriors, constraints, 3, np.random.default_rng(0)).parameters
    assert np.isfinite(start.means).all()


def test_starts_by_one_coefficient_find_what_the_others_hide():
    """Three groups differ only in their slopes, and their levels spread fifty times as far."""
    rng = np.random.default_rng(2)
    groups, times = np.arange(90) % 3, np.linspace(0.0, 1.0, 12)
    levels, slopes = rng.normal(scale=50.0, size=90), 4.0 * groups + rng.normal(scale=0.2, size=90)
    values = levels[:, None] + slopes[:, None] * (times - 0.5) + rng.normal(scale=0.05, size=(90, 12))
    panel = Panel.from_arrays(times, values[..., None])
    expectation = Expectation(SufficientStatistics.from_panel(panel, (Polynomial(1).bind(panel.times),)))
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    found = coefficient_starts(posteriors, 3, 5, np.random.default_rng(0))
    assert len(found) == 2
    labels = found[0]  # the clearest one first
    assert all(len(set(labels[groups == k])) == 1 for k in range(3)) and len(set(labels)) == 3
    assert len(coefficient_starts(posteriors, 3, 1, np.random.default_rng(0))) == 1
    again = coefficient_starts(posteriors, 3, 5, np.random.default_rng(0))
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_there_is_no_start_by_a_coefficient_with_fewer_units_than_modes():
    expectation = two_groups(n_units=4)
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    assert coefficient_starts(posteriors, 5, 3, np.random.default_rng(0)) == []


def test_plain_coefficients_are_those_of_the_basis_before_whitening():
    expectation = two_groups()
    constraints = constraints_of(expectation)
    parameters = one_mode_run(expectation, constraints).parameters
    posteriors = OneModePosteriors(expectation.statistics, parameters)
    layout = parameters.layout
    for c in range(layout.n_channels):
        whole = layout.vector(posteriors.coefficients, c) @ parameters.factor(0, c).T
        np.testing.assert_allclose(layout.vector(posteriors.unwhitened, c), whole, rtol=1e-12, atol=1e-12)
