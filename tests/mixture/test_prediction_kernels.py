"""Batch prediction without SciPy: the lane kernels against dense NumPy, at every instruction level of this machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import parameters_bundle, statistics_bundle

from cem.errors import OptionError, PredictionError
from cem.mixture import _prediction
from cem.statistics import _blocks

LEVELS = _blocks.instruction_levels()


@pytest.fixture(autouse=True)
def _restore_level():
    level = _blocks.instruction_level()
    yield
    _blocks.use_instruction_level(level)


@dataclass
class Problem:
    """Raw readings of a small fleet, its statistics in packed form, and parameters."""

    sizes: np.ndarray
    designs: list  # [l][c] (n, p)
    readings: list  # [l][c] (n,)
    statistics: tuple
    parameters: tuple

    def bundles(self):
        parameters = parameters_bundle(np.ones(len(self.parameters[0])), *self.parameters, self.sizes)
        return statistics_bundle(self.statistics, self.sizes), parameters


def compressed(design, x):
    """(9) by NumPy's Householder QR, padded with zero rows."""
    n, p = design.shape
    R, w = np.zeros((p, p)), np.zeros(p)
    q, r = np.linalg.qr(design)
    m = min(n, p)
    R[:m], w[:m] = r[:m], (q.T @ x)[:m]
    rss = float(np.sum((x - q @ (q.T @ x)) ** 2)) if n > p else 0.0
    return R, w, rss


def make_problem(seed, n_units, n_channels, n_modes, largest):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, largest + 1, n_channels).astype(np.int32)
    P, P2 = int(sizes.sum()), int((sizes.astype(int) ** 2).sum())
    means = rng.normal(size=(n_modes, P))
    noise = rng.uniform(0.05, 2.0, (n_modes, n_channels))
    factors_k = np.zeros((n_modes, P2))
    start = 0
    for p in sizes:
        for k in range(n_modes):
            lower = np.tril(rng.normal(size=(p, p)))
            lower[np.diag_indices(p)] = rng.uniform(0.1, 1.5, p)
            factors_k[k, start : start + p * p] = lower.ravel()
        start += p * p
    blocks, designs, readings = [], [], []
    offsets = np.full((n_units, n_channels), -1, dtype=np.int64)
    projections = np.zeros((n_units, P))
    norms = np.zeros((n_units, n_channels))
    counts = np.zeros((n_units, n_channels), dtype=np.int32)
    used = 0
    for unit in range(n_units):
        designs.append([])
        readings.append([])
        start = 0
        for c, p in enumerate(sizes):
            n = int(rng.integers(0, 3 * p + 1))
            design, x = rng.normal(size=(n, p)), 2 * rng.normal(size=n)
            designs[-1].append(design)
            readings[-1].append(x)
            if n:
                R, projections[unit, start : start + p], norms[unit, c] = compressed(design, x)
                blocks.append(R.ravel())
                offsets[unit, c], counts[unit, c] = used, n
                used += p * p
            start += p
    factors = np.concatenate(blocks) if blocks else np.zeros(0)
    return Problem(sizes, designs, readings, (factors, offsets, projections, norms, counts), (means, factors_k, noise))


def channel_parameters(problem, k, c):
    means, factors_k, noise = problem.parameters
    p = int(problem.sizes[c])
    vector = int(problem.sizes[:c].sum())
    matrix = int((problem.sizes[:c].astype(int) ** 2).sum())
    return means[k, vector : vector + p], factors_k[k, matrix : matrix + p * p].reshape(p, p), noise[k, c]


def dense(problem):
    """model.md (2) written out: log-densities and misfits with dense V."""
    n_units, n_modes = len(problem.designs), len(problem.parameters[0])
    log_density, misfit = np.zeros((n_units, n_modes)), np.zeros((n_units, n_modes))
    for unit in range(n_units):
        for k in range(n_modes):
            for c in range(len(problem.sizes)):
                design, x = problem.designs[unit][c], problem.readings[unit][c]
                mean, factor, noise = channel_parameters(problem, k, c)
                V = design @ factor @ factor.T @ design.T + noise * np.eye(len(x))
                rest = x - design @ mean
                quadratic = rest @ np.linalg.solve(V, rest)
                misfit[unit, k] += quadratic
                log_density[unit, k] -= 0.5 * (len(x) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + quadratic)
    return log_density, misfit


