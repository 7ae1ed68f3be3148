"""Fewer passes: damped Anderson extrapolation of the EM map on unconstrained coordinates.

Henderson & Varadhan (2019), "Damped Anderson acceleration with restarts and monotonicity control for accelerating EM
and EM-like algorithms", J. Comput. Graph. Stat. 28, 834–846. Here an extrapolated step must not lower ℓ at all; one
that does is replaced by the plain EM step from the same place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.maximisation import Constraints
from cem.parameters import Parameters

__all__ = ["Anderson", "Coordinatisation", "feasible"]

FloatArray = NDArray[np.float64]

_DEPTH = 10
_DAMPING_BASE = 1.2
_DAMPING_DELAY = 25.0


def feasible(parameters: Parameters, constraints: Constraints) -> Parameters:
    """The parameters, moved no further than the floors and the structure demand.

    Parameters
    ----------
    parameters : Parameters
        In internal coordinates.
    constraints : Constraints
        Of the M step.

    Returns
    -------
    Parameters
        A start from which ℓ cannot fall in the first pass.
    """
    layout = parameters.layout
    factors = np.array(parameters.factors)
    for p in set(layout.sizes):
        channels = [c for c, size in enumerate(layout.sizes) if size == p]
        floors = constraints.covariance_floors[channels]
        blocks = np.stack([layout.matrix(factors, c) for c in channels], axis=1)  # (K, C_p, p, p)
        covariances = blocks @ np.swapaxes(blocks, -1, -2)
        if constraints.covariance == "diagonal":
            S = np.stack([layout.matrix(constraints.transforms, c) for c in channels])
            moved = _diagonal(covariances, S, floors)
        elif constraints.covariance == "pooled":
            moved = _above(np.einsum("k,kcij->cij", parameters.weights, covariances)[None], floors)
            moved = np.broadcast_to(moved, blocks.shape)
        elif _all_above(covariances, floors):
            continue
        else:
            moved = _above(covariances, floors)
        for i, c in enumerate(channels):
            layout.matrix(factors, c)[:] = moved[:, i]
    noise = np.maximum(parameters.noise_variances, constraints.noise_floors)
    return Parameters(parameters.weights, parameters.means, factors, noise, parameters.sizes, parameters.loadings)


def _all_above(covariances: FloatArray, floors: FloatArray) -> bool:
    """Whether Σ ⪰ floor · I everywhere: a Cholesky factor of the difference exists."""
    try:
        np.linalg.cholesky(covariances - floors[:, None, None] * np.eye(covariances.shape[-1]))
    except np.linalg.LinAlgError:
        return False
    return True


def _above(covariances: FloatArray, floors: FloatArray) -> FloatArray:
    """Factors of the nearest covariances ⪰ floor · I."""
    eigenvalues, U = np.linalg.eigh(covariances)
    raised = np.maximum(eigenvalues, floors[:, None])
    factors: FloatArray = np.linalg.cholesky(np.einsum("kcij,kcj,kclj->kcil", U, raised, U))
    return factors


def _diagonal(covariances: FloatArray, S: FloatArray, floors: FloatArray) -> FloatArray:
    """Factors of the nearest covariances that are diagonal in the user's basis."""
    inverse = np.linalg.inv(S)
    variances = np.einsum("cij,kcjl,cil->kci", inverse, covariances, inverse)
    variances = np.maximum(variances, floors[:, None] * np.square(inverse).sum(axis=-1))
    factors: FloatArray = np.linalg.cholesky(np.einsum("cij,kcj,clj->kcil", S, variances, S))
    return factors


