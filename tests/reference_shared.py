"""Plain NumPy twin of the kernel of shared designs: what units of one design share, and (14) from products."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.mixture.parameters import Parameters

FloatArray = NDArray[np.float64]


class DesignMaps(NamedTuple):
    """What the units of one design, channel and mode share; shapes (p, p), (p, p), (p,), (p, p)."""

    whitening: FloatArray  # Z / σ, with Z (I + BB') Z' = I
    projection: FloatArray  # V = Z B
    shift: FloatArray  # Z R μ / σ
    covariance: FloatArray  # A⁻¹
    log_determinant: float  # log |A|


def design_maps(R: FloatArray, mean: FloatArray, factor: FloatArray, noise_variance: float) -> DesignMaps:
    """From the singular values of B = R Λ / σ = U diag(s) W': Z = diag(1 + s²)^-½ U'."""
    sigma = np.sqrt(noise_variance)
    U, s, Wt = np.linalg.svd(R @ factor / sigma)
    root = np.sqrt(1.0 + s**2)
    Z = U.T / root[:, None]
    return DesignMaps(
        Z / sigma,
        (s / root)[:, None] * Wt,
        Z @ (R @ mean) / sigma,
        Wt.T @ (Wt / root[:, None] ** 2),
        float(2.0 * np.log(root).sum()),
    )


def expectation(
    factors: FloatArray,
    factor_offsets: NDArray[np.int64],
    projections: FloatArray,
    residual_norms: FloatArray,
    counts: NDArray[np.int32],
    known_modes: NDArray[np.int32],
    parameters: Parameters,
    designs: NDArray[np.int64],
    *,
    inverse_temperature: float = 1.0,
    responsibilities: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Responsibilities (L, K) and the sums (14) in the kernels' order, design by design."""
    layout = parameters.layout
    L, C, K = len(counts), layout.n_channels, parameters.n_modes
    rho = np.empty((L, K))
    log_likelihood = 0.0
    N_channel, E, n_bar = np.zeros((K, C)), np.zeros((K, C)), np.zeros((K, C))
    D, Q = np.zeros((K, parameters.means.shape[1])), np.zeros((K, parameters.factors.shape[1]))
    for design in range(int(designs.max()) + 1):
        units = np.flatnonzero(designs == design)
        observed = np.flatnonzero(counts[units[0]] > 0).tolist()
        log_joint = np.tile(np.log(parameters.weights), (len(units), 1))
        maps, innovations = {}, {}
        for c in observed:
            p, start, n = layout.sizes[c], factor_offsets[units[0], c], counts[units[0], c]
            R = factors[start : start + p * p].reshape(p, p)
            w = layout.vector(projections[units], c)
            for k in range(K):
                variance = float(parameters.noise_variances[k, c])
                shared = design_maps(R, parameters.mean(k, c), parameters.factor(k, c), variance)
                y = w @ shared.whitening.T - shared.shift
                maps[k, c], innovations[k, c] = shared, y
                constant = n * np.log(2 * np.pi * variance) + shared.log_determinant
                log_joint[:, k] -= 0.5 * (constant + residual_norms[units, c] / variance + np.square(y).sum(axis=1))
        known = known_modes[units]
        log_joint[(known[:, None] >= 0) & (known[:, None] != np.arange(K))] = -np.inf
        top = log_joint.max(axis=1, keepdims=True)
        log_likelihood += float((top[:, 0] + np.log(np.exp(log_joint - top).sum(axis=1))).sum())
        tempered = np.exp(inverse_temperature * (log_joint - top))
        rho[units] = (
            tempered / tempered.sum(axis=1, keepdims=True) if responsibilities is None else responsibilities[units]
        )
        for k in range(K):
            weights = rho[units, k]
            for c in observed:
                p, variance = layout.sizes[c], parameters.noise_variances[k, c]
                shared, y = maps[k, c], innovations[k, c]
                N, first, second = weights.sum(), y.T @ weights, y.T @ (weights[:, None] * y)
                N_channel[k, c] += N
                n_bar[k, c] += N * counts[units[0], c]
                layout.vector(D[k], c)[:] += shared.projection.T @ first
                layout.matrix(Q[k], c)[:] += N * shared.covariance + shared.projection.T @ second @ shared.projection
                E[k, c] += weights @ residual_norms[units, c] / variance + N * (p - np.trace(shared.covariance))
                E[k, c] += variance * np.trace(shared.whitening.T @ second @ shared.whitening)
    sums = [[log_likelihood], rho.sum(axis=0), N_channel, D, Q, E, n_bar]
    return rho, np.concatenate([np.ravel(part) for part in sums])
