"""EM with lives (19) as em.py's loop sees it: mixture and laws together are the point, the penalised (19) its height.

Both parts move at once in a quasi-Newton step, for the slow direction of (19) is often one that trades the two: the
lives that running units are given against the shape of the laws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.linked_ascent import mixture_coordinates
from cem.em.maximisation import maximisation
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import Metric
from cem.errors import OptionError
from cem.lifetimes.laws import GUMBEL_SPREAD, LifetimeLaw, Lognormal, Weibull
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.parameters import Parameters

if TYPE_CHECKING:
    from cem.fitting.lives import LivesProblem
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["LivesCoordinates", "LivesExpectation", "LivesExpected", "LivesPoint"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LivesPoint:
    """Where EM with lives stands; without laws where ln life is a channel of the mixture."""

    mixture: Parameters
    lifetimes: Lifetimes | None

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.mixture.sizes


@dataclass(frozen=True, eq=False)
class LivesExpected:
    """The E step of (19) at a point.

    Parameters
    ----------
    log_likelihood : float
        The objective: (19) and the penalties of the laws and of the loadings.
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
    """The E step of a problem, in the place of `cem.em.expectation.Expectation`.

    Parameters
    ----------
    problem : LivesProblem
    constraints : Constraints
        Of the mixture's M step.
    log_likelihoods : dict
        (19) alone, by the objective that it is part of: what every evaluation so far came to.
    """

    problem: LivesProblem
    constraints: Constraints
    log_likelihoods: dict[float, float] = field(default_factory=dict)

    @property
    def statistics(self) -> SufficientStatistics:
        return self.problem.failed.statistics

    def __call__(self, point: LivesPoint) -> tuple[LivesExpected, FloatArray]:
        log_likelihood, sums, weights, rho = self.problem.expectation(point.mixture, point.lifetimes)
        objective = log_likelihood + self.problem.penalty(point.lifetimes) - self.constraints.penalty(point.mixture)
        self.log_likelihoods[objective] = log_likelihood
        return LivesExpected(objective, sums, weights), rho

    def maximised(
        self, expected: LivesExpected, point: LivesPoint, constraints: Constraints
    ) -> tuple[LivesPoint, NDArray[np.int32]]:
        """The M step: (15) for the mixture, penalised likelihood for the laws."""
        mixture, status = maximisation(expected.sums, point.mixture, constraints)
        return LivesPoint(mixture, self.problem.laws(expected.weights)), status


class LivesCoordinates:
    """Points as vectors without constraints, and the gradient of the penalised (19) there (`quasi_newton`).

    After the mixture's numbers come two for each law: ln median and ln life's spread s of a lognormal law, ln scale and
    s = π / (√6 shape) of a Weibull one, as v in s² = s_min² + v².

    Parameters
    ----------
    problem : LivesProblem
        Its laws are lognormal or Weibull.
    constraints : Constraints
        Of the mixture's M step.
    point : LivesPoint
        Any point of the problem.
    minimum_spread : float
        s_min; what the laws' M step respects.
    """

    def __init__(
        self, problem: LivesProblem, constraints: Constraints, point: LivesPoint, minimum_spread: float
    ) -> None:
        n_modes = point.mixture.n_modes
        self._mixture = mixture_coordinates(constraints, point.mixture)
        self._log_lives = np.log(problem.lives)
        self._prior_weight, self._prior_spread = problem.prior_weight, problem.prior_spread
        self._minimum_spread = minimum_spread
        self._weibull = problem.family == "weibull"
        self._n_laws = 0 if point.lifetimes is None else 2 * n_modes

    def vector(self, point: LivesPoint) -> FloatArray:
        """Point to vector."""
        numbers = []
        for law in () if point.lifetimes is None else point.lifetimes.laws:
            if isinstance(law, Weibull):
                location, spread = np.log(law.scale), GUMBEL_SPREAD / law.shape
            else:
                assert isinstance(law, Lognormal)
                location, spread = law.location, law.scale
            above = max(spread**2 - self._minimum_spread**2, 1e-8 * self._minimum_spread**2)
            numbers += [location, np.sqrt(above)]
        return np.concatenate([self._mixture.vector(point.mixture), numbers])

    def parameters(self, vector: FloatArray) -> LivesPoint:
        """Vector to a point that satisfies the constraints."""
        laws: list[LifetimeLaw] = []
        with np.errstate(over="ignore"):
            for location, spread in zip(*self._laws(vector), strict=True):
                try:
                    laws.append(
                        Weibull(GUMBEL_SPREAD / spread, float(np.exp(location)))
                        if self._weibull
                        else Lognormal(location, spread)
                    )
                except OptionError as error:  # so far out that it overflows
                    raise np.linalg.LinAlgError(str(error)) from None
        return LivesPoint(
            self._mixture.parameters(self._parts(vector)[0]), Lifetimes(tuple(laws)) if self._n_laws else None
        )

    def _parts(self, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The mixture's numbers and those of the laws."""
        n = len(vector) - self._n_laws
        return vector[:n], vector[n:]

    def _laws(self, vector: FloatArray) -> tuple[list[float], list[float]]:
        """Location and spread of each law."""
        numbers = self._parts(vector)[1]
        return numbers[::2].tolist(), np.hypot(self._minimum_spread, numbers[1::2]).tolist()

    def gradient(
        self, vector: FloatArray, point: LivesPoint, expected: LivesExpected
    ) -> tuple[FloatArray, tuple[Metric, FloatArray]]:
        """Gradient, and the mixture's metric with the curvature of the laws' numbers."""
        of_mixture, metric = self._mixture.gradient(self._parts(vector)[0], point.mixture, expected.sums)
        gradient, curvature = np.empty(self._n_laws), np.empty(self._n_laws)
        for k, (location, spread) in enumerate(zip(*self._laws(vector), strict=True)):
            weights, v = expected.weights[:, k], vector[2 * k + 1 - self._n_laws]
            total = float(weights.sum())
            z = (self._log_lives - location) / spread
            if self._weibull:
                hazard = np.exp(GUMBEL_SPREAD * z)
                by_location = GUMBEL_SPREAD * float(weights @ (hazard - 1.0)) / spread
                by_spread = float(weights @ (GUMBEL_SPREAD * z * (hazard - 1.0) - 1.0)) / spread
                curved = GUMBEL_SPREAD**2 * total / spread**2
            else:
                by_location = float(weights @ z) / spread
                by_spread = float(weights @ (z * z - 1.0)) / spread
                curved = total / spread**2
            by_spread += self._prior_weight * ((self._prior_spread / spread) ** 2 - 1.0) / spread
            gradient[2 * k : 2 * k + 2] = by_location, by_spread * v / spread
            along = 2.0 * (total + self._prior_weight) * (v / spread) ** 2 / spread**2
            curvature[2 * k : 2 * k + 2] = (
                curved,
                along + abs(by_spread) * (self._minimum_spread / spread) ** 2 / spread,
            )
        return np.concatenate([of_mixture, gradient]), (metric, np.maximum(curvature, 1e-8))

    def scaled(self, vector: FloatArray, metric: tuple[Metric, FloatArray]) -> FloatArray:
        """The metric's inverse times a vector."""
        of_mixture, of_laws = self._parts(vector)
        return np.concatenate([self._mixture.scaled(of_mixture, metric[0]), of_laws / metric[1]])
