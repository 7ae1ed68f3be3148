"""Parameters as an unconstrained vector, and the gradient of ℓ there.

Σ = F + M Mᵀ and σ² = s + τ² with the floors F and s of (15′), and M and τ free. A covariance at its floor is an
ordinary maximum of ℓ in these coordinates, at M = 0, and no step can leave the feasible set. With linked channels Ψ
replaces Σ, and the loadings W = Λ Γ are unconstrained already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.kernels import _unconstrained
from cem.em.kernels._lanes import LanePack
from cem.em.problem import Ascended, AscentLimits, Evaluation
from cem.em.sums import ExpectedStatistics
from cem.errors import KernelFailure
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import layout_of

__all__ = ["Metric", "UnconstrainedCoordinates"]

FloatArray = NDArray[np.float64]
MixtureEvaluation: TypeAlias = Evaluation[Parameters, ExpectedStatistics]

# Steps of one call, after which an interruption is heard.
_AT_ONCE = 64


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
        covariances are shrunk, two more of what the modes share: by A, dM = A M in all modes, in which (25) is not
        curved, and by the same dM in all modes.
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
        self._layout = layout = layout_of(sizes)
        self._structure = constraints.structure
        self._n_own = 1 if constraints.covariance == "pooled" else n_modes
        self._loadings = (n_modes, sum(sizes), rank)
        self._penalties = np.zeros(n_modes) if constraints.linking_penalties is None else constraints.linking_penalties
        # With uncorrelated coefficients: S⁻¹ of each channel, and the floors of the variances in the user's basis.
        self._lowest = np.zeros(sum(sizes))
        self._inverses = np.zeros(len(constraints.transforms))
        if constraints.covariance == "diagonal":
            n_roots = list(sizes)
            for c, floor in enumerate(constraints.covariance_floors):
                inverse = np.linalg.inv(layout.matrix(constraints.transforms, c))
                layout.matrix(self._inverses, c)[:] = inverse
                rows = slice(int(layout.mean_offsets[c]), int(layout.mean_offsets[c + 1]))
                self._lowest[rows] = floor * np.square(inverse).sum(axis=-1)
        else:
            n_roots = [p * (p + 1) // 2 for p in sizes]
        self._n_squares = int(np.square(n_roots).sum())
        self._n_vector = n_modes * (1 + sum(sizes) * (1 + rank) + len(sizes)) + self._n_own * sum(n_roots)

    @property
    def n_modes(self) -> int:
        return self._n_modes

    # ---- parameters to vector and back

    def vector(self, parameters: Parameters) -> FloatArray:
        """Convert parameters that satisfy the constraints to a vector.

        Raises
        ------
        numpy.linalg.LinAlgError
            A covariance less its floor has no Cholesky factor in floating point.
        """
        constraints, vector = self._constraints, np.zeros(self._n_vector)
        linked = int(np.prod(self._loadings))
        try:
            _unconstrained.vector(
                parameters.bundle,
                self._structure,
                constraints.noise_floors,
                constraints.covariance_floors,
                constraints.transforms,
                self._inverses,
                self._lowest,
                vector if parameters.rank else vector[: len(vector) - linked],  # without loadings W is 0
            )
        except KernelFailure as failure:
            raise np.linalg.LinAlgError(str(failure)) from None
        return vector

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

    # ---- several steps in one call

    def ascended(
        self, pack: LanePack, evaluation: MixtureEvaluation, memory: FloatArray | None, limits: AscentLimits
    ) -> Ascended[Parameters, ExpectedStatistics]:
        """Make quasi-Newton steps in one call, for a fleet whose E step takes less time than a call from Python.

        Parameters
        ----------
        pack : LanePack
            The fleet.
        evaluation : Evaluation
            The starting point; its channels are not linked.
        memory : ndarray, optional
            What the last call has left, if it led there; it is changed.
        limits : AscentLimits
            When the steps end.

        Returns
        -------
        Ascended
            Its memory is the given one, or a new one.
        """
        constraints, before = self._constraints, evaluation.point
        sizes = self._layout.kernel_sizes
        if memory is None:
            memory = np.empty(_unconstrained.memory_size(sizes, self._n_modes, self._structure))
            memory[:2] = 0.0
        sums, weights = np.empty_like(evaluation.sums.sums), np.empty(self._n_modes)
        means, factors = np.empty_like(before.means), np.empty_like(before.factors)
        noise_variances = np.empty_like(before.noise_variances)
        rho = np.empty_like(evaluation.responsibilities)
        log_likelihoods, objectives = np.empty((2, min(limits.n_passes, _AT_ONCE)))
        n_steps, n_passes, negligible, blocked = _unconstrained.ascended(
            pack,
            before.bundle,
            evaluation.sums.sums,
            evaluation.objective,
            self._structure,
            constraints.shrinkage,
            constraints.noise_floors,
            constraints.covariance_floors,
            constraints.transforms,
            self._inverses,
            self._lowest,
            limits.n_passes,
            limits.tolerance,
            limits.negligible,
            limits.patience,
            memory,
            sums,
            weights,
            means,
            factors,
            noise_variances,
            rho,
            log_likelihoods,
            objectives,
        )
        heights: list[float] = log_likelihoods[:n_steps].tolist()
        raised: list[float] = objectives[:n_steps].tolist()
        if n_steps:
            reached = Parameters.adopting(weights, means, factors, noise_variances, self._sizes)
            expected = ExpectedStatistics(sums, self._n_modes, self._sizes, evaluation.sums.n_units)
            evaluation = Evaluation(reached, expected, rho, heights[-1], raised[-1])
        return Ascended(evaluation, heights, raised, n_passes, negligible, blocked, memory)

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
        n_modes_and_shared = K + 2 if self._constraints.covariance == "shrunk" else self._n_own
        linked = matrices if self._loadings[2] else (0, 0)
        gradient = np.empty(len(vector))
        metric = Metric(
            self._layout.kernel_sizes,
            self._structure,
            vector,
            np.maximum(expected.mode_counts, 1.0),
            np.empty(matrices),
            np.empty((K, len(self._sizes))),
            np.empty((n_modes_and_shared, self._n_squares)),
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
