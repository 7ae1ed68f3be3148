"""A mode as a mixture of components: what a unit of the mode looks like, averaged over the law of the parameters.

With draws θ of the parameters, the probability of a mode given a unit's readings x is proportional to the average of
π_k P(x | k, θ) (model.md §9). `Components` stand for this average: mode k has components (k, j) of weights w_kj, and
Σ_j w_kj is its probability. They are evaluated like modes, and what belongs to one mode is summed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.mixture.parameters import Parameters
from cem.numerics.special import chi_square_survival

if TYPE_CHECKING:
    from cem.mixture.prediction import Evidence
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["Components", "grouped_evidence", "grouped_novelty", "moments_by_mode"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Components:
    """The components of K modes; those of a mode stand side by side.

    Parameters
    ----------
    parameters : Parameters
        Of n components, in the coordinates of the model; its weights w_kj add up to 1. Without `membership`, which is
        that of the modes.
    starts : ndarray of shape (K + 1,), int64
        Components starts[k] to starts[k + 1] − 1 are those of mode k.
    record : mapping
        How they were made, as JSON can hold it.
    """

    parameters: Parameters
    starts: NDArray[np.int64]
    record: dict[str, Any]

    @property
    def n_modes(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def modes(self) -> NDArray[np.int64]:
        """The mode of each component, (n,)."""
        return np.repeat(np.arange(self.n_modes), np.diff(self.starts))

    @cached_property
    def log_shares(self) -> FloatArray:
        """ln of each component's share of its mode, (n,)."""
        totals = self.summed(self.parameters.weights)
        with np.errstate(divide="ignore"):
            found: FloatArray = np.log(self.parameters.weights) - np.log(totals)[self.modes]
        return found

    def summed(self, values: FloatArray) -> FloatArray:
        """Sums over the components of each mode, (..., K) from (..., n)."""
        found: FloatArray = np.add.reduceat(values, self.starts[:-1], axis=-1)
        return found

    def probabilities(self, values: FloatArray) -> FloatArray:
        """Probabilities of the modes, (..., K), from those of components; rounding makes none larger than 1."""
        found: FloatArray = np.minimum(self.summed(values), 1.0)
        return found

    def with_membership(self, gamma: FloatArray | None) -> Parameters:
        """The components as modes of their own, whose probabilities depend on covariates as those of their modes do.

        Parameters
        ----------
        gamma : ndarray of shape (K, 1 + F), optional
            γ of the modes.
        """
        if gamma is None:
            return self.parameters
        rows = gamma[self.modes].copy()
        rows[:, 0] += self.log_shares
        return replace(self.parameters, membership=rows - rows.mean(axis=0))

    def widened(self, statistics: SufficientStatistics) -> SufficientStatistics:
        """Statistics whose prior probabilities, if units have any, are of components."""
        if statistics.mode_priors is None:
            return statistics
        priors = statistics.mode_priors[:, self.modes] + self.log_shares
        return statistics.with_membership(statistics.membership_design, priors)


def grouped_evidence(found: Evidence, components: Components) -> Evidence:
    """Evidence on the modes from that on their components; a mode's misfit is its components' average.

    Parameters
    ----------
    found : Evidence
        On the components.
    components : Components
    """
    weights = found.mode_probabilities
    totals = components.summed(weights)
    weighted = components.summed(weights * found.misfits)
    plain = components.summed(found.misfits) / np.diff(components.starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        misfits = np.where(totals > 0, weighted / totals, plain)
    return found._replace(mode_probabilities=np.minimum(totals, 1.0), misfits=misfits)


def grouped_novelty(found: Evidence, components: Components) -> FloatArray:
    """Tail probability of each unit's misfit under its most probable mode, (L,).

    Within the mode, the chi-square tails of the components are averaged with the components' probabilities given the
    readings.

    Parameters
    ----------
    found : Evidence
        On the components.
    components : Components
    """
    weights = found.mode_probabilities
    best = components.summed(weights).argmax(axis=1)
    shares = np.where(components.modes == best[:, None], weights, 0.0)
    tails = chi_square_survival(found.misfits, np.broadcast_to(found.n_observations[:, None], found.misfits.shape))
    result: FloatArray = (shares * tails).sum(axis=1) / shares.sum(axis=1)
    return result


def moments_by_mode(
    weights: FloatArray, means: FloatArray, variances: FloatArray, components: Components
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance within each mode of what has a mean and a variance within each component.

    Parameters
    ----------
    weights : ndarray of shape (L, n)
        Of the components. A mode without weight takes the components' shares.
    means : ndarray of shape (L, n, ...)
    variances : ndarray of shape (L, n, ...) or (L, n, ..., p, p)
        Variances, or covariances of the last axis of the means.
    components : Components

    Returns
    -------
    means, variances : ndarray
        With K in place of n.
    """
    totals = components.summed(weights)[:, components.modes]
    prior = np.exp(components.log_shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(totals > 0, weights / totals, prior)

    def averaged(values: FloatArray) -> FloatArray:
        own = shares.reshape(*shares.shape, *(1,) * (values.ndim - 2))
        found: FloatArray = np.add.reduceat(own * values, components.starts[:-1], axis=1)
        return found

    centre = averaged(means)
    gap = means - centre[:, components.modes]
    between = gap[..., :, None] * gap[..., None, :] if variances.ndim > means.ndim else gap * gap
    return centre, averaged(variances + between)
