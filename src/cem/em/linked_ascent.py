"""EM with linked channels as em.py's loop sees it: the height is ℓ − ½ Σ λ_k ‖Γ_kc‖², and the loadings are free too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.maximisation import maximisation
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import Metric, UnconstrainedCoordinates
from cem.mixture.parameters import Parameters
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["LinkedCoordinates", "LinkedExpectation", "LinkedExpected", "mixture_coordinates"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinkedExpected:
    """The E step at linked parameters.

    Parameters
    ----------
    log_likelihood : float
        The objective: ℓ less the penalty of the loadings.
    sums : ExpectedStatistics
        Those that the M step needs.
    """

    log_likelihood: float
    sums: ExpectedStatistics

    @property
    def mode_counts(self) -> FloatArray:
        return self.sums.mode_counts


@dataclass(eq=False)
class LinkedExpectation:
    """The E step of a panel, in the place of `cem.em.expectation.Expectation`.

    Parameters
    ----------
    expectation : Expectation
    constraints : Constraints
        With the penalties of the loadings.
    log_likelihoods : dict
        ℓ alone, by the objective that it is part of: what every evaluation so far came to.
    """

    expectation: Expectation
    constraints: Constraints
    log_likelihoods: dict[float, float] = field(default_factory=dict)

    @property
    def statistics(self) -> SufficientStatistics:
        return self.expectation.statistics

    def __call__(self, parameters: Parameters) -> tuple[LinkedExpected, FloatArray]:
        sums, responsibilities = self.expectation(parameters)
        objective = sums.log_likelihood - self.constraints.penalty(parameters)
        self.log_likelihoods[objective] = sums.log_likelihood
        return LinkedExpected(objective, sums), responsibilities

    def maximised(
        self, expected: LinkedExpected, parameters: Parameters, constraints: Constraints
    ) -> tuple[Parameters, NDArray[np.int32]]:
        """The M step, from the sums."""
        return maximisation(expected.sums, parameters, constraints)


class LinkedCoordinates(UnconstrainedCoordinates):
    """Free coordinates under `LinkedExpectation`."""

    def gradient(
        self, vector: FloatArray, parameters: Parameters, expected: ExpectedStatistics | LinkedExpected
    ) -> tuple[FloatArray, Metric]:
        """Gradient of the objective, and a first guess at its curvature."""
        sums = expected.sums if isinstance(expected, LinkedExpected) else expected
        return super().gradient(vector, parameters, sums)


def mixture_coordinates(constraints: Constraints, parameters: Parameters) -> UnconstrainedCoordinates:
    """Free coordinates of parameters like these, linked or not."""
    kind = LinkedCoordinates if parameters.rank else UnconstrainedCoordinates
    return kind(constraints, parameters.sizes, parameters.n_modes, parameters.rank)
