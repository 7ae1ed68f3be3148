"""Fewer passes: quasi-Newton ascent of ℓ on the gradient that the sums (14) hold already.

At the parameters of an E step the gradient of the observed-data log-likelihood is that of the expected complete-data
one (Fisher's identity): it costs nothing beyond the E step. Limited-memory BFGS (Nocedal & Wright 2006, ch. 7) makes of
successive gradients the curvature that plain EM lacks, after Jamshidian & Jennrich (1997), "Acceleration of the EM
algorithm by using quasi-Newton methods", J. R. Stat. Soc. B 59, 569–587. A step must not lower ℓ.

The coordinates (`cem.unconstrained`) have no constraints: a covariance on its floor is an ordinary maximum there, where
plain EM only crawls, for its steps shrink with the variance itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cem.errors import FitError

__all__ = ["AscentCoordinates", "QuasiNewton", "Step"]

FloatArray = NDArray[np.float64]

_MEMORY = 20
_SHORTER = 0.3
_MOST_TRIALS = 6
# Of the gain that the slope promises, what a step must bring (Armijo's condition).
_SUFFICIENT = 1e-4


class AscentCoordinates(Protocol):
    """What a model has to know for quasi-Newton steps: its parameters as a free vector, and the gradient there."""

    def vector(self, parameters: Any) -> FloatArray:
        """Parameters to vector, (n,)."""

    def parameters(self, vector: FloatArray) -> Any:
        """Vector to parameters; LinAlgError where that cannot be."""

    def gradient(self, vector: FloatArray, parameters: Any, expected: Any) -> tuple[FloatArray, Any]:
        """Gradient (n,) of ℓ from an E step there, and a metric near the curvature of −ℓ."""

    def scaled(self, vector: FloatArray, metric: Any) -> FloatArray:
        """The metric's inverse times a vector, (n,)."""


@dataclass(frozen=True, eq=False)
class Step:
    """Where a step led.

    Parameters
    ----------
    parameters : Parameters, or what the coordinates have in their place
    expected : ExpectedStatistics, likewise
        Evaluated at them.
    responsibilities : ndarray of shape (L, K)
    predicted_gain : float
        What ℓ had to gain by the quadratic model that the step came from.
    """

    parameters: Any
    expected: Any
    responsibilities: FloatArray
    predicted_gain: float


class QuasiNewton:
    """Steps that never lower ℓ.

    Parameters
    ----------
    coordinates : AscentCoordinates
        Of the parameters.
    """

    def __init__(self, coordinates: AscentCoordinates) -> None:
        self._coordinates = coordinates
        self._pairs: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=_MEMORY)
        self._parameters: Any = None

    def copy(self) -> QuasiNewton:
        """One that has learned the same and goes on by itself."""
        twin = copy(self)
        twin._pairs = self._pairs.copy()
        return twin

    def step(
        self, expectation: Callable[[Any], tuple[Any, FloatArray]], parameters: Any, expected: Any, most_passes: int
    ) -> tuple[Step | None, int]:
        """One step from where an E step has been done.

        Parameters
        ----------
        expectation : callable
            The E step.
        parameters : Parameters, or what the coordinates have in their place
            Where it starts; what was learned of the curvature is kept if the last step led there.
        expected : ExpectedStatistics, likewise
            Evaluated there; its `log_likelihood` is what must not fall.
        most_passes : int
            Limit on the E steps.

        Returns
        -------
        step : Step or None
            None where no step along the direction found a higher ℓ; what was learned is then forgotten.
        n_passes : int
            E steps done.
        """
        if parameters is not self._parameters:
            self._pairs.clear()
            self._point = self._coordinates.vector(parameters)
            self._gradient, self._metric = self._coordinates.gradient(self._point, parameters, expected)
        direction = self._direction()
        slope = float(direction @ self._gradient)
        if not slope > 0.0:
            self._pairs.clear()
            direction = self._coordinates.scaled(self._gradient, self._metric)
            slope = float(direction @ self._gradient)
        length, n_passes = 1.0, 0
        while n_passes < min(_MOST_TRIALS, most_passes):
            point = self._point + length * direction
            evaluated = self._evaluated(expectation, point)
            n_passes += 1
            if evaluated is not None:
                reached, (sums, responsibilities) = evaluated
                if sums.log_likelihood >= expected.log_likelihood + _SUFFICIENT * length * slope:
                    self._learn(point, reached, sums)
                    return Step(reached, sums, responsibilities, 0.5 * slope), n_passes
            length *= _SHORTER
        self._parameters = None
        return None, n_passes

    def _evaluated(
        self, expectation: Callable[[Any], tuple[Any, FloatArray]], point: FloatArray
    ) -> tuple[Any, tuple[Any, FloatArray]] | None:
        try:
            parameters = self._coordinates.parameters(point)
            return parameters, expectation(parameters)
        except (np.linalg.LinAlgError, FitError):
            return None

    def _learn(self, point: FloatArray, parameters: Any, expected: Any) -> None:
        gradient, metric = self._coordinates.gradient(point, parameters, expected)
        moved, bent = point - self._point, self._gradient - gradient
        product = float(moved @ bent)
        if product > 1e-10 * float(np.sqrt((moved @ moved) * (bent @ bent))):  # ℓ is concave along the step
            self._pairs.append((moved, bent, 1.0 / product))
        self._point, self._parameters = point, parameters
        self._gradient, self._metric = gradient, metric

    def _direction(self) -> FloatArray:
        """H g by the two-loop recursion, from the metric."""
        direction = self._gradient.copy()
        shares = []
        for moved, bent, inverse in reversed(self._pairs):
            shares.append(inverse * float(moved @ direction))
            direction -= shares[-1] * bent
        direction = self._coordinates.scaled(direction, self._metric)
        if self._pairs:
            _, bent, inverse = self._pairs[-1]
            ratio = inverse * float(bent @ self._coordinates.scaled(bent, self._metric))
            direction /= min(max(ratio, 1e-3), 1e3)
        for (moved, bent, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            direction += (share - inverse * float(bent @ direction)) * moved
        return direction
