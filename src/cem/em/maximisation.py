"""The M step (15) under the floors (15') of model.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.fixed_columns import moved_coefficients, with_one_noise, with_pooled_noise
from cem.em.kernels import _em, _linked_maximisation, _maximisation
from cem.em.membership import membership_step
from cem.em.sums import ExpectedStatistics
from cem.mixture.parameters import Parameters

__all__ = ["maximisation", "over_relaxed"]


def maximisation(
    expected: ExpectedStatistics, parameters: Parameters, constraints: Constraints
) -> tuple[Parameters, NDArray[np.int32]]:
    """Compute new parameters from the sums (14).

    Parameters
    ----------
    expected : ExpectedStatistics
        Evaluated at `parameters`.
    parameters : Parameters
        The current ones; a channel with too little data in a mode keeps them.
    constraints : Constraints
        Floors and structure.

    Returns
    -------
    parameters : Parameters
        The maximiser.
    status : ndarray of shape (K, C), int32
        Bits `_maximisation.KEPT`, `MEAN_ONLY`, `NOISE_FLOOR`, `COVARIANCE_FLOOR`.

    Raises
    ------
    FitError
        A scatter matrix is not positive definite; the message names mode and channel.
    """
    fixed = None
    if constraints.fixed is not None:
        fixed, expected = moved_coefficients(expected, parameters, constraints.fixed)
    if constraints.pooled_noise:
        expected = with_pooled_noise(expected, parameters, constraints)
    means = np.empty_like(parameters.means)
    factors = np.empty_like(parameters.factors)
    noise_variances = np.empty_like(parameters.noise_variances)
    status = np.empty(noise_variances.shape, dtype=np.int32)
    membership = None
    if expected.membership is None:
        weights = expected.mode_counts / expected.n_units
    else:
        weights, membership = membership_step(expected.membership, parameters, constraints.membership_ridge)
    loadings = None
    if parameters.loadings is not None:
        loadings = np.empty_like(parameters.loadings)
        _linked_maximisation.maximisation(
            expected.sums,
            parameters.bundle,
            constraints.noise_floors,
            constraints.covariance_floors,
            np.zeros(parameters.n_modes) if constraints.linking_penalties is None else constraints.linking_penalties,
            constraints.shrinkage,
            means,
            factors,
            noise_variances,
            loadings,
            status,
        )
    else:
        _maximisation.maximisation(
            expected.sums,
            parameters.bundle,
            constraints.noise_floors,
            constraints.covariance_floors,
            constraints.transforms,
            constraints.structure,
            constraints.shrinkage,
            means,
            factors,
            noise_variances,
            status,
        )
    if constraints.pooled_noise:
        noise_variances = with_one_noise(noise_variances, expected)
    found = Parameters.adopting(weights, means, factors, noise_variances, parameters.sizes, loadings, fixed, membership)
    return found, status


def over_relaxed(before: Parameters, found: Parameters, constraints: Constraints, relaxation: float) -> Parameters:
    """Go further in the direction of an M step: multiply the step in log π, μ, log σ², Λ and γ.

    Steps of less than twice the M step's length converge, as it does (Peters & Walker 1978, SIAM J. Appl. Math. 35,
    362–378), but any of them may lower ℓ.

    Parameters
    ----------
    before, found : Parameters
        Before and after the M step; no channels are linked.
    constraints : Constraints
        The result satisfies them: a variance below its floor is set to the floor, and a covariance that breaks them is
        taken from `found`.
    relaxation : float
        At least 1.

    Returns
    -------
    Parameters
    """
    weights, means = np.empty_like(found.weights), np.empty_like(found.means)
    factors, noise_variances = np.empty_like(found.factors), np.empty_like(found.noise_variances)
    _em.over_relaxed(
        before.bundle,
        found.bundle,
        constraints.structure,
        relaxation,
        constraints.noise_floors,
        constraints.covariance_floors,
        weights,
        means,
        factors,
        noise_variances,
    )
    membership = None
    if found.membership is not None and before.membership is not None:
        membership = before.membership + relaxation * (found.membership - before.membership)
    return Parameters.adopting(weights, means, factors, noise_variances, found.sizes, membership=membership)
