"""A fit with columns of three kinds and its model are one mixture: the parameters of either give those of the other."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fixed_problems import Problem, random_problem
from scipy.stats import multivariate_normal

from cem.fitting.embedding import Embedded, embedded, split_parameters
from cem.mixture.column_kinds import without_variance
from cem.mixture.parameters import Parameters, whitened

CASES = [(seed, rank, by_mode, leading) for rank in (0, 1) for by_mode in ("none", "some", "all")
         for leading in (True, False) for seed in range(5)]  # fmt: skip


def in_user_terms(found: Embedded, problem: Problem) -> Parameters:
    """The model's parameters in the panel's units."""
    still = [
        [j for j in range(p) if j >= basis.size or j not in random]
        for p, basis, random in zip(found.parameters.sizes, problem.bases, problem.plan.random, strict=True)
    ]
    theta, at = found.parameters, found.coordinates
    means, factors = at.in_user_terms(theta.means, theta.factors)
    without_variance(factors, theta.layout, still)
    loadings = None
    if theta.loadings is not None:
        loadings = np.empty_like(theta.loadings)
        for c in range(theta.n_channels):
            W = theta.layout.matrix(theta.factors, c) @ theta.layout.rows(theta.loadings, c)
            W = at.scales[c] * np.linalg.solve(at.transform(c), W)
            theta.layout.rows(loadings, c)[:] = whitened(theta.layout.matrix(factors, c), W)
    noise = theta.noise_variances * np.square(at.scales)
    return Parameters(theta.weights, means, factors, noise, theta.sizes, loadings)


def covariance(theta: Parameters, k: int) -> np.ndarray:
    """Of all coefficients of a mode, channels linked or not."""
    Sigma = np.zeros((sum(theta.sizes),) * 2)
    W = np.zeros((len(Sigma), theta.rank))
    first = 0
    for c, p in enumerate(theta.sizes):
        own = slice(first, first + p)
        factor = theta.factor(k, c)
        Sigma[own, own] = factor @ factor.T
        W[own] = factor @ theta.loading(k, c)
        first += p
    return Sigma + W @ W.T


def of_the_model(problem: Problem, found: Embedded, user: Parameters, unit: int, mode: int) -> float:
    """ln P(x | k) of a unit by the model: common columns off the readings, all others random."""
    rows = slice(int(problem.panel.offsets[unit]), int(problem.panel.offsets[unit + 1]))
    designs, left, noise = [], [], []
    first = 0
    for c, p in enumerate(user.sizes):
        functions = problem.bases[c](problem.panel.times[rows])
        features = problem.plan.features[rows]

        def column(x, functions=functions, features=features):
            return features[:, x.feature] * (functions[:, x.function] if x.function >= 0 else 1.0)

        own = np.zeros((len(functions), sum(user.sizes)))
        own[:, first : first + functions.shape[1]] = functions
        for i, x in enumerate(found.by_mode[c]):
            own[:, first + functions.shape[1] + i] = column(x)
        reading = np.array(problem.panel.values[rows, c])
        for x, beta in zip(found.common[c], found.coefficients[c], strict=True):
            reading -= beta * column(x)
        seen = np.isfinite(reading)
        designs.append(own[seen])
        left.append(reading[seen])
        noise.append(np.full(np.count_nonzero(seen), user.noise_variances[mode, c]))
        first += p
    Phi = np.concatenate(designs)
    V = Phi @ covariance(user, mode) @ Phi.T + np.diag(np.concatenate(noise))
    return float(multivariate_normal.logpdf(np.concatenate(left), Phi @ user.means[mode], V))


@pytest.mark.parametrize(("seed", "rank", "by_mode", "leading"), CASES)
def test_the_model_gives_units_the_densities_of_the_fit(seed, rank, by_mode, leading):
    """A fitted model would score by other parameters than were fitted."""
    problem = random_problem(seed, rank=rank, by_mode=by_mode, leading=leading, ordered=True)
    found = embedded(problem.parameters, problem.statistics, problem.plan)
    user = in_user_terms(found, problem)
    dense = problem.log_densities()
    for l in range(min(problem.panel.n_units, 5)):
        counts = problem.statistics.counts[l]
        jacobian = float(counts @ np.log(problem.statistics.coordinates.scales))
        for k in range(user.n_modes):
            assert of_the_model(problem, found, user, l, k) + jacobian == pytest.approx(dense[l, k], rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(("seed", "rank", "by_mode", "leading"), CASES)
def test_a_model_continues_a_fit_where_it_ended(seed, rank, by_mode, leading):
    """A warm start would begin elsewhere."""
    problem = random_problem(seed, rank=rank, by_mode=by_mode, leading=leading, ordered=True)
    theta, statistics, plan = problem.parameters, problem.statistics, problem.plan
    found = embedded(theta, statistics, plan)
    conditions = SimpleNamespace(coefficients=found.coefficients)
    again = split_parameters(in_user_terms(found, problem), conditions, statistics)
    np.testing.assert_allclose(again.fixed, theta.fixed, atol=1e-10)
    np.testing.assert_allclose(again.noise_variances, theta.noise_variances, rtol=1e-12)
    first = 0
    kept = []  # a channel without random columns has a coefficient that no reading informs
    for c, p in enumerate(theta.sizes):
        kept += [bool(plan.random[c])] * p
        first += p
    np.testing.assert_allclose(again.means[:, kept], theta.means[:, kept], atol=1e-10)
    for k in range(theta.n_modes):
        inner = np.ix_(kept, kept)
        np.testing.assert_allclose(covariance(again, k)[inner], covariance(theta, k)[inner], atol=1e-10)


def test_coefficients_that_do_not_vary_have_no_variance():
    """A forecast would be wider than the fit, and a model would need an inverse that does not exist."""
    for seed, rank, by_mode, leading in CASES:
        problem = random_problem(seed, rank=rank, by_mode=by_mode, leading=leading, ordered=True)
        found = embedded(problem.parameters, problem.statistics, problem.plan)
        user = in_user_terms(found, problem)
        first = 0
        for c, p in enumerate(user.sizes):
            varies = [j in problem.plan.random[c] for j in range(problem.bases[c].size)]
            fixed = first + np.flatnonzero(~np.array(varies + [False] * len(found.by_mode[c])))
            for k in range(user.n_modes):
                assert not covariance(user, k)[fixed].any()
            first += p
