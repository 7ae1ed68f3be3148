"""Posteriors of the one-mode model, unit by unit, from which starts are made without an E step each.

If all modes are copies of one, a unit's posterior is the same in each. The sums (14) for any responsibilities ρ are
then ρᵀ times one row per unit: one pass over the units serves every start, and a start costs one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem import _core
from cem.em.constraints import Constraints
from cem.em.feasibility import feasible
from cem.errors import FitError, KernelFailure
from cem.mixture.parameters import Parameters
from cem.search import _one_mode
from cem.statistics.fixed import conditioned
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["OneModePosteriors", "StartingPoint", "with_known_modes"]

FloatArray = NDArray[np.float64]

# Starts of a larger fleet are made from this many of its labelled units and this many of the others.
_MOST_UNITS = 20_000
# Of a mode that is impossible for a unit, where starts are matched to what is known.
_SMALLEST_PRIOR = 1e-6


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A starting point of EM, and its score.

    Parameters
    ----------
    parameters : Parameters
        Of K modes.
    score : float
        Comparable among starts of the same kind; higher is better.
    """

    parameters: Parameters
    score: float


class OneModePosteriors:
    """The contribution of every unit to the sums (14) under the one-mode model.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the panel.
    parameters : Parameters
        Of one mode: the result of `cem.search.fresh.one_mode_run`.

    Attributes
    ----------
    units : ndarray of shape (n,), int64
        The units that starts are made from: all of them, or a sample of a large fleet.
    has_all_units : bool
        Whether these are all units.
    known_modes : ndarray of shape (n,), int32
        Their known modes; -1 where unknown.
    coefficients : ndarray of shape (n, P)
        Whitened posterior means E d. Shrinkage makes a coefficient that the data hardly determine count little, and
        those of a missing channel not at all.
    unwhitened : ndarray of shape (n, P)
        The posterior means Λ E d, of which those that vary most count most.
    distinct : ndarray of shape (m,), int64
        A unit of each distinct row of these.
    """

    def __init__(self, statistics: SufficientStatistics, parameters: Parameters) -> None:
        self.parameters = parameters
        if parameters.fixed is not None:  # what the fixed columns leave, with the coefficients of the one mode
            statistics = conditioned(statistics, parameters.fixed[0])
        self.units = _units(statistics.known_modes)
        self.known_modes = statistics.known_modes[self.units]
        layout = parameters.layout
        C, P = layout.n_channels, int(layout.mean_offsets[-1])
        self._rows = np.empty((len(self.units), 1 + 3 * C + P + int(layout.factor_offsets[-1])))
        try:
            _core.unit_sums(
                statistics.bundle,
                parameters.bundle,
                self.units,
                self._rows,
            )
        except KernelFailure as failure:
            raise FitError(
                f"the likelihood of unit {statistics.units[failure.unit]!r} under one mode is not finite; look at its "
                "readings"
            ) from failure
        self.coefficients = np.ascontiguousarray(self._rows[:, 1 + C : 1 + C + P])
        # Compare rows by their bytes: comparing numbers column by column takes longer than making a start.
        as_bytes = self.coefficients.view(np.dtype((np.void, self.coefficients.itemsize * P)))
        self.distinct = np.sort(np.unique(as_bytes, return_index=True)[1])
        self.unwhitened = np.empty_like(self.coefficients)
        for c in range(C):
            own = layout.vector(self.coefficients, c)
            layout.vector(self.unwhitened, c)[:] = own @ layout.matrix(parameters.factors, c)[0].T
        self.has_all_units = len(self.units) == statistics.n_units
        self._labelled = bool((self.known_modes >= 0).any())
        self._priors = None
        if statistics.mode_priors is not None:
            self._priors = _priors(statistics.mode_priors[self.units], self.known_modes)

    @property
    def n_units(self) -> int:
        return len(self.units)

    @property
    def misfits(self) -> FloatArray:
        """(13) of each of `units` and channel, in units of the one mode's noise, (n, C); 0 where it is not observed."""
        C = self.parameters.n_channels
        return self._rows[:, -2 * C : -C]

    def start(self, responsibilities: FloatArray, constraints: Constraints) -> StartingPoint:
        """One M step from given responsibilities.

        Parameters
        ----------
        responsibilities : ndarray of shape (n, K)
            Of `units`; units of known mode keep it.
        constraints : Constraints
            Of the M step.

        Returns
        -------
        StartingPoint
            Its score is the bound Σ ρ E ln [π P(x, T | k) / ρ] of ℓ that the M step raised, with E over the posteriors
            of the one-mode model, up to a constant that all starts share and to the floors. It ranks starts better
            than ℓ at their first E step does, and costs nothing.

        Raises
        ------
        FitError
            A scatter matrix is not positive definite.
        """
        if self._priors is not None:
            responsibilities = matched_to_priors(responsibilities, self._priors)
        elif self._labelled:
            responsibilities = with_known_modes(responsibilities, self.known_modes)
        return self._started(np.ascontiguousarray(responsibilities), None, responsibilities.shape[1], constraints)

    def start_of_clusters(self, labels: NDArray[np.int32], n_modes: int, constraints: Constraints) -> StartingPoint:
        """The same from responsibilities that are 0 or 1.

        Parameters
        ----------
        labels : ndarray of shape (n,), int32
            The mode of each of `units`; units of known mode keep it.
        n_modes : int
            K.
        constraints : Constraints
            Of the M step.

        Returns
        -------
        StartingPoint

        Raises
        ------
        FitError
            A scatter matrix is not positive definite.
        """
        if self._priors is not None:
            return self.start(np.eye(n_modes)[labels], constraints)
        if self._labelled:
            labels = np.where(self.known_modes >= 0, self.known_modes, labels)
        return self._started(None, labels, n_modes, constraints)

    def _started(
        self,
        responsibilities: FloatArray | None,
        labels: NDArray[np.int32] | None,
        n_modes: int,
        constraints: Constraints,
    ) -> StartingPoint:
        one, weights = self.parameters, np.empty(n_modes)
        means, factors, noise_variances = (
            np.empty((n_modes, part.shape[1])) for part in (one.means, one.factors, one.noise_variances)
        )
        score = _one_mode.start(
            responsibilities,
            labels,
            self._rows,
            one.bundle,
            constraints.noise_floors,
            constraints.covariance_floors,
            constraints.transforms,
            constraints.structure,
            constraints.shrinkage,
            weights,
            means,
            factors,
            noise_variances,
            np.empty(noise_variances.shape, dtype=np.int32),
        )
        fixed = None if one.fixed is None else np.repeat(one.fixed, n_modes, axis=0)
        made = Parameters.adopting(weights, means, factors, noise_variances, one.sizes, fixed=fixed)
        if constraints.pooled_noise:
            made = feasible(made, constraints)
        return StartingPoint(made, score)


