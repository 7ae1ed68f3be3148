"""The M step of π_k(u): a multinomial logit of the responsibilities on the covariates of units, by Newton steps.

With S_k = Σ_l ρ̂_lk x_l, x_l = (1, f(u_l)), over the units without prior probabilities of their own, the M step raises

    Σ_k γ_kᵀ S_k − Σ_l ln Σ_k exp γ_kᵀ x_l − ½ λ Σ_k ‖slopes of γ_k‖².

The ridge λ keeps slopes finite where a covariate separates the modes; intercepts have none. A plain Newton step may
lower the objective, so a step is halved until it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cem.mixture.membership import UnitModes, centred, log_weights_of
from cem.mixture.parameters import Parameters

__all__ = ["MembershipDesign", "MembershipSums", "membership_step"]

FloatArray = NDArray[np.float64]

# EM repeats the M step anyway, so a few steps towards its maximum are enough.
_NEWTON_STEPS = 3
_MOST_HALVINGS = 30
# A step whose expected gain is below this, in nats, ends the M step.
_NEGLIGIBLE_GAIN = 1e-9
# Relative to the mean of the curvature's diagonal: a mode with hardly any units has no curvature of its own.
_DAMPING = 1e-10
_ROWS_PER_CHUNK = 16384


class MembershipDesign:
    """The covariates of a fleet's units as π_k(u) takes them: made once per fit, read-only.

    Parameters
    ----------
    design : ndarray of shape (L, 1 + F), optional
        (1, f(u)) of each unit; only ones by default.
    has_prior : ndarray of shape (L,), bool
        Units with prior probabilities of their own; they do not count in the M step.

    Attributes
    ----------
    n_units : int
        Number of units that count.
    n_columns : int
        1 + F.
    """

    def __init__(self, design: FloatArray | None, has_prior: NDArray[np.bool_]) -> None:
        rows = np.ones((len(has_prior), 1)) if design is None else np.asarray(design, dtype=np.float64)
        self._counted = np.where(has_prior[:, None], 0.0, rows)
        free = rows[~has_prior]
        self.n_units, self.n_columns = len(free), rows.shape[1]
        self._rows, counts = np.unique(free, axis=0, return_counts=True)  # categories have few distinct rows
        self._counts = counts.astype(np.float64)

    @classmethod
    def of(cls, modes: UnitModes) -> MembershipDesign | None:
        """Of some units; None if all of them have π."""
        if modes.design is None and modes.priors is None:
            return None
        return cls(modes.design, modes.has_prior)

    def sums(self, responsibilities: FloatArray) -> MembershipSums:
        """S of these responsibilities (L, K)."""
        return MembershipSums(self, np.ascontiguousarray(responsibilities.T @ self._counted))

    def started(self, parameters: Parameters) -> Parameters:
        """The parameters with γ, from intercepts ln π and slopes 0, unless they have it or there are no covariates."""
        if self.n_columns == 1 or parameters.membership is not None:
            return parameters
        gamma = np.zeros((parameters.n_modes, self.n_columns))
        gamma[:, 0] = np.log(np.maximum(parameters.weights, np.finfo(float).tiny))
        return replace(parameters, membership=centred(gamma))

    def mean_weights(self, gamma: FloatArray, otherwise: FloatArray) -> FloatArray:
        """Mean of π_k(u) over the units that count, (K,), or `otherwise` if there are none."""
        if not self.n_units:
            return otherwise
        total: FloatArray = self._counts @ np.exp(log_weights_of(gamma, self._rows))
        mean: FloatArray = total / total.sum()
        return mean

    def objective(self, gamma: FloatArray, sums: FloatArray, ridge: float) -> float:
        """What the M step raises."""
        scores = self._rows @ gamma.T
        top = scores.max(axis=1)
        logarithms = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
        return float(np.vdot(gamma, sums) - self._counts @ logarithms - 0.5 * ridge * np.square(gamma[:, 1:]).sum())

    def derivatives(self, gamma: FloatArray, sums: FloatArray, ridge: float) -> tuple[FloatArray, FloatArray]:
        """Gradient (K, 1 + F) of the objective, and its curvature of the other sign, (K (1 + F), K (1 + F)).

        A common shift of the intercepts changes no probability. The curvature has a positive number in that direction,
        in which the gradient is 0, so that it is positive definite and steps do not change.
        """
        K, m = gamma.shape
        gradient = np.array(sums)
        gradient[:, 1:] -= ridge * gamma[:, 1:]
        curvature = np.zeros((K, m, K, m))
        for first in range(0, len(self._rows), _ROWS_PER_CHUNK):
            rows = self._rows[first : first + _ROWS_PER_CHUNK]
            counts = self._counts[first : first + _ROWS_PER_CHUNK]
            probabilities = np.exp(log_weights_of(gamma, rows))
            weighted = probabilities * counts[:, None]
            gradient -= weighted.T @ rows
            for k in range(K):
                curvature[k, :, k] += (rows * weighted[:, k, None]).T @ rows
            outer = (probabilities[:, :, None] * rows[:, None]).reshape(len(rows), K * m)
            curvature -= ((outer * counts[:, None]).T @ outer).reshape(curvature.shape)
        curvature[:, 0, :, 0] += max(self.n_units, 1) / K
        flat = curvature.reshape(K * m, K * m)
        diagonal = np.einsum("ii->i", flat)
        diagonal += _DAMPING * diagonal.mean()
        diagonal.reshape(K, m)[:, 1:] += ridge
        return gradient, flat


@dataclass(frozen=True, eq=False)
class MembershipSums:
    """S of an E step, and the design that it belongs to.

    Parameters
    ----------
    design : MembershipDesign
        Of the units.
    sums : ndarray of shape (K, 1 + F)
        S_k = Σ ρ̂ x over the units that count.
    """

    design: MembershipDesign
    sums: FloatArray

    def shares(self, otherwise: FloatArray) -> FloatArray:
        """Mean responsibilities of the units that count, (K,), or `otherwise` if there are none."""
        if not self.design.n_units:
            return otherwise
        shares: FloatArray = self.sums[:, 0] / self.design.n_units
        return shares


def membership_step(
    found: MembershipSums, parameters: Parameters, ridge: float
) -> tuple[FloatArray, FloatArray | None]:
    """The M step of π and γ.

    Parameters
    ----------
    found : MembershipSums
        Evaluated at the parameters.
    parameters : Parameters
        The current ones; without γ, π is the mean responsibility of the units that count.
    ridge : float
        λ.

    Returns
    -------
    weights : ndarray of shape (K,)
        π, the mean of π_k(u).
    membership : ndarray of shape (K, 1 + F) or None
        γ, at which the objective of the M step is no lower than before.
    """
    design, gamma = found.design, parameters.membership
    if gamma is None:
        return found.shares(np.array(parameters.weights)), None
    height = design.objective(gamma, found.sums, ridge)
    for _ in range(_NEWTON_STEPS):
        gradient, curvature = design.derivatives(gamma, found.sums, ridge)
        step = np.linalg.solve(curvature, gradient.ravel()).reshape(gamma.shape)
        slope = float(np.vdot(step, gradient))
        if not slope > _NEGLIGIBLE_GAIN:
            break
        for _ in range(_MOST_HALVINGS):
            tried = centred(gamma + step)
            reached = design.objective(tried, found.sums, ridge)
            if reached > height:
                gamma, height = tried, reached
                break
            step *= 0.5
        else:
            break
    return design.mean_weights(gamma, np.array(parameters.weights)), gamma
