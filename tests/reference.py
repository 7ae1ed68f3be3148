"""Every kernel of the fit once more in plain NumPy: the specification, and the oracle of the tests.

Nothing here is called by a kernel path. The first part mirrors the kernels (square-root form, (9)-(15')); the second
writes (2)-(8) of model.md out literally, with the dense covariance V of a unit's readings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Layout

FloatArray = NDArray[np.float64]


# --- square-root form ------------------------------------------------------------------------------------------------


def compress(design: FloatArray, readings: FloatArray) -> tuple[FloatArray, FloatArray, float, int]:
    """R (p, p), w (p,), rss, n of one channel of one unit, (9), from its observed rows only."""
    n, p = design.shape
    R, w = np.zeros((p, p)), np.zeros(p)
    if n == 0:
        return R, w, 0.0, 0
    Q, triangle = np.linalg.qr(design, mode="complete")
    rank = min(n, p)
    rotated = Q.T @ readings
    R[:rank] = triangle[:rank]
    w[:rank] = rotated[:rank]
    return R, w, float(np.sum(rotated[rank:] ** 2)), n


@dataclass(frozen=True)
class WhitenedPosterior:
    """(10)-(13) of one unit, channel and mode."""

    mean: FloatArray
    covariance: FloatArray
    quadratic: float
    log_density: float
    noise_moment: float


def whitened_posterior(
    R: FloatArray, w: FloatArray, rss: float, n: int, mean: FloatArray, factor: FloatArray, noise_variance: float
) -> WhitenedPosterior:
    """E d, A⁻¹, the quadratic form and log density of (11), and (13)."""
    p = len(w)
    sigma = np.sqrt(noise_variance)
    B = R @ factor / sigma
    e = (w - R @ mean) / sigma
    G = np.linalg.cholesky(np.eye(p) + B.T @ B)
    u = np.linalg.solve(G, B.T @ e)
    d = np.linalg.solve(G.T, u)
    inverse = np.linalg.solve(G, np.eye(p))
    covariance = inverse.T @ inverse
    misfit = rss / noise_variance + float(np.sum((e - B @ d) ** 2))
    quadratic = misfit + float(d @ d)
    log_density = -0.5 * (n * np.log(2 * np.pi * noise_variance) + quadratic) - float(np.log(np.diag(G)).sum())
    return WhitenedPosterior(d, covariance, quadratic, log_density, misfit + p - float(np.trace(covariance)))


def expectation(
    factors: FloatArray,
    factor_offsets: NDArray[np.int64],
    projections: FloatArray,
    residual_norms: FloatArray,
    counts: NDArray[np.int32],
    known_modes: NDArray[np.int32],
    parameters: Parameters,
    *,
    inverse_temperature: float = 1.0,
    responsibilities: FloatArray | None = None,
    log_weights: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Responsibilities (L, K) and the sums (14) in the kernels' order; log weights (L, K) are in place of ln π."""
    layout: Layout = parameters.layout
    L, C, K = len(counts), layout.n_channels, parameters.n_modes
    posteriors: dict[tuple[int, int, int], WhitenedPosterior] = {}
    log_joint = np.tile(np.log(parameters.weights), (L, 1)) if log_weights is None else log_weights.copy()
    for l in range(L):
        for c in range(C):
            if counts[l, c] == 0:
                continue
            p = layout.sizes[c]
            start = factor_offsets[l, c]
            R = factors[start : start + p * p].reshape(p, p)
            w = layout.vector(projections[l], c)
            for k in range(K):
                posterior = whitened_posterior(
                    R,
                    w,
                    float(residual_norms[l, c]),
                    int(counts[l, c]),
                    parameters.mean(k, c),
                    parameters.factor(k, c),
                    float(parameters.noise_variances[k, c]),
                )
                posteriors[l, k, c] = posterior
                log_joint[l, k] += posterior.log_density
    top = log_joint.max(axis=1, keepdims=True)
    marginal = top[:, 0] + np.log(np.exp(log_joint - top).sum(axis=1))
    if responsibilities is None:
        tempered = np.exp(inverse_temperature * (log_joint - top))
        responsibilities = tempered / tempered.sum(axis=1, keepdims=True)
        for l in np.flatnonzero(known_modes >= 0).tolist():
            responsibilities[l] = np.arange(K) == known_modes[l]
    log_likelihood = sum(marginal[l] if known_modes[l] < 0 else log_joint[l, known_modes[l]] for l in range(L))
    N_channel, E, n_bar = np.zeros((K, C)), np.zeros((K, C)), np.zeros((K, C))
    D, Q = np.zeros((K, parameters.means.shape[1])), np.zeros((K, parameters.factors.shape[1]))
    for (l, k, c), posterior in posteriors.items():
        rho = responsibilities[l, k]
        N_channel[k, c] += rho
        layout.vector(D[k], c)[:] += rho * posterior.mean
        layout.matrix(Q[k], c)[:] += rho * (posterior.covariance + np.outer(posterior.mean, posterior.mean))
        E[k, c] += rho * posterior.noise_moment
        n_bar[k, c] += rho * counts[l, c]
    sums = [[log_likelihood], responsibilities.sum(axis=0), N_channel, D, Q, E, n_bar]
    return responsibilities, np.concatenate([np.ravel(part) for part in sums])


