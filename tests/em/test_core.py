"""The kernels of the fit against their twin in NumPy and against the equations written out literally.

A kernel that differs from the page gives every user wrong probabilities, and nothing else would notice.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference as _reference
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    HIGHEST_B,
    HIGHEST_B_FOR_DENSE,
    HIGHEST_CONDITION,
    RARE_MODE,
    conditions,
    norms_of_B,
    parameters_bundle,
    problems,
    random_factors,
    random_parameters,
    random_problem,
    statistics_bundle,
    unit_factor,
)

from cem import _core
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.kernels import _maximisation
from cem.em.maximisation import maximisation
from cem.em.sums import ExpectedStatistics
from cem.errors import FitError
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Layout

EPSILON = np.finfo(float).eps
LIKELIHOOD = 1e-12
# For the literal equations the noise is not small: dense V has condition 1 + ‖B‖², which no tolerance in κ(Σ) covers.
DENSE = {"log_condition": (1.5, 6.0), "log_noise": (-1.0, 0.0)}


def reference_expectation(statistics, parameters, **options):
    return _reference.expectation(
        statistics.factors,
        statistics.factor_offsets,
        statistics.projections,
        statistics.residual_norms,
        statistics.counts,
        statistics.known_modes,
        parameters,
        **options,
    )


def loose(parameters, covariance="full"):
    """Constraints that never bind."""
    C = parameters.n_channels
    identity = np.concatenate([np.eye(p).ravel() for p in parameters.sizes])
    return Constraints(np.full(C, 1e-20), np.full(C, 1e-20), covariance, identity)


# ------------------------------------------------------------------------------------------------- the generator


def test_the_generator_covers_its_ranges():
    """Tolerances in κ(Σ) and ‖B‖ are uninformative if all problems are well conditioned."""
    rng = np.random.default_rng(0)
    B, kappa, dense_B, per_coefficient, missing, levels, rare = [], [], [], [], [], [], []
    n_modes, sizes = set(), set()
    for _ in range(50):
        K, p = int(rng.integers(1, 5)), tuple(rng.integers(1, 7, size=int(rng.integers(1, 9))).tolist())
        problem = random_problem(rng, K, p)
        n_modes.add(K)
        sizes.update(p)
        B.append(norms_of_B(problem, problem.parameters))
        kappa.append(conditions(problem.parameters).ravel())
        per_coefficient.append((problem.statistics.counts / np.array(p)).ravel())
        if len(p) > 1:  # a row whose only cell is missing is no row
            missing.append(np.isnan(problem.panel.values).mean())
        levels.append((problem.levels > 0).any())
        rare.append(K == 1 or problem.parameters.weights[-1] == RARE_MODE)
        dense = random_problem(rng, K, p, **DENSE)
        dense_B.append(norms_of_B(dense, dense.parameters))
    B, kappa, dense_B, per_coefficient = map(np.concatenate, (B, kappa, dense_B, per_coefficient))
    assert 1e3 < B.max() < HIGHEST_B and B.min() < 0.5
    assert 1e5 < kappa.max() < 1.001 * HIGHEST_CONDITION and kappa.min() < 2
    assert 20 < dense_B.max() < HIGHEST_B_FOR_DENSE
    assert min(missing) >= 0.2
    assert per_coefficient.min() == 0 and per_coefficient.max() == 3
    assert np.mean((per_coefficient > 0) & (per_coefficient < 1)) > 0.05  # n < p
    assert np.mean(levels) > 0.2 and all(rare)
    assert n_modes == {1, 2, 3, 4} and sizes == {1, 2, 3, 4, 5, 6}


# --------------------------------------------------------------------------------------------------- expectation


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(n_units=8), far=st.booleans())
def test_expectation_is_its_twin(problem, far):
    """ℓ to 1e-12, and all sums of (14), on ragged units with missing cells and noise a thousandth of the signal."""
    parameters = problem.parameters
    if far:
        parameters = Parameters(
            parameters.weights, parameters.means + 3.0, parameters.factors, parameters.noise_variances, problem.sizes
        )
    B = norms_of_B(problem, parameters).max()
    assert B < HIGHEST_B and conditions(parameters).max() < 1.001 * HIGHEST_CONDITION
    expected, rho = Expectation(problem.statistics)(parameters)
    rho_twin, sums = reference_expectation(problem.statistics, parameters)
    twin = ExpectedStatistics(sums, parameters.n_modes, problem.sizes, problem.panel.n_units)
    # ℓ may pass through zero, where "relative" means nothing: it is a sum of n_obs terms of order one or more.
    n_obs = problem.statistics.n_observations
    assert abs(expected.log_likelihood - twin.log_likelihood) <= LIKELIHOOD * max(abs(twin.log_likelihood), n_obs)
    # ρ̂ is the exponential of differences of log densities: their absolute error is its relative one.
    blur = LIKELIHOOD * max(abs(twin.log_likelihood), n_obs)
    assert np.abs(rho - rho_twin).max() <= blur
    tolerance = 10 * EPSILON * (1 + B**2) + 10 * blur
    for name in ("mode_counts", "channel_counts", "first_moments", "second_moments", "noise_moments"):
        found, wanted = getattr(expected, name), getattr(twin, name)
        assert np.abs(found - wanted).max() <= tolerance * max(1.0, np.abs(wanted).max()), name
    np.testing.assert_allclose(expected.observation_counts, twin.observation_counts, rtol=0, atol=blur * n_obs)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(n_units=6))
def test_posterior_of_every_unit_is_its_twin(problem):
    """E d to 10 ε (1 + ‖B‖²): a unit's curve, and the k-means starts that rest on it."""
    statistics, parameters, layout = problem.statistics, problem.parameters, Layout(problem.sizes)
    whitened = np.empty((problem.panel.n_units, int(layout.mean_offsets[-1])))
    for k in range(parameters.n_modes):
        _core.posterior_coefficients(
            statistics.bundle,
            parameters.bundle,
            k,
            whitened,
        )
        for l in range(problem.panel.n_units):
            for c in range(len(problem.sizes)):
                found = layout.vector(whitened[l], c)
                if statistics.counts[l, c] == 0:
                    assert not found.any()
                    continue
                R = unit_factor(statistics, l, c)
                mean, factor = parameters.mean(k, c), parameters.factor(k, c)
                sigma2 = float(parameters.noise_variances[k, c])
                twin = _reference.whitened_posterior(
                    R, layout.vector(statistics.projections[l], c), 0.0, 1, mean, factor, sigma2
                )
                B = np.linalg.norm(R @ factor, 2) / np.sqrt(sigma2)
                # w − R μ is rounded before either form sees it: what that costs is relative to its operands.
                w = layout.vector(statistics.projections[l], c)
                operands = (np.linalg.norm(w) + np.linalg.norm(R @ mean)) / np.sqrt(sigma2)
                scale = max(1.0, np.linalg.norm(twin.mean), operands)
                assert np.linalg.norm(found - twin.mean) <= 10 * EPSILON * (1 + B**2) * scale


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    p=st.integers(1, 6),
    n=st.integers(1, 18),
    log_noise=st.floats(-3.0, 1.0),
    log_condition=st.floats(0.0, 6.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_posterior_covariance_is_its_twin(p, n, log_noise, log_condition, seed):
    """A⁻¹ to 10 ε (1 + ‖B‖²): with readings on the mean curve E d is zero and the second moment is just A⁻¹."""
    rng = np.random.default_rng(seed)
    R = _reference.compress(rng.normal(size=(n, p)), np.zeros(n))[0]
    factor = random_factors(rng, p, np.array([10.0**log_condition]))[0]
    sigma2 = 10.0 ** (2 * log_noise)
    sums = np.empty(_core.n_sums(1, np.array([p], dtype=np.int32)))
    one, origin = np.zeros((1, 1), dtype=np.int64), np.zeros((1, p))
    _core.expectation(
        statistics_bundle((R.ravel(), one, origin, np.zeros((1, 1)), np.full((1, 1), n, dtype=np.int32)), [p]),
        parameters_bundle(np.ones(1), origin, factor.reshape(1, -1), np.full((1, 1), sigma2), [p]),
        1.0,
        False,
        0,
        1,
        np.empty((1, 1)),
        sums,
    )
    found = ExpectedStatistics(sums, 1, (p,), 1)
    twin = _reference.whitened_posterior(R, np.zeros(p), 0.0, n, np.zeros(p), factor, sigma2)
    B = np.linalg.norm(R @ factor, 2) / np.sqrt(sigma2)
    assert np.linalg.norm(found.second_moments.reshape(p, p) - twin.covariance, 2) <= 10 * EPSILON * (1 + B**2)
    assert not found.first_moments.any()


@settings(derandomize=True, deadline=None, max_examples=25)
@given(problem=problems(n_units=6), beta=st.floats(1 / 200, 1.0))
def test_tempered_known_and_given_responsibilities_are_their_twins(problem, beta):
    """Labelled units are held, tempering flattens, and given responsibilities are taken as they are."""
    K = problem.parameters.n_modes
    known = np.where(np.arange(problem.panel.n_units) % 3 == 0, problem.modes, -1).astype(np.int32)
    statistics = problem.statistics.with_known_modes(known)
    blur = 1e-10  # the log densities that tempering and log-sum-exp start from
    for options in ({"inverse_temperature": beta}, {"responsibilities": np.full((len(known), K), 1.0 / K)}):
        expected, rho = Expectation(statistics)(problem.parameters, **options)
        rho_twin, sums = reference_expectation(statistics, problem.parameters, **options)
        assert np.abs(rho - rho_twin).max() <= blur
        n_obs = statistics.n_observations
        assert abs(expected.log_likelihood - sums[0]) <= LIKELIHOOD * max(abs(sums[0]), n_obs)
        np.testing.assert_allclose(expected.mode_counts, sums[1 : 1 + K], atol=blur * len(known))
    tempered = Expectation(statistics)(problem.parameters, inverse_temperature=beta)[1]
    assert np.array_equal(tempered[known >= 0], np.eye(K)[known[known >= 0]])


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(n_units=8, **DENSE))
def test_one_pass_is_the_literal_equations(problem):
    """(9)-(15) end where (2)-(8) with dense V end, to 100 ε κ(Σ): π, ρ̂, μ, Σ, σ² and ℓ."""
    parameters, C, K = problem.parameters, len(problem.sizes), problem.parameters.n_modes
    kappa = conditions(parameters).max()
    assert kappa < 1.001 * HIGHEST_CONDITION and norms_of_B(problem, parameters).max() < HIGHEST_B_FOR_DENSE
    tolerance = 100 * EPSILON * max(kappa, 30.0)
    covariances = [[parameters.factor(k, c) @ parameters.factor(k, c).T for c in range(C)] for k in range(K)]
    means = [[parameters.mean(k, c) for c in range(C)] for k in range(K)]
    log_likelihood, rho, weights, new_means, new_covariances, noise = _reference.literal_em_pass(
        problem.designs, problem.readings, parameters.weights, means, covariances, parameters.noise_variances
    )
    expected, found_rho = Expectation(problem.statistics)(parameters)
    n_obs = problem.statistics.n_observations
    assert abs(expected.log_likelihood - log_likelihood) <= tolerance * max(abs(log_likelihood), n_obs)
    blur = tolerance * max(abs(log_likelihood), n_obs)
    assert np.abs(found_rho - rho).max() <= blur
    found, _ = maximisation(expected, parameters, loose(parameters))
    np.testing.assert_allclose(found.weights, weights, atol=blur)
    for k in range(K):
        for c in range(C):
            size = max(1.0, np.abs(new_means[k][c]).max())
            assert np.abs(found.mean(k, c) - new_means[k][c]).max() <= blur * size
            Sigma = found.factor(k, c) @ found.factor(k, c).T
            wanted = new_covariances[k][c]
            assert np.abs(Sigma - wanted).max() <= blur * max(1.0, np.abs(wanted).max())
            assert abs(found.noise_variances[k, c] - noise[k, c]) <= blur * max(1.0, noise[k, c])


