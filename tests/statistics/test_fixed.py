"""Statistics of columns whose coefficients do not vary from unit to unit: the split form, and what moves it about."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from fixed_problems import Problem, random_problem

from cem.em.expectation import Expectation
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import layout_of
from cem.statistics.fixed import conditioned
from cem.statistics.sufficient import SufficientStatistics

SEEDS = range(12)


def log_likelihood(statistics: SufficientStatistics, parameters: Parameters) -> float:
    return Expectation(statistics, kernel="lapack")(parameters)[0].log_likelihood


def compressed(problem: Problem, **options: object) -> SufficientStatistics:
    return SufficientStatistics.from_panel(
        problem.panel,
        problem.bases,
        coordinates=problem.statistics.fixed.wide,
        known_modes=problem.statistics.known_modes,
        plan=problem.plan,
        **options,
    )


def with_zero_variances(problem: Problem) -> Parameters:
    """The same mixture with fixed columns among the random ones: their coefficients are means without variance."""
    theta, sizes = problem.parameters, problem.statistics.fixed.wide.sizes
    layout = layout_of(sizes)
    means = np.empty((theta.n_modes, sum(sizes)))
    factors = np.zeros((theta.n_modes, int(layout.factor_offsets[-1])))
    starts = problem.statistics.fixed.starts
    for c, p in enumerate(theta.sizes):
        layout.vector(means, c)[:, :p] = theta.layout.vector(theta.means, c)
        layout.vector(means, c)[:, p:] = theta.fixed[:, starts[c] : starts[c + 1]]
        layout.matrix(factors, c)[:, :p, :p] = theta.layout.matrix(theta.factors, c)
    return Parameters(theta.weights, means, factors, theta.noise_variances, sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_fixed_columns_are_random_ones_without_variance(seed):
    """A fitted model scores by whole designs; it would disagree with its fit."""
    problem = random_problem(seed, by_mode=("none", "some", "all")[seed % 3])
    whole = compressed(problem, whole=True)
    assert whole.fixed is None
    found = log_likelihood(whole, with_zero_variances(problem))
    assert found == pytest.approx(log_likelihood(problem.statistics, problem.parameters), rel=1e-11)


@pytest.mark.parametrize("kernel", ["lapack", "plain"])
@pytest.mark.parametrize("seed", SEEDS)
def test_given_coordinates_give_the_statistics_that_learned_ones_gave(kernel, seed):
    """A unit that is added later, or compressed without SciPy, would be scored by other numbers."""
    problem = random_problem(seed)
    again = compressed(problem, kernel=kernel)
    assert log_likelihood(again, problem.parameters) == pytest.approx(
        log_likelihood(problem.statistics, problem.parameters), rel=1e-10
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_units_can_be_chosen_and_joined(seed):
    """A fold of a cross-validation would see other units' columns."""
    problem = random_problem(seed, rank=seed % 2)
    statistics, theta = problem.statistics, problem.parameters
    half = statistics.n_units // 2
    order = np.random.default_rng(seed).permutation(statistics.n_units)
    parts = [statistics.subset(order[:half]), statistics.subset(order[half:])]
    joined = SufficientStatistics.concatenate(parts)
    whole = log_likelihood(statistics, theta)
    assert log_likelihood(joined, theta) == pytest.approx(whole, rel=1e-12)
    assert sum(log_likelihood(part, theta) for part in parts) == pytest.approx(whole, rel=1e-12)
    back = joined.subset(np.argsort(order))
    np.testing.assert_array_equal(back.fixed.projections, statistics.fixed.projections)


@pytest.mark.parametrize("seed", SEEDS)
def test_pickled_statistics_are_the_same(seed):
    """Starts in other processes would climb another likelihood."""
    problem = random_problem(seed)
    log_likelihood(problem.statistics, problem.parameters)  # the bundle is made, and must not be pickled
    again = pickle.loads(pickle.dumps(problem.statistics))
    assert log_likelihood(again, problem.parameters) == log_likelihood(problem.statistics, problem.parameters)


@pytest.mark.parametrize("seed", SEEDS)
def test_taking_the_columns_off_is_the_same_as_keeping_them(seed):
    """(22) with given coefficients: what is left are statistics of a plain mixture."""
    problem = random_problem(seed, by_mode="none")
    theta = problem.parameters
    left = conditioned(problem.statistics, theta.fixed[0])
    assert left.fixed is None
    assert log_likelihood(left, replace(theta, fixed=None)) == pytest.approx(
        log_likelihood(problem.statistics, theta), rel=1e-12
    )
    assert conditioned(left, theta.fixed[0]) is left


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if random_problem(seed).panel.n_channels > 1])
def test_the_last_channel_can_be_left_out(seed):
    """Lives linked to the channels are its last one, and are taken off after the fit."""
    problem = random_problem(seed)
    others = problem.statistics.without_last_channel()
    theta, p = problem.parameters, problem.parameters.sizes[-1]
    q = problem.statistics.fixed.sizes[-1]
    short = Parameters(
        theta.weights, theta.means[:, :-p], theta.factors[:, : -p * p], theta.noise_variances[:, :-1], theta.sizes[:-1],
        None, theta.fixed[:, : theta.fixed.shape[1] - q],
    )  # fmt: skip
    last = np.array(problem.panel.values)
    last[:, -1] = np.nan
    unread = random_problem(seed)
    unread.panel = problem.panel._replace(values=last)
    found = log_likelihood(others, short)
    assert found == pytest.approx(log_likelihood(compressed(unread), theta), rel=1e-11)
