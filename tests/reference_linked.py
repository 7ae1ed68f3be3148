"""Linked channels once more in plain NumPy: the specification of `_linked` and `_linked_maximisation`.

Nothing here is called by a kernel path. The first part mirrors the kernels, (10)-(17); the second writes (16) out with
the dense covariance of all readings of a unit.
"""

from __future__ import annotations

import numpy as np
import reference as _reference
from numpy.typing import NDArray

from cem.em.sums import ExpectedStatistics
from cem.mixture.parameters import Parameters
from cem.statistics.sufficient import SufficientStatistics

FloatArray = NDArray[np.float64]


def expectation(
    statistics: SufficientStatistics, parameters: Parameters, responsibilities: FloatArray | None = None
) -> tuple[FloatArray, ExpectedStatistics]:
    """ρ̂ and the sums of the linked E step, unit by unit."""
    L, C, K, r = statistics.n_units, statistics.n_channels, parameters.n_modes, parameters.rank
    P, P2, layout = parameters.means.shape[1], parameters.factors.shape[1], parameters.layout
    log_joint, moments = np.empty((L, K)), {}
    for l in range(L):
        for k in range(K):
            log_joint[l, k] = np.log(parameters.weights[k])
            J, h, parts = np.eye(r), np.zeros(r), {}
            for c in np.flatnonzero(statistics.counts[l] > 0).tolist():
                p, start = layout.sizes[c], int(statistics.factor_offsets[l, c])
                R = statistics.factors[start : start + p * p].reshape(p, p)
                w = layout.vector(statistics.projections[l], c)
                rss, n = float(statistics.residual_norms[l, c]), int(statistics.counts[l, c])
                noise, gamma = float(parameters.noise_variances[k, c]), parameters.loading(k, c)
                plain = _reference.whitened_posterior(
                    R, w, rss, n, parameters.mean(k, c), parameters.factor(k, c), noise
                )
                J += gamma.T @ (np.eye(p) - plain.covariance) @ gamma
                h += gamma.T @ plain.mean
                log_joint[l, k] += plain.log_density
                parts[c] = (R, w, rss, noise, gamma, plain)
            spread = np.linalg.inv(J)
            f = spread @ h
            log_joint[l, k] += 0.5 * h @ f - 0.5 * np.linalg.slogdet(J)[1]
            ff = spread + np.outer(f, f)
            for c, (R, w, rss, noise, gamma, plain) in parts.items():
                V = plain.covariance @ gamma
                t = plain.mean + V @ f
                covariance = plain.covariance + V @ spread @ V.T
                B = R @ parameters.factor(k, c) / np.sqrt(noise)
                e = (w - R @ parameters.mean(k, c)) / np.sqrt(noise)
                misfit = rss / noise + np.sum((e - B @ t) ** 2) + np.trace(B @ covariance @ B.T)
                moments[l, k, c] = (t, covariance + np.outer(t, t), V @ spread + np.outer(t, f), f, ff, misfit)
    top = log_joint.max(axis=1, keepdims=True)
    marginal = top[:, 0] + np.log(np.exp(log_joint - top).sum(axis=1))
    known = statistics.known_modes
    rho = responsibilities
    if rho is None:
        rho = np.exp(log_joint - marginal[:, None])
        for l in np.flatnonzero(known >= 0).tolist():
            rho[l] = np.arange(K) == known[l]
    log_likelihood = sum(marginal[l] if known[l] < 0 else log_joint[l, known[l]] for l in range(L))
    N, E, n_bar = np.zeros((K, C)), np.zeros((K, C)), np.zeros((K, C))
    D, Q, tf = np.zeros((K, P)), np.zeros((K, P2)), np.zeros((K, P, r))
    f_sum, ff_sum = np.zeros((K, C, r)), np.zeros((K, C, r, r))
    for (l, k, c), (t, second, cross, f, ff, misfit) in moments.items():
        weight = rho[l, k]
        N[k, c] += weight
        layout.vector(D[k], c)[:] += weight * t
        layout.matrix(Q[k], c)[:] += weight * second
        tf[k, layout.mean_offsets[c] : layout.mean_offsets[c + 1]] += weight * cross
        f_sum[k, c] += weight * f
        ff_sum[k, c] += weight * ff
        E[k, c] += weight * misfit
        n_bar[k, c] += weight * statistics.counts[l, c]
    sums = [[log_likelihood], rho.sum(axis=0), N, D, Q, E, n_bar, tf, f_sum, ff_sum]
    return rho, ExpectedStatistics(np.concatenate([np.ravel(part) for part in sums]), K, layout.sizes, L, r)


def maximisation(
    expected: ExpectedStatistics,
    parameters: Parameters,
    mode: int,
    channel: int,
    penalty: float,
    noise_floor: float,
    covariance_floor: float,
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """New μ, Λ, Γ, σ² of one mode and channel: regression of t on [1, f] with a ridge on the loadings, (15')."""
    k, c, r, layout = mode, channel, parameters.rank, parameters.layout
    N, f = expected.channel_counts[k, c], expected.factor_sums[k, c]
    gram = np.block(
        [[np.full((1, 1), N), f[None, :]], [f[:, None], expected.factor_moments[k, c] + penalty * np.eye(r)]]
    )
    rows = slice(*layout.mean_offsets[c : c + 2])
    tg = np.column_stack([layout.vector(expected.first_moments[k], c), expected.cross_moments[k, rows]])
    coefficients = np.linalg.solve(gram, tg.T).T
    scatter = (layout.matrix(expected.second_moments[k], c) - coefficients @ tg.T) / N
    factor = parameters.factor(k, c)
    X = factor @ np.linalg.cholesky(0.5 * (scatter + scatter.T)) / np.sqrt(covariance_floor)
    eigenvalues, U = np.linalg.eigh(X @ X.T)
    new_factor = np.linalg.cholesky(covariance_floor * (U * np.maximum(eigenvalues, 1.0)) @ U.T)
    noise = parameters.noise_variances[k, c] * expected.noise_moments[k, c] / expected.observation_counts[k, c]
    mean = parameters.mean(k, c) + factor @ coefficients[:, 0]
    loadings = np.linalg.solve(new_factor, factor @ coefficients[:, 1:])
    return mean, np.asarray(new_factor, dtype=float), np.asarray(loadings, dtype=float), max(float(noise), noise_floor)


# --- the equations, literally ----------------------------------------------------------------------------------------


def dense_law(
    designs: list[FloatArray], parameters: Parameters, mode: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Of one unit, by (16): mean and covariance of all its readings, and of all its coefficients.

    Designs are by channel and hold observed rows only. Returns E x, Cov x, Cov(T, x), Cov T.
    """
    k, sizes = mode, parameters.sizes
    P, n = sum(sizes), sum(map(len, designs))
    W, psi, phi, noise = np.zeros((P, parameters.rank)), np.zeros((P, P)), np.zeros((n, P)), np.zeros(n)
    at = row = 0
    for c, p in enumerate(sizes):
        factor = parameters.factor(k, c)
        W[at : at + p] = factor @ parameters.loading(k, c)
        psi[at : at + p, at : at + p] = factor @ factor.T
        phi[row : row + len(designs[c]), at : at + p] = designs[c]
        noise[row : row + len(designs[c])] = parameters.noise_variances[k, c]
        at, row = at + p, row + len(designs[c])
    coefficients = psi + W @ W.T
    return phi @ parameters.means[k], phi @ coefficients @ phi.T + np.diag(noise), coefficients @ phi.T, coefficients
