"""Columns whose coefficients do not vary from unit to unit: E step, gradient and M step against dense Gaussians."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fixed_problems import Problem, random_problem

from cem.em.constraints import COVARIANCE_STRUCTURES
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.kernels import _lanes
from cem.em.loop import continue_em, start_em
from cem.em.maximisation import maximisation
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError

BY_MODE = ("none", "some", "all")
KINDS = ("plain", "constant within units", "nearly constant", "absent", "collinear")


def problems(rank: int, by_mode: str, n: int = 10) -> list[Problem]:
    """Every kind of covariate in turn."""
    return [
        random_problem(seed, rank=rank, by_mode=by_mode, kind=kind)
        for seed, kind in zip(range(100, 100 + n), math.ceil(n / len(KINDS)) * KINDS, strict=False)
    ]


@pytest.mark.parametrize("by_mode", BY_MODE)
@pytest.mark.parametrize(("rank", "kernel"), [(0, "lapack"), (0, "auto"), (1, "auto"), (2, "auto")])
def test_the_log_likelihood_is_that_of_dense_gaussians(rank, kernel, by_mode):
    """A fit with covariates would climb the likelihood of another model."""
    for problem in problems(rank, by_mode):
        expectation = Expectation(problem.statistics, kernel=kernel)
        assert rank or expectation.kernel.split(":")[0] == {"auto": "lanes", "lapack": "lapack"}[kernel]
        found = expectation(problem.parameters)[0].log_likelihood
        assert found == pytest.approx(problem.log_likelihood(), rel=1e-11)


@pytest.mark.parametrize("level", _lanes.available_levels())
def test_every_instruction_level_gives_the_sums_of_lapack(level):
    """The same fit would differ from one machine to the next."""
    for by_mode in BY_MODE:
        for problem in problems(0, by_mode):
            expected, rho = Expectation(problem.statistics, kernel="lapack")(problem.parameters)
            pack = _lanes.pack(problem.statistics.bundle, level)
            bounds, found = pack.chunks(problem.parameters.n_modes), np.empty_like(rho)
            sums = np.empty((len(bounds) - 1, len(expected.sums)))
            fixed = np.empty((len(bounds) - 1, len(expected.fixed_sums)))
            claimed = np.zeros(1, dtype=np.int64)
            _lanes.expectation_chunks(
                pack, problem.parameters.bundle, 1.0, False, bounds, claimed, found, sums, fixed_sums_out=fixed
            )
            sums, fixed = sums.sum(axis=0), fixed.sum(axis=0)
            np.testing.assert_allclose(found, rho, atol=1e-12)
            np.testing.assert_allclose(sums, expected.sums, rtol=1e-11, atol=1e-11 * np.abs(sums).max())
            np.testing.assert_allclose(
                fixed, expected.fixed_sums, rtol=1e-11, atol=1e-11 * np.abs(fixed).max(initial=0)
            )


@pytest.mark.parametrize("by_mode", BY_MODE)
@pytest.mark.parametrize("rank", [0, 1])
def test_g_by_the_noise_is_the_gradient_of_the_log_likelihood(rank, by_mode):
    """Quasi-Newton steps would go astray; of linked channels (23) needs E t, and is wrong with E d."""
    for problem in problems(rank, by_mode, 5):
        theta, plan = problem.parameters, problem.plan
        K, Q = theta.fixed.shape
        expectation = Expectation(problem.statistics)
        g = expectation(theta)[0].fixed_sums[: K * Q].reshape(K, Q)
        gradient = g / np.repeat(theta.noise_variances, plan.fixed_sizes, axis=1)
        for j in range(Q):
            for modes in ([k] for k in range(K)) if plan.by_mode[j] else [list(range(K))]:
                values = []
                for step in (1e-5, -1e-5):
                    beta = np.array(theta.fixed)
                    beta[modes, j] += step
                    values.append(expectation(replace(theta, fixed=beta))[0].log_likelihood)
                slope = (values[0] - values[1]) / 2e-5
                assert gradient[modes, j].sum() == pytest.approx(slope, rel=1e-5, abs=1e-4)


def weighted_squares(problem: Problem, rho: np.ndarray, c: int, k: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Σ ρ̂ E‖x − Φ t − Ψ β‖² of a channel and mode as A, b and c of βᵀ A β − 2 bᵀ β + c, and Σ ρ̂ n."""
    first = sum(problem.parameters.sizes[:c])
    own = slice(first, first + problem.parameters.sizes[c])
    q = problem.plan.fixed_sizes[c]
    A, b, rest, n = np.zeros((q, q)), np.zeros(q), 0.0, 0.0
    for l in range(problem.panel.n_units):
        random, fixed, x = problem.channel(l, c)
        mean, covariance = problem.posterior(l, k)
        left = x - random @ mean[own]
        A += rho[l, k] * fixed.T @ fixed
        b += rho[l, k] * fixed.T @ left
        rest += rho[l, k] * (left @ left + np.trace(random @ covariance[own, own] @ random.T))
        n += rho[l, k] * len(x)
    return A, b, rest, n