class Coordinatisation:
    """Parameters as a vector without constraints, and back.

    Log-ratios of π; μ; the Cholesky factors with the logarithm of their diagonal; log σ² above its floor, where a
    variance on its floor stays there.

    Parameters
    ----------
    constraints : Constraints
        Of the M step.
    sizes : tuple of int
        p_c.
    """

    def __init__(self, constraints: Constraints, sizes: tuple[int, ...]) -> None:
        self.constraints = constraints
        self.sizes = sizes
        offsets = np.concatenate([[0], np.cumsum(np.square(sizes))])
        diagonal = [start + np.arange(p) * (p + 1) for start, p in zip(offsets, sizes, strict=False)]
        lower = [start + np.flatnonzero(np.tril(np.ones((p, p)), -1)) for start, p in zip(offsets, sizes, strict=False)]
        self._diagonal = np.concatenate(diagonal)
        self._lower = np.concatenate(lower).astype(np.int64)

    def vector(self, parameters: Parameters) -> FloatArray:
        """Parameters to vector."""
        excess = np.maximum(parameters.noise_variances / self.constraints.noise_floors - 1.0, 1e-12)
        log_weights = np.log(np.maximum(parameters.weights, 1e-300))
        return np.concatenate(
            [
                log_weights - log_weights.mean(),
                parameters.means.ravel(),
                np.log(parameters.factors[:, self._diagonal]).ravel(),
                parameters.factors[:, self._lower].ravel(),
                np.log(excess).ravel(),
            ]
        )

    def parameters(self, vector: FloatArray, like: Parameters) -> Parameters:
        """Vector to parameters that satisfy the constraints; what lies on a floor in `like` stays there."""
        K, P, C = like.n_modes, like.means.shape[1], like.n_channels
        widths = np.cumsum([K, K * P, K * len(self._diagonal), K * len(self._lower)])
        log_ratios, means, log_diagonal, lower, log_excess = np.split(vector, widths)
        weights = np.exp(log_ratios - log_ratios.max())
        factors = np.zeros_like(like.factors)
        factors[:, self._diagonal] = np.exp(np.clip(log_diagonal, -50, 50)).reshape(K, -1)
        factors[:, self._lower] = lower.reshape(K, -1)
        floors = self.constraints.noise_floors
        noise = floors * (1.0 + np.exp(np.clip(log_excess, -50, 50)).reshape(K, C))
        noise = np.where(like.noise_variances <= floors, floors, noise)
        moved = Parameters(weights / weights.sum(), means.reshape(K, P), factors, noise, like.sizes)
        return feasible(moved, self.constraints)


class Anderson:
    """Extrapolation from the last few EM steps.

    Parameters
    ----------
    coordinates : Coordinatisation
        The vector space of the parameters.
    """

    def __init__(self, coordinates: Coordinatisation) -> None:
        self.coordinates = coordinates
        self._points: list[FloatArray] = []
        self._residuals: list[FloatArray] = []
        self._confidence = 0.0

    def extrapolated(self, parameters: Parameters, mapped: Parameters) -> Parameters | None:
        """Where the sequence of EM steps seems to lead; None where there is no history to tell.

        Parameters
        ----------
        parameters : Parameters
            The present point θ.
        mapped : Parameters
            The EM step from it, G(θ).
        """
        point = self.coordinates.vector(parameters)
        residual = self.coordinates.vector(mapped) - point
        self._points.append(point)
        self._residuals.append(residual)
        del self._points[: -_DEPTH - 1], self._residuals[: -_DEPTH - 1]
        if len(self._points) < 2:
            return None
        steps = np.diff(np.stack(self._points, axis=1), axis=1)
        changes = np.diff(np.stack(self._residuals, axis=1), axis=1)
        gamma = self._damped_least_squares(changes, residual)
        proposal = point + residual - (steps + changes) @ gamma
        if not np.isfinite(proposal).all():
            return None
        try:
            return self.coordinates.parameters(proposal, mapped)
        except np.linalg.LinAlgError:
            return None

    def accept(self) -> None:
        """The last proposal did not lower ℓ: trust the next one a little more."""
        self._confidence += 1.0

    def reject(self) -> None:
        """The last proposal lowered ℓ: damp the next ones, and forget the older half of the history."""
        self._confidence = max(self._confidence - _DEPTH, -2 * _DEPTH)
        keep = max(1, len(self._points) // 2)
        del self._points[:-keep], self._residuals[:-keep]

    def _damped_least_squares(self, changes: FloatArray, residual: FloatArray) -> FloatArray:
        """Ridge solution γ with |γ|² a fraction of the least squares one's; the fraction grows with confidence."""
        U, singular, Vt = np.linalg.svd(changes, full_matrices=False)
        kept = singular > 1e-12 * max(singular[0], 1e-300)
        U, singular, Vt = U[:, kept], singular[kept], Vt[kept]
        if not len(singular):
            return np.zeros(changes.shape[1])
        projected = U.T @ residual
        fraction = 1.0 / (1.0 + _DAMPING_BASE ** (_DAMPING_DELAY - self._confidence))
        # Newton's method for the secular equation |γ(λ)| = target, from the left (Moré 1978): a few steps suffice.
        target = np.sqrt(fraction) * np.linalg.norm(projected / singular)
        ridge = 0.0
        for _ in range(12):
            gamma = projected * singular / (singular**2 + ridge)
            length = np.linalg.norm(gamma)
            if length <= 1.01 * target:
                break
            slope = np.sum(np.square(gamma) / (singular**2 + ridge))
            ridge += (length / target - 1.0) * length**2 / slope
        return Vt.T @ gamma