def with_known_modes(responsibilities: FloatArray, known_modes: NDArray[np.int32]) -> FloatArray:
    """The responsibilities, with 0 or 1 for units of known mode."""
    labelled = np.flatnonzero(known_modes >= 0)
    fixed = np.array(responsibilities, dtype=np.float64)
    fixed[labelled] = 0.0
    fixed[labelled, known_modes[labelled]] = 1.0
    return fixed


def _priors(log_priors: FloatArray, known_modes: NDArray[np.int32]) -> FloatArray:
    """Probabilities (n, K) from what is known of the units' modes, labels among them; 1 in rows without any."""
    unknown = np.isnan(log_priors[:, 0])
    priors = np.exp(np.where(unknown[:, None], 0.0, log_priors))
    return with_known_modes(priors, known_modes)


def matched_to_priors(responsibilities: FloatArray, priors: FloatArray) -> FloatArray:
    """Starting responsibilities that agree with what is known of the units' modes.

    Their modes are numbered first so that they agree best: a start that has the modes of an expert in another order
    would end in an optimum in which all the expert's units are exceptions.

    Parameters
    ----------
    responsibilities : ndarray of shape (n, K)
    priors : ndarray of shape (n, K)
        Probabilities, or a row of ones where nothing is known.

    Returns
    -------
    ndarray of shape (n, K)
    """
    from scipy.optimize import linear_sum_assignment

    agreement = responsibilities.T @ np.log(np.maximum(priors, _SMALLEST_PRIOR))
    _, mode_of = linear_sum_assignment(agreement, maximize=True)
    products = np.empty_like(responsibilities)
    products[:, mode_of] = responsibilities
    products *= priors
    totals = products.sum(axis=1, keepdims=True)
    return np.where(totals > 0.0, products / np.where(totals > 0.0, totals, 1.0), priors)


def _units(known_modes: NDArray[np.int32]) -> NDArray[np.int64]:
    """All units, or as many labelled and other units as starts need; the same ones for the same fleet."""
    rng = np.random.default_rng(0)
    chosen = [np.flatnonzero(known_modes >= 0), np.flatnonzero(known_modes < 0)]
    for i, units in enumerate(chosen):
        if len(units) > _MOST_UNITS:
            chosen[i] = rng.choice(units, _MOST_UNITS, replace=False)
    return np.sort(np.concatenate(chosen))
