"""What the M step must respect: the floors (15') of model.md, the structure of the covariances, penalties of links."""

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
    """What the M step must respect; it is the exact maximiser under these, so the likelihood never falls.

    Parameters
    ----------
    noise_floors : ndarray of shape (C,)
        s_c, smallest σ²_kc, in internal coordinates.
    covariance_floors : ndarray of shape (C,)
        F_c = floor · I, in internal coordinates.
    covariance : {"full", "diagonal", "pooled"}
        Structure of Σ_kc: one of its own for every mode and channel; uncorrelated coefficients of the user's basis;
        one a channel, shared by the modes.
    transforms : ndarray of shape (Σ p_c²,)
        S_c of the coordinates.
    linking_penalties : ndarray of shape (K,), optional
        λ_k: what EM raises is ℓ − ½ Σ λ_k ‖Γ_kc‖². Needed where channels are linked; otherwise nothing is taken off.
    """

    noise_floors: FloatArray
    covariance_floors: FloatArray
    covariance: CovarianceStructure
    transforms: FloatArray
    linking_penalties: FloatArray | None = None

    @property
    def structure(self) -> int:
        """The structure of the covariances as the kernels know it."""
        return COVARIANCE_STRUCTURES.index(self.covariance)

    def penalty(self, parameters: Parameters) -> float:
        """½ Σ λ_k ‖Γ_kc‖²."""
        if parameters.loadings is None or self.linking_penalties is None:
            return 0.0
        return 0.5 * float(self.linking_penalties @ np.square(parameters.loadings).sum(axis=(1, 2)))
