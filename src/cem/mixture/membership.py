"""Probabilities of a unit's mode before its readings: by its covariates, π_k(u), and by what an expert says.

π_k(u) = softmax_k(γ_kᵀ (1, f(u))), with f(u) the features of the unit's covariates. γ has a row for each mode, and the
rows sum to zero: no mode is a reference, so renumbering the modes permutes the rows and changes no bit. This path needs
only NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cem.mixture.parameters import Parameters
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["NOTHING_KNOWN", "UnitModes", "centred", "log_weights_of", "unit_log_weights", "with_log_weights"]

FloatArray = NDArray[np.float64]


def log_weights_of(gamma: FloatArray, design: FloatArray) -> FloatArray:
    """ln π_k(u).

    Parameters
    ----------
    gamma : ndarray of shape (K, 1 + F)
        γ, intercepts first.
    design : ndarray of shape (L, 1 + F)
        (1, f(u)) of each unit.

    Returns
    -------
    ndarray of shape (L, K)
        Finite for finite arguments.
    """
    scores = design @ gamma.T
    scores -= scores.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        result: FloatArray = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return result


def centred(gamma: FloatArray) -> FloatArray:
    """γ with rows that sum to zero: the same probabilities."""
    result: FloatArray = gamma - gamma.mean(axis=0)
    return result


@dataclass(frozen=True, eq=False)
class UnitModes:
    """What besides readings informs the modes of some units.

    Parameters
    ----------
    design : ndarray of shape (L, 1 + F) or None
        (1, f(u)) of each unit.
    priors : ndarray of shape (L, K) or None
        Log probabilities from an expert; −inf: impossible. Rows of NaN: none.
    """

    design: FloatArray | None
    priors: FloatArray | None

    @property
    def has_prior(self) -> NDArray[np.bool_]:
        """Units with probabilities from an expert, (L,)."""
        if self.priors is not None:
            return ~np.isnan(self.priors[:, 0])
        return np.zeros(0 if self.design is None else len(self.design), dtype=bool)

    def log_weights(self, parameters: Parameters) -> FloatArray | None:
        """Log probabilities of each unit's mode before its readings, in place of ln π.

        Parameters
        ----------
        parameters : Parameters
            Of K modes; γ is `Parameters.membership`.

        Returns
        -------
        ndarray of shape (L, K) or None
            The expert's, where there are some, else ln π_k(u), or ln π without γ. −inf excludes a mode. None if every
            unit has ln π.
        """
        result: FloatArray | None = None
        if parameters.membership is not None and self.design is not None:
            result = log_weights_of(parameters.membership, self.design)
        if self.priors is not None:
            if result is None:
                with np.errstate(divide="ignore"):
                    result = np.tile(np.log(parameters.weights), (len(self.priors), 1))
            told = self.has_prior
            result[told] = self.priors[told]
        return result


NOTHING_KNOWN = UnitModes(None, None)


def unit_log_weights(statistics: SufficientStatistics, parameters: Parameters) -> FloatArray | None:
    """`UnitModes.log_weights` of the units of these statistics."""
    return UnitModes(statistics.membership_design, statistics.mode_priors).log_weights(parameters)


def with_log_weights(densities: FloatArray, statistics: SufficientStatistics, parameters: Parameters) -> FloatArray:
    """ln π_lk + ln P(x_l | k) from the second part, (L, K)."""
    own = unit_log_weights(statistics, parameters)
    if own is not None:
        return densities + own
    with np.errstate(divide="ignore"):
        result: FloatArray = densities + np.log(parameters.weights)
    return result
