"""Points of EM with lives (19), mixture and laws together, as vectors for quasi-Newton steps.

A quasi-Newton step moves both parts at once. The slow direction of (19) is often a trade between the two: the lives
assigned to running units against the shape of the laws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem.em.problem import AscentCoordinates, AscentMetric
from cem.em.sums import ExpectedStatistics
from cem.errors import OptionError
from cem.lifetimes.laws import GUMBEL_SPREAD, LifetimeLaw, Lognormal, Weibull
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.parameters import Parameters

__all__ = ["LivesCoordinates", "LivesMetric", "LivesPoint", "LivesSums"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LivesPoint:
    """Current parameters of EM with lives; without laws if ln life is a channel of the mixture."""

    mixture: Parameters
    lifetimes: Lifetimes | None

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.mixture.sizes


@dataclass(frozen=True, eq=False)
class LivesSums:
    """The sums of the E step of (19).

    Parameters
    ----------
    mixture : ExpectedStatistics
        (14).
    weights : ndarray of shape (n, K)
        ρ̂ of failed units and q(r, k) of running ones, for the laws.
    """

    mixture: ExpectedStatistics
    weights: FloatArray

    @property
    def mode_counts(self) -> FloatArray:
        return self.mixture.mode_counts


@dataclass(frozen=True, eq=False)
class LivesMetric:
    """The mixture's metric, and the curvature of the laws' parameters, (n,)."""

    mixture: AscentMetric
    laws: FloatArray

    def scaled(self, vector: FloatArray) -> FloatArray:
        """The metric's inverse times a vector."""
        n = len(vector) - len(self.laws)
        return np.concatenate([self.mixture.scaled(vector[:n]), vector[n:] / self.laws])


class LivesCoordinates:
    """Points as vectors without constraints, and the gradient of the penalised (19) there (`quasi_newton`).

    After the mixture's numbers come two for each law: ln median and the spread s of ln life for a lognormal law, ln
    scale and s = π / (√6 shape) for a Weibull law. s is represented by v in s² = s_min² + v².

    Parameters
    ----------
    mixture : AscentCoordinates
        Of the mixture.
    lives : ndarray of shape (n,)
        Lives of the rows of `LivesSums.weights`.
    n_laws : int
        K, or 0 if lives are a channel of the mixture.
    family : str
        Family of the laws: "lognormal" or "weibull".
    prior_weight, prior_spread : float
        ν and s_0 of their penalty.
    minimum_spread : float
        s_min, the lower bound in the laws' M step.
    """

    def __init__(
        self,
        mixture: AscentCoordinates[Parameters, ExpectedStatistics],
        lives: FloatArray,
        *,
        n_laws: int,
        family: str,
        prior_weight: float,
        prior_spread: float,
        minimum_spread: float,
    ) -> None:
        self._mixture = mixture
        self._log_lives = np.log(lives)
        self._prior_weight, self._prior_spread = prior_weight, prior_spread
        self._minimum_spread = minimum_spread
        self._weibull = family == Weibull.family
        self._n_laws = 2 * n_laws

    def vector(self, point: LivesPoint) -> FloatArray:
        """Convert a point to a vector."""
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
        """Convert a vector to a point that satisfies the constraints."""
        laws: list[LifetimeLaw] = []
        with np.errstate(over="ignore"):
            for location, spread in zip(*self._laws(vector), strict=True):
                try:
                    laws.append(
                        Weibull(GUMBEL_SPREAD / spread, float(np.exp(location)))
                        if self._weibull
                        else Lognormal(location, spread)
                    )
                except OptionError as error:  # the vector is so far out that a law overflows
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

    def gradient(self, vector: FloatArray, point: LivesPoint, sums: LivesSums) -> tuple[FloatArray, LivesMetric]:
        """Gradient, and the mixture's metric with the curvature of the laws' numbers."""
        of_mixture, metric = self._mixture.gradient(self._parts(vector)[0], point.mixture, sums.mixture)
        gradient, curvature = np.empty(self._n_laws), np.empty(self._n_laws)
        for k, (location, spread) in enumerate(zip(*self._laws(vector), strict=True)):
            weights, v = sums.weights[:, k], vector[2 * k + 1 - self._n_laws]
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
        return np.concatenate([of_mixture, gradient]), LivesMetric(metric, np.maximum(curvature, 1e-8))
