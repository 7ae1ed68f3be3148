"""Parameters as a vector without constraints, and the gradient of ℓ there.

Σ = F + M Mᵀ and σ² = s + τ² with the floors F and s of (15′), M and τ free. A covariance that lies on its floor is an
ordinary maximum of ℓ in these coordinates, at M = 0, and no step can leave the feasible set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem.expectation import ExpectedStatistics
from cem.maximisation import Constraints
from cem.parameters import Layout, Parameters, layout_of

__all__ = ["Metric", "UnconstrainedCoordinates"]

FloatArray = NDArray[np.float64]

# What lies on its floor is put this share of the floor above it: at M = 0 or τ = 0 itself the gradient is 0 whatever ℓ
# does. Small enough not to be felt in ℓ, which may fall steeply there: a noise variance speaks for many readings.
_COVARIANCE_ABOVE = 1e-6
_NOISE_ABOVE = 1e-8
_SMALLEST_WEIGHT = 1e-12


def _transposed(matrices: FloatArray) -> FloatArray:
    return np.swapaxes(matrices, -1, -2)


def _lower(matrices: FloatArray) -> FloatArray:
    """Cholesky factors."""
    return np.asarray(np.linalg.cholesky(matrices), dtype=np.float64)


class _Block:
    """Channels whose bases have one size: their matrices are handled together."""

    def __init__(self, layout: Layout, constraints: Constraints, p: int) -> None:
        self.p = p
        self.channels = np.array([c for c, size in enumerate(layout.sizes) if size == p])
        self.vectors = layout.mean_offsets[self.channels][:, None] + np.arange(p)  # (C_p, p) in packed means
        self.matrices = layout.factor_offsets[self.channels][:, None] + np.arange(p * p)  # (C_p, p²) in packed factors
        self.floors = constraints.covariance_floors[self.channels][:, None]
        self.lower = np.tril_indices(p)
        self.S = constraints.transforms[self.matrices].reshape(-1, p, p)

    def of(self, packed: FloatArray) -> FloatArray:
        """Matrices (K, C_p, p, p) of packed ones (K, Σ p_c²)."""
        return packed[:, self.matrices].reshape(len(packed), -1, self.p, self.p)


@dataclass(frozen=True, eq=False)
class Metric:
    """A positive definite matrix near the curvature of -ℓ, by blocks.

    That of μ_kc is N_kc (Σ + σ²/n̄)⁻¹, that of each column of M twice as much: exact where every unit's readings say
    equally much, and a bound of it elsewhere.

    Parameters
    ----------
    mode_counts : ndarray of shape (K,)
    mean_scales, root_scales : list over sizes of ndarray
        Lower triangular L with L Lᵀ the inverse of a block, (K, C_p, p, p); for roots of variances 1/√ of the block.
    noise_scales : ndarray of shape (K, C)
        Inverse of the curvature by τ.
    """

    mode_counts: FloatArray
    mean_scales: list[FloatArray]
    noise_scales: FloatArray
    root_scales: list[FloatArray]


class UnconstrainedCoordinates:
    """Parameters as a vector that may take any value, and the gradient of ℓ there.

    The vector holds log π, μ, τ, and for each (mode, channel) the lower triangle of M; one triangle for all modes where
    the covariance is pooled, and only the roots of excess variances where coefficients are uncorrelated.

    Parameters
    ----------
    constraints : Constraints
        Of the M step.
    sizes : tuple of int
        p_c.
    n_modes : int
        K.
    """

    def __init__(self, constraints: Constraints, sizes: tuple[int, ...], n_modes: int) -> None:
        self._constraints, self._sizes, self._n_modes = constraints, sizes, n_modes
        self._blocks = [_Block(layout_of(sizes), constraints, p) for p in sorted(set(sizes))]
        self._diagonal, self._pooled = constraints.covariance == "diagonal", constraints.covariance == "pooled"
        if self._diagonal:
            inverses = [np.linalg.inv(block.S) for block in self._blocks]
            self._lowest = [
                block.floors * np.square(inverse).sum(axis=-1)
                for block, inverse in zip(self._blocks, inverses, strict=True)
            ]
            self._inverses = inverses

    # ---- parameters to vector and back

    def vector(self, parameters: Parameters) -> FloatArray:
        """Parameters, as they satisfy the constraints, to vector."""
        floors = self._constraints.noise_floors
        tau = np.sqrt(np.maximum(parameters.noise_variances - floors, _NOISE_ABOVE * floors))
        roots = [self._root(i, block, parameters) for i, block in enumerate(self._blocks)]
        weights = np.log(np.maximum(parameters.weights, _SMALLEST_WEIGHT))
        return np.concatenate([weights, parameters.means.ravel(), tau.ravel(), *roots])

    def _root(self, i: int, block: _Block, parameters: Parameters) -> FloatArray:
        factors = block.of(parameters.factors[:1] if self._pooled else parameters.factors)
        if self._diagonal:
            variances = np.square(self._inverses[i] @ factors).sum(axis=-1)
            return np.sqrt(np.maximum(variances - self._lowest[i], _COVARIANCE_ABOVE * self._lowest[i])).ravel()
        eigenvalues, U = np.linalg.eigh(factors @ _transposed(factors))
        excess = np.maximum(eigenvalues - block.floors, _COVARIANCE_ABOVE * block.floors)
        M = _lower((U * excess[..., None, :]) @ _transposed(U))
        return M[..., block.lower[0], block.lower[1]].ravel()

    def parameters(self, vector: FloatArray) -> Parameters:
        """Vector to parameters, which satisfy the constraints whatever the vector is.

        Raises
        ------
        numpy.linalg.LinAlgError
            A covariance has no Cholesky factor in floating point: the vector is too far out.
        """
        K, C = self._n_modes, len(self._sizes)
        log_weights, means, tau, roots = self._split(vector)
        weights = np.exp(log_weights - log_weights.max())
        factors = np.zeros((K, int(layout_of(self._sizes).factor_offsets[-1])))
        for i, (block, root) in enumerate(zip(self._blocks, roots, strict=True)):
            if self._diagonal:
                covariances = (block.S * (self._lowest[i] + np.square(root))[..., None, :]) @ _transposed(block.S)
            else:
                M = self._triangles(block, root)
                covariances = M @ _transposed(M) + block.floors[..., None] * np.eye(block.p)
            factors[:, block.matrices] = _lower(covariances).reshape(-1, *block.matrices.shape)
        noise = self._constraints.noise_floors + np.square(tau.reshape(K, C))
        return Parameters(weights / weights.sum(), means, factors, noise, self._sizes)

    def _split(self, vector: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, list[FloatArray]]:
        K, P, C = self._n_modes, sum(self._sizes), len(self._sizes)
        start = K + K * P + K * C
        roots = []
        for block in self._blocks:
            shape = (1 if self._pooled else K, len(block.channels), block.p if self._diagonal else len(block.lower[0]))
            size = int(np.prod(shape))
            roots.append(vector[start : start + size].reshape(shape))
            start += size
        return vector[:K], vector[K : K + K * P].reshape(K, P), vector[K + K * P : K + K * P + K * C], roots

    def _triangles(self, block: _Block, root: FloatArray) -> FloatArray:
        M = np.zeros((*root.shape[:2], block.p, block.p))
        M[..., block.lower[0], block.lower[1]] = root
        return M

    # ---- gradient and metric

    def gradient(
        self, vector: FloatArray, parameters: Parameters, expected: ExpectedStatistics
    ) -> tuple[FloatArray, Metric]:
        """Gradient of ℓ, and a first guess at its curvature.

        Parameters
        ----------
        vector : ndarray of shape (n,)
        parameters : Parameters
            Those of the vector.
        expected : ExpectedStatistics
            The sums (14) at them.

        Returns
        -------
        gradient : ndarray of shape (n,)
            Zero where a channel tells too little of a mode for the M step to move it.
        metric : Metric
            Scales of the vector.
        """
        tau, roots = self._split(vector)[2:]
        noise, counts, readings = parameters.noise_variances, expected.channel_counts, expected.observation_counts
        moved = (counts >= 1.0) & (readings > 0.0)
        by_weight = expected.mode_counts - expected.n_units * parameters.weights
        tau = tau.reshape(noise.shape)
        by_variance = np.where(moved, (expected.noise_moments - readings) / noise, 0.0)  # twice the derivative by σ²
        curved = np.maximum(2.0 * readings * np.square(tau / noise) + np.abs(by_variance), 1e-8)
        by_mean = np.empty_like(parameters.means)
        by_root: list[FloatArray] = []
        mean_scales: list[FloatArray] = []
        root_scales: list[FloatArray] = []
        for block, root in zip(self._blocks, roots, strict=True):
            factors = block.of(parameters.factors)
            inverse = np.asarray(np.linalg.inv(factors), dtype=np.float64)
            N, kept = counts[:, block.channels], moved[:, block.channels]
            first = np.where(kept[..., None], expected.first_moments[:, block.vectors], 0.0)
            by_mean[:, block.vectors] = (_transposed(inverse) @ first[..., None])[..., 0]
            # Twice the derivative by Σ: Λ⁻ᵀ (Q - N I) Λ⁻¹
            excess = block.of(expected.second_moments) - N[..., None, None] * np.eye(block.p)
            by_covariance = _transposed(inverse) @ excess @ inverse
            # What one unit's estimate of T scatters by: Σ, and σ²/n since R'R is about n I in the internal basis.
            weight = np.maximum(N, 1.0)[..., None, None]
            alone = noise[:, block.channels] * np.maximum(N, 1.0) / np.maximum(readings[:, block.channels], 1.0)
            scatter = factors @ _transposed(factors) + alone[..., None, None] * np.eye(block.p)
            mean_scales.append(_lower(scatter / weight))
            if self._pooled:
                by_covariance = by_covariance.sum(axis=0)[None]
                scatter, weight = np.linalg.inv((weight * np.linalg.inv(scatter)).sum(axis=0))[None], np.ones(1)
            else:
                by_covariance = np.where(kept[..., None, None], by_covariance, 0.0)
            if self._diagonal:
                along = np.einsum("cji,kcjl,cli->kci", block.S, by_covariance, block.S)
                bent = np.einsum("cji,kcjl,cli->kci", block.S, weight * np.linalg.inv(scatter), block.S)
                by_root.append((along * root).ravel())
                root_scales.append(1.0 / np.sqrt(2.0 * bent))
            else:
                by_triangle = by_covariance @ self._triangles(block, root)
                by_root.append(by_triangle[..., block.lower[0], block.lower[1]].ravel())
                root_scales.append(_lower(scatter / (2.0 * weight)))
        gradient = np.concatenate([by_weight, by_mean.ravel(), (by_variance * tau).ravel(), *by_root])
        return gradient, Metric(np.maximum(expected.mode_counts, 1.0), mean_scales, 1.0 / curved, root_scales)

    def scaled(self, vector: FloatArray, metric: Metric) -> FloatArray:
        """The metric's inverse times a vector: what a step along a gradient is without knowledge of the curvature."""
        log_weights, means, tau, roots = self._split(vector)
        moved = np.empty_like(means)
        moved_roots = []
        for block, root, L, U in zip(self._blocks, roots, metric.mean_scales, metric.root_scales, strict=True):
            moved[:, block.vectors] = (L @ (_transposed(L) @ means[:, block.vectors][..., None]))[..., 0]
            if self._diagonal:
                moved_roots.append((np.square(U) * root).ravel())
            else:
                triangle = U @ np.tril(_transposed(U) @ self._triangles(block, root))
                moved_roots.append(triangle[..., block.lower[0], block.lower[1]].ravel())
        by_noise = tau * metric.noise_scales.ravel()
        return np.concatenate([log_weights / metric.mode_counts, moved.ravel(), by_noise, *moved_roots])