def test_the_quadratic_form_keeps_its_digits_after_a_million_readings():
    """‖e‖² − ‖u‖² would lose ‖B‖² ε here, and with it the odds between modes."""
    p, n = 3, 1_000_000
    rng = np.random.default_rng(1)
    R = np.linalg.qr(rng.normal(size=(50, p)), mode="r") * np.sqrt(n)
    factor, d = random_factors(rng, p, np.array([100.0]))[0], np.array([3.0, -2.0, 1.0])
    w = R @ factor @ d
    parameters = Parameters(np.ones(1), np.zeros((1, p)), factor.reshape(1, -1), np.full((1, 1), 1e-4), (p,))
    arrays = (
        R.ravel(),
        np.zeros((1, 1), dtype=np.int64),
        w[None],
        np.zeros((1, 1)),
        np.full((1, 1), n, dtype=np.int32),
    )
    sums = np.empty(_core.n_sums(1, np.array([p], dtype=np.int32)))
    _core.expectation(
        statistics_bundle(arrays, [p]),
        parameters.bundle,
        1.0,
        False,
        0,
        1,
        np.empty((1, 1)),
        sums,
    )
    # The exact quadratic form of readings on the curve Λ d is d'(I + (B'B)⁻¹)⁻¹d, and I + B'B is huge: it is
    # d'd − d'A⁻¹d, without any cancellation.
    B = (R @ factor / 1e-2).astype(np.longdouble)
    A = np.eye(p) + np.asarray(B.T @ B, dtype=float)
    log_det = float(np.linalg.slogdet(A)[1])
    quadratic = float(d @ d - d @ np.linalg.solve(A, d))
    exact = -0.5 * (n * np.log(2 * np.pi * 1e-4) + quadratic + log_det)
    without_constant = sums[0] + 0.5 * n * np.log(2 * np.pi * 1e-4)
    assert abs(without_constant - (exact + 0.5 * n * np.log(2 * np.pi * 1e-4))) < 1e-8
    assert abs(sums[0] / exact - 1) < 1e-14


