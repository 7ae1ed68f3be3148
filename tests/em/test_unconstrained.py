"""Free coordinates in compiled code: the metric is the matrix that `cem.em.unconstrained.Metric` says, written out."""

from __future__ import annotations

import numpy as np
import pytest
from constraint_cases import constraints_of
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_parameters, random_problem

from cem.em.constraints import COVARIANCE_STRUCTURES, Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.kernels import _unconstrained
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.errors import KernelFailure
from cem.mixture.parameters import Parameters

SIZES = (2, 1, 3, 2)
LEAST = 1e-3  # share of the noiseless curvature of M that it has at least
FloatArray = np.ndarray


class Point:
    """Coordinates, a vector, and the sums there."""

    def __init__(self, covariance: str, n_modes: int, rank: int, seed: int, penalty: float = 2.0) -> None:
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, n_modes, SIZES, n_units=40)
        plain = random_parameters(rng, n_modes, SIZES, separation=0.3, log_condition=(0, 1), log_noise=(-1, 0))
        base = constraints_of(covariance, 1e-3, 1e-3, seed, SIZES)
        self.constraints = Constraints(
            base.noise_floors, base.covariance_floors, base.covariance, base.transforms,
            penalty * (1.0 + np.arange(n_modes)),
        )  # fmt: skip
        loadings = rng.normal(scale=0.8, size=(n_modes, sum(SIZES), rank))
        linked = Parameters(plain.weights, plain.means, plain.factors, plain.noise_variances, SIZES, loadings)
        self.coordinates = UnconstrainedCoordinates(self.constraints, SIZES, n_modes, rank)
        self.vector = self.coordinates.vector(feasible(linked, self.constraints))
        self.parameters = self.coordinates.parameters(self.vector)
        self.expected: ExpectedStatistics = Expectation(problem.statistics)(self.parameters)[0]
        self.gradient, self.metric = self.coordinates.gradient(self.vector, self.parameters, self.expected)

    def scaling(self) -> FloatArray:
        """The inverse metric, column by column."""
        n = len(self.vector)
        return np.array([self.metric.scaled(unit) for unit in np.eye(n)]).T

    def moved(self, k: int, c: int) -> bool:
        return self.expected.channel_counts[k, c] >= 1.0 and self.expected.observation_counts[k, c] > 0.0

    def scatter(self, k: int, c: int) -> tuple[FloatArray, FloatArray, float]:
        """Ψ, S and N."""
        N = max(self.expected.channel_counts[k, c], 1.0)
        psi = self.parameters.factor(k, c) @ self.parameters.factor(k, c).T
        alone = self.parameters.noise_variances[k, c] * N / max(self.expected.observation_counts[k, c], 1.0)
        return psi, psi + alone * np.eye(len(psi)), N


def by_covariance(point: Point, k: int, c: int) -> FloatArray:
    """Twice the derivative of ℓ by Ψ."""
    expected, p = point.expected, SIZES[c]
    Q = expected.second_moments[k][point.parameters.layout.factor_offsets[c] :][: p * p].reshape(p, p)
    middle = Q - expected.channel_counts[k, c] * np.eye(p)
    if point.parameters.rank:
        rows = slice(*point.parameters.layout.mean_offsets[c : c + 2])
        G, tf = point.parameters.loading(k, c), expected.cross_moments[k][rows]
        penalty = point.constraints.linking_penalties[k]
        middle = middle + G @ (expected.factor_moments[k, c] + penalty * np.eye(G.shape[1])) @ G.T - tf @ G.T - G @ tf.T
    inverse = np.linalg.inv(point.parameters.factor(k, c))
    return inverse.T @ middle @ inverse


def magnitude(A: FloatArray) -> FloatArray:
    values, U = np.linalg.eigh((A + A.T) / 2)
    return (U * np.abs(values)) @ U.T


