"""Which parameters of a fit are at their floors (15')."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.kernels._maximisation import COVARIANCE_FLOOR, NOISE_FLOOR
from cem.mixture.parameters import Parameters

__all__ = ["with_floors"]

# Quasi-Newton steps end above a floor that an M step sets, by less than this share of it.
_NEAR = 1e-3


def with_floors(status: NDArray[np.int32], parameters: Parameters, constraints: Constraints) -> NDArray[np.int32]:
    """The status of the last M step, with the floors that later steps have come to.

    Parameters
    ----------
    status : ndarray of shape (K, C), int32
        Bits of `cem.em.maximisation.maximisation`.
    parameters : Parameters
        The fitted ones, internal.
    constraints : Constraints
        Of the fit.
    """
    found = np.array(status)
    if not found.size:  # interrupted before the first M step
        return found
    found[parameters.noise_variances <= constraints.noise_floors * (1.0 + _NEAR)] |= NOISE_FLOOR
    if constraints.covariance != "diagonal":  # whose floors are in the user's basis
        for c, floor in enumerate(constraints.covariance_floors):
            factors = parameters.layout.matrix(parameters.factors, c)
            lowest = np.linalg.svd(factors, compute_uv=False)[..., -1] ** 2
            found[lowest <= floor * (1.0 + _NEAR), c] |= COVARIANCE_FLOOR
    return found
