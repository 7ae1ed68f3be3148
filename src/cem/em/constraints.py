"""Constraints of the M step: floors (15'), structure of the covariances (25), penalties of loadings; see model.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cem.em.kernels import _maximisation
from cem.mixture.parameters import Parameters

__all__ = ["COVARIANCE_STRUCTURES", "Constraints", "CovarianceStructure", "FixedColumns"]

FloatArray = NDArray[np.float64]
CovarianceStructure = Literal["full", "diagonal", "pooled", "shrunk"]
# Small beside what even five units say of a slope, in units of a standardised covariate. Where a covariate separates
# the modes, it stops slopes at about 10, so that a new unit of that kind is never sure of its mode before its readings.
MEMBERSHIP_RIDGE = 0.01
COVARIANCE_STRUCTURES: tuple[CovarianceStructure, ...] = ("full", "diagonal", "pooled", "shrunk")


@dataclass(frozen=True, eq=False)
class FixedColumns:
    """Which coefficients of fixed columns are free: one for each mode, or one for all.

    Parameters
    ----------
    sizes : ndarray of shape (C,), int32
        q_c.
    by_mode : ndarray of shape (Q,), bool
        Whether a column has a coefficient for each mode, packed by channel.
    """

    sizes: NDArray[np.int32]
    by_mode: NDArray[np.bool_]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each channel's columns begin among the Q, shape (C + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def n_free(self, n_modes: int) -> int:
        """Number of free coefficients."""
        return int(np.count_nonzero(~self.by_mode)) + n_modes * int(np.count_nonzero(self.by_mode))


@dataclass(frozen=True, eq=False)
class Constraints:
    """Constraints of the M step. It is the exact maximiser under them, so the likelihood never falls.

    Parameters
    ----------
    noise_floors : ndarray of shape (C,)
        s_c, smallest σ²_kc, in internal coordinates.
    covariance_floors : ndarray of shape (C,)
        F_c = floor · I, in internal coordinates.
    covariance : {"full", "diagonal", "pooled", "shrunk"}
        Structure of Σ_kc: its own for every mode and channel; uncorrelated coefficients of the user's basis; one per
        channel, shared by the modes; its own, shrunk towards a common one (25). With linked channels that of Ψ_kc.
    transforms : ndarray of shape (Σ p_c²,)
        S_c of the coordinates.
    linking_penalties : ndarray of shape (K,), optional
        λ_k: the objective is ℓ − ½ Σ λ_k ‖Γ_kc‖². Needed for linked channels; otherwise there is no penalty.
    fixed : FixedColumns, optional
        The columns whose coefficients do not vary from unit to unit; None: there are none.
    pooled_noise : bool
        One σ²_c for all modes.
    membership_ridge : float
        λ of −½ λ Σ_k ‖slopes of γ_k‖², if π depends on the covariates of units: a normal prior of standard deviation
        1 / √λ on each slope.
    shrinkage : float
        ν of (25): the common covariance counts as much as this many units in every mode; above 0 for "shrunk", else 0.
    """

    noise_floors: FloatArray
    covariance_floors: FloatArray
    covariance: CovarianceStructure
    transforms: FloatArray
    linking_penalties: FloatArray | None = None
    fixed: FixedColumns | None = None
    pooled_noise: bool = False
    membership_ridge: float = MEMBERSHIP_RIDGE
    shrinkage: float = 0.0

    @property
    def structure(self) -> int:
        """The code of the covariances' structure for kernels."""
        return COVARIANCE_STRUCTURES.index(self.covariance)

    def penalty(self, parameters: Parameters) -> float:
        """½ Σ λ_k ‖Γ_kc‖² + ½ λ Σ ‖slopes of γ_k‖² + ½ ν Σ_c [Σ_k ln |Σ_kc| − K ln |Σ_0c|]."""
        total = 0.0
        if parameters.loadings is not None and self.linking_penalties is not None:
            total = 0.5 * float(self.linking_penalties @ np.square(parameters.loadings).sum(axis=(1, 2)))
        if parameters.membership is not None:
            total += 0.5 * self.membership_ridge * float(np.square(parameters.membership[:, 1:]).sum())
        if self.shrinkage:
            sizes = parameters.layout.kernel_sizes
            total += _maximisation.penalty(parameters.factors, sizes, self.shrinkage)
        return total