def test_a_reading_that_overflows_names_where():
    """A far-off start must end as an error that says where, never as NaN in the result."""
    problem = random_problem(np.random.default_rng(3), 2, (2, 3))
    statistics = problem.statistics
    means = np.array(problem.parameters.means)
    means[1, 3] = 1e200
    parameters = Parameters(
        problem.parameters.weights, means, problem.parameters.factors, problem.parameters.noise_variances, (2, 3)
    )
    means[1, 3] = np.nan
    broken = Parameters(
        problem.parameters.weights, means, problem.parameters.factors, problem.parameters.noise_variances, (2, 3)
    )
    with pytest.raises(FitError, match=r"unit \d+, mode 1"):
        Expectation(statistics)(broken)
    with pytest.raises(FitError, match=r"unit \d+, mode 1"):  # the lanes tell of an infinity at once
        Expectation(statistics)(parameters)
    rho = Expectation(statistics, kernel="lapack")(parameters)[
        1
    ]  # impossibly far for one mode alone: the other takes all
    seen = statistics.counts[:, 1] > 0
    assert np.isfinite(rho).all() and (rho[seen, 1] == 0).all()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (0, r"the channels of the parameters have \[3, 2\] coefficients; \[2, 3\] were expected"),
        (1, r"units 0 to 13 are not among the 12"),
        (2, r"responsibilities has shape \(11, 2\); \(12, 2\) was expected"),
        (3, r"sums_out has shape \(50,\); \(51,\) was expected"),
    ],
)
def test_drivers_refuse_arrays_that_do_not_fit(argument, message):
    """A wrong shape in a kernel would read memory that is not ours."""
    problem = random_problem(np.random.default_rng(4), 2, (2, 3))
    good = [problem.parameters.bundle, 12, np.empty((12, 2)), np.empty(51)]
    wrong = [random_parameters(np.random.default_rng(4), 2, (3, 2)).bundle, 13, np.empty((11, 2)), np.empty(50)]
    good[argument] = wrong[argument]
    parameters, last, rho, sums = good
    with pytest.raises(ValueError, match=f"expectation: {message}"):
        _core.expectation(problem.statistics.bundle, parameters, 1.0, False, 0, last, rho, sums)


