"""Parameters that satisfy the constraints of the M step; a start that does not would let ℓ fall in its first pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.mixture.parameters import Parameters

__all__ = ["allowing", "feasible"]

FloatArray = NDArray[np.float64]

# Where parameters are below a floor, the floor that allows them is this share of what they are.
_BELOW = 0.1
_LOWEST = 1e-300


def allowing(constraints: Constraints, parameters: Parameters) -> Constraints:
    """The constraints with floors lowered where the parameters are below them, so that these can be evaluated.

    Parameters
    ----------
    constraints : Constraints
        Of the M step.
    parameters : Parameters
        In internal coordinates.
    """
    layout = parameters.layout
    lowest = parameters.noise_variances.min(axis=0)
    below = lowest < constraints.noise_floors * (1.0 - 1e-9)
    noise = np.where(below, np.maximum(_BELOW * lowest, _LOWEST), constraints.noise_floors)
    floors = np.array(constraints.covariance_floors)
    for c in range(layout.n_channels):
        blocks = layout.matrix(parameters.factors, c)
        smallest = float(np.linalg.eigvalsh(blocks @ np.swapaxes(blocks, -1, -2)).min())
        if smallest < floors[c] * (1.0 - 1e-9):
            floors[c] = max(_BELOW * smallest, _LOWEST)
    return replace(constraints, noise_floors=noise, covariance_floors=floors)


def feasible(parameters: Parameters, constraints: Constraints) -> Parameters:
    """The parameters, moved no further than the floors and the structure require.

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
    noise = np.maximum(parameters.noise_variances, constraints.noise_floors)
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
    if constraints.pooled_noise:
        noise = np.broadcast_to(parameters.weights @ noise, noise.shape)
    return replace(parameters, factors=factors, noise_variances=noise)


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
