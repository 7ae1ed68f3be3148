"""Constraints of the M step: the floors (15') of model.md, the structure of the covariances, penalties of loadings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cem.mixture.parameters import Parameters

__all__ = ["COVARIANCE_STRUCTURES", "Constraints", "CovarianceStructure"]

FloatArray = NDArray[np.float64]
CovarianceStructure = Literal["full", "diagonal", "pooled"]
COVARIANCE_STRUCTURES: tuple[CovarianceStructure, ...] = ("full", "diagonal", "pooled")


@dataclass(frozen=True, eq=False)
class Constraints:
    """Constraints of the M step. It is the exact maximiser under them, so the likelihood never falls.

    Parameters
    ----------
    noise_floors : ndarray of shape (C,)
        s_c, smallest σ²_kc, in internal coordinates.
    covariance_floors : ndarray of shape (C,)
        F_c = floor · I, in internal coordinates.
    covariance : {"full", "diagonal", "pooled"}
        Structure of Σ_kc: its own for every mode and channel; uncorrelated coefficients of the user's basis; one per
        channel, shared by the modes.
    transforms : ndarray of shape (Σ p_c²,)
        S_c of the coordinates.
    linking_penalties : ndarray of shape (K,), optional
        λ_k: the objective is ℓ − ½ Σ λ_k ‖Γ_kc‖². Needed for linked channels; otherwise there is no penalty.
    """

    noise_floors: FloatArray
    covariance_floors: FloatArray
    covariance: CovarianceStructure
    transforms: FloatArray
    linking_penalties: FloatArray | None = None

    @property
    def structure(self) -> int:
        """The code of the covariances' structure for kernels."""
        return COVARIANCE_STRUCTURES.index(self.covariance)

    def penalty(self, parameters: Parameters) -> float:
        """½ Σ λ_k ‖Γ_kc‖²."""
        if parameters.loadings is None or self.linking_penalties is None:
            return 0.0
        return 0.5 * float(self.linking_penalties @ np.square(parameters.loadings).sum(axis=(1, 2)))