@pytest.mark.parametrize("pooled_noise", [False, True])
@pytest.mark.parametrize("by_mode", BY_MODE)
@pytest.mark.parametrize("rank", [0, 1])
def test_the_m_step_is_least_squares_on_what_dense_posteriors_leave(rank, by_mode, pooled_noise):
    """Coefficients and noise would be those of a step that does not maximise, and a fit would end elsewhere."""
    n_checked = 0
    for problem in problems(rank, by_mode, 5):
        theta = problem.parameters
        if pooled_noise:
            noise = np.broadcast_to(theta.noise_variances[:1], theta.noise_variances.shape)
            theta = problem.parameters = replace(theta, noise_variances=noise)
        constraints = replace(
            problem.constraints, pooled_noise=pooled_noise, noise_floors=np.full(len(theta.sizes), 1e-9)
        )
        expected, rho = Expectation(problem.statistics)(theta)
        found, _ = maximisation(expected, theta, constraints)
        starts, by = problem.statistics.fixed.starts, problem.plan.by_mode
        for c in range(len(theta.sizes)):
            if (expected.channel_counts[:, c] < 2.0).any():
                continue  # too few units: a mode keeps its noise
            parts = [weighted_squares(problem, rho, c, k) for k in range(theta.n_modes)]
            own = by[starts[c] : starts[c + 1]]
            beta = found.fixed[:, starts[c] : starts[c + 1]]
            for k, (A, b, _, _) in enumerate(parts):
                residual = (A @ beta[k] - b)[own]
                np.testing.assert_allclose(residual, 0.0, atol=1e-8 * (1.0 + np.abs(b).max(initial=0.0)))
            together = sum((A @ beta[k] - b) / theta.noise_variances[k, c] for k, (A, b, _, _) in enumerate(parts))
            size = max(np.abs(b).max(initial=0.0) / theta.noise_variances[k, c] for k, (_, b, _, _) in enumerate(parts))
            np.testing.assert_allclose(together[~own], 0.0, atol=1e-8 * (1.0 + size))
            squares = np.array(
                [beta[k] @ A @ beta[k] - 2 * b @ beta[k] + rest for k, (A, b, rest, _) in enumerate(parts)]
            )
            counts = np.array([n for *_, n in parts])
            noise = np.full(theta.n_modes, squares.sum() / counts.sum()) if pooled_noise else squares / counts
            np.testing.assert_allclose(found.noise_variances[:, c], noise, rtol=1e-8)
            n_checked += 1
    assert n_checked


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("pooled_noise", [False, True])
@pytest.mark.parametrize(("rank", "covariance"), [*((0, name) for name in COVARIANCE_STRUCTURES), (1, "full")])
def test_the_objective_never_falls(rank, covariance, pooled_noise, accelerate):
    """A fit could end lower than it began, and say that it converged."""
    n_rises = 0
    for seed in range(15):
        problem = random_problem(seed, rank=rank, by_mode=BY_MODE[seed % 3], kind=KINDS[seed % 5])
        constraints = replace(problem.constraints, pooled_noise=pooled_noise, covariance=covariance)
        ascent = MixtureProblem(Expectation(problem.statistics), constraints)
        start = start_em(ascent, feasible(problem.parameters, constraints))
        try:
            run = continue_em(start, ascent, n_passes=25, tolerance=1e-8, accelerate=accelerate)
        except FitError:  # too few units for so many modes
            continue
        assert np.diff(run.objectives).min(initial=0.0) >= -1e-9 * (1.0 + np.abs(run.objectives).max())
        n_rises += len(run.objectives) > 5
    assert n_rises > 10


@pytest.mark.parametrize("kernel", ["lapack", "auto"])
@pytest.mark.parametrize("rank", [0, 1])
def test_log_densities_are_those_of_dense_gaussians(rank, kernel):
    """Lives of running units are weighed by them."""
    for by_mode in BY_MODE:
        for problem in problems(rank, by_mode, 5):
            unknown = problem.statistics.with_known_modes(np.full(problem.panel.n_units, -1, dtype=np.int32))
            found = Expectation(unknown, kernel=kernel).log_densities(problem.parameters)
            np.testing.assert_allclose(found, problem.log_densities(), rtol=1e-10, atol=1e-9)