def maximisation(
    N: float,
    D: FloatArray,
    Q: FloatArray,
    E: float,
    n_bar: float,
    mean: FloatArray,
    factor: FloatArray,
    noise_variance: float,
    noise_floor: float,
    covariance_floor: float,
) -> tuple[FloatArray, FloatArray, float]:
    """(15) under (15') for one mode and channel, full covariance: new μ, Λ, σ²."""
    d = D / N
    X = factor @ np.linalg.cholesky(Q / N - np.outer(d, d)) / np.sqrt(covariance_floor)
    eigenvalues, U = np.linalg.eigh(X @ X.T)
    floored = covariance_floor * (U * np.maximum(eigenvalues, 1.0)) @ U.T
    new_factor: FloatArray = np.linalg.cholesky(floored)
    return mean + factor @ d, new_factor, max(noise_variance * E / n_bar, noise_floor)


# --- the equations, literally ----------------------------------------------------------------------------------------


def dense_log_density(
    design: FloatArray, readings: FloatArray, mean: FloatArray, covariance: FloatArray, noise_variance: float
) -> float:
    """log N(x | Φμ, ΦΣΦᵀ + σ²I), (2)."""
    n = len(readings)
    V = design @ covariance @ design.T + noise_variance * np.eye(n)
    residual = readings - design @ mean
    _, log_determinant = np.linalg.slogdet(V)
    return float(-0.5 * (n * np.log(2 * np.pi) + log_determinant + residual @ np.linalg.solve(V, residual)))


def dense_posterior(
    design: FloatArray, readings: FloatArray, mean: FloatArray, covariance: FloatArray, noise_variance: float
) -> tuple[FloatArray, FloatArray]:
    """T̂ and Σ̂ of (4)."""
    precision = np.linalg.inv(covariance)
    posterior_covariance = np.asarray(np.linalg.inv(precision + design.T @ design / noise_variance), dtype=np.float64)
    return posterior_covariance @ (precision @ mean + design.T @ readings / noise_variance), posterior_covariance


def literal_em_pass(
    designs: list[list[FloatArray]],
    readings: list[list[FloatArray]],
    weights: FloatArray,
    means: list[list[FloatArray]],
    covariances: list[list[FloatArray]],
    noise_variances: FloatArray,
) -> tuple[float, FloatArray, FloatArray, list[list[FloatArray]], list[list[FloatArray]], FloatArray]:
    """One pass of (3), (4), (6)-(8) as they stand.

    Designs and readings are indexed ``[unit][channel]`` and hold observed rows only; means and covariances
    ``[mode][channel]``. Returns ℓ, ρ̂, π, μ, Σ, σ².
    """
    L, C, K = len(designs), len(designs[0]), len(weights)
    observed = [[len(readings[l][c]) > 0 for c in range(C)] for l in range(L)]
    log_joint = np.array(
        [
            [
                np.log(weights[k])
                + sum(
                    dense_log_density(
                        designs[l][c], readings[l][c], means[k][c], covariances[k][c], noise_variances[k, c]
                    )
                    for c in range(C)
                    if observed[l][c]
                )
                for k in range(K)
            ]
            for l in range(L)
        ]
    )
    top = log_joint.max(axis=1, keepdims=True)
    marginal = top[:, 0] + np.log(np.exp(log_joint - top).sum(axis=1))
    rho = np.exp(log_joint - marginal[:, None])
    new_means = [list(row) for row in means]
    new_covariances = [list(row) for row in covariances]
    new_noise = np.array(noise_variances, dtype=float)
    for k in range(K):
        for c in range(C):
            units = [l for l in range(L) if observed[l][c]]
            N = sum(rho[l, k] for l in units)
            if N < 1:
                continue
            posterior = {
                l: dense_posterior(designs[l][c], readings[l][c], means[k][c], covariances[k][c], noise_variances[k, c])
                for l in units
            }
            mu = sum(rho[l, k] * posterior[l][0] for l in units) / N
            new_means[k][c] = mu
            new_covariances[k][c] = (
                sum(rho[l, k] * (posterior[l][1] + np.outer(posterior[l][0] - mu, posterior[l][0] - mu)) for l in units)
                / N
            )
            new_noise[k, c] = sum(
                rho[l, k]
                * (
                    np.sum((readings[l][c] - designs[l][c] @ posterior[l][0]) ** 2)
                    + np.trace(designs[l][c] @ posterior[l][1] @ designs[l][c].T)
                )
                for l in units
            ) / sum(rho[l, k] * len(readings[l][c]) for l in units)
    return float(marginal.sum()), rho, rho.mean(axis=0), new_means, new_covariances, new_noise