# -------------------------------------------------------------------------------------------------- maximisation


def sums_of(problem, parameters=None, **options):
    return Expectation(problem.statistics)(parameters or problem.parameters, **options)[0]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    problem=problems(),
    log_noise_floor=st.floats(-6.0, 1.0),
    log_covariance_floor=st.floats(-8.0, 1.0),
)
def test_maximisation_under_floors_is_its_twin(problem, log_noise_floor, log_covariance_floor):
    """(15) and (15'): a floor that is applied wrongly lets the likelihood fall or the noise vanish."""
    parameters, C, K = problem.parameters, len(problem.sizes), problem.parameters.n_modes
    noise_floor, floor = 10.0**log_noise_floor, 10.0**log_covariance_floor
    identity = np.concatenate([np.eye(p).ravel() for p in problem.sizes])
    constraints = Constraints(np.full(C, noise_floor), np.full(C, floor), "full", identity)
    expected = sums_of(problem, responsibilities=np.full((problem.panel.n_units, K), 1.0 / K))
    found, status = maximisation(expected, parameters, constraints)
    layout = parameters.layout
    for k in range(K):
        for c in range(C):
            mean, factor = parameters.mean(k, c), parameters.factor(k, c)
            N = float(expected.channel_counts[k, c])
            if N < 1.0:
                assert status[k, c] == _maximisation.KEPT
                assert np.array_equal(found.mean(k, c), mean) and np.array_equal(found.factor(k, c), factor)
                assert found.noise_variances[k, c] == parameters.noise_variances[k, c]
                continue
            new_mean, new_factor, noise = _reference.maximisation(
                N,
                layout.vector(expected.first_moments[k], c),
                layout.matrix(expected.second_moments[k], c),
                float(expected.noise_moments[k, c]),
                float(expected.observation_counts[k, c]),
                mean,
                factor,
                float(parameters.noise_variances[k, c]),
                noise_floor,
                floor,
            )
            np.testing.assert_allclose(found.mean(k, c), new_mean, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(found.noise_variances[k, c], noise, rtol=1e-13)
            Sigma, wanted = found.factor(k, c) @ found.factor(k, c).T, new_factor @ new_factor.T
            assert np.abs(Sigma - wanted).max() <= 1e-11 * np.abs(wanted).max()
            assert np.linalg.eigvalsh(Sigma).min() >= floor * (1 - 1e-9) - 1e-14 * np.abs(Sigma).max()
            assert bool(status[k, c] & _maximisation.NOISE_FLOOR) == (noise == noise_floor)
            unfloored = factor @ np.linalg.cholesky(
                layout.matrix(expected.second_moments[k], c) / N
                - np.outer(*2 * [layout.vector(expected.first_moments[k], c) / N])
            )
            lowest = np.linalg.eigvalsh(unfloored @ unfloored.T).min()
            if abs(lowest / floor - 1) > 1e-6:
                assert bool(status[k, c] & _maximisation.COVARIANCE_FLOOR) == (lowest < floor)
            assert not np.triu(found.factor(k, c), 1).any()


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(), log_floor=st.floats(-8.0, 0.5), seed=st.integers(0, 2**32 - 1))
def test_diagonal_covariances_are_diagonal_in_the_users_basis(problem, log_floor, seed):
    """S⁻¹ΣS⁻ᵀ keeps its diagonal and loses the rest; its floor is that of the same unit vectors."""
    rng = np.random.default_rng(seed)
    parameters, C, K, floor = problem.parameters, len(problem.sizes), problem.parameters.n_modes, 10.0**log_floor
    transforms = [np.triu(rng.normal(size=(p, p)), 1) + np.diag(rng.uniform(0.5, 2.0, size=p)) for p in problem.sizes]
    constraints = Constraints(
        np.full(C, 1e-12), np.full(C, floor), "diagonal", np.concatenate([S.ravel() for S in transforms])
    )
    expected = sums_of(problem, responsibilities=np.full((problem.panel.n_units, K), 1.0 / K))
    found, status = maximisation(expected, parameters, constraints)
    layout = parameters.layout
    for k in range(K):
        for c, S in enumerate(transforms):
            N = float(expected.channel_counts[k, c])
            if N < 1.0:
                continue
            d = layout.vector(expected.first_moments[k], c) / N
            scatter = layout.matrix(expected.second_moments[k], c) / N - np.outer(d, d)
            Lambda, inverse = parameters.factor(k, c), np.linalg.inv(S)
            variances = np.diagonal(inverse @ Lambda @ scatter @ Lambda.T @ inverse.T)
            lowest = floor * np.diagonal(inverse @ inverse.T)
            wanted = S @ np.diag(np.maximum(variances, lowest)) @ S.T
            Sigma = found.factor(k, c) @ found.factor(k, c).T
            assert np.abs(Sigma - wanted).max() <= 1e-10 * np.abs(wanted).max()
            if np.abs(variances / lowest - 1).min() > 1e-6:
                assert bool(status[k, c] & _maximisation.COVARIANCE_FLOOR) == (variances < lowest).any()


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(), log_floor=st.floats(-8.0, 0.5))
def test_pooled_covariance_is_the_weighted_scatter_of_all_modes(problem, log_floor):
    """One Σ a channel: Σ_k N_kc scatter_kc / Σ_k N_kc, about each mode's own mean, floored."""
    parameters, C, K, floor = problem.parameters, len(problem.sizes), problem.parameters.n_modes, 10.0**log_floor
    shared = Parameters(
        parameters.weights,
        parameters.means,
        np.repeat(parameters.factors[:1], K, axis=0),
        parameters.noise_variances,
        problem.sizes,
    )
    identity = np.concatenate([np.eye(p).ravel() for p in problem.sizes])
    constraints = Constraints(np.full(C, 1e-12), np.full(C, floor), "pooled", identity)
    expected = sums_of(problem, shared)
    found, _ = maximisation(expected, shared, constraints)
    layout = parameters.layout
    for c in range(C):
        total, N_total = np.zeros((problem.sizes[c],) * 2), 0.0
        for k in range(K):
            N = float(expected.channel_counts[k, c])
            Q = layout.matrix(expected.second_moments[k], c)
            # A mode with less than one unit keeps its mean: its scatter is about that mean, which is d = 0.
            d = layout.vector(expected.first_moments[k], c) / N if N >= 1.0 else np.zeros(problem.sizes[c])
            total += Q - N * np.outer(d, d)
            N_total += N
        Lambda = shared.factor(0, c)
        eigenvalues, U = np.linalg.eigh(Lambda @ total @ Lambda.T / N_total)
        wanted = U @ np.diag(np.maximum(eigenvalues, floor)) @ U.T
        for k in range(K):
            Sigma = found.factor(k, c) @ found.factor(k, c).T
            assert np.abs(Sigma - wanted).max() <= 1e-10 * np.abs(wanted).max()
            assert np.array_equal(found.factor(k, c), found.factor(0, c))