def evaluate(problem, **options):
    shape = len(problem.designs), len(problem.parameters[0])
    log_density, misfit = np.full(shape, np.nan), np.full(shape, np.nan)
    bundles = problem.bundles()
    _prediction.log_densities(*bundles, log_density, misfit, **options)
    return log_density, misfit


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_units=st.integers(0, 5),
    n_channels=st.integers(1, 9),
    n_modes=st.integers(1, 4),
    largest=st.integers(1, 7),
)
def test_log_densities_are_those_of_the_dense_normal_distribution(level, seed, n_units, n_channels, n_modes, largest):
    _blocks.use_instruction_level(level)
    problem = make_problem(seed, n_units, n_channels, n_modes, largest)
    expected_density, expected_misfit = dense(problem)
    found_density, found_misfit = evaluate(problem)
    np.testing.assert_allclose(found_density, expected_density, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(found_misfit, expected_misfit, rtol=1e-9, atol=1e-9)


def test_common_part_and_rest_add_up_to_the_log_density():
    """A caller who asks for the exact log-odds gets the same mixture."""
    problem = make_problem(3, 6, 5, 3, 4)
    whole, misfit = evaluate(problem)
    common = np.full(6, np.nan)
    rest, same_misfit = evaluate(problem, common_out=common)
    np.testing.assert_allclose(rest + common[:, None], whole, rtol=1e-13, atol=1e-12)
    np.testing.assert_array_equal(misfit, same_misfit)


@pytest.mark.parametrize("level", LEVELS)
def test_threads_do_not_change_a_bit(level):
    _blocks.use_instruction_level(level)
    problem = make_problem(5, 23, 6, 3, 4)
    for serial, threaded in zip(evaluate(problem), evaluate(problem, n_threads=4), strict=True):
        np.testing.assert_array_equal(serial, threaded)


def test_determinants_of_many_channels_do_not_overflow():
    """Sixty channels known to 1e12 noise deviations: the product of their determinants is near 1e4000."""
    n_channels, p = 60, 3
    sizes = np.full(n_channels, p, dtype=np.int32)
    R = np.diag([1e10, 2e10, 3e10])
    offsets = np.zeros((1, n_channels), dtype=np.int64)
    factors_k = np.tile(np.eye(p).ravel() * 10, n_channels)[None]
    noise = np.full((1, n_channels), 1e-2)
    out, misfit = np.zeros((1, 1)), np.zeros((1, 1))
    counts = np.full((1, n_channels), 3, dtype=np.int32)
    bundle = statistics_bundle((R.ravel(), offsets, np.zeros((1, 180)), np.zeros((1, n_channels)), counts), sizes)
    parameters = parameters_bundle(np.ones(1), np.zeros((1, 180)), factors_k, noise, sizes)
    _prediction.log_densities(bundle, parameters, out, misfit)
    B = np.diag(R) * 10 / 0.1
    expected = -0.5 * n_channels * (3 * np.log(2 * np.pi * 1e-2) + np.sum(np.log1p(B**2)))
    np.testing.assert_allclose(out[0, 0], expected, rtol=1e-14)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10_000), n_channels=st.integers(1, 5), largest=st.integers(1, 6))
def test_posteriors_are_those_of_bayes_rule(seed, n_channels, largest):
    """(4) with explicit inverses; a channel without readings keeps its prior."""
    problem = make_problem(seed, 3, n_channels, 2, largest)
    sizes = problem.sizes.astype(int)
    P, P2 = sizes.sum(), (sizes**2).sum()
    means, factors = np.full((3, 2, P), np.nan), np.full((3, 2, P2), np.nan)
    bundles = problem.bundles()
    _prediction.posteriors(*bundles, means, factors, n_threads=2)
    for unit in range(3):
        for k in range(2):
            vector = matrix = 0
            for c, p in enumerate(sizes):
                design, x = problem.designs[unit][c], problem.readings[unit][c]
                mean, factor, noise = channel_parameters(problem, k, c)
                prior = np.linalg.inv(factor @ factor.T)
                covariance = np.linalg.inv(prior + design.T @ design / noise)
                expected = covariance @ (prior @ mean + design.T @ x / noise)
                root = factors[unit, k, matrix : matrix + p * p].reshape(p, p)
                tolerance = 1e-14 * np.linalg.cond(factor @ factor.T) * 100 + 1e-10
                np.testing.assert_allclose(means[unit, k, vector : vector + p], expected, rtol=0, atol=10 * tolerance)
                np.testing.assert_allclose(root @ root.T, covariance, rtol=0, atol=tolerance)
                vector, matrix = vector + p, matrix + p * p


def test_wrong_shapes_are_refused():
    problem = make_problem(1, 3, 2, 2, 2)
    wrong = (*problem.statistics[:2], problem.statistics[2][:2], *problem.statistics[3:])
    with pytest.raises(ValueError, match="projections has shape"):
        evaluate(Problem(problem.sizes, problem.designs, problem.readings, wrong, problem.parameters))
    offsets = problem.statistics[1].copy()
    offsets[0, 0] = 10_000
    wrong = (problem.statistics[0], offsets, *problem.statistics[2:])
    with pytest.raises(ValueError, match=r"factor_offsets\[0, 0\] is 10000; .* lies outside factors"):
        evaluate(Problem(problem.sizes, problem.designs, problem.readings, wrong, problem.parameters))
    with pytest.raises(OptionError, match="n_threads is 0"):
        evaluate(problem, n_threads=0)


def test_a_log_density_that_is_not_finite_is_an_error_and_not_a_nan():
    problem = make_problem(2, 3, 2, 2, 2)
    problem.statistics[3][1, 0] = np.inf
    with pytest.raises(PredictionError, match="unit number 1 is not finite"):
        evaluate(problem)


def test_an_unknown_instruction_level_is_refused():
    with pytest.raises(OptionError, match="'avx9'"):
        _blocks.use_instruction_level("avx9")
