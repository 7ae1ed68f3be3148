"""Draws in the space of the sufficient statistics: a wrong law here makes every interval and test wrong, unseen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixed_problems import Problem, random_problem

from cem.em.expectation import Expectation
from cem.mixture.parameters import Parameters
from cem.panel.panel import Panel
from cem.statistics.sufficient import SufficientStatistics
from cem.uncertainty.resampling import ParametricDraws, resampled_units

N = 400


def literal(problem: Problem, modes: np.ndarray, rng: np.random.Generator) -> SufficientStatistics:
    """Readings drawn from the dense Gaussian of each unit, and compressed."""
    at, wide, panel = problem.statistics.coordinates, problem.statistics.fixed.wide, problem.panel
    values = np.full_like(panel.values, np.nan)
    for l, k in enumerate(modes):
        _, _, mean, covariance = problem.moments(l, k)
        x = mean + np.linalg.cholesky(covariance) @ rng.normal(size=len(mean))
        first, rows = 0, slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
        for c in range(panel.n_channels):
            random, fixed, _ = problem.channel(l, c)
            seen = np.isfinite(panel.values[rows, c])
            centre = np.concatenate([random, fixed], axis=1) @ (wide.transform(c) @ wide.centre(c))
            own = values[rows, c]
            own[seen] = x[first : first + len(random)] * at.scales[c] + centre
            first += len(random)
    times = [panel.times[panel.offsets[l] : panel.offsets[l + 1]] for l in range(panel.n_units)]
    split = [values[panel.offsets[l] : panel.offsets[l + 1]] for l in range(panel.n_units)]
    drawn = Panel.from_arrays(times, split, allow_empty_channels=True)
    return SufficientStatistics.from_panel(drawn, problem.bases, coordinates=wide, plan=problem.plan)


def elsewhere(parameters: Parameters, rng: np.random.Generator) -> Parameters:
    """Other parameters: densities there depend on the draws in other directions."""
    return replace(
        parameters,
        means=parameters.means + rng.normal(size=parameters.means.shape),
        factors=parameters.factors * 1.5,
        noise_variances=parameters.noise_variances * 0.6,
        fixed=parameters.fixed + 0.3,
    )


@pytest.mark.parametrize(
    ("seed", "kind", "rank"),
    [
        (4, "plain", 0),
        (1, "constant within units", 0),  # the level and the constant are one column: R lacks a rank
        (9, "absent", 0),
        (11, "collinear", 0),
        (7, "plain", 2),
        (6, "constant within units", 1),
    ],
)
def test_draws_have_the_law_of_compressed_readings(seed, kind, rank):
    """Units with fewer readings than columns, missing channels and designs without full rank among them."""
    problem = random_problem(seed, rank=rank, kind=kind)
    rng = np.random.default_rng(seed)
    K = problem.parameters.n_modes
    modes = rng.integers(0, K, problem.panel.n_units).astype(np.int32)
    draws = ParametricDraws(problem.statistics.with_known_modes(modes), problem.parameters)
    points = [problem.parameters, elsewhere(problem.parameters, rng)]
    unknown = np.full_like(modes, -1)

    def densities(statistics: SufficientStatistics) -> np.ndarray:
        expectation = Expectation(statistics.with_known_modes(unknown))
        return np.concatenate([expectation.log_densities(point) for point in points], axis=1)

    drawn = np.stack([densities(draws.draw(rng)) for _ in range(N)])
    compressed = np.stack([densities(literal(problem, modes, rng)) for _ in range(N)])
    for moment in (lambda x: x, lambda x: np.square(x - compressed.mean(axis=0))):
        first, second = moment(drawn), moment(compressed)
        error = np.sqrt((first.var(axis=0) + second.var(axis=0)) / N)
        z = (first.mean(axis=0) - second.mean(axis=0)) / np.maximum(error, 1e-9)
        assert np.abs(z).max() < 5.0
        assert 0.8 < np.sqrt(np.square(z).mean()) < 1.25 or z.size < 60


def test_modes_follow_the_weights_and_known_ones_stay():
    problem = random_problem(6)
    parameters, statistics = problem.parameters, problem.statistics
    draws = ParametricDraws(statistics, parameters)
    rng = np.random.default_rng(0)
    modes = np.stack([draws.modes(rng) for _ in range(2000)])
    known = statistics.known_modes
    assert np.array_equal(modes[:, known >= 0], np.tile(known[known >= 0], (2000, 1)))
    shares = np.stack([(modes[:, known < 0] == k).mean(axis=0) for k in range(parameters.n_modes)], axis=1)
    error = np.sqrt(parameters.weights * (1 - parameters.weights) / 2000)
    assert np.abs((shares - parameters.weights) / np.maximum(error, 1e-3)).max() < 5.0


def test_an_expert_s_impossible_mode_is_never_drawn():
    problem = random_problem(6)
    K = problem.parameters.n_modes
    assert K > 1
    priors = np.full((problem.panel.n_units, K), np.nan)
    priors[0] = np.log(np.maximum(np.eye(K)[1], 1e-300))
    priors[0, 0] = -np.inf
    free = problem.statistics.with_known_modes(np.full(problem.panel.n_units, -1)).with_membership(None, priors)
    draws = ParametricDraws(free, problem.parameters)
    rng = np.random.default_rng(0)
    assert {int(draws.modes(rng)[0]) for _ in range(200)} == {1}


def test_resampled_units_keep_all_that_belongs_to_them():
    problem = random_problem(4)
    n = problem.panel.n_units
    design = np.column_stack([np.ones(n), np.arange(n)])
    statistics = problem.statistics.with_membership(design)
    drawn = resampled_units(statistics, np.random.default_rng(1))
    units = [int(row[1]) for row in drawn.membership_design]
    assert drawn.n_units == n
    assert len(set(units)) < n
    assert list(drawn.units) == [statistics.units[u] for u in units]
    assert np.array_equal(drawn.known_modes, statistics.known_modes[units])
    assert np.array_equal(drawn.projections, statistics.projections[units])
    assert np.array_equal(drawn.fixed.projections, statistics.fixed.projections[units])