def test_a_far_off_start_moves_the_mean_alone():
    """Q/N − d̄d̄' cancels there: a covariance made of rounding errors would end the start."""
    problem = random_problem(np.random.default_rng(5), 1, (3,))
    means = problem.parameters.means + 1e8
    far = Parameters(np.ones(1), means, problem.parameters.factors, problem.parameters.noise_variances, (3,))
    expected = sums_of(problem, far)
    found, status = maximisation(expected, far, loose(far))
    assert status[0, 0] == _maximisation.MEAN_ONLY
    assert np.array_equal(found.factors, far.factors)
    assert np.array_equal(found.noise_variances, far.noise_variances)
    step = far.factor(0, 0) @ expected.first_moments[0] / expected.channel_counts[0, 0]
    np.testing.assert_allclose(found.means[0], means[0] + step, rtol=1e-12)
    assert np.linalg.norm(found.means) < np.linalg.norm(means)


def test_a_scatter_that_is_not_positive_definite_names_mode_and_channel():
    parameters = random_problem(np.random.default_rng(6), 2, (2, 3)).parameters
    expected = sums_of(random_problem(np.random.default_rng(6), 2, (2, 3)), responsibilities=np.full((12, 2), 0.5))
    layout = parameters.layout
    layout.matrix(expected.second_moments[1], 1)[:] = -np.eye(3)
    with pytest.raises(FitError, match="mode 1, channel at position 1"):
        maximisation(expected, parameters, loose(parameters))