def moves_of(M: FloatArray) -> list[FloatArray]:
    """dΨ along every entry of the triangle of M, row by row."""
    moves = []
    for i, j in zip(*np.tril_indices(len(M)), strict=True):
        dM = np.zeros_like(M)
        dM[i, j] = 1.0
        moves.append(dM @ M.T + M @ dM.T)
    return moves


def along_columns(A: FloatArray) -> FloatArray:
    """tr(dMᵀ A dM) as a matrix over the entries of the triangle."""
    i, j = np.tril_indices(len(A))
    return np.where(j[:, None] == j, A[np.ix_(i, i)], 0.0)


def quadratic(moves: list[FloatArray], X: FloatArray, Z: FloatArray) -> FloatArray:
    return np.array([[np.trace(X @ a @ Z @ b) for b in moves] for a in moves])


def triangle(root: FloatArray, p: int) -> FloatArray:
    M = np.zeros((p, p))
    M[np.tril_indices(p)] = root
    return M


def close(found: FloatArray, wanted: FloatArray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8 * np.abs(wanted).max())


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    covariance=st.sampled_from(COVARIANCE_STRUCTURES[:3]), n_modes=st.integers(1, 3), seed=st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_metric_of_independent_channels(covariance, n_modes, seed):
    """Means by N S⁻¹, covariances by ½ N tr(S⁻¹ dΨ S⁻¹ dΨ), and what keeps a root near 0 from running away."""
    point = Point(covariance, n_modes, 0, seed)
    scaling, P, C = point.scaling(), sum(SIZES), len(SIZES)
    assert np.abs(scaling - scaling.T).max() <= 1e-9 * np.abs(scaling).max()
    start = n_modes + n_modes * P + n_modes * C
    modes = [range(n_modes)] if covariance == "pooled" else [[k] for k in range(n_modes)]
    for k in range(n_modes):
        at = n_modes + k * P
        for c, p in enumerate(SIZES):
            _, S, N = point.scatter(k, c)
            close(scaling[at : at + p, at : at + p], S / N)
            at += p
    for together in modes:
        for c, p in enumerate(SIZES):
            q = p if covariance == "diagonal" else p * (p + 1) // 2
            root = point.vector[start : start + q]
            curvature, slope = np.zeros((q, q)), np.zeros((p, p))
            for k in together:
                _, S, N = point.scatter(k, c)
                precision = np.linalg.inv(S)
                if covariance == "pooled" or point.moved(k, c):
                    slope += by_covariance(point, k, c)
                if covariance == "diagonal":
                    s = point.parameters.layout.matrix(point.constraints.transforms, c)
                    moves = [2.0 * v * np.outer(column, column) for v, column in zip(root, s.T, strict=True)]
                    curvature += 2.0 * LEAST * N * np.diag(np.diag(s.T @ precision @ s))
                else:
                    moves = moves_of(triangle(root, p))
                    curvature += 2.0 * LEAST * N * along_columns(precision)
                curvature += 0.5 * N * quadratic(moves, precision, precision)
            if covariance == "diagonal":
                curvature += np.diag(np.abs(np.diag(s.T @ slope @ s)))
            else:
                curvature += along_columns(magnitude(slope))
            close(scaling[start : start + q, start : start + q], np.linalg.inv(curvature))
            start += q


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    n_modes=st.integers(1, 2), rank=st.integers(1, 3), penalty=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_metric_of_linked_channels(n_modes, rank, penalty, seed):
    """The curvature of likelihood and penalty by Ψ and W of a channel together, and the share of the factors."""
    point = Point("full", n_modes, rank, seed, penalty)
    scaling, P, C = point.scaling(), sum(SIZES), len(SIZES)
    assert np.abs(scaling - scaling.T).max() <= 1e-9 * np.abs(scaling).max()
    n_roots = sum(p * (p + 1) // 2 for p in SIZES)
    for k in range(n_modes):
        W = np.zeros((P, rank))
        means, S_all = slice(n_modes + k * P, n_modes + (k + 1) * P), np.zeros((P, P))
        N_mode = max(point.expected.mode_counts[k], 1.0)
        for c in range(C):
            rows = slice(*point.parameters.layout.mean_offsets[c : c + 2])
            _, S, N = point.scatter(k, c)
            S_all[rows, rows] = S / N
            if point.moved(k, c):
                W[rows] = point.parameters.factor(k, c) @ point.parameters.loading(k, c)
        close(scaling[means, means], S_all + W @ W.T / N_mode)
        at = n_modes + n_modes * (P + C) + k * n_roots
        for c, p in enumerate(SIZES):
            if not point.moved(k, c):
                at += p * (p + 1) // 2
                continue
            first = int(point.parameters.layout.mean_offsets[c])
            psi, S, N = point.scatter(k, c)
            strength = point.constraints.linking_penalties[k]
            precision, psi_inverse = np.linalg.inv(S), np.linalg.inv(psi)
            own = W[first : first + p]
            spread = max(np.trace(point.expected.factor_moments[k, c]) / (rank * N), 1e-3)
            q = p * (p + 1) // 2
            M = triangle(point.vector[at : at + q], p)
            moves = moves_of(M)
            by_loading = np.kron(spread * N * precision + strength * psi_inverse, np.eye(rank))
            # λ ‖Λ⁻¹ (dW - dΨ Ψ⁻¹ W)‖²
            led = np.array([(move @ psi_inverse @ own).ravel() for move in moves])
            pull = np.kron(strength * psi_inverse, np.eye(rank))
            curvature = np.block(
                [
                    [
                        0.5 * N * quadratic(moves, precision, precision)
                        + 2.0 * LEAST * N * along_columns(precision)
                        + along_columns(magnitude(by_covariance(point, k, c)))
                        + led @ pull @ led.T,
                        -led @ pull,
                    ],
                    [-pull @ led.T, by_loading],
                ]
            )
            wanted = np.linalg.inv(curvature)
            wanted[q:, q:] += np.kron(0.5 * own @ own.T / N_mode, np.eye(rank))
            loadings = n_modes + n_modes * (P + C) + n_modes * n_roots + (k * P + first) * rank
            index = np.r_[at : at + q, loadings : loadings + p * rank]
            close(scaling[np.ix_(index, index)], wanted)
            at += q


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_vector_to_parameters_is_the_formula(covariance):
    """Σ = F + M Mᵀ, σ² = s + τ², π by softmax, whatever the vector."""
    constraints = constraints_of(covariance, 1e-2, 1e-3, 4, SIZES)
    rank = 2 if covariance == "full" else 0
    coordinates = UnconstrainedCoordinates(constraints, SIZES, 2, rank)
    rng = np.random.default_rng(3)
    n = len(coordinates.vector(feasible(random_parameters(rng, 2, SIZES), constraints)))
    vector = rng.normal(size=n)
    found, P, C = coordinates.parameters(vector), sum(SIZES), len(SIZES)
    np.testing.assert_allclose(found.weights, np.exp(vector[:2]) / np.exp(vector[:2]).sum(), rtol=1e-12)
    np.testing.assert_array_equal(found.means.ravel(), vector[2 : 2 + 2 * P])
    tau = vector[2 + 2 * P : 2 + 2 * P + 2 * C].reshape(2, C)
    np.testing.assert_allclose(found.noise_variances, constraints.noise_floors + tau**2, rtol=1e-12)
    start = 2 + 2 * P + 2 * C
    for k in range(2):
        if covariance == "pooled" and k:
            np.testing.assert_array_equal(found.factors[1], found.factors[0])
            continue
        for c, p in enumerate(SIZES):
            q = p if covariance == "diagonal" else p * (p + 1) // 2
            root = vector[start : start + q]
            floor = constraints.covariance_floors[c]
            if covariance == "diagonal":
                S = found.layout.matrix(constraints.transforms, c)
                lowest = floor * np.square(np.linalg.inv(S)).sum(axis=1)
                covariance_matrix = (S * (lowest + root**2)) @ S.T
            else:
                M = triangle(root, p)
                covariance_matrix = floor * np.eye(p) + M @ M.T
            np.testing.assert_allclose(
                found.factor(k, c), np.linalg.cholesky(covariance_matrix), rtol=1e-10, atol=1e-12
            )
            start += q
    if rank:
        W = vector[start:].reshape(2, P, rank)
        for k in range(2):
            for c in range(C):
                rows = slice(*found.layout.mean_offsets[c : c + 2])
                np.testing.assert_allclose(found.factor(k, c) @ found.loading(k, c), W[k, rows], atol=1e-10)


def test_a_vector_that_is_too_far_out_is_told():
    """The caller shortens a step that goes too far; it must neither end the fit nor count as parameters."""
    point = Point("full", 2, 1, 0)
    with pytest.raises(np.linalg.LinAlgError):
        point.coordinates.parameters(np.full_like(point.vector, np.nan))
    broken = ExpectedStatistics(np.full_like(point.expected.sums, np.nan), 2, SIZES, 40, 1)
    with pytest.raises(np.linalg.LinAlgError):
        point.coordinates.gradient(point.vector, point.parameters, broken)


def arguments(point: Point) -> dict[str, list[object]]:
    """What the three kernels are called with."""
    parameters, metric, constraints = point.parameters, point.metric, point.constraints
    sizes = parameters.layout.kernel_sizes
    scales = [
        np.array(array)
        for array in (
            metric.mean_scales, metric.noise_scales, metric.root_factors, metric.loading_scales, metric.couplings,
            metric.directions, metric.shared,
        )
    ]  # fmt: skip
    return {
        "parameters": [
            point.vector, sizes, 0, constraints.noise_floors, constraints.covariance_floors, constraints.transforms,
            np.zeros(sum(SIZES)), np.array(parameters.weights), np.array(parameters.means),
            np.array(parameters.factors), np.array(parameters.noise_variances), np.array(parameters.loadings),
        ],
        "derivatives": [
            point.vector, point.expected.sums, parameters.bundle, 0, 40.0, constraints.linking_penalties,
            0.0, constraints.transforms, np.empty_like(point.vector), *scales,
        ],
        "scaled": [point.vector, point.vector, sizes, 0, metric.mode_counts, *scales, np.empty_like(point.vector)],
    }  # fmt: skip


@pytest.mark.parametrize("kernel", ["parameters", "derivatives", "scaled"])
def test_shapes_are_checked(kernel):
    """An array one short would be read past its end."""
    function, good = getattr(_unconstrained, kernel), arguments(Point("full", 2, 2, 1))[kernel]
    function(*good)
    for i, array in enumerate(good):
        if isinstance(array, np.ndarray):
            for axis in range(array.ndim):
                short = np.ascontiguousarray(np.delete(array, -1, axis=axis))
                with pytest.raises(ValueError, match=r"has shape|loadings were given"):
                    function(*good[:i], short, *good[i + 1 :])
        elif i == (2 if kernel == "parameters" else 3):
            with pytest.raises(ValueError, match="structure"):
                function(*good[:i], 4, *good[i + 1 :])
            for other in (1, 2):  # linked channels have covariances that are full or shrunk
                with pytest.raises(ValueError, match=r"has shape|loadings were given"):
                    function(*good[:i], other, *good[i + 1 :])


def test_kernels_name_the_channel_that_failed():
    """LAPACK's message on its own would not name the mode and channel."""
    good = arguments(Point("full", 2, 2, 1))["parameters"]
    vector = np.array(good[0])
    vector[2 + 2 * sum(SIZES) + 2 * len(SIZES)] = np.nan
    with pytest.raises(KernelFailure) as failure:
        _unconstrained.parameters(vector, *good[1:])
    assert (failure.value.mode, failure.value.channel) == (0, 0)
