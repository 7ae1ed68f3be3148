"""The one-mode model's posteriors, unit by unit: what starts are made of, without an E step for each.

Where all modes are copies of one, a unit's posterior is the same in each, and the sums (14) for any responsibilities ρ
are ρᵀ times one row a unit: one pass over the units serves every start, and a start costs one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem import _core
from cem.errors import FitError, KernelFailure
from cem.expectation import ExpectedStatistics
from cem.maximisation import Constraints, maximisation
from cem.parameters import Parameters
from cem.statistics import SufficientStatistics

__all__ = ["OneModePosteriors", "StartingPoint", "with_known_modes"]

FloatArray = NDArray[np.float64]

# Starts of a larger fleet are made from so many of its labelled and so many of its other units.
_MOST_UNITS = 20_000


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """Where a start begins, and what it promises.

    Parameters
    ----------
    parameters : Parameters
        Of K modes.
    promise : float
        Comparable among starts that were made in the same way; higher is better.
    """

    parameters: Parameters
    promise: float


class OneModePosteriors:
    """What every unit adds to the sums (14) under the one-mode model.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the panel.
    parameters : Parameters
        Of one mode: what `cem.initialization.one_mode_run` ended at.

    Attributes
    ----------
    units : ndarray of shape (n,), int64
        The units that starts are made from: all, or a sample of a large fleet.
    known_modes : ndarray of shape (n,), int32
        Theirs; -1 where not known.
    coefficients : ndarray of shape (n, P)
        Whitened posterior means E d. Shrinkage makes one that the data says little about count little, and that of a
        missing channel not at all.
    distinct : ndarray of shape (m, P)
        Those that differ.
    """

    def __init__(self, statistics: SufficientStatistics, parameters: Parameters) -> None:
        self.parameters = parameters
        self.units = _units(statistics.known_modes)
        self.known_modes = statistics.known_modes[self.units]
        layout = parameters.layout
        C, P = layout.n_channels, int(layout.mean_offsets[-1])
        ends = np.cumsum([1, C, P, int(layout.factor_offsets[-1]), C, C]).tolist()
        self._parts = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self._rows = np.empty((len(self.units), ends[-1]))
        self._copies: dict[int, Parameters] = {}
        try:
            _core.unit_sums(
                statistics.factors,
                statistics.factor_offsets,
                statistics.projections,
                statistics.residual_norms,
                statistics.counts,
                layout.kernel_sizes,
                parameters.means,
                parameters.factors,
                parameters.noise_variances,
                self.units,
                self._rows,
            )
        except KernelFailure as failure:
            raise FitError(
                f"the likelihood of unit {statistics.units[failure.unit]!r} under one mode is not finite; look at its "
                "readings"
            ) from failure
        self.coefficients = np.ascontiguousarray(self._rows[:, 1 + C : 1 + C + P])
        self.distinct = np.unique(self.coefficients, axis=0)
        # Where the diagonals of the factors lie in a packed row.
        blocks = zip(layout.factor_offsets[:-1], layout.sizes, strict=True)
        self._diagonal = np.concatenate([start + np.arange(p) * (p + 1) for start, p in blocks])

    @property
    def n_units(self) -> int:
        return len(self.units)

    def start(self, responsibilities: FloatArray, constraints: Constraints) -> StartingPoint:
        """One M step from given responsibilities.

        Parameters
        ----------
        responsibilities : ndarray of shape (n, K)
            Of `units`; those of known mode are held at it.
        constraints : Constraints
            Of the M step.

        Returns
        -------
        StartingPoint
            Its promise is the bound Σ ρ E ln [π P(x, T | k) / ρ] of ℓ that the M step raised, E over the posteriors of
            the one-mode model, up to what is the same for all starts and to the floors: it ranks starts better than ℓ
            at their first E step does, and costs nothing.

        Raises
        ------
        FitError
            A scatter matrix is not positive definite.
        """
        rho = with_known_modes(responsibilities, self.known_modes)
        n_modes, one = rho.shape[1], self.parameters
        by_mode = rho.T @ self._rows
        sums = np.concatenate([[0.0], *(by_mode[:, part].ravel() for part in self._parts)])
        expected = ExpectedStatistics(sums, n_modes, one.sizes, len(rho))
        parameters, _ = maximisation(expected, self._of_modes(n_modes), constraints)
        mixing = _sum_of_logs(expected.mode_counts, parameters.weights) - _sum_of_logs(rho, rho)
        spreads = np.log(parameters.factors[:, self._diagonal])
        scatter = (np.repeat(expected.channel_counts, one.sizes, axis=1) * spreads).sum()
        noise = 0.5 * (expected.observation_counts * np.log(parameters.noise_variances)).sum()
        return StartingPoint(parameters, float(mixing - scatter - noise))

    def _of_modes(self, n_modes: int) -> Parameters:
        """So many copies of the one mode."""
        if n_modes not in self._copies:
            one = self.parameters
            self._copies[n_modes] = Parameters(
                np.full(n_modes, 1.0 / n_modes),
                np.repeat(one.means, n_modes, axis=0),
                np.repeat(one.factors, n_modes, axis=0),
                np.repeat(one.noise_variances, n_modes, axis=0),
                one.sizes,
            )
        return self._copies[n_modes]


def _sum_of_logs(shares: FloatArray, of: FloatArray) -> float:
    """Σ shares ln of, where 0 ln 0 is 0."""
    return float((shares * np.log(of, out=np.zeros(of.shape), where=of > 0)).sum())


def with_known_modes(responsibilities: FloatArray, known_modes: NDArray[np.int32]) -> FloatArray:
    """Responsibilities that are 0 or 1 on units of known mode."""
    labelled = np.flatnonzero(known_modes >= 0)
    fixed = np.array(responsibilities, dtype=np.float64)
    fixed[labelled] = 0.0
    fixed[labelled, known_modes[labelled]] = 1.0
    return fixed


def _units(known_modes: NDArray[np.int32]) -> NDArray[np.int64]:
    """All units, or as many of the labelled and of the others as starts need; the same ones for the same fleet."""
    rng = np.random.default_rng(0)
    chosen = [np.flatnonzero(known_modes >= 0), np.flatnonzero(known_modes < 0)]
    for i, units in enumerate(chosen):
        if len(units) > _MOST_UNITS:
            chosen[i] = rng.choice(units, _MOST_UNITS, replace=False)
    return np.sort(np.concatenate(chosen))