# --------------------------------------------------------------------------------------------------- compression


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(n_units=6))
def test_compression_is_its_twin(problem):
    """R, w, rss, n of every unit and channel, up to the signs that a QR leaves free."""
    statistics, layout = problem.statistics, Layout(problem.sizes)
    designs, readings = problem.designs, problem.readings
    for l in range(problem.panel.n_units):
        for c in range(len(problem.sizes)):
            R, _, rss, n = _reference.compress(designs[l][c], readings[l][c])
            assert statistics.counts[l, c] == n
            if n == 0:
                assert statistics.factor_offsets[l, c] == -1 and statistics.residual_norms[l, c] == 0
                continue
            found, found_w = unit_factor(statistics, l, c), layout.vector(statistics.projections[l], c)
            size = np.linalg.norm(readings[l][c])
            assert np.abs(np.abs(found) - np.abs(R)).max() <= 1e-9 * max(1.0, np.abs(R).max())
            assert not np.tril(found, -1).any()
            gram = designs[l][c].T @ designs[l][c]
            np.testing.assert_allclose(found.T @ found, gram, atol=1e-13 * max(1.0, np.abs(gram).max()))
            np.testing.assert_allclose(found.T @ found_w, designs[l][c].T @ readings[l][c], atol=1e-12 * (1 + size))
            assert abs(statistics.residual_norms[l, c] - rss) <= 1e-12 * size**2
            assert abs(found_w @ found_w + statistics.residual_norms[l, c] - size**2) <= 1e-13 * size**2
