"""EM with lives (19) as em.py's loop sees it: mixture and laws together are the point, the penalised (19) its height.

Both parts move at once in an extrapolated pass, for the slow direction of (19) is often one that trades the two: the
lives that running units are given against the shape of the laws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.acceleration import Coordinatisation
from cem.expectation import ExpectedStatistics
from cem.lifetime_laws import Lognormal, Weibull
from cem.lifetimes import Lifetimes
from cem.maximisation import Constraints, maximisation
from cem.parameters import Parameters

if TYPE_CHECKING:
    from cem.censored import LivesProblem
    from cem.statistics import SufficientStatistics

__all__ = ["LivesCoordinates", "LivesExpectation", "LivesExpected", "LivesPoint"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LivesPoint:
    """Where EM with lives stands."""

    mixture: Parameters
    lifetimes: Lifetimes

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.mixture.sizes


@dataclass(frozen=True, eq=False)
class LivesExpected:
    """The E step of (19) at a point.

    Parameters
    ----------
    log_likelihood : float
        The objective: (19) and the penalty of the laws.
    sums : ExpectedStatistics
        (14).
    weights : ndarray of shape (n, K)
        ρ̂ of failed units and q(r, k) of running ones, for the laws.
    """

    log_likelihood: float
    sums: ExpectedStatistics
    weights: FloatArray

    @property
    def mode_counts(self) -> FloatArray:
        return self.sums.mode_counts


@dataclass(eq=False)
class LivesExpectation:
    """The E step of a problem, in the place of `cem.expectation.Expectation`.

    Parameters
    ----------
    problem : LivesProblem
    log_likelihoods : dict
        (19) alone, by the objective that it is part of: what every evaluation so far came to.
    """

    problem: LivesProblem
    log_likelihoods: dict[float, float] = field(default_factory=dict)

    @property
    def statistics(self) -> SufficientStatistics:
        return self.problem.failed.statistics

    def __call__(self, point: LivesPoint) -> tuple[LivesExpected, FloatArray]:
        log_likelihood, sums, weights, rho = self.problem.expectation(point.mixture, point.lifetimes)
        objective = log_likelihood + self.problem.penalty(point.lifetimes)
        self.log_likelihoods[objective] = log_likelihood
        return LivesExpected(objective, sums, weights), rho

    def maximised(
        self, expected: LivesExpected, point: LivesPoint, constraints: Constraints
    ) -> tuple[LivesPoint, NDArray[np.int32]]:
        """The M step: (15) for the mixture, penalised likelihood for the laws."""
        mixture, status = maximisation(expected.sums, point.mixture, constraints)
        return LivesPoint(mixture, self.problem.laws(expected.weights)), status


class LivesCoordinates:
    """Points as vectors without constraints, and back: those of the mixture, and two numbers a law.

    ln median and ln spread of a lognormal law, ln scale and ln shape of a Weibull one. A law that is neither stays
    where the M step puts it.

    Parameters
    ----------
    constraints : Constraints
        Of the mixture's M step.
    sizes : tuple of int
        p_c.
    minimum_spread : float
        Of the log life; what the laws' M step respects.
    """

    def __init__(self, constraints: Constraints, sizes: tuple[int, ...], minimum_spread: float) -> None:
        self._mixture = Coordinatisation(constraints, sizes)
        self._minimum_spread = minimum_spread

    def vector(self, point: LivesPoint) -> FloatArray:
        """Point to vector."""
        numbers: list[float] = []
        for law in point.lifetimes.laws:
            if isinstance(law, Lognormal):
                numbers += [law.location, float(np.log(law.scale))]
            elif isinstance(law, Weibull):
                numbers += [float(np.log(law.scale)), float(np.log(law.shape))]
        return np.concatenate([self._mixture.vector(point.mixture), numbers])

    def parameters(self, vector: FloatArray, like: LivesPoint) -> LivesPoint:
        """Vector to a point that satisfies the constraints."""
        n_numbers = 2 * sum(isinstance(law, (Lognormal, Weibull)) for law in like.lifetimes.laws)
        split = len(vector) - n_numbers
        numbers = np.clip(vector[split:], -50.0, 50.0)
        laws, at = [], 0
        for law in like.lifetimes.laws:
            if isinstance(law, Lognormal):
                law = Lognormal(float(numbers[at]), max(float(np.exp(numbers[at + 1])), self._minimum_spread))
                at += 2
            elif isinstance(law, Weibull):
                steepest = float(np.pi / np.sqrt(6.0)) / self._minimum_spread
                law = Weibull(min(float(np.exp(numbers[at + 1])), steepest), float(np.exp(numbers[at])))
                at += 2
            laws.append(law)
        return LivesPoint(self._mixture.parameters(vector[:split], like.mixture), Lifetimes(tuple(laws)))
