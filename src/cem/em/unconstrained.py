"""Parameters as an unconstrained vector, and the gradient of ℓ there.

Σ = F + M Mᵀ and σ² = s + τ² with the floors F and s of (15′), and M and τ free. A covariance at its floor is an
ordinary maximum of ℓ in these coordinates, at M = 0, and no step can leave the feasible set. With linked channels Ψ
replaces Σ, and the loadings W = Λ Γ are unconstrained already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.kernels import _unconstrained
from cem.em.sums import ExpectedStatistics
from cem.errors import KernelFailure
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Layout, layout_of

__all__ = ["Metric", "UnconstrainedCoordinates"]

FloatArray = NDArray[np.float64]

# A parameter at its floor starts this share of the floor above it, because at M = 0 or τ = 0 the gradient is always 0.
# The share is small enough not to change ℓ, which may fall steeply there: a noise variance affects many readings.
_COVARIANCE_ABOVE = 1e-6
_NOISE_ABOVE = 1e-8
_SMALLEST_WEIGHT = 1e-12


@dataclass(frozen=True, eq=False)
class Metric:
    """A positive definite matrix that approximates the curvature of −ℓ at a point, in the parts that form its inverse.

    With S = Ψ + σ²/n̄, the scatter of one unit's estimate of T given the factors, the curvature is N (S + W Wᵀ)⁻¹ for
    μ of all channels together. For Ψ it is ½ N tr(S⁻¹ dΨ S⁻¹ dΨ). For W it is N E f² S⁻¹, and less along W itself,
    where the factors have their share. The penalty ½ λ tr(Wᵀ Ψ⁻¹ W) adds λ ‖Λ⁻¹ (dW − dΨ Ψ⁻¹ W)‖²: moves of Ψ take W
    with them, dW = U dΨ V. All this is exact if every unit's readings are equally informative, and modes are well
    separated.

    Parameters
    ----------
    kernel_sizes : ndarray of shape (C,), int32
        p_c.
    structure : int
        Code of the covariances' structure for kernels.
    point : ndarray of shape (n,)
        The vector that it belongs to.
    mode_counts : ndarray of shape (K,)
        N_k.
    mean_scales : ndarray of shape (K, Σ p_c²)
        S / N_kc.
    noise_scales : ndarray of shape (K, C)
        Inverse of the curvature by τ.
    root_factors : ndarray of shape (K, Σ q_c²)
        Cholesky factors of the curvature by M, with the contribution of W; one for all modes if it is pooled. Where
        covariances are shrunk, one more by A, dM = A M in all modes, in which (25) is not curved.
    loading_scales : ndarray of shape (K, Σ p_c²)
        (N E f² S⁻¹ + λ Ψ⁻¹)⁻¹.
    couplings, directions : ndarray of shape (K, Σ p_c²) and (K, P, r)
        U and V.
    shared : ndarray of shape (K, P, r)
        W, of the channels that move.
    """

    kernel_sizes: NDArray[np.int32]
    structure: int
    point: FloatArray
    mode_counts: FloatArray
    mean_scales: FloatArray
    noise_scales: FloatArray
    root_factors: FloatArray
    loading_scales: FloatArray
    couplings: FloatArray
    directions: FloatArray
    shared: FloatArray

    def scaled(self, vector: FloatArray) -> FloatArray:
        """The inverse times a vector: the step along a gradient without knowledge of the true curvature."""
        result = np.empty(len(vector))
        _unconstrained.scaled(
            vector,
            self.point,
            self.kernel_sizes,
            self.structure,
            self.mode_counts,
            self.mean_scales,
            self.noise_scales,
            self.root_factors,
            self.loading_scales,
            self.couplings,
            self.directions,
            self.shared,
            result,
        )
        return result


class _Block:
    """Channels whose bases have one size: their matrices are handled together."""

    def __init__(self, layout: Layout, constraints: Constraints, p: int) -> None:
        self.p = p
        self.channels = np.array([c for c, size in enumerate(layout.sizes) if size == p])
        self.vectors = layout.mean_offsets[self.channels][:, None] + np.arange(p)  # (C_p, p) in packed means
        self.matrices = layout.factor_offsets[self.channels][:, None] + np.arange(p * p)  # (C_p, p²) in packed factors
        self.floors = constraints.covariance_floors[self.channels][:, None]
        n_triangle = p * (p + 1) // 2
        starts = np.concatenate([[0], np.cumsum([size * (size + 1) // 2 for size in layout.sizes])])[self.channels]
        self.triangles = starts[:, None] + np.arange(n_triangle)  # (C_p, q) in packed roots
        self.lower = np.tril_indices(p)

    def of(self, packed: FloatArray) -> FloatArray:
        """Matrices (K, C_p, p, p) of packed ones (K, Σ p_c²)."""
        return packed[:, self.matrices].reshape(len(packed), -1, self.p, self.p)


class UnconstrainedCoordinates:
    """Parameters as an unconstrained vector, and the gradient of ℓ there.

    The vector holds log π, μ, τ, the lower triangle of M for each (mode, channel), and W. A pooled covariance has one
    triangle for all modes; uncorrelated coefficients have only the roots of the excess variances.

    Parameters
    ----------
    constraints : Constraints
        Of the M step.
    sizes : tuple of int
        p_c.
    n_modes : int
        K.
    rank : int
        r; 0 if channels are not linked.
    """

    def __init__(self, constraints: Constraints, sizes: tuple[int, ...], n_modes: int, rank: int = 0) -> None:
        self._constraints, self._sizes, self._n_modes = constraints, sizes, n_modes
        self._layout = layout_of(sizes)
        self._blocks = [_Block(self._layout, constraints, p) for p in sorted(set(sizes))]
        self._structure = constraints.structure
        self._n_own = 1 if constraints.covariance == "pooled" else n_modes
        self._loadings = (n_modes, sum(sizes), rank)
        self._penalties = np.zeros(n_modes) if constraints.linking_penalties is None else constraints.linking_penalties
        self._lowest = np.zeros(sum(sizes))
        self._diagonal = constraints.covariance == "diagonal"
        self._inverses = np.zeros(len(constraints.transforms))
        if self._diagonal:
            n_roots = list(sizes)
            for block in self._blocks:
                inverse = np.linalg.inv(block.of(constraints.transforms[None]))[0]
                self._inverses[block.matrices] = inverse.reshape(block.matrices.shape)
                self._lowest[block.vectors] = block.floors * np.square(inverse).sum(axis=-1)
        else:
            n_roots = [p * (p + 1) // 2 for p in sizes]
        self._n_roots, self._n_squares = sum(n_roots), int(np.square(n_roots).sum())

    @property
    def n_modes(self) -> int:
        return self._n_modes

    # ---- parameters to vector and back

    def vector(self, parameters: Parameters) -> FloatArray:
        """Convert parameters that satisfy the constraints to a vector."""
        floors = self._constraints.noise_floors
        tau = np.sqrt(np.maximum(parameters.noise_variances - floors, _NOISE_ABOVE * floors))
        weights = np.log(np.maximum(parameters.weights, _SMALLEST_WEIGHT))
        roots, W = np.empty((self._n_own, self._n_roots)), np.empty(self._loadings)
        for block in self._blocks:
            factors = block.of(parameters.factors[: self._n_own])
            if self._diagonal:
                variances = np.square(block.of(self._inverses[None]) @ factors).sum(axis=-1)
                lowest = self._lowest[block.vectors]
                roots[:, block.vectors] = np.sqrt(np.maximum(variances - lowest, _COVARIANCE_ABOVE * lowest))
            else:
                eigenvalues, U = np.linalg.eigh(factors @ np.swapaxes(factors, -1, -2))
                excess = np.maximum(eigenvalues - block.floors, _COVARIANCE_ABOVE * block.floors)
                M = np.linalg.cholesky((U * excess[..., None, :]) @ np.swapaxes(U, -1, -2))
                roots[:, block.triangles] = M[..., block.lower[0], block.lower[1]]
            if parameters.loadings is not None:
                W[:, block.vectors] = block.of(parameters.factors) @ parameters.loadings[:, block.vectors]
        return np.concatenate([weights, parameters.means.ravel(), tau.ravel(), roots.ravel(), W.ravel()])

    def parameters(self, vector: FloatArray) -> Parameters:
        """Convert any vector to parameters that satisfy the constraints.

        Raises
        ------
        numpy.linalg.LinAlgError
            A covariance has no Cholesky factor in floating point: the vector is too far out.
        """
        constraints, K = self._constraints, self._n_modes
        weights, means = np.empty(K), np.empty(self._loadings[:2])
        factors, noise = np.empty((K, len(constraints.transforms))), np.empty((K, len(self._sizes)))
        loadings = np.empty(self._loadings)
        try:
            _unconstrained.parameters(
                vector,
                self._layout.kernel_sizes,
                self._structure,
                constraints.noise_floors,
                constraints.covariance_floors,
                constraints.transforms,
                self._lowest,
                weights,
                means,
                factors,
                noise,
                loadings,
            )
        except KernelFailure as failure:
            raise np.linalg.LinAlgError(str(failure)) from None
        linked = loadings if self._loadings[2] else None
        return Parameters.adopting(weights, means, factors, noise, self._sizes, linked)

    # ---- gradient and metric

    def gradient(
        self, vector: FloatArray, parameters: Parameters, expected: ExpectedStatistics
    ) -> tuple[FloatArray, Metric]:
        """Gradient of ℓ, less the penalty of loadings, and a first approximation of its curvature.

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
            Zero for a channel with too little data in a mode for the M step to move it.
        metric : Metric
            Scales of the vector.

        Raises
        ------
        numpy.linalg.LinAlgError
            The metric has no Cholesky factor in floating point.
        """
        K, matrices = self._n_modes, parameters.factors.shape
        n_modes_and_common = K + 1 if self._constraints.covariance == "shrunk" else self._n_own
        linked = matrices if self._loadings[2] else (0, 0)
        gradient = np.empty(len(vector))
        metric = Metric(
            self._layout.kernel_sizes,
            self._structure,
            vector,
            np.maximum(expected.mode_counts, 1.0),
            np.empty(matrices),
            np.empty((K, len(self._sizes))),
            np.empty((n_modes_and_common, self._n_squares)),
            np.empty(linked),
            np.empty(linked),
            np.empty(self._loadings),
            np.empty(self._loadings),
        )
        try:
            _unconstrained.derivatives(
                vector,
                expected.sums,
                parameters.bundle,
                self._structure,
                expected.n_units,
                self._penalties,
                self._constraints.shrinkage,
                self._constraints.transforms,
                gradient,
                metric.mean_scales,
                metric.noise_scales,
                metric.root_factors,
                metric.loading_scales,
                metric.couplings,
                metric.directions,
                metric.shared,
            )
        except KernelFailure as failure:
            raise np.linalg.LinAlgError(str(failure)) from None
        return gradient, metric
